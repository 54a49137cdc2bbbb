//! What becomes of an agent and of the people behind it, as it is promised: a model in which nothing is
//! stored, cached, committed or asked of a policy. It is written from the promises, and not from the code.
//!
//! Times are milliseconds. Of two things at once, that which takes away counts.

use std::collections::BTreeSet;

use model::RiskLevel;

/// The people of the directory. Each reports to somebody, or to nobody.
pub(crate) const PEOPLE: [&str; 4] = ["ann", "ben", "carl", "dora"];

const SECOND: i64 = 1_000;
const DAY: i64 = 24 * 3_600 * SECOND;

/// How far the transmitter's clock may be behind ours, by which the directory's word is dated.
const SKEW: i64 = 300 * SECOND;

/// How long the stream may say nothing, and how much of that has passed before it is noted anew that it was heard.
pub(crate) const SILENCE_MIN: u32 = 15;
const SILENCE: i64 = SILENCE_MIN as i64 * 60 * SECOND;
const NOTED: i64 = SILENCE / 3;

/// What somebody was told of a person last: when by the clock of whoever told it, that they left or are here.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    here: Option<i64>,
    left: Option<i64>,
}

/// What a directory says of somebody: whether they are active, to whom they report, and whether they work at the
/// other desk.
pub(crate) type Said = (bool, Option<usize>, bool);

/// A person, and who told what of them.
#[derive(Clone, Debug)]
pub(crate) struct Human {
    pub(crate) is_active: bool,
    /// What was given until then counts no longer.
    cutoff: Option<i64>,
    /// When their manager or their unit last changed.
    moved: Option<i64>,
    manager: Option<usize>,
    /// Whether they work at the other desk.
    elsewhere: bool,
    /// What the directory said of them last, if they are a user at all.
    user: Option<Said>,
    directory: Word,
    stream: Word,
    /// At which risk somebody here says that they are.
    risk: Option<RiskLevel>,
    /// When the stream last rated them, and how; at no risk any longer, if that was lowered here.
    rated: Option<(i64, Option<RiskLevel>)>,
}

impl Human {
    fn new(manager: Option<usize>) -> Self {
        let (directory, stream) = (Word::default(), Word::default());
        Self {
            is_active: true,
            cutoff: None,
            moved: None,
            manager,
            elsewhere: false,
            user: Some((true, manager, false)),
            directory,
            stream,
            risk: None,
            rated: None,
        }
    }

    /// Whether they are here, and what was given at `given` counts.
    fn answers_for(&self, given: i64) -> bool {
        self.is_active && self.cutoff.is_none_or(|cutoff| given > cutoff)
    }

    /// Who comes back revives nothing that was given before.
    fn returns(&mut self, now: i64) {
        if !self.is_active {
            (self.is_active, self.cutoff) = (true, Some(now));
        }
    }

    fn moves_to(&mut self, place: (Option<usize>, bool), now: i64) {
        if place != (self.manager, self.elsewhere) {
            ((self.manager, self.elsewhere), self.moved) = (place, Some(now));
        }
    }

    /// The directory says, whole, what they are.
    pub(crate) fn put(&mut self, said: Said, now: i64) {
        let (active, manager, elsewhere) = said;
        // Of who leaves it stays known to whom they reported.
        let manager = if active { manager } else { manager.or(self.manager) };
        if self.user == Some(said) && manager == self.manager {
            return;
        }
        if self.user.is_some() {
            self.moves_to((manager, elsewhere), now);
        } else {
            // That a directory begins to tell of somebody moves nobody.
            (self.manager, self.elsewhere) = (manager, elsewhere);
        }
        match (active, self.user) {
            // That they are not here counts as of when it was said last, whatever else was said then.
            (false, _) => self.goes(now),
            // The directory says nothing new of whether they are there.
            (true, Some((true, ..))) => {}
            (true, _) => {
                // The directory takes back all that was said.
                self.directory = Word { here: Some(now), left: None };
                self.stream = Word::default();
                self.returns(now);
            }
        }
        self.user = Some(said);
    }

    fn goes(&mut self, now: i64) {
        self.directory.left = Some(now);
        self.is_active = false;
    }

    /// The directory has them no longer.
    pub(crate) fn delete(&mut self, now: i64) {
        if self.user.take().is_some_and(|(active, ..)| active) {
            self.goes(now);
        }
    }

    /// The stream tells that they left within the second that begins `at` then.
    pub(crate) fn disabled(&mut self, at: i64) {
        let until = at + SECOND - 1;
        let is_later = |word: Option<i64>, than: i64| word.is_some_and(|word| word > than);
        let is_older = is_later(self.stream.here, until)
            || is_later(self.stream.left, until)
            || is_later(self.directory.here, until + SKEW);
        if !is_older {
            self.stream.left = Some(until);
            self.is_active = false;
        }
    }

    /// The stream tells that they were there again `at` that time.
    pub(crate) fn enabled(&mut self, at: i64, now: i64) {
        let is_known = |word: Option<i64>| word.is_some_and(|word| word >= at);
        if is_known(self.stream.here) || is_known(self.stream.left) {
            return;
        }
        self.stream = Word { here: Some(at), left: None };
        // It takes back what the directory told before, and nobody's word stands any longer.
        self.directory.left = self.directory.left.filter(|left| *left >= at);
        if self.directory.left.is_none()
            && let Some((active, ..)) = &mut self.user
            && !self.is_active
        {
            *active = true;
            self.returns(now);
        }
    }

    /// The stream tells that they were at that risk `at` that time: of nobody who is no user. Later wins, and of two at
    /// once the greater.
    pub(crate) fn rates(&mut self, level: RiskLevel, at: i64) {
        let said = Some((at, Some(level)));
        if self.user.is_some() && said >= self.rated {
            self.rated = said;
        }
    }
}

/// Of what a risk is said.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whom {
    Person(usize),
    Agent,
    /// What does the work of that number.
    Work(usize),
}

/// Where what acts stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active,
    Quarantined,
    Revoked,
}

/// A piece of work: when it began, on a mandate of when, and where what does it stands, at which risk.
#[derive(Clone, Copy, Debug)]
struct Work {
    opened: i64,
    given: i64,
    until: i64,
    state: State,
    risk: Option<RiskLevel>,
}

/// The agent, who answers for it, and what acts as it.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) now: i64,
    pub(crate) people: Vec<Human>,
    sponsor: usize,
    registered: i64,
    affirmed: i64,
    leased: i64,
    key: i64,
    /// When the review is due that awaits an answer.
    pub(crate) due: Option<i64>,
    /// The mandate on which work begins: of when, until when.
    mandate: (i64, i64),
    work: Vec<Work>,
    /// Whatever was stopped and not released: nothing begins meanwhile.
    stopped: BTreeSet<usize>,
    /// Until when the stream counts as heard.
    heard: i64,
    risk: Option<RiskLevel>,
    /// With which risk new work begins.
    risk_of_new: Option<RiskLevel>,
}

impl Model {
    /// Ann sponsors the agent and reports to Carl, he to Dora; the agent has begun something.
    pub(crate) fn new(now: i64, (registered, leased, key): (i64, i64, i64), until: i64) -> Self {
        let people = [Some(2), Some(2), Some(3), None].map(Human::new).into();
        let state = State::Active;
        let (opened, given, risk) = (registered, registered, None);
        let work = vec![Work { opened, given, until, state, risk }];
        Self {
            now,
            people,
            sponsor: 0,
            registered,
            affirmed: registered,
            leased,
            key,
            due: None,
            mandate: (registered, until),
            work,
            stopped: BTreeSet::new(),
            heard: now + SILENCE,
            risk,
            risk_of_new: risk,
        }
    }

    fn has_lapsed(&self) -> bool {
        self.due.is_some_and(|due| due <= self.now)
    }

    /// Whether the sponsor answers for the agent, as who they are.
    fn is_answered(&self) -> bool {
        let sponsor = &self.people[self.sponsor];
        sponsor.answers_for(self.registered)
            && sponsor.moved.is_none_or(|moved| self.affirmed > moved)
    }

    /// The greatest risk that anybody says of whom the work of that number hangs on.
    fn risk_at(&self, number: usize) -> Option<RiskLevel> {
        let sponsor = &self.people[self.sponsor];
        let rated = sponsor.rated.and_then(|(_, level)| level);
        self.work[number].risk.max(self.risk).max(sponsor.risk).max(rated)
    }

    /// At a high risk nothing is done; at a medium one, and while nobody was heard, what does no more than read.
    fn is_forbidden(&self, number: usize, does_more: bool) -> bool {
        match self.risk_at(number) {
            Some(RiskLevel::High) => true,
            Some(RiskLevel::Medium) => does_more,
            None | Some(RiskLevel::Low) => does_more && self.now >= self.heard,
        }
    }

    /// The stream tells something now, which it dates by the second.
    pub(crate) fn hears(&mut self) {
        let until = self.now / SECOND * SECOND + SILENCE;
        if until - self.heard >= NOTED {
            self.heard = until;
        }
    }

    /// What a call in the work of that number comes to, and why: one that reads, or one that does more.
    pub(crate) fn call(&self, number: usize, does_more: bool) -> &'static str {
        let (work, sponsor) = (self.work[number], &self.people[self.sponsor]);
        if work.state == State::Quarantined {
            "instance_quarantined"
        } else if work.state == State::Revoked || self.now >= self.key {
            "actor_not_active"
        } else if self.has_lapsed() {
            "review_lapsed"
        } else if self.now >= self.leased {
            "lease_ended"
        } else if !sponsor.answers_for(self.registered) || !sponsor.answers_for(work.given) {
            "sponsor_not_active"
        } else if !self.is_answered() {
            "sponsor_moved"
        } else if work.opened < self.registered || work.given < self.registered {
            "taken_over"
        } else if self.now >= work.until {
            "mandate_not_valid"
        } else if self.is_forbidden(number, does_more) {
            "forbidden"
        } else {
            "permitted"
        }
    }

    /// What beginning something comes to; if it may, it has begun.
    pub(crate) fn begin(&mut self) -> &'static str {
        if self.now >= self.key {
            "agent_not_active"
        } else if self.has_lapsed() {
            "agent_review_lapsed"
        } else if self.now >= self.leased {
            "agent_lease_ended"
        } else if !self.stopped.is_empty() {
            "agent_quarantined"
        } else if !self.is_answered() {
            "sponsor_not_active"
        } else {
            let ((given, until), risk) = (self.mandate, self.risk_of_new);
            self.work.push(Work { opened: self.now, given, until, state: State::Active, risk });
            "begun"
        }
    }

    /// An administrator stops what does the work of that number, until it is released.
    pub(crate) fn quarantine(&mut self, number: usize) -> &'static str {
        if self.work[number].state == State::Revoked {
            return "invalid";
        }
        self.work[number].state = State::Quarantined;
        self.stopped.insert(number);
        "done"
    }

    /// It is stopped for good.
    pub(crate) fn revoke(&mut self, number: usize) -> &'static str {
        self.work[number].state = State::Revoked;
        self.stopped.insert(number);
        "done"
    }

    /// Somebody else than the sponsor has looked at it: what comes after it may begin, and it acts again, unless it
    /// was stopped for good.
    pub(crate) fn release(&mut self, number: usize) -> &'static str {
        if !self.stopped.remove(&number) {
            return "invalid";
        }
        if self.work[number].state == State::Quarantined {
            self.work[number].state = State::Active;
        }
        "done"
    }

    fn risk_of(&mut self, whom: Whom) -> &mut Option<RiskLevel> {
        match whom {
            Whom::Person(who) => &mut self.people[who].risk,
            Whom::Agent => &mut self.risk,
            Whom::Work(number) => &mut self.work[number].risk,
        }
    }

    /// Somebody says that it is at a risk no lower than before; what acts at a high one is stopped.
    pub(crate) fn raise(&mut self, whom: Whom, level: RiskLevel) -> &'static str {
        let known = self.risk_of(whom);
        if *known > Some(level) {
            return "invalid";
        }
        *known = Some(level);
        if let Whom::Work(number) = whom {
            self.risk_of_new = self.risk_of_new.max(Some(level));
            if level == RiskLevel::High && self.work[number].state == State::Active {
                self.quarantine(number);
            }
        }
        "done"
    }

    /// Somebody else than the sponsor says that it is at a lower risk than before, whoever said that.
    pub(crate) fn lower(&mut self, whom: Whom, level: Option<RiskLevel>) -> &'static str {
        let lowers = |known: &mut Option<RiskLevel>| {
            let is_lower = *known > level;
            *known = (*known).min(level);
            is_lower
        };
        let own = lowers(self.risk_of(whom));
        let beside = match whom {
            Whom::Person(who) => {
                self.people[who].rated.as_mut().is_some_and(|(_, rated)| lowers(rated))
            }
            Whom::Agent => lowers(&mut self.risk_of_new),
            Whom::Work(_) => false,
        };
        if own || beside { "done" } else { "invalid" }
    }

    /// How many pieces of work there are.
    pub(crate) fn works(&self) -> usize {
        self.work.len()
    }

    /// Whether `who` may speak as the sponsor.
    fn is_sponsor(&self, who: usize) -> bool {
        who == self.sponsor && self.people[who].is_active
    }

    pub(crate) fn affirm(&mut self, who: usize) -> &'static str {
        if !self.is_sponsor(who) {
            return "refused";
        }
        self.affirmed = self.affirmed.max(self.now);
        "done"
    }

    pub(crate) fn renew(&mut self, who: usize) -> &'static str {
        if !self.is_sponsor(who) {
            return "refused";
        }
        if !self.is_answered() || self.has_lapsed() {
            return "invalid";
        }
        self.key = self.now + 90 * DAY;
        self.gives_lease();
        "done"
    }

    fn gives_lease(&mut self) {
        self.leased = self.now + 30 * DAY;
        self.mandate = (self.now, self.leased);
    }

    /// Begins anew: nothing of what was given before counts.
    fn begins_anew(&mut self) {
        self.due = self.due.filter(|_| !self.has_lapsed());
        (self.registered, self.affirmed) = (self.now, self.now);
        self.gives_lease();
    }

    /// Those to whom the sponsor reported, and their managers, take over, once nobody answers.
    pub(crate) fn take_over(&mut self, who: usize) -> &'static str {
        let (mut line, mut next) = (Vec::new(), self.people[self.sponsor].manager);
        while let Some(manager) = next.filter(|it| !line.contains(it)) {
            line.push(manager);
            next = self.people[manager].manager;
        }
        if !self.people[who].is_active || who == self.sponsor || !line.contains(&who) {
            return "refused";
        }
        if self.is_answered() {
            return "invalid";
        }
        self.sponsor = who;
        self.begins_anew();
        "done"
    }

    pub(crate) fn reinstate(&mut self, who: usize) -> &'static str {
        if !self.is_sponsor(who) {
            return "refused";
        }
        if !self.has_lapsed() || !self.is_answered() {
            return "invalid";
        }
        self.begins_anew();
        "done"
    }

    pub(crate) fn review(&mut self, days: i64) -> &'static str {
        if self.due.is_some() {
            return "invalid";
        }
        self.due = Some(self.now + days * DAY);
        "done"
    }

    pub(crate) fn certify(&mut self) -> &'static str {
        if self.due.is_none_or(|due| due <= self.now + 60 * SECOND) {
            return "invalid";
        }
        self.due = None;
        "done"
    }
}

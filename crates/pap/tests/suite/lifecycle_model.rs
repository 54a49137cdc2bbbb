//! What becomes of an agent and of the people behind it, as it is promised: a model in which nothing is
//! stored, cached, committed or asked of a policy. It is written from the promises, and not from the code.
//!
//! Times are milliseconds. Of two things at once, that which takes away counts.

use std::collections::BTreeSet;

use model::RiskLevel;

use crate::lifecycle_people::{Human, Risk, SECOND};

const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// With the how manieth tool of an hour that is not declared of it something is at risk.
const ASKED_MAX: u32 = 3;

/// How long the stream may say nothing, and how much of that has passed before it is noted anew that it was heard.
pub(crate) const SILENCE_MIN: u32 = 15;
const SILENCE: i64 = SILENCE_MIN as i64 * 60 * SECOND;
const NOTED: i64 = SILENCE / 3;

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

/// A piece of work: when it began, on whose behalf, on a mandate of when, and where what does it stands, at which risk.
#[derive(Clone, Copy, Debug)]
struct Work {
    /// Who consented to it; nobody, if it is on the sponsor's word.
    whose: Option<usize>,
    opened: i64,
    given: i64,
    until: i64,
    state: State,
    risk: Risk,
    departs: Departs,
}

/// At which risk the service itself sees something, until when.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    level: Option<RiskLevel>,
    until: i64,
}

impl Seen {
    fn level_at(self, now: i64) -> Option<RiskLevel> {
        self.level.filter(|_| now < self.until)
    }

    /// At medium risk until then, or until what is known of it ends, if that is later.
    fn raised(self, (now, until): (i64, i64)) -> Self {
        let until = self.level_at(now).map_or(until, |_| self.until.max(until));
        Self { level: Some(RiskLevel::Medium), until }
    }

    /// Somebody says that it is less; says whether it was more.
    fn lower(&mut self, level: Option<RiskLevel>, now: i64) -> bool {
        let is_greater = self.level_at(now) > level;
        if is_greater {
            *self = level.map_or_else(Self::default, |_| Self { level, ..*self });
        }
        is_greater
    }
}

/// What something asked for that is not declared of it, and what came of it.
#[derive(Clone, Copy, Debug, Default)]
struct Departs {
    seen: Seen,
    /// In which hour it asked last, and how often by now.
    asked: (i64, u32),
    /// The last hour in which it was raised.
    raised: Option<i64>,
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
    risk: Risk,
    /// With which risk new work begins, and as what the service sees it.
    risk_of_new: Option<RiskLevel>,
    seen_of_new: Seen,
}

impl Model {
    /// Ann, who leads, sponsors the agent and reports to Carl, he to Dora; the agent has begun something.
    pub(crate) fn new(now: i64, (registered, leased, key): (i64, i64, i64), until: i64) -> Self {
        let mut people: Vec<_> = [Some(2), Some(2), Some(3), None].map(Human::new).into();
        people[0].is_lead = true;
        let state = State::Active;
        let (opened, given, risk) = (registered, registered, Risk::default());
        let departs = Departs::default();
        let work = vec![Work { whose: None, opened, given, until, state, risk, departs }];
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
            risk_of_new: None,
            seen_of_new: Seen::default(),
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

    /// The greatest risk that anybody says of whom the work of that number hangs on, and at which what does it is seen.
    fn risk_at(&self, number: usize) -> Option<RiskLevel> {
        let Work { whose, risk, departs, .. } = &self.work[number];
        let people = [Some(self.sponsor), *whose].into_iter().flatten();
        let people = people.map(|who| self.people[who].risk);
        let said = people.chain([*risk, self.risk]).filter_map(|risk| risk.level()).max();
        said.max(departs.seen.level_at(self.now))
    }

    /// Whether who consented to this work, if anybody did, stands by that.
    fn is_stood_by(&self, work: &Work) -> bool {
        work.whose.is_none_or(|who| self.people[who].stands_by(work.opened))
    }

    /// At a high risk nothing is done; at a medium one, and while nobody was heard, what does no more than read.
    fn is_forbidden(&self, number: usize, does_more: bool) -> bool {
        match self.risk_at(number) {
            Some(RiskLevel::High) => true,
            Some(RiskLevel::Medium) => does_more,
            None | Some(RiskLevel::Low) => does_more && self.now >= self.heard,
        }
    }

    /// What the directory said by mistake of somebody is undone, three seconds after whatever came before.
    pub(crate) fn undoes(&mut self, who: usize, left: bool) {
        self.now += 3 * SECOND;
        self.people[who].undoes(left, self.now);
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
        } else if self.now >= work.until || !self.is_stood_by(&work) {
            "mandate_not_valid"
        } else if self.is_forbidden(number, does_more) {
            "forbidden"
        } else {
            "permitted"
        }
    }

    /// What beginning something comes to, on the sponsor's mandate, or for a day on what somebody consents to who is
    /// here; if it may, it has begun.
    pub(crate) fn begin(&mut self, whose: Option<usize>) -> &'static str {
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
        } else if whose.is_some_and(|who| !self.people[who].is_active) {
            "nobody_consents"
        } else {
            let (given, until) = whose.map_or(self.mandate, |_| (self.now, self.now + DAY));
            let (opened, state) = (self.now, State::Active);
            let risk = Risk::beginning_at(self.risk_of_new);
            let departs = Departs { seen: self.seen_of_new, ..Departs::default() };
            self.work.push(Work { whose, opened, given, until, state, risk, departs });
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

    fn risk_of(&mut self, whom: Whom) -> &mut Risk {
        match whom {
            Whom::Person(who) => &mut self.people[who].risk,
            Whom::Agent => &mut self.risk,
            Whom::Work(number) => &mut self.work[number].risk,
        }
    }

    /// Somebody says that it is at a risk no lower than before; what acts at a high one is stopped.
    pub(crate) fn raise(&mut self, whom: Whom, level: RiskLevel) -> &'static str {
        let known = &mut self.risk_of(whom).here;
        if *known > Some(level) {
            return "invalid";
        }
        *known = Some(level);
        self.spreads(whom, level);
        "done"
    }

    /// The stream tells that they were at that risk `at` that time; of a person whom the directory has not, it tells
    /// nothing.
    pub(crate) fn rates(&mut self, whom: Whom, level: RiskLevel, at: i64) {
        let is_known = match whom {
            Whom::Person(who) => self.people[who].is_user(),
            Whom::Agent | Whom::Work(_) => true,
        };
        if is_known && self.risk_of(whom).rates(level, at) {
            self.spreads(whom, level);
        }
    }

    /// What comes after what acts at a risk begins with that, and at a high one it is stopped.
    fn spreads(&mut self, whom: Whom, level: RiskLevel) {
        let Whom::Work(number) = whom else { return };
        self.risk_of_new = self.risk_of_new.max(Some(level));
        if level == RiskLevel::High && self.work[number].state == State::Active {
            self.quarantine(number);
        }
    }

    /// What does the work of that number asks for a tool that is not declared of it: with the third of an hour it is at
    /// risk for a day, once an hour, and so is what begins after it, until an hour sooner at most.
    pub(crate) fn departs(&mut self, number: usize) {
        let (now, hour) = (self.now, self.now.div_euclid(HOUR));
        let Work { state, departs, .. } = &mut self.work[number];
        if *state != State::Active || departs.raised == Some(hour) {
            return;
        }
        let (last, asked) = departs.asked;
        departs.asked = (hour, if last == hour { asked + 1 } else { 1 });
        if departs.asked.1 < ASKED_MAX {
            return;
        }
        departs.raised = Some(hour);
        departs.seen = departs.seen.raised((now, now + DAY));
        let known = self.seen_of_new;
        let of_new = known.raised((now, departs.seen.until));
        let is_as_much = known.level_at(now) == of_new.level && known.until + HOUR >= of_new.until;
        if !is_as_much {
            self.seen_of_new = of_new;
        }
    }

    /// Somebody else than the sponsor says that it is at a lower risk than before, whoever said that.
    pub(crate) fn lower(&mut self, whom: Whom, level: Option<RiskLevel>) -> &'static str {
        let (own, now) = (self.risk_of(whom).lower(level), self.now);
        let (of_new, seen) = match whom {
            Whom::Agent => (self.risk_of_new > level, self.seen_of_new.lower(level, now)),
            Whom::Work(number) => (false, self.work[number].departs.seen.lower(level, now)),
            Whom::Person(_) => (false, false),
        };
        if of_new {
            self.risk_of_new = level;
        }
        if own || of_new || seen { "done" } else { "invalid" }
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

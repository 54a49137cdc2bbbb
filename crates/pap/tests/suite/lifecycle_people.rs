//! The people behind an agent, and what is said of them: a part of the model of its life.
//!
//! Times are milliseconds. Of two things at once, that which takes away counts.

use model::RiskLevel;

/// The people of the directory. Each reports to somebody, or to nobody.
pub(crate) const PEOPLE: [&str; 4] = ["ann", "ben", "carl", "dora"];

pub(crate) const SECOND: i64 = 1_000;

/// How far the transmitter's clock may be behind ours, by which the directory's word is dated.
const SKEW: i64 = 300 * SECOND;

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
    /// By when what was begun in their login sessions is over.
    logged_out: Option<i64>,
    /// When their manager or their unit last changed.
    pub(crate) moved: Option<i64>,
    pub(crate) manager: Option<usize>,
    /// Whether they work at the other desk.
    elsewhere: bool,
    /// Whether they are in the group that makes eligible.
    pub(crate) is_lead: bool,
    /// What the directory said of them last, if they are a user at all.
    user: Option<Said>,
    directory: Word,
    stream: Word,
    pub(crate) risk: Risk,
}

impl Human {
    pub(crate) fn new(manager: Option<usize>) -> Self {
        let (directory, stream) = (Word::default(), Word::default());
        Self {
            is_active: true,
            cutoff: None,
            logged_out: None,
            moved: None,
            manager,
            elsewhere: false,
            is_lead: false,
            user: Some((true, manager, false)),
            directory,
            stream,
            risk: Risk::default(),
        }
    }

    /// Whether they are here, and what was given at `given` counts.
    pub(crate) fn answers_for(&self, given: i64) -> bool {
        self.is_active && self.cutoff.is_none_or(|cutoff| given > cutoff)
    }

    /// Whether what was begun on their behalf then still counts.
    pub(crate) fn stands_by(&self, begun: i64) -> bool {
        self.answers_for(begun) && self.logged_out.is_none_or(|over| begun > over)
    }

    /// The stream tells now that their sessions are over.
    pub(crate) fn logs_out(&mut self, now: i64) {
        self.logged_out = Some(now);
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

    /// The directory says that they are in the group that makes eligible, or are so no longer: who leaves it moves.
    /// Says whether there is anything to say: of a user, and not twice.
    pub(crate) fn leads(&mut self, joins: bool, now: i64) -> bool {
        let is_said = self.is_user() && joins != self.is_lead;
        if is_said {
            self.is_lead = joins;
            self.moved = if joins { self.moved } else { Some(now) };
        }
        is_said
    }

    /// The directory has them no longer, in no group either.
    pub(crate) fn delete(&mut self, now: i64) {
        self.leads(false, now);
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

    /// What the directory says of who is here, and by its word too.
    pub(crate) fn said_here(&self) -> Option<Said> {
        self.user.filter(|(active, ..)| *active && self.is_active)
    }

    /// That the directory said by mistake that they left, or moved, is undone: they are as they were, and who was away
    /// revives nothing.
    pub(crate) fn undoes(&mut self, left: bool, now: i64) {
        if left {
            self.cutoff = Some(now);
        }
    }

    /// Whether the directory has them.
    pub(crate) fn is_user(&self) -> bool {
        self.user.is_some()
    }
}

/// What is said of the risk of somebody.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Risk {
    /// Here.
    pub(crate) here: Option<RiskLevel>,
    /// When the stream last rated them, and how; at no risk any longer, if that was lowered here.
    rated: Option<(i64, Option<RiskLevel>)>,
}

impl Risk {
    /// What begins at that risk.
    pub(crate) fn beginning_at(here: Option<RiskLevel>) -> Self {
        Self { here, rated: None }
    }

    /// The greatest.
    pub(crate) fn level(&self) -> Option<RiskLevel> {
        self.here.max(self.rated())
    }

    fn rated(&self) -> Option<RiskLevel> {
        self.rated.and_then(|(_, level)| level)
    }

    /// The stream tells that they were at that risk `at` that time: later wins, and of two at once the greater. Says
    /// whether that counts, and is no lower than what it told before.
    pub(crate) fn rates(&mut self, level: RiskLevel, at: i64) -> bool {
        let (was, said) = (self.rated(), Some((at, Some(level))));
        if said < self.rated {
            return false;
        }
        self.rated = said;
        was <= Some(level)
    }

    /// Lowers whatever is greater; says whether anything was.
    pub(crate) fn lower(&mut self, level: Option<RiskLevel>) -> bool {
        let is_lower = self.level() > level;
        self.here = self.here.min(level);
        self.rated = self.rated.map(|(at, rated)| (at, rated.min(level)));
        is_lower
    }
}

//! Undoing a mistaken signal: one person asks for it and names the event, another approves it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    DecisionId, GroupName, Person, PersonId, PersonState, RecordId, Risk, Sha256Digest, SignalMark,
    SourceName, Speaker, Thumbprint, Timestamp, UnitName,
};

/// How long what was asked for waits for somebody to approve it.
pub const UNDO_WAITS: Duration = Duration::from_hours(1);

/// How long ago the first of it was told at most: what has been so for longer may have other reasons by now.
pub const UNDO_AGE_MAX: Duration = Duration::from_hours(30 * 24);

/// The most people whom one such act brings back.
pub const UNDONE_MAX: usize = 1_000;

/// That an event is undone, or that somebody asked for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    /// Its id.
    pub id: RecordId,
    /// The event.
    pub event: Mistake,
    /// Who told it.
    pub speaker: Speaker,
    /// The directory whose people it is about.
    pub directory: SourceName,
    /// Whom it suspended, each with how.
    pub people: BTreeMap<PersonId, Suspended>,
    /// Why, in a few words.
    pub reason: String,
    /// Who asked for it.
    pub asked_by: PersonId,
    /// The key by which they were known who asked, if by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Thumbprint>,
    /// When.
    pub asked: Timestamp,
    /// Where it stands in its life.
    pub state: UndoState,
}

/// What is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum Mistake {
    /// What one record tells.
    Record {
        /// The record.
        record: DecisionId,
    },
    /// What a directory, or a stream for it, told for a time.
    Span {
        /// The directory.
        directory: SourceName,
        /// The stream, if it is not the directory itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream: Option<SourceName>,
        /// From when.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
    },
}

/// How an event suspended a person, or what they sponsor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspended {
    /// They are gone by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Gone>,
    /// They moved by it: whom they sponsor they have to affirm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Changed<Position>>,
    /// Who told it rates them otherwise by it, whatever others say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rated: Option<Changed<Option<Risk>>>,
}

/// That a person is gone by an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gone {
    /// Since when.
    pub since: Timestamp,
    /// The latest, by the clock of who told it, at which it tells that they left.
    pub told: Timestamp,
}

/// What an event made of something of a person's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changed<T> {
    /// As it was before the first of what the event tells, and nothing else came between.
    pub was: T,
    /// As it was after the last.
    pub is: T,
}

/// Where a person works, and in which groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The groups that count.
    pub groups: BTreeSet<GroupName>,
    /// Since when, as far as that is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub joined: BTreeMap<GroupName, Timestamp>,
    /// Those that they join, and that wait.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub waits: BTreeSet<GroupName>,
    /// The unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
    /// To whom they report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<PersonId>,
    /// The digest of their roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Sha256Digest>,
    /// When they last moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Timestamp>,
    /// When they last left a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrowed: Option<Timestamp>,
}

/// The life of an undoing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum UndoState {
    /// Somebody asked for it.
    Asked,
    /// Somebody approved it, and it is done for those up to a person. The rest is done as long after that as it
    /// waited for it at most.
    Approved {
        /// Who.
        by: PersonId,
        /// When.
        at: Timestamp,
        /// The last one who was looked at.
        after: PersonId,
        /// How many are back.
        restored: usize,
    },
    /// It is done.
    Done {
        /// Who approved it.
        by: PersonId,
        /// When.
        at: Timestamp,
        /// How many are back; the others are gone by something else too, were back already, or it took too long.
        restored: usize,
    },
}

impl Undo {
    /// The digest of what was asked for.
    pub fn digest(&self) -> Sha256Digest {
        let asked = Self { state: UndoState::Asked, ..self.clone() };
        Sha256Digest::of(&json::canonical_of(&asked))
    }

    /// Whether it waits at `now` for somebody to approve it.
    pub fn waits(&self, now: Timestamp) -> bool {
        self.state == UndoState::Asked && now < self.asked.plus(UNDO_WAITS)
    }

    /// Whether nobody more is brought back at `now` by what somebody approved.
    pub fn is_past(&self, now: Timestamp) -> bool {
        matches!(self.state, UndoState::Approved { at, .. } if now >= at.plus(UNDO_WAITS))
    }

    /// The person at `now`, of whom `mark` is known, as far as the event suspended them, and nothing else before
    /// or since, as they were before that; none, if it did not. What was granted before stays dead, and ended
    /// sessions stay ended.
    pub fn restored(&self, person: &Person, mark: &SignalMark, now: Timestamp) -> Option<Person> {
        let suspended = self.people.get(&person.id)?;
        if person.source.as_ref() != Some(&self.directory) {
            return None;
        }
        let mut is = person.clone();
        if suspended.gone.is_some_and(|gone| self.is_gone_by(gone, person, mark)) {
            is.state = PersonState::Active { authorization_cutoff: Some(now) };
            is.waits.returns = None;
        }
        let position = Position::of(person);
        if let Some(Changed { was, .. }) =
            suspended.moved.as_ref().filter(|moved| moved.is.is_like(&position))
        {
            was.put_back(&mut is);
        }
        if let Some(Changed { was, .. }) =
            suspended.rated.as_ref().filter(|rated| rated.is == person.rated.by(&self.speaker))
        {
            is = is.with_rating(&self.speaker, was.clone());
        }
        (is != *person).then_some(is)
    }

    /// Whether `person`, of whom `mark` is known, is `gone` by the event, and by nothing else, before or since.
    fn is_gone_by(&self, Gone { since, told }: Gone, person: &Person, mark: &SignalMark) -> bool {
        let is_by_it = person.state == PersonState::Inactive { since };
        // Whoever is told to be back waits for nothing but that.
        let is_told_back = person.waits.returns.is_some();
        let only = mark.left.iter().all(|(speaker, at)| *speaker == self.speaker && *at <= told);
        is_by_it && (is_told_back || (mark.since == Some(since) && only))
    }
}

impl Suspended {
    /// The same, once `speaker` also made somebody who `was` so what they are.
    pub fn follow(&mut self, speaker: &Speaker, (was, is): (&Person, &Person)) {
        let positions = (Position::of(was), Position::of(is));
        follow(&mut self.moved, positions, Position::is_like);
        let ratings = (was.rated.by(speaker), is.rated.by(speaker));
        follow(&mut self.rated, ratings, PartialEq::eq);
    }

    /// What of it suspends anybody; none, if that is nothing. What only gave them something does not.
    #[must_use]
    pub fn settled(mut self) -> Option<Self> {
        self.moved = self.moved.filter(|moved| moved.was.is_narrowed_by(&moved.is));
        let level = |rated: &Option<Risk>| rated.as_ref().map(|risk| risk.level);
        self.rated = self.rated.filter(|rated| level(&rated.was) < level(&rated.is));
        (self != Self::default()).then_some(self)
    }
}

/// Makes what is `known` follow a change from what `was` to what `is`. If something else came between, what is
/// known begins with this one.
fn follow<T>(known: &mut Option<Changed<T>>, (was, is): (T, T), is_like: impl Fn(&T, &T) -> bool) {
    match known {
        Some(known) if is_like(&known.is, &was) => known.is = is,
        _ => *known = Some(Changed { was, is }),
    }
}

impl Position {
    /// Where `person` is.
    fn of(person: &Person) -> Self {
        Self {
            groups: person.groups.clone(),
            joined: person.joined.clone(),
            waits: person.waits.joins.keys().cloned().collect(),
            unit: person.unit.clone(),
            manager: person.manager.clone(),
            roles: person.roles,
            moved: person.moved,
            narrowed: person.narrowed,
        }
    }

    /// All groups that were told.
    fn told(&self) -> BTreeSet<&GroupName> {
        self.groups.union(&self.waits).collect()
    }

    /// Whether `other` is the same: that what waited counts by now makes no other one of it.
    fn is_like(&self, other: &Self) -> bool {
        let rest =
            |of: &Self| (of.unit.clone(), of.manager.clone(), of.roles, of.moved, of.narrowed);
        rest(self) == rest(other) && self.told() == other.told()
    }

    /// Whether who is at `is` instead has less than here, or has to affirm what they sponsor.
    fn is_narrowed_by(&self, is: &Self) -> bool {
        let told = is.told();
        self.moved != is.moved || self.groups.iter().any(|group| !told.contains(group))
    }

    /// Puts `person` back here: into the groups that counted, and into no other that did not wait then.
    fn put_back(&self, person: &mut Person) {
        person.groups.retain(|group| self.waits.contains(group));
        person.groups.extend(self.groups.iter().cloned());
        person.joined.retain(|group, _| self.waits.contains(group));
        person.joined.extend(self.joined.clone());
        let joined = &person.groups;
        person.waits.joins.retain(|group, _| self.waits.contains(group) && !joined.contains(group));
        person.unit.clone_from(&self.unit);
        person.manager.clone_from(&self.manager);
        person.roles = self.roles;
        person.moved = self.moved;
        person.narrowed = self.narrowed;
    }
}

impl SignalMark {
    /// What is known once what told that they left is undone: it counts no longer, and nothing later is
    /// taken for older because of that.
    #[must_use]
    pub fn undone(self) -> Self {
        Self { here: self.here, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Due, Rated, RiskLevel};

    fn caep() -> Speaker {
        Speaker::stream(&"caep".parse().expect("a source"))
    }

    fn ann(groups: &[&str], unit: &str, level: RiskLevel) -> Person {
        let groups = groups.iter().map(|name| name.parse().expect("a group")).collect();
        let unit = Some(unit.parse().expect("a unit"));
        let ann = Person { unit, ..Person::new("ann".parse().expect("a person"), groups) };
        ann.with_rating(&caep(), Some(Risk { level, since: Timestamp::from_millis(1) }))
    }

    fn moved(is: Person, at: i64) -> Person {
        Person { moved: Some(Timestamp::from_millis(at)), ..is }
    }

    /// What somebody else changed between two of what an event tells is not undone with it.
    #[test]
    fn what_comes_between_is_where_an_event_begins() {
        use RiskLevel::{High, Low, Medium};
        let desk = ann(&["staff"], "desk", Low);
        let counter = moved(ann(&["staff"], "counter", Low), 1);
        let back = moved(ann(&["staff"], "back", Medium), 2);
        let there = moved(ann(&["staff"], "there", High), 3);
        let undone = |all: &[(&Person, &Person)]| {
            let mut how = Suspended::default();
            for (was, is) in all {
                how.follow(&caep(), (was, is));
            }
            let how = how.settled()?;
            let unit = how.moved.and_then(|moved| moved.was.unit);
            let level = how.rated.and_then(|rated| rated.was).map(|risk| risk.level);
            Some((unit.map(|unit| unit.to_string()), level))
        };
        let text = |unit: &str| Some(unit.to_owned());
        assert_eq!(undone(&[]), None);
        assert_eq!(undone(&[(&desk, &desk)]), None);
        assert_eq!(undone(&[(&desk, &counter)]), Some((text("desk"), None)));
        assert_eq!(
            undone(&[(&desk, &counter), (&counter, &back)]),
            Some((text("desk"), Some(Low)))
        );
        assert_eq!(
            undone(&[(&desk, &counter), (&back, &there)]),
            Some((text("back"), Some(Medium)))
        );
        // What only gives somebody something suspends nobody.
        let more = ann(&["leads", "staff"], "desk", Low);
        assert_eq!(undone(&[(&desk, &more)]), None);
        assert_eq!(undone(&[(&more, &desk)]), Some((text("desk"), None)));
        let lower = Person { rated: Rated::default(), ..desk.clone() };
        assert_eq!(undone(&[(&desk, &lower)]), None);
    }

    /// Who is where they were before is in the groups that counted then, and in none that came by the event; what
    /// waited then, and was told since, counts if it came in force meanwhile.
    #[test]
    fn who_is_restored_is_in_the_groups_of_before() {
        let due = || Due { from: None, by: None };
        let waiting = |groups: &[&str], waits: &[&str]| {
            let mut is = ann(groups, "desk", RiskLevel::Low);
            let waits = waits.iter().map(|name| (name.parse().expect("a group"), due()));
            is.waits.joins = waits.collect();
            is
        };
        let check = |was: &Person, is: &Person, expected: &Person| {
            let mut restored = is.clone();
            Position::of(was).put_back(&mut restored);
            assert_eq!(&restored, expected);
        };
        let was = waiting(&["staff"], &["leads"]);
        check(&was, &waiting(&["others"], &["leads"]), &was);
        check(&was, &waiting(&["leads", "others"], &[]), &waiting(&["leads", "staff"], &[]));
        check(&was, &waiting(&[], &["staff"]), &waiting(&["staff"], &[]));
        check(&was, &waiting(&[], &["others"]), &waiting(&["staff"], &[]));
        // That it counts by now makes no other position of it.
        let is_like = |a: &Person, b: &Person| Position::of(a).is_like(&Position::of(b));
        assert!(is_like(&was, &waiting(&["leads", "staff"], &[])));
        assert!(!is_like(&was, &waiting(&["staff"], &[])));
        assert!(!is_like(&was, &moved(was.clone(), 1)));
        // Nor is it the same once they were in all of them again, and left one anew.
        let narrowed = Some(Timestamp::from_millis(1));
        assert!(!is_like(&was, &Person { narrowed, ..was.clone() }));
    }
}

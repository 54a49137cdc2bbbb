//! What widens somebody's standing waits: that they come back, and that they join a group that approves,
//! administers, or makes eligible to take over. It counts after a time, or once another person confirms it.
//!
//! INVARIANT: what waits counts for nothing: a person is inactive, and in no group, as long as that waits
//! (`sc_02_what_widens_waits_and_what_narrows_does_not`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{GroupName, Person, PersonId, PersonState, REKEY_ALONE_MIN, Timestamp};

/// The group of who administers: whoever joins it always waits.
pub const ADMINISTRATORS: &str = "administrators";

/// How long what widens waits, until somebody says otherwise.
const WAITS: Duration = Duration::from_hours(24);

/// The longest that it waits by itself.
pub const WAITS_MAX: Duration = Duration::from_hours(30 * 24);

/// The most groups that are named beside [`ADMINISTRATORS`].
pub const ELIGIBLE_MAX: usize = 64;

/// What waits in a deployment, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Widening {
    /// The groups, beside [`ADMINISTRATORS`], that approve, administer, or make eligible to take over.
    pub groups: BTreeSet<GroupName>,
    /// After how many seconds it counts by itself: at once, if after none; without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_s: Option<u64>,
    /// What it said before it was loosened, which goes on counting where one founder alone waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Stricter>,
    /// When it was last loosened: by a shorter time, or by a group of which it says nothing any longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loosened: Option<Timestamp>,
}

/// What a rule said that was loosened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stricter {
    /// After how many seconds it counted by itself; without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_s: Option<u64>,
    /// Until when that counts on.
    pub until: Timestamp,
}

impl Default for Widening {
    fn default() -> Self {
        Self {
            groups: BTreeSet::new(),
            after_s: Some(WAITS.as_secs()),
            before: None,
            loosened: None,
        }
    }
}

/// Since when, and by whose word, something waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Due {
    /// From when it counts by itself; without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Who asked for it, if a person did: they do not confirm it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

impl Due {
    /// Whether it counts by itself at `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.from.is_some_and(|from| from <= now)
    }
}

/// What is said of a person and waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waits {
    /// That they are back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns: Option<Due>,
    /// The groups that they join.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub joins: BTreeMap<GroupName, Due>,
}

impl Waits {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.returns.is_none() && self.joins.is_empty()
    }

    /// What of it is still told of who `is` told to be so.
    pub(crate) fn restricted_to(&self, is: &Person) -> Self {
        let joins = self.joins.iter().filter(|(group, _)| is.groups.contains(*group));
        let joins = joins.map(|(group, due)| (group.clone(), due.clone())).collect();
        Self { returns: self.returns.clone().filter(|_| is.is_active()), joins }
    }

    /// All that waits.
    pub fn all(&self) -> impl Iterator<Item = &Due> {
        self.returns.iter().chain(self.joins.values())
    }

    /// The same, of which whatever waits by the word of `before` waits by that of `by`.
    #[must_use]
    pub fn asked_by(mut self, (before, by): (&PersonId, &PersonId)) -> Self {
        let all = self.returns.iter_mut().chain(self.joins.values_mut());
        for due in all.filter(|due| due.by.as_ref() == Some(before)) {
            due.by = Some(by.clone());
        }
        self
    }
}

impl Widening {
    /// Whether whoever joins `group` waits.
    pub fn is_eligible(&self, group: &GroupName) -> bool {
        group.as_str() == ADMINISTRATORS || self.groups.contains(group)
    }

    /// How long a founder waits at `now` who does alone what takes two; without it, they never do. What was said before
    /// it was loosened counts as long as it would have waited, or, where it never counted by itself, as anything waits
    /// at most: whoever is alone has loosened nothing for themselves until then.
    pub fn alone_after(&self, now: Timestamp) -> Option<Duration> {
        alone(self.counts(now))
    }

    /// The rule as it is said anew at `now`.
    #[must_use]
    pub fn said(
        &self,
        (groups, after_s): (BTreeSet<GroupName>, Option<u64>),
        now: Timestamp,
    ) -> Self {
        let lasts = |after_s| alone(after_s).unwrap_or(Duration::MAX);
        let before = if lasts(after_s) < lasts(self.after_s) {
            let counts = self.counts(now);
            let until = now.plus(counts.map_or(WAITS_MAX, Duration::from_secs));
            Some(Stricter { after_s: counts, until })
        } else {
            let before = self.before.clone();
            before.filter(|it| now < it.until && lasts(after_s) < lasts(it.after_s))
        };
        let is = Self { groups, after_s, before, loosened: self.loosened };
        let loosened = if is.is_looser_than(self) { Some(now) } else { self.loosened };
        Self { loosened, ..is }
    }

    /// Whether by this rule anything waits less than by `other`.
    fn is_looser_than(&self, other: &Self) -> bool {
        let lasts = |rule: &Self| rule.after_s.unwrap_or(u64::MAX);
        lasts(self) < lasts(other) || !other.groups.is_subset(&self.groups)
    }

    /// How long ago the rule was last loosened, if `is`, which takes its place at `now`, has anything wait more.
    pub fn was_loose(&self, is: &Self, now: Timestamp) -> Option<Duration> {
        let since = self.loosened.filter(|_| self.is_looser_than(is))?;
        Some(now.since(since))
    }

    /// After how many seconds it counts at `now` where one founder alone waits.
    fn counts(&self, now: Timestamp) -> Option<u64> {
        let before = self.before.as_ref().filter(|before| now < before.until);
        before.map_or(self.after_s, |before| before.after_s)
    }

    /// What becomes at `now` of a person who `was` so, and of whom it is `told`, perhaps by a person, what
    /// they are: who comes back revives nothing, who moves or leaves a group that counts here affirms anew
    /// what they sponsor, and what widens waits, as long as it waited before.
    #[must_use]
    pub fn becomes(
        &self,
        (was, told): (Option<&Person>, Person),
        (by, now): (Option<&PersonId>, Timestamp),
    ) -> Person {
        let after = self.after_s.map(Duration::from_secs);
        let due = Due { from: after.map(|after| now.plus(after)), by: by.cloned() };
        let new = (after != Some(Duration::ZERO)).then_some(due);
        let mut is = was.map_or_else(|| told.clone(), |was| was.becomes(told.clone(), now));
        let known = was.map(|was| was.waits.clone()).unwrap_or_default();
        let comes_back = was.is_some_and(|was| !was.as_told().is_active()) && told.is_active();
        is.waits = Waits::default();
        let counted = |group: &GroupName| was.is_some_and(|was| was.groups.contains(group));
        for group in told.groups.iter().filter(|group| !counted(group)) {
            let waited = known.joins.get(group);
            let starts = waited.is_some() || self.is_eligible(group);
            let due = match waited.filter(|_| !comes_back) {
                Some(due) => Some(due.clone()),
                None => new.clone().filter(|_| starts),
            };
            if let Some(due) = due {
                is.groups.remove(group);
                is.waits.joins.insert(group.clone(), due);
            }
        }
        is.joined = was.map(|was| was.joined.clone()).unwrap_or_default();
        is.joined.retain(|group, _| is.groups.contains(group) && counted(group));
        // Whoever comes back was in none of them meanwhile.
        let is_new = |group: &GroupName| comes_back || !counted(group);
        let joins = is.groups.iter().filter(|group| self.is_eligible(group) && is_new(group));
        is.joined.extend(joins.map(|group| (group.clone(), now)));
        let Some(was) = was else { return is };
        if is.is_active() && !was.is_active() {
            is.waits.returns = if comes_back { new } else { known.returns.clone() };
            if is.waits.returns.is_some() {
                is.state = was.state;
            }
        } else if known.returns.is_some() {
            is.state = PersonState::Inactive { since: now };
        }
        if was.groups.iter().any(|group| self.is_eligible(group) && !told.groups.contains(group)) {
            is.moved = Some(now);
        }
        is
    }
}

/// How long a founder waits alone where what widens counts after `after_s`.
fn alone(after_s: Option<u64>) -> Option<Duration> {
    after_s.map(|after| Duration::from_secs(after).max(REKEY_ALONE_MIN))
}

impl Person {
    /// The person as they were told to be, whatever of that waits.
    #[must_use]
    pub fn as_told(&self) -> Self {
        let mut told = self.clone();
        told.groups.extend(self.waits.joins.keys().cloned());
        if self.waits.returns.is_some() {
            told.state = PersonState::Active { authorization_cutoff: None };
        }
        told.waits = Waits::default();
        told
    }

    /// The person of whom at `now` all counts that waited and is `over`; none, if that is nothing. Of who is
    /// gone nothing counts but that they are back.
    pub fn widened(&self, over: impl Fn(&Due) -> bool, now: Timestamp) -> Option<Self> {
        let mut is = self.clone();
        if is.waits.returns.take_if(|due| over(due)).is_some() {
            is.state = PersonState::Active { authorization_cutoff: Some(now) };
            is.rejoins(now);
        }
        if is.is_active() {
            let joins = std::mem::take(&mut is.waits.joins);
            let (over, wait): (BTreeMap<_, _>, _) =
                joins.into_iter().partition(|(_, due)| over(due));
            is.joined.extend(over.keys().map(|group| (group.clone(), now)));
            is.groups.extend(over.into_keys());
            is.waits.joins = wait;
        }
        (is != *self).then_some(is)
    }

    /// Says that the person, who was away, is since `now` in the groups in which they were before.
    pub fn rejoins(&mut self, now: Timestamp) {
        self.joined.values_mut().for_each(|since| *since = now);
    }

    /// The groups in which the person was that approve, administer, or make eligible to take over, and is not any
    /// longer at `now`, as `is` tells, each with how long that was, as far as that is known. Who is away is in none.
    pub fn left<'a>(
        &'a self,
        is: &'a Self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'a GroupName, Duration)> {
        let (was_here, goes) = (self.is_active(), !is.is_active());
        let leaves = move |group: &GroupName| was_here && (goes || !is.groups.contains(group));
        let left = self.joined.iter().filter(move |(group, _)| leaves(group));
        left.map(move |(group, since)| (group, now.since(*since)))
    }

    /// The person, who is gone since `now`, unless they were told to be gone before.
    #[must_use]
    pub fn gone(&self, now: Timestamp) -> Self {
        let mut is = self.clone();
        if is.is_active() || is.waits.returns.take().is_some() {
            is.state = PersonState::Inactive { since: now };
        }
        is
    }

    /// When the next of what waits counts by itself.
    pub fn waits_until(&self) -> Option<Timestamp> {
        self.waits.all().filter_map(|due| due.from).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_millis(hour * HOUR)
    }

    fn groups(names: &[&str]) -> BTreeSet<GroupName> {
        names.iter().map(|name| name.parse().expect("a group")).collect()
    }

    fn ann(names: &[&str]) -> Person {
        Person::new("ann".parse().expect("a person"), groups(names))
    }

    /// A rule by which joining `approvers` waits an hour.
    fn rule() -> Widening {
        Widening { groups: groups(&["approvers"]), after_s: Some(3_600), ..Widening::default() }
    }

    /// What of `person` counts, and what waits.
    fn stands(person: &Person) -> (bool, Vec<&str>, bool, Vec<&str>) {
        let counted = person.groups.iter().map(GroupName::as_str).collect();
        let waiting = person.waits.joins.keys().map(GroupName::as_str).collect();
        (person.is_active(), counted, person.waits.returns.is_some(), waiting)
    }

    #[test]
    fn sc_02_what_widens_waits_and_what_narrows_does_not() {
        let told = |was: Option<&Person>, told: Person, hour: i64| {
            rule().becomes((was, told), (None, at(hour)))
        };
        // Who appears is here; what approves waits, though they are new.
        let new = told(None, ann(&["staff", "approvers"]), 0);
        assert_eq!(stands(&new), (true, vec!["staff"], false, vec!["approvers"]));
        assert_eq!(new.as_told().groups, groups(&["staff", "approvers"]));
        // What was told again waits as long as before.
        let again = told(Some(&new), new.as_told(), 1);
        assert_eq!(again.waits, new.waits);
        assert_eq!(again.widened(|due| due.is_over(at(0)), at(0)), None);
        let joined = again.widened(|due| due.is_over(at(1)), at(1)).expect("it is time");
        assert_eq!(stands(&joined), (true, vec!["approvers", "staff"], false, vec![]));
        let since = joined.joined.iter().map(|(group, since)| (group.as_str(), *since));
        assert_eq!(since.collect::<Vec<_>>(), [("approvers", at(1))]);
        // Who leaves it before never had it; who leaves it after affirms anew what they sponsor.
        let left = told(Some(&new), ann(&["staff"]), 1);
        assert_eq!((stands(&left), left.moved), ((true, vec!["staff"], false, vec![]), None));
        let left = told(Some(&joined), ann(&["staff"]), 2);
        assert_eq!((left.moved, &left.joined), (Some(at(2)), &BTreeMap::new()));
        let was_in = |is: &Person, hour: i64| -> Vec<(String, Duration)> {
            let left = joined.left(is, at(hour));
            left.map(|(group, lasted)| (group.to_string(), lasted)).collect()
        };
        let an_hour = vec![("approvers".to_owned(), Duration::from_hours(1))];
        assert_eq!(was_in(&left, 2), an_hour);
        assert_eq!(was_in(&joined.gone(at(2)), 2), an_hour);
        assert_eq!(was_in(&told(Some(&joined), ann(&["approvers"]), 2), 2), []);
        assert_eq!(told(Some(&joined), ann(&["approvers"]), 2).moved, None);
        // Who is gone is so at once, and comes back later, with what still waits.
        let gone = told(Some(&new), new.as_told().gone(at(1)), 1);
        assert_eq!(stands(&gone), (false, vec!["staff"], false, vec!["approvers"]));
        assert_eq!(gone.widened(|_| true, at(1)), None);
        let mut back = gone.as_told();
        back.state = new.state;
        let back = told(Some(&gone), back, 5);
        assert_eq!(stands(&back), (false, vec!["staff"], true, vec!["approvers"]));
        assert_eq!(back.waits_until(), Some(at(6)));
        let here = back.widened(|due| due.is_over(at(6)), at(6)).expect("it is time");
        assert_eq!(stands(&here), (true, vec!["approvers", "staff"], false, vec![]));
        assert!(!here.answers_for(at(6)));
        // Who leaves meanwhile does not come back.
        let gone = told(Some(&back), back.as_told().gone(at(6)), 6);
        assert_eq!(stands(&gone), (false, vec!["staff"], false, vec!["approvers"]));
        assert_eq!(gone.state, PersonState::Inactive { since: at(6) });
    }

    #[test]
    fn who_comes_back_is_in_a_group_since_then_and_who_is_away_leaves_none() {
        let told =
            |was: &Person, is: Person, hour: i64| rule().becomes((Some(was), is), (None, at(hour)));
        let lasted = |was: &Person, is: &Person, hour: i64| -> Vec<Duration> {
            was.left(is, at(hour)).map(|(_, lasted)| lasted).collect()
        };
        let waits = rule().becomes((None, ann(&["approvers"])), (None, at(0)));
        let joined = waits.widened(|_| true, at(1)).expect("it waited");
        let gone = told(&joined, joined.gone(at(9)), 9);
        assert_eq!(lasted(&joined, &gone, 9), [Duration::from_hours(8)]);
        let elsewhere = told(&gone, ann(&[]).gone(at(9)), 10);
        assert!(lasted(&gone, &elsewhere, 10).is_empty(), "they are away");
        let mut back = gone.as_told();
        back.state = joined.state;
        let waits = told(&gone, back.clone(), 20);
        assert_eq!(waits.waits_until(), Some(at(21)));
        // What is told again changes nothing.
        assert_eq!(told(&waits, waits.as_told(), 21), waits);
        let here = waits.widened(|_| true, at(21)).expect("it waited");
        assert_eq!(lasted(&here, &here.gone(at(22)), 22), [Duration::from_hours(1)]);
        // So is who waits for nothing, also where nobody knows since when they were in it.
        let rule = Widening { after_s: Some(0), ..rule() };
        let unknown = Person { joined: BTreeMap::new(), ..gone };
        let here = rule.becomes((Some(&unknown), back), (None, at(20)));
        assert_eq!(lasted(&here, &here.gone(at(21)), 21), [Duration::from_hours(1)]);
    }

    #[test]
    fn what_waits_for_nothing_counts_at_once_and_what_waits_for_a_person_never_by_itself() {
        let of = |after_s: Option<u64>| {
            let rule = Widening { after_s, ..rule() };
            let new = rule.becomes((None, ann(&["administrators"])), (None, at(0)));
            let later = new.widened(|due| due.is_over(at(1_000_000)), at(1_000_000));
            assert_eq!(new.joined.len(), new.groups.len(), "since when they are in it is known");
            (stands(&new).3.len(), later.is_some())
        };
        assert_eq!(of(Some(0)), (0, false));
        assert_eq!(of(None), (1, false));
        assert_eq!(of(Some(60)), (1, true));
    }

    /// Nobody shortens for themselves how long they wait alone, whatever they say of it, and in whatever order.
    #[test]
    fn what_is_loosened_counts_on_where_one_founder_alone_waits() {
        let check = |said: &[(i64, Option<u64>)], expected: &[(i64, Option<i64>)]| {
            let days = |days: u64| days * 24 * 3_600;
            let mut rule = Widening { after_s: said[0].1.map(days), ..rule() };
            for (day, after) in &said[1..] {
                rule = rule.said((rule.groups.clone(), after.map(days)), at(day * 24));
            }
            for (day, alone) in expected {
                let alone = alone.map(|days| Duration::from_hours(24 * days.unsigned_abs()));
                assert_eq!(rule.alone_after(at(day * 24)), alone, "{said:?} on day {day}");
            }
        };
        check(&[(0, Some(0))], &[(0, Some(1))]);
        check(&[(0, None)], &[(1_000, None)]);
        check(&[(0, Some(0)), (1, None)], &[(1, None)]);
        check(&[(0, None), (1, Some(0))], &[(1, None), (30, None), (31, Some(1))]);
        check(&[(0, Some(10)), (1, Some(2))], &[(1, Some(10)), (10, Some(10)), (11, Some(2))]);
        // What is said again, or tightened, neither shortens nor lengthens it.
        check(&[(0, None), (1, Some(0)), (9, Some(0))], &[(30, None), (31, Some(1))]);
        check(&[(0, None), (1, Some(0)), (9, Some(5))], &[(30, None), (31, Some(5))]);
        check(&[(0, None), (1, Some(5)), (9, Some(0))], &[(38, None), (39, Some(1))]);
        check(&[(0, Some(10)), (1, Some(2)), (2, Some(20))], &[(2, Some(20)), (50, Some(20))]);
        check(&[(0, Some(3)), (1, Some(2)), (9, Some(0))], &[(10, Some(2)), (11, Some(1))]);
        // Between what only waits less than a day nothing differs for who is alone.
        let rule = rule().said((BTreeSet::new(), Some(0)), at(0));
        assert_eq!(rule.before, None);
    }
}

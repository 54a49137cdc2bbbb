//! What a list of people changes, person by person, in parts that each fit one transaction.

use std::collections::BTreeMap;

use model::{FactKey, Person, PersonId, PersonState, SourceName, Timestamp, Widening};
use oauth::people::Login;

use super::listed::{Entry, Listed};

/// The most facts that one part reads and writes for people; with those of the act itself, they fit
/// one transaction.
const PART_MAX: usize = 112;

/// The register, as far as a list can concern it.
pub(crate) struct Register {
    pub(crate) people: BTreeMap<PersonId, Person>,
    /// Whose each login is.
    pub(crate) logins: BTreeMap<FactKey, PersonId>,
}

/// What becomes of one person.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) was: Option<Person>,
    pub(crate) is: Person,
    /// Logins that become the person's, and whether each is known already as another's.
    pub(crate) joined: Vec<(FactKey, Login, bool)>,
    /// Logins that are nobody's any longer.
    pub(crate) parted: Vec<FactKey>,
}

impl Change {
    /// How many facts it reads and writes at most.
    fn size(&self) -> usize {
        let waits = usize::from(!self.is.waits.is_empty());
        3 + waits + self.joined.len() + self.parted.len()
    }

    /// What happens to the person, in a word.
    pub(crate) fn word(&self) -> &'static str {
        match (&self.was, self.is.is_active()) {
            (None, _) => "added",
            (Some(was), false)
                if was.waits.returns.is_none() && self.is.waits.returns.is_some() =>
            {
                "returning"
            }
            (Some(was), true) if !was.is_active() => "returned",
            (Some(was), false) if was.is_active() => "deactivated",
            _ => "changed",
        }
    }
}

/// What a list changes, and what of it is left out.
pub(crate) struct Plan {
    /// The changes: who leaves comes first.
    pub(crate) changes: Vec<Change>,
    /// What the list says of people, and of logins, that are not its source's: why each is left out.
    pub(crate) conflicts: Vec<String>,
}

/// Everything that `listed` changes of what `source` said before. Nothing is changed of people, and no
/// login taken, that are not the source's; nor does any of those keep somebody who leaves.
pub(crate) fn plan(
    register: &Register,
    (source, listed): (&SourceName, &Listed),
    (rule, by, now): (&Widening, &PersonId, Timestamp),
) -> Plan {
    let is_own = |person: &Person| person.source.as_ref() == Some(source);
    let is_others = |id: &&PersonId| register.people.get(*id).is_some_and(|person| !is_own(person));
    let others = listed.people.keys().filter(is_others);
    let mut conflicts: Vec<String> =
        others.map(|id| format!("`{id}` is in the register, and not by this source")).collect();
    let (mut logins, taken) = logins(register, (source, listed));
    conflicts.extend(taken);
    let gone = register.people.values().filter(|person| is_own(person)).map(|person| &person.id);
    let gone = gone.filter(|id| !listed.people.contains_key(id));
    let mut all = Vec::new();
    for id in listed.people.keys().chain(gone).filter(|id| !is_others(id)) {
        let was = register.people.get(id);
        let told = told((id, was), (source, listed.people.get(id)), now);
        let is = rule.becomes((was, told), (Some(by), now));
        let (joined, parted) = logins.remove(id).unwrap_or_default();
        if was != Some(&is) || !joined.is_empty() || !parted.is_empty() {
            all.push(Change { was: was.cloned(), is, joined, parted });
        }
    }
    all.sort_by_key(|change| change.is.is_active());
    Plan { changes: all, conflicts }
}

/// What the list tells of the person `id`, of whom it says `entry`, or nothing.
fn told(
    (id, was): (&PersonId, Option<&Person>),
    (source, entry): (&SourceName, Option<&Entry>),
    now: Timestamp,
) -> Person {
    let listed = Person::new(id.clone(), std::collections::BTreeSet::new());
    let mut is = was.map_or(listed, Person::as_told);
    if let Some(Entry { groups, unit, manager, .. }) = entry {
        (is.groups, is.unit, is.manager) = (groups.clone(), unit.clone(), manager.clone());
    }
    is.source = Some(source.clone());
    is.state = if entry.is_some_and(|entry| entry.active) {
        PersonState::Active { authorization_cutoff: None }
    } else {
        PersonState::Inactive { since: now }
    };
    is
}

/// The logins that each person gains and loses.
type Logins = BTreeMap<PersonId, (Vec<(FactKey, Login, bool)>, Vec<FactKey>)>;

/// Those, and why others are not gained.
fn logins(register: &Register, (source, listed): (&SourceName, &Listed)) -> (Logins, Vec<String>) {
    let (mut all, mut conflicts) = (Logins::new(), Vec::new());
    let is_own = |id: &PersonId| {
        register.people.get(id).is_some_and(|person| person.source.as_ref() == Some(source))
    };
    for (key, (id, login)) in &listed.logins {
        let known = register.logins.get(key);
        if let Some(other) = known.filter(|other| !is_own(other)) {
            let Login { issuer, subject } = login;
            conflicts.push(format!("the login `{subject}` of `{issuer}` is that of `{other}`"));
        } else if known != Some(id) {
            let joined = (key.clone(), login.clone(), known.is_some());
            all.entry(id.clone()).or_default().0.push(joined);
        }
    }
    let parted = register.logins.iter().filter(|(key, _)| !listed.logins.contains_key(key));
    for (key, id) in parted.filter(|(_, id)| is_own(id)) {
        all.entry(id.clone()).or_default().1.push(key.clone());
    }
    (all, conflicts)
}

/// The same changes in parts, of which there is at least one.
pub(crate) fn parts(changes: Vec<Change>) -> Vec<Vec<Change>> {
    let (mut parts, mut size) = (vec![Vec::new()], 0);
    for change in changes {
        size += change.size();
        if size > PART_MAX {
            size = change.size();
            parts.push(Vec::new());
        }
        parts.last_mut().expect("there is at least one").push(change);
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use oauth::people::ListedPerson;
    use proptest::prelude::*;

    use super::*;

    /// The people who may be in a list, active or not: for each, whether, and by which login.
    fn list() -> impl Strategy<Value = Vec<ListedPerson>> {
        let person = (any::<bool>(), any::<bool>(), 0..4_u8);
        proptest::collection::vec(person, 5).prop_map(|people| {
            let mut taken = BTreeSet::new();
            let listed = people.iter().enumerate().filter(|(_, (listed, ..))| *listed);
            let person = |(n, (_, active, subject)): (usize, &(bool, bool, u8))| {
                let login =
                    Login { issuer: "https://idp".to_owned(), subject: subject.to_string() };
                let logins = taken.insert(*subject).then_some(login).into_iter().collect();
                let (id, active) = (format!("p{n}"), *active);
                let (groups, unit, manager) = (Vec::new(), None, None);
                ListedPerson { id, active, groups, unit, manager, logins }
            };
            listed.map(person).collect()
        })
    }

    /// Puts `listed` in force at `now`, part by part.
    fn apply(register: &mut Register, source: &SourceName, listed: &Listed, now: Timestamp) {
        let rule = Widening { after_s: Some(0), ..Widening::default() };
        let by = "ada".parse().expect("a person");
        let said = (&rule, &by, now);
        let Plan { changes: all, conflicts } = plan(register, (source, listed), said);
        assert!(conflicts.is_empty(), "{conflicts:?}");
        let leaving = all.iter().rposition(|change| !change.is.is_active());
        let staying = all.iter().position(|change| change.is.is_active());
        assert!(leaving.zip(staying).is_none_or(|(last, first)| last < first));
        for part in parts(all) {
            assert!(part.iter().map(Change::size).sum::<usize>() <= PART_MAX);
            for change in part {
                let id = change.is.id.clone();
                register.people.insert(id.clone(), change.is);
                for (key, _, is_known) in change.joined {
                    assert_eq!(register.logins.insert(key, id.clone()).is_some(), is_known);
                }
                for key in change.parted {
                    assert_eq!(register.logins.remove(&key), Some(id.clone()));
                }
            }
        }
    }

    proptest! {
        /// Whatever lists follow each other: who is there is who the last one says, nobody else
        /// changes, and what was granted before somebody left never counts again.
        #[test]
        fn whoever_comes_back_revives_nothing_whatever_lists_follow_each_other(
            lists in proptest::collection::vec(list(), 1..8),
        ) {
            let source: SourceName = "hr".parse().expect("a source");
            let mut others = [Person::new("hand".parse().expect("a person"), BTreeSet::new()),
                              Person::new("other".parse().expect("a person"), BTreeSet::new())];
            others[1].source = Some("payroll".parse().expect("a source"));
            let people = others.clone().map(|person| (person.id.clone(), person)).into();
            let mut register = Register { people, logins: BTreeMap::new() };
            let mut dead: BTreeMap<PersonId, Timestamp> = BTreeMap::new();
            for (day, people) in lists.iter().enumerate() {
                let now = Timestamp::from_seconds(i64::try_from(day).expect("few") * 10);
                let listed = Listed::of(people).expect("it makes sense");
                apply(&mut register, &source, &listed, now);
                for person in &others {
                    prop_assert_eq!(&register.people[&person.id], person);
                }
                for person in register.people.values().filter(|it| it.source == Some(source.clone())) {
                    let entry = listed.people.get(&person.id);
                    prop_assert_eq!(person.is_active(), entry.is_some_and(|entry| entry.active));
                    if !person.is_active() {
                        dead.insert(person.id.clone(), now);
                    }
                    let since = dead.get(&person.id);
                    prop_assert!(since.is_none_or(|since| !person.answers_for(*since)));
                }
                let logins = listed.logins.iter().map(|(key, (id, _))| (key.clone(), id.clone()));
                prop_assert_eq!(&register.logins, &logins.collect::<BTreeMap<_, _>>());
            }
        }
    }
}

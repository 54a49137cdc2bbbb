//! Who is asked about an agent: who answers for it, and who may follow them once they left.

use std::collections::{BTreeMap, BTreeSet};

use model::{Agent, FactKey, LINE_MAX, Person, PersonId, Reminder, SponsorLeft};
use store::Store;

use crate::FactsError;
use crate::reader::Reader;

/// The people of one look: who was read for one agent is not read again for the next.
pub(crate) struct People<'a> {
    store: &'a dyn Store,
    known: BTreeMap<PersonId, Option<Person>>,
}

impl<'a> People<'a> {
    pub(crate) const fn of(store: &'a dyn Store) -> Self {
        Self { store, known: BTreeMap::new() }
    }

    /// The person `id`, if they are in the register.
    pub(crate) async fn find(&mut self, id: &PersonId) -> Result<Option<&Person>, FactsError> {
        if !self.known.contains_key(id) {
            let person = Reader::new(self.store).find::<Person>(FactKey::person(id)).await?;
            self.known.insert(id.clone(), person);
        }
        Ok(self.known.get(id).and_then(Option::as_ref))
    }

    /// Those who are here of whom `reminder` of `agent` is for.
    pub(crate) async fn asked(
        &mut self,
        agent: &Agent,
        reminder: &Reminder,
    ) -> Result<Vec<PersonId>, FactsError> {
        match reminder {
            Reminder::Ends(ends) => {
                let opened_by = agent.review.open.as_ref().map(|open| &open.opened_by);
                let opened_by = opened_by.filter(|_| ends.review.is_some());
                let answer = std::iter::once(&agent.sponsor).chain(&agent.backups).chain(opened_by);
                self.here(answer).await
            }
            Reminder::Stopped(left) => self.may_follow(agent, left).await,
        }
    }

    /// Who is asked to follow the sponsor of `agent`: whom it names for that; if nobody of them is here, the
    /// nearest of those to whom the sponsor reported; at last who wants what it does. Beside them the sponsor,
    /// if they are here and may affirm it.
    async fn may_follow(
        &mut self,
        agent: &Agent,
        left: &SponsorLeft,
    ) -> Result<Vec<PersonId>, FactsError> {
        let mut asked = self.here(&agent.backups).await?;
        if asked.is_empty() {
            asked.extend(self.above(&agent.sponsor).await?);
        }
        if asked.is_empty() && agent.business_owner != agent.sponsor {
            asked = self.here([&agent.business_owner]).await?;
        }
        if left.has_moved && !asked.contains(&agent.sponsor) {
            asked.push(agent.sponsor.clone());
        }
        Ok(asked)
    }

    /// The nearest who is here of those to whom `person` reports.
    async fn above(&mut self, person: &PersonId) -> Result<Option<PersonId>, FactsError> {
        let (mut next, mut passed) = (person.clone(), BTreeSet::from([person.clone()]));
        while passed.len() <= LINE_MAX {
            let manager = self.find(&next).await?.and_then(|person| person.manager.clone());
            let Some(manager) = manager.filter(|manager| passed.insert(manager.clone())) else {
                return Ok(None);
            };
            if self.find(&manager).await?.is_some_and(Person::is_active) {
                return Ok(Some(manager));
            }
            next = manager;
        }
        Ok(None)
    }

    /// Those of `people` who are here, each once.
    async fn here<'p>(
        &mut self,
        people: impl IntoIterator<Item = &'p PersonId>,
    ) -> Result<Vec<PersonId>, FactsError> {
        let mut here = Vec::new();
        for id in people.into_iter().collect::<BTreeSet<_>>() {
            if self.find(id).await?.is_some_and(Person::is_active) {
                here.push(id.clone());
            }
        }
        Ok(here)
    }
}

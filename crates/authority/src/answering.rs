//! Who answers for what is found, nearest first: owners of the tools of the server that was wanted,
//! whom each of them reports to, and at last who administers.

use std::collections::{BTreeMap, BTreeSet};

use journal::Journal;
use model::{ADMINISTRATORS, FactKey, Finding, LINE_MAX, Person, PersonId, ServerName, Tool};

use crate::FactsError;
use crate::reader::{self, Reader};

/// The lines of one look: what is read for one finding is not read again for the next.
pub(crate) struct Lines {
    journal: Journal,
    /// Active owners and those above them, by server.
    nearest: BTreeMap<ServerName, Vec<PersonId>>,
    /// Active administrators, once somebody has come to them.
    last: Option<Vec<PersonId>>,
}

impl Lines {
    pub(crate) const fn of(journal: Journal) -> Self {
        Self { journal, nearest: BTreeMap::new(), last: None }
    }

    /// Who is to be told of `finding` next, if anybody is left.
    pub(crate) async fn next(&mut self, finding: &Finding) -> Result<Option<PersonId>, FactsError> {
        let left = |line: &[PersonId]| {
            let is_told = |person: &PersonId| finding.told.iter().any(|it| it.person == *person);
            line.iter().find(|person| !is_told(person)).cloned()
        };
        if let Some(server) = &finding.stranger.server {
            if !self.nearest.contains_key(server) {
                let nearest = self.read_nearest(server).await?;
                self.nearest.insert(server.clone(), nearest);
            }
            if let Some(person) = self.nearest.get(server).and_then(|line| left(line)) {
                return Ok(Some(person));
            }
        }
        if self.last.is_none() {
            self.last = Some(self.read_last().await?);
        }
        Ok(self.last.as_deref().and_then(left))
    }

    /// Who left is not told; whom they reported to is.
    async fn read_nearest(&self, server: &ServerName) -> Result<Vec<PersonId>, FactsError> {
        let store = self.journal.store().as_ref();
        let tools: Vec<Tool> = reader::all(store, &format!("tool/{server}/")).await?;
        let mut level: Vec<_> = tools.into_iter().filter_map(|tool| tool.owner).collect();
        let (mut reader, mut line, mut known) = (Reader::new(store), Vec::new(), BTreeSet::new());
        for _ in 0..=LINE_MAX {
            let mut above = Vec::new();
            for id in level {
                if !known.insert(id.clone()) {
                    continue;
                }
                let Some(person) = reader.find::<Person>(FactKey::person(&id)).await? else {
                    continue;
                };
                above.extend(person.manager.clone());
                line.extend(person.is_active().then_some(person.id));
            }
            level = above;
        }
        Ok(line)
    }

    async fn read_last(&self) -> Result<Vec<PersonId>, FactsError> {
        let people: Vec<Person> = reader::all(self.journal.store().as_ref(), "person/").await?;
        let administers =
            |person: &Person| person.groups.iter().any(|group| group.as_str() == ADMINISTRATORS);
        let active = people.into_iter().filter(|person| person.is_active() && administers(person));
        Ok(active.map(|person| person.id).collect())
    }
}

//! Who answers for what is found, nearest first: owners of the tools of the server that was wanted, or of an agent
//! that departed from what is declared of it who keeps it running and its sponsor; whom each of them reports to, and
//! at last who administers.

use std::collections::{BTreeMap, BTreeSet};

use journal::Journal;
use model::{
    ADMINISTRATORS, Agent, Departure, FactKey, Finding, LINE_MAX, Person, PersonId, Stranger, Tool,
};

use crate::FactsError;
use crate::reader::{self, Reader};

/// The lines of one look: what is read for one finding is not read again for the next.
pub(crate) struct Lines {
    journal: Journal,
    /// Active owners and those above them, by server or agent.
    nearest: BTreeMap<FactKey, Vec<PersonId>>,
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
        if let Some(place) = place(&finding.stranger) {
            if !self.nearest.contains_key(&place) {
                let nearest = self.read_nearest(&finding.stranger).await?;
                self.nearest.insert(place.clone(), nearest);
            }
            if let Some(person) = self.nearest.get(&place).and_then(|line| left(line)) {
                return Ok(Some(person));
            }
        }
        if self.last.is_none() {
            self.last = Some(self.read_last().await?);
        }
        Ok(self.last.as_deref().and_then(left))
    }

    /// Who left is not told; whom they reported to is.
    async fn read_nearest(&self, stranger: &Stranger) -> Result<Vec<PersonId>, FactsError> {
        let mut level = self.owners(stranger).await?;
        let store = self.journal.store().as_ref();
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

    /// Who answers for the place of what is found, whether they are here or not.
    async fn owners(&self, stranger: &Stranger) -> Result<Vec<PersonId>, FactsError> {
        let store = self.journal.store().as_ref();
        if let Some(key) = departs(stranger) {
            let agent: Option<Agent> = Reader::new(store).find(key).await?;
            return Ok(agent.map_or_else(Vec::new, |it| vec![it.technical_owner, it.sponsor]));
        }
        let Some(server) = &stranger.server else { return Ok(Vec::new()) };
        let tools: Vec<Tool> = reader::all(store, &format!("tool/{server}/")).await?;
        Ok(tools.into_iter().filter_map(|tool| tool.owner).collect())
    }

    async fn read_last(&self) -> Result<Vec<PersonId>, FactsError> {
        let people: Vec<Person> = reader::all(self.journal.store().as_ref(), "person/").await?;
        let administers =
            |person: &Person| person.groups.iter().any(|group| group.as_str() == ADMINISTRATORS);
        let active = people.into_iter().filter(|person| person.is_active() && administers(person));
        Ok(active.map(|person| person.id).collect())
    }
}

/// What those answer for who are told first.
fn place(stranger: &Stranger) -> Option<FactKey> {
    departs(stranger).or_else(|| stranger.server.as_ref().map(FactKey::server))
}

/// The agent of which an instance departed from what is declared, if that is what was found.
fn departs(stranger: &Stranger) -> Option<FactKey> {
    let is_one = Departure::ALL.iter().any(|kind| kind.signal() == stranger.cause);
    stranger.proven.as_ref().filter(|_| is_one).map(FactKey::agent)
}

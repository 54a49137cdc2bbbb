//! Labels: what was read marks the session that read it, and what the session stores after that.
//!
//! INVARIANT: a label is on before what it stands for can be seen (`n_085_…`): what a result can carry
//! joins in the commit of the permit, and what only the result reveals before its first byte is let go.
//! Each decision reads what it may join, so of two that are made at once the later one sees what the
//! earlier one joined. What is on already is not written again, and nothing here takes a label off.

use std::collections::BTreeSet;
use std::sync::Arc;

use journal::entry;
use model::record::{SystemRecord, VERSION};
use model::{
    AccessRequest, DecisionId, FactKey, Label, RecordId, ResourceRef, Revision, SessionFacts,
    TaskId,
};
use pdp::{Flow, Snapshot};
use store::{CommitError, Effect, Unit};

use crate::Authority;
use crate::authorize::ATTEMPTS_MAX;
use crate::pip::{FactsError, Gathered};
use crate::reader::Reader;

/// What an act lets flow, with the labels of the places that it flows between.
#[derive(Clone, Debug, Default)]
pub struct Flowing {
    /// The session as it is kept.
    session: Arc<SessionFacts>,
    /// What the result can carry.
    carries: BTreeSet<Label>,
    /// What is kept of which the result tells.
    pub(crate) read: BTreeSet<Label>,
    /// Where the act stores what it brings, with the labels of what is kept there.
    stored: Vec<(FactKey, BTreeSet<Label>)>,
    /// From what that was read.
    pub(crate) source: Option<(Vec<FactKey>, Revision)>,
}

/// Why what a result reveals is not on.
#[derive(Debug, thiserror::Error)]
pub enum NotRevealed {
    /// The session cannot be read.
    #[error("could not read the session")]
    Facts(#[from] FactsError),
    /// It cannot be recorded.
    #[error("could not record the labels")]
    Commit(#[from] CommitError),
}

impl Flowing {
    /// What `request` lets flow by the policy set `snapshot`, in this `session`.
    pub(crate) async fn gathered(
        mut reader: Reader<'_>,
        (request, snapshot): (&AccessRequest, &Snapshot),
        session: Arc<SessionFacts>,
    ) -> Result<Self, FactsError> {
        let Flow { carries, reads, stores } = snapshot.labels().of(request);
        if reads.is_none() && stores.is_empty() {
            return Ok(Self { session, carries, ..Self::default() });
        }
        let read = match reads {
            Some(key) => reader.find(key).await?.unwrap_or_default(),
            None => BTreeSet::new(),
        };
        let mut stored = Vec::with_capacity(stores.len());
        for key in stores {
            let labels = reader.find(key.clone()).await?.unwrap_or_default();
            stored.push((key, labels));
        }
        let source = reader.sourced(());
        Ok(Self { session, carries, read, stored, source: Some((source.keys, source.revision)) })
    }
}

/// What a permit for `request` joins: only what is not there yet.
pub(crate) fn joined(gathered: &Gathered, request: &AccessRequest) -> Vec<Effect> {
    let Flowing { session, carries, stored, .. } = &gathered.flowing;
    let mut labels = gathered.session.labels.clone();
    labels.extend(carries.iter().cloned());
    let mut used_tools = session.used_tools.clone();
    if let ResourceRef::Tool(tool) = &request.resource
        && gathered.snapshot.looks_at_used_tools()
    {
        used_tools.insert(tool.clone());
    }
    let mut effects = Vec::new();
    for (key, kept) in stored.iter().filter(|(_, kept)| !kept.is_superset(&labels)) {
        let all: BTreeSet<_> = kept.union(&labels).collect();
        effects.push(Effect::Put { key: key.clone(), body: json::canonical_of(&all) });
    }
    if labels != session.labels || used_tools != session.used_tools {
        let session = SessionFacts { labels, used_tools, ..SessionFacts::default() };
        effects.push(put(gathered.standing.root().id, &session));
    }
    effects
}

fn put(session: TaskId, facts: &SessionFacts) -> Effect {
    Effect::Put { key: FactKey::session(session), body: json::canonical_of(facts) }
}

/// Whether the fact says what was read before: an act under way has brought what it brought, and goes on
/// with the session that it was permitted in.
pub(crate) fn is_of_the_past(key: &FactKey) -> bool {
    ["session/", "kept/"].iter().any(|prefix| key.as_str().starts_with(prefix))
}

impl Authority {
    /// Joins to a session what only the result of an act reveals. The result is let go after that, or
    /// not at all.
    pub async fn reveal(
        &self,
        (session, decision): (TaskId, DecisionId),
        labels: &BTreeSet<Label>,
    ) -> Result<(), NotRevealed> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.try_reveal((session, decision), labels).await {
                Err(NotRevealed::Commit(CommitError::Changed { .. }))
                    if attempts < ATTEMPTS_MAX => {}
                other => return other,
            }
        }
    }

    async fn try_reveal(
        &self,
        (session, decision): (TaskId, DecisionId),
        labels: &BTreeSet<Label>,
    ) -> Result<(), NotRevealed> {
        let mut reader = self.pip.reader();
        let known = reader.find::<SessionFacts>(FactKey::session(session)).await?;
        let mut known = known.unwrap_or_default();
        if known.labels.is_superset(labels) {
            return Ok(());
        }
        let new: Vec<_> = labels.difference(&known.labels).map(Label::to_string).collect();
        known.labels.extend(labels.iter().cloned());
        let now = self.clock.now();
        let record = SystemRecord {
            details: [
                ("decision".to_owned(), decision.to_string()),
                ("labels".to_owned(), new.join(" ")),
                ("task".to_owned(), session.to_string()),
            ]
            .into(),
            event: "labels_revealed".to_owned(),
            id: RecordId::new(now, self.entropy.as_ref()),
            kind: "system".to_owned(),
            time: now,
            v: VERSION,
        };
        let entries = vec![entry(*record.id.as_bytes(), &record, None)];
        let effects = vec![put(session, &known)];
        let unit = Unit { entries, effects, ..Unit::resting_on(reader.sourced(())) };
        self.journal.store().commit(unit).await?;
        Ok(())
    }
}

//! Recovery: what was permitted before a crash and never closed ends as *unknown*, and what it took stays
//! taken: it may have happened.

use std::sync::Arc;

use journal::{DisclosureError, Journal};
use model::record::{DecisionRecord, Disclosure, OutcomeKind, OutcomeRecord, VERSION};
use model::{ActDigest, Clock, Entropy, Harm, RecordId};
use store::{CommitError, Effect, OpenPermit, Unit};

use crate::NotPermitted;
use crate::reserved::{self, Reserved};

/// Closes every permit that is still open in `journal` and returns how many there were. Nothing is
/// done again; a consequential act equal to one of them is refused until somebody settles it.
pub async fn recover(
    journal: &Journal,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<usize, NotPermitted> {
    let open = journal.store().open_permits().await.map_err(crate::FactsError::from)?;
    for permit in &open {
        let entry = journal.record(permit.index).await.map_err(crate::FactsError::from)?;
        let decision: Option<DecisionRecord> =
            entry.and_then(|entry| serde_json::from_slice(&entry.bytes).ok());
        let Some(decision) = decision else {
            tracing::error!(index = permit.index, "an open permit has no readable decision");
            continue;
        };
        let disclosure = match journal.disclosure(permit.index).await {
            Ok(disclosure) => disclosure,
            Err(DisclosureError::Store(error)) => return Err(crate::FactsError::from(error).into()),
            // What cannot be read keeps nothing from starting.
            Err(error) => {
                tracing::error!(%error, index = permit.index, "a disclosure cannot be read");
                None
            }
        };
        let unit = closing_unit((permit, &decision, disclosure.as_ref()), clock, entropy);
        match journal.store().commit(unit).await {
            Ok(_) | Err(CommitError::Used(_)) => {}
            Err(error) => return Err(NotPermitted::Unrecorded(error)),
        }
    }
    Ok(open.len())
}

/// What closes `permit`, and has nobody do again what it permitted until somebody settles that, if that can have
/// done something.
fn closing_unit(
    (permit, decision, disclosure): (&OpenPermit, &DecisionRecord, Option<&Disclosure>),
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Unit {
    let now = clock.now();
    let record = OutcomeRecord {
        agent: decision.agent.clone(),
        commitments: decision.commitments.people().into(),
        decision: decision.id,
        duration_ms: u64::try_from(now.since(decision.time).as_millis()).unwrap_or(u64::MAX),
        given_back: false,
        id: RecordId::new(now, entropy.as_ref()),
        instance: decision.instance,
        kind: "outcome".to_owned(),
        mandate: Some(decision.mandate),
        outcome: OutcomeKind::Unknown,
        purpose: decision.purpose.clone(),
        result: None,
        task: decision.task,
        time: now,
        v: VERSION,
    };
    let mut effects = vec![Effect::ClosePermit { index: permit.index }];
    let consequential = decision.harm.iter().any(|class| *class != Harm::ReadsData);
    if let Some(act) = act_of(decision, disclosure).filter(|_| consequential) {
        effects.extend(reserved::lost(&act, decision.id, &taken_by(permit)));
    }
    let entries = vec![journal::entry(*record.id.as_bytes(), &record, None)];
    Unit { entries, effects, ..Unit::default() }
}

/// What the permit has taken; nothing, if that cannot be read: then it stays taken.
fn taken_by(permit: &OpenPermit) -> Reserved {
    let read = permit.body.as_deref().map(Reserved::read);
    if matches!(read, Some(None)) {
        tracing::error!(index = permit.index, "what an open permit has taken cannot be read");
    }
    read.flatten().unwrap_or_default()
}

/// The act that a recorded decision was about, rebuilt from its disclosure.
fn act_of(decision: &DecisionRecord, disclosure: Option<&Disclosure>) -> Option<ActDigest> {
    let tool = decision.resource.strip_prefix("Tool::")?.parse().ok()?;
    let input = disclosure?.value("arguments").cloned().unwrap_or_default();
    let request = model::AccessRequest {
        principal: model::Principal::Instance(decision.instance),
        action: model::ActionName::tool(&tool),
        resource: model::ResourceRef::Tool(tool),
        input,
    };
    let began = decision.delegators.last().map_or(&decision.agent, |first| &first.agent);
    Some(crate::records::act_digest(began, &request))
}

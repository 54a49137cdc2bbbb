//! What went on under credentials that had died: the log tells by which path, and until when.

use std::collections::BTreeMap;

use model::record::{DecisionRecord, IssuanceRecord, OutcomeKind, OutcomeRecord, Verdict};
use model::{AgentName, DecisionId, InstanceId, Timestamp};
use serde::Serialize;

use super::held::ByInstance;
use super::signals::{PAGE, text};
use super::{Credential, CredentialKind, Died, Instances};
use crate::command::{AdminError, Administration};

/// The most acts since a time of one report.
const ACTS_MAX: usize = 10_000;

/// What went on by one path after what it rested on had died.
#[derive(Debug, Default, Serialize)]
pub(super) struct Path {
    /// Permits that have no outcome yet.
    pub(super) under_way: u64,
    /// Acts that were cut.
    cut: u64,
    /// Acts that had been permitted before, and ended after it, cut or not.
    ended_later: u64,
    /// Acts that were permitted after it: none, or something is broken.
    pub(super) permitted_later: u64,
    /// How long after it the last act ended, in milliseconds.
    pub(super) last_effect_ms: Option<u64>,
}

/// What went on.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// How long after it died the last effect of each instance came, in milliseconds.
    pub(super) of_instances: ByInstance<u64>,
    /// By enforcement point and kind of act.
    pub(super) paths: BTreeMap<String, Path>,
    /// The tokens that had not expired when their instance died, or have not.
    pub(super) tokens: Vec<Credential>,
    /// What was permitted since the time that was asked for, in the order of the log.
    pub(super) acts: Vec<Act>,
    /// Whether these are all.
    pub(super) is_all: bool,
}

/// Something that was permitted since a time.
#[derive(Debug, Serialize)]
pub(super) struct Act {
    record: DecisionId,
    index: u64,
    #[serde(serialize_with = "text")]
    time: Timestamp,
    agent: AgentName,
    instance: InstanceId,
    action: String,
    resource: String,
    /// How it ended; not, if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<OutcomeKind>,
}

/// A permit that is not closed yet.
struct Open {
    instance: InstanceId,
    path: String,
}

impl Administration {
    /// What the log says of `instances`.
    pub(super) async fn effects(
        &self,
        instances: &Instances,
        (since, now): (Option<Timestamp>, Timestamp),
    ) -> Result<Effects, AdminError> {
        let (mut effects, mut open) =
            (Effects { is_all: true, ..Effects::default() }, BTreeMap::new());
        let (mut acts, mut from) = (BTreeMap::new(), 0);
        loop {
            let entries = self.authority.journal().store().entries(from, PAGE).await;
            let entries = entries.map_err(AdminError::unavailable)?;
            for entry in &entries {
                let (index, bytes) = (entry.index, &entry.bytes);
                if let Ok(record) = serde_json::from_slice::<DecisionRecord>(bytes) {
                    let is_since = since.is_some_and(|since| record.time >= since);
                    if is_since && instances.get(&record.instance).is_some() {
                        effects.acted(&record, index, &mut acts);
                    }
                    effects.permitted(&record, index, (instances, &mut open));
                } else if let Ok(record) = serde_json::from_slice::<OutcomeRecord>(bytes) {
                    let act = acts.remove(&record.decision);
                    if let Some(act) = act.and_then(|place: usize| effects.acts.get_mut(place)) {
                        act.outcome = Some(record.outcome);
                    }
                    effects.ended(&record, (instances, &mut open));
                } else if let Ok(record) = serde_json::from_slice::<IssuanceRecord>(bytes) {
                    effects.issued(&record, instances, now);
                }
            }
            if entries.is_empty() {
                break;
            }
            from += entries.len() as u64;
        }
        for Open { path, .. } in open.into_values() {
            effects.paths.entry(path).or_default().under_way += 1;
        }
        Ok(effects)
    }
}

impl Effects {
    fn acted(
        &mut self,
        record: &DecisionRecord,
        index: u64,
        acts: &mut BTreeMap<DecisionId, usize>,
    ) {
        if record.decision != Verdict::Permit {
            return;
        }
        if self.acts.len() == ACTS_MAX {
            self.is_all = false;
            return;
        }
        acts.insert(record.id, self.acts.len());
        self.acts.push(Act {
            record: record.id,
            index,
            time: record.time,
            agent: record.agent.clone(),
            instance: record.instance,
            action: record.action.clone(),
            resource: record.resource.clone(),
            outcome: None,
        });
    }

    fn permitted(
        &mut self,
        record: &DecisionRecord,
        index: u64,
        (instances, open): (&Instances, &mut BTreeMap<DecisionId, Open>),
    ) {
        let used = instances.get(&record.instance).filter(|used| !used.counts);
        let Some(used) = used.filter(|_| record.decision == Verdict::Permit) else { return };
        let is_later = used.died.as_ref().is_some_and(|died| match &died.signal {
            Some(signal) => index > signal.index,
            None => record.time > died.at,
        });
        let is_call = record.resource.starts_with("Tool::");
        let what = if is_call { "tools/call" } else { record.action.as_str() };
        let path = format!("{} {what}", record.point);
        let told = self.paths.entry(path.clone()).or_default();
        told.permitted_later += u64::from(is_later);
        open.insert(record.id, Open { instance: record.instance, path });
    }

    fn ended(
        &mut self,
        record: &OutcomeRecord,
        (instances, open): (&Instances, &mut BTreeMap<DecisionId, Open>),
    ) {
        let Some(Open { instance, path }) = open.remove(&record.decision) else { return };
        let Some(died) = died(instances, instance) else { return };
        if record.time < died.at || record.outcome == OutcomeKind::NotStarted {
            return;
        }
        let after = record.time.as_millis().saturating_sub(died.at.as_millis());
        let after = u64::try_from(after).unwrap_or(0);
        let path = self.paths.entry(path).or_default();
        path.ended_later += 1;
        path.cut += u64::from(record.outcome == OutcomeKind::Cut);
        path.last_effect_ms = path.last_effect_ms.max(Some(after));
        let last = self.of_instances.entry(instance).or_default();
        *last = after.max(*last);
    }

    fn issued(&mut self, record: &IssuanceRecord, instances: &Instances, now: Timestamp) {
        let Some(used) = instances.get(&record.instance) else { return };
        let ended = used.died.as_ref().map_or(now, |died| died.at);
        if record.expires <= ended {
            return;
        }
        let why = if now >= record.expires {
            Some("token_expired")
        } else {
            (!used.counts).then_some("instance_dead")
        };
        let credential = Credential::new(CredentialKind::Token, record.jti, &record.agent);
        let credential = credential.is(why, || used.died.clone());
        self.tokens.push(Credential { instance: Some(record.instance), ..credential });
    }
}

fn died(instances: &Instances, instance: InstanceId) -> Option<&Died> {
    instances.get(&instance)?.died.as_ref()
}

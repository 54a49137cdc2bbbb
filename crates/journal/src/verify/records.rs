//! What records say of each other: every outcome and token has its permit before it, every permit
//! at most one outcome, and each names who answers for it and what for.

use std::collections::{BTreeMap, HashMap};

use model::record::{
    AdministrationRecord, DECISION_VERSION, DecisionRecord, FactsRecord, FoundingRecord,
    IssuanceRecord, OutcomeKind, OutcomeRecord, RefusalRecord, SignalRecord, SystemRecord, VERSION,
    Verdict,
};
use model::{AgentName, Commitment, InstanceId, MandateDigest, PurposeId, TaskId};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How far, in milliseconds, a record's time may lie before that of one with a lower index:
/// decisions are made beside each other and committed together.
const DISORDER_MAX_MS: i64 = 10_000;

/// How many records of each kind.
pub type Totals = BTreeMap<String, u64>;

/// Who a record says acted, under which mandate, for what, and under whose answer.
#[derive(Debug, PartialEq, Eq)]
struct Acting {
    agent: AgentName,
    instance: InstanceId,
    task: TaskId,
    mandate: MandateDigest,
    purpose: PurposeId,
    sponsor: Option<Commitment>,
}

/// A permit, as far as later records refer to it.
#[derive(Debug)]
struct Permitted {
    acting: Acting,
    /// Whether an outcome closed it.
    is_closed: bool,
}

/// The records seen so far, as far as later ones refer to them.
#[derive(Debug, Default)]
pub struct Seen {
    totals: Totals,
    control_failures: u64,
    /// Permits by decision id.
    permits: HashMap<String, Permitted>,
    ids: HashMap<String, u64>,
    facts: std::collections::HashSet<String>,
    newest: i64,
    last_id: Option<String>,
}

/// A record's id, where it has one, and what is wrong with it.
type Finding = (Option<String>, String);

impl Seen {
    /// How many records of each kind were seen.
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// How many records that need a sponsor and a purpose lack one (R62).
    pub const fn control_failures(&self) -> u64 {
        self.control_failures
    }

    /// The id of the newest record seen.
    pub(crate) fn last_id(&self) -> Option<String> {
        self.last_id.clone()
    }

    /// Takes note of the record at `index` and gives what is wrong with it.
    pub(crate) fn record(&mut self, index: u64, bytes: &[u8]) -> Vec<Finding> {
        self.last_id = None;
        let limits = json::Limits { bytes: model::record::MAX_RECORD_BYTES, depth: 32 };
        let value = match json::parse(bytes, limits) {
            Ok(value) => value,
            Err(error) => return vec![(None, format!("is not a record: {error}"))],
        };
        let id = value.get("id").and_then(Value::as_str).map(str::to_owned);
        self.last_id.clone_from(&id);
        let mut wrong = Vec::new();
        if json::canonical(&value) != bytes {
            wrong.push("is not in canonical form".to_owned());
        }
        let is_decision = value.get("kind").is_some_and(|kind| kind == "decision");
        let known = if is_decision { VERSION..=DECISION_VERSION } else { VERSION..=VERSION };
        let version = value.get("v").and_then(Value::as_u64);
        if !version.is_some_and(|v| u32::try_from(v).is_ok_and(|v| known.contains(&v))) {
            wrong.push("has a format version that is not known here".to_owned());
        }
        // The same facts may stand twice, where two decisions used them for the first time at once.
        let is_told_again = self.facts.contains(&tlog_text(bytes));
        if !is_told_again {
            wrong.extend(self.order(index, &value, id.as_deref()));
        }
        wrong.extend(self.accountability(&value));
        wrong.extend(self.references(index, value, bytes));
        wrong.into_iter().map(|what| (id.clone(), what)).collect()
    }

    fn order(&mut self, index: u64, value: &Value, id: Option<&str>) -> Vec<String> {
        let mut wrong = Vec::new();
        match id.map(|id| self.ids.insert(id.to_owned(), index)) {
            Some(None) => {}
            Some(Some(first)) => wrong.push(format!("has the id of record {first}")),
            None => wrong.push("has no id".to_owned()),
        }
        // Facts and outcomes may have waited for a log that could not grow.
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
        let may_wait = ["facts", "outcome"].contains(&kind);
        match value.get("time").and_then(Value::as_i64) {
            Some(time) if !may_wait && time.saturating_add(DISORDER_MAX_MS) < self.newest => {
                wrong.push("is from before the records that it follows".to_owned());
            }
            Some(time) => self.newest = self.newest.max(time),
            None => wrong.push("has no time".to_owned()),
        }
        wrong
    }

    fn references(&mut self, index: u64, value: Value, bytes: &[u8]) -> Option<String> {
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        *self.totals.entry(kind.clone()).or_default() += 1;
        if (kind == "founding") != (index == 0) {
            return Some("a log begins with its founding record, and has no other".to_owned());
        }
        match kind.as_str() {
            "decision" => self.decision(value),
            "outcome" => self.outcome(value),
            "issuance" => self.issuance(value),
            "facts" => {
                self.facts.insert(tlog_text(bytes));
                fits::<FactsRecord>(value).err()
            }
            "administration" => fits::<AdministrationRecord>(value).err(),
            "refusal" => fits::<RefusalRecord>(value).err(),
            "signal" => fits::<SignalRecord>(value).err(),
            "system" => fits::<SystemRecord>(value).err(),
            "founding" => fits::<FoundingRecord>(value).err(),
            other => Some(format!("is of a kind that is not known here: `{other}`")),
        }
    }

    /// A decision, outcome or token without sponsor or purpose is a failure of control.
    fn accountability(&mut self, value: &Value) -> Option<String> {
        let kind = value.get("kind").and_then(Value::as_str)?;
        if !["decision", "outcome", "issuance"].contains(&kind) {
            return None;
        }
        let sponsor = value.pointer("/commitments/sponsor").is_some();
        let purpose = value.get("purpose").and_then(Value::as_str).is_some_and(|p| !p.is_empty());
        let lacking = match (sponsor, purpose) {
            (true, true) => return None,
            (false, true) => "a sponsor",
            (true, false) => "a purpose",
            (false, false) => "a sponsor and a purpose",
        };
        self.control_failures += 1;
        Some(format!("control failure: {kind} without {lacking}"))
    }

    fn decision(&mut self, value: Value) -> Option<String> {
        let record: DecisionRecord = match fits(value) {
            Ok(record) => record,
            Err(what) => return Some(what),
        };
        let known = self.facts.contains(&record.facts.leaf.to_string());
        if record.decision == Verdict::Permit {
            let sponsor = record.commitments.get("sponsor").copied();
            let DecisionRecord { agent, instance, mandate, task, purpose, .. } = record;
            let acting = Acting { agent, instance, task, mandate, purpose, sponsor };
            self.permits.insert(record.id.to_string(), Permitted { acting, is_closed: false });
        }
        (!known).then(|| "rests on facts that are not in the log before it".to_owned())
    }

    fn outcome(&mut self, value: Value) -> Option<String> {
        let record: OutcomeRecord = match fits(value) {
            Ok(record) => record,
            Err(what) => return Some(what),
        };
        let Some(permit) = self.permits.get_mut(&record.decision.to_string()) else {
            return Some("an outcome without a permit before it".to_owned());
        };
        if std::mem::replace(&mut permit.is_closed, true) {
            return Some("a second outcome of one permit".to_owned());
        }
        if record.given_back && !may_be_nothing(&record) {
            return Some("an outcome that gives back what was used".to_owned());
        }
        let sponsor = record.commitments.get("sponsor").copied();
        let OutcomeRecord { agent, instance, mandate, task, purpose, .. } = record;
        // Of those of earlier builds, their permit says it.
        let mandate = mandate.unwrap_or(permit.acting.mandate);
        let same = permit.acting == Acting { agent, instance, task, mandate, purpose, sponsor };
        (!same).then(|| "an outcome of somebody else's permit".to_owned())
    }

    fn issuance(&mut self, value: Value) -> Option<String> {
        let record: IssuanceRecord = match fits(value) {
            Ok(record) => record,
            Err(what) => return Some(what),
        };
        let Some(permit) = self.permits.get(&record.decision.to_string()) else {
            return Some("a token without a permit before it".to_owned());
        };
        let sponsor = record.commitments.get("sponsor").copied();
        let IssuanceRecord { agent, instance, mandate, task, purpose, .. } = record;
        let mandate = mandate.unwrap_or(permit.acting.mandate);
        let same = permit.acting == Acting { agent, instance, task, mandate, purpose, sponsor };
        (!same).then(|| "a token under somebody else's permit".to_owned())
    }

    /// How many permits have no outcome. While the service runs there are some; after it stopped
    /// in order, none.
    pub fn open(&self) -> usize {
        self.permits.values().filter(|permit| !permit.is_closed).count()
    }
}

/// Whether nothing may have happened, by what the outcome says.
fn may_be_nothing(record: &OutcomeRecord) -> bool {
    let is_nothing = matches!(record.outcome, OutcomeKind::NotStarted | OutcomeKind::Failed);
    is_nothing && record.result.is_none()
}

fn fits<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("is not what its kind demands: {error}"))
}

fn tlog_text(bytes: &[u8]) -> String {
    model::RecordDigest::from_bytes(*tlog::leaf_hash(bytes).as_bytes()).to_string()
}

//! What records say of each other: every outcome has its permit, every permit at most one outcome.

use std::collections::{BTreeMap, HashMap};

use model::record::{
    AdministrationRecord, DecisionRecord, FactsRecord, FoundingRecord, IssuanceRecord,
    OutcomeRecord, RefusalRecord, SystemRecord, VERSION, Verdict,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How far, in milliseconds, a record's time may lie before that of one with a lower index:
/// decisions are made beside each other and committed together.
const DISORDER_MAX_MS: i64 = 10_000;

/// How many records of each kind.
pub type Totals = BTreeMap<String, u64>;

/// The records seen so far, as far as later ones refer to them.
#[derive(Debug, Default)]
pub struct Seen {
    totals: Totals,
    /// Permits by decision id: their index, and whether an outcome closed them.
    permits: HashMap<String, (u64, bool)>,
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
        if value.get("v").and_then(Value::as_u64) != Some(u64::from(VERSION)) {
            wrong.push("has a format version that is not known here".to_owned());
        }
        wrong.extend(self.order(index, &value, id.as_deref()));
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
        match value.get("time").and_then(Value::as_i64) {
            Some(time) if time.saturating_add(DISORDER_MAX_MS) < self.newest => {
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
            "decision" => self.decision(index, value),
            "outcome" => self.outcome(value),
            "issuance" => self.issuance(value),
            "facts" => {
                self.facts.insert(tlog_text(bytes));
                fits::<FactsRecord>(value).err()
            }
            "administration" => fits::<AdministrationRecord>(value).err(),
            "refusal" => fits::<RefusalRecord>(value).err(),
            "system" => fits::<SystemRecord>(value).err(),
            "founding" => fits::<FoundingRecord>(value).err(),
            other => Some(format!("is of a kind that is not known here: `{other}`")),
        }
    }

    fn decision(&mut self, index: u64, value: Value) -> Option<String> {
        let record: DecisionRecord = match fits(value) {
            Ok(record) => record,
            Err(what) => return Some(what),
        };
        if record.decision == Verdict::Permit {
            self.permits.insert(record.id.to_string(), (index, false));
        }
        if !record.commitments.contains_key("sponsor") {
            return Some("a decision without a sponsor".to_owned());
        }
        let known = self.facts.contains(&record.facts.leaf.to_string());
        (!known).then(|| "rests on facts that are not in the log before it".to_owned())
    }

    fn outcome(&mut self, value: Value) -> Option<String> {
        let record: OutcomeRecord = match fits(value) {
            Ok(record) => record,
            Err(what) => return Some(what),
        };
        match self.permits.get_mut(&record.decision.to_string()) {
            Some((_, closed @ false)) => {
                *closed = true;
                None
            }
            Some(_) => Some("a second outcome of one permit".to_owned()),
            None => Some("an outcome without a permit before it".to_owned()),
        }
    }

    fn issuance(&mut self, value: Value) -> Option<String> {
        let record: IssuanceRecord = match fits(value) {
            Ok(record) => record,
            Err(what) => return Some(what),
        };
        let permitted = self.permits.contains_key(&record.decision.to_string());
        (!permitted).then(|| "a token without a permit before it".to_owned())
    }

    /// How many permits have no outcome. While the service runs there are some; after it stopped
    /// in order, none.
    pub fn open(&self) -> usize {
        self.permits.values().filter(|(_, closed)| !closed).count()
    }
}

fn fits<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("is not what its kind demands: {error}"))
}

fn tlog_text(bytes: &[u8]) -> String {
    model::RecordDigest::from_bytes(*tlog::leaf_hash(bytes).as_bytes()).to_string()
}

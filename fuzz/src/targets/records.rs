//! Records as a verifier meets them, and the names in them.

use json::Limits;
use model::record::{
    AdministrationRecord, DecisionRecord, FactsRecord, FoundingRecord, IssuanceRecord,
    MAX_RECORD_BYTES, OutcomeRecord, Record, RefusalRecord, SignalRecord, SystemRecord,
};
use model::{
    AgentName, DecisionId, InstanceId, ObjectPattern, RecordId, ServerName, TaskId, ToolPattern,
    ToolRef,
};
use serde::de::DeserializeOwned;

/// A record of any kind: what is read is written canonically, and read the same again.
pub fn record(bytes: &[u8]) -> bool {
    let limits = Limits { bytes: MAX_RECORD_BYTES, depth: 32 };
    let kinds = [
        is_stable::<AdministrationRecord>,
        is_stable::<DecisionRecord>,
        is_stable::<FactsRecord>,
        is_stable::<FoundingRecord>,
        is_stable::<IssuanceRecord>,
        is_stable::<OutcomeRecord>,
        is_stable::<RefusalRecord>,
        is_stable::<SignalRecord>,
        is_stable::<SystemRecord>,
    ];
    kinds.iter().filter(|is_stable| is_stable(bytes, limits)).count() > 0
}

fn is_stable<R: Record + DeserializeOwned>(bytes: &[u8], limits: Limits) -> bool {
    let Ok(record) = json::from_slice::<R>(bytes, limits) else { return false };
    let written = record.to_canonical_bytes();
    let value = json::parse(&written, Limits { bytes: usize::MAX, ..limits });
    assert_eq!(json::canonical(&value.expect("a record is strict JSON")), written);
    let unlimited = Limits { bytes: usize::MAX, ..limits };
    let again = json::from_slice::<R>(&written, unlimited).expect("what is written is read");
    assert_eq!(again.to_canonical_bytes(), written);
    true
}

/// Ids and names: each has one spelling.
pub fn name(bytes: &[u8]) -> bool {
    let parsers = [
        super::is_written_back::<AgentName>,
        super::is_written_back::<DecisionId>,
        super::is_written_back::<InstanceId>,
        super::is_written_back::<ObjectPattern>,
        super::is_written_back::<RecordId>,
        super::is_written_back::<ServerName>,
        super::is_written_back::<TaskId>,
        super::is_written_back::<ToolPattern>,
        super::is_written_back::<ToolRef>,
    ];
    parsers.iter().filter(|parses| parses(bytes)).count() > 0
}

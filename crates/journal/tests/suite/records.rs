//! What records say of each other: what does not fit is found, and named.

use model::record::{OutcomeKind, OutcomeRecord, Record as _, Verdict};
use model::{InstanceId, MandateDigest, RecordDigest, RecordId, Sha256Digest};
use serde_json::{Value, json};

use super::support::{AT, Log, decision, facts, founding, outcome, problems, sponsor};

/// Verifies a log of these records and gives the problems, without what they begin with.
async fn said(records: Vec<Vec<u8>>) -> (Vec<String>, u64, usize) {
    let log = Log::of(&records).await;
    let report = log.verify(None).unwrap();
    (problems(&log, None), report.control_failures, report.open)
}

fn begin() -> Vec<Vec<u8>> {
    vec![founding().to_canonical_bytes(), facts().to_canonical_bytes()]
}

async fn check(rest: Vec<Vec<u8>>, expected: &[&str]) {
    let (problems, _, _) = said([begin(), rest].concat()).await;
    let matches = problems.len() == expected.len()
        && problems.iter().zip(expected).all(|(problem, expected)| problem.contains(expected));
    assert!(matches, "expected {expected:?}, found {problems:#?}");
}

fn decided(number: u64) -> Vec<u8> {
    decision(number).to_canonical_bytes()
}

fn closed(number: u64) -> Vec<u8> {
    outcome(number).to_canonical_bytes()
}

/// A record with one member changed or, by null, taken out.
fn with(record: Vec<u8>, pointer: &str, value: Value) -> Vec<u8> {
    let mut record: Value = serde_json::from_slice(&record).unwrap();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let members = record.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        members.remove(member);
    } else {
        members.insert(member.to_owned(), value);
    }
    json::canonical(&record)
}

#[tokio::test]
async fn a_permit_has_one_outcome_and_an_outcome_has_a_permit() {
    check(vec![decided(1), closed(1)], &[]).await;
    check(
        vec![closed(1)],
        &["record 2 (rec_00000000000000010404040404040404): an outcome without"],
    )
    .await;
    check(vec![closed(1), decided(1)], &["an outcome without a permit before it"]).await;
    let again = OutcomeRecord { id: RecordId::from_bytes([9; 16]), ..outcome(1) };
    let again = again.to_canonical_bytes();
    check(
        vec![decided(1), closed(1), again],
        &["record 4 (rec_09090909090909090909090909090909): a second outcome"],
    )
    .await;
    let mut denied = decision(1);
    denied.decision = Verdict::Deny;
    check(vec![denied.to_canonical_bytes(), closed(1)], &["an outcome without a permit"]).await;
    let theirs = OutcomeRecord { instance: InstanceId::from_bytes([8; 16]), ..outcome(1) };
    check(vec![decided(1), theirs.to_canonical_bytes()], &["somebody else's permit"]).await;
    let (_, _, open) = said([begin(), vec![decided(1), decided(2), closed(1)]].concat()).await;
    assert_eq!(open, 1);
}

/// What was sent was used, and what nobody knows may have been.
#[tokio::test]
async fn n_088_only_an_outcome_of_nothing_gives_back() {
    let result = Some(Sha256Digest::of(b"result"));
    for (kind, result, may) in [
        (OutcomeKind::NotStarted, None, true),
        (OutcomeKind::Failed, None, true),
        (OutcomeKind::Failed, result, false),
        (OutcomeKind::Returned, None, false),
        (OutcomeKind::Withheld, result, false),
        (OutcomeKind::Cut, None, false),
        (OutcomeKind::Unknown, None, false),
    ] {
        let closes = OutcomeRecord { given_back: true, outcome: kind, result, ..outcome(1) };
        let wrong: &[&str] = if may { &[] } else { &["gives back what was used"] };
        check(vec![decided(1), closes.to_canonical_bytes()], wrong).await;
    }
}

/// R62: a record that lacks sponsor or purpose is counted as a failure of control.
#[tokio::test]
async fn r_62_a_record_without_sponsor_or_purpose_is_a_control_failure() {
    for record in [decided(1), closed(1)] {
        let kind = if record == decided(1) { "decision" } else { "outcome" };
        for (member, lacking) in [("/commitments/sponsor", "a sponsor"), ("/purpose", "a purpose")]
        {
            let bad = with(record.clone(), member, Value::Null);
            let before = if kind == "outcome" { vec![decided(1)] } else { Vec::new() };
            let (problems, failures, _) = said([begin(), before, vec![bad]].concat()).await;
            assert_eq!(failures, 1, "{problems:?}");
            let expected = format!("control failure: {kind} without {lacking}");
            assert!(problems[0].contains(&expected), "{problems:?}");
        }
    }
    let (problems, failures, _) = said([begin(), vec![decided(1), closed(1)]].concat()).await;
    assert_eq!((problems.len(), failures), (0, 0));
}

#[tokio::test]
async fn a_record_must_be_what_its_kind_demands() {
    let strange = with(decided(1), "/kind", json!("strange"));
    check(vec![strange], &["of a kind that is not known here: `strange`"]).await;
    for version in [0, 3] {
        let unknown = with(decided(1), "/v", json!(version));
        check(vec![unknown], &["a format version that is not known"]).await;
    }
    let later = with(closed(1), "/v", json!(2));
    check(vec![decided(1), later], &["a format version that is not known"]).await;
    let current = with(decided(1), "/v", json!(2));
    let (problems, _, _) = said([begin(), vec![current]].concat()).await;
    assert!(!problems.iter().any(|it| it.contains("format version")), "{problems:?}");
    check(vec![with(decided(1), "/more", json!(1))], &["not what its kind demands"]).await;
    check(vec![with(decided(1), "/action", Value::Null)], &["not what its kind demands"]).await;
    check(vec![b"{}  ".to_vec()], &["canonical", "version", "no id", "no time", "kind"]).await;
    check(vec![b"not a record".to_vec()], &["is not a record"]).await;
    let twins = br#"{"id":"a","id":"b"}"#.to_vec();
    check(vec![twins], &["is not a record"]).await;
    let spaced = [decided(1), b" ".to_vec()].concat();
    check(vec![spaced], &["is not in canonical form"]).await;
}

#[tokio::test]
async fn order_ids_facts_and_founding_are_checked() {
    check(vec![decided(1), decided(1)], &["has the id of record 2"]).await;
    let early = with(decided(1), "/time", json!(AT.as_millis() - 60_000));
    check(vec![early], &["is from before the records that it follows"]).await;
    let mut unfounded = decision(1);
    unfounded.facts.leaf = RecordDigest::of(b"nothing");
    check(vec![unfounded.to_canonical_bytes()], &["rests on facts that are not in the log"]).await;
    let mut second = founding();
    second.id = RecordId::from_bytes([9; 16]);
    check(vec![second.to_canonical_bytes()], &["begins with its founding record"]).await;
    let (problems, _, _) = said(vec![facts().to_canonical_bytes()]).await;
    assert!(problems[0].contains("begins with its founding record"), "{problems:?}");
}

#[tokio::test]
async fn a_token_has_a_permit_before_it() {
    let token = model::record::IssuanceRecord {
        agent: "support-bot".parse().unwrap(),
        attestation: model::Attestation::User,
        audience: "http://127.0.0.1/mcp/crm".to_owned(),
        binding: model::Binding::Dpop,
        commitments: sponsor().try_into().unwrap(),
        decision: decision(1).id,
        delegators: Vec::new(),
        expires: AT,
        id: RecordId::from_bytes([6; 16]),
        instance: InstanceId::from_bytes([2; 16]),
        jti: Sha256Digest::of(b"jti"),
        key: Some(model::Thumbprint::from_bytes([5; 32])),
        kind: "issuance".to_owned(),
        mandate: None,
        purpose: "support".parse().unwrap(),
        task: model::TaskId::from_bytes([3; 16]),
        time: AT,
        v: model::record::VERSION,
    };
    let bytes = token.to_canonical_bytes();
    check(vec![decided(1), bytes.clone()], &[]).await;
    check(vec![bytes.clone()], &["a token without a permit before it"]).await;
    let other = with(bytes, "/purpose", json!("other"));
    check(vec![decided(1), other], &["a token under somebody else's permit"]).await;
    under_the_mandate_of_its_permit(&token.to_canonical_bytes(), "a token under somebody else's")
        .await;
}

/// An outcome names the mandate that its permit does, or, of an earlier build, none.
#[tokio::test]
async fn an_outcome_is_under_the_mandate_of_its_permit() {
    under_the_mandate_of_its_permit(&closed(1), "an outcome of somebody else's permit").await;
}

/// `record` follows the first decision; `wrong` is what is said of it if it names another mandate.
async fn under_the_mandate_of_its_permit(record: &[u8], wrong: &str) {
    let mandate = decision(1).mandate;
    let other = MandateDigest::of(b"another mandate");
    for (named, expected) in
        [(Value::Null, None), (json!(mandate), None), (json!(other), Some(wrong))]
    {
        let record = with(record.to_vec(), "/mandate", named);
        let expected: Vec<_> = expected.into_iter().collect();
        check(vec![decided(1), record], &expected).await;
    }
}

/// What a record holds cannot move the cursor or forge a line of the report.
#[tokio::test]
async fn n_107_a_report_is_one_line_for_each_problem_whatever_records_hold() {
    let evil = "x\u{1b}[2J\nrecord 0: all is well\u{202e}\u{7f}";
    let kind = with(decided(1), "/kind", json!(evil));
    let id = with(decided(2), "/id", json!(evil));
    let (problems, _, _) = said([begin(), vec![kind, id]].concat()).await;
    assert!(problems.len() >= 2);
    for problem in problems {
        assert!(!problem.chars().any(|c| c.is_control() || c == '\u{202e}'), "{problem:?}");
        assert!(!problem.starts_with("record 0"), "{problem:?}");
    }
}

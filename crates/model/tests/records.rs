//! Records are canonical: golden vectors, and serialising is RFC 8785 for every kind.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect, expect};
use model::record::{
    ActCommitments, AdministrationRecord, Commitments, DecisionRecord, Disclosure, FactsRecord,
    FactsRef, FounderMark, FoundingRecord, IssuanceRecord, OutcomeKind, OutcomeRecord, Record,
    RefusalRecord, SignalRecord, SystemRecord, VERSION, Verdict,
};
use model::{
    Answer, Answers, Attestation, Binding, DecisionId, ElevationId, Enforcement, Harm, InstanceId,
    MandateDigest, Obligation, PolicyDigest, RecordDigest, RecordId, Remedy, Revision, Salts,
    Sha256Digest, TaskId, Thumbprint, Timestamp,
};

const AT: Timestamp = Timestamp::from_millis(1_764_000_000_123);

fn commitments() -> Commitments {
    let mut disclosure = Disclosure::new([7; 32]);
    let sponsor = disclosure.commit("sponsor", "alice");
    let arguments = disclosure.commit("arguments", &serde_json::json!({"amount": 5}));
    BTreeMap::from([("sponsor".to_owned(), sponsor), ("arguments".to_owned(), arguments)])
}

fn act_commitments() -> ActCommitments {
    commitments().try_into().expect("a sponsor is among them")
}

fn decision() -> DecisionRecord {
    let permit = Some(Answer::Permit);
    DecisionRecord {
        action: "payments/refund".to_owned(),
        agent: "support-bot".parse().unwrap(),
        answers: Answers { ceiling: permit, instance: permit, ..Answers::default() },
        attestation: Attestation::User,
        binding: Binding::Dpop,
        budget: None,
        commitments: act_commitments(),
        decision: Verdict::Permit,
        delegators: Vec::new(),
        elevation: Some(ElevationId::from_bytes([8; 16])),
        enforcement: Some(Enforcement::Mandatory),
        facts: FactsRef {
            id: RecordId::from_bytes([7; 16]),
            leaf: RecordDigest::of(b"facts"),
            revision: Revision(9),
        },
        harm: vec![Harm::MovesMoney],
        id: DecisionId::from_bytes([1; 16]),
        instance: InstanceId::from_bytes([2; 16]),
        kind: "decision".to_owned(),
        latency_us: 321,
        mandate: MandateDigest::of(b"mandate"),
        obligations: vec![Obligation("notify:owner".to_owned())],
        observed: vec!["watch".into()],
        observed_set: None,
        pin: Some(Sha256Digest::of(b"pin")),
        point: "gateway/mcp-http".to_owned(),
        policies: vec!["refunds".into()],
        policy: PolicyDigest::of(b"policy"),
        purpose: "refunds".parse().unwrap(),
        reason: "granted".to_owned(),
        remedies: vec![Remedy::Approval],
        resource: "Tool::payments/refund".to_owned(),
        task: TaskId::from_bytes([3; 16]),
        time: AT,
        trace: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
        v: VERSION,
    }
}

fn outcome() -> OutcomeRecord {
    let DecisionRecord { agent, commitments, id, instance, purpose, task, .. } = decision();
    OutcomeRecord {
        agent,
        commitments,
        decision: id,
        duration_ms: 12,
        given_back: false,
        id: RecordId::from_bytes([4; 16]),
        instance,
        kind: "outcome".to_owned(),
        mandate: None,
        outcome: OutcomeKind::Returned,
        purpose,
        result: Some(Sha256Digest::of(b"result")),
        task,
        time: AT,
        v: VERSION,
    }
}

/// A record names the policy set that decided it, or the decision that does, or was decided by none
/// (`docs/formats.md`).
fn assert_leads_to_its_set(record: &serde_json::Value) {
    let text = |member: &str| record[member].as_str().unwrap_or_default();
    let names_set = text("policy").len() == 64;
    let names_decision = text("decision").starts_with("dec_");
    let expected = match text("kind") {
        "administration" | "decision" | "founding" => (true, false),
        "issuance" | "outcome" => (false, true),
        "facts" | "refusal" | "signal" | "system" => (false, false),
        other => panic!("by what does a record of `{other}` lead to its set?"),
    };
    assert_eq!((names_set, names_decision), expected, "{record}");
}

fn check<R: Record>(record: &R, golden: &Expect) {
    let bytes = record.to_canonical_bytes();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(bytes, json::canonical(&value), "members are not in canonical order");
    assert_leads_to_its_set(&value);
    golden.assert_eq(&Sha256Digest::of(&bytes).to_string());
}

#[test]
#[expect(clippy::too_many_lines, reason = "one record of each kind")]
fn i_16_every_kind_of_record_is_canonical() {
    check(
        &decision(),
        &expect!["b6a05dd8685b587f8af499cd09b14e98139c39255db28bd12c9d78e205cba1c2"],
    );
    check(&outcome(), &expect!["b18c97b1f2f6caa1ae5af882fd50fd842250b6c52d997fb541fd2b0f23db7d7f"]);
    // Earlier builds wrote none of it: what they wrote has the hash that it had.
    let mandate = Some(MandateDigest::of(b"mandate"));
    check(
        &OutcomeRecord { mandate, ..outcome() },
        &expect!["7b6639c3ddf85aeee87de0febc18f8e58f14bf8a0ec00d3ea263da450c4d1c8d"],
    );
    let id = RecordId::from_bytes([5; 16]);
    let facts = FactsRecord {
        commitments: commitments(),
        id,
        kind: "facts".to_owned(),
        revision: Revision(9),
        time: AT,
        v: VERSION,
    };
    check(&facts, &expect!["4e7cdd4af1e607e3d775aa939801a3de2f63ea012d59168b736f949fe62790d4"]);
    let refusal = RefusalRecord {
        agent: None,
        cause: "unknown_tool".to_owned(),
        count: 3,
        id,
        instance: Some(InstanceId::from_bytes([2; 16])),
        kind: "refusal".to_owned(),
        mandate: None,
        point: "gateway/mcp-http".to_owned(),
        time: AT,
        v: VERSION,
    };
    check(&refusal, &expect!["6aabdbd609b4b0c8886db7dab81e0007f55994c97181cd541a5c9f164bc0576c"]);
    check(
        &RefusalRecord { mandate, ..refusal },
        &expect!["97102f1eb82fad1dabeb35de8cbe533e944518a58767e81e76bbdb716e2d4d6f"],
    );
    let issuance = IssuanceRecord {
        agent: "support-bot".parse().unwrap(),
        attestation: Attestation::User,
        audience: "https://chancery.example/mcp/payments".to_owned(),
        binding: Binding::Dpop,
        commitments: act_commitments(),
        decision: DecisionId::from_bytes([1; 16]),
        delegators: Vec::new(),
        expires: AT,
        id,
        instance: InstanceId::from_bytes([2; 16]),
        jti: Sha256Digest::of(b"jti"),
        key: Some(Thumbprint::from_bytes([6; 32])),
        kind: "issuance".to_owned(),
        mandate: None,
        purpose: "refunds".parse().unwrap(),
        task: TaskId::from_bytes([3; 16]),
        time: AT,
        v: VERSION,
    };
    check(&issuance, &expect!["4bbc968c29038e9f7bd9272e7362cfd85a24010b22acf4519ddd04a3edf67cd9"]);
    check(
        &IssuanceRecord { mandate, ..issuance },
        &expect!["39feac641b6b604ceea58cd6eca4234ea19ba896ff1614fb282863e35cc7b21d"],
    );
    let signal = SignalRecord {
        agent: "support-bot".parse().unwrap(),
        commitments: act_commitments(),
        id,
        instance: InstanceId::from_bytes([2; 16]),
        kind: "signal".to_owned(),
        mandate: None,
        signal: "key_copied".to_owned(),
        state: "quarantined".to_owned(),
        time: AT,
        v: VERSION,
    };
    check(&signal, &expect!["3677a30bc6fd5e8ef5445c20b44599edba345e897ba8d73ec19a558358afe9c7"]);
    check(
        &SignalRecord { mandate, ..signal },
        &expect!["6e03d8006591d734394a2c5413e9ff3b3e2a32507421f3c3626b5e3b32ea077a"],
    );
    let administration = AdministrationRecord {
        action: "agent/add".to_owned(),
        commitments: commitments(),
        decision: Verdict::Deny,
        id: DecisionId::from_bytes([1; 16]),
        kind: "administration".to_owned(),
        observed_set: None,
        policies: vec!["administrators".into()],
        policy: PolicyDigest::of(b"policy"),
        reason: "forbidden".to_owned(),
        revision: Revision(1),
        signal: None,
        time: AT,
        v: VERSION,
    };
    check(
        &administration,
        &expect!["8430f135f47db26e312976732da67eaa23e0e70b036bac5860428a32c1f2e818"],
    );
    let system = SystemRecord {
        details: BTreeMap::from([("version".to_owned(), "0.1.0".to_owned())]),
        event: "started".to_owned(),
        id,
        kind: "system".to_owned(),
        time: AT,
        v: VERSION,
    };
    check(&system, &expect!["12baa478eab101da2b4004c6f10b56948e6648ce8be5d271826ac7377030af8f"]);
    let founding = FoundingRecord {
        configuration: Sha256Digest::of(b"configuration"),
        development: true,
        founders: vec![FounderMark {
            founder: model::Commitment::to(&Salts::from_seed([1; 32]).of("founder"), b"\"alice\""),
            key: Some(Thumbprint::from_bytes([6; 32])),
        }],
        id,
        keys: BTreeMap::from([("token".to_owned(), Thumbprint::from_bytes([8; 32]))]),
        kind: "founding".to_owned(),
        origin: "chancery.example/log".to_owned(),
        policy: PolicyDigest::of(b"policy"),
        time: AT,
        v: VERSION,
    };
    check(&founding, &expect!["fbdf40ca20d84b430a9985dfb68638e8b9ce0662a502d8d7728a41cd79cef49e"]);
}

#[test]
fn a_record_reads_back_as_it_was_written() {
    let bytes = decision().to_canonical_bytes();
    assert_eq!(serde_json::from_slice::<DecisionRecord>(&bytes).unwrap(), decision());
    for mandate in [None, Some(MandateDigest::of(b"mandate"))] {
        let outcome = OutcomeRecord { mandate, ..outcome() };
        let bytes = outcome.to_canonical_bytes();
        assert_eq!(serde_json::from_slice::<OutcomeRecord>(&bytes).unwrap(), outcome);
    }
    // One of before it was told has no such member.
    let bytes = outcome().to_canonical_bytes();
    assert!(!String::from_utf8(bytes).unwrap().contains("given_back"));
    let nothing = OutcomeRecord { given_back: true, ..outcome() };
    let bytes = nothing.to_canonical_bytes();
    assert_eq!(serde_json::from_slice::<OutcomeRecord>(&bytes).unwrap(), nothing);
}

/// R62: a record without sponsor's place or purpose does not parse, so it counts as a failure.
#[test]
fn r_62_a_decision_without_purpose_is_no_decision_record() {
    for member in ["purpose", "commitments", "mandate", "instance", "policy"] {
        let mut value = serde_json::to_value(decision()).unwrap();
        value.as_object_mut().unwrap().remove(member);
        assert!(serde_json::from_value::<DecisionRecord>(value).is_err(), "without {member}");
    }
}

/// R62: nor can one be made or read whose commitments name no sponsor.
#[test]
fn r_62_a_record_of_an_act_without_sponsor_is_none() {
    let mut nobody = commitments();
    nobody.remove("sponsor");
    assert!(ActCommitments::try_from(nobody).is_err());
    for mut value in
        [serde_json::to_value(decision()).unwrap(), serde_json::to_value(outcome()).unwrap()]
    {
        value["commitments"].as_object_mut().unwrap().remove("sponsor");
        let error = serde_json::from_value::<DecisionRecord>(value.clone()).unwrap_err();
        let other = serde_json::from_value::<OutcomeRecord>(value).unwrap_err();
        let said = "a record of an act commits to its sponsor";
        assert!([error.to_string(), other.to_string()].iter().any(|it| it == said));
    }
}

#[test]
fn records_that_follow_repeat_people_and_nothing_else() {
    let check = |commitments: &ActCommitments, repeated: &[&str]| {
        let people = ActCommitments::from(commitments.people());
        assert_eq!(people.keys().collect::<Vec<_>>(), repeated);
    };
    let mut both = act_commitments();
    both.insert("tool", both["sponsor"]);
    check(&both, &["sponsor"]);
    both.insert("subject", both["sponsor"]);
    check(&both, &["sponsor", "subject"]);
}

#[test]
fn a_commitment_opens_only_to_its_value_and_salt() {
    let mut disclosure = Disclosure::new([7; 32]);
    let commitment = disclosure.commit("sponsor", "alice");
    let salt = Salts::from_seed([7; 32]).of("sponsor");
    assert!(commitment.opens_to(&salt, b"\"alice\""));
    assert!(!commitment.opens_to(&salt, b"\"bob\""));
    assert!(!commitment.opens_to(&Salts::from_seed([7; 32]).of("subject"), b"\"alice\""));
    expect![[r#""6591d5089966066327649ed5d3d113276e5b1bcc30d7597b71d585aefc49685a""#]]
        .assert_eq(&serde_json::to_string(&commitment).unwrap());
}

#[test]
fn a_disclosure_that_does_not_open_its_record_is_found() {
    let mut disclosure = Disclosure::new([7; 32]);
    let sponsor = disclosure.commit("sponsor", "alice");
    let good = Commitments::from([("sponsor".to_owned(), sponsor)]);
    assert_eq!(disclosure.mismatch(&good), None);
    let other = Disclosure::new([8; 32]).commit("sponsor", "alice");
    let bad = Commitments::from([("sponsor".to_owned(), other)]);
    assert_eq!(disclosure.mismatch(&bad), Some("sponsor"));
    assert_eq!(disclosure.mismatch(&Commitments::new()), Some("sponsor"));
}

#[test]
fn a_disclosure_is_kept_as_its_values_were_committed_to() {
    let mut disclosure = Disclosure::new([7; 32]);
    assert_eq!(disclosure.to_canonical_bytes(), canonical(&disclosure));
    let values = serde_json::json!({ "\u{1f600}": 1, "\u{fb33}": [1e21, 0.5, null], "a": "\"" });
    let mut commitments = Commitments::new();
    for (member, value) in [("values", &values), ("none", &serde_json::Value::Null)] {
        commitments.insert(member.to_owned(), disclosure.commit(member, value));
    }
    let bytes = disclosure.to_canonical_bytes();
    assert_eq!(bytes, canonical(&disclosure));
    let read: Disclosure = serde_json::from_slice(&bytes).expect("it is one");
    assert_eq!(read, disclosure);
    assert_eq!((read.value("values"), read.value("other")), (Some(&values), None));
    assert_eq!(disclosure.value("values"), Some(&values));
    assert_eq!(read.mismatch(&commitments), None);
    assert_eq!(read.to_canonical_bytes(), bytes);
}

/// What earlier builds sealed is read as it was: in any form.
#[test]
fn a_disclosure_in_another_form_opens_if_its_values_are_those_committed_to() {
    let mut disclosure = Disclosure::new([7; 32]);
    let values = serde_json::json!({ "a": [1, 2], "b": "x" });
    let commitment = disclosure.commit("values", &values);
    let commitments = Commitments::from([("values".to_owned(), commitment)]);
    let read = |value: &str| {
        let seed = "07".repeat(32);
        let text = format!(r#"{{ "seed": "{seed}", "members": {{ "values": {value} }} }}"#);
        serde_json::from_str::<Disclosure>(&text).expect("it is a disclosure")
    };
    let other = read(r#"{ "b": "\u0078", "a": [1.0, 2e0] }"#);
    assert_eq!((&other, other.mismatch(&commitments)), (&disclosure, None));
    assert_eq!(other.to_canonical_bytes(), disclosure.to_canonical_bytes());
    assert_eq!(other.value("values").map(json::canonical), Some(json::canonical(&values)));
    assert_eq!(other.read::<serde_json::Value>("values").unwrap().unwrap()["b"], "x");
    for changed in [r#"{"a":[1,3],"b":"x"}"#, "null", "1e999", "[[1e999]]"] {
        let other = read(changed);
        assert_eq!(other.mismatch(&commitments), Some("values"), "{changed}");
        assert_ne!(other, disclosure);
        let is_readable = !changed.contains("1e999");
        assert_eq!(other.value("values").is_some(), is_readable, "{changed}");
        assert_eq!(serde_json::to_value(&other).is_ok(), is_readable, "{changed}");
    }
}

fn canonical(disclosure: &Disclosure) -> Vec<u8> {
    json::canonical(&serde_json::to_value(disclosure).expect("it is JSON"))
}

#[test]
fn harm_classes_are_spelled_one_way() {
    let spelled: BTreeSet<_> = Harm::ALL.iter().map(ToString::to_string).collect();
    let serialized = Harm::ALL.iter().map(|harm| serde_json::to_value(harm).unwrap());
    let serialized: BTreeSet<_> = serialized.map(|v| v.as_str().unwrap().to_owned()).collect();
    assert_eq!(spelled, serialized);
}

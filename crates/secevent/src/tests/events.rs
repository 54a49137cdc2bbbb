//! Events: what each means.

use serde_json::{Value, json};

use super::{session_revoked, taken, with};
use crate::{Event, Meaning, RiskLevel, SetError, StreamStatus};

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";
const SCIM: &str = "urn:ietf:params:scim:event:";

fn told(family: &str, name: &str, payload: Value) -> Result<Event, SetError> {
    let events = json!({ format!("{family}{name}"): payload });
    taken(&with(session_revoked(), "events", Some(events))).map(|set| set.event)
}

#[test]
fn each_event_means_what_it_should() {
    use Meaning::{Compromised, Left, Noted, Returned, SessionsEnded};
    let check = |family: &str, name: &str, payload: Value, expected: Meaning| {
        let event = told(family, name, payload).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(event.meaning, expected, "{name}");
        assert!(event.kind.ends_with(name), "{} is not {name}", event.kind);
    };
    check(CAEP, "session-revoked", json!({}), SessionsEnded);
    let claims = json!({ "claims": { "role": "ro-admin" } });
    check(CAEP, "token-claims-change", claims, SessionsEnded);
    let credential = json!({ "credential_type": "fido2-roaming", "change_type": "create" });
    check(CAEP, "credential-change", credential, SessionsEnded);
    for (direction, meaning) in [("decrease", SessionsEnded), ("increase", Noted)] {
        let change = json!({
            "namespace": "NIST-AAL", "current_level": "nist-aal2", "previous_level": "nist-aal1",
            "change_direction": direction,
        });
        check(CAEP, "assurance-level-change", change, meaning);
    }
    let level = json!({ "namespace": "NIST-AAL", "current_level": "nist-aal2" });
    check(CAEP, "assurance-level-change", level, SessionsEnded);
    for (status, meaning) in [("not-compliant", SessionsEnded), ("compliant", Noted)] {
        let change = json!({ "previous_status": "compliant", "current_status": status });
        check(CAEP, "device-compliance-change", change, meaning);
    }
    check(
        CAEP,
        "session-established",
        json!({ "fp_ua": "abb0b6e7da81a42233f8f2b1a8ddb1b9" }),
        Noted,
    );
    check(CAEP, "session-presented", json!({ "ips": ["192.168.1.12"] }), Noted);
    let risk = json!({ "principal": "USER", "current_level": "HIGH", "previous_level": "LOW" });
    let level = RiskLevel::High;
    check(CAEP, "risk-level-change", risk, Meaning::Risk { principal: "USER".to_owned(), level });

    check(RISC, "account-disabled", json!({}), Left);
    check(RISC, "account-disabled", json!({ "reason": "bulk-account" }), Left);
    check(RISC, "account-disabled", json!({ "reason": "hijacking" }), Compromised);
    check(RISC, "account-enabled", json!({}), Returned);
    check(RISC, "account-purged", json!({}), Left);
    check(RISC, "account-credential-change-required", json!({}), SessionsEnded);
    check(RISC, "credential-compromise", json!({ "credential_type": "password" }), Compromised);
    check(RISC, "identifier-changed", json!({ "new-value": "jane@example.com" }), Noted);
    check(RISC, "identifier-recycled", json!({}), Noted);
    check(RISC, "recovery-activated", json!({}), Noted);
    check(RISC, "recovery-information-changed", json!({}), Noted);
    for name in ["opt-in", "opt-out-initiated", "opt-out-cancelled", "opt-out-effective"] {
        check(RISC, name, json!({}), Noted);
    }
    check(RISC, "sessions-revoked", json!({}), SessionsEnded);

    let state = Some("VGhpcyBpcyBhbiBleGFtcGxl".to_owned());
    check(SSF, "verification", json!({ "state": state }), Meaning::Verified { state });
    check(SSF, "verification", json!({}), Meaning::Verified { state: None });
    let paused = json!({ "status": "paused", "reason": "Internal error" });
    let status = StreamStatus::Paused;
    check(SSF, "stream-updated", paused, Meaning::StreamUpdated { status });

    check(SCIM, "prov:activate", json!({}), Returned);
    check(SCIM, "prov:deactivate", json!({}), Left);
    check(SCIM, "prov:delete", json!({}), Left);
    for name in ["feed:add", "feed:remove", "misc:asyncresp", "prov:put:full", "prov:put:notice"] {
        check(SCIM, name, json!({ "data": {} }), Noted);
    }
    for kind in ["create", "patch"].into_iter().flat_map(|it| [(it, "full"), (it, "notice")]) {
        check(SCIM, &format!("prov:{}:{}", kind.0, kind.1), json!({ "attributes": ["id"] }), Noted);
    }
}

#[test]
fn what_no_event_is_means_nothing_and_what_one_lacks_is_refused() {
    for (family, name) in [(CAEP, "session-revoked/"), ("", "urn:x"), (RISC, "session-revoked")] {
        let event = told(family, name, json!({})).unwrap();
        assert_eq!((event.kind, event.meaning), ("other", Meaning::Noted));
    }
    let refused = |family, name, payload, member| {
        assert_eq!(told(family, name, payload), Err(SetError::Event(member)));
    };
    refused(CAEP, "credential-change", json!({}), "credential_type");
    refused(CAEP, "credential-change", json!({ "credential_type": "pin" }), "change_type");
    refused(CAEP, "assurance-level-change", json!({}), "current_level");
    refused(CAEP, "device-compliance-change", json!({ "current_status": "?" }), "current_status");
    refused(CAEP, "risk-level-change", json!({ "current_level": "high" }), "current_level");
    refused(CAEP, "risk-level-change", json!({ "current_level": "HIGH" }), "principal");
    refused(RISC, "account-disabled", json!({ "reason": 7 }), "reason");
    refused(SCIM, "prov:put:full", json!({ "data": [{ "active": false }] }), "data");
    refused(SSF, "stream-updated", json!({ "status": "gone" }), "status");
    refused(SSF, "verification", json!({ "state": "" }), "state");
}

/// What a directory tells whole tells also that somebody left.
#[test]
fn who_is_not_active_any_more_by_what_is_told_whole_has_left() {
    let check = |data: Value, expected: &Meaning| {
        for name in ["prov:put:full", "prov:patch:full"] {
            let event = told(SCIM, name, json!({ "data": data })).expect("it can be read");
            assert_eq!(event.meaning, *expected, "{name} {data}");
        }
    };
    let operation = |one: Value| json!({ "Operations": [{ "op": "add" }, one] });
    let at = |path: &str, value: Value| operation(json!({ "path": path, "value": value }));
    for data in [
        json!({ "active": false }),
        json!({ "Active": "False" }),
        at("active", json!(false)),
        at("urn:ietf:params:scim:schemas:core:2.0:User:active", json!("false")),
        operation(json!({ "op": "replace", "value": { "active": false } })),
    ] {
        check(data, &Meaning::Left);
    }
    for data in [
        json!({ "active": true, "name": { "active": false } }),
        at("title", json!(false)),
        at("active", json!(true)),
        operation(json!({ "op": "replace", "value": { "active": true } })),
        json!({ "Operations": false }),
    ] {
        check(data, &Meaning::Noted);
    }
}

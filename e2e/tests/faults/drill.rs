//! The outage drill: it breaks the real thing, harms nobody, and its result is in the log.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use e2e::{Deployment, Options, Stage};
use serde_json::Value;

/// R33, R70: every part that is taken away blocks everything; the dated result is in the log of the
/// deployment that was not touched.
#[test]
fn r_33_an_outage_drill_is_run_and_recorded() {
    let mut stage = Stage::set();
    let before = stage.canary.effects().len();
    let config = stage.deployment.path("home/chancery.yaml");
    let config = config.to_str().unwrap();
    let drill = ["drill", "outage", "--canary", "--json", "--config", config];
    let told: Value = serde_json::from_str(&stage.deployment.run(&drill)).expect("it is JSON");
    assert_eq!(told["verdict"], "held", "{told}");
    let rows = told["rows"].as_array().expect("there are rows");
    let parts: Vec<_> = rows.iter().map(|row| row["part"].as_str().unwrap_or_default()).collect();
    assert_eq!(parts, ["store", "log", "policy", "clock"]);
    for row in rows {
        assert!(row["attempts"].as_u64() >= Some(5), "{row}");
        assert_eq!((&row["blocked"], &row["leaked"]), (&row["attempts"], &Value::from(0)), "{row}");
        assert!(row["recovered"] != false, "{row}");
    }
    assert_eq!(stage.canary.effects().len(), before, "the deployment's own tools saw nothing");
    let id = told["record"].as_str().expect("it is recorded");
    let shown = stage.deployment.run(&["log", "show", id]);
    let shown: Value = serde_json::from_str(&shown).expect("it is JSON");
    let record = &shown["record"];
    assert_eq!(record["event"], "drill_outage");
    let details = &record["details"];
    assert_eq!(details["verdict"], "held");
    assert_eq!(details["version"], env!("CARGO_PKG_VERSION"));
    assert!(details["date"].as_str().is_some_and(|date| date.starts_with("20")), "{details}");
    for part in parts {
        let said = details[format!("part_{part}")].as_str().unwrap_or_default();
        assert!(said.contains("leaked 0"), "{part}: {said}");
    }
    stage.works();
    stage.ends_well();
}

/// R13, R15, R33: something is taken away from instances at work, and the time until nothing happens any
/// longer is in the log.
#[test]
fn r_33_what_is_taken_away_in_a_drill_stops_at_once_and_that_is_recorded() {
    let mut stage = Stage::set();
    let before = stage.canary.effects().len();
    let config = stage.deployment.path("home/chancery.yaml");
    let config = config.to_str().unwrap();
    for (name, others) in [("revoke", Value::Bool(true)), ("offboard", Value::Null)] {
        let drill = ["drill", name, "--canary", "--json", "--config", config];
        let told: Value = serde_json::from_str(&stage.deployment.run(&drill)).expect("it is JSON");
        assert_eq!(told["verdict"], "held", "{told}");
        let measured = &told["measured"];
        assert!(measured["attempts"].as_u64() >= Some(10), "{told}");
        assert!(measured["last_effect_ms"].as_u64() <= Some(1_000), "{told}");
        assert_eq!((&measured["done"], &measured["stream_cut"]), (&0.into(), &true.into()));
        assert_eq!(measured["others_go_on"], others, "{told}");
        // Whoever was named takes over what nobody answers for, and it comes back; what was revoked does not.
        assert_eq!(measured["back_after_ms"].is_u64(), name == "offboard", "{told}");
        let id = told["record"].as_str().expect("it is recorded");
        let shown = stage.deployment.run(&["log", "show", id]);
        let shown: Value = serde_json::from_str(&shown).expect("it is JSON");
        let record = &shown["record"];
        assert_eq!(record["event"], format!("drill_{name}"));
        assert_eq!(record["details"]["verdict"], "held", "{record}");
        assert_eq!(record["details"]["stream_cut"], "yes", "{record}");
        let back = &measured["back_after_ms"];
        let back = back.as_u64().map_or_else(|| "never".to_owned(), |after| after.to_string());
        assert_eq!(record["details"]["back_after_ms"], back, "{record}");
    }
    assert_eq!(stage.canary.effects().len(), before, "the deployment's own tools saw nothing");
    let late = r#"{"attempts":9,"done":0,"last_effect_ms":1001,"stream_cut":true,"others_go_on":null,"back_after_ms":9}"#;
    let command =
        format!(r#"{{"do":"drill-signal","version":"0","signal":"offboard","measured":{late}}}"#);
    assert_eq!(administer(&stage.deployment, &command)["verdict"], "cosmetic");
    stage.works();
    stage.ends_well();
}

/// Without a running deployment there is nobody to permit or to record it.
#[test]
fn r_33_a_drill_without_a_deployment_says_how_to_start_it() {
    let mut deployment = Deployment::start(&Options::default());
    deployment.stop();
    let config = deployment.path("home/chancery.yaml");
    let config = config.to_str().unwrap();
    let said = deployment.run_refused(&["drill", "outage", "--canary", "--config", config]);
    assert!(said.contains(&format!("chancery serve --config {config}")), "{said}");
}

/// A drill that shows a leak fails, and the record says that the control is cosmetic.
#[test]
fn r_33_a_leak_is_recorded_as_cosmetic() {
    let stage = Stage::set();
    let rows =
        r#"[{"part":"store","attempts":5,"blocked":4,"leaked":1,"slowest_ms":7,"recovered":true}]"#;
    let command = format!(r#"{{"do":"drill-outage","version":"0","rows":{rows}}}"#);
    let told = administer(&stage.deployment, &command);
    assert_eq!(told["verdict"], "cosmetic", "{told}");
    let records = stage.deployment.records();
    let drills: Vec<_> = records.iter().filter(|r| r["event"] == "drill_outage").collect();
    assert_eq!(drills.len(), 1);
    assert_eq!(drills[0]["details"]["verdict"], "cosmetic");
    stage.ends_well();
}

/// Sends one command to the administrator's socket, as the command line does.
fn administer(deployment: &Deployment, command: &str) -> Value {
    let socket = deployment.path("home/state/admin.sock");
    let mut stream = UnixStream::connect(socket).expect("it listens");
    let request = format!(
        "POST /api/v1/command HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{command}",
        command.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (_, body) = answer.split_once("\r\n\r\n").expect("it is HTTP");
    serde_json::from_str(body).expect("it is JSON")
}

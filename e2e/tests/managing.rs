//! The real service, and a stream that is managed at its transmitter: another deployment, or one that does what
//! ours do not.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::net::TcpStream;
use std::process::Command;

use e2e::{Child, Deployment, Options, Page, free_port, python, tls, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

const AUDIENCE: &str = "https://chancery.example/ssf";
const RISK_LEVEL_CHANGE: &str =
    "https://schemas.openid.net/secevent/caep/event-type/risk-level-change";
const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// A deployment that tells, and one that is told, each behind TLS.
struct Both {
    telling: Deployment,
    taking: Deployment,
    /// The issuer of what is told.
    issuer: String,
    /// Where the one that is told listens for people, without TLS.
    people: String,
    _fronts: [Child; 2],
    _certificates: TempDir,
}

impl Both {
    fn start() -> Self {
        let certificates = tempfile::tempdir().expect("a temporary directory can be made");
        tls::certificates(certificates.path());
        let [agents, people, issuer, pushed] = [(); 4].map(|()| free_port());
        let front =
            |port: u16, target: u16| tls::front(certificates.path(), "good", (port, target));
        let fronts = [front(issuer, agents), front(pushed, people)];
        let issuer = format!("https://localhost:{issuer}");
        let ca = certificates.path().join("ca.pem").display().to_string();
        let reached = format!("private_hosts: [localhost]\n    ca_files: ['{ca}']\n");
        let telling = Deployment::start(&Options {
            configuration: format!("behind_tls_proxy: true\nsignals:\n  receivers:\n    {reached}"),
            port: Some(agents),
            public_url: Some(issuer.clone()),
            ..Options::default()
        });
        let taking = Deployment::start(&Options {
            configuration: format!(
                "people_url: https://localhost:{pushed}\nsignals:\n  keys:\n    {reached}"
            ),
            observers: Some(people),
            ..Options::default()
        });
        let people = format!("http://127.0.0.1:{people}");
        Self { telling, taking, issuer, people, _fronts: fronts, _certificates: certificates }
    }

    /// Registers the one that is told at the one that tells; gives its token.
    fn register(&self) -> String {
        let file = self.telling.path("caep.token").display().to_string();
        let add = ["receiver", "add", "chancery", "--audience", AUDIENCE, "--all-agents"];
        self.telling.run(&[&add[..], &["--push-host", "localhost", "--token", &file]].concat());
        std::fs::read_to_string(file).expect("it was written")
    }

    /// Writes what shows the transmitter who asks; gives where.
    fn header(&self, name: &str, token: &str) -> String {
        let file = self.taking.path(name);
        let line = format!("Authorization: Bearer {token}");
        keys::write_private(&file, line.as_bytes()).expect("it is written");
        file.display().to_string()
    }

    /// Runs `act` of the stream `caep`; gives with what it ended, and what it said.
    fn manage(&self, header: &str, act: &[&str]) -> (Option<i32>, String) {
        let config = self.taking.path("home/chancery.yaml").display().to_string();
        let manage = ["stream", "manage", "caep", "--header-file", header, "--config", &config];
        self.taking.run_told(&[&manage[..], act].concat())
    }

    /// Runs `act`, which tells that `member` is other than it should be.
    fn drifts(&self, header: &str, act: &[&str], member: &str) {
        let (code, told) = self.manage(header, act);
        assert_eq!((code, drifted(&told)), (Some(3), member.to_owned()), "{act:?}: {told}");
    }

    /// What `act` is refused with.
    fn refused(&self, header: &str, act: &[&str]) -> String {
        let config = self.taking.path("home/chancery.yaml").display().to_string();
        let manage = ["stream", "manage", "caep", "--header-file", header, "--config", &config];
        self.taking.run_refused(&[&manage[..], act].concat())
    }
}

/// Changes the stream as whoever has its receiver's token.
fn change((method, url): (&str, &str), token: &str, body: &Value) {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-f", "-o", "/dev/null", "-X", method, "--data-binary", &body.to_string()]);
    curl.args(["-H", "Content-Type: application/json"]);
    curl.args(["-H", &format!("Authorization: Bearer {token}"), url]);
    assert!(curl.status().expect("curl runs").success());
}

/// What of the one stream that was `told` of is other than it should be, first of all.
fn drifted(told: &str) -> String {
    let told: Value = serde_json::from_str(told).expect("it is one line of JSON");
    told["drift"][0]["member"].as_str().unwrap_or_default().to_owned()
}

/// What is recorded of what the transmitter answered to what was decided by `decision`.
fn answered(taking: &Deployment, decision: &Value) -> Value {
    let records = taking.records().into_iter().filter(|it| it["action"] == "people/stream");
    let mut changes = records.map(|record| {
        let shown = taking.run(&["log", "show", record["id"].as_str().expect("an id")]);
        let shown: Value = serde_json::from_str(&shown).expect("it is JSON");
        shown["disclosure"]["members"]["change"]["answered"].clone()
    });
    changes.find(|answered| answered["decision"] == *decision).expect("it is recorded")
}

/// Of a stream that somebody else silenced or sent elsewhere, that is told.
fn tells_what_others_changed(both: &Both, (header, token): (&str, &str), id: &str) {
    let at = |path: &str| format!("http://127.0.0.1:{}/ssf/{path}", both.telling.port);
    let (streams, status) = (at("streams"), at("status"));
    let paused = json!({ "stream_id": id, "status": "paused" });
    change(("POST", &status), token, &paused);
    both.drifts(header, &["read"], "status");
    both.drifts(header, &["read", "--id", id], "status");
    both.drifts(header, &["status", "--id", id], "status");
    assert_eq!(both.manage(header, &["status", "--id", id, "--set", "enabled"]).0, Some(0));
    both.drifts(header, &["read", "--events", RISK_LEVEL_CHANGE], "events_requested");

    let polled = json!({ "stream_id": id, "delivery": { "method": "urn:ietf:rfc:8936" } });
    change(("PATCH", &streams), token, &polled);
    let pushed = both.taking.path("home/caep.token").display().to_string();
    let by_push = ["update", "--id", id, "--replace", "--push-token", &pushed];
    both.drifts(header, &["read"], "delivery.method");
    let (code, told) = both.manage(header, &by_push);
    assert!(code == Some(0) && told.contains("urn:ietf:rfc:8935"), "{told}");
    let elsewhere = json!({
        "stream_id": id,
        "delivery": { "method": "urn:ietf:rfc:8935", "endpoint_url": "https://localhost/evil" },
    });
    change(("PATCH", &streams), token, &elsewhere);
    both.drifts(header, &["read", "--id", id], "delivery.endpoint_url");
}

/// The page's commands, as they stand there; and what a transmitter says that somebody else has changed, does
/// not do, or refuses.
#[test]
fn ss_03_a_stream_is_managed_at_its_transmitter_as_the_page_shows() {
    let both = Both::start();
    let token = both.register();
    let header = both.header("home/caep.header", &token);
    let named = [("$CHANCERY_PEOPLE_URL", &*both.people), ("https://idp.example", &*both.issuer)];
    let printed = Page::read("signals.md", &named).run(&both.taking);
    assert_eq!(printed.len(), 5);
    assert!(printed[0].contains(r#""audience":"https://chancery.example/ssf""#), "{}", printed[0]);
    let lines: Vec<Value> =
        printed[1].lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let [created, verified, paused, enabled, changed, read] = lines.as_slice() else {
        panic!("{}", printed[1]);
    };
    let id = created["stream_id"].as_str().expect("an id");
    assert_eq!(created["drift"], json!([]), "{created}");
    for done in [created, paused, enabled, changed] {
        let shown = both.taking.run(&["log", "show", done["decision"].as_str().expect("an id")]);
        let shown: Value = serde_json::from_str(&shown).expect("it is JSON");
        assert_eq!(shown["record"]["action"], "people/stream");
        assert_eq!(
            shown["disclosure"]["members"]["change"]["at_transmitter"]["name"], "caep",
            "{shown}"
        );
    }
    for (done, status) in [(created, 201), (paused, 200), (enabled, 200), (changed, 200)] {
        let answered = answered(&both.taking, &done["decision"]);
        assert_eq!(answered["status"], status, "{done}");
        assert_eq!(answered["body"].as_str().map(str::len), Some(64), "{answered}");
    }
    assert_eq!(*verified, json!({ "stream_id": id, "verified": true }));
    assert_eq!((&paused["status"], &paused["reason"]), (&json!("paused"), &json!("maintenance")));
    assert_eq!(enabled["status"], "enabled", "{enabled}");
    assert_eq!(changed["events_delivered"], json!([SESSION_REVOKED]), "{changed}");
    assert_eq!(read["events_delivered"], json!([SESSION_REVOKED]), "{read}");
    assert_eq!((&read["status"], &read["drift"]), (&json!("enabled"), &json!([])), "{read}");
    assert!(!printed[1].contains("Bearer"), "{}", printed[1]);
    assert!(printed[2].starts_with("400\n"), "{}", printed[2]);
    assert!(printed[2].contains(r#""err":"invalid_request""#), "{}", printed[2]);

    let (code, offers) = both.manage(&header, &["discover"]);
    assert!(code == Some(0) && offers.contains("verification_endpoint"), "{offers}");
    tells_what_others_changed(&both, (&header, &token), id);

    let create = ["create", "--poll"];
    assert!(both.refused(&header, &create).contains("`update` changes it"));
    let none =
        ["add-subject", "--id", id, "--subject", r#"{"format":"email","email":"a@b.example"}"#];
    assert!(both.refused(&header, &none).contains("offers no `add_subject_endpoint`"));
    let wrong = ["create", "--push-token", &header];
    assert!(both.refused(&header, &wrong).contains("holds no token of the stream"));
    let stranger = both.header("stranger.header", "chancery.x");
    assert!(both.refused(&stranger, &["read"]).contains("does not count there"));
    let file = both.telling.path("reads.token").display().to_string();
    both.telling.run(&["receiver", "token", "chancery", "--read-only", "--token", &file]);
    let reads =
        both.header("reads.header", &std::fs::read_to_string(file).expect("it was written"));
    assert!(both.refused(&reads, &["delete", "--id", id]).contains("`ssf.manage`"));
    let (code, told) = both.manage(&header, &["delete", "--id", id]);
    assert!(code == Some(0) && told.contains(r#""deleted":true"#), "{told}");
    assert!(both.refused(&header, &["read", "--id", id]).contains("no such stream of ours"));
    both.drifts(&header, &["read"], "stream_id");
    both.taking.verify();
    both.telling.verify();
}

/// What a transmitter says that it will do later, or that never comes, is not taken for done; and our token is
/// not taken to where it redirects.
#[test]
fn ss_03_subjects_are_managed_and_nothing_is_taken_for_done_that_is_not() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    tls::certificates(dir.path());
    let (port, target) = (free_port(), free_port());
    let (issuer, asked) = (format!("https://localhost:{port}"), dir.path().join("asked"));
    let mut command = Command::new(python());
    command.arg(e2e::repository().join("e2e/servers/managed.py"));
    let _transmitter = Child::start(command.args([&target.to_string(), &issuer]).arg(&asked));
    wait_until("it listens", || TcpStream::connect(("127.0.0.1", target)).ok());
    let _front = tls::front(dir.path(), "good", (port, target));
    let ca = dir.path().join("ca.pem").display().to_string();
    let reached = format!("private_hosts: [localhost]\n    ca_files: ['{ca}']\n");
    let taking = Deployment::start(&Options {
        configuration: format!("signals:\n  keys:\n    {reached}"),
        ..Options::default()
    });
    let file = |name: &str| taking.path(name).display().to_string();
    taking.run(&["directory", "add", "okta", "--token", &file("okta.token")]);
    let add = ["stream", "add", "caep", "--issuer", &issuer, "--audience", AUDIENCE];
    taking.run(&[&add[..], &["--directory", "okta", "--token", &file("caep.token")]].concat());
    let (header, config) = (file("caep.header"), file("home/chancery.yaml"));
    keys::write_private(header.as_ref(), b"Authorization: Bearer ours").expect("it is written");
    let manage = ["stream", "manage", "caep", "--header-file", &header, "--config", &config];
    let run = |act: &[&str]| taking.run(&[&manage[..], act].concat());
    let refused = |act: &[&str]| taking.run_refused(&[&manage[..], act].concat());

    let ann = json!({ "format": "email", "email": "ann@chancery.example" });
    let subject = ["--id", "s1", "--subject", &ann.to_string()];
    run(&[&["add-subject"][..], &subject].concat());
    let whom = file("subject");
    std::fs::write(&whom, ann.to_string()).expect("it is written");
    run(&["remove-subject", "--id", "s1", "--subject", &format!("@{whom}")]);
    let wrong = ["add-subject", "--id", "s1", "--subject", r#"{"format":"email"}"#];
    assert!(refused(&wrong).contains("is no subject"));
    let paused = run(&["status", "--id", "s1", "--set", "paused", "--reason", "maintenance"]);
    let paused: Value = serde_json::from_str(&paused).expect("it is JSON");
    assert_eq!((&paused["accepted"], &paused["stream_id"]), (&json!(true), &json!("s1")));
    assert!(refused(&["verify", "--id", "s1", "--within", "1"]).contains("came within 1 s"));
    assert!(refused(&["read", "--id", "s 1"]).contains("answered 307"));
    let token = file("caep.token");
    let told = refused(&["create", "--push-token", &token]);
    assert!(told.contains("nothing can be pushed to `http://"), "{told}");
    let told = |act: &[&str]| taking.run_told(&[&manage[..], act].concat());
    let (code, created) = told(&["create", "--poll"]);
    let created: Value = serde_json::from_str(&created).expect("it is JSON");
    assert_eq!((code, &created["stream_id"]), (Some(4), &json!("s2")));
    assert!(created["unread"].as_str().expect("why").contains("`events_delivered`"), "{created}");
    let (code, changed) = told(&["update", "--id", "s2", "--poll"]);
    assert_eq!(code, Some(3), "{changed}");
    assert_eq!(drifted(&changed), "delivery.endpoint_url", "{changed}");
    assert!(changed.contains(r"\u202eBearer \u2026") && !changed.contains("ours"), "{changed}");

    let asked = std::fs::read_to_string(asked).expect("it was asked");
    let asked: Vec<Value> = asked.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let all = [
        "/subject:add",
        "/subject:remove",
        "/status",
        "/verify",
        "/stream?of=us&stream_id=s%201",
        "/stream?of=us",
        "/stream?of=us",
    ];
    assert!(asked.iter().map(|it| &it["at"]).eq(all), "{asked:?}");
    assert!(asked.iter().all(|it| it["shown"] == "Bearer ours"), "{asked:?}");
    let added = json!({ "stream_id": "s1", "subject": ann, "verified": true });
    assert_eq!(asked[0]["body"], added);
    assert_eq!(asked[1]["body"], json!({ "stream_id": "s1", "subject": ann }));
    let paused = json!({ "stream_id": "s1", "status": "paused", "reason": "maintenance" });
    assert_eq!(asked[2]["body"], paused);
    taking.verify();
}

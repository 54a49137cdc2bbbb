//! The real service tells others of agents that stop: a receiver by other people's code, and another
//! deployment.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::TcpStream;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use e2e::{Child, Deployment, Options, Page, free_port, python, tls, wait_until};
use serde_json::{Value, json};

const AUDIENCE: &str = "https://siem.example";
const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// A receiver to which signals are pushed, in Python.
struct Receiver {
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    _process: Child,
}

impl Receiver {
    /// One at `port` on loopback, which verifies by the keys of the deployment at `issuer`, and by `algorithm`.
    fn start(port: u16, issuer: &str, algorithm: &str) -> Self {
        let mut command = Command::new(python());
        command.arg(e2e::repository().join("e2e/servers/receiver.py")).arg(port.to_string());
        command.args([&format!("{issuer}/oauth/jwks"), issuer, AUDIENCE, algorithm]);
        let mut process = Child::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let (asked, output) = process.pipes();
        wait_until("it listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { pipes: Mutex::new((asked, BufReader::new(output).lines())), _process: process }
    }

    /// What it took, once that is so many.
    fn told(&self, count: usize) -> Value {
        wait_until("it is told", || {
            let told = self.ask(&json!({}));
            (told["taken"].as_array().map_or(0, Vec::len) == count).then_some(told)
        })
    }

    fn ask(&self, what: &Value) -> Value {
        let mut pipes = self.pipes.lock().expect("no test panics while it holds it");
        writeln!(pipes.0, "{what}").expect("it reads");
        let line = pipes.1.next().expect("it answers").expect("text");
        serde_json::from_str(&line).expect("JSON")
    }
}

/// What is answered to `body` by `method` at `url` of somebody who shows `token`.
fn ask(url: &str, (method, token): (&str, &str), body: &Value) -> (u16, Value) {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-o", "-", "-w", "\n%{http_code}", "-X", method]);
    curl.args(["--data-binary", &body.to_string(), "-H", "Content-Type: application/json"]);
    curl.args(["-H", &format!("Authorization: Bearer {token}"), url]);
    let text = String::from_utf8(curl.output().expect("curl runs").stdout).expect("it is text");
    let (body, status) = text.rsplit_once('\n').expect("curl tells the status");
    let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).expect(body) };
    (status.parse().expect("a status"), body)
}

/// Registers the agent `bot`, which Sam sponsors.
fn bot(deployment: &Deployment) {
    deployment.run(&["person", "add", "sam"]);
    deployment.run(&["purpose", "add", "work", "--owner", "alice", "--tool", "crm/*"]);
    deployment.agent(("bot", "sam"), &[]);
}

/// Registers the receiver `siem`, which is told of `bot`; gives its token.
fn register(deployment: &Deployment, more: &[&str]) -> String {
    let file = deployment.path("siem.token").display().to_string();
    let add = ["receiver", "add", "siem", "--audience", AUDIENCE, "--token", &file];
    deployment.run(&[&add[..], more].concat());
    std::fs::read_to_string(file).expect("it was written")
}

/// What is pushed is verified by others' code, waits over a crash while its receiver cannot take it, and
/// comes with the same bytes again; what shows the receiver who pushes is nowhere to be found.
#[test]
fn ss_04_what_is_told_is_pushed_and_none_is_lost_over_a_crash() {
    let (port, target, port_of_agents) = (free_port(), free_port(), free_port());
    let certificates = tempfile::tempdir().expect("a temporary directory can be made");
    tls::certificates(certificates.path());
    let _front = tls::front(certificates.path(), "good", (port, target));
    let ca = certificates.path().join("ca.pem").display().to_string();
    let named = [("siem.internal.example", "localhost"), ("/etc/chancery/ca.pem", &*ca)];
    let log = certificates.path().join("service.log");
    let mut deployment = Deployment::start(&Options {
        configuration: Page::read("transmitting.md", &named).blocks("yaml").swap_remove(0),
        port: Some(port_of_agents),
        service_log: Some(log.clone()),
        ..Options::default()
    });
    bot(&deployment);
    let receiver = Receiver::start(target, &deployment.url(), "ES256");
    let token = register(&deployment, &["--agents", "bot", "--push-host", "localhost"]);
    let delivery = json!({
        "method": "urn:ietf:rfc:8935", "endpoint_url": format!("https://localhost:{port}/events"),
        "authorization_header": "Bearer of-the-receiver",
    });
    let streams = format!("{}/ssf/streams", deployment.url());
    let wanted = json!({ "delivery": delivery });
    let (status, stream) = ask(&streams, ("POST", &token), &wanted);
    assert_eq!(status, 201, "{stream}");
    let verify = format!("{}/ssf/verify", deployment.url());
    let asked = json!({ "stream_id": stream["stream_id"], "state": "are you there?" });
    assert_eq!(ask(&verify, ("POST", &token), &asked).0, 204);
    assert!(receiver.told(1).to_string().contains("are you there?"));

    receiver.ask(&json!({ "deaf": true }));
    deployment.run(&["agent", "suspend", "bot", "--reason", "the pilot is over"]);
    wait_until("it was tried", || {
        let came = receiver.ask(&json!({}))["came"].as_object().map_or(0, serde_json::Map::len);
        (came == 2).then_some(())
    });
    deployment.process.as_mut().expect("it runs").kill();
    receiver.ask(&json!({ "deaf": false }));
    deployment.serve();
    let told = receiver.told(2);
    let claims = &told["taken"][1];
    assert_eq!(claims["sub_id"]["application"]["id"], "bot", "{claims}");
    assert_eq!(claims["events"][SESSION_REVOKED]["reason_admin"]["en"], "agent/suspend");
    let came = told["came"][claims["jti"].as_str().expect("an id")].as_array().expect("a list");
    assert!(came.len() >= 2 && came.iter().all(|set| *set == came[0]), "it is the same each time");

    wait_until("it is recorded", || {
        deployment.records().iter().any(|it| it["event"] == "signals_told").then_some(())
    });
    let shown = ask(&streams, ("GET", &token), &json!({})).1.to_string();
    let listed = deployment.run(&["receiver", "list"]);
    let records = json!(deployment.records()).to_string();
    let logged = std::fs::read_to_string(log).expect("it was written");
    for text in [shown, listed, records, logged] {
        assert!(!text.contains("of-the-receiver") && !text.contains(&token), "{text}");
    }
    deployment.verify();
}

/// A receiver that verifies nothing but RS256 is told by that, over an exchange of keys and a restart too; all
/// else that is signed here is not. Until such a receiver is registered there is no such key.
#[test]
fn ss_05_who_wants_rs256_is_told_by_it_and_verifies_over_an_exchange_of_keys() {
    let (port, target, port_of_agents) = (free_port(), free_port(), free_port());
    let certificates = tempfile::tempdir().expect("a temporary directory can be made");
    tls::certificates(certificates.path());
    let _front = tls::front(certificates.path(), "good", (port, target));
    let ca = certificates.path().join("ca.pem").display().to_string();
    let reached = format!("private_hosts: [localhost]\n    ca_files: ['{ca}']\n");
    let mut deployment = Deployment::start(&Options {
        configuration: format!("signals:\n  receivers:\n    {reached}"),
        port: Some(port_of_agents),
        ..Options::default()
    });
    bot(&deployment);
    let listed = |deployment: &Deployment| {
        let (_, jwks) = ask(&format!("{}/oauth/jwks", deployment.url()), ("GET", ""), &json!({}));
        let keys = jwks["keys"].as_array().expect("keys").iter();
        keys.map(|key| key["alg"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&deployment), ["ES256"]);
    let more = ["--all-agents", "--push-host", "localhost", "--algorithm", "RS256"];
    let token = register(&deployment, &more);
    assert_eq!(listed(&deployment), ["ES256", "RS256"]);
    let receiver = Receiver::start(target, &deployment.url(), "RS256");
    let delivery = json!({
        "method": "urn:ietf:rfc:8935", "endpoint_url": format!("https://localhost:{port}/events"),
        "authorization_header": "Bearer of-the-receiver",
    });
    let streams = format!("{}/ssf/streams", deployment.url());
    let (status, stream) = ask(&streams, ("POST", &token), &json!({ "delivery": delivery }));
    assert_eq!(status, 201, "{stream}");
    deployment.run(&["agent", "suspend", "bot", "--reason", "the pilot is over"]);
    receiver.told(1);
    deployment.run(&["keys", "rotate", "--reason", "every quarter"]);
    deployment.process.as_mut().expect("it runs").kill();
    deployment.serve();
    assert_eq!(listed(&deployment), ["ES256", "ES256", "RS256", "RS256"]);
    let verify = format!("{}/ssf/verify", deployment.url());
    let asked = json!({ "stream_id": stream["stream_id"], "state": "by the next key" });
    assert_eq!(ask(&verify, ("POST", &token), &asked).0, 204);
    let told = receiver.told(2);
    let came = told["came"].as_object().expect("what came").values();
    let key = |set: &Value| {
        let header = set.as_str()?.split('.').next().and_then(keys::from_base64url)?;
        let header: Value = serde_json::from_slice(&header).ok()?;
        Some(header["kid"].as_str()?.to_owned())
    };
    let by: std::collections::BTreeSet<_> =
        came.map(|sets| key(&sets[0]).expect("a token names its key")).collect();
    assert_eq!(by.len(), 2, "each was signed by another key");
    deployment.verify();
}

/// What we tell, another deployment takes: it polls, verifies by the keys that our metadata name, and
/// acknowledges.
#[test]
fn ss_05_another_deployment_takes_what_is_told() {
    let host = tls::Host::start();
    let (issuer, local) = (host.url.clone(), host.behind());
    let telling = host.deployment();
    bot(&telling);
    let token = register(&telling, &["--all-agents"]);
    let (status, stream) = ask(&format!("{local}/ssf/streams"), ("POST", &token), &json!({}));
    assert_eq!(status, 201, "{stream}");
    let id = stream["stream_id"].as_str().expect("an id");
    assert_eq!(stream["delivery"]["endpoint_url"], format!("{issuer}/ssf/poll/{id}"));

    let header = host.dir.path().join("siem.header");
    let line = format!("Authorization: Bearer {token}");
    keys::write_private(&header, line.as_bytes()).expect("it is written");
    let ca = host.authority();
    let configuration = format!(
        "signals:\n  keys:\n    private_hosts: [localhost]\n    ca_files: ['{}']\n  polls:\n    - stream: up\n      \
         url: {local}/ssf/poll/{id}\n      header_file: {}\n",
        ca.display(),
        header.display(),
    );
    let taking = Deployment::start(&Options { configuration, ..Options::default() });
    let file = |name: &str| taking.path(name).display().to_string();
    taking.run(&["directory", "add", "okta", "--token", &file("okta.token")]);
    let add = ["stream", "add", "up", "--issuer", &issuer, "--audience", AUDIENCE];
    let rest = ["--directory", "okta", "--token", &file("up.token")];
    taking.run(&[&add[..], &rest].concat());

    telling.run(&["agent", "suspend", "bot", "--reason", "the pilot is over"]);
    wait_until("it is acknowledged", || {
        telling.records().iter().any(|it| it["event"] == "signals_told").then_some(())
    });
    let noted = taking.records();
    let noted = noted.iter().find(|it| it["event"] == "signal_noted").expect("it is recorded");
    assert_eq!(noted["details"]["event"], "caep/session-revoked", "{noted}");
    assert_eq!(noted["details"]["outcome"], "unknown_subject", "{noted}");
    taking.verify();
    telling.verify();
}

/// The page's commands, as they stand there.
#[test]
fn the_page_on_telling_others_shows_what_works() {
    let deployment = Deployment::start(&Options::default());
    bot(&deployment);
    let printed = Page::read("transmitting.md", &[]).run(&deployment);
    assert_eq!(printed.len(), 3);
    assert!(printed[0].contains(r#""audience":"https://siem.example""#), "{}", printed[0]);
    assert!(printed[1].contains(r#""spec_version":"1_0""#), "{}", printed[1]);
    assert!(printed[1].contains("events_delivered"), "{}", printed[1]);
    let told = printed[2].lines().last().expect("an answer");
    let told: Value = serde_json::from_str(told).expect("JSON");
    assert_eq!(told["sets"].as_object().map(serde_json::Map::len), Some(1), "{told}");
}

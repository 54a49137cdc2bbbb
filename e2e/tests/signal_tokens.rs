//! Transmitters that are shown tokens which somebody else gives (RFC 6749 §4.4).
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use e2e::{Child, Deployment, Options, python, tls, wait_until};
use keys::{KeyAlgorithm, Signer as _, SigningKey};
use oauth::{client_assertion, form};
use serde_json::{Value, json};

const AUDIENCE: &str = "https://chancery.example/ssf";
const SECRET: &str = "s3cret-of-ours";

/// What `curl` gives for these arguments: the status, and the body.
fn curl(arguments: &[&str]) -> (u16, Value) {
    let output = Command::new("curl").args(["-s", "-w", "\n%{http_code}"]).args(arguments).output();
    let text = String::from_utf8(output.expect("curl runs").stdout).expect("it is text");
    let (body, status) = text.rsplit_once('\n').expect("curl tells the status");
    (status.parse().expect("a status"), serde_json::from_str(body).unwrap_or_default())
}

/// Registers the stream `caep` of `issuer`.
fn register(deployment: &Deployment, issuer: &str) {
    let file = |name: &str| deployment.path(name).display().to_string();
    deployment.run(&["directory", "add", "okta", "--token", &file("okta.token")]);
    let add = ["stream", "add", "caep", "--issuer", issuer, "--audience", AUDIENCE];
    deployment.run(&[&add[..], &["--directory", "okta", "--token", &file("caep.token")]].concat());
}

/// Where tokens of the stream `caep` are fetched over TLS, and where it is polled without.
fn configuration(ca: &Path, (endpoint, rest): (&str, &str), polled: &str) -> String {
    format!(
        "signals:\n  keys:\n    private_hosts: [localhost]\n    ca_files: ['{}']\n  oauth:\n    caep:\n      \
         token_endpoint: {endpoint}\n      client_id: chancery\n{rest}  polls:\n    - stream: caep\n      \
         url: {polled}\n",
        ca.display()
    )
}

/// A token is kept, fetched anew once it counts no longer, and fetched from where the operator said alone; what
/// shows who we are is nowhere to be found.
#[test]
fn ss_05_a_transmitter_is_shown_tokens_that_its_token_endpoint_gives() {
    let host = tls::Host::start();
    let (issuer, local) = (host.url.clone(), host.behind());
    let mut command = Command::new(python());
    command.arg(e2e::repository().join("e2e/servers/granting.py"));
    let _transmitter = Child::start(command.args([&host.target.to_string(), &issuer, SECRET]));
    wait_until("it listens", || TcpStream::connect(("127.0.0.1", host.target)).ok());
    let does = |what: &str| assert_eq!(curl(&["-d", what, &format!("{local}/now")]).0, 200);
    let seen = || curl(&[&format!("{local}/seen")]).1;

    let (file, log) = (host.dir.path().join("caep.secret"), host.dir.path().join("service.log"));
    keys::write_private(&file, SECRET.as_bytes()).expect("it is written");
    let rest = format!("      client_secret_file: {}\n", file.display());
    let endpoint = format!("{issuer}/token");
    let configuration =
        configuration(&host.authority(), (&endpoint, &rest), &format!("{local}/poll"));
    let service_log = Some(log.clone());
    let taking = Deployment::start(&Options { configuration, service_log, ..Options::default() });
    does("leak");
    register(&taking, &issuer);
    wait_until("the service says that it has none", || {
        let logged = std::fs::read_to_string(&log).expect("it is written");
        logged.contains("no token comes from").then_some(())
    });
    let config = taking.path("home/chancery.yaml").display().to_string();
    let discover = ["stream", "manage", "caep", "--config", &config, "discover"];
    for (what, why) in [("leak", "invalid_client"), ("redirect", "307"), ("huge", "larger")] {
        does(what);
        let told = taking.run_refused(&discover);
        assert!(told.contains(why) && told.contains("no token comes from"), "{what}: {told}");
        assert!(!told.contains(SECRET) && !told.contains("Basic"), "{told}");
    }
    does("ok");
    let polls = |token: &str, count: usize| {
        wait_until("it is polled", || {
            let seen = seen();
            let taken = json!([format!("Bearer {token}"), 200]);
            let polls = seen["polls"].as_array().expect("a list").iter();
            (polls.filter(|it| **it == taken).count() >= count).then_some(seen)
        })
    };
    let first = polls("token-1", 2);
    assert_eq!(first["tokens"], 1, "{first}");
    does("revoke");
    let second = polls("token-2", 2);
    assert_eq!(second["tokens"], 2, "{second}");
    let refused = json!(["Bearer token-1", 401]);
    let refused = second["polls"].as_array().unwrap().iter().filter(|it| **it == refused).count();
    assert_eq!(refused, 1, "{second}");

    let offers = taking.run(&discover);
    assert!(offers.contains("configuration_endpoint") && !offers.contains("token-3"), "{offers}");
    assert_eq!(seen()["elsewhere"], 0, "no metadata, and no answer, say where tokens are");
    let records = json!(taking.records()).to_string();
    let logged = std::fs::read_to_string(log).expect("it was written");
    for text in [records, logged] {
        assert!(!text.contains(SECRET) && !text.contains("token-1"), "{text}");
    }
    taking.verify();
}

/// Another deployment gets tokens of ours for itself, by its key, and polls and manages its stream with them.
#[test]
fn ss_05_another_deployment_gets_tokens_of_ours_by_its_key() {
    let host = tls::Host::start();
    let (issuer, local) = (host.url.clone(), host.behind());
    let telling = host.deployment();
    let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
    let (private, public) = (host.dir.path().join("caep.pem"), host.dir.path().join("caep.jwk"));
    keys::write_private(&private, key.to_pem().expect("a key").as_bytes()).expect("it is written");
    std::fs::write(&public, key.public().to_jwk().to_string()).expect("it is written");
    let public = public.display().to_string();
    let add = ["receiver", "add", "chancery", "--audience", AUDIENCE, "--all-agents"];
    telling.run(&[&add[..], &["--key", &public]].concat());

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is");
    let now = i64::try_from(now.as_secs()).expect("not that late");
    let assertion = client_assertion::make(("chancery", &issuer), &key, now, "once");
    let form = form::form(&[
        ("grant_type", "client_credentials"),
        ("scope", "ssf.manage"),
        ("client_assertion_type", client_assertion::TYPE),
        ("client_assertion", &assertion.expect("it can be signed")),
    ]);
    let (status, answer) = curl(&["-d", &form, &format!("{local}/oauth/token")]);
    assert_eq!(status, 200, "{answer}");
    let token = answer["access_token"].as_str().expect("a token");
    let shown = format!("Authorization: Bearer {token}");
    let json = "Content-Type: application/json";
    let streams = format!("{local}/ssf/streams");
    let (status, stream) = curl(&["-H", &shown, "-H", json, "-d", "{}", &streams]);
    assert_eq!(status, 201, "{stream}");
    let id = stream["stream_id"].as_str().expect("an id");

    let rest = format!("      key: {}\n      issuer: {issuer}\n", private.display());
    let endpoint = format!("{issuer}/oauth/token");
    let polled = format!("{local}/ssf/poll/{id}");
    let configuration = configuration(&host.authority(), (&endpoint, &rest), &polled);
    let taking = Deployment::start(&Options { configuration, ..Options::default() });
    register(&taking, &issuer);
    let config = taking.path("home/chancery.yaml").display().to_string();
    let manage = ["stream", "manage", "caep", "--config", &config];
    let verify = taking.run(&[&manage[..], &["verify", "--id", id]].concat());
    assert!(verify.contains(r#""verified":true"#), "{verify}");

    telling.run(&["receiver", "suspend", "chancery", "--reason", "it was stolen"]);
    assert_eq!(curl(&["-H", &shown, &streams]).0, 401);
    let refused = taking.run_refused(&[&manage[..], &["status", "--id", id]].concat());
    assert!(refused.contains("invalid_client"), "{refused}");
    taking.verify();
    telling.verify();
}

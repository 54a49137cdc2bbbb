//! A transmitter of others tells, at the real service, what happened to people; and what follows for the
//! agents that they sponsor, and for those that work on their behalf.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::consenting::{Stage, asked, task};
use e2e::identity::Browser;
use e2e::tls::Published;
use e2e::{
    Caller, Canary, Child, Deployment, Options, Page, Silent, free_port, python, stage, wait_until,
};
use serde_json::{Value, json};

const POLICY: &str = r#"
@id("canary") permit (principal, action in Action::"tools/call", resource in Server::"canary");
"#;

const AUDIENCE: &str = "https://chancery.example/ssf";

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";

/// The type of a token.
const SET: &str = "application/secevent+jwt";

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(since).expect("not that late")
}

/// A transmitter: who signs, and where its keys are published.
struct Transmitter {
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    published: Published,
    _process: Child,
}

impl Transmitter {
    fn start() -> Self {
        Self::polled_at(free_port())
    }

    /// The same, which is polled at `port`.
    fn polled_at(port: u16) -> Self {
        let mut command = Command::new(python());
        command.arg(e2e::repository().join("e2e/servers/transmitter.py")).arg(port.to_string());
        let mut process = Child::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let (asked, output) = process.pipes();
        let pipes = Mutex::new((asked, BufReader::new(output).lines()));
        let published = Published::start();
        let transmitter = Self { pipes, published, _process: process };
        let jwks_uri = transmitter.published.url("jwks.json");
        let metadata = json!({ "issuer": transmitter.issuer(), "jwks_uri": jwks_uri });
        transmitter.published.put(".well-known/ssf-configuration/idp.json", &metadata);
        transmitter
    }

    fn ask(&self, what: &Value) -> Value {
        let mut pipes = self.pipes.lock().expect("no test panics while it holds it");
        writeln!(pipes.0, "{what}").expect("it reads");
        let line = pipes.1.next().expect("it answers").expect("text");
        serde_json::from_str(&line).expect("JSON")
    }

    fn issuer(&self) -> String {
        self.published.url("idp.json")
    }

    /// Signs by a new key from now on, which alone is published.
    fn rotate(&self, kid: &str, alg: &str) {
        let key = self.ask(&json!({ "key": kid, "alg": alg }));
        self.published.put("jwks.json", &json!({ "keys": [key] }));
    }

    /// A token, by the key `kid`, that tells of `event` of the login `subject`.
    fn tells(&self, kid: &str, event: &str, subject: &Value) -> String {
        let jti = format!("{event} {}", now());
        let claims = json!({
            "iss": self.issuer(), "aud": AUDIENCE, "iat": now(), "jti": jti, "sub_id": subject,
            "events": { event: { "event_timestamp": now() } },
        });
        let token = self.ask(&json!({ "sign": claims, "kid": kid }));
        token.as_str().expect("a token").to_owned()
    }

    /// Registers it in `deployment` as a stream of the directory `okta`.
    fn register(&self, deployment: &Deployment) -> String {
        self.registered(deployment, "caep", &[])
    }

    /// The same by another name, with more to say.
    fn registered(&self, deployment: &Deployment, name: &str, more: &[&str]) -> String {
        let file = deployment.path(&format!("{name}.token")).display().to_string();
        let issuer = self.issuer();
        let add = ["stream", "add", name, "--issuer", &issuer, "--audience", AUDIENCE];
        let rest = ["--directory", "okta", "--token", &file];
        deployment.run(&[&add[..], &rest, more].concat());
        std::fs::read_to_string(file).expect("it was written")
    }
}

/// What is answered to `body` at `url` of somebody who shows `token`.
fn post(url: &str, (token, kind): (&str, &str), body: &str) -> (u16, String) {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-o", "-", "-w", "\n%{http_code}", "-X", "POST", "--data-binary", body]);
    curl.args(["-H", &format!("Authorization: Bearer {token}")]);
    let output = curl.args(["-H", &format!("Content-Type: {kind}"), url]).output();
    let text = String::from_utf8(output.expect("curl runs").stdout).expect("it is text");
    let (body, status) = text.rsplit_once('\n').expect("curl tells the status");
    (status.parse().expect("a status"), body.to_owned())
}

/// Pushes `set` until it is taken: its key may not be asked for yet.
fn push(people: &str, token: &str, set: &str) {
    wait_until("it is taken", || {
        let (status, told) = post(&format!("{people}/ssf/events/caep"), (token, SET), set);
        assert!([202, 503].contains(&status), "{status} {told}");
        (status == 202).then_some(())
    });
}

/// Adds a user by the directory `okta` of `deployment`, which it registers with `logins`.
fn user(deployment: &Deployment, people: &str, user: &str, logins: Option<&str>) {
    let file = deployment.path("okta.token").display().to_string();
    let add = ["directory", "add", "okta", "--token", &file];
    let login = logins.map(|issuer| ["--issuer", issuer, "--subject", "externalId"]);
    deployment.run(&[&add[..], login.as_ref().map_or(&[][..], |it| &it[..])].concat());
    if user == "sam" {
        deployment.run(&["directory", "adopt", "okta", "sam"]);
    }
    let token = std::fs::read_to_string(file).expect("it was written");
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": user, "externalId": user,
    });
    let kind = "application/scim+json";
    let url = format!("{people}/scim/v2/Users");
    let (status, told) = post(&url, (&token, kind), &body.to_string());
    assert_eq!(status, 201, "{told}");
}

/// The transmitter says that the sponsor's account is disabled: the agent has stopped by the time that it is
/// answered. Its keys are exchanged, and it says that they are back: so they are, and the agent needs somebody anew.
#[test]
fn r_13_when_a_transmitter_says_that_the_sponsor_is_gone_the_agent_stops() {
    let (canary, transmitter, port) = (Canary::start(), Transmitter::start(), free_port());
    let options = Options {
        policy: POLICY.to_owned(),
        configuration: transmitter.published.configuration("signals.md"),
        observers: Some(port),
        ..Options::default()
    };
    let deployment = Deployment::with_canary(canary.port, "changes-production", options);
    let people = format!("http://127.0.0.1:{port}");
    user(&deployment, &people, "sam", None);
    let token = transmitter.register(&deployment);
    deployment.run(&["people", "widening", "--after", "0s"]);
    let mut caller = Caller::new(&deployment, "canary");
    assert!(caller.call("touch", "before").is_done());

    let sam = json!({ "format": "scim", "uri": "/Users/sam", "externalId": "sam" });
    transmitter.rotate("k1", "RS256");
    let disabled = transmitter.tells("k1", &format!("{RISC}account-disabled"), &sam);
    let url = format!("{people}/ssf/events/caep");
    let (status, told) = post(&url, ("caep.other", SET), &disabled);
    assert_eq!(status, 401, "{told}");
    let (signed, signature) = disabled.rsplit_once('.').expect("a token");
    let forged: String = signature.chars().rev().collect();
    let (status, told) = post(&url, (&token, SET), &format!("{signed}.{forged}"));
    assert_eq!(status, 400, "{told}");
    assert!(caller.call("touch", "forged").is_done());
    push(&people, &token, &disabled);
    assert!(!caller.call("touch", "after").is_done());
    push(&people, &token, &disabled);

    transmitter.rotate("k2", "ES256");
    wait_until("it is a later second", || (now() > issued(&disabled)).then_some(()));
    let enabled = transmitter.tells("k2", &format!("{RISC}account-enabled"), &sam);
    push(&people, &token, &enabled);
    let row = |line: &str| serde_json::from_str::<Value>(line).expect("a row is JSON");
    let listed = deployment.run(&["person", "list"]);
    let listed = listed.lines().map(row).find(|person| person["id"] == "sam").expect("Sam");
    assert_eq!(listed["state"]["is"], "active", "{listed}");
    assert!(listed["state"]["authorization_cutoff"].is_i64(), "{listed}");
    assert!(!caller.call("touch", "returned").is_done(), "what was given before is over");

    // Its old key is nobody's any more.
    let again = transmitter.tells("k1", &format!("{RISC}account-purged"), &sam);
    let refused = wait_until("its keys are known", || {
        let (status, told) = post(&url, (&token, SET), &again);
        (status != 503).then_some((status, told))
    });
    assert_eq!(refused.0, 400, "{}", refused.1);
    assert!(refused.1.contains("invalid_key"), "{}", refused.1);

    let told = deployment.records();
    let signals: Vec<_> = told.iter().filter_map(|it| it.get("signal")).collect();
    let events: Vec<_> = signals.iter().map(|signal| signal["event"].clone()).collect();
    assert_eq!(events, ["risc/account-disabled", "risc/account-enabled"]);
    let marks: Vec<_> = canary.effects().into_iter().map(|effect| effect.mark).collect();
    assert_eq!(marks, ["before", "forged"]);
    let replayed = deployment.run(&["log", "replay"]);
    assert!(replayed.contains("decisions agree"), "{replayed}");
    deployment.verify();
}

/// A deployment before both servers, which the transmitter tells of Sam; with where people reach it, and the token by
/// which it is told.
fn told_of_sam(
    (canary, silent): (&Canary, &Silent),
    transmitter: &Transmitter,
) -> (Deployment, String, String) {
    let port = free_port();
    let server = |name: &str, port: u16| {
        (name.to_owned(), format!("{{ url: 'http://127.0.0.1:{port}/mcp' }}"))
    };
    let deployment = Deployment::start(&Options {
        servers: vec![server("canary", canary.port), server("silent", silent.port)],
        policy: POLICY.to_owned() + &POLICY.replace("canary", "silent"),
        configuration: transmitter.published.configuration("signals.md"),
        observers: Some(port),
        ..Options::default()
    });
    deployment.onboard(&["canary", "silent"], "changes-production");
    let people = format!("http://127.0.0.1:{port}");
    user(&deployment, &people, "sam", None);
    let token = transmitter.register(&deployment);
    (deployment, people, token)
}

/// Three instances are at work, and a fourth has a stream open at a tool, when the transmitter says that the sponsor's
/// account is disabled. Within a second from then on (here twice that, on a busy machine) the last effect has come, by
/// the clock of the tool, and the stream is over at both its ends; nothing comes after.
#[test]
fn r_13_the_last_effect_comes_within_a_second_of_the_signal_and_streams_end() {
    const WITHIN: Duration = Duration::from_secs(2);
    /// More calls than are made in time, so that whoever is not stopped ends too.
    const MOST: usize = 2_000;
    let (canary, silent, transmitter) = (Canary::start(), Silent::start(), Transmitter::start());
    let (deployment, people, token) = told_of_sam((&canary, &silent), &transmitter);
    let sam = json!({ "format": "scim", "uri": "/Users/sam", "externalId": "sam" });
    transmitter.rotate("k1", "RS256");
    // What says nothing of how Sam stands makes the key known.
    push(&people, &token, &transmitter.tells("k1", &format!("{RISC}opt-in"), &sam));
    let disabled = transmitter.tells("k1", &format!("{RISC}account-disabled"), &sam);

    let mut held = Caller::new(&deployment, "silent");
    let mut stream = TcpStream::connect(("127.0.0.1", deployment.port)).expect("it listens");
    held.begin(&mut stream, ("touch", "held"));
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).expect("it begins to be answered");
    assert_eq!(begun, *b"HTTP/1.1 200");
    wait_until("it is open at the tool", || (silent.open() == 1).then_some(()));

    let signal = std::thread::scope(|scope| {
        for name in ["one", "two", "three"] {
            let mut caller = Caller::new(&deployment, "canary");
            let mut works =
                move |number: usize| caller.call("touch", &format!("{name}-{number}")).is_done();
            scope.spawn(move || (0..MOST).all(&mut works));
        }
        wait_until("all are at work", || (canary.effects().len() > 12).then_some(()));
        let (signal, started) = (SystemTime::now(), Instant::now());
        let (status, told) = post(&format!("{people}/ssf/events/caep"), (&token, SET), &disabled);
        assert_eq!(status, 202, "{told}");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("it ends");
        assert!(rest.contains("outcome_unknown"), "{rest}");
        wait_until("the tool is hung up on", || (silent.open() == 0).then_some(()));
        assert!(started.elapsed() < WITHIN, "{:?}", started.elapsed());
        signal
    });
    let permits = wait_until("every permit has an outcome", || {
        let records = deployment.records();
        let permits = stage::permits(&records);
        permits.iter().all(|id| stage::outcome(&records, id).is_some()).then_some(permits)
    });
    let effects = canary.effects();
    stage::assert_permitted(&effects, &permits);
    let last = effects.iter().map(|effect| effect.at).max().expect("there are some");
    let after = last.duration_since(signal).unwrap_or_default();
    assert!(after < WITHIN, "last effect after {after:?}");
    assert!(!held.call("touch", "after").is_done());
    for server in ["canary", "silent"] {
        assert!(Caller::new(&deployment, server).obtain().is_err(), "{server}");
    }
    assert_eq!(canary.effects().len(), effects.len(), "nothing comes after");
    deployment.verify();
}

/// When `token` was issued.
fn issued(token: &str) -> i64 {
    let claims = token.split('.').nth(1).expect("claims");
    let claims = keys::from_base64url(claims).expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    claims["iat"].as_i64().expect("seconds")
}

/// The transmitter says that her session was revoked: what she set going in it ends, in the browser and at
/// the tool. What she sponsors goes on, and so does she, once she logs in again.
#[test]
fn sc_02_when_a_session_is_revoked_what_was_begun_in_it_ends() {
    let transmitter = Transmitter::start();
    transmitter.rotate("k1", "ES256");
    let stage = Stage::of_nobody(&transmitter.published.configuration("signals.md"));
    let (deployment, people) = (&stage.deployment, &stage.people);
    user(deployment, people, "carla", Some(&stage.identity.issuer));
    let token = transmitter.register(deployment);
    let uid = nix::unistd::geteuid().to_string();
    deployment.agent(("hers", "carla"), &["--host-uid", &uid]);
    let mut sponsored = Caller::of(deployment, "hers", "canary");
    assert!(sponsored.call("touch", "sponsored").is_done());
    let consent = |browser: &mut Browser, caller: &mut Caller| {
        let uri = asked(caller, &task(&["canary/touch"], 1));
        let page = browser.log_in(people, &uri);
        let (csrf, shown) = (page.field("csrf"), page.field("shown"));
        let fields = [("csrf", csrf.as_str()), ("shown", &shown), ("choice", "once")];
        assert_eq!(browser.post(&uri, &fields, people).status, 200);
    };
    let (mut browser, mut caller) = (Browser::default(), stage.caller());
    consent(&mut browser, &mut caller);
    assert!(caller.call("touch", "before").is_done());
    assert_eq!(browser.get(&format!("{people}/mandates")).status, 200);

    let carla = json!({
        "format": "complex",
        "user": { "format": "iss_sub", "iss": stage.identity.issuer, "sub": "carla" },
        "session": { "format": "opaque", "id": "dMTlD|1600802906337.16|16008.16" },
    });
    let revoked = transmitter.tells("k1", &format!("{CAEP}session-revoked"), &carla);
    push(people, &token, &revoked);
    assert!(!caller.call("touch", "after").is_done());
    assert_eq!(browser.get(&format!("{people}/mandates")).status, 403);
    assert!(sponsored.call("touch", "still").is_done());

    let (mut browser, mut caller) = (Browser::default(), stage.caller());
    consent(&mut browser, &mut caller);
    assert!(caller.call("touch", "again").is_done());
    let marks: Vec<_> = stage.canary.effects().into_iter().map(|effect| effect.mark).collect();
    assert_eq!(marks, ["sponsored", "before", "still", "again"]);
    deployment.verify();
}

/// What the transmitter holds is fetched from it, and acknowledged once it is in force; what is refused is
/// told so; what cannot be taken is asked for again.
#[test]
fn ss_05_what_a_transmitter_holds_is_polled_and_acknowledged() {
    let (at, port) = (free_port(), free_port());
    let transmitter = Transmitter::polled_at(at);
    transmitter.rotate("k1", "RS256");
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let file = dir.path().join("caep.header");
    keys::write_private(&file, b"Authorization: Bearer poll-secret").expect("it is written");
    let url = format!("http://127.0.0.1:{at}/poll");
    let header = file.display().to_string();
    let named = [("https://idp.example/ssf/poll", &*url), ("/etc/chancery/caep.header", &*header)];
    let shown = Page::read("signals.md", &named).blocks("yaml");
    let polls = shown[1]
        .strip_prefix(
            "signals:
",
        )
        .expect("it is shown");
    let deployment = Deployment::start(&Options {
        configuration: transmitter.published.configuration("signals.md") + polls,
        observers: Some(port),
        ..Options::default()
    });
    let people = format!("http://127.0.0.1:{port}");
    user(&deployment, &people, "ann", None);
    // Before it is registered nothing is asked for.
    let ann = json!({ "format": "scim", "externalId": "ann" });
    let sign = |jti: &str, event: &str, audience: &str| {
        let claims = json!({
            "iss": transmitter.issuer(), "aud": audience, "iat": now(), "jti": jti, "sub_id": ann,
            "events": { event: { "event_timestamp": now() } },
        });
        transmitter.ask(&json!({ "sign": claims, "kid": "k1" }))
    };
    let disabled = sign("one", &format!("{RISC}account-disabled"), AUDIENCE);
    let foreign = sign("two", &format!("{RISC}account-enabled"), "https://other.example");
    let opted = sign("three", &format!("{RISC}opt-in"), AUDIENCE);
    let hold = json!({ "one": disabled, "two": foreign, "three": opted });
    assert_eq!(transmitter.ask(&json!({ "hold": hold })), json!(3));
    assert_eq!(transmitter.ask(&json!({ "told": true }))["asked"], 0);
    transmitter.register(&deployment);
    let told = wait_until("it is told of all", || {
        let told = transmitter.ask(&json!({ "told": true }));
        let refused = told["setErrs"].as_object().map_or(0, serde_json::Map::len);
        let taken = told["ack"].as_array().map_or(0, Vec::len);
        (taken + refused == 3).then_some(told)
    });
    // One whose key is not asked for yet may be taken after the others.
    let taken = told["ack"].as_array().expect("a list").iter().filter_map(Value::as_str);
    assert_eq!(taken.collect::<BTreeSet<_>>(), BTreeSet::from(["one", "three"]));
    assert_eq!(told["setErrs"]["two"]["err"], "invalid_audience", "{told}");
    let listed = deployment.run(&["person", "list"]);
    let row = listed.lines().find(|line| line.contains(r#""id":"ann""#)).expect("Ann");
    assert!(row.contains(r#""is":"inactive""#), "{row}");
    deployment.verify();
}

/// A transmitter is asked to verify its stream, so that its silence says something; what it answers is
/// taken as what else it tells.
#[test]
fn ss_03_a_stream_whose_silence_is_bounded_is_verified() {
    let (at, port) = (free_port(), free_port());
    let transmitter = Transmitter::polled_at(at);
    transmitter.rotate("k1", "ES256");
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let file = dir.path().join("risc.header");
    keys::write_private(&file, b"Authorization: Bearer poll-secret").expect("it is written");
    let (url, header) = (format!("http://127.0.0.1:{at}/verify"), file.display().to_string());
    let named =
        [("https://idp.example/ssf/verify", &*url), ("/etc/chancery/risc.header", &*header)];
    let shown = Page::read("signals.md", &named).blocks("yaml");
    let verified = shown[3].strip_prefix("signals:\n").expect("it is shown");
    let deployment = Deployment::start(&Options {
        configuration: transmitter.published.configuration("signals.md") + verified,
        observers: Some(port),
        ..Options::default()
    });
    let people = format!("http://127.0.0.1:{port}");
    user(&deployment, &people, "ann", None);
    let token = transmitter.registered(&deployment, "risc", &["--silence", "15"]);
    let asked = wait_until("it is asked", || {
        let asked = transmitter.ask(&json!({ "told": true }))["verify"][0].clone();
        asked.is_object().then_some(asked)
    });
    assert_eq!(asked["stream_id"], "f67e39a0a4d34d56b3aa1bc4cff0069f");
    let event = "https://schemas.openid.net/secevent/ssf/event-type/verification";
    let claims = json!({
        "iss": transmitter.issuer(), "aud": AUDIENCE, "iat": now(), "jti": "verified",
        "sub_id": { "format": "opaque", "id": asked["stream_id"] },
        "events": { event: { "state": asked["state"] } },
    });
    let set = transmitter.ask(&json!({ "sign": claims, "kid": "k1" }));
    let set = set.as_str().expect("a token");
    wait_until("it is taken", || {
        let (status, told) = post(&format!("{people}/ssf/events/risc"), (&token, SET), set);
        assert!([202, 503].contains(&status), "{status} {told}");
        (status == 202).then_some(())
    });
    let noted = deployment.records();
    let noted = noted.iter().find(|it| it["event"] == "signal_noted").expect("it is recorded");
    assert_eq!(noted["details"]["outcome"], "verified", "{noted}");
    deployment.verify();
}

//! MCP clients over HTTP that have no key: a person authorizes them, logged in at a provider of others.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::identity::{Browser, Identity, Shown};
use e2e::tls::Published;
use e2e::{Canary, Client, Deployment, Options, Page, Recorder, Sdk, free_port};
use serde_json::{Value, json};

/// The instance may call; of the people, only Carla.
const POLICY: &str = r#"
@id("instances") permit (principal is Instance, action in Action::"tools/call", resource in Server::"canary");
@id("carla") permit (principal == Person::"carla", action in Action::"tools/call", resource in Server::"canary");
"#;

/// Where answers to the client go: a port of its own.
const REDIRECT: &str = "http://127.0.0.1:51004/callback";

struct Stage {
    deployment: Deployment,
    canary: Canary,
    recorder: Recorder,
    people: String,
    published: Published,
    _identity: Identity,
}

impl Stage {
    /// A deployment with the agent `desk`, which people use by the client that is published.
    fn set() -> Self {
        let (canary, port) = (Canary::start(), free_port());
        let (recorder, identity) = (Recorder::to(canary.port), Identity::start(port));
        let published = Published::start();
        let url = format!("{{ url: 'http://127.0.0.1:{}/mcp' }}", recorder.port());
        let deployment = Deployment::start(&Options {
            servers: vec![("canary".to_owned(), url)],
            policy: POLICY.to_owned(),
            configuration: identity.configuration() + &published.configuration("http-clients.md"),
            observers: Some(port),
            ..Options::default()
        });
        // Nobody but her vouches for such a client: it may no more than read.
        deployment.onboard(&["canary"], "reads-data");
        published.put("oauth.json", &document(&published.url("oauth.json")));
        let named = [("https://client.example/oauth.json", &*published.url("oauth.json"))];
        Page::read("http-clients.md", &named).run(&deployment);
        identity.join(&deployment, "carla");
        let people = format!("http://127.0.0.1:{port}");
        Self { deployment, canary, recorder, people, published, _identity: identity }
    }

    /// What Carla does whom a client sent to `uri`: she logs in if she has to, reads, and answers.
    fn answer(&self, browser: &mut Browser, uri: &str, choice: &str) -> (Shown, Shown) {
        assert!(uri.starts_with(&format!("{}/oauth/authorize?", self.people)), "{uri}");
        let first = browser.get(uri);
        let page = match first.status {
            403 => browser.get(&format!("{}{}", self.people, first.link())),
            _ => first,
        };
        assert_eq!(page.status, 200, "{}", page.text);
        let (csrf, shown) = (page.field("csrf"), page.field("shown"));
        let fields = [("csrf", csrf.as_str()), ("shown", &shown), ("choice", choice)];
        let place = format!("{}{}", self.people, page.action());
        let answered = browser.post(&place, &fields, &self.people);
        (page, answered)
    }

    /// An official SDK, which Carla lets in by `browser`.
    fn client(&self, sdk: Sdk, browser: &mut Browser) -> Client {
        let id = self.published.url("oauth.json");
        Client::authorized(&self.deployment, (sdk, "canary"), (&id, REDIRECT), |uri| {
            let (_, answered) = self.answer(browser, uri, "once");
            assert_eq!(answered.status, 303, "{}", answered.text);
            answered.header("location").expect("it leads to the client").to_owned()
        })
    }
}

/// What the client says of itself.
fn document(id: &str) -> Value {
    json!({
        "client_id": id,
        "client_name": "the Python SDK",
        "redirect_uris": ["http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    })
}

fn touch(note: &str) -> Value {
    json!({ "call": "touch", "arguments": { "mark": note } })
}

/// The official SDK knows the URL of the server and the client that it is, and finds all else.
#[test]
fn ma_03_a_stock_client_gets_to_a_tool_by_a_persons_consent() {
    let stage = Stage::set();
    let mut browser = Browser::default();
    let mut client = stage.client(Sdk::PythonSession, &mut browser);
    let answer = client.ask(&touch("one"));
    assert_eq!(answer["isError"], false, "{answer}");
    let asserted = stage.recorder.calls("tools/call")[0].asserted();
    assert_eq!(asserted["sub"], "carla");

    // Its token is over: it refreshes by itself.
    client.ask(&json!({ "expire": true }));
    let answer = client.ask(&touch("two"));
    assert_eq!(answer["isError"], false, "{answer}");
    let records = stage.deployment.records();
    let issued: Vec<_> = records.iter().filter(|it| it["kind"] == "issuance").collect();
    assert_eq!(issued.len(), 2, "{issued:?}");
    let all = records.iter().filter(|it| it["kind"] == "issuance" || it["kind"] == "decision");
    for record in all.filter(|it| it["agent"] == "desk") {
        assert_eq!(record["binding"], "none", "{record}");
        assert_eq!(record["attestation"], "user", "{record}");
    }

    // She takes it back: at once no call is permitted.
    let all = format!("{}/mandates", stage.people);
    let page = browser.get(&all);
    let csrf = page.field("csrf");
    let place = format!("{}{}", stage.people, page.action());
    assert_eq!(browser.post(&place, &[("csrf", &csrf)], &stage.people).status, 303);
    let answer = client.ask(&touch("three"));
    assert_eq!(answer["isError"], true, "{answer}");
    assert_eq!(stage.canary.effects().len(), 2);
    stage.deployment.verify();
}

/// One that can prove a key gets tokens that are bound to it, by the same way.
#[test]
fn ma_03_a_stock_client_that_proves_a_key_gets_tokens_that_are_bound() {
    let stage = Stage::set();
    let mut client = stage.client(Sdk::TypeScript2Stateless, &mut Browser::default());
    assert_eq!(client.greeted, "2026-07-28");
    let answer = client.ask(&touch("one"));
    assert_eq!(answer["isError"], false, "{answer}");
    let records = stage.deployment.records();
    let all = records.iter().filter(|it| it["kind"] == "issuance" || it["kind"] == "decision");
    for record in all.filter(|it| it["agent"] == "desk") {
        assert_eq!(record["binding"], "dpop", "{record}");
    }
    assert_eq!(stage.recorder.calls("tools/call")[0].asserted()["sub"], "carla");
    stage.deployment.verify();
}

/// The page names who asks, where the answer goes, and for what; nothing leads anywhere else.
#[test]
fn ma_05_the_page_names_the_client_and_where_the_answer_goes() {
    let stage = Stage::set();
    let id = stage.published.url("oauth.json");
    let request = |redirect: &str, more: &[(&str, &str)]| {
        let resource = format!("{}/mcp/canary", stage.deployment.url());
        let mut all = vec![
            ("response_type", "code"),
            ("client_id", id.as_str()),
            ("redirect_uri", redirect),
            ("state", "s"),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
        ];
        all.extend(more);
        format!("{}/oauth/authorize?{}", stage.people, oauth::form::form(&all))
    };
    let mut browser = Browser::default();
    let scoped = request(REDIRECT, &[("scope", "canary/touch")]);
    let (page, answered) = stage.answer(&mut browser, &scoped, "refuse");
    for told in [&*id, "the Python SDK", "127.0.0.1", "canary/touch", "desk", "sam", "carla"] {
        assert!(page.text.contains(told), "{told}: {}", page.text);
    }
    let policy = page.header("content-security-policy").expect("there is one");
    assert!(policy.contains("form-action 'self' http://127.0.0.1:51004;"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let to = answered.header("location").expect("the client is told");
    assert!(to.starts_with(&format!("{REDIRECT}?error=access_denied&")), "{to}");
    assert!(to.contains("&state=s&iss=http"), "{to}");

    // Nobody is sent to where the client's document does not lead.
    for elsewhere in ["https://evil.example/callback", "http://127.0.0.1:51004/other"] {
        let refused = browser.get(&request(elsewhere, &[]));
        assert_eq!((refused.status, refused.header("location")), (400, None), "{}", refused.text);
    }
    // Nor by a client that nobody registered, logged in or not.
    let stranger = request(REDIRECT, &[]).replace("oauth.json", "other.json");
    for mut browser in [browser, Browser::default()] {
        let refused = browser.get(&stranger);
        assert_eq!((refused.status, refused.header("location")), (403, None), "{}", refused.text);
    }
    e2e::wait_until("it is found", || {
        let found = stage.deployment.run(&["finding", "list"]);
        found.contains("other.json").then_some(())
    });
}

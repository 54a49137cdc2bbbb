//! A sponsor leaves: by one word of their directory ends all that went on by them, and what waited for anybody.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::Door;
use authority::{Effect, Unit};
use axum::Router;
use axum::body::Body;
use gateway::{Events, ReplyBody};
use https_url::HttpsUrl;
use login::{LoggedIn, SessionId};
use mcp::Era;
use model::{
    Agent as Registered, Clock as _, FactKey, LoginRule, LoginSubject, PersonId, Sha256Digest,
};
use oauth::access_token;
use oauth::form::form;
use oauth::token_endpoint::TokenResponse;
use pap::{
    AdminError, Answer, ClientRegistration, Command, DirectoryRegistration, ElevationAsked,
    NewToken, UndoAsked,
};
use serde_json::{Value, json};
use sts::{Documents, TokenHttpRequest, TokenService};

use crate::support::{
    Act, Agent, BOOT, Client, ISSUER, Setup, Upstream, World, nonces, tool, until,
};
use crate::{PROVIDER, Silent, Told, ask, door, listener, request};

/// Agents may call, and Sam may ask for what an administrator may.
const POLICY: &str = r#"
@id("up") permit (principal, action in Action::"tools/call", resource in Server::"up");
@id("sam") permit (principal == Person::"sam", action in
  [Action::"elevation/ask", Action::"elevation/approve", Action::"signal/undo", Action::"instance/release"],
  resource);
"#;

const TOKEN: &str = "okta.secret";

/// A client that is known by its document, and where it is answered.
const CLIENT: &str = "https://client.example/oauth.json";
const REDIRECT: &str = "http://127.0.0.1:51004/cb";

/// The example of RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The document of the client.
struct Published;

#[async_trait::async_trait]
impl Documents for Published {
    async fn fetch(&self, url: &HttpsUrl) -> Result<Value, String> {
        Ok(json!({
            "client_id": url.as_str(),
            "redirect_uris": ["http://127.0.0.1/cb"],
            "token_endpoint_auth_method": "none",
        }))
    }
}

/// Sam and Carla, of whom a directory tells; the agents `bot`, which is a client too, and `desk`, both Sam's.
struct Stage {
    world: World,
    up: Upstream,
    bot: Agent,
    desk: Agent,
    tokens: TokenService,
    door: Arc<Door>,
    people: Router,
}

fn person(id: &str) -> PersonId {
    id.parse().expect("a person")
}

fn reason() -> String {
    "a test".to_owned()
}

impl Stage {
    async fn set() -> Self {
        let up = Upstream::start(Era::Session, vec![tool("echo"), tool("pay")]).await;
        let routes = vec![("up", up.target())];
        let setup = Setup { policy: POLICY.to_owned(), routes, ..Setup::default() };
        let world = Box::pin(World::new(setup)).await;
        world.onboard("up", &["*=reads-data"]).await;
        let (bot, desk) =
            (world.agent("bot", &["up/*"]).await, world.agent("desk", &["up/*"]).await);
        let client = Some(ClientRegistration { id: CLIENT.to_owned(), bearer: true });
        world.run(Command::AgentClient { name: "bot".to_owned(), client }).await;
        let signs = (world.keys.clone(), nonces(BOOT));
        let tokens = TokenService::new(world.authority.clone(), ISSUER.to_owned(), signs)
            .with_clients(Arc::new(Published))
            .with_consent_at("https://people.example".to_owned());
        let door = door(&world, Silent);
        let people = listener(&world, Some(door.clone()), false);
        let stage = Self { world, up, bot, desk, tokens, door, people };
        stage.directory().await;
        stage
    }

    /// The directory `okta` tells of both.
    async fn directory(&self) {
        let expires = self.world.clock.now().plus(Duration::from_hours(24));
        let digest = Sha256Digest::of(TOKEN.as_bytes());
        let token = NewToken { digest, expires, read_only: false };
        let (issuer, subject) = (PROVIDER.to_owned(), LoginSubject::ExternalId);
        let (name, logins) = ("okta".to_owned(), Some(LoginRule { issuer, subject }));
        let said = DirectoryRegistration { name: name.clone(), logins, silence_min: None, token };
        self.world.run(Command::DirectoryAdd(said)).await;
        self.world.run(Command::DirectoryAdopt { name, person: "sam".to_owned() }).await;
        for name in ["sam", "carla", "ann"] {
            let schema = "urn:ietf:params:scim:schemas:core:2.0:User";
            let user =
                json!({ "schemas": [schema], "userName": name, "externalId": format!("x-{name}") });
            assert_eq!(self.says("POST", "/Users", &user).await.status.as_u16(), 201, "{name}");
        }
        self.world.clock.advance(Duration::from_secs(1));
    }

    async fn says(&self, method: &str, path: &str, body: &Value) -> Told {
        let asked = request(method, &format!("/scim/v2{path}"));
        let asked = asked.header("authorization", format!("Bearer {TOKEN}"));
        let asked = asked.header("content-type", "application/scim+json");
        ask(&self.people, asked.body(Body::from(body.to_string())).expect("a request")).await
    }

    /// The directory says that `name` is gone.
    async fn leaves(&self, name: &str) {
        let operation = json!({ "op": "replace", "path": "active", "value": false });
        let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
        let body = json!({ "schemas": [schema], "Operations": [operation] });
        assert_eq!(self.says("PATCH", &format!("/Users/{name}"), &body).await.status.as_u16(), 200);
    }

    /// A browser in which `name` is logged in.
    fn logged_in(&self, name: &str) -> SessionId {
        let who = LoggedIn {
            issuer: PROVIDER.to_owned(),
            subject: format!("x-{name}"),
            groups: None,
            begun: self.world.clock.now(),
            auth_time: Some(self.world.clock.now()),
            acr: Some("urn:example:loa2".to_owned()),
            amr: ["otp", "pwd"].map(str::to_owned).into(),
            session: None,
            name: None,
        };
        self.door.sessions.begin(who).expect("there is room")
    }

    /// The cookie that such a browser sends.
    fn cookie(&self, session: &SessionId) -> String {
        let cookie = self.door.cookies.set_session(session);
        cookie.to_str().expect("text").split(';').next().unwrap_or_default().to_owned()
    }

    /// The status of the page at `path` in that browser.
    async fn page(&self, session: &SessionId, path: &str) -> u16 {
        let asked = request("GET", path).header("cookie", self.cookie(session)).body(Body::empty());
        ask(&self.people, asked.expect("a request")).await.status.as_u16()
    }

    fn http<'a>(&self, form: &'a str) -> TokenHttpRequest<'a> {
        let arrived = self.world.authority.clock().monotonic();
        TokenHttpRequest { form: form.as_bytes(), dpop: None, from: None, client: None, arrived }
    }

    /// What the client asks of Carla, as it is named.
    async fn asked(&self) -> String {
        let resource = format!("{ISSUER}/mcp/up");
        let query = form(&[
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", REDIRECT),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
        ]);
        let authorizing = self.tokens.authorizing(self.http(&query)).await.expect("it is known");
        let asked = self.tokens.ask(self.http(&query), authorizing, &person("carla")).await;
        asked.expect("it is asked").to_string()
    }

    /// The first refresh token of what Carla lets the client do.
    async fn family(&self) -> String {
        let (carla, id) = (person("carla"), self.asked().await);
        let administration = &self.world.administration;
        let shown = administration.consent_show(&carla, &id).await.expect("it can be answered");
        let answer = (Answer::Once, &*shown.terms.digest().to_string());
        let reply = administration.consent_answer(&carla, &id, answer).await.expect("she may");
        let response = self.redeemed(&reply.goes_to.expect("it leads to the client")).await;
        response.refresh_token.expect("one comes with it")
    }

    /// What the client gets to which an answer led by `to`.
    async fn redeemed(&self, to: &str) -> TokenResponse {
        let resource = format!("{ISSUER}/mcp/up");
        let code = to.split(['?', '&']).find_map(|it| it.strip_prefix("code=")).expect("a code");
        let form = form(&[
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
            ("resource", &resource),
        ]);
        self.tokens.token(self.http(&form)).await.expect("it holds")
    }

    async fn refresh(&self, token: &str) -> Result<String, oauth::OAuthError> {
        let all =
            [("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", token)];
        let response = self.tokens.token(self.http(&form(&all))).await?;
        Ok(response.refresh_token.expect("one comes with it"))
    }

    async fn run_as(&self, by: &str, command: Command) -> Result<Value, AdminError> {
        Box::pin(self.world.administration.run(&person(by), command)).await
    }

    /// What `by` asks for in `task`, as it is named.
    async fn elevation(&self, by: &str, task: &str) -> String {
        let asked = ElevationAsked {
            task: task.to_owned(),
            name: "month-end".to_owned(),
            tools: vec!["up/pay".to_owned()],
            max_calls: None,
            lasts_s: 900,
            reason: reason(),
        };
        let told = self.run_as(by, Command::ElevationAsk { asked, word: None }).await;
        told.expect("it waits")["waits"].as_str().expect("an id").to_owned()
    }

    /// Sam asks that what the directory said of Ann is undone, as it is named.
    async fn undoing(&self) -> String {
        self.leaves("ann").await;
        let told = |it: &Value| it["kind"] == "administration" && it["action"] == "person/restrict";
        let record = self.world.record("she is gone", told).await["id"].as_str().map(str::to_owned);
        let (directory, stream, from, until) = (None, None, None, None);
        let asked = UndoAsked { record, directory, stream, from, until, reason: reason() };
        let told = self.run_as("sam", Command::SignalUndo { asked, word: None }).await;
        told.expect("it waits")["waits"].as_str().expect("an id").to_owned()
    }

    /// A quarantined instance of an agent that Alice sponsors, which Sam may release.
    async fn quarantined(&self) -> String {
        self.desk.client(&self.world, "up", Era::Session).await;
        let listed = self.run_as("alice", Command::InstanceList).await.expect("they are listed");
        let mut all = listed.as_array().expect("a list").iter();
        let of_desk = all.find(|it| it["agent"] == "desk").expect("there is one");
        let id = of_desk["id"].as_str().expect("an id").to_owned();
        let place = FactKey::agent(&"desk".parse().expect("an agent"));
        let mut reader = self.world.authority.pip().reader();
        let mut agent: Registered = reader.need(place.clone()).await.expect("it is registered");
        agent.sponsor = person("alice");
        let body = serde_json::to_vec(&agent).expect("a fact");
        let unit = Unit { effects: vec![Effect::Put { key: place, body }], ..Unit::default() };
        self.world.journal.store().commit(unit).await.expect("it commits");
        let quarantine = Command::InstanceQuarantine { id: id.clone(), reason: reason() };
        self.world.run(quarantine.clone()).await;
        self.run_as("sam", release(&id)).await.expect("he may");
        self.world.run(quarantine).await;
        id
    }
}

fn release(id: &str) -> Command {
    Command::InstanceRelease { id: id.to_owned(), reason: reason(), word: None }
}

/// Begins a call that is answered as a stream, of which some has come.
async fn begin(client: &Client<'_>) -> Events {
    let params = json!({ "name": "pay", "arguments": {}, "_meta": { "progressToken": "t" } });
    let (headers, body) = client.request("tools/call", params);
    let reply = client.reply(&client.world.gateway, &headers, body).await;
    let ReplyBody::Events(mut events) = reply.body else { panic!("no stream: {reply:?}") };
    events.recv().await.expect("progress");
    events
}

/// Why something is not done that waited for `who` left, or for whom somebody waited.
fn code<T: std::fmt::Debug>(answer: Result<T, AdminError>) -> &'static str {
    match answer {
        Err(AdminError::Refused(_)) => "refused",
        Err(AdminError::Missing(_)) => "missing",
        Err(AdminError::Invalid(_)) => "invalid",
        other => panic!("{other:?}"),
    }
}

/// Tokens, refresh tokens, sessions, streams, and whatever waits that they asked for or that somebody is asked on behalf of
/// what they answer for.
#[tokio::test]
async fn n_091_with_a_sponsor_who_leaves_ends_all_that_went_on_by_them_and_all_that_waited() {
    let stage = Box::pin(Stage::set()).await;
    let world = &stage.world;
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}"#;
    let last = r#"{"jsonrpc":"2.0","id":$id,"result":{"content":[]}}"#;
    stage.up.on("tools/call:pay", Act::HeldEvents(vec![progress.to_owned(), last.to_owned()]));
    let client = stage.bot.connected(world, "up", Era::Session).await;
    assert_eq!(client.call("echo", json!({})).await.result()["isError"], false);
    let is_call = |it: &Value| it["kind"] == "decision" && it["action"] == "up/echo";
    let task =
        world.record("it is decided", is_call).await["task"].as_str().expect("one").to_owned();
    let mut stream = begin(&client).await;
    let refresh = stage.family().await;
    let refresh = stage.refresh(&refresh).await.expect("it is the last one");
    let (sam, carla) = (stage.logged_in("sam"), stage.logged_in("carla"));
    let consent = format!("/consent/{}", stage.asked().await);
    for (who, path) in [(&sam, "/agents"), (&sam, "/mandates"), (&carla, consent.as_str())] {
        assert_eq!(stage.page(who, path).await, 200, "{path}");
    }
    let (own, others) =
        (stage.elevation("sam", &task).await, stage.elevation("alice", &task).await);
    let (undoing, instance) = (stage.undoing().await, stage.quarantined().await);

    stage.leaves("sam").await;
    let cut = stream.recv().await.expect("it ends with an answer");
    let cut: Value = serde_json::from_slice(&cut.message).expect("JSON");
    assert_eq!(cut["result"]["structuredContent"]["code"], "outcome_unknown");
    assert!(stream.recv().await.is_none());
    assert_eq!(world.outcome("up/pay").await, "cut");
    until("the server is hung up on", || async { (stage.up.hung_up() == 1).then_some(()) }).await;
    let calls = stage.up.seen_of("tools/call").len();
    assert!(
        client.call("echo", json!({})).await.refused().is_some(),
        "the token is good for nothing"
    );
    assert_eq!(stage.up.seen_of("tools/call").len(), calls);
    assert!(stage.bot.token(world, "up", Era::Session).await.is_err(), "nor is there another");
    let refreshed = stage.refresh(&refresh).await.expect_err("it is over");
    assert_eq!(refreshed.code, oauth::ErrorCode::InvalidGrant);
    for (who, path, status) in
        [(&sam, "/agents", 403), (&sam, "/mandates", 403), (&carla, consent.as_str(), 404)]
    {
        assert_eq!(stage.page(who, path).await, status, "{path}");
    }
    let approve = |id: &String| Command::ElevationApprove { id: id.clone(), word: None };
    let undo = Command::SignalApprove { id: undoing, word: None };
    for (by, command, expected) in [
        ("alice", approve(&own), "invalid"),
        ("sam", approve(&others), "refused"),
        ("alice", undo, "invalid"),
        ("sam", release(&instance), "refused"),
    ] {
        let name = format!("{command:?}");
        assert_eq!(code(stage.run_as(by, command).await), expected, "{name}");
    }
    let report = Command::PersonOffboard { id: "sam".to_owned(), since: None };
    let report = world.run(report).await;
    assert_eq!((&report["valid"], &report["is_over"]), (&json!(0), &json!(true)), "{report}");
}

/// RFC 9068 §2.2.1: who consents at the page had logged in for that as their provider said, and the client's token says so.
#[tokio::test]
async fn a_token_tells_how_who_consented_at_the_page_had_logged_in() {
    let stage = Box::pin(Stage::set()).await;
    let (world, since) = (&stage.world, stage.world.now());
    let (session, id) = (stage.logged_in("carla"), stage.asked().await);
    let shown = world.administration.consent_show(&person("carla"), &id).await;
    let shown = shown.expect("it can be answered").terms.digest().to_string();
    let csrf = stage.door.sessions.csrf_token(&session);
    let fields = form(&[("csrf", csrf.as_str()), ("shown", &shown), ("choice", "once")]);
    let asked = request("POST", &format!("/consent/{id}")).header("cookie", stage.cookie(&session));
    let answered = ask(&stage.people, asked.body(Body::from(fields)).expect("a request")).await;
    assert_eq!(answered.status.as_u16(), 303, "{}", answered.text);
    world.clock.advance(Duration::from_secs(5));
    let token = stage.redeemed(answered.headers["location"].to_str().expect("text")).await;
    let (resource, now) = (format!("{ISSUER}/mcp/up"), world.now());
    let parties = (ISSUER, resource.as_str());
    let claims = access_token::verify(&token.access_token, &world.keys, parties, now);
    let claims = claims.expect("it is ours");
    assert_eq!(claims.auth_time, Some(since));
    assert_eq!(claims.acr.as_deref(), Some("urn:example:loa2"));
    assert_eq!(claims.amr, BTreeSet::from(["otp", "pwd"].map(str::to_owned)));
}

//! Shared signals: whose word counts, of whom, once, and in the order in which things happened.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use keys::{KeyAlgorithm, SigningKey, VerifyingKey};
use model::{Clock as _, FactKey, Timestamp};
use pap::streams::{Key, NoKey, NotTaken, Receiver, TAKEN_MAX, TransmitterKeys};
use pap::{Command, StreamRegistration};
use serde_json::{Value, json};
use store::{CommitError, CounterKey, Effect, Store as _, Unit};

use crate::desk::Desk;
use crate::directories::{Scene, token, user};
use crate::support::POLICY;
use crate::support::stores::OnCommit;

const ISSUER: &str = "https://idp.example";
const AUDIENCE: &str = "https://chancery.example/ssf";
pub(crate) const TOKEN: &str = "caep.secret";

pub(crate) const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
pub(crate) const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const SCIM: &str = "urn:ietf:params:scim:event:";

/// The keys that transmitters have now; none, while they cannot be had.
#[derive(Default)]
struct Published(Mutex<Option<BTreeMap<String, VerifyingKey>>>);

#[async_trait]
impl TransmitterKeys for Published {
    async fn key(&self, issuer: &str, kid: Option<&str>) -> Result<Arc<dyn Key>, NoKey> {
        assert_eq!(issuer, ISSUER, "nobody else is asked");
        let published = self.0.lock().unwrap();
        let published = published.as_ref().ok_or(NoKey::Unavailable)?;
        let key = kid.and_then(|kid| published.get(kid)).ok_or(NoKey::Unknown)?;
        Ok(Arc::new(key.clone()))
    }
}

/// A directory with a stream that speaks for it.
pub(crate) struct Signals {
    pub(crate) scene: Scene,
    pub(crate) receiver: Receiver,
    published: Arc<Published>,
    key: SigningKey,
    number: Mutex<u32>,
}

pub(crate) fn said(desk: &Desk, name: &str) -> StreamRegistration {
    StreamRegistration {
        name: name.to_owned(),
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        algorithms: vec!["ES256".to_owned(), "RS256".to_owned()],
        directory: "okta".to_owned(),
        email: false,
        silence_min: None,
        token: token(desk, TOKEN, false),
    }
}

impl Signals {
    pub(crate) async fn set() -> Self {
        Self::with(|said| said).await
    }

    pub(crate) async fn with(
        change: impl FnOnce(StreamRegistration) -> StreamRegistration,
    ) -> Self {
        let scene = Box::pin(Scene::set()).await;
        let desk = &scene.desk;
        let said = change(said(desk, "caep"));
        Box::pin(desk.run(Command::StreamAdd(said))).await.expect("it is registered");
        let published = Arc::new(Published(Mutex::new(Some(BTreeMap::new()))));
        let receiver = Receiver::new(desk.administration.clone(), published.clone());
        let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let signals = Self { scene, receiver, published, key, number: Mutex::new(0) };
        signals.publish(&signals.key);
        signals
    }

    fn publish(&self, key: &SigningKey) {
        let key = key.verifying().clone();
        let mut published = self.published.0.lock().unwrap();
        published.get_or_insert_default().insert(key.thumbprint_text(), key);
    }

    pub(crate) fn now(&self) -> i64 {
        self.scene.desk.world.clock.now().as_seconds()
    }

    /// The claims of a token that tells now of `event`, which happened at `at`, to the user `ann`.
    pub(crate) fn claims(&self, event: &str, at: i64) -> Value {
        let mut number = self.number.lock().unwrap();
        *number += 1;
        let payload = json!({
            "event_timestamp": at, "credential_type": "password", "change_type": "update",
        });
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "iat": self.now(), "jti": format!("jti-{number}"),
            "sub_id": { "format": "iss_sub", "iss": "https://idp.example", "sub": "x-ann" },
            "events": { event: payload },
        })
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        oauth::jws::sign("secevent+jwt", claims, &self.key).expect("it is signed")
    }

    pub(crate) async fn take(&self, token: &str) -> Result<(), NotTaken> {
        let stream = self.receiver.known(("caep", TOKEN)).await?;
        Box::pin(self.receiver.take(&stream, token)).await
    }

    /// Tells of `event`, which happened at `at`.
    pub(crate) async fn tell(&self, event: &str, at: i64) {
        self.take(&self.sign(&self.claims(event, at))).await.expect("it is taken");
    }

    async fn person(&self, id: &str) -> Value {
        let key = FactKey::person(&id.parse().expect("a person"));
        self.scene.desk.fact(key).await.unwrap_or(Value::Null)
    }

    pub(crate) async fn is_active(&self, id: &str) -> bool {
        self.person(id).await["state"]["is"] == "active"
    }

    fn later(&self) {
        self.scene.desk.world.clock.advance(Duration::from_mins(1));
    }

    /// What came of each signal of which nothing came.
    async fn outcomes(&self) -> Vec<String> {
        let noted = self.scene.desk.world.records("system").await;
        let noted = noted.iter().filter(|it| it.text_of("event") == "signal_noted");
        noted.map(|it| it.value["details"]["outcome"].as_str().unwrap().to_owned()).collect()
    }
}

/// Why a token was refused, as its transmitter is told.
pub(crate) fn code(taken: Result<(), NotTaken>) -> &'static str {
    match taken {
        Ok(()) => "taken",
        Err(NotTaken::Stranger) => "stranger",
        Err(NotTaken::Later) => "later",
        Err(NotTaken::Refused(refusal)) => refusal.code.as_str(),
    }
}

#[tokio::test]
async fn n_097_no_forged_replayed_or_late_signal_changes_anybody() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let (left, now) = (format!("{RISC}account-disabled"), signals.now());
    let check = async |token: &str, expected: &str, cause: &str| {
        assert_eq!(code(signals.take(token).await), expected, "{cause}");
        assert!(signals.is_active("ann").await, "{cause}");
        signals.scene.desk.has_refused_for(cause).await;
    };
    let with = |member: &str, value: Value| {
        let mut claims = signals.claims(&left, now);
        claims[member] = value;
        signals.sign(&claims)
    };
    // Forged: by a key that is published as another's, by one that is not, by none.
    let thief = SigningKey::generate(KeyAlgorithm::Es256).unwrap();
    let forged = oauth::jws::sign("secevent+jwt", &signals.claims(&left, now), &thief).unwrap();
    check(&forged, "invalid_key", "unknown_key").await;
    let good = signals.sign(&signals.claims(&left, now));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (_, other) = forged.rsplit_once('.').unwrap();
    check(&format!("{signed}.{other}"), "invalid_key", "signature").await;
    let at_jwt = oauth::jws::sign("at+jwt", &signals.claims(&left, now), &signals.key).unwrap();
    check(&at_jwt, "invalid_request", "unreadable").await;
    // For somebody else, of somebody else, of another time.
    check(&with("aud", json!("https://other.example")), "invalid_audience", "audience").await;
    check(&with("iss", json!("https://other.example")), "invalid_issuer", "issuer").await;
    check(&with("iat", json!(now - 8 * 86_400)), "invalid_request", "too_old").await;
    check(&with("iat", json!(now + 301)), "invalid_request", "not_yet").await;
    check(&with("exp", json!(now + 301)), "invalid_request", "other_kind").await;
    check(&with("sub_id", json!({ "format": "email" })), "invalid_request", "claim").await;

    // Replayed: it is told, comes back, and is told again.
    signals.tell(&left, now).await;
    assert!(!signals.is_active("ann").await);
    signals.later();
    let back = signals.sign(&signals.claims(&format!("{RISC}account-enabled"), signals.now()));
    signals.take(&back).await.expect("it is taken");
    assert!(signals.is_active("ann").await);
    let again = signals.claims(&left, signals.now());
    let first = signals.sign(&again);
    signals.take(&first).await.expect("it is taken");
    let revision = signals.scene.desk.revision().await;
    for _ in 0..3 {
        assert_eq!(code(signals.take(&first).await), "taken");
        assert_eq!(code(signals.take(&back).await), "taken");
    }
    assert_eq!(signals.scene.desk.revision().await, revision, "nothing was written");
    assert!(!signals.is_active("ann").await);
    // Another token of the same `jti`.
    let mut claims = signals.claims(&format!("{RISC}account-enabled"), signals.now());
    claims["jti"] = again["jti"].clone();
    assert_eq!(code(signals.take(&signals.sign(&claims)).await), "invalid_request");
    signals.scene.desk.has_refused_for("jti_used").await;
    let system = signals.scene.desk.world.records("system").await;
    let told = system.iter().find(|it| it.text_of("event") == "jti_used").expect("of which stream");
    assert_eq!(told.value["details"], json!({ "stream": "caep" }));
    assert!(!signals.is_active("ann").await);
}

/// Whichever comes first, what happened last counts; of two things at once, that they left.
#[tokio::test]
async fn sc_02_the_later_word_wins_in_whichever_order_it_comes() {
    let (left, back) = (format!("{RISC}account-disabled"), format!("{SCIM}prov:activate"));
    let at = |second: i64, left: bool| (second, left);
    let stories = [
        [at(10, true), at(20, false), at(30, true)],
        [at(10, true), at(20, true), at(30, false)],
        [at(10, false), at(20, true), at(20, false)],
    ];
    for story in stories {
        let expected = story.iter().max_by_key(|(second, left)| (*second, *left)).unwrap();
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let signals = Signals::set().await;
            signals.scene.creates(user("ann")).await;
            let start = signals.now();
            signals.later();
            for position in order {
                let (second, is_left) = story[position];
                let event = if is_left { &left } else { &back };
                signals.tell(event, start + second).await;
                signals.later();
            }
            assert_eq!(signals.is_active("ann").await, !expected.1, "{story:?} as {order:?}");
        }
    }
}

#[tokio::test]
async fn sc_02_each_event_does_what_it_means() {
    let check = async |event: &str, active: bool, ends: bool| {
        let signals = Signals::set().await;
        signals.scene.creates(user("ann")).await;
        let at = signals.now();
        signals.later();
        signals.tell(event, at).await;
        let ann = signals.person("ann").await;
        assert_eq!(ann["state"]["is"] == "active", active, "{event}: {ann}");
        let cutoff = ends.then_some(json!(at * 1_000 + 999));
        assert_eq!(ann.get("sessions_cutoff"), cutoff.as_ref(), "{event}");
        let made = signals.scene.desk.world.records("administration").await;
        let last = made.last().expect("a record");
        if active && !ends {
            assert!(last.value.get("signal").is_none());
            assert_eq!(signals.outcomes().await.len(), 1, "{event}");
        } else {
            assert_eq!(last.text_of("action"), "person/restrict");
            let signal = &last.value["signal"];
            assert_eq!((&signal["stream"], &signal["at"]), (&json!("caep"), &json!(at * 1_000)));
            let name = event.rsplit(['/', ':']).next().unwrap();
            assert!(signal["event"].as_str().unwrap().ends_with(name), "{signal}");
        }
    };
    check(&format!("{RISC}account-disabled"), false, false).await;
    check(&format!("{RISC}account-purged"), false, false).await;
    check(&format!("{RISC}credential-compromise"), false, false).await;
    check(&format!("{SCIM}prov:deactivate"), false, false).await;
    check(&format!("{SCIM}prov:delete"), false, false).await;
    check(&format!("{CAEP}session-revoked"), true, true).await;
    check(&format!("{CAEP}credential-change"), true, true).await;
    check(&format!("{RISC}sessions-revoked"), true, true).await;
    check(&format!("{CAEP}session-presented"), true, false).await;
    check(&format!("{RISC}opt-in"), true, false).await;
    check(&format!("{SCIM}prov:put:notice"), true, false).await;
    check(&format!("{RISC}account-enabled"), true, false).await;
    check("urn:example:unheard-of", true, false).await;
}

/// What is begun in a login session ends with it; what is begun after, and what they sponsor, does not.
#[tokio::test]
async fn sc_02_a_revoked_session_ends_what_was_begun_in_it() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let began = signals.scene.desk.world.clock.now();
    signals.later();
    let logged_in = async |since: Timestamp| {
        let who = ("https://idp.example", "x-ann");
        signals.scene.desk.administration.logged_in(who, since).await.unwrap().is_some()
    };
    assert!(logged_in(began).await);
    // The transmitter's clock is ahead: what is begun after it is taken counts all the same.
    signals.tell(&format!("{CAEP}session-revoked"), signals.now() + 120).await;
    assert!(!logged_in(began).await);
    signals.scene.desk.has_refused_for("session_outdated").await;
    signals.scene.desk.world.clock.advance(Duration::from_millis(1));
    assert!(logged_in(signals.scene.desk.world.clock.now()).await);
    // An older one, which comes later, changes nothing, and neither does what the directory says else.
    signals.later();
    let cutoff = signals.person("ann").await["sessions_cutoff"].clone();
    signals.tell(&format!("{CAEP}session-revoked"), began.as_seconds()).await;
    assert_eq!(signals.outcomes().await, ["ended_already"]);
    signals.tell(&format!("{RISC}account-disabled"), signals.now()).await;
    signals.later();
    signals.tell(&format!("{RISC}account-enabled"), signals.now()).await;
    assert!(signals.is_active("ann").await);
    assert_eq!(signals.person("ann").await["sessions_cutoff"], cutoff);
}

/// A transmitter rates people, for policy to read: to a greater risk at once, to a lower one as policy says,
/// and by what it said last.
#[tokio::test]
async fn r_18_a_transmitter_rates_people_and_its_later_word_counts() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let rate = async |level: &str, principal: &str, at: i64| {
        let event = format!("{CAEP}risk-level-change");
        let mut claims = signals.claims(&event, at);
        claims["events"][&event]["current_level"] = json!(level);
        claims["events"][&event]["principal"] = json!(principal);
        signals.take(&signals.sign(&claims)).await.expect("it is taken");
        signals.person("ann").await["rated"]["level"].clone()
    };
    let start = signals.now();
    signals.later();
    assert_eq!(rate("HIGH", "DEVICE", start).await, Value::Null, "nobody whom policy knows");
    assert_eq!(rate("MEDIUM", "USER", start + 1).await, "medium");
    assert_eq!(rate("HIGH", "USER", start + 3).await, "high");
    assert_eq!(rate("LOW", "USER", start + 2).await, "high", "it was said before");
    let observed = POLICY.replace("@id(\"directory\")", "@id(\"directory\") @mode(\"observe\")");
    signals.scene.desk.world.publish(&observed).await;
    assert_eq!(rate("LOW", "USER", start + 4).await, "high", "policy keeps it");
    signals.scene.desk.world.publish(POLICY).await;
    assert_eq!(rate("LOW", "USER", start + 5).await, "low");
    assert_eq!(signals.outcomes().await, ["noted", "older", "not_permitted"]);
    // Whatever else the directory says of them, it stays.
    signals.scene.activity("ann", false).await.expect("they leave");
    assert_eq!(signals.person("ann").await["rated"]["level"], "low");
}

/// What takes away no policy keeps; who comes back does as policy says.
#[tokio::test]
async fn what_a_stream_takes_away_no_policy_keeps_and_what_it_gives_policy_may() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let observed = POLICY.replace("@id(\"directory\")", "@id(\"directory\") @mode(\"observe\")");
    signals.scene.desk.world.publish(&observed).await;
    signals.tell(&format!("{RISC}account-disabled"), signals.now()).await;
    assert!(!signals.is_active("ann").await);
    signals.later();
    let back = signals.sign(&signals.claims(&format!("{RISC}account-enabled"), signals.now()));
    signals.take(&back).await.expect("it is taken");
    assert!(!signals.is_active("ann").await);
    assert_eq!(signals.outcomes().await, ["not_permitted"]);
    let replayed = signals.scene.desk.run(Command::LogReplay).await.expect("it is told");
    assert_eq!(replayed["differ"], json!([]), "{replayed}");
    // Permitted since, the same token is no word any more; another is.
    signals.scene.desk.world.publish(POLICY).await;
    signals.take(&back).await.expect("it was taken");
    assert!(!signals.is_active("ann").await);
    signals.tell(&format!("{RISC}account-enabled"), signals.now()).await;
    assert!(signals.is_active("ann").await);
    let cutoff = &signals.person("ann").await["state"]["authorization_cutoff"];
    assert_eq!(*cutoff, json!(signals.scene.desk.world.clock.now().as_millis()));
}

/// Nobody is brought back whom somebody else sent away.
#[tokio::test]
async fn whom_an_administrator_sent_away_no_stream_brings_back() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let (left, back) = (format!("{RISC}account-disabled"), format!("{RISC}account-enabled"));
    let deactivate = || Command::PersonDeactivate { id: "ann".to_owned() };
    signals.scene.desk.run(deactivate()).await.expect("they are sent away");
    signals.later();
    signals.tell(&back, signals.now()).await;
    assert!(!signals.is_active("ann").await);
    signals.later();
    signals.tell(&left, signals.now()).await;
    signals.later();
    signals.tell(&back, signals.now()).await;
    assert!(!signals.is_active("ann").await);
    assert_eq!(signals.outcomes().await, ["gone_otherwise", "left_already", "gone_otherwise"]);
    // Nor whom the directory itself has sent away since.
    let active = async |active: bool| {
        signals.scene.activity("ann", active).await.expect("it is said");
        signals.later();
    };
    active(false).await;
    active(true).await;
    assert!(signals.is_active("ann").await);
    signals.tell(&left, signals.now()).await;
    let between = signals.now();
    signals.later();
    active(false).await;
    signals.tell(&back, between + 1).await;
    assert!(!signals.is_active("ann").await);
    signals.tell(&back, signals.now()).await;
    assert!(signals.is_active("ann").await, "it is newer than both");
}

#[tokio::test]
async fn a_signal_is_about_whom_it_names_among_the_directorys_people() {
    let mut ann = user("ann");
    ann["emails"] = json!([{ "value": "Ann@Acme.example" }]);
    let check = async |email: bool, subject: Value, is_known: bool| {
        let signals = Signals::with(|said| StreamRegistration { email, ..said }).await;
        signals.scene.creates(ann.clone()).await;
        signals.scene.creates(user("ben@acme.example")).await;
        let mut claims = signals.claims(&format!("{RISC}account-disabled"), signals.now());
        claims["sub_id"] = subject.clone();
        signals.take(&signals.sign(&claims)).await.expect("it is taken");
        assert_eq!(!signals.is_active("ann").await, is_known, "{subject}");
        assert!(signals.is_active("ben@acme.example").await);
        let outcomes = signals.outcomes().await;
        assert_eq!(outcomes.is_empty(), is_known, "{outcomes:?}");
        assert!(outcomes.iter().all(|it| it == "unknown_subject"));
    };
    let address = |email: &str| json!({ "format": "email", "email": email });
    let scim = |uri: &str, id: &str| json!({ "format": "scim", "uri": uri, "externalId": id });
    let login = |sub: &str| json!({ "format": "iss_sub", "iss": ISSUER, "sub": sub });
    check(false, login("x-ann"), true).await;
    check(false, login("ann"), false).await;
    check(false, json!({ "format": "iss_sub", "iss": AUDIENCE, "sub": "x-ann" }), false).await;
    check(false, address("Ann@Acme.example"), false).await;
    check(true, address("Ann@Acme.example"), true).await;
    check(true, address("ann@acme.example"), false).await;
    check(false, scim("/Users/ann", "x-ann"), true).await;
    check(false, scim("/Users/ben@acme.example", "x-ann"), false).await;
    check(false, json!({ "format": "scim", "externalId": "x-ann" }), true).await;
    let uri = "https://chancery.example/scim/v2/Users/ann";
    check(false, json!({ "format": "uri", "uri": uri }), true).await;
    check(false, json!({ "format": "uri", "uri": "https://x.example/Users/" }), false).await;
    check(true, json!({ "format": "opaque", "id": "ann" }), false).await;
    let session = json!({ "format": "opaque", "id": "s" });
    let complex = json!({ "format": "complex", "user": login("x-ann"), "session": session });
    check(false, complex, true).await;
    check(false, json!({ "format": "complex", "session": session }), false).await;
    let aliases = |all: &[Value]| json!({ "format": "aliases", "identifiers": all });
    check(false, aliases(&[address("nobody@x.example"), login("x-ann")]), true).await;
    check(false, aliases(&[login("x-ben@acme.example"), login("x-ann")]), false).await;
    // Whoever is not of the directory.
    let signals = Signals::set().await;
    let other = signals.scene.desk.world.standing.other.id.to_string();
    let place = FactKey::login(ISSUER, "x-ann");
    let effects = vec![Effect::Put { key: place, body: json!(other).to_string().into_bytes() }];
    let unit = Unit { effects, ..Unit::default() };
    signals.scene.desk.world.store.commit(unit).await.expect("it is written");
    signals.tell(&format!("{RISC}account-disabled"), signals.now()).await;
    assert!(signals.is_active(&other).await);
    assert_eq!(signals.outcomes().await, ["unknown_subject"]);
}

#[tokio::test]
async fn what_cannot_be_taken_now_is_not_refused_and_changes_nothing() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let event = format!("{RISC}account-disabled");
    let token = signals.sign(&signals.claims(&event, signals.now()));
    let known = signals.published.0.lock().unwrap().take();
    assert_eq!(code(signals.take(&token).await), "later");
    signals.scene.desk.has_refused_for("keys_unavailable").await;
    *signals.published.0.lock().unwrap() = known;
    // The store is down, or full.
    let world = &signals.scene.desk.world;
    world.store.on_commit([OnCommit::Refuse(CommitError::Overloaded)]);
    assert_eq!(code(signals.take(&token).await), "later");
    let fill = async |amount: i64| {
        let counter = CounterKey("taken/caep".to_owned());
        let effects = vec![Effect::Count { counter, amount, limit: None }];
        let unit = Unit { effects, ..Unit::default() };
        world.store.commit(unit).await.expect("it is counted");
    };
    fill(TAKEN_MAX).await;
    assert_eq!(code(signals.take(&token).await), "later");
    assert!(signals.is_active("ann").await);
    fill(-1).await;
    assert_eq!(code(signals.take(&token).await), "taken");
    assert!(!signals.is_active("ann").await);
}

/// What rests on something that changes meanwhile is looked at again.
#[tokio::test]
async fn two_deliveries_at_once_are_one() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    for event in [format!("{RISC}account-disabled"), format!("{CAEP}session-presented")] {
        let token = signals.sign(&signals.claims(&event, signals.now()));
        let all = futures::future::join_all((0..4).map(|_| signals.take(&token))).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
    }
    let made = signals.scene.desk.world.records("administration").await;
    let told = made.iter().filter(|it| it.value.get("signal").is_some());
    assert_eq!((told.count(), signals.outcomes().await.len()), (1, 1));
}

#[tokio::test]
async fn tokens_are_remembered_as_long_as_they_could_come_again() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let desk = &signals.scene.desk;
    for _ in 0..60 {
        signals.tell(&format!("{CAEP}session-presented"), signals.now()).await;
    }
    let remembered = async || {
        let mut found = 0;
        for prefix in ["taken/", "taken-until/"] {
            found += desk.world.store.list(prefix, None, 1_000).await.unwrap().facts.len();
        }
        let counted = desk.world.store.counters(&[CounterKey("taken/caep".to_owned())]).await;
        (found, counted.unwrap()[0])
    };
    let forget = async || {
        let now = desk.world.clock.now();
        desk.administration.forget_signals(now).await.expect("it is forgotten");
    };
    assert_eq!(remembered().await, (120, 60));
    desk.world.clock.advance(Duration::from_hours(7 * 24) - Duration::from_secs(1));
    forget().await;
    assert_eq!(remembered().await, (120, 60));
    desk.world.clock.advance(Duration::from_secs(2));
    forget().await;
    assert_eq!(remembered().await, (0, 0));
}

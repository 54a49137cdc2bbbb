//! Shared signals: whose word counts, of whom, once, and in the order in which things happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use keys::{KeyAlgorithm, SigningKey, VerifyingKey};
use model::{
    Clock as _, FactKey, LoginSession, Person, Risk, RiskLevel, Sha256Digest, Speaker, Timestamp,
};
use pap::streams::{Key, NoKey, NotTaken, Receiver, TAKEN_MAX, TransmitterKeys};
use pap::{Command, StreamRegistration};
use serde_json::{Value, json};
use store::{CommitError, CounterKey, Effect, Store as _, Unit};

use crate::desk::Desk;
use crate::directories::{BASE, Scene, token, user};
use crate::support::POLICY;
use crate::support::stores::OnCommit;

pub(crate) const ISSUER: &str = "https://idp.example";
/// Another transmitter, whose keys are the same.
pub(crate) const PEER: &str = "https://peer.example";
pub(crate) const AUDIENCE: &str = "https://chancery.example/ssf";
pub(crate) const TOKEN: &str = "caep.secret";

pub(crate) const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
pub(crate) const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
pub(crate) const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";
pub(crate) const SCIM: &str = "urn:ietf:params:scim:event:";

/// The keys that transmitters have now; none, while they cannot be had.
#[derive(Default)]
struct Published(Mutex<Option<BTreeMap<String, VerifyingKey>>>);

#[async_trait]
impl TransmitterKeys for Published {
    async fn key(&self, issuer: &str, kid: Option<&str>) -> Result<Arc<dyn Key>, NoKey> {
        assert!([ISSUER, PEER].contains(&issuer), "nobody else is asked");
        let published = self.0.lock().unwrap();
        let published = published.as_ref().ok_or(NoKey::Unavailable)?;
        let key = kid.and_then(|kid| published.get(kid)).ok_or(NoKey::Unknown)?;
        Ok(Arc::new(key.clone()))
    }

    fn critical(&self, issuer: &str) -> Result<BTreeSet<String>, NoKey> {
        assert!([ISSUER, PEER].contains(&issuer), "nobody else is asked");
        Ok(BTreeSet::from(["arm".to_owned()]))
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
        Box::pin(Self::over(Box::pin(Scene::set()).await, change)).await
    }

    pub(crate) async fn over(
        scene: Scene,
        change: impl FnOnce(StreamRegistration) -> StreamRegistration,
    ) -> Self {
        let desk = &scene.desk;
        let said = change(said(desk, "caep"));
        Box::pin(desk.run(Command::StreamAdd(said))).await.expect("it is registered");
        let published = Arc::new(Published(Mutex::new(Some(BTreeMap::new()))));
        let by = desk.administration.clone();
        let receiver = Receiver::new(by, published.clone(), BASE.to_owned());
        let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let signals = Self { scene, receiver, published, key, number: Mutex::new(0) };
        signals.publish(&signals.key);
        signals
    }

    /// The process ends, as it were, and starts again over the same database.
    pub(crate) async fn restarted(self) -> Self {
        let Self { scene, receiver, published, key, number } = self;
        drop(receiver);
        let Scene { desk, okta } = scene;
        let scene = Scene { desk: Box::pin(desk.restarted()).await, okta };
        let by = scene.desk.administration.clone();
        let receiver = Receiver::new(by, published.clone(), BASE.to_owned());
        Self { scene, receiver, published, key, number }
    }

    fn publish(&self, key: &SigningKey) {
        let key = key.verifying().clone();
        let mut published = self.published.0.lock().unwrap();
        published.get_or_insert_default().insert(key.thumbprint_text(), key);
    }

    /// The transmitter's keys cannot be had, until they are given back.
    pub(crate) fn unpublish(&self) -> BTreeMap<String, VerifyingKey> {
        self.published.0.lock().unwrap().take().expect("they were published")
    }

    pub(crate) fn republish(&self, keys: BTreeMap<String, VerifyingKey>) {
        *self.published.0.lock().unwrap() = Some(keys);
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
            "claims": {}, "current_level": "nist-aal1", "current_status": "not-compliant",
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
        self.take_by(("caep", TOKEN), token).await
    }

    pub(crate) async fn take_by(&self, shown: (&str, &str), token: &str) -> Result<(), NotTaken> {
        let stream = self.receiver.known(shown).await?;
        Box::pin(self.receiver.take(&stream, token)).await
    }

    /// Tells of `event`, which happened at `at`.
    pub(crate) async fn tell(&self, event: &str, at: i64) {
        self.take(&self.sign(&self.claims(event, at))).await.expect("it is taken");
    }

    pub(crate) async fn person(&self, id: &str) -> Value {
        let key = FactKey::person(&id.parse().expect("a person"));
        self.scene.desk.fact(key).await.unwrap_or(Value::Null)
    }

    pub(crate) async fn is_active(&self, id: &str) -> bool {
        self.person(id).await["state"]["is"] == "active"
    }

    pub(crate) fn later(&self) {
        self.scene.desk.world.clock.advance(Duration::from_mins(1));
    }

    /// What came of each signal of which nothing came.
    pub(crate) async fn outcomes(&self) -> Vec<String> {
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
    let world = &signals.scene.desk.world;
    let stands = async || {
        let acts = world.records("administration").await.len();
        (signals.person("ann").await, signals.outcomes().await, acts)
    };
    let before = stands().await;
    for _ in 0..3 {
        assert_eq!(code(signals.take(&first).await), "taken");
        assert_eq!(code(signals.take(&back).await), "taken");
    }
    crate::support::until("each replay is recorded", || async {
        let refusals = world.records("refusal").await;
        refusals.iter().filter(|it| it.text_of("cause") == "replayed").count() == 6
    })
    .await;
    assert_eq!(stands().await, before, "nothing else was written");
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

#[tokio::test]
async fn sc_02_each_event_does_what_it_means() {
    let check = async |event: &str, active: bool, ends: bool| {
        let signals = Signals::set().await;
        signals.scene.creates(user("ann")).await;
        let at = signals.now();
        signals.scene.desk.world.clock.advance(Duration::from_mins(10));
        let claims = signals.claims(event, at);
        signals.take(&signals.sign(&claims)).await.expect("it is taken");
        let ann = signals.person("ann").await;
        assert_eq!(ann["state"]["is"] == "active", active, "{event}: {ann}");
        let cutoff = ends.then_some(json!(at * 1_000 + 999 + secevent::SKEW_MS));
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
            // By which token of its transmitter's: the record is found by that, and that by the record.
            let jti = Sha256Digest::of(claims["jti"].as_str().unwrap().as_bytes());
            assert_eq!(signal["jti"], json!(jti), "{event}");
            let name = event.rsplit(['/', ':']).next().unwrap();
            assert!(signal["event"].as_str().unwrap().ends_with(name), "{signal}");
        }
    };
    for (family, names, active, ends) in [
        (RISC, &["account-disabled", "account-purged", "credential-compromise"][..], false, false),
        (SCIM, &["prov:deactivate", "prov:delete"], false, false),
        (CAEP, &["session-revoked", "credential-change", "token-claims-change"], true, true),
        (CAEP, &["assurance-level-change", "device-compliance-change"], true, true),
        (RISC, &["sessions-revoked"], true, true),
        (CAEP, &["session-presented", "session-established"], true, false),
        (RISC, &["opt-in", "account-enabled"], true, false),
        (SCIM, &["prov:put:notice"], true, false),
        ("urn:example:", &["unheard-of"], true, false),
    ] {
        for name in names {
            check(&format!("{family}{name}"), active, ends).await;
        }
    }
}

/// What is begun in a login session ends with it; what is begun after, and what they sponsor, does not.
#[tokio::test]
async fn sc_02_a_revoked_session_ends_what_was_begun_in_it() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let began = signals.scene.desk.world.clock.now();
    signals.scene.desk.world.clock.advance(Duration::from_mins(10));
    let logged_in = async |since: Timestamp| {
        let (who, session) = (("https://idp.example", "x-ann"), LoginSession { id: None, since });
        signals.scene.desk.administration.logged_in(who, session).await.unwrap().is_some()
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

/// A policy set that lets no directory give anything.
fn observed() -> String {
    POLICY.replace("@id(\"directory\")", "@id(\"directory\") @mode(\"observe\")")
}

/// What takes away no policy keeps; who comes back does as policy says.
#[tokio::test]
async fn what_a_stream_takes_away_no_policy_keeps_and_what_it_gives_policy_may() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    signals.scene.desk.world.publish(&observed()).await;
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

/// What a stream said it takes back as policy says, whether another says as much or nothing.
#[tokio::test]
async fn what_a_stream_lowers_policy_may_whatever_another_says() {
    for other in [None, Some(RiskLevel::High)] {
        let signals = Signals::set().await;
        signals.scene.creates(user("ann")).await;
        let desk = &signals.scene.desk;
        let rates = async |level: &str| {
            signals.later();
            let event = format!("{CAEP}risk-level-change");
            let mut claims = signals.claims(&event, signals.now());
            claims["events"][&event]["current_level"] = json!(level);
            claims["events"][&event]["principal"] = json!("USER");
            signals.take(&signals.sign(&claims)).await.expect("it is taken");
        };
        rates("HIGH").await;
        let ann: Person = serde_json::from_value(signals.person("ann").await).expect("a person");
        let risk = other.map(|level| Risk { level, since: desk.world.clock.now() });
        let ann = ann.with_rating(&Speaker::stream(&"risc".parse().expect("a source")), risk);
        desk.world.put(FactKey::person(&ann.id), &ann).await;
        desk.world.publish(&observed()).await;
        rates("LOW").await;
        assert_eq!(signals.outcomes().await, ["not_permitted"], "{other:?}");
        assert_eq!(signals.person("ann").await, json!(ann), "{other:?}");
        desk.world.publish(POLICY).await;
        rates("LOW").await;
        let ann: Person = serde_json::from_value(signals.person("ann").await).expect("a person");
        let own = ann.rated.by(&Speaker::stream(&"caep".parse().expect("a source")));
        assert_eq!(own.map(|risk| risk.level), Some(RiskLevel::Low), "{other:?}");
        assert_eq!(ann.risk_level(), Some(other.unwrap_or(RiskLevel::Low)), "{other:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_taken_now_is_not_refused_and_changes_nothing() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let event = format!("{RISC}account-disabled");
    let token = signals.sign(&signals.claims(&event, signals.now()));
    let known = signals.unpublish();
    assert_eq!(code(signals.take(&token).await), "later");
    signals.scene.desk.has_refused_for("keys_unavailable").await;
    signals.republish(known);
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
    signals.tell(&format!("{SSF}verification"), signals.now()).await;
    fill(-1).await;
    assert_eq!(code(signals.take(&token).await), "taken");
    assert!(!signals.is_active("ann").await);
}

/// What rests on something that changes meanwhile is looked at again.
#[tokio::test]
async fn two_deliveries_at_once_are_one() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    for event in [format!("{RISC}account-disabled"), format!("{CAEP}session-revoked")] {
        let token = signals.sign(&signals.claims(&event, signals.now()));
        let all = futures::future::join_all((0..4).map(|_| signals.take(&token))).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
    }
    let made = signals.scene.desk.world.records("administration").await;
    let told = made.iter().filter(|it| it.value.get("signal").is_some());
    assert_eq!((told.count(), signals.outcomes().await.len()), (2, 0));
}

#[tokio::test]
async fn tokens_are_remembered_as_long_as_they_could_come_again() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let desk = &signals.scene.desk;
    for _ in 0..60 {
        signals.tell(&format!("{RISC}account-disabled"), signals.now()).await;
        // What changes nobody does so however often it comes.
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

/// However many cannot be read, the others are forgotten.
#[tokio::test]
async fn what_cannot_be_read_keeps_no_other_token_from_being_forgotten() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let world = &signals.scene.desk.world;
    let damaged: Vec<_> = (0..50).map(|at| format!("taken-until/0000000000001/{at:02}")).collect();
    for key in &damaged {
        world.put(FactKey::from_text(key), &"damaged").await;
    }
    for _ in 0..30 {
        signals.tell(&format!("{RISC}account-disabled"), signals.now()).await;
    }
    world.clock.advance(Duration::from_hours(8 * 24));
    let now = world.clock.now();
    signals.scene.desk.administration.forget_signals(now).await.expect("it is forgotten");
    let left = world.store.list("taken-until/", None, 1_000).await.unwrap().facts;
    let left: Vec<_> = left.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(left, damaged);
}

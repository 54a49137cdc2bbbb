//! What receivers are told: of whom it concerns them, each thing once acknowledged, over crashes too.

use std::collections::BTreeSet;
use std::time::Duration;

use keys::SealingKey;
use model::{
    Agent, AgentName, Clock as _, Covers, EventAlgorithm, FactKey, Finding, Instance, PersonId,
    RiskLevel, RiskTarget, Sha256Digest, StopTarget,
};
use pap::receivers::{GONE_AFTER, Known, Told, Transmitter, Untold, WAITING_MAX};
use pap::{Command, NewToken, ReceiverRegistration};
use secevent::{PollAsked, StatusAsked, StreamAsked, Unverified};
use serde_json::{Value, json};
use store::CommitError;

use crate::desk::{Desk, ISSUER};
use crate::support::World;
use crate::support::stores::OnCommit;

pub(crate) const AUDIENCE: &str = "https://siem.example";
pub(crate) const TOKEN: &str = "siem.secret";

/// The end of the events' URIs, and what each is called here.
pub(crate) const SESSION_REVOKED: &str = "session-revoked";
const RISK: &str = "risk-level-change";

/// A deployment with two administrators and a receiver.
pub(crate) struct Telling {
    pub(crate) desk: Desk,
    pub(crate) transmitter: Transmitter,
    pub(crate) other: PersonId,
}

pub(crate) fn said(desk: &Desk, covers: Covers) -> ReceiverRegistration {
    ReceiverRegistration {
        name: "siem".to_owned(),
        audience: AUDIENCE.to_owned(),
        covers,
        issuer: None,
        push_host: Some("siem.example".to_owned()),
        algorithm: EventAlgorithm::Es256,
        token: Some(NewToken {
            digest: Sha256Digest::of(TOKEN.as_bytes()),
            expires: desk.world.clock.now().plus(GONE_AFTER * 4),
            read_only: false,
        }),
        key: None,
    }
}

pub(crate) fn transmitter(desk: &Desk) -> Transmitter {
    Transmitter::new(desk.administration.clone(), SealingKey::from_bytes([9; 32]))
}

impl Telling {
    pub(crate) async fn set(covers: Covers) -> Self {
        let world = World::with(|facts| {
            facts.other.groups.insert("administrators".parse().expect("a group"));
        })
        .await;
        let other = world.standing.other.id.clone();
        let desk = Desk::over(world).await;
        let said = said(&desk, covers);
        desk.run(Command::ReceiverAdd(said)).await.expect("it is registered");
        let transmitter = transmitter(&desk);
        Self { desk, transmitter, other }
    }

    /// The same, whose receiver is told of all agents, and polls.
    pub(crate) async fn of_all() -> (Self, String) {
        let telling = Box::pin(Self::set(Covers::All)).await;
        let id = telling.create(json!({})).await;
        (telling, id)
    }

    pub(crate) async fn known(&self) -> Known {
        self.transmitter.known(TOKEN).await.expect("it is known")
    }

    /// The id of a stream that is as `asked`.
    pub(crate) async fn create(&self, asked: Value) -> String {
        let asked = StreamAsked::parse(asked.to_string().as_bytes()).expect("it can be read");
        let told = self.transmitter.create(&self.known().await, asked).await;
        told.expect("it is created")["stream_id"].as_str().expect("an id").to_owned()
    }

    /// The tokens that are there, once `ack` is acknowledged.
    pub(crate) async fn poll(&self, id: &str, ack: &[String]) -> Vec<(String, String)> {
        let asked = PollAsked { max: 16, ack: ack.to_vec(), ..PollAsked::default() };
        let polled = self.transmitter.poll(&self.known().await, id, &asked).await;
        polled.expect("it is answered").sets.into_iter().collect()
    }

    /// The claims of the tokens that are there, verified, and acknowledged.
    pub(crate) async fn told(&self, id: &str) -> Vec<Value> {
        let sets = self.poll(id, &[]).await;
        let jtis: Vec<_> = sets.iter().map(|(jti, _)| jti.clone()).collect();
        if !jtis.is_empty() {
            let asked = PollAsked { max: 0, ack: jtis, ..PollAsked::default() };
            self.transmitter.poll(&self.known().await, id, &asked).await.expect("it is noted");
        }
        sets.iter().map(|(jti, set)| self.verified(jti, set)).collect()
    }

    fn verified(&self, jti: &str, set: &str) -> Value {
        let algorithms: BTreeSet<_> = oauth::jwks::Algorithm::named("ES256").into_iter().collect();
        let of =
            secevent::Transmitter { issuer: ISSUER, audience: AUDIENCE, algorithms: &algorithms };
        let read = Unverified::read(set, of).expect("it is ours");
        let now = self.desk.world.clock.now().as_millis();
        let kid = read.kid().expect("text").expect("a key").to_owned();
        let key = self.desk.token_keys.find(&kid, now / 1_000).expect("it counts");
        let set_of = read.verified_by(&key, now).expect("it is verified");
        assert_eq!(set_of.jti, jti);
        let claims = set.split('.').nth(1).and_then(keys::from_base64url).expect("claims");
        let claims: Value = serde_json::from_slice(&claims).expect("JSON");
        assert!(claims.get("sub").is_none() && claims.get("exp").is_none(), "{claims}");
        claims
    }

    /// What people are to be told of, and how often it was seen.
    pub(crate) async fn findings(&self) -> Vec<(String, u64)> {
        let findings = authority::all::<Finding>(self.desk.world.store.as_ref(), "finding/").await;
        let findings = findings.expect("they can be read").into_iter();
        findings.map(|it| (it.stranger.cause, it.count)).collect()
    }

    fn agent(&self) -> AgentName {
        self.desk.world.standing.agent.name.clone()
    }

    fn instance(&self) -> String {
        self.desk.world.standing.instance.id.to_string()
    }

    /// Registers another agent, of somebody else.
    pub(crate) async fn another(&self, name: &str) {
        let mut agent: Agent = self.desk.world.standing.agent.clone();
        agent.name = name.parse().expect("an agent");
        agent.sponsor = self.other.clone();
        self.desk.world.put(FactKey::agent(&agent.name), &agent).await;
    }

    pub(crate) async fn suspend(&self, name: &str) {
        let (name, reason) = (name.to_owned(), "because Ann said so".to_owned());
        self.desk.run(Command::AgentSuspend { name, reason }).await.expect("it is suspended");
    }
}

/// What is told, in short: the event and whom it is about.
pub(crate) fn short(claims: &Value) -> (String, String) {
    let events = claims["events"].as_object().expect("events");
    let (uri, _) = events.iter().next().expect("one event");
    let about = &claims["sub_id"];
    let whom = about["session"]["sub"].as_str().or(about["application"]["id"].as_str());
    let whom = whom.or(about["id"].as_str()).expect("whom it is about");
    (uri.rsplit('/').next().expect("a name").to_owned(), whom.to_owned())
}

/// An act, and what is told of it.
type Act = (fn(&Telling) -> Command, fn(&Telling) -> Vec<(&'static str, String)>);

/// The acts of which somebody is told.
const ACTS: [Act; 8] = [
    (
        |it| Command::InstanceRevoke { id: it.instance(), reason: "because".to_owned() },
        |it| vec![(SESSION_REVOKED, it.instance())],
    ),
    (
        |it| Command::InstanceQuarantine { id: it.instance(), reason: "because".to_owned() },
        |it| vec![(SESSION_REVOKED, it.instance())],
    ),
    (
        |it| Command::AgentSuspend { name: it.agent().to_string(), reason: "because".to_owned() },
        |it| vec![(SESSION_REVOKED, it.agent().to_string())],
    ),
    (
        |it| Command::Stop { what: StopTarget::Agent(it.agent()), reason: "because".to_owned() },
        |it| vec![(SESSION_REVOKED, it.agent().to_string())],
    ),
    (
        |_| Command::Stop { what: StopTarget::All, reason: "because".to_owned() },
        |it| vec![(SESSION_REVOKED, it.agent().to_string()), (SESSION_REVOKED, "zeta".to_owned())],
    ),
    (
        |it| {
            let what = RiskTarget::Instance(it.desk.world.standing.instance.id);
            Command::RiskRaise { what, level: RiskLevel::High, reason: "because".to_owned() }
        },
        |it| vec![(SESSION_REVOKED, it.instance()), (RISK, it.instance())],
    ),
    (
        |it| {
            let (what, level) = (RiskTarget::Agent(it.agent()), RiskLevel::Medium);
            Command::RiskRaise { what, level, reason: "because".to_owned() }
        },
        |it| vec![(RISK, it.agent().to_string())],
    ),
    (
        |it| Command::PersonDeactivate { id: it.desk.world.standing.sponsor.id.to_string() },
        |it| vec![(SESSION_REVOKED, it.agent().to_string())],
    ),
];

#[tokio::test]
async fn n_097_what_is_told_is_told_to_whom_it_concerns_and_none_is_lost() {
    for (act, expected) in ACTS {
        let covers = [
            (Covers::All, true),
            (Covers::These(["billing".parse().unwrap()].into()), true),
            (Covers::These([].into()), false),
        ];
        for (covers, is_told) in covers {
            let telling = Telling::set(covers.clone()).await;
            telling.another("zeta").await;
            let id = telling.create(json!({})).await;
            let command = act(&telling);
            telling.desk.run_as(&telling.other, command.clone()).await.expect("it is done");
            // Nobody remembers what was read of the log, and what was signed, but the store.
            let first = telling.poll(&id, &[]).await;
            let telling = Telling { transmitter: transmitter(&telling.desk), ..telling };
            assert_eq!(telling.poll(&id, &[]).await, first, "{command:?}");
            let told = telling.told(&id).await;
            let mut expected = if is_told { expected(&telling) } else { Vec::new() };
            expected.retain(|(_, whom)| covers == Covers::All || whom != "zeta");
            let mut told: Vec<_> = told.iter().map(short).collect();
            let mut expected: Vec<_> =
                expected.into_iter().map(|(event, whom)| (event.to_owned(), whom)).collect();
            told.sort();
            expected.sort();
            assert_eq!(told, expected, "{command:?} of {covers:?}");
            assert_eq!(telling.poll(&id, &[]).await, [], "it is acknowledged");
        }
    }
}

#[tokio::test]
async fn a_signal_says_what_was_done_by_whom_and_nothing_that_a_person_wrote() {
    let (telling, id) = Telling::of_all().await;
    telling.suspend("billing").await;
    let told = telling.told(&id).await;
    let [told] = told.as_slice() else { panic!("one is told: {told:?}") };
    assert!(!told.to_string().contains("Ann"), "{told}");
    let record = telling.desk.world.records("administration").await;
    let record = record.iter().rfind(|it| it.text_of("action") == "agent/suspend").unwrap();
    assert_eq!(told["txn"], record.value["id"]);
    let payload = told["events"].as_object().unwrap().values().next().unwrap();
    let at = record.value["time"].as_i64().unwrap() / 1_000;
    let expected = json!({
        "event_timestamp": at, "initiating_entity": "admin",
        "reason_admin": { "en": "agent/suspend" },
    });
    assert_eq!(*payload, expected);
    let subject =
        json!({ "format": "complex", "application": { "format": "opaque", "id": "billing" } });
    assert_eq!(told["sub_id"], subject);
    // That it was told is a record.
    let told = telling.desk.world.records("system").await;
    let told: Vec<_> = told.iter().filter(|it| it.text_of("event") == "signals_told").collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].value["details"]["records"], record.value["id"]);
}

#[tokio::test]
async fn an_agent_that_a_review_revokes_is_told() {
    let (telling, id) = Telling::of_all().await;
    telling.another("zeta").await;
    let (desk, reviewer) = (&telling.desk, &telling.other);
    let due = desk.world.clock.now().plus(model::REVIEW_MIN).to_string();
    let asked = pap::ReviewAsked { agents: vec!["zeta".to_owned()], sponsor: None, due };
    let opened = desk.run_as(reviewer, Command::ReviewOpen(asked)).await.expect("it is opened");
    let review = opened["review"].as_str().expect("it has an id").to_owned();
    let zeta = desk.fact(FactKey::agent(&"zeta".parse().unwrap())).await;
    let zeta: Agent = serde_json::from_value(zeta.unwrap()).unwrap();
    let head = "item,version,decision,reviewer,reason";
    let file = format!("{head}\n{review}/zeta,{},revoke,{reviewer},because\n", zeta.version());
    desk.run_as(reviewer, Command::ReviewImport { id: review, file }).await.expect("it is taken");
    let told: Vec<_> = telling.told(&id).await.iter().map(short).collect();
    assert_eq!(told, [(SESSION_REVOKED.to_owned(), "zeta".to_owned())]);
}

#[tokio::test]
async fn the_agents_of_a_founder_who_is_removed_are_told() {
    let (telling, id) = Telling::of_all().await;
    telling.another("zeta").await;
    let (desk, sponsor) = (&telling.desk, &telling.desk.world.standing.sponsor.id);
    let code = format!("founder/{}", Sha256Digest::of(b"a code of theirs"));
    desk.world.put(FactKey::from_text(&code), &json!({ "founder": sponsor })).await;
    let remove = Command::FounderRemove { id: sponsor.to_string(), reason: "because".to_owned() };
    desk.run_as(&telling.other, remove).await.expect("one suffices");
    let told = telling.told(&id).await;
    let [told] = told.as_slice() else { panic!("one is told: {told:?}") };
    assert_eq!(short(told), (SESSION_REVOKED.to_owned(), telling.agent().to_string()));
    let payload = told["events"].as_object().unwrap().values().next().unwrap();
    assert_eq!(payload["initiating_entity"], "admin");
    assert_eq!(payload["reason_admin"]["en"], "founder/remove");
}

#[tokio::test]
async fn a_quarantine_by_the_service_itself_is_told() {
    let (telling, id) = Telling::of_all().await;
    let world = &telling.desk.world;
    let signal = authority::Signal {
        instance: world.standing.instance.id,
        signal: "key_copied",
        seen: Vec::new(),
        uses: Vec::new(),
    };
    world.authority.quarantine(signal).await.expect("it is quarantined");
    let told = telling.told(&id).await;
    let told: Vec<_> = told.iter().map(short).collect();
    assert_eq!(told, [(SESSION_REVOKED.to_owned(), telling.instance())]);
    let instance: Instance = serde_json::from_value(
        telling.desk.fact(FactKey::instance(world.standing.instance.id)).await.unwrap(),
    )
    .unwrap();
    assert_ne!(instance.state, model::InstanceState::Active);
}

/// Whatever becomes of the commit: what is not known to be acknowledged is told again, and the same.
#[tokio::test]
async fn what_was_acknowledged_and_not_written_is_told_again() {
    let faults =
        [OnCommit::Refuse(CommitError::Unavailable("it is down".into())), OnCommit::WrittenButLost];
    for fault in faults {
        let (telling, id) = Telling::of_all().await;
        telling.suspend("billing").await;
        let sets = telling.poll(&id, &[]).await;
        assert_eq!(sets.len(), 1);
        telling.desk.world.store.on_commit([fault]);
        let ack = vec![sets[0].0.clone()];
        let asked = PollAsked { max: 16, ack: ack.clone(), ..PollAsked::default() };
        let answer = telling.transmitter.poll(&telling.known().await, &id, &asked).await;
        assert_eq!(answer.expect_err("it is not known"), Untold::Later);
        let again = telling.poll(&id, &[]).await;
        assert!(again.is_empty() || again == sets, "{again:?}");
        assert_eq!(telling.poll(&id, &ack).await, []);
    }
}

#[tokio::test]
async fn of_more_than_can_wait_each_is_told_once_in_its_turn() {
    let (telling, id) = Telling::of_all().await;
    let names: BTreeSet<_> = (0..WAITING_MAX + 8).map(|number| format!("zeta-{number}")).collect();
    for name in &names {
        telling.another(name).await;
    }
    telling.suspend("billing").await;
    let other = Command::PersonDeactivate { id: telling.other.to_string() };
    telling.desk.run(other).await.expect("they are gone");
    telling.suspend("billing").await;
    let mut told = Vec::new();
    loop {
        let next = telling.told(&id).await;
        if next.is_empty() {
            break;
        }
        assert!(next.len() <= 16);
        told.extend(next.iter().map(|claims| short(claims).1));
    }
    let twice = ["billing".to_owned(), "billing".to_owned()];
    let mut expected: Vec<_> = names.into_iter().chain(twice).collect();
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn whoever_is_no_longer_covered_is_no_longer_told_of() {
    let (telling, id) = Telling::of_all().await;
    telling.another("zeta").await;
    telling.suspend("billing").await;
    telling.suspend("zeta").await;
    assert_eq!(telling.poll(&id, &[]).await.len(), 2);
    let covers = Covers::These(["zeta".parse().unwrap()].into());
    let name = "siem".to_owned();
    telling.desk.run(Command::ReceiverCover { name, covers }).await.expect("it is narrowed");
    let told: Vec<_> = telling.told(&id).await.iter().map(short).collect();
    assert_eq!(told, [(SESSION_REVOKED.to_owned(), "zeta".to_owned())]);
}

#[tokio::test]
async fn what_waits_is_signed_anew_when_its_key_is_gone() {
    let (telling, id) = Telling::of_all().await;
    telling.suspend("billing").await;
    let before = telling.poll(&id, &[]).await;
    let reason = "test".to_owned();
    telling.desk.run(Command::KeysRotate { reason, compromised: true }).await.expect("exchanged");
    let after = telling.poll(&id, &[]).await;
    assert_eq!(before[0].0, after[0].0, "it has the same id");
    assert_ne!(before[0].1, after[0].1);
    telling.verified(&after[0].0, &after[0].1);
    // Nor would its receiver take one that is much older.
    telling.desk.world.clock.advance(Duration::from_hours(6 * 24));
    let later = telling.poll(&id, &[]).await;
    let iat = telling.verified(&later[0].0, &later[0].1)["iat"].clone();
    assert_eq!(iat, telling.desk.world.clock.now().as_seconds());
}

#[tokio::test]
async fn while_it_is_paused_what_happens_is_kept_and_while_it_is_disabled_it_is_not() {
    let (telling, id) = Telling::of_all().await;
    let set = async |status: &str| {
        let asked = json!({ "stream_id": id, "status": status }).to_string();
        let asked = StatusAsked::parse(asked.as_bytes()).unwrap();
        telling.transmitter.set_status(&telling.known().await, asked).await.unwrap();
    };
    for (status, told) in [("paused", 2), ("disabled", 0)] {
        telling.suspend("billing").await;
        assert_eq!(telling.poll(&id, &[]).await.len(), 1);
        set(status).await;
        telling.suspend("billing").await;
        assert_eq!(telling.poll(&id, &[]).await, [], "{status}");
        set("enabled").await;
        assert_eq!(telling.told(&id).await.len(), told, "{status}");
    }
}

#[tokio::test]
async fn what_is_to_be_pushed_goes_with_what_the_receiver_gave_for_it_and_is_kept_until_it_is_taken()
 {
    let telling = Telling::set(Covers::All).await;
    let delivery = json!({
        "method": "urn:ietf:rfc:8935", "endpoint_url": "https://siem.example/events",
        "authorization_header": "Bearer of-the-receiver",
    });
    let id = telling.create(json!({ "delivery": delivery })).await;
    telling.suspend("billing").await;
    let name = "siem".parse().unwrap();
    telling.transmitter.advance(&name).await.unwrap();
    let due = telling.transmitter.due(&name).await.unwrap().expect("something is due");
    assert_eq!((due.stream.as_str(), due.url.as_str()), (&*id, "https://siem.example/events"));
    assert_eq!(due.authorization.as_ref().unwrap().expose(), "Bearer of-the-receiver");
    let again = telling.transmitter.due(&name).await.unwrap().expect("something is due");
    assert_eq!(due.sets, again.sets);
    let told = Told { taken: vec![due.sets[0].0.clone()], ..Told::default() };
    telling.transmitter.settle(&name, &id, &told).await.unwrap();
    assert!(telling.transmitter.due(&name).await.unwrap().is_none());
    // What the receiver gave is nowhere in clear.
    let secret = telling.desk.fact(FactKey::receiver_secret(&name)).await.expect("it is kept");
    assert!(!secret.to_string().contains("of-the-receiver"));
    let known = telling.known().await;
    let shown = telling.transmitter.read(&known, Some(&id)).await.unwrap().to_string();
    let listed = telling.desk.run(Command::ReceiverList).await.unwrap().to_string();
    for text in [shown, listed] {
        assert!(!text.contains("authorization") && !text.contains("of-the-receiver"), "{text}");
        assert!(text.contains("https://siem.example/events"), "{text}");
    }
    assert!(!format!("{due:?}").contains("of-the-receiver"));
}

#[tokio::test]
async fn of_two_that_are_registered_at_once_for_one_audience_one_is() {
    let desk = Desk::over(World::new().await).await;
    let add = |name: &str| {
        Command::ReceiverAdd(ReceiverRegistration {
            name: name.to_owned(),
            ..said(&desk, Covers::All)
        })
    };
    let (one, two) = futures::join!(desk.run(add("siem")), desk.run(add("soar")));
    assert_ne!(one.is_ok(), two.is_ok(), "{one:?} {two:?}");
    // Whoever is not there keeps nobody else out.
    let left = if one.is_ok() { "siem" } else { "soar" };
    desk.run(Command::ReceiverRemove { name: left.to_owned() }).await.expect("it is removed");
    desk.run(add("siem")).await.expect("the audience is nobody's");
}

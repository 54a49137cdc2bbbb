//! What somebody who watches says, and what policy makes of it.

use std::sync::Arc;

use model::{
    Clock as _, FactKey, Instance, InstanceState, Person, PersonId, RiskLevel, RiskTarget,
};
use pap::{Command, Publisher, StreamRegistration};
use serde_json::{Value, json};

use crate::desk::{Desk, ISSUER, files, word};
use crate::directories::{token, user};
use crate::streams::{CAEP, Signals, said};
use crate::support::{POLICY, World, compiler};
use crate::undo::{approve, asked, signals};

/// What the shipped set says of risk.
fn shipped() -> String {
    let rules = pdp::STARTER_POLICY.split("@id(\"starter-risk-").skip(1);
    let whole = |rule: &str| rule[..=rule.find(';').expect("it ends")].to_owned();
    let rules: Vec<_> = rules.map(|rule| format!("@id(\"at-risk-{}", whole(rule))).collect();
    rules.concat()
}

/// A deployment with two administrators, the second of whom sponsors nothing, and both.
async fn desk() -> (Desk, [PersonId; 2]) {
    let world = World::with(|facts| {
        facts.other.groups.insert("administrators".parse().expect("a group"));
    })
    .await;
    let people = [world.standing.sponsor.id.clone(), world.standing.other.id.clone()];
    let desk = Desk::over(world).await;
    let set = files(&format!("{POLICY}{}", shipped()));
    let publisher = Publisher::new(desk.world.authority.clone(), set, compiler());
    publisher.publish().await.expect("the set compiles");
    (desk, people)
}

impl Desk {
    /// Whom the instance of the tests hangs on: itself, its agent, its sponsor.
    fn targets(&self) -> [RiskTarget; 3] {
        let standing = &self.world.standing;
        [
            RiskTarget::Instance(standing.instance.id),
            RiskTarget::Agent(standing.agent.name.clone()),
            RiskTarget::Person(standing.sponsor.id.clone()),
        ]
    }

    async fn raise(&self, what: &RiskTarget, level: RiskLevel) -> &'static str {
        let (what, reason) = (what.clone(), "seen".to_owned());
        word(&self.run(Command::RiskRaise { what, level, reason }).await)
    }

    async fn lower(&self, by: &PersonId, what: &RiskTarget, to: Option<RiskLevel>) -> &'static str {
        let (what, reason) = (what.clone(), "looked".to_owned());
        word(&self.run_as(by, Command::RiskLower { what, level: to, reason, word: None }).await)
    }
}

#[tokio::test]
async fn r_18_a_risk_steps_up_then_cuts_whoever_it_is_said_of() {
    for place in 0..3 {
        let (desk, [_, other]) = desk().await;
        let what = &desk.targets()[place];
        assert_eq!(desk.raise(what, RiskLevel::Low).await, "done");
        assert_eq!(desk.call("lookup").await, "permitted", "{what}: watched");
        assert_eq!(desk.call("refund").await, "permitted", "{what}: watched");
        assert_eq!(desk.raise(what, RiskLevel::Medium).await, "done");
        assert_eq!(desk.call("lookup").await, "permitted", "{what}: stepped up");
        assert_eq!(desk.call("refund").await, "forbidden", "{what}: stepped up");
        assert_eq!(desk.raise(what, RiskLevel::Low).await, "invalid", "{what}: that lowers it");
        assert_eq!(desk.raise(what, RiskLevel::High).await, "done");
        let cut = if place == 0 { "instance_quarantined" } else { "forbidden" };
        assert_eq!(desk.call("lookup").await, cut, "{what}: cut");
        assert_eq!(desk.lower(&other, what, Some(RiskLevel::High)).await, "invalid", "{what}");
        assert_eq!(desk.lower(&other, what, None).await, "done", "{what}");
        let after = if place == 0 { "instance_quarantined" } else { "permitted" };
        assert_eq!(desk.call("lookup").await, after, "{what}: what is quarantined stays so");
        assert_eq!(desk.lower(&other, what, None).await, "invalid", "{what}: there is none");
    }
}

/// Whoever is watched, by a signal or as somebody says so, goes on by the shipped set; the record holds it, and policy
/// reads it.
#[tokio::test]
async fn r_18_what_is_watched_goes_on_is_recorded_and_is_read_by_policy() {
    let watched = r#"@id("watched") forbid (principal, action in Action::"tools/call", resource is Tool)
        when { context.risk == "low" };"#;
    for (place, by_signal) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)]
    {
        let (signals, _) = Box::pin(signals()).await;
        let desk = &signals.scene.desk;
        let set = format!("{POLICY}{}", shipped());
        desk.world.publish(&set).await;
        let sponsor = desk.world.standing.sponsor.id.clone();
        desk.world.put(FactKey::login("https://idp.example", "x-sam"), &sponsor).await;
        let (name, person) = ("okta".to_owned(), sponsor.to_string());
        desk.run(Command::DirectoryAdopt { name, person }).await.expect("adopted");
        signals.later();
        let what = &desk.targets()[place];
        let (of, id) = (&desk.world.standing.agent.name, desk.world.standing.instance.id);
        let application = json!({ "format": "opaque", "id": of });
        let session = json!({ "format": "iss_sub", "iss": ISSUER, "sub": id });
        let (principal, subject) = match what {
            RiskTarget::Instance(_) => (
                "SESSION",
                json!({ "format": "complex", "application": application, "session": session }),
            ),
            RiskTarget::Agent(_) => {
                ("APPLICATION", json!({ "format": "complex", "application": application }))
            }
            RiskTarget::Person(_) => (
                "USER",
                json!({ "format": "iss_sub", "iss": "https://idp.example", "sub": "x-sam" }),
            ),
        };
        if by_signal {
            let at = signals.now();
            assert_eq!(signals.rate("LOW", (principal, &subject), at).await, Some("low"), "{what}");
        } else {
            assert_eq!(desk.raise(what, RiskLevel::Low).await, "done", "{what}");
        }
        let made = desk.world.records("administration").await;
        let last = made.last().expect("a record");
        let signal = by_signal.then_some(json!("caep/risk-level-change"));
        let told = last.value.get("signal").map(|it| it["event"].clone());
        assert_eq!((last.text_of("decision"), told), ("permit", signal), "{what}");
        let disclosed = desk.world.disclosure(last).await;
        let change = disclosed.value("change").expect("it is told").to_string();
        assert!(change.contains(r#""level":"low""#), "{what}: {change}");
        for tool in ["lookup", "refund"] {
            assert_eq!(desk.call(tool).await, "permitted", "{what}: {tool}");
        }
        desk.world.publish(&format!("{set}{watched}")).await;
        for tool in ["lookup", "refund"] {
            assert_eq!(desk.call(tool).await, "forbidden", "{what}: {tool}");
        }
    }
}

/// Whoever answers for an agent, or is the person, does not lift what was said against them.
#[tokio::test]
async fn n_096_nobody_lowers_their_own_risk_or_that_of_an_agent_of_theirs() {
    let (desk, [sponsor, other]) = desk().await;
    for what in &desk.targets() {
        assert_eq!(desk.raise(what, RiskLevel::Medium).await, "done");
        assert_eq!(desk.lower(&sponsor, what, None).await, "refused", "{what}");
        assert_eq!(desk.call("refund").await, "forbidden", "{what}");
        assert_eq!(desk.lower(&other, what, None).await, "done", "{what}");
    }
    assert_eq!(desk.call("refund").await, "permitted");
    desk.has_refused_for("lowered_own_risk").await;
}

/// What an instance departs in is stepped up as what others say of it is, and somebody else than who answers for it
/// lowers it; for those after it by itself.
#[tokio::test]
async fn r_48_who_asks_for_what_is_not_declared_is_stepped_up_until_somebody_lowers_it() {
    let (desk, [sponsor, other]) = desk().await;
    let [what, agent, _] = desk.targets();
    let (id, tool) = (desk.world.standing.instance.id, "other/tool".parse().expect("a tool"));
    for expected in ["permitted", "permitted", "forbidden"] {
        desk.world.authority.asked_for(id, &tool).await;
        assert_eq!(desk.call("refund").await, expected);
        assert_eq!(desk.call("lookup").await, "permitted");
    }
    assert_eq!(desk.lower(&sponsor, &what, None).await, "refused");
    assert_eq!(desk.lower(&other, &what, Some(RiskLevel::Medium)).await, "invalid");
    assert_eq!(desk.lower(&other, &what, None).await, "done");
    assert_eq!(desk.lower(&other, &what, None).await, "invalid", "there is none");
    desk.world.authority.asked_for(id, &tool).await;
    assert_eq!(desk.call("refund").await, "permitted", "once an hour");

    let of_new =
        || async { desk.fact(agent.key()).await.expect("it is known")["departed"].clone() };
    assert_eq!(of_new().await["level"], "medium", "a restart sheds nothing");
    assert_eq!(desk.lower(&other, &agent, Some(RiskLevel::Low)).await, "done");
    assert_eq!(of_new().await["level"], "low");
    assert_eq!(desk.lower(&other, &agent, None).await, "done");
    assert_eq!(of_new().await["until"], json!(desk.world.clock.now()));
}

/// An instance that was stopped for its risk is so in the register, and so is what starts after it.
#[tokio::test]
async fn r_18_an_instance_at_high_risk_is_quarantined_with_what_starts_after_it() {
    let (desk, [_, other]) = desk().await;
    let [what, agent, _] = desk.targets();
    assert_eq!(desk.raise(&what, RiskLevel::High).await, "done");
    let fact = desk.fact(what.key()).await.expect("it is known");
    let instance: Instance = serde_json::from_value(fact).expect("an instance");
    let InstanceState::Quarantined { signal, .. } = &instance.state else {
        panic!("it is quarantined: {:?}", instance.state)
    };
    assert_eq!(signal, "risk");
    let marks = desk.fact(FactKey::stopped(&instance.agent)).await.expect("it is marked");
    assert!(marks.get(instance.id.to_string()).is_some(), "{marks}");
    let known = || async { desk.fact(agent.key()).await.expect("it is known") };
    assert_eq!(known().await["risk_of_new"]["level"], "high");
    assert_eq!(desk.lower(&other, &what, None).await, "done");
    assert_eq!(known().await["risk_of_new"]["level"], "high", "a restart sheds nothing");
    assert_eq!(desk.lower(&other, &agent, None).await, "done");
    assert_eq!(known().await["risk_of_new"], Value::Null);
}

/// Where the deployment says so, an instance at high risk is revoked, though it was quarantined before, and nobody
/// releases it.
#[tokio::test]
async fn r_18_an_instance_at_high_risk_is_revoked_where_that_is_said() {
    let (mut desk, [_, other]) = desk().await;
    let [what, ..] = desk.targets();
    assert_eq!(desk.raise(&what, RiskLevel::High).await, "done");
    let administration = Arc::into_inner(desk.administration).expect("nobody else has it");
    desk.administration = Arc::new(administration.revoking_at_high(true));
    assert_eq!(desk.call("lookup").await, "instance_quarantined");
    assert_eq!(desk.raise(&what, RiskLevel::High).await, "done");
    let state = async || desk.fact(what.key()).await.expect("it is known")["state"].clone();
    assert_eq!(
        (&state().await["is"], &state().await["reason"]),
        (&json!("revoked"), &json!("risk"))
    );
    let id = desk.world.standing.instance.id.to_string();
    let release = Command::InstanceRelease { id, reason: "looked".to_owned(), word: None };
    assert_eq!(word(&desk.run_as(&other, release).await), "done", "what starts after it may act");
    assert_eq!(state().await["is"], "revoked");
    assert_ne!(desk.call("lookup").await, "permitted");
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
        signals.person("ann").await["rated"]["stream/caep"]["level"].clone()
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
    assert_eq!(signals.person("ann").await["rated"]["stream/caep"]["level"], "low");
}

/// Each transmitter answers for what it said. Another takes back nothing of it, nor does who undoes what the other
/// told by mistake; an administrator lowers what all of them say.
#[tokio::test]
async fn r_18_no_transmitter_takes_back_what_another_said() {
    // What they say in turn, of which `caep` was wrong; to what it comes, and to what once that is undone.
    for (told, comes_to, undone) in [
        (["caep HIGH", "risc HIGH"], "high", "high"),
        (["risc HIGH", "caep HIGH"], "high", "high"),
        (["risc MEDIUM", "caep HIGH"], "high", "medium"),
        (["caep HIGH", "risc MEDIUM"], "high", "medium"),
        (["caep HIGH", "risc LOW"], "high", "low"),
        (["risc HIGH", "caep LOW"], "high", "high"),
    ] {
        let (signals, [a, b]) = Box::pin(signals()).await;
        let desk = &signals.scene.desk;
        let token = token(desk, "risc.secret", false);
        let risc = StreamRegistration { token, ..said(desk, "risc") };
        Box::pin(desk.run(Command::StreamAdd(risc))).await.expect("it is registered");
        signals.scene.creates(user("ann")).await;
        let rated = async || {
            let ann = signals.person("ann").await;
            let ann: Person = serde_json::from_value(ann).expect("a person");
            json!(ann.risk_level())
        };
        let from = desk.world.clock.now();
        for word in told {
            signals.later();
            let (stream, level) = word.split_once(' ').expect("who, and what");
            let event = format!("{CAEP}risk-level-change");
            let mut claims = signals.claims(&event, signals.now());
            claims["events"][&event]["current_level"] = json!(level);
            claims["events"][&event]["principal"] = json!("USER");
            let shown = format!("{stream}.secret");
            let said = signals.take_by((stream, &shown), &signals.sign(&claims)).await;
            said.expect("it is taken");
        }
        assert_eq!(rated().await, comes_to, "{told:?}");
        let until = desk.world.clock.now();
        let command = asked(|it| {
            (it.directory, it.stream) = (Some("okta".to_owned()), Some("caep".to_owned()));
            (it.from, it.until) = (Some(from), Some(until));
        });
        let waits = desk.run_as(&a, command).await.expect("it waits");
        let done = desk.run_as(&b, approve(&waits)).await.expect("it is undone");
        assert_eq!((rated().await, &done["restored"]), (json!(undone), &json!(1)), "{told:?}");
        let ann = RiskTarget::Person("ann".parse().expect("a person"));
        assert_eq!(desk.lower(&a, &ann, None).await, "done", "{told:?}");
        assert_eq!(rated().await, Value::Null, "{told:?}");
    }
}
impl Signals {
    /// The transmitter says that something is at that risk since then; at which the instance of the tests is.
    pub(crate) async fn rate(
        &self,
        level: &str,
        (principal, subject): (&str, &Value),
        at: i64,
    ) -> Option<&'static str> {
        let event = format!("{CAEP}risk-level-change");
        let mut claims = self.claims(&event, at);
        claims["events"][&event]["current_level"] = json!(level);
        claims["events"][&event]["principal"] = json!(principal);
        claims["sub_id"] = subject.clone();
        self.take(&self.sign(&claims)).await.expect("it is taken");
        let world = &self.scene.desk.world;
        let read = world.authority.pip().standing(world.standing.instance.id).await;
        let risk = read.expect("it can be read").value.risk(world.clock.now());
        risk.map(RiskLevel::as_str)
    }
}

/// What a transmitter said last of an agent, or of an instance, as ours names them, counts, beside what is said
/// here; of nobody for whom the people of its directory do not answer.
#[tokio::test]
async fn r_18_a_transmitter_rates_agents_and_instances_of_its_directorys_people_alone() {
    let signals = Signals::set().await;
    let desk = &signals.scene.desk;
    let (agent, id) = (desk.world.standing.agent.name.clone(), desk.world.standing.instance.id);
    let application = |name: &str| json!({ "format": "opaque", "id": name });
    let session = |iss: &str| json!({ "format": "iss_sub", "iss": iss, "sub": id });
    let of_agent = json!({ "format": "complex", "application": application(agent.as_str()) });
    let of_instance = |name: &str| json!({ "format": "complex", "application": application(name), "session": session(ISSUER) });
    let start = signals.now();
    let rate = async |level: &str, of: (&str, &Value), after: i64| {
        signals.rate(level, of, start + after).await
    };
    signals.later();
    assert_eq!(rate("HIGH", ("APPLICATION", &of_agent), 0).await, None, "of nobody of theirs");
    let person = desk.world.standing.sponsor.id.to_string();
    desk.run(Command::DirectoryAdopt { name: "okta".to_owned(), person }).await.expect("adopted");
    // What is of others, or of something else, is said of nobody whom policy knows.
    let (theirs, nobody) = (session("https://idp.example"), application("nobody"));
    for (principal, subject) in [
        ("DEVICE", &of_agent),
        ("SESSION", &theirs),
        ("APPLICATION", &nobody),
        ("APPLICATION", &of_instance(agent.as_str())),
        ("SESSION", &of_instance("other")),
    ] {
        assert_eq!(rate("HIGH", (principal, subject), 1).await, None, "{principal} {subject}");
    }
    let agents = ("APPLICATION", &of_agent);
    assert_eq!(rate("MEDIUM", agents, 3).await, Some("medium"));
    assert_eq!(rate("HIGH", agents, 2).await, Some("medium"), "it was said before");
    let directory = "@id(\"directory-agents\")";
    desk.world
        .publish(&POLICY.replace(directory, &format!("{directory} @mode(\"observe\")")))
        .await;
    assert_eq!(rate("LOW", agents, 4).await, Some("medium"), "policy keeps it");
    desk.world.publish(POLICY).await;
    assert_eq!(rate("LOW", agents, 5).await, Some("low"));
    // What is said here stays, whatever a transmitter says later.
    let what = RiskTarget::Agent(agent.clone());
    assert_eq!(desk.raise(&what, RiskLevel::Medium).await, "done");
    assert_eq!(rate("LOW", agents, 6).await, Some("medium"));
    assert_eq!(desk.call("lookup").await, "permitted");
    // An instance at high risk is quarantined, and what starts after it begins with that.
    let instances = of_instance(agent.as_str());
    assert_eq!(rate("HIGH", ("SESSION", &instances), 7).await, Some("high"));
    assert_eq!(desk.call("lookup").await, "instance_quarantined");
    let known = desk.fact(what.key()).await.expect("it is known");
    assert_eq!(known["risk_of_new"]["level"], "high");
    assert_eq!(known["rated"]["stream/caep"]["level"], "low");
    let unknown = "unknown_subject";
    let strangers = [unknown, "noted", "noted", unknown, "noted", unknown];
    let known = ["older", "not_permitted", "rated_already"];
    assert_eq!(signals.outcomes().await, [&strangers[..], &known].concat());
    let made = desk.world.records("administration").await;
    let last = made.last().expect("a record");
    assert_eq!(last.text_of("action"), "agent/restrict");
    assert_eq!(last.value["signal"]["event"], "caep/risk-level-change");
    // Whoever looks at it lowers what transmitters said, too.
    let other = desk.world.standing.other.id.clone();
    let mut person = desk.world.standing.other.clone();
    person.groups.insert("administrators".parse().expect("a group"));
    desk.world.put(FactKey::person(&other), &person).await;
    let instance = RiskTarget::Instance(id);
    assert_eq!(desk.lower(&other, &instance, None).await, "done");
    let known = desk.fact(instance.key()).await.expect("it is known");
    assert_eq!(known["rated"]["stream/caep"].get("level"), None, "{known}");
}

/// What was lowered its transmitter raises by what it says next, though by its clock that was before; what it said
/// before that, and is delivered only now, does not count, though it was lowered to nothing. An instance that was
/// released is stopped by the same word again.
#[tokio::test]
async fn what_a_transmitter_says_once_its_word_was_lowered_counts() {
    let (signals, [sponsor, other]) = Box::pin(signals()).await;
    let desk = &signals.scene.desk;
    signals.scene.creates(user("ann")).await;
    let (name, person) = ("okta".to_owned(), sponsor.to_string());
    desk.run(Command::DirectoryAdopt { name, person }).await.expect("adopted");
    let [instance, agent, _] = desk.targets();
    let (of, id) = (&desk.world.standing.agent.name, desk.world.standing.instance.id);
    let ann = json!({ "format": "iss_sub", "iss": "https://idp.example", "sub": "x-ann" });
    let application = json!({ "format": "opaque", "id": of });
    let session = json!({ "format": "iss_sub", "iss": ISSUER, "sub": id });
    let of_agent = json!({ "format": "complex", "application": application });
    let of_instance =
        json!({ "format": "complex", "application": application, "session": session });
    let at = signals.now();
    for (what, subject) in [
        (&RiskTarget::Person("ann".parse().expect("a person")), ("USER", &ann)),
        (&agent, ("APPLICATION", &of_agent)),
        (&instance, ("SESSION", &of_instance)),
    ] {
        let level = async || {
            desk.fact(what.key()).await.expect("it is known")["rated"]["stream/caep"]["level"]
                .clone()
        };
        signals.rate("HIGH", subject, at).await;
        signals.later();
        assert_eq!(desk.lower(&other, what, Some(RiskLevel::Medium)).await, "done", "{what}");
        assert_eq!(level().await, "medium", "{what}");
        signals.rate("HIGH", subject, at + 1).await;
        assert_eq!(level().await, "high", "{what}");
        assert_eq!(desk.lower(&other, what, None).await, "done", "{what}");
        signals.rate("HIGH", subject, at).await;
        assert_eq!(level().await, Value::Null, "{what}");
        signals.rate("LOW", subject, at + 2).await;
        assert_eq!(level().await, "low", "{what}");
    }
    let state = async || desk.fact(instance.key()).await.expect("it is known")["state"].clone();
    let (id, reason) = (id.to_string(), "looked".to_owned());
    let release = Command::InstanceRelease { id, reason, word: None };
    assert_eq!(word(&desk.run_as(&other, release).await), "done");
    assert_eq!(state().await["is"], "active");
    let subject = ("SESSION", &of_instance);
    signals.rate("HIGH", subject, signals.now()).await;
    assert_eq!(state().await["is"], "quarantined");
    signals.rate("HIGH", subject, signals.now()).await;
    assert_eq!(signals.outcomes().await, ["older", "older", "older", "rated_already"]);
}

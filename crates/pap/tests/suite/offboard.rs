//! What a report of offboarding says is so when it is tried.

use std::time::Duration;

use model::{Agent, Clock as _, FactKey, Person, PersonState, RiskLevel, RiskTarget, Timestamp};
use pap::Command;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::desk::{Desk, jwk};
use crate::directories::{Scene, user};
use crate::elevations::consented;
use crate::streams::{CAEP, ISSUER, Signals};
use crate::support::{World, person, put};

/// Who administers, and whose nothing is.
const ROOT: &str = "root";

/// A deployment whose sponsor reports to `carl`, and which somebody else administers.
pub(crate) async fn desk() -> Desk {
    let world = World::with(|facts| {
        facts.sponsor.manager = Some("carl".parse().expect("a person"));
    })
    .await;
    let desk = Desk::over(world).await;
    for person in [person(ROOT, &["administrators"]), person("carl", &["administrators"])] {
        let key = desk.world.journal.sealer().new_data_key(&person.id);
        let effects = vec![
            put(FactKey::person(&person.id), &person),
            store::Effect::Put { key: key.key, body: key.body },
        ];
        let unit = store::Unit { effects, ..store::Unit::default() };
        desk.world.journal.store().commit(unit).await.expect("it commits");
    }
    desk.world.clock.advance(Duration::from_secs(1));
    desk
}

/// Something that becomes of a sponsor, their agent, or what it was given.
#[derive(Clone, Copy, Debug)]
enum Becomes {
    Leaves,
    Returns,
    Moves,
    Affirms,
    TakenOver,
    Suspended,
    Quarantined,
    Released,
    Revoked,
    TaskEnds,
    MandateWithdrawn,
    Stopped,
    LeaseEnds,
    RiskRaised,
}

impl Desk {
    pub(crate) async fn as_root(&self, command: Command) -> Option<Value> {
        self.run_as(&ROOT.parse().expect("a person"), command).await.ok()
    }

    async fn sponsor_is(&self, change: impl FnOnce(&mut Person)) {
        let key = FactKey::person(&self.world.standing.sponsor.id);
        let was = self.fact(key.clone()).await.expect("they are known");
        let was: Person = serde_json::from_value(was).expect("a person");
        let mut is = was.clone();
        change(&mut is);
        self.world.put(key, &was.becomes(is, self.world.clock.now())).await;
    }

    async fn becomes(&self, what: Becomes) {
        self.world.clock.advance(Duration::from_secs(1));
        let facts = &self.world.standing;
        let (sponsor, agent) = (facts.sponsor.id.clone(), facts.agent.name.to_string());
        let (instance, reason) = (facts.instance.id.to_string(), "a test".to_owned());
        let command = match what {
            Becomes::Leaves => Command::PersonDeactivate { id: sponsor.to_string() },
            Becomes::Returns => {
                let state = PersonState::Active { authorization_cutoff: None };
                return self.sponsor_is(|person| person.state = state).await;
            }
            Becomes::Moves => {
                let unit = format!("desk {}", self.world.clock.now().as_millis());
                let unit = Some(unit.parse().expect("a unit"));
                return self.sponsor_is(|person| person.unit = unit).await;
            }
            Becomes::Affirms => {
                let command = Command::AgentAffirm { name: agent, word: None };
                let _ = self.run_as(&sponsor, command).await;
                return;
            }
            Becomes::TakenOver => {
                let command = Command::AgentTakeOver { name: agent, reason, word: None };
                let _ = self.run_as(&"carl".parse().expect("a person"), command).await;
                return;
            }
            Becomes::Suspended => Command::AgentSuspend { name: agent, reason },
            Becomes::Quarantined => Command::InstanceQuarantine { id: instance, reason },
            Becomes::Released => Command::InstanceRelease { id: instance, reason, word: None },
            Becomes::Revoked => Command::InstanceRevoke { id: instance, reason },
            Becomes::TaskEnds => Command::TaskEnd { id: facts.task.id.to_string(), reason },
            Becomes::MandateWithdrawn => {
                Command::MandateWithdraw { id: facts.mandate.id.to_string(), reason }
            }
            Becomes::Stopped => {
                Command::Stop { what: format!("agent/{agent}").parse().expect("it is"), reason }
            }
            Becomes::LeaseEnds => {
                let key = FactKey::agent(&facts.agent.name);
                let is = self.fact(key.clone()).await.expect("it is known");
                let mut is: Agent = serde_json::from_value(is).expect("an agent");
                is.valid_until = Some(self.world.clock.now());
                return self.world.put(key, &is).await;
            }
            Becomes::RiskRaised => Command::RiskRaise {
                what: RiskTarget::Instance(facts.instance.id),
                level: RiskLevel::High,
                reason,
            },
        };
        self.as_root(command).await;
    }

    pub(crate) async fn report(&self) -> Value {
        let id = self.world.standing.sponsor.id.to_string();
        self.as_root(Command::PersonOffboard { id, since: None }).await.expect("it is reported")
    }

    async fn report_of_agent(&self) -> Value {
        let name = self.world.standing.agent.name.to_string();
        self.as_root(Command::AgentOffboard { name, since: None }).await.expect("it is reported")
    }

    /// Whether what `report` says of the instance is what it is told when it calls, and whether what it
    /// says of the agent is what beginning anything would come to.
    async fn holds(&self, report: &Value, what: &[Becomes]) {
        let instance = row(report, "instance").expect("it is the sponsor's").clone();
        let told = self.call("lookup").await;
        match instance["state"].as_str() {
            Some("valid") => assert_eq!(told, "permitted", "{what:?}: {instance}"),
            Some("dead") => assert_eq!(instance["why"], told, "{what:?}: {instance}"),
            other => panic!("{other:?}"),
        }
        let mut reader = self.world.authority.pip().reader();
        let (name, now) = (&self.world.standing.agent.name, self.world.clock.now());
        let begins = authority::may_begin(&mut reader, name, now).await.expect("it is read");
        let key = row(report, "agent_key").expect("it has one");
        let is_dead = key["state"] == "dead";
        assert!(!is_dead || begins.is_err(), "{what:?}: {key}");
        let counts = |kind: &str| row(report, kind).is_some_and(|row| row["state"] == "valid");
        assert!(begins.is_ok() || !counts("standing_mandate"), "{what:?}: {report}");
        // A move of this test is in no record: of whatever else ended something it is known when.
        let is_kept = !what.iter().any(|it| matches!(it, Becomes::Moves));
        for row in report["credentials"].as_array().into_iter().flatten() {
            let is_told = row["state"] != "dead" || row["died"].is_string();
            assert!(is_told || !is_kept, "{what:?}: {row}");
        }
        let is_over = ["instance", "task", "agent_key", "standing_mandate"];
        assert!(report["is_over"] == false || !is_over.iter().any(|kind| counts(kind)));
    }
}

fn row<'a>(report: &'a Value, kind: &str) -> Option<&'a Value> {
    let rows = report["credentials"].as_array()?;
    rows.iter().find(|row| row["kind"] == kind)
}

fn becomes() -> impl Strategy<Value = Becomes> {
    prop_oneof![
        3 => Just(Becomes::Leaves),
        2 => Just(Becomes::Returns),
        2 => Just(Becomes::Moves),
        2 => Just(Becomes::Affirms),
        3 => Just(Becomes::TakenOver),
        1 => Just(Becomes::Suspended),
        1 => Just(Becomes::Quarantined),
        2 => Just(Becomes::Released),
        1 => Just(Becomes::Revoked),
        1 => Just(Becomes::TaskEnds),
        1 => Just(Becomes::MandateWithdrawn),
        1 => Just(Becomes::Stopped),
        1 => Just(Becomes::LeaseEnds),
        2 => Just(Becomes::RiskRaised),
    ]
}

/// Whatever becomes of them in whatever order: what the report calls dead is refused, for the reason that
/// it tells, and what it calls valid is not refused for what is known of who asks.
#[test]
fn r_19_what_a_report_calls_dead_is_refused() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(32));
    let cases = proptest::collection::vec(becomes(), 0..7);
    let checked = runner.run(&cases, |all| {
        runtime.block_on(async {
            let desk = desk().await;
            for (done, what) in all.iter().enumerate() {
                desk.becomes(*what).await;
                desk.holds(&desk.report().await, &all[..=done]).await;
            }
            desk.holds(&desk.report_of_agent().await, &all).await;
        });
        Ok(())
    });
    checked.expect("it holds");
}

/// The report names the record by which something died, and how long anything went on after it.
#[tokio::test]
async fn r_19_a_report_names_the_record_and_the_last_effect() {
    let desk = desk().await;
    let act = desk.world.call("refund", serde_json::json!({ "amount": 5 }));
    let permit = desk.world.authorize(act).await.expect("it is permitted");
    let running = permit.begin(desk.world.clock.as_ref()).expect("it begins").running;
    let report = desk.report().await;
    assert_eq!((&report["is_over"], &report["under_way"]), (&false.into(), &0.into()));
    assert!(report["valid"].as_u64() >= Some(3), "{report}");

    desk.becomes(Becomes::Leaves).await;
    let left = desk.world.records("administration").await;
    let left = left.iter().rev().find(|it| it.text_of("action") == "person/deactivate");
    let left = left.expect("it is recorded").text_of("id");
    let report = desk.report().await;
    assert_eq!(report["valid"], 0, "{report}");
    assert_eq!((&report["is_over"], &report["under_way"]), (&false.into(), &1.into()), "{report}");

    desk.world.clock.advance(Duration::from_millis(250));
    running.finish(model::record::OutcomeKind::Cut, None);
    desk.world.drained().await;
    desk.world.clock.advance(Duration::from_secs(5));
    let report = desk.report().await;
    assert_eq!(report["is_over"], true, "{report}");
    assert_eq!(report["last_effect_ms"], 250, "{report}");
    for kind in ["instance", "task", "agent_key", "standing_mandate"] {
        let row = row(&report, kind).expect("it is there");
        assert_eq!(row["state"], "dead", "{row}");
        assert_eq!(
            (&row["by"]["record"], &row["by"]["action"]),
            (&left.into(), &"person/deactivate".into()),
            "{row}"
        );
    }
    let instance = row(&report, "instance").expect("it is there");
    assert_eq!(
        (&instance["why"], &instance["last_effect_ms"]),
        (&"sponsor_not_active".into(), &250.into())
    );

    // Somebody else takes over: of what was, nothing counts, and it died when the sponsor left.
    desk.becomes(Becomes::TakenOver).await;
    let report = desk.report().await;
    let instance = row(&report, "instance").expect("it is the leaver's");
    assert_eq!((&instance["state"], &instance["why"]), (&"dead".into(), &"taken_over".into()));
    assert_eq!(instance["by"]["record"], left, "{instance}");
    // Its key vouches still, and the leaver may hold the private half: until it is exchanged, it is not over.
    let key = row(&report, "agent_key").expect("it is there");
    assert_eq!(key["state"], "valid", "{key}");
    assert!(key["needs"].as_str().is_some_and(|needs| needs.contains("--new-key")), "{key}");
    assert_eq!(report["is_over"], false, "{report}");
    let name = desk.world.standing.agent.name.to_string();
    for (key, state) in [(None, "valid"), (Some(jwk()), "passed_on")] {
        desk.world.clock.advance(Duration::from_secs(1));
        let renew = Command::AgentRenew { name: name.clone(), key, compromised: false, word: None };
        let renewed = desk.run_as(&"carl".parse().expect("a person"), renew).await;
        renewed.expect("it is renewed");
        let report = desk.report().await;
        let key = row(&report, "agent_key").expect("it is there");
        assert_eq!(
            (&key["state"], &report["is_over"]),
            (&state.into(), &(state != "valid").into())
        );
    }
    let report = desk.report_of_agent().await;
    assert_eq!(row(&report, "agent_key").expect("it is there")["state"], "valid", "{report}");
    assert_eq!(report["is_over"], false);
}

/// What went on by each path after the sponsor left is added up, and the report is of the last of all.
#[tokio::test]
async fn r_19_a_report_adds_up_by_each_path_what_went_on() {
    let desk = desk().await;
    let begin = async |act| {
        let permit = desk.world.authorize(act).await.expect("it is permitted");
        permit.begin(desk.world.clock.as_ref()).expect("it begins").running
    };
    let calls = [
        begin(desk.world.call("refund", serde_json::json!({ "amount": 5 }))).await,
        begin(desk.world.call("lookup", serde_json::json!({}))).await,
    ];
    let (token, listing) = (
        begin(desk.world.method("token/issue")).await,
        begin(desk.world.method("tools/list")).await,
    );
    let ended = async |count: usize| {
        crate::support::until("it is recorded", || async {
            desk.world.records("outcome").await.len() == count
        })
        .await;
    };
    // What ended before is no part of it.
    listing.finish(model::record::OutcomeKind::Returned, None);
    ended(1).await;
    desk.becomes(Becomes::Leaves).await;
    let path = |cut: u64, ended: u64, under_way: u64, last: Option<u64>| {
        serde_json::json!({
            "cut": cut, "ended_later": ended, "under_way": under_way, "permitted_later": 0,
            "last_effect_ms": last,
        })
    };
    let check = async |calls: Value, issues: Value, last: Option<u64>| {
        let report = desk.report().await;
        let paths = serde_json::json!({
            "test tools/call": calls, "test token/issue": issues,
            "test tools/list": path(0, 0, 0, None),
        });
        assert_eq!(report["paths"], paths, "{report}");
        assert_eq!(report["last_effect_ms"], serde_json::json!(last));
    };
    check(path(0, 0, 2, None), path(0, 0, 1, None), None).await;
    let ends = async |running: authority::Running, after: u64, how, count: usize| {
        desk.world.clock.advance(Duration::from_millis(after));
        running.finish(how, None);
        ended(count).await;
    };
    let [refund, lookup] = calls;
    ends(refund, 100, model::record::OutcomeKind::Cut, 2).await;
    check(path(1, 1, 1, Some(100)), path(0, 0, 1, None), Some(100)).await;
    ends(token, 50, model::record::OutcomeKind::Returned, 3).await;
    check(path(1, 1, 1, Some(100)), path(0, 1, 0, Some(150)), Some(150)).await;
    ends(lookup, 50, model::record::OutcomeKind::Returned, 4).await;
    check(path(1, 2, 0, Some(200)), path(0, 1, 0, Some(150)), Some(200)).await;
}

/// What was done since somebody else had the account is listed with its record, and nothing else is.
#[tokio::test]
async fn sc_02_the_acts_since_a_compromise_are_listed() {
    let desk = desk().await;
    let mut permitted = Vec::new();
    for _ in 0..3 {
        let act = desk.world.call("lookup", serde_json::json!({}));
        let permit = desk.world.authorize(act).await.expect("it is permitted");
        permitted.push((permit.context().decision.to_string(), desk.world.clock.now()));
        let running = permit.begin(desk.world.clock.as_ref()).expect("it begins").running;
        running.finish(model::record::OutcomeKind::Returned, None);
        desk.world.drained().await;
        desk.world.clock.advance(Duration::from_secs(1));
    }
    let since = Some(permitted[1].1);
    let id = desk.world.standing.sponsor.id.to_string();
    let report = desk.as_root(Command::PersonOffboard { id, since }).await.expect("it is reported");
    let acts = report["acts"].as_array().expect("there are some");
    let told: Vec<_> = acts.iter().map(|act| act["record"].as_str().expect("a record")).collect();
    assert_eq!(told, [permitted[1].0.as_str(), permitted[2].0.as_str()]);
    assert_eq!(
        (&acts[0]["outcome"], &acts[0]["resource"]),
        (&"returned".into(), &"Tool::crm/lookup".into())
    );
    assert!(desk.report().await["acts"].is_null(), "nobody asked");
    let id = "carl".to_owned();
    let report = desk.as_root(Command::PersonOffboard { id, since }).await.expect("it is reported");
    assert_eq!(report["acts"], serde_json::json!([]), "they are another's");
}

/// What ended with the login of the person for whom it was done names the record that ended that, and none
/// that told of an earlier one.
#[tokio::test]
async fn r_19_a_report_names_the_record_that_ended_a_login() {
    let world = World::with(|facts| {
        consented(facts, &[]);
        facts.task.mandate_digest = facts.mandate.digest();
    })
    .await;
    let scene = Box::pin(Scene::over(Box::pin(Desk::over(world)).await)).await;
    let signals = Box::pin(Signals::over(scene, |said| said)).await;
    let desk = &signals.scene.desk;
    let (name, person) = ("okta".to_owned(), desk.world.standing.other.id.clone());
    desk.world.put(FactKey::login(ISSUER, "x-ann"), &person).await;
    let adopt = Command::DirectoryAdopt { name, person: person.to_string() };
    desk.run(adopt).await.expect("they are the directory's");
    signals.later();
    let report = async || {
        let name = desk.world.standing.agent.name.to_string();
        desk.run(Command::AgentOffboard { name, since: None }).await.expect("it is reported")
    };
    let revoked = format!("{CAEP}session-revoked");
    signals.tell(&revoked, signals.now() - 3_600).await;
    assert_eq!(row(&report().await, "instance").expect("it is there")["state"], "valid");
    signals.later();
    signals.tell(&revoked, signals.now()).await;
    let ended = desk.world.records("administration").await;
    let ended = ended.iter().rev().find(|it| it.text_of("action") == "person/restrict");
    let ended = ended.expect("it is recorded").text_of("id");
    let report = report().await;
    for kind in ["instance", "task"] {
        let row = row(&report, kind).expect("it is there");
        assert_eq!((&row["state"], &row["by"]["record"]), (&"dead".into(), &ended.into()), "{row}");
    }
}

/// No session at the pages is kept: until when all are over is told, and by which record.
#[tokio::test]
async fn r_19_a_report_says_until_when_sessions_at_the_pages_are_over() {
    let signals = Box::pin(Signals::set()).await;
    let desk = &signals.scene.desk;
    signals.scene.creates(user("ann")).await;
    let sessions = async || {
        let id = "ann".to_owned();
        let report = desk.run(Command::PersonOffboard { id, since: None }).await.expect("a report");
        let rows = report["credentials"].as_array().expect("there are some").clone();
        let rows = rows.into_iter().filter(|row| row["kind"] == "page_sessions");
        rows.map(|row| (row["id"].clone(), row["state"].clone(), row["by"]["action"].clone()))
            .collect::<Vec<_>>()
    };
    let row = |id: String, state: &str, by: Option<&str>| (json!(id), json!(state), json!(by));
    assert_eq!(sessions().await, [row("any".to_owned(), "valid", None)]);
    signals.later();
    signals.tell(&format!("{CAEP}session-revoked"), signals.now()).await;
    let over = desk.world.clock.now();
    let dead = |over: Timestamp| row(format!("begun by {over}"), "dead", Some("person/restrict"));
    let after = |over: Timestamp| row(format!("begun after {over}"), "valid", None);
    assert_eq!(sessions().await, [dead(over), after(over)]);
    signals.later();
    signals.scene.activity("ann", false).await.expect("they leave");
    let left = desk.world.clock.now();
    assert_eq!(sessions().await, [dead(left)]);
    signals.later();
    signals.scene.activity("ann", true).await.expect("they come back");
    let back = desk.world.clock.now();
    assert_eq!(sessions().await, [dead(back), after(back)]);
}

/// Of whom nobody knows nothing is told.
#[tokio::test]
async fn a_report_of_nobody_is_refused() {
    let desk = desk().await;
    let root = ROOT.parse().expect("a person");
    for command in [
        Command::PersonOffboard { id: "nobody".to_owned(), since: None },
        Command::AgentOffboard { name: "nothing".to_owned(), since: None },
    ] {
        let answer = desk.run_as(&root, command).await;
        assert_eq!(crate::desk::word(&answer), "missing", "{answer:?}");
    }
}

/// What a high risk stopped died when it was said; a lower one stopped nothing.
#[tokio::test]
async fn r_19_a_high_risk_is_named_as_what_stopped_an_instance() {
    let desk = desk().await;
    let raise = |level| Command::RiskRaise {
        what: RiskTarget::Instance(desk.world.standing.instance.id),
        level,
        reason: "a test".to_owned(),
    };
    desk.as_root(raise(RiskLevel::Medium)).await.expect("it is said");
    desk.world.clock.advance(Duration::from_secs(1));
    let high = desk.as_root(raise(RiskLevel::High)).await.expect("it is said");
    let report = desk.report().await;
    let instance = row(&report, "instance").expect("it is there");
    assert_eq!(
        (&instance["by"]["record"], &instance["by"]["action"]),
        (&high["decision"], &"risk/raise".into()),
        "{instance}"
    );
}

/// A task that its holder began without a chain of tokens is taken over by nobody: it ends with its holder.
#[tokio::test]
async fn r_19_a_task_that_nobody_takes_over_ends_with_its_holder() {
    let desk = desk().await;
    for what in [Becomes::Revoked, Becomes::Released] {
        desk.becomes(what).await;
    }
    let report = desk.report_of_agent().await;
    assert_eq!(row(&report, "agent_key").expect("it is there")["state"], "valid", "{report}");
    let task = row(&report, "task").expect("it is there");
    assert_eq!((&task["state"], &task["why"]), (&"dead".into(), &"actor_not_active".into()));
}

/// Each report reads the whole log: one is made at a time, and the next one after it.
#[tokio::test]
async fn one_report_is_made_at_a_time() {
    let desk = desk().await;
    let root = ROOT.parse().expect("a person");
    let report = || {
        let id = desk.world.standing.sponsor.id.to_string();
        desk.run_as(&root, Command::PersonOffboard { id, since: None })
    };
    // Two might miss each other: what comes before a report may take longer than the report.
    let reports = futures::future::join_all((0..16).map(|_| report())).await;
    let words: Vec<_> = reports.iter().map(crate::desk::word).collect();
    assert!(words.contains(&"unavailable"), "{words:?}");
    report().await.expect("it is made");
}

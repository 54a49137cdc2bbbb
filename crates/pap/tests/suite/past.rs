//! R23: the register as it is, and as it was at any time, to the millisecond.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Clock as _, FactKey, InstanceId, TaskId, Timestamp};
use pap::Command;
use proptest::prelude::*;
use serde_json::{Value, json};
use store::{Store as _, Unit};

use crate::desk::{Desk, SAM, jwk, word};
use crate::handed_on::{CHILD, PART, hand_on};
use crate::offboarded::issued;

/// What somebody asks for: of which agent, what, and how long after what was asked before.
type Step = (usize, usize, u64);

/// The agents that come and go, beside the one that there is.
const AGENTS: [&str; 3] = ["billing", "desk", "helper"];

impl Desk {
    async fn listed(&self, as_of: Option<Timestamp>) -> Value {
        let as_of = as_of.map(|at| at.to_string());
        self.run(Command::AgentList { as_of }).await.expect("it is told")
    }

    /// A page of the register as of a time.
    async fn page(&self, at: Timestamp, after: Option<&str>) -> Value {
        let (as_of, after) = (Some(at.to_string()), after.map(str::to_owned));
        self.run(Command::RegisterShow { as_of, after }).await.expect("it is told")
    }

    /// The register, without what is not kept but recorded.
    async fn register(&self, as_of: Option<Timestamp>) -> Value {
        let as_of = as_of.map(|at| at.to_string());
        let mut told =
            self.run(Command::RegisterShow { as_of, after: None }).await.expect("it is told");
        for agent in told["agents"].as_array_mut().into_iter().flatten() {
            for instance in agent["instances"].as_array_mut().into_iter().flatten() {
                let instance = instance.as_object_mut().expect("an instance");
                instance.retain(|name, _| {
                    !["token_until", "last_seen", "last_seen_by"].contains(&name.as_str())
                });
            }
        }
        told
    }

    /// Does the `which`th thing with the agent `name`; whether it was done does not matter.
    async fn does(&self, which: usize, name: &str) {
        let (name, reason) = (name.to_owned(), "test".to_owned());
        let instance = self.world.standing.instance.id.to_string();
        let what = format!("agent/{name}").parse().expect("it can be stopped");
        let command = match which {
            0 => serde_json::from_value(json!({
                "do": "agent-add", "name": name, "sponsor": SAM,
                "purpose": "care", "business_owner": SAM, "technical_owner": SAM, "key": jwk(),
            }))
            .expect("a command"),
            1 => Command::AgentSuspend { name, reason },
            2 => Command::AgentRenew { name, key: None, compromised: false, word: None },
            3 => Command::AgentAffirm { name, word: None },
            4 => Command::AgentOwners { name, business_owner: None, technical_owner: None },
            5 => Command::Stop { what, reason },
            6 => Command::InstanceQuarantine { id: instance, reason },
            7 => Command::InstanceRevoke { id: instance, reason },
            8 => {
                let id = self.world.standing.task.id.to_string();
                Command::TaskEnd { id, reason }
            }
            _ => Command::PersonAdd { id: format!("new-{name}"), groups: Vec::new() },
        };
        drop(self.run(command).await);
    }
}

/// Remembers the register after each step, then asks for each time at which it was so.
async fn remembered(steps: &[Step]) {
    let desk = Desk::new().await;
    let mut times = Vec::new();
    for (which, agent, later) in steps {
        desk.does(*which, AGENTS[*agent]).await;
        let from = desk.world.clock.now();
        let (listed, shown) = (desk.listed(None).await, desk.register(None).await);
        desk.world.clock.advance(Duration::from_millis(*later));
        let until = Timestamp::from_millis(desk.world.clock.now().as_millis() - 1);
        times.push((from, until, listed, shown));
    }
    for (from, until, listed, shown) in times {
        for at in [from, until] {
            assert_eq!(desk.listed(Some(at)).await, listed, "at {at}");
            assert_eq!(desk.register(Some(at)).await, shown, "at {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn r_23_the_register_is_told_as_it_was_at_each_time(
        steps in prop::collection::vec((0_usize..10, 0..AGENTS.len(), 1_u64..100_000), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(remembered(&steps));
    }
}

/// An instance that starts is there at once, with what it works on; one that is over is not.
#[tokio::test]
async fn r_23_what_acts_is_in_the_register_as_long_as_it_does() {
    let desk = Desk::new().await;
    let facts = &desk.world.standing;
    let shown = desk.register(None).await;
    let agent = &shown["agents"][0];
    assert_eq!((&agent["name"], &agent["answered_for"]), (&json!("billing"), &json!(true)));
    let instance = &agent["instances"][0];
    assert_eq!(instance["id"], json!(facts.instance.id));
    assert_eq!((&instance["purpose"], &instance["tools"]), (&json!("care"), &json!(["crm/*"])));
    assert_eq!((&instance["parent"], &instance["children"]), (&json!(null), &json!([])));
    let (open, ends) = (desk.world.clock.now(), facts.task.deadline);
    desk.world.clock.advance(ends.since(open));
    assert_eq!(desk.register(None).await["agents"][0]["instances"], json!([]), "its time is over");
    assert_eq!(desk.register(Some(open)).await["agents"][0]["instances"][0], *instance);
}

/// What was handed on is there, under who handed it on, as long as it goes on.
#[tokio::test]
async fn r_23_who_handed_work_on_is_shown_with_whom_it_handed_it_to() {
    let desk = Desk::new().await;
    hand_on(&desk.world).await;
    let parent = desk.world.standing.instance.id;
    let (child, part) = (InstanceId::from_bytes(CHILD), TaskId::from_bytes(PART));
    let shown = async |as_of| {
        let told = desk.register(as_of).await;
        let agents = told["agents"].as_array().expect("they are told").clone();
        let of =
            |name: &str| agents.iter().find(|it| it["name"] == name).expect("it is there").clone();
        [of("billing")["instances"].clone(), of("reader")["instances"].clone()]
    };
    let [over, under] = shown(None).await;
    assert_eq!((&over[0]["id"], &over[0]["children"]), (&json!(parent), &json!([child])));
    assert_eq!(over[0]["parent"], json!(null));
    assert_eq!((&under[0]["id"], &under[0]["children"]), (&json!(child), &json!([])));
    assert_eq!((&under[0]["parent"], &under[0]["task"]), (&json!(parent), &json!(part)));
    assert_eq!(under[0]["tools"], json!(["crm/lookup"]));
    let before = desk.world.clock.now();
    desk.world.clock.advance(Duration::from_secs(1));
    let (id, reason) = (part.to_string(), "done".to_owned());
    desk.run(Command::TaskEnd { id, reason }).await.expect("it is over");
    let [still, gone] = shown(None).await;
    assert_eq!((&still[0]["children"], gone), (&json!([]), json!([])));
    assert_eq!(shown(Some(before)).await, [over, under], "as it was");
}

/// When an instance was last seen: exactly, once it asked since the start; before that, since it started.
#[tokio::test]
async fn r_23_when_an_instance_was_last_seen_is_shown() {
    let desk = Desk::new().await;
    let seen = async || {
        let asked = Command::RegisterShow { as_of: None, after: None };
        let told = desk.run(asked).await.expect("it is told");
        let instance = &told["agents"][0]["instances"][0];
        (instance["last_seen"].clone(), instance["last_seen_by"].clone())
    };
    let text = |at: Timestamp| json!(at.to_string());
    let instance = &desk.world.standing.instance;
    assert_eq!(seen().await, (text(instance.started), json!("start")));
    let until = desk.world.clock.now().plus(Duration::from_mins(4));
    desk.world.put(FactKey::renewal(instance.id), &json!({ "until": until })).await;
    let given = Timestamp::from_millis(until.as_millis() - 300_000);
    assert_eq!(seen().await, (text(given), json!("token")));
    // Whatever the answer is.
    for (tool, is_permitted) in [("lookup", true), ("nothing", false)] {
        desk.world.clock.advance(Duration::from_millis(1_234));
        let at = desk.world.clock.now();
        assert_eq!(desk.call(tool).await == "permitted", is_permitted, "{tool}");
        desk.world.clock.advance(Duration::from_mins(1));
        assert_eq!(seen().await, (text(at), json!("decision")), "{tool}");
    }
}

/// When an instance had been seen by a time, and until when its tokens were good then: by the records up to that time, of
/// which the latest counts.
#[tokio::test]
async fn r_23_when_an_instance_had_been_seen_by_a_time_is_in_the_records() {
    let desk = Desk::new().await;
    let clock = &desk.world.clock;
    let check =
        async |at: Timestamp, seen: Option<Timestamp>, by: &str, until: Option<Timestamp>| {
            let told = desk.page(at, None).await;
            let instance = &told["agents"][0]["instances"][0];
            let text = |at: Option<Timestamp>| json!(at.map(|at| at.to_string()));
            assert_eq!(instance["last_seen"], text(seen), "at {at}");
            assert_eq!(instance["last_seen_by"], by, "at {at}");
            assert_eq!(instance["token_until"], text(until), "at {at}");
        };
    let begun = clock.now();
    clock.advance(Duration::from_millis(7));
    let given = clock.now();
    issued(&desk).await;
    let until = Some(given.plus(Duration::from_mins(5)));
    clock.advance(Duration::from_mins(1));
    let first = clock.now();
    assert_eq!(desk.call("lookup").await, "permitted");
    clock.advance(Duration::from_mins(1));
    let denied = clock.now();
    assert_ne!(desk.call("nothing").await, "permitted");
    clock.advance(Duration::from_mins(1));
    let just_before = |at: Timestamp| at.minus(Duration::from_millis(1));
    check(begun, None, "none", None).await;
    check(just_before(given), None, "none", None).await;
    check(given, None, "none", until).await;
    check(just_before(first), None, "none", until).await;
    check(first, Some(first), "decision", until).await;
    check(just_before(denied), Some(first), "decision", until).await;
    check(denied, Some(denied), "decision", until).await;
    check(just_before(clock.now()), Some(denied), "decision", until).await;
}

/// Whatever is lacking may have been its last act: nothing is told, and why, for as long as it is.
#[tokio::test]
async fn r_23_by_a_log_that_lacks_a_record_nobody_is_told_when_an_instance_was_seen() {
    let desk = Desk::new().await;
    assert_eq!(desk.call("lookup").await, "permitted");
    desk.world.drained().await;
    let at = desk.world.clock.now();
    desk.world.clock.advance(Duration::from_secs(1));
    let size = desk.world.store.log_size().await.expect("it can be read");
    for lost in [0, size / 2, size - 1] {
        desk.world.store.lose(Some(lost));
        let told = desk.page(at, None).await;
        let instance = &told["agents"][0]["instances"][0];
        assert_eq!(
            (&instance["last_seen"], &instance["token_until"]),
            (&json!(null), &json!(null))
        );
        assert_eq!(instance["last_seen_by"], "unknown");
        let why = told["unseen"].as_str().expect("it is said why");
        assert!(why.contains(&format!("lacks record {lost},")), "{why}");
        // Neither is anything counted by it.
        let suggest = Command::Suggest { agent: "billing".to_owned(), since: at };
        let refused = desk.run(suggest).await.expect_err("it cannot be told").to_string();
        assert!(refused.contains(&format!("lacks record {lost},")), "{refused}");
    }
    desk.world.store.lose(None);
    let told = desk.page(at, None).await;
    assert_eq!(told["agents"][0]["instances"][0]["last_seen"], at.to_string());
    assert_eq!(told["unseen"], json!(null));
}

/// However long the log is, one request reads a part of it, and it is read once for all pages.
#[tokio::test]
async fn i_18_the_register_of_a_time_reads_the_log_a_part_at_a_time() {
    let desk = Desk::new().await;
    let (world, agent) = (&desk.world, desk.world.standing.agent.clone());
    for number in 0..100 {
        let name = format!("more-{number:03}").parse().expect("a name");
        let more = model::Agent { name, ..agent.clone() };
        world.put(FactKey::agent(&more.name), &more).await;
    }
    for _ in 0..50 {
        let entropy = world.entropy.as_ref();
        let entry = |_| authority::event((world.clock.now(), entropy), "test", BTreeMap::new());
        let entries = (0..1_000).map(entry).collect();
        world.store.commit(Unit { entries, ..Unit::default() }).await.expect("they are written");
    }
    assert_eq!(desk.call("lookup").await, "permitted");
    let at = world.clock.now();
    world.clock.advance(Duration::from_secs(1));
    let told = desk.page(at, None).await;
    assert_eq!((&told["counted"], &told["agents"]), (&json!(50_000), &json!(null)), "{told}");
    assert!(told["of"].as_u64() > Some(50_000), "{told}");
    // Who asks of another time meanwhile does not have that one begin anew.
    let other = at.plus(Duration::from_millis(500));
    assert_eq!(desk.page(other, None).await["counted"], 50_000);
    let told = desk.page(at, None).await;
    assert_eq!(told["agents"][0]["instances"][0]["last_seen"], at.to_string());
    assert_eq!(told["next"], "more-098");
    let rest = desk.page(at, Some("more-098")).await;
    assert_eq!(rest["agents"][0]["name"], "more-099", "{rest}");
    // What was told to its end is read anew.
    assert_eq!(desk.page(at, None).await["counted"], 50_000);
}

/// Whose task another took over acts no longer.
#[tokio::test]
async fn r_23_whoever_took_a_task_over_acts_instead_of_who_had_it() {
    let desk = Desk::new().await;
    let (instance, task) = (&desk.world.standing.instance, &desk.world.standing.task);
    let id = InstanceId::new(desk.world.clock.now(), desk.world.entropy.as_ref());
    let next = model::Instance { id, ..instance.clone() };
    desk.world.put(FactKey::instance(id), &next).await;
    let task = model::Task { instance: id, ..task.clone() };
    desk.world.put(FactKey::task(task.id), &task).await;
    let shown = desk.register(None).await;
    let instances = shown["agents"][0]["instances"].as_array().expect("they are told");
    let ids: Vec<_> = instances.iter().map(|instance| &instance["id"]).collect();
    assert_eq!(ids, [&json!(id)]);
}

/// While changes are kept by a clock that was ahead, what was is not told; what is, is.
#[tokio::test]
async fn r_23_a_clock_that_was_ahead_hides_no_stop() {
    let desk = Desk::new().await;
    let (agent, year) = (desk.world.standing.agent.clone(), 365 * 24 * 3_600_000);
    desk.world.clock.advance(Duration::from_secs(1));
    desk.world.clock.step_wall(year);
    desk.world.put(FactKey::agent(&agent.name), &agent).await;
    desk.world.clock.step_wall(-year);
    let at = desk.world.clock.now();
    desk.world.clock.advance(Duration::from_secs(1));
    let as_of = Some(at.to_string());
    let refused = desk.run(Command::RegisterShow { as_of, after: None }).await;
    assert_eq!(word(&refused), "invalid");
    assert!(refused.unwrap_err().to_string().contains("the clock was ahead until"));
    assert_eq!(desk.listed(None).await.as_array().map(Vec::len), Some(1));
}

/// Nothing is made up: of before there was a register, and of what is yet to come, nothing is told.
#[tokio::test]
async fn r_23_of_what_nobody_knows_nothing_is_told() {
    let desk = Desk::new().await;
    let begun = desk.world.clock.now();
    let before = Timestamp::from_millis(begun.as_millis() - 1);
    desk.world.clock.advance(Duration::from_secs(1));
    let ahead = desk.world.clock.now().plus(Duration::from_millis(1));
    for (at, says) in [
        (before.to_string(), format!("kept since {begun}")),
        (ahead.to_string(), "yet to come".to_owned()),
        ("yesterday".to_owned(), "expected a date".to_owned()),
    ] {
        for asked in [
            Command::AgentList { as_of: Some(at.clone()) },
            Command::RegisterShow { as_of: Some(at.clone()), after: None },
        ] {
            let refused = desk.run(asked).await;
            assert_eq!(word(&refused), "invalid", "{at}");
            assert!(refused.unwrap_err().to_string().contains(&says), "{at}");
        }
    }
    assert_eq!(desk.listed(Some(begun)).await.as_array().map(Vec::len), Some(1));
}

/// A page has its limit, and the next one begins after it.
#[tokio::test]
async fn i_18_the_register_is_shown_a_page_at_a_time() {
    let desk = Desk::new().await;
    let agent = desk.world.standing.agent.clone();
    for number in 0..100 {
        let name = format!("more-{number:03}").parse().expect("a name");
        let more = model::Agent { name, ..agent.clone() };
        desk.world.put(FactKey::agent(&more.name), &more).await;
    }
    let first = desk.register(None).await;
    assert_eq!(first["agents"].as_array().map(Vec::len), Some(100));
    assert_eq!(first["next"], "more-098");
    let after = Some("more-098".to_owned());
    let rest = desk.run(Command::RegisterShow { as_of: None, after }).await.expect("it is told");
    assert_eq!(rest["agents"].as_array().map(Vec::len), Some(1));
    assert_eq!((&rest["agents"][0]["name"], &rest["next"]), (&json!("more-099"), &json!(null)));
}

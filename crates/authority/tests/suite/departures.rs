//! R48: an instance that departs from what is declared of it is put at risk, by its own acts alone, once an hour
//! for each kind; policy sees that from the next act on.

use std::time::Duration;

use authority::NotPermitted;
use futures::future::join_all;
use model::{
    ActionName, Clock as _, Declared, Departure, FactKey, Finding, Instance, InstanceId,
    InstanceState, ResourceRef, RiskLevel, Standing, Timestamp,
};
use serde_json::{Value, json};
use store::Store as _;

use crate::budgets::told;
use crate::support::log::Entry;
use crate::support::{Act, POLICY, World};

const CAREFUL: &str = r#"@id("careful") forbid (principal, action in Action::"tools/call", resource)
                         when { context.risk == "medium" };"#;

/// With which act of an hour it counts, where two an hour are declared.
const NUMBERS: [(Departure, usize); 4] =
    [(Departure::Data, 3), (Departure::Rate, 3), (Departure::Time, 1), (Departure::Tool, 3)];

/// A deployment of which as much is declared as an instance that departs in `kind` alone may do.
async fn departing(kind: Departure) -> World {
    let calls_an_hour = Some(if kind == Departure::Rate { 2 } else { 1_000 });
    // It begins at midnight.
    let hours = if kind == Departure::Time { "thu 12:00-13:00 Z" } else { "mon-sun 00:00-24:00 Z" };
    let hours = Some(hours.parse().expect("hours"));
    World::with(|facts| facts.agent.declared = Declared { calls_an_hour, hours }).await
}

impl World {
    /// The instance does what departs in `kind`, if it does it often enough or then.
    async fn depart(&self, kind: Departure) {
        let id = self.standing.instance.id;
        match kind {
            Departure::Tool => {
                let tool = "other/tool".parse().expect("a tool");
                self.authority.asked_for(id, &tool).await;
            }
            Departure::Data => drop(self.authorize(self.elsewhere()).await),
            Departure::Rate | Departure::Time => drop(self.authorize(self.looked_up()).await),
        }
    }

    fn looked_up(&self) -> Act {
        self.call("lookup", json!({}))
    }

    /// Reads what no scope of it has.
    fn elsewhere(&self) -> Act {
        let server = "other".parse().expect("a server");
        let resource = ResourceRef::Resource { server, uri: "other://1".to_owned() };
        self.act(ActionName::method("resources/read"), resource, Value::Null)
    }

    async fn risk_of(&self, id: InstanceId) -> Option<RiskLevel> {
        let read = self.authority.pip().standing(id).await.expect("it is there");
        read.value.risk(self.clock.now())
    }

    async fn risk(&self) -> Option<RiskLevel> {
        self.risk_of(self.standing.instance.id).await
    }

    /// The standing that the decision of `record` was made on.
    async fn standing_of(&self, record: &Entry) -> Standing {
        let id = &record.value["facts"]["id"];
        let leaf = self.log().await.into_iter().find(|it| it.value["id"] == *id);
        let leaf = self.disclosure(&leaf.expect("the leaf that it names")).await;
        let standing = leaf.value("standing").cloned().expect("it has one");
        serde_json::from_value(standing).expect("a standing")
    }
}

#[tokio::test]
async fn r_48_each_departure_puts_its_instance_at_risk_once_an_hour_and_for_a_day() {
    for (kind, number) in NUMBERS {
        let world = departing(kind).await;
        for hour in 0..2 {
            for act in 1..=6 {
                world.depart(kind).await;
                let is_raised = act >= number;
                let expected = (is_raised || hour == 1).then_some(RiskLevel::Medium);
                assert_eq!(world.risk().await, expected, "{kind:?}: {act} of hour {hour}");
                let signals = world.records("signal").await;
                assert_eq!(signals.len(), hour + usize::from(is_raised), "{kind:?}: {act}");
                let other = signals.iter().find(|it| it.text_of("signal") != kind.signal());
                assert!(other.is_none(), "{kind:?}: {other:?}");
            }
            world.clock.advance(Duration::from_hours(1));
        }
        world.clock.advance(Duration::from_hours(23) - Duration::from_millis(1));
        assert_eq!(world.risk().await, Some(RiskLevel::Medium), "{kind:?}");
        world.clock.advance(Duration::from_millis(1));
        assert_eq!(world.risk().await, None, "{kind:?}: it ends by itself");
    }
}

/// What is declared is done, however often; and of what is not declared nobody departs.
#[tokio::test]
async fn r_48_who_does_what_is_declared_is_at_no_risk() {
    for declared in [Declared::default(), Declared { calls_an_hour: Some(9), hours: None }] {
        let world = World::with(|facts| facts.agent.declared = declared).await;
        for _ in 0..9 {
            world.depart(Departure::Time).await;
            // It is declared by its name, though there is no such tool.
            let tool = "crm/none".parse().expect("a tool");
            world.authority.asked_for(world.standing.instance.id, &tool).await;
            // What policy denies is declared all the same.
            let refund = world.call("refund", json!({ "amount": 1_000 }));
            assert_eq!(told(&world.authorize(refund).await), "not_granted");
            world.clock.advance(Duration::from_mins(50));
        }
        assert_eq!((world.risk().await, world.records("signal").await.len()), (None, 0));
    }
}

/// The act that departs is decided as it would be, and done; the next one sees what it raised.
#[tokio::test]
async fn r_48_policy_sees_a_departure_from_the_next_act_on() {
    let world = departing(Departure::Time).await;
    world.publish(&format!("{POLICY} {CAREFUL}")).await;
    let permit = world.authorize(world.looked_up()).await.expect("nothing was raised before it");
    assert!(permit.begin(world.clock.as_ref()).is_ok(), "nothing that it rests on changed since");
    assert_eq!(told(&world.authorize(world.looked_up()).await), "forbidden");
    world.clock.advance(Duration::from_hours(4));
    assert_eq!(told(&world.authorize(world.looked_up()).await), "forbidden");
}

/// Whoever has the log reckons again when it was raised, by which act, and what each decision saw of it.
#[tokio::test]
async fn r_48_what_is_raised_follows_from_what_is_recorded() {
    for (kind, number) in NUMBERS.into_iter().filter(|(kind, _)| *kind != Departure::Tool) {
        let world = departing(kind).await;
        for _ in 0..5 {
            world.depart(kind).await;
        }
        let (decisions, signals) = (world.records("decision").await, world.records("signal").await);
        let [signal] = signals.as_slice() else { panic!("{kind:?}: {signals:?}") };
        let (act, seen) = (&decisions[number - 1], world.disclosure(signal).await);
        assert_eq!(seen.value("act"), Some(&act.value["id"]), "{kind:?}");
        assert_eq!(seen.value("number"), Some(&json!(number)), "{kind:?}");
        assert_eq!((signal.index, signal.text_of("state")), (act.index + 1, "at_risk"), "{kind:?}");
        assert_eq!(signal.value["instance"], act.value["instance"]);
        assert_eq!(signal.text_of("mandate"), act.text_of("mandate"));
        for (place, decision) in decisions.iter().enumerate() {
            let time: Timestamp = serde_json::from_value(decision.value["time"].clone()).unwrap();
            let saw = world.standing_of(decision).await.risk(time);
            assert_eq!(saw.is_some(), place >= number, "{kind:?}: {place}");
        }
    }
}

/// However many are on their way at once: none is kept from its answer, and one more at most is let pass.
#[tokio::test]
async fn r_48_racers_raise_it_once() {
    let world = departing(Departure::Data).await;
    let answers = join_all((0..32).map(|_| world.authorize(world.elsewhere()))).await;
    for answer in &answers {
        assert!(matches!(answer, Err(NotPermitted::Denied { .. })), "{answer:?}");
    }
    world.depart(Departure::Data).await;
    assert_eq!(world.records("signal").await.len(), 1);
    assert_eq!(world.risk().await, Some(RiskLevel::Medium));
}

/// Whoever asks for a tool that there is not asks all the same, as often and as late; one that is denied, and is told as
/// if there was none, was counted by that.
#[tokio::test]
async fn r_48_what_there_is_not_is_asked_for_as_often_as_what_there_is() {
    for (kind, number) in [(Departure::Rate, 3), (Departure::Time, 1)] {
        let world = departing(kind).await;
        let (id, tool) = (world.standing.instance.id, "crm/none".parse().expect("a tool"));
        for _ in 0..5 {
            world.authority.asked_for_denied(id, &tool).await;
        }
        for asked in 1..=number {
            assert_eq!(world.records("signal").await.len(), 0, "{kind:?}: {asked}");
            world.authority.asked_for(id, &tool).await;
        }
        let signals = world.records("signal").await;
        let [signal] = signals.as_slice() else { panic!("{kind:?}: {signals:?}") };
        assert_eq!(signal.text_of("signal"), kind.signal());
        let seen = world.disclosure(signal).await;
        assert_eq!((seen.value("act"), seen.value("number")), (None, Some(&json!(number))));
    }
}

/// Once it is raised, what comes in the same hour is neither counted nor written down: a flood costs nothing more.
#[tokio::test]
async fn r_48_what_is_raised_is_counted_no_further_in_its_hour() {
    for (kind, number) in NUMBERS {
        let world = departing(kind).await;
        for _ in 0..number {
            world.depart(kind).await;
        }
        let counted = || async {
            let listed = world.store.list_counters("", None, 4_096).await.expect("they are listed");
            listed
                .into_iter()
                .find_map(|(counter, value)| counter.0.ends_with(kind.signal()).then_some(value))
        };
        let before = counted().await;
        assert_eq!(before, i64::try_from(number).ok(), "{kind:?}");
        for _ in 0..20 {
            world.depart(kind).await;
        }
        assert_eq!(counted().await, before, "{kind:?}");
        world.clock.advance(Duration::from_hours(1));
        world.depart(kind).await;
        assert_eq!(world.records("signal").await.len(), 1 + usize::from(number == 1), "{kind:?}");
    }
}

/// Whoever has the token of an instance that is stopped puts nobody at risk by it.
#[tokio::test]
async fn r_48_what_is_tried_by_an_instance_that_is_stopped_is_no_departure() {
    for (kind, number) in NUMBERS {
        let world = departing(kind).await;
        let (reason, since) = ("looked".to_owned(), world.clock.now());
        let state = InstanceState::Revoked { reason, since };
        let revoked = Instance { state, ..world.standing.instance.clone() };
        world.put(FactKey::instance(revoked.id), &revoked).await;
        for _ in 0..=number {
            world.depart(kind).await;
        }
        assert_eq!(world.records("signal").await.len(), 0, "{kind:?}");
        let read = world.authority.pip().standing(revoked.id).await.expect("it is there");
        assert_eq!((&read.value.agent.departed, &read.value.instance), (&None, &revoked));
    }
}

/// By a clock that ran ahead nobody is at risk until long after it is set back.
#[tokio::test]
async fn r_48_nothing_is_counted_while_the_clock_is_unsure() {
    for kind in [Departure::Data, Departure::Tool] {
        let world = departing(kind).await;
        world.depart(kind).await;
        world.clock.step_wall(600_000);
        for _ in 0..5 {
            world.depart(kind).await;
        }
        assert_eq!(world.records("signal").await.len(), 0, "{kind:?}");
        world.authority.trust_clock();
        for raised in [0, 1] {
            world.depart(kind).await;
            assert_eq!(world.records("signal").await.len(), raised, "{kind:?}");
        }
    }
}

/// Nobody else of its agent is at risk by it, but whoever begins after it; and a restart sheds nothing.
#[tokio::test]
async fn r_48_an_instance_raises_its_own_risk_and_of_new_ones_alone() {
    let world = departing(Departure::Data).await;
    let other =
        Instance { id: InstanceId::from_bytes([11; 16]), ..world.standing.instance.clone() };
    world.put(FactKey::instance(other.id), &other).await;
    for _ in 0..2 {
        world.depart(Departure::Data).await;
    }
    let world = world.restarted().await;
    assert_eq!(world.risk().await, None);
    world.depart(Departure::Data).await;
    assert_eq!(world.risk().await, Some(RiskLevel::Medium), "what was before the restart counts");
    assert_eq!(world.risk_of(other.id).await, None);
    let read = world.authority.pip().standing(other.id).await.expect("it is there");
    let of_new = read.value.agent.departed.clone().expect("new ones begin with it");
    assert_eq!(of_new.level_at(world.clock.now()), Some(RiskLevel::Medium));
    assert!(of_new.raised.is_empty(), "what they do themselves is raised for itself");
    let world = world.restarted().await;
    assert_eq!(world.risk().await, Some(RiskLevel::Medium), "it is kept");
}

/// It is told to people, as one finding of the agent and its instance.
#[tokio::test]
async fn r_48_a_departure_is_a_finding() {
    let world = departing(Departure::Tool).await;
    let keeper = world.authority.finding_keeper(None, Duration::from_mins(1)).await;
    for _ in 0..50 {
        world.depart(Departure::Tool).await;
    }
    let keeper = keeper.expect("the register can be read");
    world.keeps(keeper, 1).await;
    let found = world.store.list("finding/", None, 10).await.expect("it can be read").facts;
    let [(_, body)] = found.as_slice() else { panic!("it is found once: {}", found.len()) };
    let Finding { stranger, count, .. } = serde_json::from_slice(body).expect("a finding");
    assert_eq!((stranger.cause.as_str(), count), ("departed_tool", 1));
    assert_eq!(stranger.proven, Some(world.standing.agent.name.clone()));
    assert_eq!(stranger.holder, Some(world.standing.instance.id.to_string()));
}

//! What is made wider for a moment only: policy that is put back, a group that is left again.

use std::time::Duration;

use authority::STRANGERS_WAITING_MAX;
use model::{Clock as _, FactKey, Finding, Release, Stranger};
use pap::{Command, RELEASE_BRIEF};
use serde_json::{Value, json};

use crate::desk::{Desk, word};
use crate::releases::{CLOSED, House};
use crate::support;
use crate::widening;

/// Lets everybody refund anything.
const WIDE: &str = r#"@id("wide") permit (principal, action == Action::"crm/refund", resource);"#;

impl House {
    /// The findings of releases, each with what it tells.
    async fn found(&self) -> Vec<(String, String)> {
        let store = self.desk.world.store.as_ref();
        let found = authority::all::<Finding>(store, "finding/").await;
        let found = found.expect("they can be read").into_iter().map(|it| it.stranger);
        let found = found.filter(|it| it.cause.starts_with("release_"));
        let mut told: Vec<_> = found.map(|it| (it.cause, it.client.unwrap_or_default())).collect();
        told.sort();
        told
    }

    fn passes(&self, time: Duration) {
        self.desk.world.clock.advance(time);
    }
}

/// A set that was wide for a moment: what it let be done is on record under it, so are both changes, and somebody is told,
/// whether the old set is brought back or another one is put in its place.
#[tokio::test]
async fn n_095_a_policy_that_was_in_force_but_briefly_is_on_record_and_found() {
    let house = House::new().await;
    let world = &house.desk.world;
    let keeper = world.authority.finding_keeper(None, Duration::from_mins(15)).await;
    let keeping = tokio::spawn(keeper.expect("it is asked for once").run());
    let refund = async || {
        let act = world.call("refund", json!({ "amount": 5_000 }));
        world.authorize(act).await.is_ok()
    };
    assert!(!refund().await);
    house.release_all(2, WIDE).await;
    assert!(refund().await);
    let wide = world.authority.pip().policy().snapshot.digest().to_string();
    house.passes(Duration::from_mins(4));
    house.roll_back(3, 1).await.expect("it is published");
    house.approve(3).await.expect("it is approved");
    house.activate(3).await.expect("it is in force");
    assert!(!refund().await);
    let system = world.records("system").await;
    let in_force = system.iter().filter(|it| it.text_of("event") == "policy_in_force");
    let from: Vec<_> = in_force.map(|it| it.value["details"]["from"].clone()).collect();
    assert_eq!(from[from.len() - 2..], ["release 2", "release 3"]);
    let decided = world.records("decision").await;
    let refunds = decided.iter().filter(|it| it.text_of("action") == "crm/refund");
    let under: Vec<_> =
        refunds.map(|it| (it.text_of("decision"), it.text_of("policy") == wide)).collect();
    assert_eq!(under, [("deny", false), ("permit", true), ("deny", false)]);
    // One that lasts is nothing to look at; one that does not, to the millisecond, is.
    house.passes(RELEASE_BRIEF);
    house.release_all(4, CLOSED).await;
    house.passes(RELEASE_BRIEF.saturating_sub(Duration::from_millis(1)));
    house.release_all(5, WIDE).await;
    house.passes(RELEASE_BRIEF);
    house.release_all(6, "").await;
    let told = |release: u64, lasted: u64| {
        let (before, after) = (release - 1, release + 1);
        let why = format!(
            "release {release} was in force for {lasted} s, after release {before} and before release {after}"
        );
        (format!("release_brief/{release}"), why)
    };
    let expected = [told(2, 240), told(4, 3_599)];
    support::until("they are found", || async { house.found().await == expected }).await;
    keeping.abort();
}

/// What a release that is replaced is found for is kept with what replaces it, and not lost with the process or behind
/// strangers: nobody keeps findings here.
#[tokio::test]
async fn what_a_replaced_release_is_found_for_is_kept_with_that() {
    let house = House::new().await;
    for _ in 0..=STRANGERS_WAITING_MAX {
        let cause = "nobody".to_owned();
        house.desk.world.authority.note_stranger(Stranger { cause, ..Stranger::default() });
    }
    let causes = async || {
        let found = house.found().await.into_iter();
        found.map(|(cause, _)| cause).collect::<Vec<_>>()
    };
    let recorded = async || {
        let system = house.desk.world.records("system").await;
        system.iter().filter(|it| it.text_of("event") == "unknown_agent").count()
    };
    house.release_all(2, WIDE).await;
    assert_eq!((causes().await, recorded().await), (vec![], 0));
    house.release_all(3, CLOSED).await;
    assert_eq!((causes().await, recorded().await), (vec!["release_brief/2".to_owned()], 1));
    // So is one that is not what was signed.
    let altered = Release { author: None, ..house.release(3).await };
    house.desk.world.put(FactKey::release(3), &altered).await;
    house.release_all(4, "").await;
    let both = ["release_brief/2", "release_refused/altered/3"].map(str::to_owned).to_vec();
    assert_eq!((causes().await, recorded().await), (both, 2));
}

/// Who joins a group that approves and leaves it again was in it for nobody, or on record by two, and does not go on as
/// if nothing had been.
#[tokio::test]
async fn n_095_who_joins_a_group_that_approves_and_leaves_it_is_on_record() {
    for confirmed in [false, true] {
        let (scene, [administrator, _]) = Box::pin(widening::scene(Some(3_600))).await;
        let desk = &scene.desk;
        let ann = scene.creates(crate::directories::user("ann")).await;
        let leads = scene.group("leads", &[]).await.expect("a group");
        let group = async |op: &str| {
            let path = format!("members[value eq \"{ann}\"]");
            let operation = match op {
                "add" => json!({ "op": op, "path": "members", "value": [{ "value": ann }] }),
                _ => json!({ "op": op, "path": path }),
            };
            scene.regroup(&leads, operation).await.expect("it is said");
            desk.world.clock.advance(Duration::from_secs(1));
        };
        group("add").await;
        assert_eq!(groups(desk, &ann).await, json!([]), "it waits");
        if confirmed {
            let confirm = Command::PersonConfirm { id: ann.clone(), word: None };
            assert_eq!(word(&desk.run_as(&administrator, confirm).await), "done");
            assert_eq!(groups(desk, &ann).await, json!(["leads"]));
        }
        group("remove").await;
        desk.administration
            .widen(desk.world.clock.now().plus(Duration::from_hours(2)))
            .await
            .unwrap();
        assert_eq!(groups(desk, &ann).await, json!([]));
        let key = FactKey::person(&ann.parse().expect("a person"));
        let person = desk.fact(key).await.expect("they are known");
        assert_eq!(person["moved"].is_i64(), confirmed, "what they sponsor waits for their word");
        let acts = desk.world.records("administration").await;
        let of_ann: Vec<_> = acts.iter().map(|it| it.text_of("action")).collect();
        let expected = if confirmed {
            &["person/provision", "person/confirm", "person/restrict"][..]
        } else {
            &["person/provision", "person/restrict"]
        };
        assert_eq!(of_ann[of_ann.len() - expected.len()..], *expected);
        // The record of the first says what it was that she was to join.
        let joined = &acts[acts.len() - expected.len()];
        let id = joined.text_of("id").to_owned();
        let shown = desk.run(Command::LogShow { id }).await.expect("it is shown");
        assert_eq!(shown["disclosure"]["members"]["gives"]["joins"], json!(["leads"]), "{shown}");
    }
}

async fn groups(desk: &Desk, id: &str) -> Value {
    let person = desk.fact(FactKey::person(&id.parse().expect("a person"))).await;
    person.expect("they are known")["groups"].clone()
}

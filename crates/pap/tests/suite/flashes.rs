//! What is made wider for a moment only: policy that is put back, a group that is left again.

use std::time::Duration;

use authority::STRANGERS_WAITING_MAX;
use model::{Clock as _, FactKey, Finding, Release, Stranger};
use oauth::people::ListedPerson;
use pap::{Command, Content, RELEASE_BRIEF, WideningSaid};
use serde_json::{Value, json};

use crate::desk::{Desk, files, word};
use crate::releases::{CLOSED, House};
use crate::support::{self, POLICY};
use crate::widening;

/// Lets everybody refund anything.
const WIDE: &str = r#"@id("wide") permit (principal, action == Action::"crm/refund", resource);"#;

impl Desk {
    /// The findings whose causes begin so, each with what it tells.
    async fn found_as(&self, cause: &str) -> Vec<(String, String)> {
        let found = authority::all::<Finding>(self.world.store.as_ref(), "finding/").await;
        let found = found.expect("they can be read").into_iter().map(|it| it.stranger);
        let found = found.filter(|it| it.cause.starts_with(cause));
        let mut told: Vec<_> = found.map(|it| (it.cause, it.client.unwrap_or_default())).collect();
        told.sort();
        told
    }
}

impl House {
    /// The findings of releases, each with what it tells.
    pub(crate) async fn found(&self) -> Vec<(String, String)> {
        self.desk.found_as("release_").await
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
    let nothing = Duration::ZERO;
    for (confirmed, lasts) in [(false, nothing), (true, nothing), (true, RELEASE_BRIEF)] {
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
        desk.world.clock.advance(lasts);
        group("remove").await;
        // Who was in it for nobody, or stayed, is nothing to look at.
        let brief = confirmed && lasts < RELEASE_BRIEF;
        let told = format!("`{ann}` was in `leads` for 0 s");
        let expected = brief.then(|| ("group_brief/leads".to_owned(), told));
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(desk.found_as("group_").await, expected, "{confirmed} {lasts:?}");
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

/// However somebody is in such a group no longer: a list leaves them out of it, or they are sent away.
#[tokio::test]
async fn n_095_who_is_in_a_group_for_a_moment_is_found_however_they_go() {
    let desk = Desk::new().await;
    let said = WideningSaid { groups: vec!["leads".to_owned()], after_s: Some(0) };
    desk.run(Command::PeopleWidening { said: Some(said) }).await.expect("it is said");
    desk.directory().await;
    let cleo = |groups: &[&str]| ListedPerson {
        id: "cleo".to_owned(),
        active: true,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        unit: None,
        manager: None,
        logins: Vec::new(),
    };
    let apply = async |version: u64, people: &[ListedPerson]| {
        let file = desk.signed(&desk.hr, version, people);
        desk.run(Command::PeopleApply { file }).await.expect("it holds");
        desk.world.clock.advance(Duration::from_secs(9));
    };
    apply(1, &[cleo(&["leads", "staff"])]).await;
    let groups = vec!["administrators".to_owned()];
    let chief = || "chief".to_owned();
    desk.run(Command::PersonAdd { id: chief(), groups }).await.expect("they are added");
    desk.world.clock.advance(Duration::from_secs(5));
    assert_eq!(desk.found_as("group_").await, [], "they are in it");
    apply(2, &[cleo(&[])]).await;
    desk.run(Command::PersonDeactivate { id: chief() }).await.expect("they left");
    let told = [
        ("group_brief/administrators", "`chief` was in `administrators` for 14 s"),
        ("group_brief/leads", "`cleo` was in `leads` for 14 s"),
    ];
    let told = told.map(|(cause, says)| (cause.to_owned(), says.to_owned()));
    assert_eq!(desk.found_as("group_").await, told);
}

/// Who comes back for a moment into such a group, in which they were long before, is found as well.
#[tokio::test]
async fn n_095_who_is_back_in_a_group_for_a_moment_is_found() {
    let desk = Desk::new().await;
    let said = WideningSaid { groups: vec!["leads".to_owned()], after_s: Some(0) };
    desk.run(Command::PeopleWidening { said: Some(said) }).await.expect("it is said");
    desk.directory().await;
    let apply = async |version: u64, active: bool| {
        let cleo = ListedPerson {
            id: "cleo".to_owned(),
            active,
            groups: ["leads".to_owned()].into(),
            unit: None,
            manager: None,
            logins: Vec::new(),
        };
        let file = desk.signed(&desk.hr, version, &[cleo]);
        desk.run(Command::PeopleApply { file }).await.expect("it holds");
        desk.world.clock.advance(Duration::from_secs(9));
    };
    apply(1, true).await;
    desk.world.clock.advance(RELEASE_BRIEF);
    apply(2, false).await;
    assert_eq!(desk.found_as("group_").await, [], "they were in it for long");
    apply(3, true).await;
    apply(4, false).await;
    let told = ("group_brief/leads".to_owned(), "`cleo` was in `leads` for 9 s".to_owned());
    assert_eq!(desk.found_as("group_").await, [told]);
}

/// The rule of what waits is said.
fn rule(groups: &[&str], after_s: Option<u64>) -> Command {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Command::PeopleWidening { said: Some(WideningSaid { groups, after_s }) }
}

/// A rule of what waits that is looser for a moment is found: whoever joins a group meanwhile waits for nothing.
#[tokio::test]
async fn n_095_a_rule_of_what_waits_that_is_looser_for_a_moment_is_found() {
    const DAY: Option<u64> = Some(24 * 3_600);
    const SECOND: Duration = Duration::from_secs(1);
    let check = async |meanwhile: Command, lasts: Duration, found: bool| {
        let desk = Desk::new().await;
        desk.run(rule(&["leads"], DAY)).await.expect("it is said");
        desk.world.clock.advance(RELEASE_BRIEF);
        desk.run(meanwhile).await.expect("it is said");
        desk.world.clock.advance(lasts);
        assert_eq!(desk.found_as("widening_").await, [], "it may stay so");
        desk.run(rule(&["leads"], DAY)).await.expect("it is said");
        let says = format!("what widens waited less for {} s", lasts.as_secs());
        let told = found.then(|| ("widening_brief".to_owned(), says));
        assert_eq!(desk.found_as("widening_").await, Vec::from_iter(told), "{lasts:?}");
    };
    check(rule(&[], DAY), RELEASE_BRIEF.saturating_sub(SECOND), true).await;
    check(rule(&["leads"], Some(0)), SECOND, true).await;
    check(rule(&["staff"], None), SECOND, true).await;
    check(rule(&[], DAY), RELEASE_BRIEF, false).await;
    check(rule(&["leads", "staff"], None), SECOND, false).await;
}

/// Files that were in force for a moment are found, but where one person tries their own; what was put in place of them,
/// a release too, and what the tools are meanwhile, is no matter.
#[tokio::test]
async fn n_095_files_that_were_in_force_but_briefly_are_found() {
    for development in [false, true] {
        let desk = Desk::founded_by(&[("dev", None)], (development, None)).await;
        let put = async |more: &str, release: Option<u64>| {
            let files = files(&format!("{POLICY}{more}"));
            let content = Content { release, ..files.into() };
            desk.publisher.replace(content).await.expect("it compiles");
        };
        let lasts = |time: Duration| desk.world.clock.advance(time);
        lasts(RELEASE_BRIEF);
        put(WIDE, None).await;
        lasts(Duration::from_mins(4));
        put("", None).await;
        lasts(RELEASE_BRIEF);
        put(CLOSED, None).await;
        lasts(RELEASE_BRIEF.saturating_sub(Duration::from_millis(1)));
        put(CLOSED, None).await;
        put("", Some(1)).await;
        lasts(Duration::from_mins(1));
        put("// A release.", Some(2)).await;
        let mut told: Vec<_> = desk.found_as("files_").await.into_iter().map(|it| it.1).collect();
        told.sort_by_key(|told| told.contains("3599"));
        let expected: &[&str] = if development { &[] } else { &["240 s", "3599 s"] };
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for (told, lasted) in told.iter().zip(expected) {
            assert!(told.ends_with(&format!(" were in force for {lasted}")), "{told}");
        }
    }
}

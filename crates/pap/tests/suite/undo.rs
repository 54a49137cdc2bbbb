//! A mistaken signal is undone by two people, and brings back nobody else.

use std::time::Duration;

use model::{
    Agent, Clock as _, FactKey, Finding, Person, PersonId, PersonState, Timestamp, Widening,
};
use pap::directory::{Kind, Place, UserChange};
use pap::{Command, UndoAsked};
use scim::USER;
use serde_json::{Value, json};

use crate::desk::{Desk, word};
use crate::directories::{BASE, Scene, at_work, patch, user};
use crate::streams::{CAEP, RISC, SCIM, Signals};
use crate::support::World;

/// The directory `okta` with a stream, and two administrators.
pub(crate) async fn signals() -> (Signals, [PersonId; 2]) {
    let world = World::with(|facts| {
        facts.other.groups.insert("administrators".parse().expect("a group"));
    })
    .await;
    let people = [world.standing.sponsor.id.clone(), world.standing.other.id.clone()];
    let scene = Box::pin(Scene::over(Desk::over(world).await)).await;
    (Box::pin(Signals::over(scene, |said| said)).await, people)
}

pub(crate) fn asked(change: impl FnOnce(&mut UndoAsked)) -> Command {
    let mut asked = UndoAsked {
        record: None,
        directory: None,
        stream: None,
        from: None,
        until: None,
        reason: "a job of the directory went wrong".to_owned(),
    };
    change(&mut asked);
    Command::SignalUndo { asked, word: None }
}

/// All that the directory told from `from` until now.
pub(crate) fn since(desk: &Desk, from: Timestamp) -> Command {
    let until = desk.world.clock.now();
    asked(|it| {
        (it.directory, it.from, it.until) = (Some("okta".to_owned()), Some(from), Some(until));
    })
}

pub(crate) fn approve(told: &Value) -> Command {
    Command::SignalApprove { id: told["waits"].as_str().expect("an id").to_owned(), word: None }
}

async fn person(desk: &Desk, id: &str) -> Value {
    let key = FactKey::person(&id.parse().expect("a person"));
    desk.fact(key).await.expect("they are known")
}

pub(crate) async fn is_here(desk: &Desk, id: &str) -> bool {
    person(desk, id).await["state"]["is"] == "active"
}

/// Of many whom a directory sends away by mistake, all are back who are gone by nothing else: part by part, by
/// the word of two; and what was granted before is over.
#[tokio::test]
async fn sc_02_a_mistake_is_undone_by_two_and_brings_back_nobody_else() {
    let (signals, [a, b]) = Box::pin(signals()).await;
    let desk = &signals.scene.desk;
    let names: Vec<_> =
        (0..40).map(|number| format!("p{number:02}")).chain(["ann".to_owned()]).collect();
    for name in &names {
        signals.scene.creates(user(name)).await;
    }
    let step = || desk.world.clock.advance(Duration::from_mins(1));
    step();
    // Gone before it, by the same directory.
    signals.scene.activity("p00", false).await.expect("gone");
    step();
    let from = desk.world.clock.now();
    for name in &names[1..] {
        signals.scene.activity(name, false).await.expect("gone");
    }
    step();
    let command = since(desk, from);
    step();
    // Gone after it too: by an administrator, by a stream, and by the directory once more.
    let deactivate = Command::PersonDeactivate { id: "p01".to_owned() };
    desk.run(deactivate).await.expect("gone");
    signals.tell(&format!("{RISC}account-disabled"), signals.now()).await;
    signals.scene.activity("p02", true).await.expect("back");
    signals.scene.activity("p02", false).await.expect("gone");
    let told = desk.run_as(&a, command).await.expect("it waits");
    assert_eq!(told["people"], 37);
    assert_eq!(word(&desk.run_as(&a, approve(&told)).await), "refused");
    desk.has_refused_for("approved_by_the_same_person").await;
    assert!(!is_here(desk, "p03").await, "nobody approved it");
    // And by an administrator since it was asked for.
    let deactivate = Command::PersonDeactivate { id: "p39".to_owned() };
    step();
    desk.run(deactivate).await.expect("gone");
    let done = desk.run_as(&b, approve(&told)).await.expect("it is undone");
    assert_eq!((&done["restored"], &done["of"]), (&json!(36), &json!(37)));
    for (number, name) in names.iter().enumerate() {
        assert_eq!(is_here(desk, name).await, (3..39).contains(&number), "{name}");
    }
    let cutoff = &person(desk, "p03").await["state"]["authorization_cutoff"];
    assert_eq!(cutoff, desk.world.clock.now().as_millis(), "what was granted before is over");
    assert_eq!(word(&desk.run_as(&b, approve(&told)).await), "invalid", "once");
    // They leave again as ever.
    signals.scene.activity("p03", false).await.expect("gone");
    assert!(!is_here(desk, "p03").await);
    let acts = desk.world.records("administration").await;
    let parts = acts.iter().filter(|it| it.text_of("action") == "signal/approve");
    assert_eq!(parts.filter(|it| it.text_of("decision") == "permit").count(), 3);
}

/// One signal is undone by its record; whom the stream tells of again is gone again.
#[tokio::test]
async fn sc_02_one_signal_is_undone_by_its_record() {
    let (signals, [a, b]) = Box::pin(signals()).await;
    let desk = &signals.scene.desk;
    let ann = signals.scene.creates(user("ann")).await;
    let disabled = format!("{RISC}account-disabled");
    signals.tell(&disabled, signals.now()).await;
    assert!(!is_here(desk, &ann).await);
    let record = desk.world.records("administration").await.pop().expect("a record");
    let record = record.text_of("id").to_owned();
    let told =
        desk.run_as(&a, asked(|it| it.record = Some(record.clone()))).await.expect("it waits");
    desk.run_as(&b, approve(&told)).await.expect("it is undone");
    assert!(is_here(desk, &ann).await);
    let again = desk.run_as(&a, asked(|it| it.record = Some(record))).await;
    assert_eq!(word(&again), "invalid", "she is here");
    desk.world.clock.advance(Duration::from_secs(1));
    signals.tell(&disabled, signals.now()).await;
    assert!(!is_here(desk, &ann).await);
}

const UNIT: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
const COST_CENTER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:costCenter";
const MANAGER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value";

/// What an event does to `ann`, who leads a desk.
#[derive(Clone, Debug)]
enum Told {
    /// By the directory: this operation, at a place, with a value.
    Says(&'static str, &'static str, Value),
    /// She is not as she was, and at work elsewhere.
    LeavesElsewhere,
    /// She is in the group of this name no longer.
    Parts(&'static str),
    /// She is in the group of this name once more.
    Joins(&'static str),
    /// The group of that name has another one.
    Renames(&'static str),
    /// By the stream: this event, with a member of it.
    Signal(&'static str, &'static str, [&'static str; 2]),
}

/// `ann`, who works at a desk that she leads, of which the directory `okta` and a stream for it tell.
struct Stage {
    signals: Signals,
    both: [PersonId; 2],
    groups: Vec<(&'static str, String)>,
}

/// That she works in `unit`, and whether she is active.
fn said(unit: &str, active: bool) -> Value {
    let mut said = at_work("ann", unit, "carl");
    said["active"] = json!(active);
    said
}

/// That the stream rates her so.
fn rates(level: &'static str) -> Told {
    Told::Signal(CAEP, "risk-level-change", ["current_level", level])
}

impl Stage {
    async fn set() -> Self {
        let (signals, both) = Box::pin(signals()).await;
        let world = &signals.scene.desk.world;
        let groups = ["desk-leads".parse().expect("a group")].into();
        let rule = Widening { groups, after_s: Some(0), ..Widening::default() };
        world.put(FactKey::widening(), &rule).await;
        let mut stage = Self { signals, both, groups: Vec::new() };
        stage.scene().creates(said("Desk 4", true)).await;
        for name in ["staff", "desk-leads"] {
            let id = stage.scene().group(name, &["ann"]).await.expect("a group");
            stage.groups.push((name, id));
        }
        stage.tell(&rates("MEDIUM")).await;
        stage.signals.later();
        stage
    }

    fn scene(&self) -> &Scene {
        &self.signals.scene
    }

    async fn ann(&self) -> Person {
        serde_json::from_value(self.signals.person("ann").await).expect("a person")
    }

    async fn tell(&self, told: &Told) {
        let scene = self.scene();
        let group = |of: &str| {
            let found = self.groups.iter().find(|(name, _)| *name == of);
            found.expect("there is one").1.clone()
        };
        match told {
            Told::Says(op, path, value) => {
                let operation = json!({ "op": op, "path": path, "value": value });
                let operation = patch(&USER, operation);
                scene.change("ann", &UserChange::Patch(&operation)).await.expect("it is said");
            }
            Told::LeavesElsewhere => {
                scene.replaces("ann", said("Counter", false)).await.expect("it is said");
            }
            Told::Parts(of) => {
                let leaves = json!({ "op": "remove", "path": "members[value eq \"ann\"]" });
                scene.regroup(&group(of), leaves).await.expect("it is said");
            }
            Told::Joins(of) => {
                let joins =
                    json!({ "op": "add", "path": "members", "value": [{ "value": "ann" }] });
                scene.regroup(&group(of), joins).await.expect("it is said");
            }
            Told::Renames(of) => {
                let renamed = json!({ "op": "replace", "path": "displayName", "value": "Others" });
                scene.regroup(&group(of), renamed).await.expect("it is said");
            }
            Told::Signal(of, event, [member, value]) => {
                let event = format!("{of}{event}");
                let mut claims = self.signals.claims(&event, self.signals.now());
                claims["events"][&event][*member] = json!(value);
                claims["events"][&event]["principal"] = json!("USER");
                self.signals.take(&self.signals.sign(&claims)).await.expect("it is taken");
            }
        }
    }

    /// All that whoever tells of it `told` since `from` until now.
    fn since(&self, from: Timestamp, told: &Told) -> Command {
        let until = self.scene().desk.world.clock.now();
        let stream = matches!(told, Told::Signal(..)).then(|| "caep".to_owned());
        asked(|it| {
            (it.directory, it.stream) = (Some("okta".to_owned()), stream);
            (it.from, it.until) = (Some(from), Some(until));
        })
    }

    /// Two people undo what `command` names; says how many are as before.
    async fn undo(&self, command: Command) -> Result<Value, &'static str> {
        let (desk, [a, b]) = (&self.scene().desk, &self.both);
        let told = desk.run_as(a, command).await;
        let waits = word(&told);
        let Ok(told) = told else { return Err(waits) };
        Ok(desk.run_as(b, approve(&told)).await.expect("it is undone")["restored"].clone())
    }

    /// In which groups the directory reads that she is.
    async fn groups_read(&self) -> Vec<String> {
        let directory = &self.scene().okta.name;
        let place = Place { directory, kind: Kind::Users, base: BASE, members: true };
        let read = self.scene().desk.administration.directory_resource(&place, "ann").await;
        let read = read.expect("she is there").0["groups"].clone();
        let groups = read.as_array().cloned().unwrap_or_default();
        groups.iter().map(|it| it["display"].as_str().expect("a name").to_owned()).collect()
    }
}

/// Kinds of signals, each with what it does to her.
fn kinds() -> Vec<(Told, &'static str)> {
    let none = ["reason", "none"];
    vec![
        (Told::Says("replace", "active", json!(false)), "gone"),
        (Told::Says("remove", "active", Value::Null), "gone"),
        (Told::LeavesElsewhere, "gone"),
        (Told::Signal(RISC, "account-disabled", none), "gone"),
        (Told::Signal(RISC, "account-disabled", ["reason", "hijacking"]), "gone"),
        (Told::Signal(RISC, "account-purged", none), "gone"),
        (Told::Signal(RISC, "credential-compromise", none), "gone"),
        (Told::Signal(SCIM, "prov:deactivate", none), "gone"),
        (Told::Says("replace", UNIT, json!("Counter")), "moved"),
        (Told::Says("remove", UNIT, Value::Null), "moved"),
        (Told::Says("replace", MANAGER, json!("dora")), "moved"),
        (Told::Says("add", "roles", json!([{ "value": "controller" }])), "moved"),
        (Told::Parts("desk-leads"), "moved"),
        (Told::Parts("staff"), "parted"),
        (rates("HIGH"), "rated"),
        (Told::Signal(CAEP, "session-revoked", none), "nothing"),
        (Told::Signal(CAEP, "credential-change", none), "nothing"),
        (Told::Signal(RISC, "account-credential-change-required", none), "nothing"),
        (rates("LOW"), "nothing"),
        (Told::Says("add", "title", json!("Dr")), "nothing"),
        (Told::Says("add", COST_CENTER, json!("CC-48")), "nothing"),
    ]
}

/// Whatever kind of signal it was by which somebody is gone, or what they sponsor stops: undone, they are as they
/// were; but what was granted before they left stays dead, and ended sessions stay ended. What the directory says
/// again as at first changes nothing more.
#[tokio::test]
async fn sc_02_a_mistake_of_any_kind_is_undone_and_revives_nothing() {
    let (gone, moved, nothing) = ("gone", "moved", "nothing");
    for (told, kind) in kinds() {
        let stage = Box::pin(Stage::set()).await;
        let (desk, before) = (&stage.scene().desk, stage.ann().await);
        let agent = Agent {
            sponsor: before.id.clone(),
            registered: desk.world.clock.now(),
            affirmed: None,
            ..desk.world.standing.agent.clone()
        };
        assert!(agent.is_answered_for_by(&before), "{told:?}");
        stage.signals.later();
        let from = desk.world.clock.now();
        stage.tell(&told).await;
        let suspended = stage.ann().await;
        let stops = !agent.is_answered_for_by(&suspended);
        assert_eq!(stops, [gone, moved].contains(&kind), "{told:?}");
        let command = stage.since(from, &told);
        stage.signals.later();
        let restored = stage.undo(command).await;
        let is = stage.ann().await;
        if kind == nothing {
            assert_eq!((restored, &is), (Err("invalid"), &suspended), "{told:?}");
            continue;
        }
        assert_eq!(restored, Ok(json!(1)), "{told:?}");
        let cutoff = PersonState::Active { authorization_cutoff: Some(desk.world.clock.now()) };
        let expected = Person {
            state: if kind == gone { cutoff } else { before.state },
            sessions_cutoff: suspended.sessions_cutoff,
            ..before.clone()
        };
        assert_eq!(is, expected, "{told:?}");
        assert_eq!(agent.is_answered_for_by(&is), kind != gone, "{told:?}");
        assert_eq!(stage.groups_read().await, ["desk-leads", "staff"], "{told:?}");
        // The directory, which was wrong, says what is so.
        stage.signals.later();
        stage.scene().replaces("ann", said("Desk 4", true)).await.expect("it is said");
        for (group, _) in &stage.groups {
            stage.tell(&Told::Joins(group)).await;
        }
        assert_eq!(stage.ann().await, is, "{told:?}");
    }
}

/// What somebody else, or the same one at another time, changed since is not undone; what was corrected already is,
/// if the time that is named has that in it.
#[tokio::test]
async fn sc_02_what_changed_since_is_not_undone() {
    let to = |unit: &str| Told::Says("replace", UNIT, json!(unit));
    for (within, since, restored) in [
        (vec![to("Counter")], vec![], Ok(json!(1))),
        (vec![to("Counter"), to("Back room")], vec![], Ok(json!(1))),
        (vec![to("Counter"), to("Desk 4")], vec![], Ok(json!(1))),
        (vec![to("Counter")], vec![to("Desk 4")], Err("invalid")),
        (vec![to("Counter")], vec![to("Back room")], Err("invalid")),
        (vec![to("Counter")], vec![Told::Parts("staff")], Err("invalid")),
        (vec![Told::Parts("staff")], vec![], Ok(json!(1))),
        // She was back in it, and what took her out once more is no mistake.
        (
            vec![Told::Parts("staff")],
            vec![Told::Joins("staff"), Told::Parts("staff")],
            Err("invalid"),
        ),
        (vec![rates("HIGH")], vec![], Ok(json!(1))),
        (vec![rates("HIGH")], vec![rates("HIGH")], Err("invalid")),
        // Where a group is called otherwise by now, nobody loses that for one that is not there.
        (vec![Told::Renames("staff")], vec![], Ok(json!(0))),
    ] {
        let stage = Box::pin(Stage::set()).await;
        let (desk, before) = (&stage.scene().desk, stage.ann().await);
        let from = desk.world.clock.now();
        for told in &within {
            stage.tell(told).await;
            stage.signals.later();
        }
        let command = stage.since(from, &within[0]);
        stage.signals.later();
        for told in &since {
            stage.tell(told).await;
        }
        let suspended = stage.ann().await;
        let undone = stage.undo(command).await;
        let expected = if restored == Ok(json!(1)) { before } else { suspended };
        assert_eq!((undone, stage.ann().await), (restored, expected), "{within:?}, {since:?}");
    }
}

/// Who is put back where they were leaves what they came into: that they were but briefly in a group that approves, by a
/// mistake, is found.
#[tokio::test]
async fn n_095_who_was_in_a_group_for_a_moment_by_a_mistake_is_found() {
    let stage = Box::pin(Stage::set()).await;
    let desk = &stage.scene().desk;
    let found = async || {
        let all = authority::all::<Finding>(desk.world.store.as_ref(), "finding/").await;
        let all = all.expect("they can be read").into_iter();
        let of_leads = all.filter(|it| it.stranger.cause == "group_brief/desk-leads");
        of_leads.map(|it| it.count).sum::<u64>()
    };
    stage.tell(&Told::Parts("desk-leads")).await;
    stage.signals.later();
    assert_eq!(found().await, 1);
    let (from, moves) = (desk.world.clock.now(), Told::Says("replace", UNIT, json!("Counter")));
    for told in [&moves, &Told::Joins("desk-leads")] {
        stage.tell(told).await;
        stage.signals.later();
    }
    let command = stage.since(from, &moves);
    stage.signals.later();
    assert_eq!(stage.undo(command).await, Ok(json!(1)));
    assert_eq!(stage.groups_read().await, ["staff"]);
    assert_eq!(found().await, 2);
}

/// What changed since it was asked for is left out, and the rest is undone.
#[tokio::test]
async fn sc_02_what_changes_before_it_is_approved_is_left_out() {
    let stage = Box::pin(Stage::set()).await;
    let (desk, [a, b]) = (&stage.scene().desk, &stage.both);
    stage.scene().creates(at_work("ben", "Desk 4", "carl")).await;
    stage.signals.later();
    let from = desk.world.clock.now();
    for (name, said) in [("ann", said("Counter", true)), ("ben", at_work("ben", "Counter", "carl"))]
    {
        stage.scene().replaces(name, said).await.expect("it is said");
    }
    let command = since(desk, from);
    let told = desk.run_as(a, command).await.expect("it waits");
    assert_eq!(told["people"], 2);
    stage.signals.later();
    stage.scene().replaces("ben", at_work("ben", "Back room", "carl")).await.expect("it is said");
    let done = desk.run_as(b, approve(&told)).await.expect("it is undone");
    assert_eq!((&done["restored"], &done["of"]), (&json!(1), &json!(2)));
    assert_eq!(person(desk, "ann").await["unit"], "Desk 4");
    assert_eq!(person(desk, "ben").await["unit"], "Back room");
}

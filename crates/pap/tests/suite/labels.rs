//! Taking labels off: a recorded act of somebody else than who answers for the agent.

use std::collections::BTreeSet;

use model::{
    FactKey, HostProcess, Instance, Label, Marked, PersonId, ProcessMemory, SessionFacts, TaskId,
    WorkloadIdentity,
};
use pap::Command;
use serde_json::json;
use store::Store as _;

use crate::desk::{Desk, word};
use crate::handed_on::{PART, hand_on};
use crate::support::World;

/// A deployment whose session has read what is `private`, with the sponsor of its agent and another
/// administrator.
async fn desk() -> (Desk, [PersonId; 2]) {
    let world = World::with(|facts| {
        facts.other.groups.insert("administrators".parse().expect("a group"));
    })
    .await;
    let people = [world.standing.sponsor.id.clone(), world.standing.other.id.clone()];
    let desk = Desk::over(world).await;
    let labels = BTreeSet::from([label("external"), label("private")]);
    let session = SessionFacts { labels: labels.clone(), ..SessionFacts::default() };
    desk.world.put(FactKey::session(desk.world.standing.task.id), &session).await;
    desk.world.put(FactKey::kept(&desk.world.standing.server.name, None), &labels).await;
    (desk, people)
}

fn label(name: &str) -> Label {
    name.parse().expect("a label")
}

impl Desk {
    async fn take_off(&self, by: &PersonId, name: &str, what: &str) -> &'static str {
        let (label, what) = (label(name), what.parse().expect("labels are on it"));
        let reason = "it was public after all".to_owned();
        word(&self.run_as(by, Command::LabelRemove { label, what, reason, word: None }).await)
    }

    async fn labels_on(&self, what: &str) -> serde_json::Value {
        self.kept_at(&what.parse::<Marked>().expect("labels are on it").key()).await
    }

    async fn kept_at(&self, key: &FactKey) -> serde_json::Value {
        let loaded = self.world.store.load(std::slice::from_ref(key)).await.expect("it is read");
        let body = loaded.bodies.into_iter().next().flatten();
        body.map(|body| serde_json::from_slice(&body).expect("it is JSON")).unwrap_or_default()
    }
}

#[tokio::test]
async fn n_085_a_label_is_taken_off_by_somebody_who_does_not_answer_for_the_agent() {
    let (desk, [sponsor, other]) = desk().await;
    let task = format!("task/{}", desk.world.standing.task.id);
    assert_eq!(desk.take_off(&sponsor, "private", &task).await, "refused");
    let nobody: PersonId = desk.world.standing.agent.name.as_str().parse().unwrap();
    assert_eq!(desk.take_off(&nobody, "private", &task).await, "refused");
    assert_eq!(desk.labels_on(&task).await["labels"], json!(["external", "private"]));
    // Nor does who answers for an agent that has a part of the work.
    hand_on(&desk.world).await;
    let mut reader = desk.world.standing.agent.clone();
    (reader.name, reader.sponsor) = ("reader".parse().unwrap(), other.clone());
    desk.world.put(FactKey::agent(&reader.name), &reader).await;
    assert_eq!(desk.take_off(&other, "private", &task).await, "refused");
    assert_eq!(
        desk.take_off(&other, "private", &format!("task/{}", TaskId::from_bytes(PART))).await,
        "invalid"
    );
    reader.sponsor = sponsor.clone();
    desk.world.put(FactKey::agent(&reader.name), &reader).await;
    assert_eq!(desk.take_off(&other, "private", &task).await, "done");
    assert_eq!(desk.labels_on(&task).await["labels"], json!(["external"]));
    let last = desk.world.records("administration").await.pop().unwrap();
    assert_eq!(last.text_of("action"), "label/remove");
    let change = desk.world.disclosure(&last).await.value("change").cloned().unwrap();
    assert_eq!(change["label"], "private");
    assert_eq!(change["reason"], "it was public after all");
    // What is not on is not taken off.
    assert_eq!(desk.take_off(&other, "private", &task).await, "missing");
}

/// What the process remembers of the task would bring the label back; what it read in another one stays.
#[tokio::test]
async fn a_label_is_taken_off_what_the_process_remembers_of_the_task() {
    let (desk, [_, other]) = desk().await;
    let process = HostProcess { exe: None, pid: 1, started: 2, uid: 3 };
    let (issuer, subject) = ("https://platform.example".to_owned(), "a".to_owned());
    let workload = WorkloadIdentity { issuer, subject, claims: std::collections::BTreeMap::new() };
    let places = [FactKey::memory(&process, None), FactKey::memory_of_workload(&workload, None)];
    let (process, workload) = (Some(process), Some(workload));
    let instance = Instance { process, workload, ..desk.world.standing.instance.clone() };
    desk.world.put(FactKey::instance(instance.id), &instance).await;
    let labels = BTreeSet::from([label("external"), label("private")]);
    let (own, another) = (desk.world.standing.task.id, TaskId::from_bytes([9; 16]));
    let known = ProcessMemory::default();
    let known = known.with(own, &labels).and_then(|known| known.with(another, &labels));
    for place in &places {
        desk.world.put(place.clone(), &known.clone().expect("that is new")).await;
    }
    for (name, left) in [("private", json!(["external"])), ("external", json!(null))] {
        assert_eq!(desk.take_off(&other, name, &format!("task/{own}")).await, "done");
        for place in &places {
            let known = desk.kept_at(place).await["tasks"].take();
            assert_eq!(known[own.to_string()], left);
            assert_eq!(known[another.to_string()], json!(["external", "private"]));
        }
    }
}

#[tokio::test]
async fn a_label_is_taken_off_what_a_server_keeps() {
    let (desk, [_, other]) = desk().await;
    assert_eq!(desk.take_off(&other, "private", "kept/crm/note").await, "missing");
    assert_eq!(desk.take_off(&other, "private", "kept/crm").await, "done");
    assert_eq!(desk.labels_on("kept/crm").await, json!(["external"]));
    assert_eq!(desk.take_off(&other, "external", "kept/crm").await, "done");
    assert_eq!(desk.labels_on("kept/crm").await, json!(null));
    let unnamed = FactKey::kept_unnamed(&desk.world.standing.server.name);
    desk.world.put(unnamed, &BTreeSet::from([label("private")])).await;
    assert_eq!(desk.take_off(&other, "private", "kept/crm/unnamed").await, "missing");
    assert_eq!(desk.take_off(&other, "private", "unnamed/crm").await, "done");
    assert_eq!(desk.labels_on("unnamed/crm").await, json!(null));
}

#[test]
fn what_labels_are_on_is_written_in_one_way() {
    for text in
        ["task/tsk_00000000000000000000000000000001", "kept/crm", "kept/crm/a/b", "unnamed/crm"]
    {
        let read = text.parse::<Marked>();
        assert!(read.is_err() || read.unwrap().to_string() == text, "{text}");
    }
    for text in ["", "kept", "kept/", "kept/A", "task/1", "agent/bot", "unnamed/", "unnamed/crm/a"]
    {
        assert!(text.parse::<Marked>().is_err(), "{text}");
    }
}

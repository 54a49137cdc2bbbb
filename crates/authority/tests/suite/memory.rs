//! What a process has read stays with it, and so with a workload and a device: it begins no later task clean, unless
//! its agent is said to forget.

use std::collections::BTreeMap;
use std::sync::Arc;

use authority::Marking;
use model::{
    Clock as _, FactKey, Forgets, HostProcess, Instance, InstanceId, Label, Mandate, MandateId,
    Memory, Person, PersonState, Task, TaskId, Thumbprint, WorkloadIdentity,
};
use serde_json::json;

use crate::labels::{assert_forbidden, labelled, of, sends_first};
use crate::revocation::device;
use crate::stops::handed_on;
use crate::support::{Facts, World};

const PROCESS: HostProcess = HostProcess { exe: None, pid: 4_711, started: 99, uid: 1_000 };

/// A world whose agent remembers as `memory` says, and whose instance is a process that the host told of.
async fn world(memory: Memory) -> World {
    World::labelled_with(|facts: &mut Facts| {
        remember(facts, memory);
        facts.instance.process = Some(PROCESS);
    })
    .await
}

/// The agent remembers as `memory` says, on the word of its technical owner.
fn remember(facts: &mut Facts, memory: Memory) {
    let (by, since) = (facts.agent.technical_owner.clone(), facts.agent.registered);
    (facts.agent.memory, facts.agent.forgets) = (memory, Some(Forgets { by, since }));
}

/// A workload for which its platform vouches.
fn workload(subject: &str) -> WorkloadIdentity {
    let (issuer, subject) = ("https://platform.example".to_owned(), subject.to_owned());
    WorkloadIdentity { issuer, subject, claims: BTreeMap::new() }
}

impl World {
    /// Another instance of the agent, with a task of its own under `mandate`, whose process started at `started`.
    async fn begun(&self, number: u8, started: u64, mandate: &Mandate) -> InstanceId {
        let process = Some(HostProcess { started, ..PROCESS });
        let instance = Instance { process, ..self.standing.instance.clone() };
        self.begun_as(number, instance, mandate).await
    }

    /// The same of whatever else the `instance` is.
    async fn begun_as(&self, number: u8, instance: Instance, mandate: &Mandate) -> InstanceId {
        let (digest, task) = (mandate.digest(), self.standing.task.clone());
        let task = Task { mandate: mandate.id, mandate_digest: digest, ..task };
        self.put(FactKey::mandate(mandate.id), mandate).await;
        self.enters(number, (instance, task)).await
    }

    /// The same instance with the same task, by another id each.
    async fn enters(&self, number: u8, (instance, task): (Instance, Task)) -> InstanceId {
        let bytes = [number; 16];
        let (id, own) = (InstanceId::from_bytes(bytes), TaskId::from_bytes(bytes));
        self.put(FactKey::instance(id), &Instance { id, task: own, ..instance }).await;
        self.put(FactKey::task(own), &Task { id: own, instance: id, ..task }).await;
        id
    }

    async fn reads(&self, instance: InstanceId) -> Arc<Marking> {
        let act = of(instance, self.call("lookup", json!({})));
        self.authorize(act).await.expect("it is permitted").marking().clone()
    }

    /// Asserts whether `instance` may send.
    async fn sends(&self, instance: InstanceId, may: bool) {
        let answer = self.authorize(of(instance, self.call("mail", json!({})))).await;
        if may {
            assert!(answer.is_ok(), "it has read nothing: {answer:?}");
        } else {
            assert_forbidden(answer);
        }
    }
}

#[tokio::test]
async fn a_new_task_of_the_same_process_begins_with_what_it_read() {
    let world = world(Memory::Kept).await;
    let mandate = world.standing.mandate.clone();
    // At once with the first, whose task goes on.
    let beside = world.begun(12, PROCESS.started, &mandate).await;
    world.sends(beside, true).await;
    world.reads(world.standing.instance.id).await;
    world.sends(beside, false).await;
    let later = world.begun(13, PROCESS.started, &mandate).await;
    world.sends(later, false).await;
    // Another process has read nothing, with the same number even.
    let other = world.begun(14, PROCESS.started + 1, &mandate).await;
    world.sends(other, true).await;
}

/// Whoever is the same for its platform is the same, in however many replicas.
#[tokio::test]
async fn a_new_task_of_the_same_workload_begins_with_what_it_read() {
    let world =
        World::labelled_with(|facts: &mut Facts| facts.instance.workload = Some(workload("a")))
            .await;
    let mandate = world.standing.mandate.clone();
    let called =
        |name| Instance { workload: Some(workload(name)), ..world.standing.instance.clone() };
    let beside = world.begun_as(12, called("a"), &mandate).await;
    world.sends(beside, true).await;
    world.reads(world.standing.instance.id).await;
    world.sends(beside, false).await;
    // Whatever else is said of it.
    let mut again = called("a");
    let claims = again.workload.iter_mut().map(|it| &mut it.claims);
    claims.for_each(|it| drop(it.insert("run".to_owned(), "2".to_owned())));
    let later = world.begun_as(13, again, &mandate).await;
    world.sends(later, false).await;
    let other = world.begun_as(14, called("b"), &mandate).await;
    world.sends(other, true).await;
    // A process of the host that is the workload, too, remembers as either.
    let both = Instance { process: Some(PROCESS), ..called("a") };
    let both = world.begun_as(15, both, &mandate).await;
    world.sends(both, false).await;
}

/// Two tasks of one workload at once: whatever one sends was permitted before what the other read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_reading_and_a_sending_at_once_in_two_tasks_the_later_one_sees_the_earlier() {
    let world = Arc::new(World::labelled().await);
    let mandate = world.standing.mandate.clone();
    for round in 0..100 {
        let workload = Some(workload(&format!("w-{round}")));
        let instance = Instance { workload, ..world.standing.instance.clone() };
        let reads = world.begun_as(50 + 2 * round, instance.clone(), &mandate).await;
        let sends = world.begun_as(51 + 2 * round, instance, &mandate).await;
        sends_first(&world, round.into(), (reads, sends)).await;
        world.sends(sends, false).await;
    }
}

#[tokio::test]
async fn a_workload_forgets_between_mandates_as_its_agent_does() {
    let world = World::labelled_with(|facts: &mut Facts| {
        remember(facts, Memory::PerTask);
        facts.instance.workload = Some(workload("a"));
    })
    .await;
    let (instance, mandate) = (world.standing.instance.clone(), world.standing.mandate.clone());
    world.reads(instance.id).await;
    let same = world.begun_as(12, instance.clone(), &mandate).await;
    world.sends(same, false).await;
    let fresh = Mandate { id: MandateId::from_bytes([7; 16]), ..mandate };
    let other = world.begun_as(13, instance, &fresh).await;
    world.sends(other, true).await;
}

#[tokio::test]
async fn a_new_task_by_the_same_device_begins_with_what_was_read_by_it() {
    let world = World::labelled().await;
    let facts = &world.standing;
    for number in [1, 2] {
        let device = device(facts, number);
        world.put(FactKey::device(&device.agent, &device.id), &device).await;
    }
    let by = |number| {
        let device = Some(Thumbprint::from_bytes([number; 32]));
        Instance { device, ..facts.instance.clone() }
    };
    let first = world.begun_as(12, by(1), &facts.mandate).await;
    world.reads(first).await;
    let again = world.begun_as(13, by(1), &facts.mandate).await;
    world.sends(again, false).await;
    let other = world.begun_as(14, by(2), &facts.mandate).await;
    world.sends(other, true).await;
    // Where nothing but a key vouches, a task is of one key, and another key is another instance.
    let key = world.begun_as(15, facts.instance.clone(), &facts.mandate).await;
    world.sends(key, true).await;
}

#[tokio::test]
async fn what_only_an_answer_reveals_stays_with_the_process() {
    let world = world(Memory::Kept).await;
    let act = of(world.standing.instance.id, world.call("open", json!({ "account": "a" })));
    let marking = world.authorize(act).await.expect("it is permitted").marking().clone();
    let revealed = std::iter::once::<Label>("private".parse().expect("a label")).collect();
    // Since that session was read, the process has read something else, in another one.
    let beside = world.begun(11, PROCESS.started, &world.standing.mandate).await;
    let fetch = of(beside, world.call("fetch", json!({})));
    assert!(world.authorize(fetch).await.is_ok());
    world.sends(beside, true).await;
    world.authority.reveal(&marking, &revealed).await.expect("it is joined");
    let later = world.begun(12, PROCESS.started, &world.standing.mandate).await;
    world.sends(later, false).await;
}

#[tokio::test]
async fn who_forgets_between_mandates_forgets_under_another_one_only() {
    let world = world(Memory::PerTask).await;
    let mandate = world.standing.mandate.clone();
    world.reads(world.standing.instance.id).await;
    let same = world.begun(12, PROCESS.started, &mandate).await;
    world.sends(same, false).await;
    let fresh = Mandate { id: MandateId::from_bytes([7; 16]), ..mandate };
    let other = world.begun(13, PROCESS.started, &fresh).await;
    world.sends(other, true).await;
    // It is of the agent that it is said: whatever else the process is remembers all.
    let keeps = model::Agent { memory: Memory::Kept, ..world.standing.agent.clone() };
    world.put(FactKey::agent(&keeps.name), &keeps).await;
    world.sends(other, false).await;
}

/// What was read under a mandate is read, whatever the agent remembered then.
#[tokio::test]
async fn who_comes_to_forget_has_read_what_was_read_under_the_mandate_before() {
    let world = world(Memory::Kept).await;
    let mandate = world.standing.mandate.clone();
    world.reads(world.standing.instance.id).await;
    let forgets = model::Agent { memory: Memory::PerTask, ..world.standing.agent.clone() };
    world.put(FactKey::agent(&forgets.name), &forgets).await;
    let same = world.begun(12, PROCESS.started, &mandate).await;
    world.sends(same, false).await;
    let fresh = Mandate { id: MandateId::from_bytes([7; 16]), ..mandate };
    let other = world.begun(13, PROCESS.started, &fresh).await;
    world.sends(other, true).await;
}

/// It is the word of the technical owner, who answers for that: without them it remembers all.
#[tokio::test]
async fn nobody_forgets_for_whom_no_technical_owner_answers() {
    let world = world(Memory::PerTask).await;
    let (agent, mandate) = (world.standing.agent.clone(), world.standing.mandate.clone());
    world.reads(world.standing.instance.id).await;
    let fresh = Mandate { id: MandateId::from_bytes([7; 16]), ..mandate };
    let other = world.begun(13, PROCESS.started, &fresh).await;
    world.sends(other, true).await;
    let of_somebody =
        |by: &str| Some(Forgets { by: by.parse().expect("a person"), since: agent.registered });
    for forgets in [None, of_somebody("somebody")] {
        let agent = model::Agent { forgets, ..agent.clone() };
        world.put(FactKey::agent(&agent.name), &agent).await;
        world.sends(other, false).await;
    }
    world.put(FactKey::agent(&agent.name), &agent).await;
    world.sends(other, true).await;
    // What they said before they left counts no longer. The sponsor is another.
    let tom = Person::new("tom".parse().expect("a person"), std::collections::BTreeSet::new());
    let since = world.clock.now();
    let forgets = Some(Forgets { by: tom.id.clone(), since });
    let owned = Some(since.plus(std::time::Duration::from_secs(1)));
    let owned = model::Agent { technical_owner: tom.id.clone(), owned, forgets, ..agent };
    world.put(FactKey::person(&tom.id), &tom).await;
    world.put(FactKey::agent(&owned.name), &owned).await;
    world.sends(other, true).await;
    let state = PersonState::Active { authorization_cutoff: Some(since) };
    world.put(FactKey::person(&tom.id), &Person { state, ..tom }).await;
    world.sends(other, false).await;
}

/// A child hears what its parent reads beside, and the parent what the child reads, in whatever task.
#[tokio::test]
async fn who_handed_work_on_and_who_has_it_hear_of_each_other() {
    let (parent, child) = (PROCESS, HostProcess { pid: 815, ..PROCESS });
    for is_child in [true, false] {
        let world = labelled(handed_on(1).await).await;
        let standing = world.authority.pip().standing(world.standing.instance.id).await;
        let standing = standing.expect("it stands").value.clone();
        let above = standing.delegators.first().expect("a parent");
        for (instance, process) in [(&standing.instance, &child), (&above.instance, &parent)] {
            let instance = Instance { process: Some(process.clone()), ..instance.clone() };
            world.put(FactKey::instance(instance.id), &instance).await;
        }
        let again = Instance { process: Some(parent.clone()), ..above.instance.clone() };
        let beside = world.enters(12, (again, above.task.clone())).await;
        let (reads, sends) =
            if is_child { (standing.instance.id, beside) } else { (beside, standing.instance.id) };
        world.reads(reads).await;
        world.sends(sends, false).await;
    }
}

/// What a call brings later is stored with what its process has read in another task by then.
#[tokio::test]
async fn what_is_brought_later_is_kept_with_what_the_process_remembers() {
    let world = world(Memory::Kept).await;
    let keep = of(world.standing.instance.id, world.call("keep", json!({ "account": "a" })));
    let request = keep.request.clone();
    let permit = world.authorize(keep).await.expect("it is permitted");
    let mandate = world.standing.mandate.clone();
    let beside = world.begun(12, PROCESS.started, &mandate).await;
    world.reads(beside).await;
    world.authority.bring(permit.marking(), &request).await.expect("it is marked");
    let other = world.begun(13, PROCESS.started + 1, &mandate).await;
    let open = of(other, world.call("open", json!({ "account": "a" })));
    assert!(world.authorize(open).await.is_ok());
    world.sends(other, false).await;
}

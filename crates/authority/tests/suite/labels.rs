//! N-085, N-086: what was read decides on what may be sent, whoever reads, in whatever order, and through
//! whatever is kept meanwhile.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use authority::{Actor, Cut, NotPermitted, Permit};
use futures::future::join_all;
use model::{
    ActionName, Clock as _, Delegation, FactKey, Harm, Instance, InstanceId, Label, ResourceRef,
    SessionFacts, Task, TaskId,
};
use pdp::Bundle;
use serde_json::{Value, json};
use store::Store as _;

use crate::stops::handed_on;
use crate::support::{Act, Facts, POLICY, World, put, tool};

const LABELS: &str = "
labels:
  external: Text of others.
  private: Personal data.
servers:
  crm:
    resources: [external]
    prompts: [external]
    completions: [private]
    requests: [external]
    lists: []
    reveals: [private]
tools:
  crm/lookup: { carries: [external, private] }
  crm/fetch: { carries: [external], sink: true }
  crm/mail: { sink: true }
  crm/attach: { sink: true, reads: /account }
  crm/keep: { stores: /account }
  crm/dump: { stores: any }
  crm/open: { reads: /account }
";

const RULES: &str = r#"
    @id("all")
    permit (principal, action, resource in Server::"crm");
    @id("server")
    permit (principal, action, resource == Server::"crm");
    @id("no-way-out")
    forbid (principal, action in Action::"tools/call", resource)
    when { resource.sink && context.session.labels.contains("private") };
"#;

pub(crate) async fn labelled(world: World) -> World {
    let owner = &world.standing.sponsor.id;
    for name in ["fetch", "mail", "attach", "keep", "dump", "open"] {
        let mut tool = tool(name, Harm::ReadsData, owner);
        // Whatever it may be.
        tool.descriptor["inputSchema"]["properties"]["account"] = json!({});
        world.put(FactKey::tool(&tool.tool), &tool).await;
    }
    world.publish_labelled(&format!("{POLICY}{RULES}")).await;
    world
}

impl World {
    /// A world of which labels are said.
    pub(crate) async fn labelled() -> Self {
        Self::labelled_with(|_| {}).await
    }

    /// The same, with other facts than usual.
    pub(crate) async fn labelled_with(change: impl FnOnce(&mut Facts)) -> Self {
        labelled(Self::with(change).await).await
    }

    /// Puts `policy` in force, with what it says of labels.
    pub(crate) async fn publish_labelled(&self, policy: &str) {
        self.put_in_force(self.labelled_bundle(policy).await).await;
    }

    /// `policy` as a set, with what it says of labels.
    pub(crate) async fn labelled_bundle(&self, policy: &str) -> Bundle {
        Bundle { labels: Some(LABELS.to_owned()), ..self.bundle(policy).await }
    }

    /// What `session` carries, as it is kept.
    async fn labels_of(&self, session: TaskId) -> BTreeSet<Label> {
        self.session_of(session).await.labels
    }

    async fn session_of(&self, session: TaskId) -> SessionFacts {
        let loaded = self.store.load(&[FactKey::session(session)]).await.expect("it is read");
        let body = loaded.bodies.into_iter().next().flatten();
        body.map(|body| serde_json::from_slice(&body).expect("it is a session")).unwrap_or_default()
    }

    /// The deployment's session, as it is kept.
    async fn labels(&self) -> Vec<String> {
        let labels = self.labels_of(self.standing.task.id).await;
        labels.iter().map(Label::to_string).collect()
    }

    /// Another instance of the agent with a task of its own, which is opened now.
    pub(crate) async fn another(&self, number: u16) -> InstanceId {
        let mut bytes = [9; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        let (instance, task) = (InstanceId::from_bytes(bytes), TaskId::from_bytes(bytes));
        let opened = self.clock.now();
        let task = Task { id: task, instance, opened, ..self.standing.task.clone() };
        let instance = Instance { id: instance, task: task.id, ..self.standing.instance.clone() };
        let effects = vec![
            put(FactKey::instance(instance.id), &instance),
            put(FactKey::task(task.id), &task),
        ];
        let unit = store::Unit { effects, ..store::Unit::default() };
        self.journal.store().commit(unit).await.expect("it commits");
        instance.id
    }

    /// Another task of `lead-1`, and a part of it that was handed on as that of the deployment was.
    async fn handed_on_again(&self, round: u16) -> (InstanceId, InstanceId) {
        let child = self.another(2 * round).await;
        let parent = self.another(2 * round + 1).await;
        let [above, below] = [parent, child].map(|it| TaskId::from_bytes(*it.as_bytes()));
        let mut task = Task { id: above, instance: parent, ..self.standing.task.clone() };
        let handed_on = task.delegation.take().expect("it was handed on");
        self.put(FactKey::task(above), &task).await;
        let delegation = Some(Delegation { parent: above, by: parent, ..handed_on });
        let task = Task { id: below, instance: child, delegation, ..task };
        self.put(FactKey::task(below), &task).await;
        let agent = self.standing.mandate.agent.clone();
        let instance = self.standing.instance.clone();
        let instance = Instance { id: parent, agent, task: above, ..instance };
        self.put(FactKey::instance(parent), &instance).await;
        (parent, child)
    }
}

/// The same act, of `instance`.
pub(crate) fn of(instance: InstanceId, mut act: Act) -> Act {
    act.request.principal = model::Principal::Instance(instance);
    act.circumstances.actor = Actor::Known(instance);
    act
}

#[track_caller]
pub(crate) fn assert_forbidden(answer: Result<Permit<Act>, NotPermitted>) {
    assert_denied(answer, "forbidden");
}

#[track_caller]
pub(crate) fn assert_denied<T: Debug>(answer: Result<T, NotPermitted>, reason: &str) {
    let Err(NotPermitted::Denied { denial, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(denial.code(), reason);
}

#[tokio::test]
async fn n_085_what_was_read_forbids_what_would_send_it_out() {
    let world = World::labelled().await;
    assert!(world.authorize(world.call("mail", json!({}))).await.is_ok());
    assert!(world.labels().await.is_empty());
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
    assert_eq!(world.labels().await, ["external", "private"]);
    assert_forbidden(world.authorize(world.call("mail", json!({}))).await);
    let last = world.records("decision").await.pop().unwrap();
    let session = world.disclosure(&last).await.value("session").cloned().unwrap();
    assert_eq!(session["labels"], json!(["external", "private"]));
}

/// A denied reading has read nothing.
#[tokio::test]
async fn a_call_that_is_denied_joins_no_label() {
    let world = World::labelled().await;
    let forbid = r#"@id("no") forbid (principal, action == Action::"crm/lookup", resource);"#;
    world.publish_labelled(&format!("{POLICY}{RULES}{forbid}")).await;
    assert_forbidden(world.authorize(world.call("lookup", json!({}))).await);
    assert!(world.labels().await.is_empty());
}

#[tokio::test]
async fn n_085_whatever_a_server_says_is_a_source() {
    let server: model::ServerName = "crm".parse().unwrap();
    let resource = ResourceRef::Resource { server: server.clone(), uri: "crm://1".to_owned() };
    let prompt = ResourceRef::Prompt { server: server.clone(), name: "sum".to_owned() };
    let server = ResourceRef::Server(server);
    let asks = json!({ "method": "elicitation/create", "mode": "form" });
    let sources = [
        ("resources/read", &resource, Value::Null, Some("external")),
        ("resources/subscribe", &resource, Value::Null, Some("external")),
        ("prompts/get", &prompt, Value::Null, Some("external")),
        ("completion/complete", &server, Value::Null, Some("private")),
        ("server/request", &server, asks, Some("external")),
        ("resources/list", &server, Value::Null, None),
        ("tools/list", &server, Value::Null, None),
    ];
    for (method, resource, input, label) in sources {
        let world = World::labelled().await;
        let act = world.act(ActionName::method(method), resource.clone(), input);
        assert!(world.authorize(act).await.is_ok(), "{method}");
        assert_eq!(world.labels().await, Vec::from_iter(label), "{method}");
    }
}

/// A tool that only reads sends out by what it is asked for.
#[tokio::test]
async fn n_086_a_tool_that_fetches_sends_out_too() {
    let world = World::labelled().await;
    assert!(world.authorize(world.call("fetch", json!({}))).await.is_ok());
    assert!(world.authorize(world.call("fetch", json!({}))).await.is_ok());
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
    assert_forbidden(world.authorize(world.call("fetch", json!({}))).await);
}

/// Two calls at once, a thousand times: whatever is sent was permitted before what was read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_085_of_a_reading_and_a_sending_at_once_the_later_one_sees_the_earlier() {
    const ROUNDS: u16 = 1_000;
    let world = Arc::new(World::labelled().await);
    let mut first = 0;
    for round in 0..ROUNDS {
        let instance = world.another(round).await;
        first += u16::from(sends_first(&world, round, (instance, instance)).await);
        let again = world.authorize(of(instance, world.call("mail", json!({})))).await;
        assert_forbidden(again);
    }
    assert!((1..ROUNDS).contains(&first), "{first} of {ROUNDS} were sent first");
}

/// One reads and one sends at once, by turns the one a little before the other; whether it was sent: then before it was read.
pub(crate) async fn sends_first(
    world: &Arc<World>,
    round: u16,
    (reads, sends): (InstanceId, InstanceId),
) -> bool {
    let ask = |instance: InstanceId, name: &'static str, pauses: u16| {
        let world = world.clone();
        tokio::spawn(async move {
            for _ in 0..pauses {
                tokio::task::yield_now().await;
            }
            let permit = world.authorize(of(instance, world.call(name, json!({})))).await;
            permit.map(|permit| permit.context().index)
        })
    };
    let (read, send) = if round.is_multiple_of(2) {
        let read = ask(reads, "lookup", 0);
        (read, ask(sends, "mail", round % 16))
    } else {
        let send = ask(sends, "mail", 0);
        (ask(reads, "lookup", round % 16), send)
    };
    let read = read.await.expect("it is answered").expect("reading is permitted");
    match send.await.expect("it is answered") {
        Ok(send) => {
            assert!(send < read, "round {round}");
            true
        }
        Err(NotPermitted::Denied { denial, .. }) => {
            assert_eq!(denial.code(), "forbidden");
            false
        }
        Err(other) => panic!("round {round}: {other}"),
    }
}

/// However many read the same at once, the label is written once; after that nothing is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_is_on_is_not_written_again() {
    let world = Arc::new(World::labelled().await);
    let session = FactKey::session(world.standing.task.id);
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    world.store.on_change(Arc::new(move |keys, _| {
        let own = keys.iter().filter(|key| **key == session).count();
        count.fetch_add(own, Ordering::AcqRel);
    }));
    for _ in 0..3 {
        let calls = (0..64).map(|_| {
            let world = world.clone();
            tokio::spawn(
                async move { world.authorize(world.call("lookup", json!({}))).await.map(drop) },
            )
        });
        assert!(join_all(calls).await.into_iter().all(|it| it.unwrap().is_ok()));
        assert_eq!(written.load(Ordering::Acquire), 1);
    }
}

/// What a child reads its parent has read, and the other way round.
#[tokio::test]
async fn n_085_a_child_gives_back_what_it_read_and_starts_with_what_was_read() {
    for child_reads in [true, false] {
        let world = labelled(handed_on(1).await).await;
        let (child, parent) = (world.standing.instance.id, InstanceId::from_bytes([101; 16]));
        let (reader, sender) = if child_reads { (child, parent) } else { (parent, child) };
        assert!(world.authorize(of(sender, world.call("mail", json!({})))).await.is_ok());
        assert!(world.authorize(of(reader, world.call("lookup", json!({})))).await.is_ok());
        assert_forbidden(world.authorize(of(sender, world.call("mail", json!({})))).await);
    }
}

/// A parent reads and its child sends at once: whatever is sent was permitted before what was read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_085_of_a_parent_that_reads_and_a_child_that_sends_at_once_the_later_sees_the_earlier() {
    let world = Arc::new(labelled(handed_on(1).await).await);
    for round in 0..200 {
        let (parent, child) = world.handed_on_again(round).await;
        sends_first(&world, round, (parent, child)).await;
        assert_forbidden(world.authorize(of(child, world.call("mail", json!({})))).await);
    }
}

/// Whoever takes a task over takes it as it stands.
#[tokio::test]
async fn n_085_who_takes_a_task_over_has_read_what_was_read_in_it() {
    let world = World::labelled().await;
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
    let instance = world.another(1).await;
    let instance =
        Instance { id: instance, task: world.standing.task.id, ..world.standing.instance.clone() };
    let task = Task { instance: instance.id, ..world.standing.task.clone() };
    world.put(FactKey::instance(instance.id), &instance).await;
    world.put(FactKey::task(task.id), &task).await;
    assert_forbidden(world.authorize(of(instance.id, world.call("mail", json!({})))).await);
}

/// Between the commit and the call nothing is lost: the label is on, though nobody was called.
#[tokio::test]
async fn n_085_a_crash_before_the_call_leaves_the_label_on() {
    let world = World::labelled().await;
    drop(world.authorize(world.call("lookup", json!({}))).await.unwrap());
    world.drained().await;
    let world = world.restarted().await;
    world.publish_labelled(&format!("{POLICY}{RULES}")).await;
    assert_eq!(world.labels().await, ["external", "private"]);
    assert_forbidden(world.authorize(world.call("mail", json!({}))).await);
}

/// What only a result reveals is on before the result is let go, once, and on record.
#[tokio::test]
async fn n_085_what_a_result_reveals_is_on_the_session() {
    let world = World::labelled().await;
    let permit = world.authorize(world.call("fetch", json!({}))).await.unwrap();
    let (marking, decision) = (permit.marking().clone(), permit.context().decision);
    let private: BTreeSet<Label> = ["private".parse().unwrap()].into();
    for _ in 0..2 {
        world.authority.reveal(&marking, &private).await.unwrap();
        assert_eq!(world.labels().await, ["external", "private"]);
    }
    let revealed = world.records("system").await;
    assert_eq!(revealed.len(), 1);
    assert_eq!(revealed[0].value["details"]["labels"], "private");
    assert_eq!(revealed[0].value["details"]["decision"], decision.to_string());
    assert_forbidden(world.authorize(world.call("mail", json!({}))).await);
}

/// What somebody takes off while a call is under way is on again before its answer is let go.
#[tokio::test]
async fn n_085_what_was_taken_off_meanwhile_is_on_again_with_the_answer() {
    let world = World::labelled().await;
    let permit = world.authorize(world.call("lookup", json!({}))).await.unwrap();
    world.put(FactKey::session(world.standing.task.id), &SessionFacts::default()).await;
    assert!(world.authorize(world.call("mail", json!({}))).await.is_ok());
    world.authority.reveal(permit.marking(), &BTreeSet::new()).await.unwrap();
    assert_eq!(world.labels().await, ["external", "private"]);
    assert_forbidden(world.authorize(world.call("mail", json!({}))).await);
}

/// Of many answers that come at once with labels that are all new none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_085_many_answers_at_once_all_put_on_what_they_carry() {
    let world = Arc::new(World::labelled().await);
    let permit = world.authorize(world.call("keep", json!({}))).await.unwrap();
    let marking = permit.marking().clone();
    let joins = (0..24).map(|n| {
        let (world, marking) = (world.clone(), marking.clone());
        let label: Label = format!("l-{n}").parse().unwrap();
        tokio::spawn(async move { world.authority.reveal(&marking, &[label].into()).await })
    });
    assert!(join_all(joins).await.into_iter().all(|joined| joined.unwrap().is_ok()));
    assert_eq!(world.labels().await.len(), 24);
}

/// What a server may reveal by the set that permitted the call it may, whatever is in force since.
#[tokio::test]
async fn n_085_what_may_be_revealed_is_what_either_set_lets() {
    let world = World::labelled().await;
    let permit = world.authorize(world.call("fetch", json!({}))).await.unwrap();
    world.publish(&format!("{POLICY}{RULES}")).await;
    let may = world.authority.revealable(permit.marking(), &"crm".parse().unwrap());
    assert_eq!(may, ["private".parse().unwrap()].into());
}

/// Nothing is recorded of asking whether an act would be permitted by now, and the answer is of now.
#[tokio::test]
async fn n_085_whether_it_would_be_permitted_is_told_by_what_was_read_by_now() {
    let world = World::labelled().await;
    let mail = world.call("mail", json!({}));
    let asked_now = async || world.authority.would_permit(&mail.request, &mail.circumstances).await;
    assert!(asked_now().await.is_ok());
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
    let before = world.records("decision").await.len();
    let Err(Cut::Denied(denial)) = asked_now().await else { panic!("it is denied") };
    assert_eq!(denial.code(), "forbidden");
    assert_eq!(world.records("decision").await.len(), before);
}

/// What is under way has sent what it sent: what others read since neither keeps it from beginning nor cuts
/// it, unless it streams (`streams.rs`).
#[tokio::test]
async fn what_is_read_while_an_act_is_under_way_does_not_cut_it() {
    let world = World::labelled().await;
    let permit = world.authorize(world.call("mail", json!({}))).await.unwrap();
    let watch = world.authority.watch(&permit);
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
    let begun = permit.begin(world.clock.as_ref()).expect("it is begun");
    let looked = tokio::time::timeout(Duration::from_millis(200), watch.no_longer_permitted());
    assert!(looked.await.is_err(), "it is not cut");
    drop(begun);
    // Of what it may no longer do it is cut all the same.
    world.journal.store().commit(world.sponsor_leaves()).await.unwrap();
    watch.no_longer_permitted().await;
}

/// The tools that were called are known to a set that looks at them, and cost nothing else. What was called before it
/// looked, or while none did, nobody takes for not called.
#[tokio::test]
async fn the_tools_that_were_used_are_known_where_policy_looks_at_them() {
    let world = World::labelled().await;
    assert!(world.authorize(world.call("keep", json!({}))).await.is_ok());
    assert!(world.session_of(world.standing.task.id).await.used_tools.is_empty());
    let after = r#"@id("after") forbid (principal, action == Action::"crm/mail", resource)
        when { context.session.used_tools.contains("crm/keep") };"#;
    let looks = format!("{POLICY}{RULES}{after}");
    world.publish_labelled(&looks).await;
    // Of one that was opened in the same moment nobody knows whether it was before.
    for instance in [world.standing.instance.id, world.another(1).await] {
        let ask = |name: &'static str| world.authorize(of(instance, world.call(name, json!({}))));
        assert_denied(ask("mail").await, "unremembered");
        // What no such policy is asked about goes on.
        assert!(ask("keep").await.is_ok());
    }
    let last = world.records("decision").await.remove(1);
    let session = world.disclosure(&last).await.value("session").cloned().unwrap();
    assert_eq!(session["unremembered"], json!(["used_tools"]));

    world.clock.advance(Duration::from_millis(1));
    let later = world.another(2).await;
    let ask = |name: &'static str| world.authorize(of(later, world.call(name, json!({}))));
    assert!(ask("mail").await.is_ok());
    assert!(ask("keep").await.is_ok());
    assert_forbidden(ask("mail").await);
    let last = world.records("decision").await.pop().unwrap();
    let session = world.disclosure(&last).await.value("session").cloned().unwrap();
    assert_eq!(session["used_tools"], json!(["crm/keep", "crm/mail"]));
    // Another set that looks at it knows it as well, until one does not.
    world.clock.advance(Duration::from_millis(1));
    world.publish_labelled(&format!("{looks}\n")).await;
    assert_forbidden(ask("mail").await);
    world.publish_labelled(&format!("{POLICY}{RULES}")).await;
    assert!(ask("mail").await.is_ok());
    world.publish_labelled(&looks).await;
    assert_denied(ask("mail").await, "unremembered");
}

//! What servers keep carries what was read by who stored it, under whatever name, or none.

use std::collections::BTreeSet;

use authority::KEPT_NAMES_MAX;
use model::{Agent, FactKey, Instance, InstanceId, Label, Mandate, MandateId, Task, TaskId};
use serde_json::{Value, json};

use crate::labels::{assert_forbidden, of};
use crate::support::World;

/// A note that somebody wrote with what they had read carries it to whoever reads the note.
#[tokio::test]
async fn n_085_a_note_carries_what_its_writer_had_read() {
    let world = World::labelled().await;
    let note = |name: &str| json!({ "account": name });
    assert!(world.authorize(world.call("keep", note("before"))).await.is_ok());
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
    assert!(world.authorize(world.call("keep", note("after"))).await.is_ok());
    let check = async |number, (tool, input): (&str, Value), is_marked: bool| {
        let instance = world.another(number).await;
        let act = |tool, input| of(instance, world.call(tool, input));
        assert!(world.authorize(act(tool, input)).await.is_ok());
        let mail = world.authorize(act("mail", json!({}))).await;
        if is_marked { assert_forbidden(mail) } else { assert!(mail.is_ok()) }
    };
    check(1, ("open", note("before")), false).await;
    check(2, ("open", note("after")), true).await;
    // Who does not say which note they read may have read each.
    check(3, ("open", json!({})), true).await;
    // What is not said of a tool is said of what its server keeps.
    check(4, ("refund", json!({ "amount": 1 })), true).await;
    // What is sent is read by who sends it.
    let instance = world.another(5).await;
    let attach = |name: &str| of(instance, world.call("attach", note(name)));
    assert!(world.authorize(attach("before")).await.is_ok());
    assert_forbidden(world.authorize(attach("after")).await);
    assert!(world.authorize(attach("before")).await.is_ok());
}

/// What is stored under no name may be what somebody reads by one: nobody launders it by leaving it out.
#[tokio::test]
async fn n_085_what_is_stored_without_a_name_is_read_under_every_name() {
    let no_names = [
        ("dump", json!({ "account": "mine" })),
        ("keep", json!({})),
        ("keep", json!({ "account": null })),
        ("keep", json!({ "account": ["mine"] })),
        ("keep", json!({ "account": { "mine": 1 } })),
    ];
    let mine = || json!({ "account": "mine" });
    for (store, input) in no_names {
        let world = World::labelled().await;
        let check = async |number| {
            let instance = world.another(number).await;
            let act = |tool, input| of(instance, world.call(tool, input));
            assert!(world.authorize(act("open", mine())).await.is_ok());
            world.authorize(act("mail", json!({}))).await
        };
        assert!(world.authorize(world.call("keep", mine())).await.is_ok());
        assert!(world.authorize(world.call(store, input.clone())).await.is_ok());
        assert!(check(1).await.is_ok(), "{store} {input}: nothing was read before");
        assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
        assert!(world.authorize(world.call(store, input.clone())).await.is_ok());
        assert_forbidden(check(2).await);
    }
}

/// Who reads by what is no name reads whatever is kept.
#[tokio::test]
async fn n_085_what_is_no_name_reads_whatever_is_kept() {
    let world = World::labelled().await;
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
    assert!(world.authorize(world.call("keep", json!({ "account": "a" }))).await.is_ok());
    for (number, name) in [json!(["b"]), json!({ "b": 1 }), Value::Null].into_iter().enumerate() {
        let instance = world.another(u16::try_from(number).unwrap()).await;
        let act = |tool, input| of(instance, world.call(tool, input));
        assert!(world.authorize(act("open", json!({ "account": name }))).await.is_ok());
        assert_forbidden(world.authorize(act("mail", json!({}))).await);
    }
}

/// What goes to a server on account of a call that stores is kept with what was read by then.
#[tokio::test]
async fn n_085_what_is_brought_later_is_kept_with_what_was_read_by_then() {
    let world = World::labelled().await;
    let keep = world.call("keep", json!({ "account": "a" }));
    let request = keep.request.clone();
    let permit = world.authorize(keep).await.unwrap();
    let bring = async || world.authority.bring(permit.marking(), &request).await.unwrap();
    bring().await;
    let open = async |number| {
        let instance = world.another(number).await;
        let act = |tool, input| of(instance, world.call(tool, input));
        assert!(world.authorize(act("open", json!({ "account": "a" }))).await.is_ok());
        world.authorize(act("mail", json!({}))).await
    };
    assert!(open(1).await.is_ok());
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
    bring().await;
    assert_forbidden(open(2).await);
    let stored = world.records("system").await.pop().unwrap();
    assert_eq!(stored.value["event"], "labels_stored");
    assert_eq!(stored.value["details"]["labels"], "external private");
}

/// What somebody stores while a call waits that reads it is in what that call brings.
#[tokio::test]
async fn what_is_stored_while_it_is_read_is_read() {
    let world = World::labelled().await;
    let reads = world.another(1).await;
    let open = of(reads, world.call("open", json!({ "account": "a" })));
    let permit = world.authorize(open).await.expect("nothing is on it");
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
    assert!(world.authorize(world.call("keep", json!({ "account": "a" }))).await.is_ok());
    let carried = world.authority.reveal(permit.marking(), &BTreeSet::new()).await;
    let carried: Vec<_> = carried.expect("it is joined").iter().map(Label::to_string).collect();
    assert_eq!(carried, ["external", "private"]);
    assert_forbidden(world.authorize(of(reads, world.call("mail", json!({})))).await);
}

/// The names that have labels of their own are limited in number: what comes after counts as without one.
#[tokio::test]
async fn i_18_the_names_of_what_a_server_keeps_are_limited_in_number() {
    let world = World::labelled().await;
    let counter = store::CounterKey("kept/crm/names".to_owned());
    let count = store::Effect::Count { counter, amount: KEPT_NAMES_MAX - 1, limit: None };
    let unit = store::Unit { effects: vec![count], ..store::Unit::default() };
    world.journal.store().commit(unit).await.expect("it commits");
    let note = |name: &str| json!({ "account": name });
    let other = async |number| {
        let instance = world.another(number).await;
        let act = |tool, input| of(instance, world.call(tool, input));
        assert!(world.authorize(act("open", note("other"))).await.is_ok());
        world.authorize(act("mail", json!({}))).await
    };
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
    assert!(world.authorize(world.call("keep", note("last"))).await.is_ok());
    assert!(world.authorize(world.call("keep", note("last"))).await.is_ok());
    assert!(other(1).await.is_ok(), "it has its own");
    assert!(world.authorize(world.call("keep", note("one more"))).await.is_ok());
    assert_forbidden(other(2).await);
}

impl World {
    /// An instance of another agent, with a task of its own under that agent's mandate.
    async fn another_agent(&self, name: &str) -> InstanceId {
        let bytes = [8; 16];
        let (id, own) = (InstanceId::from_bytes(bytes), TaskId::from_bytes(bytes));
        let agent = Agent { name: name.parse().expect("a name"), ..self.standing.agent.clone() };
        let (name, mandate) = (agent.name.clone(), self.standing.mandate.clone());
        let mandate = Mandate { id: MandateId::from_bytes(bytes), agent: name.clone(), ..mandate };
        let (digest, task) = (mandate.digest(), self.standing.task.clone());
        let task =
            Task { id: own, instance: id, mandate: mandate.id, mandate_digest: digest, ..task };
        let instance = self.standing.instance.clone();
        let instance = Instance { id, agent: name, task: own, ..instance };
        self.put(FactKey::agent(&agent.name), &agent).await;
        self.put(FactKey::mandate(mandate.id), &mandate).await;
        self.put(FactKey::instance(id), &instance).await;
        self.put(FactKey::task(own), &task).await;
        id
    }
}

/// What an agent leaves for another one carries what it has read by then, whatever it says: the other one reads that as
/// it reads what a tool says.
#[tokio::test]
async fn n_085_a_message_of_another_agent_carries_what_that_agent_has_read() {
    let world = World::labelled().await;
    let desk = world.another_agent("desk").await;
    let message = || json!({ "account": "to-desk" });
    let read_and_send = async || {
        let act = |tool, input| of(desk, world.call(tool, input));
        assert!(world.authorize(act("open", message())).await.is_ok());
        world.authorize(act("mail", json!({}))).await
    };
    assert!(world.authorize(world.call("keep", message())).await.is_ok());
    assert!(read_and_send().await.is_ok(), "who wrote it has read nothing");
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
    assert!(read_and_send().await.is_ok(), "nothing was left since");
    assert!(world.authorize(world.call("keep", message())).await.is_ok());
    assert_forbidden(read_and_send().await);
}

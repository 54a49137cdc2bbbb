//! R36: what goes on to bring something is decided again with what others have read since.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use authority::{Begun, Coming, Cut, Marking, Watch};
use futures::FutureExt as _;
use model::{ActionName, HostProcess, ResourceRef};
use serde_json::{Value, json};

use crate::labels::of;
use crate::support::{Act, POLICY, World};

/// Nothing is sent out once anything was read.
const RULES: &str = r#"
    @id("all")
    permit (principal, action, resource in Server::"crm");
    @id("server")
    permit (principal, action, resource == Server::"crm");
    @id("no-way-out")
    forbid (principal, action in Action::"tools/call", resource)
    when { resource.sink && (context.session.labels.contains("private")
        || context.session.labels.contains("external")) };
"#;

const PROCESS: HostProcess = HostProcess { exe: None, pid: 4_711, started: 99, uid: 1_000 };

/// A world in which nobody looks at what is under way for an hour, unless something wakes them.
async fn world(rules: &str) -> World {
    let world = World::labelled_with(|facts| {
        facts.instance.process = Some(PROCESS);
        facts.limits.review_interval = Duration::from_hours(1);
    });
    let world = world.await;
    world.publish_labelled(&format!("{POLICY}{rules}")).await;
    world
}

/// A call under way.
async fn begun(world: &World, tool: &str, input: Value) -> (Watch, Arc<Marking>, Begun<Act>) {
    let permit = world.authorize(world.call(tool, input)).await.expect("it is permitted");
    let (watch, marking) = (world.authority.watch(&permit), permit.marking().clone());
    (watch, marking, permit.begin(world.clock.as_ref()).expect("it begins"))
}

async fn permitted(world: &World, act: Act) {
    assert!(world.authorize(act).await.is_ok());
}

/// Asserts that the stream is cut, for what others have read.
async fn is_cut(watch: &Watch) {
    let cut = watch.stream_no_longer_permitted();
    let cut = tokio::time::timeout(Duration::from_secs(10), cut).await.expect("it is told at once");
    let Cut::Denied(denial) = cut else { panic!("it is denied") };
    assert_eq!(denial.code(), "forbidden");
}

/// Whether the stream goes on, though somebody looked at every change so far.
async fn goes_on(watch: &Watch) -> bool {
    let looked = watch.stream_no_longer_permitted();
    tokio::time::timeout(Duration::from_millis(200), looked).await.is_err()
}

/// Somebody else reads, in the same task or in another one of the same process: before it is looked at, or while it is.
#[tokio::test]
async fn r_36_a_stream_is_cut_when_another_act_reads_what_forbids_it() {
    for (in_task, is_watched) in [(true, true), (true, false), (false, true), (false, false)] {
        let world = world(RULES).await;
        let (watch, _, _begun) = begun(&world, "mail", json!({})).await;
        let reader = if in_task { world.standing.instance.id } else { world.another(1).await };
        let lookup = of(reader, world.call("lookup", json!({})));
        if is_watched {
            let asked = watch.stream_no_longer_permitted();
            tokio::pin!(asked);
            assert!((&mut asked).now_or_never().is_none(), "nothing was read");
            permitted(&world, lookup).await;
            let cut = tokio::time::timeout(Duration::from_secs(10), asked).await;
            assert!(matches!(cut, Ok(Cut::Denied(_))), "it is told at once");
        } else {
            permitted(&world, lookup).await;
        }
        is_cut(&watch).await;
        let calls = watch.no_longer_permitted().now_or_never();
        assert!(calls.is_none(), "one that has brought nothing goes on");
        let decided = world.records("decision").await.len();
        assert_eq!(decided, 2, "deciding again is not recorded");
    }
}

/// What a stream reads by itself, and what its server asks on account of it, is what it is permitted with.
#[tokio::test]
async fn what_a_stream_itself_reads_does_not_cut_it() {
    let world = world(RULES).await;
    // Its result carries what others may not send after.
    let (watch, marking, _begun) = begun(&world, "fetch", json!({})).await;
    assert!(goes_on(&watch).await, "the permit has put it on");
    let private: BTreeSet<_> = ["private".parse().expect("a label")].into();
    world.authority.reveal(&marking, &private).await.expect("it is on");
    assert!(goes_on(&watch).await, "it has revealed it");
}

#[tokio::test]
async fn what_is_stored_meanwhile_where_a_stream_reads_does_not_cut_it() {
    let world = World::labelled().await;
    world.publish_labelled(&format!("{POLICY}{RULES}")).await;
    let (watch, marking, _begun) = begun(&world, "attach", json!({ "account": "a" })).await;
    let other = world.another(1).await;
    for (tool, input) in [("lookup", json!({})), ("keep", json!({ "account": "a" }))] {
        permitted(&world, of(other, world.call(tool, input))).await;
    }
    let on = world.authority.reveal(&marking, &BTreeSet::new()).await.expect("it is on");
    assert_eq!(on.len(), 2, "what it tells of carries what was stored");
    assert!(goes_on(&watch).await);
}

/// How the server of a stream asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// On account of the stream, which is let.
    Let,
    /// The same, which is denied; what it would have brought, another act brings.
    Denied,
    /// The same, once in vain and once not.
    DeniedAndLet,
    /// On account of another act.
    OfAnother,
}

async fn comes<'a>(world: &World, marking: &'a Marking, act: &Act) -> Coming<'a> {
    world.authority.comes_with(marking, &act.request).await.expect("it is noted")
}

#[tokio::test]
async fn what_the_server_of_a_stream_asks_does_not_cut_it_unless_it_is_denied_or_of_another_act() {
    for asks in [Asks::Let, Asks::Denied, Asks::DeniedAndLet, Asks::OfAnother] {
        let world = world(RULES).await;
        let (watch, marking, _begun) = begun(&world, "mail", json!({})).await;
        let server = ResourceRef::Server("crm".parse().expect("a server"));
        let input = json!({ "method": "elicitation/create", "mode": "form" });
        let act = world.act(ActionName::method("server/request"), server, input);
        let denied = match asks {
            Asks::Denied | Asks::DeniedAndLet => Some(comes(&world, &marking, &act).await),
            Asks::Let | Asks::OfAnother => None,
        };
        let comes = match asks {
            Asks::Let | Asks::DeniedAndLet => Some(comes(&world, &marking, &act).await),
            Asks::Denied | Asks::OfAnother => None,
        };
        drop(denied);
        permitted(&world, act).await;
        if let Some(comes) = comes {
            comes.is_on();
            assert!(goes_on(&watch).await, "{asks:?}");
        } else {
            is_cut(&watch).await;
        }
    }
}

/// Others put a label on while the server of the stream asks for what would bring it, too, and is denied only after that
/// was looked at.
#[tokio::test]
async fn r_36_a_stream_is_decided_again_once_a_question_is_denied_that_was_looked_at_before() {
    let world = world(RULES).await;
    let (watch, marking, _begun) = begun(&world, "mail", json!({})).await;
    let coming = comes(&world, &marking, &world.call("lookup", json!({}))).await;
    permitted(&world, world.call("lookup", json!({}))).await;
    let mut asked = std::pin::pin!(watch.stream_no_longer_permitted());
    let looked = tokio::time::timeout(Duration::from_millis(200), &mut asked).await;
    assert!(looked.is_err(), "it may be what the question brings");
    drop(coming);
    let cut = tokio::time::timeout(Duration::from_secs(10), asked).await;
    assert!(matches!(cut, Ok(Cut::Denied(_))), "it is told at once");
    is_cut(&watch).await;
}

/// With the labels of others, and with nothing else of what has been counted since, itself included.
#[tokio::test]
async fn a_stream_is_decided_again_with_the_counters_that_it_had() {
    let once = r#"
        @id("all")
        permit (principal, action, resource in Server::"crm");
        @id("once")
        forbid (principal, action == Action::"crm/mail", resource)
        when { context.session.counters.calls >= 1 };
    "#;
    let world = world(once).await;
    let (watch, _, _begun) = begun(&world, "mail", json!({})).await;
    permitted(&world, world.call("lookup", json!({}))).await;
    assert!(world.authorize(world.call("mail", json!({}))).await.is_err(), "that was the first");
    assert!(goes_on(&watch).await);
}

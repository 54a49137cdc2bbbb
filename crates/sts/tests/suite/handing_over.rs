//! Work that is handed over and a token for it, recorded at once: what becomes of both when the store does
//! not say so at once, or says otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use authority::{BEGIN_WITHIN, CommitError, Effect, Unit};
use model::{Clock as _, FactKey, InstanceId, InstanceState, Stopped, Thumbprint};
use oauth::ErrorCode;
use store::Store as _;

use crate::client::{Sts, key};
use crate::delegation::{before, delegates, hands_over, part, takes_up};
use crate::support::put;
use crate::support::stores::OnCommit;

/// How the acts `action` ended that were permitted, in their order.
async fn ended(sts: &Sts, action: &str) -> Vec<String> {
    let decisions = sts.world.records("decision").await;
    let outcomes = sts.world.records("outcome").await;
    let ids = decisions.iter().filter(|it| it.text_of("action") == action);
    let of = |id: &str| outcomes.iter().find(|it| it.text_of("decision") == id);
    ids.filter_map(|it| Some(of(it.text_of("id"))?.text_of("outcome").to_owned())).collect()
}

/// The instance that holds `key`, if one does.
async fn held(sts: &Sts, key: &keys::SigningKey) -> Option<InstanceId> {
    let place = FactKey::key(&Thumbprint::from_bytes(key.verifying().thumbprint()));
    let body = sts.world.store.load(&[place]).await.expect("it is read").bodies.remove(0);
    body.map(|body| serde_json::from_slice(&body).expect("an instance"))
}

/// Nobody waits for the answer any more, and the commit comes: the instance that it entered may ask for
/// itself.
#[tokio::test]
async fn i_02_work_that_was_handed_over_to_nobody_who_waits_may_be_done() {
    let (sts, lead, reader) = before().await;
    let own = key();
    sts.world.store.on_commit([OnCommit::Hold]);
    let request = hands_over(&sts, &lead, (&reader, &own), &part(&sts));
    let asking = tokio::spawn({
        let sts = sts.clone();
        async move { sts.send(request).await.map(drop) }
    });
    sts.world.store.commits_came().await;
    asking.abort();
    assert!(asking.await.expect_err("it does not answer").is_cancelled());
    sts.world.store.release();
    sts.world.drained().await;
    assert_eq!(ended(&sts, "delegate").await, ["unknown"]);
    assert_eq!(ended(&sts, "token/issue").await, ["returned", "not_started"]);
    let child = held(&sts, &own).await.expect("it was entered").to_string();
    let token = sts.send(sts.request_of((&reader.name, &reader.key), &own)).await;
    assert_eq!(sts.verified(&token.expect("a token")).instance(), child);
}

/// An instance of the other agent is stopped meanwhile: so would the new one be, and only its token rests
/// on that.
#[tokio::test]
async fn i_11_work_is_handed_over_to_no_agent_that_was_stopped_meanwhile() {
    let (sts, lead, reader) = before().await;
    let own = key();
    let (signal, since) = ("key_copied".to_owned(), sts.world.clock.now());
    let state = InstanceState::Quarantined { signal, since };
    let stopped = Stopped(BTreeMap::from([(InstanceId::from_bytes([7; 16]), state)]));
    let mark = FactKey::stopped(&reader.name.parse().expect("an agent"));
    let effects: Vec<Effect> = vec![put(mark, &stopped)];
    sts.world.store.on_commit([OnCommit::After(Unit { effects, ..Unit::default() })]);
    let refused = sts.send(hands_over(&sts, &lead, (&reader, &own), &part(&sts))).await;
    assert_eq!(refused.map(drop).unwrap_err().code, ErrorCode::TemporarilyUnavailable);
    assert_eq!(held(&sts, &own).await, None);
    sts.world.drained().await;
    assert_eq!(ended(&sts, "delegate").await, ["failed"]);
}

/// What is recorded apart begins as it is recorded: however long the token takes then.
#[tokio::test]
async fn a_slow_disk_does_not_lose_who_the_work_was_handed_over_to() {
    let (sts, lead, reader) = before().await;
    let own = key();
    let changed = OnCommit::Refuse(CommitError::Changed { key: FactKey::active_policy() });
    sts.world.store.on_commit([changed, OnCommit::After(Unit::default()), OnCommit::Hold]);
    let request = hands_over(&sts, &lead, (&reader, &own), &part(&sts));
    let asking = tokio::spawn({
        let sts = sts.clone();
        async move { sts.send(request).await }
    });
    sts.world.store.commits_came().await;
    sts.world.clock.advance(BEGIN_WITHIN + Duration::from_millis(1));
    sts.world.store.release();
    let token = asking.await.expect("no panic").expect("a token");
    let child = held(&sts, &own).await.expect("it was entered").to_string();
    assert_eq!(sts.verified(&token).instance(), child);
    sts.world.drained().await;
    assert_eq!(ended(&sts, "delegate").await, ["returned"]);
}

/// A key that is an instance's already is found by the first attempt: the store is not asked again.
#[tokio::test]
async fn a_key_that_is_in_use_costs_two_commits_and_no_more() {
    const PREPARED: usize = 8;
    let (sts, lead, reader) = before().await;
    let own = key();
    sts.send(hands_over(&sts, &lead, (&reader, &own), &part(&sts))).await.expect("a token");
    sts.world.store.on_commit((0..PREPARED).map(|_| OnCommit::After(Unit::default())));
    let refused = sts.send(hands_over(&sts, &lead, (&reader, &own), &part(&sts))).await;
    assert_eq!(refused.map(drop).unwrap_err().code, ErrorCode::InvalidRequest);
    // Both together, and the first by itself.
    assert_eq!(PREPARED - sts.world.store.commits_left(), 2);
    assert_eq!(sts.causes(1).await, ["has_a_task"]);
    sts.world.drained().await;
    assert_eq!(ended(&sts, "delegate").await, ["returned", "failed"]);
}

/// What was made for a key that has a task by now is taken up by nobody.
#[tokio::test]
async fn an_instance_that_has_its_task_takes_no_other_one_up() {
    let (sts, lead, reader) = before().await;
    let own = key();
    let made = async || {
        let made = sts.send(delegates(&sts, &lead, (&reader, &own), &part(&sts))).await;
        made.expect("it is made")
    };
    let (first, second) = (made().await, made().await);
    sts.send(takes_up(&sts, (&reader, &own), &first)).await.expect("a token");
    let refused = sts.send(takes_up(&sts, (&reader, &own), &second)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest, "{refused}");
    assert_eq!(sts.causes(1).await, ["has_a_task"]);
}

/// What was read of the agent that work is handed on to is read again once it is stopped, and once it goes on.
#[tokio::test]
async fn i_11_an_agent_that_is_stopped_is_handed_nothing_until_it_is_started() {
    let (sts, lead, reader) = before().await;
    let answer = async || {
        let handed = sts.send(hands_over(&sts, &lead, (&reader, &key()), &part(&sts))).await;
        handed.map(drop).map_err(|refused| refused.code)
    };
    let what = format!("agent/{}", reader.name);
    assert_eq!(answer().await, Ok(()));
    sts.world.store.commit(sts.world.stopping(&what)).await.expect("it is stopped");
    assert_eq!(answer().await, Err(ErrorCode::InvalidRequest));
    let key = FactKey::stop(&what.parse().expect("it can be stopped"));
    let started = Unit { effects: vec![Effect::Remove { key }], ..Unit::default() };
    sts.world.store.commit(started).await.expect("it is started");
    assert_eq!(answer().await, Ok(()));
}

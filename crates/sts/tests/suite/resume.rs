//! Tasks that another instance of the agent takes over: from whom, by whom, and what becomes of what
//! the former holder had.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use keys::SigningKey;
use model::{
    Clock as _, FactKey, HostProcess, HostRule, Instance, InstanceId, InstanceState, SHOWN,
    Stopped, Task, TaskEnd, TaskState,
};
use oauth::token_endpoint::RESUME;
use oauth::{ErrorCode, OAuthError};
use serde_json::{Value, json};
use store::Store as _;

use crate::client::{Request, Sts, key};
use crate::delegation::{Holder, Party, WAYS, Way, before, calls, hand_on, part, task_of};
use crate::elevations::elevate;
use crate::given_up::revoke;
use crate::platforms::{Platforms, merged};

/// For how long an instance that got one token is not gone.
pub(crate) const GONE_AFTER: Duration = Duration::from_mins(10);

/// How a workload is shown here.
const OIDC: crate::platforms::Way = crate::platforms::Way::Oidc;

/// An instance of `of` that holds `own` asks for `task`.
pub(crate) fn resumes(sts: &Sts, (of, own): (&Party, &SigningKey), task: &str) -> Request {
    sts.request_of((&of.name, &of.key), own).with("grant_type", RESUME).with("task", task)
}

async fn taken_over(
    sts: &Sts,
    (of, own): (&Party, &Arc<SigningKey>),
    task: &str,
) -> Result<Holder, OAuthError> {
    let response = sts.send(resumes(sts, (of, own), task)).await?;
    Ok(Holder::given(sts, (of.clone(), own.clone()), response))
}

pub(crate) fn task_id(holder: &Holder) -> String {
    holder.claims.authorization_details[0].task.clone()
}

async fn stopped(sts: &Sts, holder: &Holder, state: InstanceState) {
    let id = holder.instance();
    let instance: Instance = sts.fact(FactKey::instance(id)).await;
    let stopped = Stopped([(id, state.clone())].into());
    sts.world.put(FactKey::stopped(&instance.agent), &stopped).await;
    sts.world.put(FactKey::instance(id), &Instance { state, ..instance }).await;
}

async fn released(sts: &Sts) {
    let agent = &sts.world.standing.agent.name;
    sts.world.put(FactKey::stopped(agent), &Stopped::default()).await;
}

/// The records of decisions on a takeover.
async fn decisions(sts: &Sts) -> Vec<Value> {
    let all = sts.world.records("decision").await.into_iter().map(|record| record.value);
    all.filter(|record| record["action"] == "task/resume").collect()
}

/// What the former holder could do beyond the task, its next one cannot.
#[tokio::test]
async fn r_54_a_task_that_is_taken_over_is_not_elevated_any_longer() {
    let (sts, lead, _) = before().await;
    let mut task = task_of(&sts, &lead).await;
    task.scope.tools = ["crm/lookup".parse().expect("a tool")].into();
    sts.world.put(FactKey::task(task.id), &task).await;
    elevate(&sts, &lead, &["refund"]).await;
    calls(&sts, &lead, "refund").await.expect("it is elevated");
    let (reason, since) = ("lost".to_owned(), sts.world.clock.now());
    stopped(&sts, &lead, InstanceState::Revoked { reason, since }).await;
    released(&sts).await;
    let next = taken_over(&sts, (&lead.of, &key()), &task_id(&lead)).await.expect("a token");
    calls(&sts, &next, "lookup").await.expect("it goes on");
    assert_eq!(calls(&sts, &next, "refund").await, Err("outside_scope".to_owned()));
}

#[tokio::test]
async fn r_9_another_instance_goes_on_with_the_same_task() {
    let (sts, lead, _) = before().await;
    calls(&sts, &lead, "lookup").await.expect("it is permitted");
    let before = task_of(&sts, &lead).await;
    sts.world.clock.advance(GONE_AFTER);
    let next = taken_over(&sts, (&lead.of, &key()), &task_id(&lead)).await.expect("a token");
    assert_ne!(next.instance(), lead.instance());
    let after: Task = sts.fact(FactKey::task(before.id)).await;
    assert_eq!(after, Task { instance: next.instance(), ..before.clone() });
    // It has what the former one had, and what that had spent stays spent.
    assert_eq!(task_id(&next), task_id(&lead));
    calls(&sts, &next, "refund").await.expect("it is permitted");
    let last = sts.world.records("decision").await.pop().expect("a decision");
    let session = sts.world.disclosure(&last).await.value("session").cloned();
    assert_eq!(session.expect("it is known")["counters"], json!({ "calls": 1 }));
    let record = decisions(&sts).await.pop().expect("it is recorded");
    assert_eq!(record["decision"], "permit");
    assert_eq!(record["resource"], format!("Task::{}", before.id));
    assert_eq!(record["instance"], next.instance().to_string());
    assert_eq!(record["mandate"], before.mandate_digest.to_string());
}

/// Whatever the former holder had is dead in the same moment: its token, its key, what it handed on
/// and what it offered to hand on.
#[tokio::test]
async fn n_033_the_former_holder_and_what_it_handed_on_end() {
    for way in WAYS {
        let (sts, lead, reader) = before().await;
        let mut asked = part(&sts);
        asked.until += 3_600;
        let child = hand_on(&sts, &lead, (&reader, way), &asked).await.expect("a token");
        calls(&sts, &child, "lookup").await.expect("it is permitted");
        sts.world.clock.advance(GONE_AFTER.saturating_sub(Duration::from_secs(1)));
        let early =
            taken_over(&sts, (&lead.of, &key()), &task_id(&lead)).await.map(drop).unwrap_err();
        assert_eq!(early.code, ErrorCode::InvalidGrant, "{early}");
        assert_eq!(sts.causes(1).await, ["holder_alive"]);
        calls(&sts, &lead, "lookup").await.expect("nothing has changed");
        sts.world.clock.advance(Duration::from_secs(1));
        let next = taken_over(&sts, (&lead.of, &key()), &task_id(&lead)).await.expect("a token");
        assert_eq!(calls(&sts, &lead, "lookup").await, Err("task_not_open".to_owned()));
        assert_eq!(calls(&sts, &child, "lookup").await, Err("delegator_not_active".to_owned()));
        let refused = sts.send(sts.request(&lead.key)).await.unwrap_err();
        assert!(refused.description.starts_with(sts::TASK_OVER), "{refused}");
        // Giving up what is another's by now changes nothing.
        revoke(&sts, (&lead.of.name, &lead.of.key), &lead.token, &[]).await.expect("as before");
        assert_eq!(calls(&sts, &next, "lookup").await, Ok(()));
        // What it hands on itself is its own.
        let again = hand_on(&sts, &next, (&reader, way), &part(&sts)).await;
        assert_eq!(calls(&sts, &again.expect("a token"), "lookup").await, Ok(()));
    }
}

#[tokio::test]
async fn an_instance_that_renews_is_not_gone() {
    for chained in [true, false] {
        let (sts, lead, _) = before().await;
        let own = key();
        let request = |request: Request| if chained { request } else { request.unchained() };
        let first = sts.send(request(sts.request(&own))).await.expect("a token");
        let holder = Holder::given(&sts, (lead.of.clone(), own.clone()), first);
        for _ in 0..3 {
            sts.world.clock.advance(Duration::from_mins(9));
            let refused = taken_over(&sts, (&lead.of, &key()), &task_id(&holder)).await;
            assert_eq!(refused.map(drop).unwrap_err().code, ErrorCode::InvalidGrant);
            sts.send(request(sts.request(&own))).await.expect("a token");
        }
        sts.world.clock.advance(GONE_AFTER);
        taken_over(&sts, (&lead.of, &key()), &task_id(&holder)).await.expect("a token");
    }
}

/// The part of a task is taken over like any other, and stays a part of it.
#[tokio::test]
async fn a_part_is_taken_over_below_the_same_holder() {
    let (sts, lead, reader) = before().await;
    let mut asked = part(&sts);
    asked.until += 3_600;
    let child = hand_on(&sts, &lead, (&reader, Way::TakeUp), &asked).await.expect("a token");
    sts.world.clock.advance(GONE_AFTER);
    let next = taken_over(&sts, (&reader, &key()), &task_id(&child)).await.expect("a token");
    assert_eq!(next.claims.sub, child.claims.sub);
    assert_eq!(calls(&sts, &next, "lookup").await, Ok(()));
    assert_eq!(calls(&sts, &next, "refund").await, Err("outside_scope".to_owned()));
    assert_eq!(calls(&sts, &child, "lookup").await, Err("task_not_open".to_owned()));
    sts.send(sts.request(&lead.key)).await.expect("the holder above goes on");
}

/// Whoever asks for what is not its agent's learns nothing of it.
#[tokio::test]
async fn i_21_the_task_of_another_agent_looks_like_none() {
    let (sts, lead, reader) = before().await;
    sts.world.clock.advance(GONE_AFTER);
    let none = model::TaskId::from_bytes([66; 16]).to_string();
    let mut told = BTreeSet::new();
    for task in [task_id(&lead), none, lead.instance().to_string(), "x".to_owned()] {
        let refused = taken_over(&sts, (&reader, &key()), &task).await.map(drop).unwrap_err();
        told.insert((refused.code.as_str(), refused.description));
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(sts.causes(4).await, ["task_unknown"; 4]);
    // Nor does an instance that has a task learn of any other.
    let own = key();
    sts.send(sts.request(&own)).await.expect("a token");
    for task in [task_id(&lead), "x".to_owned()] {
        let refused = taken_over(&sts, (&lead.of, &own), &task).await.map(drop).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidGrant, "{refused}");
    }
    assert_eq!(sts.causes(6).await[4..], ["has_a_task"; 2]);
    assert!(decisions(&sts).await.is_empty());
}

#[tokio::test]
async fn r_16_no_quarantine_is_shed_by_taking_over() {
    let (sts, lead, _) = before().await;
    let since = sts.world.clock.now();
    sts.world.clock.advance(GONE_AFTER);
    let signal = "key_copied".to_owned();
    stopped(&sts, &lead, InstanceState::Quarantined { signal, since }).await;
    let take = async || taken_over(&sts, (&lead.of, &key()), &task_id(&lead)).await;
    assert_eq!(take().await.map(drop).unwrap_err().code, ErrorCode::InvalidGrant);
    // Nor while others of the agent are quarantined alone.
    released(&sts).await;
    assert_eq!(take().await.map(drop).unwrap_err().code, ErrorCode::InvalidGrant);
    assert_eq!(sts.causes(2).await, ["holder_quarantined"; 2]);
    // Of one that is revoked the next may go on, once somebody has looked.
    let reason = "lost".to_owned();
    stopped(&sts, &lead, InstanceState::Revoked { reason, since }).await;
    assert_eq!(take().await.map(drop).unwrap_err().code, ErrorCode::AccessDenied);
    assert_eq!(decisions(&sts).await.pop().expect("a record")["reason"], "actor_not_active");
    released(&sts).await;
    take().await.expect("a token");
}

#[tokio::test]
async fn policy_says_who_takes_over() {
    let (sts, lead, _) = before().await;
    sts.world.clock.advance(GONE_AFTER);
    let attested = r#"@id("tokens") permit (principal, action == Action::"token/issue", resource);
        @id("attested") permit (principal in Agent::"billing", action == Action::"task/resume",
                                resource)
        when { context.attestation == "host" && context.purpose == "care" };"#;
    sts.world.publish(attested).await;
    let before = task_of(&sts, &lead).await;
    let refused =
        taken_over(&sts, (&lead.of, &key()), &task_id(&lead)).await.map(drop).unwrap_err();
    assert_eq!(refused.code, ErrorCode::AccessDenied);
    assert_eq!(decisions(&sts).await.pop().expect("a record")["reason"], "not_granted");
    assert_eq!(task_of(&sts, &lead).await, before);
    let mut agent = sts.world.standing.agent.clone();
    agent.key = lead.of.key.verifying().to_jwk();
    agent.host = Some(HostRule { exe: None, uid: 1_000 });
    sts.world.put(FactKey::agent(&agent.name), &agent).await;
    let own = key();
    let process = HostProcess { exe: None, pid: 5, started: 7, uid: 1_000 };
    let thumbprint = model::Thumbprint::from_bytes(own.verifying().thumbprint());
    let voucher = sts.service.vouch(thumbprint, process).expect("there is room");
    let request = resumes(&sts, (&lead.of, &own), &task_id(&lead)).with("voucher", &voucher);
    sts.send(request).await.expect("a token");
}

/// What `end` does ends a task for whoever would take it over.
async fn is_over(end: impl AsyncFn(&Sts, &Holder), reason: &str) {
    let (sts, lead, _) = before().await;
    sts.world.clock.advance(GONE_AFTER);
    end(&sts, &lead).await;
    let refused = taken_over(&sts, (&lead.of, &key()), &task_id(&lead)).await;
    let refused = refused.map(drop).unwrap_err();
    assert_eq!(refused.code, ErrorCode::AccessDenied, "{reason}: {refused}");
    assert_eq!(decisions(&sts).await.pop().expect("a record")["reason"], reason);
}

#[tokio::test]
async fn what_is_over_is_not_taken_over() {
    let given_up = async |sts: &Sts, lead: &Holder| {
        let of = (lead.of.name.as_str(), lead.of.key.as_ref());
        revoke(sts, of, &lead.token, &[]).await.expect("it is given up");
    };
    is_over(given_up, "task_not_open").await;
    let late = async |sts: &Sts, _: &Holder| sts.world.clock.advance(Duration::from_hours(8));
    is_over(late, "task_not_open").await;
    let withdrawn = async |sts: &Sts, _: &Holder| {
        let mut mandate = sts.world.standing.mandate.clone();
        let (reason, since) = ("over".to_owned(), sts.world.clock.now());
        mandate.withdrawn = Some(model::Withdrawn { reason, since });
        sts.world.put(FactKey::mandate(mandate.id), &mandate).await;
    };
    is_over(withdrawn, "mandate_not_valid").await;
    let left = async |sts: &Sts, _: &Holder| {
        let gone = sts.world.journal.store().commit(sts.world.sponsor_leaves()).await;
        gone.expect("it commits");
    };
    is_over(left, "sponsor_not_active").await;
}

/// Whose answer was lost asks again; for another purpose it is refused before anything changes.
#[tokio::test]
async fn the_new_holder_asks_again_as_any_holder() {
    let (sts, lead, _) = before().await;
    sts.world.clock.advance(GONE_AFTER);
    let own = key();
    let other = resumes(&sts, (&lead.of, &own), &task_id(&lead)).with("purpose", "other");
    assert_eq!(sts.send(other).await.unwrap_err().code, ErrorCode::InvalidScope);
    let attempt = "an-attempt-that-is-made-twice-over";
    let ask = || resumes(&sts, (&lead.of, &own), &task_id(&lead)).with("attempt", attempt);
    let first = ask();
    let lost = sts.send(first.clone()).await.expect("a token");
    let replayed = sts.send(first).await.unwrap_err();
    assert_eq!(replayed.code, ErrorCode::InvalidClient, "{replayed}");
    let again = ask().with("previous_jti", "").with("renewal_nonce", "");
    let again = sts.send(again).await.expect("a token");
    assert_eq!(sts.verified(&again).sub, sts.verified(&lost).sub);
    assert_eq!(decisions(&sts).await.len(), 1, "it is taken over once");
    sts.send(sts.request(&own)).await.expect("it goes on by itself");
}

/// The container that was started again shows what its platform gave it before.
#[tokio::test]
async fn r_6_the_same_workload_goes_on_after_a_restart() {
    let Restarted { platforms, own: former, token, task, instance } = Restarted::new().await;
    let sts = &platforms.sts;
    let again = |own: &SigningKey| {
        let request = platforms.request(own, OIDC, &token);
        request.with("grant_type", RESUME).with("task", &task)
    };
    assert_eq!(sts.send(again(&key())).await.unwrap_err().code, ErrorCode::InvalidGrant);
    assert_eq!(sts.causes(1).await, ["workload_token_shared"]);
    sts.world.clock.advance(GONE_AFTER);
    let elsewhere = again(&key()).with("task", "x");
    assert_eq!(sts.send(elsewhere).await.unwrap_err().code, ErrorCode::InvalidGrant);
    assert_eq!(sts.causes(2).await[1], "workload_token_shared");
    let own = key();
    let next = sts.verified(&sts.send(again(&own)).await.expect("a token"));
    let entered: InstanceId = next.sub.parse().expect("an instance");
    let entered: Instance = sts.fact(FactKey::instance(entered)).await;
    assert_eq!(entered.attestation.as_str(), "workload");
    // The token went over with the task, and both are named.
    let held = model::Thumbprint::from_bytes(own.verifying().thumbprint());
    assert_eq!(bound_to(sts).await, held.to_string());
    let told = went_over(sts).await;
    let named = told.iter().map(|told| [&told["held_by_instance"], &told["used_by_instance"]]);
    assert_eq!(named.collect::<Vec<_>>(), [[&instance, &next.sub]]);
    let late = platforms.request(&former, OIDC, &token);
    assert_eq!(sts.send(late).await.unwrap_err().code, ErrorCode::InvalidGrant);
    assert_eq!(sts.causes(3).await[2], "workload_token_shared");
}

/// Whoever stole the token of a platform gets at it with the task of who had it, or not at all.
#[tokio::test]
async fn r_2_a_token_goes_over_with_the_task_and_not_by_asking_for_it() {
    type Ends = fn(&Sts, &mut Task);
    let past: Ends = |sts, task| task.deadline = sts.world.clock.now();
    let revoked: Ends = |sts, task| {
        let (how, since) = (TaskEnd::Revoked, sts.world.clock.now());
        task.state = TaskState::Ended { how, reason: String::new(), since };
    };
    let denies = r#"@id("tokens") permit (principal, action == Action::"token/issue", resource);"#;
    let cases =
        [("not_granted", None), ("task_not_open", Some(past)), ("task_not_open", Some(revoked))];
    for (reason, ends) in cases {
        let Restarted { platforms, own, token, task, .. } = Restarted::new().await;
        let (sts, place) = (&platforms.sts, FactKey::task(task.parse().expect("a task")));
        let (held, open) = (bound_to(sts).await, sts.fact::<Task>(place.clone()).await);
        sts.world.clock.advance(GONE_AFTER);
        let mut changed = open.clone();
        match ends {
            Some(ends) => ends(sts, &mut changed),
            None => sts.world.publish(denies).await,
        }
        sts.world.put(place.clone(), &changed).await;
        let thief = key();
        let resumes = platforms.request(&thief, OIDC, &token);
        let resumes = resumes.with("grant_type", RESUME).with("task", &task);
        assert_eq!(sts.send(resumes).await.unwrap_err().code, ErrorCode::AccessDenied, "{reason}");
        assert_eq!(decisions(sts).await.pop().expect("a record")["reason"], reason);
        assert_eq!(bound_to(sts).await, held, "{reason}");
        assert!(went_over(sts).await.is_empty(), "{reason}");
        let again = platforms.request(&thief, OIDC, &token);
        assert_eq!(sts.send(again).await.unwrap_err().code, ErrorCode::InvalidGrant, "{reason}");
        assert_eq!(sts.causes(1).await, ["workload_token_shared"], "{reason}");
        // Its own workload goes on with it, if its task does.
        sts.world.put(place, &open).await;
        sts.send(platforms.request(&own, OIDC, &token)).await.expect("a token");
    }
}

/// Nor does an instance get at it that has a task of its own.
#[tokio::test]
async fn r_2_who_has_a_task_takes_no_token_by_asking_for_another_task() {
    let Restarted { platforms, token, task, .. } = Restarted::new().await;
    let (sts, other) = (&platforms.sts, key());
    let held = bound_to(sts).await;
    sts.send(sts.request(&other)).await.expect("a token");
    sts.world.clock.advance(GONE_AFTER);
    let request = platforms.request(&other, OIDC, &token);
    let request = request.with("grant_type", RESUME).with("task", &task);
    assert_eq!(sts.send(request).await.unwrap_err().code, ErrorCode::InvalidGrant);
    assert_eq!(sts.causes(1).await, ["workload_token_shared"]);
    assert_eq!(bound_to(sts).await, held);
}

/// A workload that started again, with what its platform gave it before, for an hour.
struct Restarted {
    platforms: Platforms,
    /// The key that it had.
    own: Arc<SigningKey>,
    token: String,
    task: String,
    instance: String,
}

impl Restarted {
    async fn new() -> Self {
        let (platforms, own) = (Platforms::new().await, key());
        let exp = platforms.sts.world.clock.now().as_seconds() + 3_600;
        let token = platforms.token(&merged(platforms.claims(OIDC), &json!({ "exp": exp })));
        let first = platforms.sts.send(platforms.request(&own, OIDC, &token)).await;
        let first = first.expect("a token");
        let task = first.authorization_details[0].task.clone();
        let instance = platforms.sts.verified(&first).sub;
        Self { platforms, own, token, task, instance }
    }
}

/// The key to which the one token of a platform is bound that was shown.
async fn bound_to(sts: &Sts) -> String {
    let shown = sts.world.store.list(SHOWN, None, 2).await.expect("it can be read").facts;
    let [(_, body)] = shown.as_slice() else { panic!("one token was shown") };
    let body: Value = serde_json::from_slice(body).expect("a fact");
    body["key"].as_str().expect("a key").to_owned()
}

/// What is told of tokens of platforms that went over.
async fn went_over(sts: &Sts) -> Vec<Value> {
    let all = sts.world.records("system").await.into_iter();
    let all = all.filter(|entry| entry.text_of("event") == "workload_token_taken_over");
    all.map(|entry| entry.value["details"].clone()).collect()
}

/// One of all who ask at once, for each of several tasks, while other things happen to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_take_over_at_once_one_holds_the_task() {
    for with_end in [false, true] {
        let (sts, lead, _) = before().await;
        sts.world.clock.advance(GONE_AFTER);
        let racers = (0..16).map(|_| {
            let (sts, lead) = (sts.clone(), lead.clone());
            tokio::spawn(async move { taken_over(&sts, (&lead.of, &key()), &task_id(&lead)).await })
        });
        let racers: Vec<_> = racers.collect();
        if with_end {
            let of = (lead.of.name.as_str(), lead.of.key.as_ref());
            revoke(&sts, of, &lead.token, &[]).await.expect("it is given up, or another's");
        }
        let answers = join_all(racers).await.into_iter().map(|it| it.expect("nobody panicked"));
        let holders: Vec<Holder> = answers.filter_map(Result::ok).collect();
        let id = task_id(&lead).parse().expect("a task");
        let task: Task = sts.fact(FactKey::task(id)).await;
        let permitted = decisions(&sts).await;
        let permitted = permitted.iter().filter(|it| it["decision"] == "permit").count();
        if task.state == TaskState::Open {
            assert_eq!((holders.len(), permitted), (1, 1));
            assert_eq!(task.instance, holders[0].instance());
            assert_eq!(calls(&sts, &holders[0], "lookup").await, Ok(()));
        } else {
            assert!(with_end && holders.is_empty() && permitted == 0, "ended, and taken over");
        }
        assert_eq!(calls(&sts, &lead, "lookup").await, Err("task_not_open".to_owned()));
    }
}

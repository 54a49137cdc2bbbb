//! Parts of tasks that are handed on: what another instance gets by it, and what nobody gets.

use std::collections::BTreeSet;
use std::sync::Arc;

use authority::{Actor, NotPermitted};
use futures::future::join_all;
use keys::SigningKey;
use model::{Agent, Clock as _, FactKey, Instance, InstanceId, PersonState, Principal, Task};
use oauth::access_token::AccessTokenClaims;
use oauth::exchange::{self, MayAct};
use oauth::initiation::AskedTask;
use oauth::token_endpoint::TokenResponse;
use oauth::{ErrorCode, OAuthError};
use serde_json::json;

use crate::ISSUER;
use crate::client::{Request, Sts, key};
use crate::opened::opens;
use crate::support::Act;

/// An agent with its registered key.
#[derive(Clone)]
pub(crate) struct Party {
    pub(crate) name: String,
    pub(crate) key: Arc<SigningKey>,
}

/// An instance with its own key and its newest token.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) of: Party,
    pub(crate) key: Arc<SigningKey>,
    pub(crate) token: String,
    pub(crate) claims: AccessTokenClaims,
}

impl Holder {
    pub(crate) fn instance(&self) -> InstanceId {
        self.claims.instance().parse().expect("an instance")
    }
}

pub(crate) async fn party(sts: &Sts, name: &str) -> Party {
    let key = key();
    sts.another_agent(name, &key).await;
    Party { name: name.to_owned(), key }
}

/// The deployment, an instance of its agent with a token, and another agent.
pub(crate) async fn before() -> (Arc<Sts>, Holder, Party) {
    let sts = Arc::new(Sts::new().await);
    let reader = party(&sts, "reader").await;
    let lead = opens(&sts).await.expect("a token");
    (sts, lead, reader)
}

/// A part of the fixture's task, with nothing wrong.
pub(crate) fn part(sts: &Sts) -> AskedTask {
    AskedTask {
        kind: "agent_task".to_owned(),
        purpose: sts.world.standing.purpose.id.to_string(),
        tools: vec!["crm/lookup".to_owned()],
        harm: Vec::new(),
        objects: Vec::new(),
        max_calls: None,
        max_tasks_a_day: None,
        until: sts.world.clock.now().as_seconds() + 600,
    }
}

/// What a request of `holder` for an exchange begins with.
fn exchanging(sts: &Sts, holder: &Holder, task: &AskedTask) -> Request {
    sts.request_of((&holder.of.name, &holder.of.key), &holder.key)
        .unchained()
        .with("grant_type", exchange::GRANT_TYPE)
        .with("subject_token", &holder.token)
        .with("subject_token_type", exchange::ACCESS_TOKEN)
        .with("authorization_details", &json!([task]).to_string())
}

/// The actor token by which `to` names to `holder` the instance that holds `key`.
fn actor(sts: &Sts, (to, holder): (&Party, &Party), key: &SigningKey) -> String {
    let (now, jti) = (sts.world.clock.now().as_seconds(), sts.jti());
    let jkt = key.verifying().thumbprint_text();
    let parties = (to.name.as_str(), holder.name.as_str(), ISSUER);
    exchange::make_actor(parties, to.key.as_ref(), &jkt, (now, &jti)).expect("signed")
}

/// The holder asks for a token of `to`'s instance that holds `key`.
pub(crate) fn hands_over(
    sts: &Sts,
    holder: &Holder,
    (to, key): (&Party, &SigningKey),
    task: &AskedTask,
) -> Request {
    exchanging(sts, holder, task)
        .with("actor_token", &actor(sts, (to, &holder.of), key))
        .with("actor_token_type", exchange::JWT)
        .with("actor_proof", &sts.proof(key, &sts.jti()))
}

/// The holder makes a delegation for `to`'s instance that holds `key`.
pub(crate) fn delegates(
    sts: &Sts,
    holder: &Holder,
    (to, key): (&Party, &SigningKey),
    task: &AskedTask,
) -> Request {
    let jkt = key.verifying().thumbprint_text();
    let may_act = MayAct { client_id: to.name.clone(), jkt };
    exchanging(sts, holder, task)
        .with("resource", "")
        .with("requested_token_type", exchange::DELEGATION)
        .with("may_act", &json!(may_act).to_string())
}

/// An instance of `to` that holds `key` takes `delegation` up.
pub(crate) fn takes_up(
    sts: &Sts,
    (to, key): (&Party, &SigningKey),
    delegation: &TokenResponse,
) -> Request {
    sts.request_of((&to.name, &to.key), key)
        .with("grant_type", exchange::GRANT_TYPE)
        .with("subject_token", &delegation.access_token)
        .with("subject_token_type", exchange::DELEGATION)
}

/// How a part of a task is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    HandOver,
    TakeUp,
}

pub(crate) const WAYS: [Way; 2] = [Way::HandOver, Way::TakeUp];

/// Hands `task` on to a new instance of `to`.
pub(crate) async fn hand_on(
    sts: &Sts,
    holder: &Holder,
    (to, way): (&Party, Way),
    task: &AskedTask,
) -> Result<Holder, OAuthError> {
    let own = key();
    let token = match way {
        Way::HandOver => sts.send(hands_over(sts, holder, (to, &own), task)).await?,
        Way::TakeUp => {
            let delegation = sts.send(delegates(sts, holder, (to, &own), task)).await?;
            assert_eq!(delegation.token_type, "N_A");
            sts.send(takes_up(sts, (to, &own), &delegation)).await?
        }
    };
    assert_eq!(token.issued_token_type.as_deref(), Some(exchange::ACCESS_TOKEN), "{way:?}");
    Ok(Holder::given(sts, (to.clone(), own), token))
}

pub(crate) async fn task_of(sts: &Sts, holder: &Holder) -> Task {
    let instance: Instance = sts.fact(FactKey::instance(holder.instance())).await;
    sts.fact(FactKey::task(instance.task)).await
}

/// A call of `tool` by `holder`.
pub(crate) fn call(sts: &Sts, holder: &Holder, tool: &str) -> Act {
    let mut act = sts.world.call(tool, json!({ "id": "a", "amount": 1 }));
    act.request.principal = Principal::Instance(holder.instance());
    act.circumstances.actor = Actor::Known(holder.instance());
    act
}

/// What becomes of such a call.
pub(crate) async fn calls(sts: &Sts, holder: &Holder, tool: &str) -> Result<(), String> {
    does(sts, call(sts, holder, tool)).await
}

/// What becomes of `act`.
pub(crate) async fn does(sts: &Sts, act: Act) -> Result<(), String> {
    match sts.world.authorize(act).await {
        Ok(permit) => {
            let begun = permit.begin(sts.world.clock.as_ref()).map_err(|it| it.to_string())?;
            begun.running.finish(model::record::OutcomeKind::Returned, None);
            Ok(())
        }
        Err(NotPermitted::Denied { denial, .. }) => Err(denial.code().to_owned()),
        Err(other) => Err(other.to_string()),
    }
}

#[tokio::test]
async fn r_52_the_other_instance_gets_a_narrower_token_of_its_own() {
    for way in WAYS {
        let (sts, lead, reader) = before().await;
        let asked = part(&sts);
        let child = hand_on(&sts, &lead, (&reader, way), &asked).await.expect("a token");
        let claims = &child.claims;
        assert_eq!(claims.client_id, "reader");
        let bound = claims.cnf.as_ref().map(|cnf| cnf.jkt.clone());
        assert_eq!(bound, Some(child.key.verifying().thumbprint_text()));
        // On nobody's behalf: the instance that began the work is the subject.
        assert_eq!(claims.sub, lead.claims.sub);
        assert!(claims.act.as_ref().expect("somebody acts").act.is_none());
        assert_ne!(claims.instance(), lead.claims.instance());
        assert!(claims.exp <= lead.claims.exp, "{way:?}");
        let (task, parent) = (task_of(&sts, &child).await, task_of(&sts, &lead).await);
        assert_eq!(task.parent(), Some(parent.id));
        assert_eq!(task.scope.tools, BTreeSet::from(["crm/lookup".parse().unwrap()]));
        assert_eq!(task.deadline.as_seconds(), asked.until);
        assert_eq!(task.mandate_digest, parent.mandate_digest);
        // It goes on by itself.
        sts.world.clock.advance(std::time::Duration::from_mins(5));
        let request = sts.request_of((&reader.name, &reader.key), &child.key);
        let renewed = sts.send(request).await;
        let renewed = sts.verified(&renewed.expect("a token"));
        assert_eq!(renewed.act, claims.act);
        assert_eq!(calls(&sts, &child, "lookup").await, Ok(()));
        assert_eq!(calls(&sts, &child, "refund").await, Err("outside_scope".to_owned()));
        assert_eq!(calls(&sts, &lead, "refund").await, Ok(()));
    }
}

#[tokio::test]
async fn r_51_every_hop_is_in_the_token_and_in_the_record() {
    let (sts, lead, reader) = before().await;
    let deep = party(&sts, "deep").await;
    let asked = part(&sts);
    let middle = hand_on(&sts, &lead, (&reader, Way::TakeUp), &asked).await.expect("a token");
    let child = hand_on(&sts, &middle, (&deep, Way::HandOver), &asked).await.expect("a token");
    let act = child.claims.act.as_ref().expect("somebody acts");
    let before = act.act.as_ref().expect("and somebody before");
    assert_eq!(
        (act.sub.as_str(), before.sub.as_str()),
        (child.claims.instance(), middle.claims.instance())
    );
    assert_eq!((child.claims.sub.as_str(), &before.act), (lead.claims.instance(), &None));
    let root = Some(task_of(&sts, &lead).await.id.to_string());
    assert_eq!([&lead.claims.txn, &middle.claims.txn, &child.claims.txn], [&root; 3]);
    calls(&sts, &child, "lookup").await.expect("it is permitted");
    let records = sts.world.records("decision").await;
    let delegators = &records.last().expect("a decision").value["delegators"];
    let names: Vec<_> =
        delegators.as_array().expect("a list").iter().map(|it| &it["agent"]).collect();
    assert_eq!(names, ["reader", "billing"]);
    for delegator in delegators.as_array().expect("a list") {
        let handing = records.iter().find(|it| it.value["id"] == delegator["decision"]);
        assert_eq!(handing.expect("it is in the log").value["action"], "delegate");
    }
}

/// Whoever shows what is another's gets nothing, and is found.
#[tokio::test]
async fn n_007_a_token_without_its_holder_is_worth_nothing() {
    let check = async |cause: &str, request: &dyn Fn(&Sts, &Holder, &Party) -> Request| {
        let (sts, lead, reader) = before().await;
        let refused = sts.send(request(&sts, &lead, &reader)).await.expect_err(cause);
        assert_eq!(refused.code, ErrorCode::InvalidRequest, "{refused}");
        assert_eq!(sts.causes(1).await, [cause]);
    };
    let thief = |lead: &Holder, of: &Party| Holder { of: of.clone(), key: key(), ..lead.clone() };
    check("holder_absent", &|sts, lead, reader| {
        hands_over(sts, &thief(lead, reader), (reader, &key()), &part(sts))
    })
    .await;
    check("holder_absent", &|sts, lead, reader| {
        delegates(sts, &thief(lead, reader), (reader, &key()), &part(sts))
    })
    .await;
    // Another instance of the same agent.
    check("holder_absent", &|sts, lead, reader| {
        hands_over(sts, &thief(lead, &lead.of), (reader, &key()), &part(sts))
    })
    .await;
    check("subject_token_invalid", &|sts, lead, reader| {
        let own = key();
        hands_over(sts, lead, (reader, &own), &part(sts))
            .with("subject_token", &actor(sts, (reader, &lead.of), &own))
    })
    .await;
    check("actor_invalid", &|sts, lead, reader| {
        let other = Party { key: key(), ..reader.clone() };
        hands_over(sts, lead, (&other, &key()), &part(sts))
    })
    .await;
    check("actor_invalid", &|sts, lead, reader| {
        let unknown = Party { name: "nobody".to_owned(), ..reader.clone() };
        hands_over(sts, lead, (&unknown, &key()), &part(sts))
    })
    .await;
    // Made out to another holder, or for an instance that does not agree.
    check("actor_invalid", &|sts, lead, reader| {
        let own = key();
        hands_over(sts, lead, (reader, &own), &part(sts))
            .with("actor_token", &actor(sts, (reader, reader), &own))
    })
    .await;
    check("actor_invalid", &|sts, lead, reader| {
        hands_over(sts, lead, (reader, &key()), &part(sts))
            .with("actor_proof", &sts.proof(&key(), &sts.jti()))
    })
    .await;
    // A token alone: a thief's is found, its holder's is told what is missing.
    let bare = |sts: &Sts, holder: &Holder| {
        exchanging(sts, holder, &part(sts)).with("authorization_details", "")
    };
    check("holder_absent", &|sts, lead, reader| bare(sts, &thief(lead, reader))).await;
    check("actor_missing", &|sts, lead, _| bare(sts, lead)).await;
    // The agent's own key is nobody's instance.
    check("actor_invalid", &|sts, lead, reader| {
        hands_over(sts, lead, (reader, &reader.key), &part(sts))
    })
    .await;
    check("may_act_invalid", &|sts, lead, reader| {
        let may_act = json!({ "client_id": reader.name, "jkt": "short" });
        delegates(sts, lead, (reader, &key()), &part(sts)).with("may_act", &may_act.to_string())
    })
    .await;
    // Nobody hands anything on to itself.
    check("has_a_task", &|sts, lead, reader| {
        hands_over(sts, lead, (reader, &lead.key), &part(sts))
    })
    .await;
}

#[tokio::test]
async fn n_007_a_delegation_is_for_one_agent_one_key_and_one_use() {
    let (sts, lead, reader) = before().await;
    let (own, asked) = (key(), part(&sts));
    let other = party(&sts, "other").await;
    let made = sts.send(delegates(&sts, &lead, (&reader, &own), &asked)).await.expect("made");
    assert!(made.expires_in <= 60, "{made:?}");
    for (to, key) in [(&other, own.clone()), (&reader, key())] {
        let refused = sts.send(takes_up(&sts, (to, &key), &made)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidRequest, "{refused}");
    }
    let racers = (0..64).map(|_| {
        let (sts, reader, own, made) = (sts.clone(), reader.clone(), own.clone(), made.clone());
        tokio::spawn(async move {
            let request = takes_up(&sts, (&reader, &own), &made).unchained();
            sts.send(request).await.map(|token| sts.verified(&token).instance().to_owned())
        })
    });
    let answers = join_all(racers).await.into_iter().filter_map(|answer| answer.unwrap().ok());
    let instances: BTreeSet<String> = answers.collect();
    assert_eq!(instances.len(), 1, "one instance, whoever of its requests came first");
    let causes = sts.causes(2).await;
    assert_eq!(causes[..2], ["delegation_of_another", "delegation_of_another"]);
    // Nor is it for another instance, or later.
    let late = sts.send(delegates(&sts, &lead, (&reader, &key()), &asked)).await.expect("made");
    sts.world.clock.advance(std::time::Duration::from_mins(1));
    let refused = sts.send(takes_up(&sts, (&reader, &own), &late)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest, "{refused}");
}

#[tokio::test]
async fn n_031_nothing_is_handed_on_that_is_wider_or_longer() {
    let check = async |change: fn(&mut AskedTask), code: Option<ErrorCode>| {
        for way in WAYS {
            let (sts, lead, reader) = before().await;
            let deadline = task_of(&sts, &lead).await.deadline.as_seconds();
            let mut asked = part(&sts);
            asked.until = deadline;
            change(&mut asked);
            let refused = hand_on(&sts, &lead, (&reader, way), &asked).await;
            let refused = refused.map(drop).map_err(|error| error.code);
            assert_eq!(refused.err(), code, "{way:?} {asked:?}");
        }
    };
    let too_wide = Some(ErrorCode::InvalidScope);
    check(|_| {}, None).await;
    check(|task| task.tools = vec!["crm/*".to_owned()], None).await;
    check(|task| task.max_calls = Some(3), None).await;
    check(|task| task.tools.push("payments/*".to_owned()), too_wide).await;
    check(|task| task.tools.clear(), too_wide).await;
    check(|task| task.tools = vec!["crm".to_owned()], too_wide).await;
    check(|task| task.harm = vec!["no class".to_owned()], too_wide).await;
    check(|task| task.until += 1, too_wide).await;
    check(|task| task.purpose = "other".to_owned(), too_wide).await;
    let details = Some(ErrorCode::InvalidAuthorizationDetails);
    check(|task| task.kind = "other".to_owned(), details).await;
}

/// A → B → A, so that something would grow: nobody is in a chain twice.
#[tokio::test]
async fn n_011_a_token_is_not_exchanged_in_a_loop() {
    let (sts, lead, reader) = before().await;
    let asked = part(&sts);
    let child = hand_on(&sts, &lead, (&reader, Way::TakeUp), &asked).await.expect("a token");
    for way in WAYS {
        let back = hand_on(&sts, &child, (&lead.of, way), &asked).await.map(drop);
        assert_eq!(back.unwrap_err().code, ErrorCode::InvalidRequest);
        let own = hand_on(&sts, &child, (&reader, way), &asked).await.map(drop);
        assert_eq!(own.unwrap_err().code, ErrorCode::InvalidRequest);
    }
    let records = sts.world.records("decision").await;
    assert_eq!(records.last().expect("a decision").value["reason"], "delegation_cycle");
}

/// Ten branches at once and a limit of three calls: three calls, whoever makes them.
#[tokio::test]
async fn r_79_a_limit_holds_over_all_branches() {
    let (sts, lead, reader) = before().await;
    let mut asked = part(&sts);
    asked.max_calls = Some(3);
    let middle = hand_on(&sts, &lead, (&reader, Way::TakeUp), &asked).await.expect("a token");
    let branches = (0..10).map(|number| {
        let (sts, middle, asked) = (sts.clone(), middle.clone(), asked.clone());
        tokio::spawn(async move {
            let branch = party(&sts, &format!("branch-{number}")).await;
            let child = hand_on(&sts, &middle, (&branch, Way::TakeUp), &asked).await;
            let child = child.expect("a token");
            let calls = (0..3).map(|_| calls(&sts, &child, "lookup"));
            join_all(calls).await.into_iter().flatten().count()
        })
    });
    let permitted: usize = join_all(branches).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(permitted, 3);
    assert_eq!(calls(&sts, &middle, "lookup").await, Err("limit_reached".to_owned()));
    // Above the branch that has the limit, there is none.
    assert_eq!(calls(&sts, &lead, "lookup").await, Ok(()));
}

/// The sponsor of anybody in the chain leaves (N-035).
#[tokio::test]
async fn n_035_the_sponsor_of_a_delegator_leaves() {
    let (sts, lead, reader) = before().await;
    let place = FactKey::agent(&"reader".parse().unwrap());
    let mut agent: Agent = sts.fact(place.clone()).await;
    agent.sponsor = sts.world.standing.other.id.clone();
    sts.world.put(place, &agent).await;
    let child = hand_on(&sts, &lead, (&reader, Way::TakeUp), &part(&sts)).await.expect("a token");
    assert_eq!(calls(&sts, &child, "lookup").await, Ok(()));
    let mut sponsor = sts.world.standing.sponsor.clone();
    sponsor.state = PersonState::Inactive { since: sts.world.clock.now() };
    sts.world.put(FactKey::person(&sponsor.id), &sponsor).await;
    assert_eq!(calls(&sts, &child, "lookup").await, Err("delegator_not_active".to_owned()));
    let renewed = sts.send(sts.request_of((&reader.name, &reader.key), &child.key)).await;
    assert_eq!(renewed.unwrap_err().code, ErrorCode::AccessDenied);
}

/// Who may hand on to nobody learns nothing of other agents, and whoever may learns it once decided.
#[tokio::test]
async fn i_21_nobody_learns_of_agents_that_they_may_not_hand_on_to() {
    let (sts, lead, reader) = before().await;
    let absent = Party { name: "absent".to_owned(), ..reader.clone() };
    sts.world
        .publish(r#"@id("methods") permit (principal, action == Action::"token/issue", resource);"#)
        .await;
    for to in [&reader, &absent] {
        let mut wide = part(&sts);
        wide.harm = model::Harm::ALL.map(|harm| harm.to_string()).to_vec();
        for task in [&part(&sts), &wide] {
            let refused = sts.send(delegates(&sts, &lead, (to, &key()), task)).await.unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidRequest, "{refused}");
            let refused = sts.send(hands_over(&sts, &lead, (to, &key()), task)).await.unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidRequest, "{refused}");
        }
    }
}

/// What was made is good only while the policy is in force that permitted it, and until it is given up.
#[tokio::test]
async fn a_delegation_ends_with_its_policy_and_with_its_maker() {
    let (sts, lead, reader) = before().await;
    let own = key();
    let made = sts.send(delegates(&sts, &lead, (&reader, &own), &part(&sts))).await.expect("made");
    sts.world
        .publish(&format!(
            "{}\n@id(\"more\") permit (principal, action == Action::\"initialize\", resource);",
            crate::support::POLICY
        ))
        .await;
    let refused = sts.send(takes_up(&sts, (&reader, &own), &made)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest, "{refused}");
    assert_eq!(sts.causes(1).await, ["delegation_outdated"]);
    let made = sts.send(delegates(&sts, &lead, (&reader, &own), &part(&sts))).await.expect("made");
    let of = (lead.of.name.as_str(), lead.of.key.as_ref());
    crate::given_up::revoke(&sts, of, &made.access_token, &[]).await.expect("it is given up");
    let refused = sts.send(takes_up(&sts, (&reader, &own), &made)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest, "{refused}");
}

/// An actor token is good once, whichever key it is shown for.
#[tokio::test]
async fn n_007_an_actor_token_is_used_once() {
    let (sts, lead, reader) = before().await;
    let own = key();
    let first = hands_over(&sts, &lead, (&reader, &own), &part(&sts));
    let shown = first.parameters.iter().find(|(name, _)| *name == "actor_proof").cloned();
    sts.send(first).await.expect("a token");
    let other = key();
    let again = hands_over(&sts, &lead, (&reader, &other), &part(&sts));
    let again = again.with("actor_proof", &shown.expect("it was shown").1);
    assert_eq!(sts.send(again).await.unwrap_err().code, ErrorCode::InvalidRequest);
    let fresh = hands_over(&sts, &lead, (&reader, &other), &part(&sts));
    sts.send(fresh).await.expect("a token");
}

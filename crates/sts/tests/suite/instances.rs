//! R1, R2, R5: one key, one instance, one agent; and the task that each belongs to.

use std::time::Duration;

use futures::future::join_all;
use model::{Clock as _, FactKey, Instance, Risk, RiskLevel, Task};
use oauth::ErrorCode;
use serde_json::json;
use store::Store as _;

use crate::client::{Sts, assertion, key};
use crate::support::{POLICY, World};
use crate::{ISSUER, RESOURCE};

async fn fact<T: serde::de::DeserializeOwned>(world: &World, key: FactKey) -> T {
    let loaded = world.store.load(&[key]).await.unwrap();
    serde_json::from_slice(loaded.bodies[0].as_ref().expect("it is there")).unwrap()
}

#[tokio::test]
async fn r_1_a_token_names_one_instance_in_one_task_for_one_service() {
    let sts = Sts::new().await;
    let own = key();
    let response = sts.send(sts.request(&own)).await.unwrap();
    assert_eq!(response.token_type, "DPoP");
    let claims = sts.verified(&response);
    assert_eq!((claims.iss.as_str(), claims.aud.as_str()), (ISSUER, RESOURCE));
    assert_eq!(claims.client_id, "billing");
    assert_eq!(claims.bound_to(), Some(own.verifying().thumbprint()));
    let instance: Instance = fact(&sts.world, FactKey::instance(claims.sub.parse().unwrap())).await;
    let task: Task = fact(&sts.world, FactKey::task(instance.task)).await;
    assert_eq!(claims.authorization_details[0].task, task.id.to_string());
    assert_eq!(claims.authorization_details[0].purpose, "care");
    assert_eq!(claims.authorization_details[0].mandate, task.mandate_digest.to_string());
    assert_eq!(task.instance, instance.id);
    sts.world.drained().await;
    let kinds = ["facts", "decision", "issuance", "outcome"];
    let log = sts.world.log().await;
    let written: Vec<_> = log.iter().map(|entry| entry.text_of("kind")).collect();
    assert_eq!(written, kinds);
    let (decision, issuance) = (&log[1].value, &log[2].value);
    assert_eq!(issuance["decision"], decision["id"]);
    assert_eq!(issuance["instance"], json!(instance.id));
    for record in [decision, issuance, &log[3].value] {
        assert_eq!(record["mandate"], json!(task.mandate_digest), "{record}");
    }
    assert_eq!(issuance["commitments"]["sponsor"], decision["commitments"]["sponsor"]);
    assert!(!log[2].text.contains(&response.access_token));
    assert_eq!(sts.world.outcomes().await, ["returned"]);
}

#[tokio::test]
async fn r_1_renewal_with_the_same_key_is_the_same_instance_and_another_key_another() {
    let sts = Sts::new().await;
    let (one, two) = (key(), key());
    let first = sts.token(&one).await.unwrap();
    sts.world.clock.advance(Duration::from_secs(299));
    let renewed = sts.token(&one).await.unwrap();
    assert_eq!(renewed.sub, first.sub);
    assert_eq!(renewed.authorization_details, first.authorization_details);
    assert_ne!(renewed.jti, first.jti);
    let other = sts.token(&two).await.unwrap();
    assert_ne!(other.sub, first.sub);
    assert_ne!(other.authorization_details[0].task, first.authorization_details[0].task);
}

/// A restart sheds nothing of what was said of an instance before.
#[tokio::test]
async fn r_18_a_new_instance_begins_with_the_risk_that_was_said_of_one_before() {
    let sts = Sts::new().await;
    let mut agent = sts.world.standing.agent.clone();
    let since = sts.world.clock.now();
    agent.risk_of_new = Some(Risk { level: RiskLevel::Medium, since });
    sts.world.put(FactKey::agent(&agent.name), &agent).await;
    let claims = sts.token(&key()).await.expect("a token");
    let id = claims.sub.parse().expect("an instance");
    let instance: Instance = fact(&sts.world, FactKey::instance(id)).await;
    assert_eq!(instance.risk, agent.risk_of_new);
}

#[tokio::test]
async fn r_2_a_key_that_is_bound_to_another_agent_is_refused_and_both_are_named() {
    let sts = Sts::new().await;
    let (own, second) = (key(), key());
    let holder = sts.token(&own).await.unwrap();
    sts.another_agent("second", &second).await;
    let mut claims = sts.claims();
    (claims["iss"], claims["sub"]) = (json!("second"), json!("second"));
    let request = sts.request(&own).with("client_id", "second");
    let request = request.with("client_assertion", &assertion(&claims, &second));
    let error = sts.send(request).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidDpopProof);
    assert_eq!(sts.causes(1).await, ["key_bound_elsewhere"]);
    let refusal = &sts.world.records("refusal").await[0].value;
    assert_eq!((&refusal["agent"], &refusal["instance"]), (&json!("second"), &json!(holder.sub)));
    let event = sts.world.records("system").await.pop().unwrap();
    assert_eq!(event.text_of("event"), "key_bound_elsewhere");
    let expected = json!({
        "held_by_agent": "billing", "held_by_instance": holder.sub, "used_by_agent": "second",
    });
    assert_eq!(event.value["details"], expected);
    // Whose key it is may go on.
    assert_eq!(sts.token(&own).await.unwrap().sub, holder.sub);
}

#[tokio::test]
async fn r_2_the_agents_own_key_is_no_key_of_an_instance() {
    let sts = Sts::new().await;
    let own = sts.agent_key.clone();
    let error = sts.token(&own).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidDpopProof);
    assert_eq!(sts.causes(1).await, ["agent_key_as_instance"]);
}

/// R11: nor is that of any other agent or system; both are told.
#[tokio::test]
async fn r_11_a_registered_key_is_no_key_of_an_instance() {
    let sts = Sts::new().await;
    let theirs = key();
    let thumbprint = model::Thumbprint::from_bytes(theirs.verifying().thumbprint());
    let owner = FactKey::from_text("system/portal");
    sts.world.put(FactKey::registered(&thumbprint), &owner).await;
    let keeper = sts.world.authority.finding_keeper(None, Duration::from_mins(1)).await;
    let error = sts.token(&theirs).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidDpopProof);
    assert_eq!(sts.causes(1).await, ["registered_key_as_instance"]);
    let keeper = keeper.expect("the register can be read");
    sts.world.keeps(keeper, 1).await;
    let found = sts.world.store.list("finding/", None, 10).await.unwrap().facts;
    let found: model::Finding = serde_json::from_slice(&found[0].1).unwrap();
    assert_eq!(found.stranger.proven.as_ref().map(model::AgentName::as_str), Some("billing"));
    assert_eq!(found.stranger.holder.as_deref(), Some("system/portal"));
}

/// Many requests that bring the same new key at once are one instance, and all are answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_new_key_that_comes_many_times_at_once_is_one_instance() {
    let sts = std::sync::Arc::new(Sts::new().await);
    let own = key();
    let attempt = "one-attempt-that-is-repeated";
    // All are made before the first is sent: none goes on from the token of another.
    let requests: Vec<_> = (0..16).map(|_| sts.request(&own).with("attempt", attempt)).collect();
    let asked = requests.into_iter().map(|request| {
        let sts = sts.clone();
        tokio::spawn(async move { sts.send(request).await })
    });
    let answers = join_all(asked).await;
    let tokens = answers.into_iter().map(|it| sts.verified(&it.unwrap().unwrap()));
    let tokens: Vec<_> = tokens.collect();
    assert!(tokens.iter().all(|token| token.sub == tokens[0].sub));
    let page = sts.world.store.list("instance/", None, 100).await.unwrap();
    assert_eq!(page.facts.len(), 2, "the one that was there, and the new one");
}

/// Of an instance that is not let in nothing is remembered: whoever asks with ever new keys drives out none that is.
#[tokio::test]
async fn an_instance_that_is_not_let_in_was_not_seen() {
    let sts = Sts::new().await;
    let nobody = r#"@id("nobody") forbid (principal, action == Action::"token/issue", resource);"#;
    for (policy, is_seen) in [(format!("{POLICY}\n{nobody}"), false), (POLICY.to_owned(), true)] {
        sts.world.publish(&policy).await;
        assert_eq!(sts.token(&key()).await.is_ok(), is_seen);
        let decision = sts.world.records("decision").await.pop().expect("a decision");
        let instance = decision.text_of("instance").parse().expect("an instance");
        assert_eq!(sts.world.authority.last_seen(instance).is_some(), is_seen);
    }
}

/// A task has an end. An instance does not get another one: it would begin with a clean session.
#[tokio::test]
async fn r_9_after_the_deadline_of_its_task_an_instance_is_told_to_start_anew() {
    let sts = Sts::new().await;
    let own = key();
    let first = sts.token(&own).await.unwrap();
    sts.world.clock.advance(Duration::from_hours(8));
    let error = sts.token(&own).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::AccessDenied);
    assert!(error.description.contains("start one with a new key"), "{error}");
    let decision = sts.world.records("decision").await.pop().unwrap();
    assert_eq!(decision.text_of("reason"), "task_not_open");
    assert!(error.description.contains(decision.text_of("id")));
    assert_ne!(sts.token(&key()).await.unwrap().sub, first.sub);
}

#[tokio::test]
async fn r_15_a_revoked_instance_gets_no_token_and_another_one_does() {
    let sts = Sts::new().await;
    let (one, two) = (key(), key());
    let first = sts.token(&one).await.unwrap();
    sts.token(&two).await.unwrap();
    let place = FactKey::instance(first.sub.parse().unwrap());
    let mut instance: Instance = fact(&sts.world, place.clone()).await;
    let since = sts.world.clock.now();
    instance.state = model::InstanceState::Revoked { reason: String::new(), since };
    sts.world.put(place, &instance).await;
    assert_eq!(sts.token(&one).await.unwrap_err().code, ErrorCode::AccessDenied);
    assert!(sts.token(&two).await.is_ok());
}

/// Who has several purposes names one; a task belongs to one for good.
#[tokio::test]
async fn a_token_is_for_one_of_the_agents_purposes_and_stays_so() {
    let sts = Sts::with(|facts| {
        facts.agent.purposes.insert("audits".parse().unwrap());
    })
    .await;
    let mut purpose = sts.world.standing.purpose.clone();
    purpose.id = "audits".parse().unwrap();
    let mut mandate = sts.world.standing.mandate.clone();
    (mandate.id, mandate.purpose) = (model::MandateId::from_bytes([44; 16]), purpose.id.clone());
    let place = FactKey::standing_mandate(&mandate.agent, &purpose.id);
    sts.world.put(FactKey::purpose(&purpose.id), &purpose).await;
    sts.world.put(FactKey::mandate(mandate.id), &mandate).await;
    sts.world.put(place, &mandate.id).await;
    let own = key();
    // None named, or one that is not the agent's.
    for wrong in ["", "other"] {
        let error = sts.send(sts.request(&own).with("purpose", wrong)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidScope);
    }
    let response = sts.send(sts.request(&own).with("purpose", "audits")).await.unwrap();
    let first = sts.verified(&response);
    assert_eq!(first.authorization_details[0].purpose, "audits");
    // Renewed without a word about it, or with the same; with another one it is refused.
    assert_eq!(sts.token(&own).await.unwrap().authorization_details, first.authorization_details);
    assert!(sts.send(sts.request(&own).with("purpose", "audits")).await.is_ok());
    let error = sts.send(sts.request(&own).with("purpose", "care")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidScope);
    assert_eq!(sts.causes(3).await, ["unknown_purpose", "unknown_purpose", "other_purpose"]);
}

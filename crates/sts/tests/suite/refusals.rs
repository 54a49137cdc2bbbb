//! What gets no token, and what the log says of it.

use model::{AgentState, FactKey, PersonState};
use oauth::ErrorCode;

use crate::client::{Request, Sts, assertion, key};
use crate::support::Facts;
use crate::{ISSUER, RESOURCE};

/// A request that is wrong in one way is refused with `code` and recorded as `cause`.
async fn check(change: impl FnOnce(Request) -> Request, code: ErrorCode, cause: &str) {
    let sts = Sts::new().await;
    let error = sts.send(change(sts.request(&key()))).await.expect_err(cause);
    assert_eq!(error.code, code, "{error}");
    assert_eq!(sts.causes(1).await, [cause]);
    let refusal = sts.world.records("refusal").await.pop().unwrap();
    assert_eq!(refusal.text_of("point"), "token-endpoint");
    assert!(sts.world.records("decision").await.is_empty());
}

#[tokio::test]
async fn r_63_what_is_refused_before_a_decision_is_a_refusal_record() {
    use ErrorCode::{InvalidClient, InvalidRequest, InvalidScope, InvalidTarget};
    check(|it| it.with("client_assertion", ""), InvalidRequest, "malformed").await;
    check(|it| it.with("client_assertion_type", "other"), InvalidClient, "malformed").await;
    check(|it| it.with("resource", ""), InvalidTarget, "malformed").await;
    check(|it| it.and("scope", "crm/*"), InvalidScope, "malformed").await;
    check(|it| it.and("audience", "crm"), InvalidTarget, "malformed").await;
    let grant = ErrorCode::UnsupportedGrantType;
    check(|it| it.with("grant_type", "password"), grant, "malformed").await;
    check(|it| it.with("client_id", "Not A Name"), InvalidClient, "client_unknown").await;
    check(|it| it.with("client_id", "nobody"), InvalidClient, "client_unknown").await;
    check(|it| it.with("purpose", "other"), InvalidScope, "unknown_purpose").await;
    let elsewhere = "https://elsewhere.example/mcp/crm";
    check(|it| it.with("resource", elsewhere), InvalidTarget, "unknown_resource").await;
}

#[tokio::test]
async fn n_006_a_resource_is_one_and_one_of_ours() {
    use ErrorCode::InvalidTarget;
    check(|it| it.and("resource", RESOURCE), InvalidTarget, "malformed").await;
    let other = format!("{ISSUER}/mcp/other");
    check(|it| it.and("resource", &other), InvalidTarget, "malformed").await;
    for wrong in [
        format!("{ISSUER}/mcp/"),
        format!("{ISSUER}/mcp/CRM"),
        format!("{ISSUER}/mcp/crm/"),
        format!("{ISSUER}/mcp/crm?x=1"),
        format!("{ISSUER}/mcp/../crm"),
        format!("{ISSUER}.evil.example/mcp/crm"),
        format!("{ISSUER}/oauth/token"),
        "crm".to_owned(),
    ] {
        check(|it| it.with("resource", &wrong), InvalidTarget, "unknown_resource").await;
    }
    // One of ours in form, and nothing that the agent has to do with: a decision says no.
    let sts = Sts::new().await;
    let error = sts.send(sts.request(&key()).with("resource", &other)).await.unwrap_err();
    assert_eq!(error.code, InvalidTarget);
    let decision = sts.world.records("decision").await.pop().unwrap();
    assert_eq!(decision.text_of("reason"), "outside_mandate");
}

/// Of a server beyond its work an agent is told the same, whether there is one or not.
#[tokio::test]
async fn i_21_a_server_that_is_denied_is_told_as_one_that_there_is_not() {
    let sts = Sts::with(|facts| facts.purpose.scope.tools.clear()).await;
    let mut told = std::collections::BTreeSet::new();
    for server in ["crm", "nowhere"] {
        let wanted = format!("{ISSUER}/mcp/{server}");
        let error = sts.send(sts.request(&key()).with("resource", &wanted)).await.unwrap_err();
        let decision = sts.world.records("decision").await.pop().unwrap();
        assert_eq!(decision.text_of("reason"), "outside_mandate", "{server}");
        let said = error.body().to_string().replace(decision.text_of("id"), "…");
        told.insert((error.status(), said));
    }
    assert_eq!(told.len(), 1, "{told:?}");
}

/// Who cannot authenticate learns nothing: an unknown agent, a wrong key, a suspended agent.
#[tokio::test]
async fn i_21_every_failure_to_authenticate_is_the_same_answer() {
    let sts = Sts::new().await;
    let own = key();
    let unknown = sts.request(&own).with("client_id", "nobody");
    let wrong = assertion(&sts.claims(), &key());
    let wrong = sts.request(&own).with("client_assertion", &wrong);
    let mut answers =
        vec![sts.send(unknown).await.unwrap_err(), sts.send(wrong).await.unwrap_err()];
    let since = sts.world.standing.task.opened;
    for state in
        [AgentState::Suspended { reason: String::new(), since }, AgentState::Retired { since }]
    {
        let sts = Sts::with(|facts| facts.agent.state = state).await;
        answers.push(sts.token(&own).await.unwrap_err());
        assert_eq!(sts.causes(1).await, ["agent_not_active"]);
        assert_eq!(sts.world.records("refusal").await[0].value["agent"], "billing");
    }
    let sts = Sts::with(|facts| facts.agent.key_expires = facts.task.opened).await;
    answers.push(sts.token(&own).await.unwrap_err());
    assert_eq!(sts.causes(1).await, ["agent_key_expired"]);
    let sts = Sts::with(|facts| facts.agent.valid_until = Some(facts.task.opened)).await;
    answers.push(sts.token(&own).await.unwrap_err());
    assert_eq!(sts.causes(1).await, ["agent_lease_ended"]);
    let told: std::collections::BTreeSet<_> =
        answers.iter().map(|error| (error.status(), error.body().to_string())).collect();
    assert_eq!(told.len(), 1, "{told:?}");
}

/// Denied for `reason`, as a decision in the log says, and told by `code`.
async fn check_decided(change: impl FnOnce(&mut Facts), reason: &str, code: ErrorCode) {
    let sts = Sts::with(change).await;
    let error = sts.token(&key()).await.expect_err(reason);
    assert_eq!(error.code, code);
    let decision = sts.world.records("decision").await.pop().unwrap();
    assert_eq!(decision.text_of("reason"), reason);
    assert!(error.description.contains(decision.text_of("id")));
    assert!(sts.world.records("issuance").await.is_empty());
    assert!(sts.world.records("refusal").await.is_empty(), "it was decided");
    let page = store::Store::list(sts.world.store.as_ref(), "instance/", None, 10).await.unwrap();
    assert_eq!(page.facts.len(), 1, "a denied instance is not in the register");
}

#[tokio::test]
async fn n_012_nobody_behind_it_no_token() {
    let since = Sts::new().await.world.standing.task.opened;
    let inactive = PersonState::Inactive { since };
    let (denied, target) = (ErrorCode::AccessDenied, ErrorCode::InvalidTarget);
    check_decided(|it| it.sponsor.state = inactive, "sponsor_not_active", denied).await;
    check_decided(|it| it.mandate.valid_until = since, "task_not_open", denied).await;
    check_decided(|it| it.purpose.scope.tools.clear(), "outside_mandate", target).await;
    check_decided(|it| it.agent.ceiling.tools.clear(), "outside_ceiling", target).await;
}

#[tokio::test]
async fn i_10_a_sponsor_who_leaves_ends_renewal_at_once() {
    let sts = Sts::new().await;
    let own = key();
    sts.token(&own).await.unwrap();
    store::Store::commit(sts.world.store.as_ref(), sts.world.sponsor_leaves()).await.unwrap();
    assert_eq!(sts.token(&own).await.unwrap_err().code, ErrorCode::AccessDenied);
    assert_eq!(sts.token(&key()).await.unwrap_err().code, ErrorCode::AccessDenied);
    assert_eq!(sts.world.records("issuance").await.len(), 1);
}

#[tokio::test]
async fn r_63_what_cannot_be_decided_is_recorded_as_that() {
    let sts = Sts::new().await;
    sts.world.store.on_load([crate::support::stores::OnLoad::Fail]);
    let error = sts.token(&key()).await.unwrap_err();
    assert_eq!(error.status(), 503);
    sts.world.clock.step_wall(-1_000_000);
    let own = key();
    sts.token(&own).await.unwrap_err();
    assert_eq!(sts.causes(2).await, ["unavailable", "unavailable"]);
    // A purpose that the agent has and the register has not.
    let sts = Sts::new().await;
    let place = FactKey::purpose(&sts.world.standing.purpose.id);
    let effects = vec![store::Effect::Remove { key: place }];
    let unit = store::Unit { effects, ..store::Unit::default() };
    store::Store::commit(sts.world.store.as_ref(), unit).await.unwrap();
    assert_eq!(sts.token(&own).await.unwrap_err().status(), 503);
    assert_eq!(sts.causes(1).await, ["unavailable"]);
}

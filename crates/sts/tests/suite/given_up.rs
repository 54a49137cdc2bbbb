//! Tokens that are given up, and what one says of itself to whom.

use std::time::Duration;

use keys::SigningKey;
use model::{Clock as _, FactKey, Instance, InstanceId, Task, TaskEnd, TaskState};
use oauth::{ErrorCode, OAuthError, form};
use serde_json::{Value, json};
use store::Store as _;
use sts::TokenHttpRequest;

use crate::client::{Sts, key};

/// What a client sends with `token`, as the agent `name`.
fn asked(
    sts: &Sts,
    (name, key): (&str, &SigningKey),
    token: &str,
    more: &[(&str, &str)],
) -> String {
    let request = sts.request_of((name, key), &crate::client::key());
    let known = ["client_id", "client_assertion_type", "client_assertion"];
    let own = request.parameters.iter().filter(|(name, _)| known.contains(name));
    let mut all: Vec<_> = own.map(|(name, value)| (*name, value.as_str())).collect();
    all.push(("token", token));
    all.extend(more);
    form::form(&all)
}

fn http<'a>(sts: &Sts, form: &'a str) -> TokenHttpRequest<'a> {
    let arrived = sts.world.clock.monotonic();
    TokenHttpRequest { form: form.as_bytes(), dpop: None, from: None, client: None, arrived }
}

async fn introspect(sts: &Sts, of: (&str, &SigningKey), token: &str) -> Value {
    let form = asked(sts, of, token, &[]);
    sts.service.introspect(http(sts, &form)).await.expect("an answer")
}

pub(crate) async fn revoke(
    sts: &Sts,
    of: (&str, &SigningKey),
    token: &str,
    more: &[(&str, &str)],
) -> Result<(), OAuthError> {
    let form = asked(sts, of, token, more);
    sts.service.revoke(http(sts, &form)).await
}

async fn task(sts: &Sts, instance: &str) -> Task {
    let instance: InstanceId = instance.parse().expect("an instance");
    let instance: Instance = sts.fact(FactKey::instance(instance)).await;
    sts.fact(FactKey::task(instance.task)).await
}

#[tokio::test]
async fn oa_07_a_holder_gives_its_task_up_and_says_how() {
    let check = async |outcome: &[(&str, &str)], how: TaskEnd| {
        let sts = Sts::new().await;
        let own = key();
        let token = sts.send(sts.request(&own)).await.expect("a token");
        let claims = sts.verified(&token);
        let of = ("billing", sts.agent_key.as_ref());
        revoke(&sts, of, &token.access_token, outcome).await.expect("it is given up");
        let ended = task(&sts, claims.instance()).await.state;
        assert!(matches!(ended, TaskState::Ended { how: said, .. } if said == how), "{ended:?}");
        let refused = sts.send(sts.request(&own)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::AccessDenied);
        assert!(refused.description.starts_with(sts::TASK_OVER), "{refused}");
        let said = introspect(&sts, of, &token.access_token).await;
        assert_eq!(said, json!({ "active": false }));
        // Once more changes nothing.
        revoke(&sts, of, &token.access_token, &[("outcome", "failed")]).await.expect("as before");
        let again = task(&sts, claims.instance()).await.state;
        assert_eq!(again, ended);
        let events = sts.world.records("system").await;
        let told: Vec<_> = events.iter().map(|it| it.value["details"]["how"].as_str()).collect();
        assert_eq!(told, [Some(how.as_str())]);
    };
    check(&[], TaskEnd::Completed).await;
    check(&[("outcome", "completed"), ("token_type_hint", "access_token")], TaskEnd::Completed)
        .await;
    check(&[("outcome", "failed")], TaskEnd::Failed).await;
    check(&[("outcome", "changed")], TaskEnd::Changed).await;
}

/// A task outlives each of its tokens: the last one that there was is enough to end it.
#[tokio::test]
async fn r_17_an_expired_token_still_ends_its_task() {
    let sts = Sts::new().await;
    let token = sts.send(sts.request(&key())).await.expect("a token");
    let claims = sts.verified(&token);
    sts.world.clock.advance(Duration::from_hours(1));
    let of = ("billing", sts.agent_key.as_ref());
    revoke(&sts, of, &token.access_token, &[]).await.expect("it is given up");
    assert_ne!(task(&sts, claims.instance()).await.state, TaskState::Open);
}

/// What is no token is as good as revoked; what is another's is not touched.
#[tokio::test]
async fn oa_07_only_the_client_that_holds_a_token_gives_it_up() {
    let sts = Sts::new().await;
    let token = sts.send(sts.request(&key())).await.expect("a token");
    let claims = sts.verified(&token);
    let theirs = key();
    sts.another_agent("other", &theirs).await;
    let refused = revoke(&sts, ("other", &theirs), &token.access_token, &[]).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest);
    let of = ("billing", sts.agent_key.as_ref());
    for unknown in ["no token", "a.b.c", &format!("{}x", token.access_token)] {
        revoke(&sts, of, unknown, &[]).await.expect("as good as revoked");
    }
    let odd = revoke(&sts, of, &token.access_token, &[("outcome", "odd")]).await.unwrap_err();
    assert_eq!(odd.code, ErrorCode::InvalidRequest);
    let forged = revoke(&sts, ("billing", &theirs), &token.access_token, &[]).await.unwrap_err();
    assert_eq!(forged.code, ErrorCode::InvalidClient);
    assert_eq!(task(&sts, claims.instance()).await.state, TaskState::Open);
    // An assertion is used up by asking, whatever comes of it.
    let form = asked(&sts, of, "no token", &[]);
    sts.service.revoke(http(&sts, &form)).await.expect("as good as revoked");
    let replayed = sts.service.revoke(http(&sts, &form)).await.unwrap_err();
    assert_eq!(replayed.code, ErrorCode::InvalidClient);
}

#[tokio::test]
async fn n_016_a_token_says_nothing_of_itself_to_anybody_else() {
    let sts = Sts::new().await;
    let token = sts.send(sts.request(&key())).await.expect("a token");
    let claims = sts.verified(&token);
    let theirs = key();
    sts.another_agent("other", &theirs).await;
    let inactive = json!({ "active": false });
    assert_eq!(introspect(&sts, ("other", &theirs), &token.access_token).await, inactive);
    let of = ("billing", sts.agent_key.as_ref());
    assert_eq!(introspect(&sts, of, "no token").await, inactive);
    let said = introspect(&sts, of, &token.access_token).await;
    // OA-06.
    for (name, expected) in [
        ("active", json!(true)),
        ("token_type", json!("DPoP")),
        ("client_id", json!("billing")),
        ("sub", json!(claims.sub)),
        ("aud", json!(claims.aud)),
        ("iss", json!(claims.iss)),
        ("exp", json!(claims.exp)),
        ("iat", json!(claims.iat)),
        ("jti", json!(claims.jti)),
        ("txn", json!(claims.txn)),
        ("cnf", json!(claims.cnf)),
    ] {
        assert_eq!(said[name], expected, "{name}");
    }
    sts.world.store.commit(sts.world.sponsor_leaves()).await.expect("it commits");
    assert_eq!(introspect(&sts, of, &token.access_token).await, inactive);
    sts.world.clock.advance(Duration::from_mins(6));
    assert_eq!(introspect(&sts, of, &token.access_token).await, inactive);
}

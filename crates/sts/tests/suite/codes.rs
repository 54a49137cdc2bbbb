//! Authorization requests of clients that are known by their document, and the codes that come of them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Clock as _, ConsentId, FactKey, RegisteredClient};
use oauth::ErrorCode;
use serde_json::{Value, json};
use store::Store as _;
use sts::NotAuthorized;

use crate::authorizing::{CHALLENGE, CLIENT, REDIRECT, Stage, VERIFIER, code_of, refresh_of};
use crate::borrowed::strangers;
use crate::client::key;
use crate::{ISSUER, RESOURCE};

#[tokio::test]
async fn ma_04_a_code_gets_a_bearer_token_for_one_server_and_two_minutes() {
    let stage = Stage::new().await;
    let (response, _) = stage.begun().await;
    assert_eq!((response.token_type.as_str(), response.expires_in), ("Bearer", 120));
    assert_eq!(response.scope.as_deref(), Some("crm/*"), "it asked for no less, and is told");
    let claims = stage.sts.verified(&response);
    assert_eq!((claims.sub.as_str(), claims.aud.as_str()), ("carla", RESOURCE));
    assert_eq!((claims.bound_to(), claims.exp - claims.iat), (None, 120));
    let task = stage.task(&claims).await;
    assert_eq!(task.scope.tools.iter().map(ToString::to_string).collect::<Vec<_>>(), ["crm/*"]);
    let issued = stage.sts.world.records("issuance").await;
    assert_eq!(issued[0].text_of("binding"), "none");
    assert_eq!(issued[0].value.get("key"), None);
    let decided = stage.sts.world.records("decision").await;
    assert_eq!(decided[0].text_of("binding"), "none");

    let again = stage.refresh(refresh_of(&response), &[], None).await.expect("it is the last one");
    let next = stage.sts.verified(&again);
    assert_eq!((next.instance(), next.bound_to()), (claims.instance(), None));
    assert_eq!(again.scope, response.scope);
    assert_ne!(refresh_of(&again), refresh_of(&response));
    assert_eq!(stage.sts.world.records("issuance").await.len(), 2, "each is decided and recorded");
    assert_eq!(stage.published.fetched.load(Ordering::Relaxed), 1, "it is kept");
}

/// RFC 9449 §5.2: a client that says that its tokens are bound gets no other, whatever is registered.
#[tokio::test]
async fn ma_04_a_client_that_binds_its_tokens_is_given_no_other() {
    let stage = Stage::of(true, json!({ "dpop_bound_access_tokens": true })).await;
    let code = stage.code().await;
    let refused = stage.redeem(&code, &[], None).await;
    assert_eq!(code_of(refused), Some(ErrorCode::InvalidDpopProof));
    stage.redeem(&code, &[], Some(&key())).await.expect("it is bound");
}

/// A code is bound to all that it was asked for with; to whom shows it every failure looks the same.
#[tokio::test]
async fn ma_04_a_code_is_redeemed_only_by_who_asked_for_it() {
    let stage = Stage::new().await;
    let code = stage.code().await;
    let other = stage.code().await;
    let mut told = BTreeSet::new();
    let mut refuse = async |code: &str, change: &[(&str, &str)], expected| {
        let error = stage.redeem(code, change, None).await.expect_err("it is refused");
        assert_eq!(error.code, expected, "{change:?} {error:?}");
        if expected == ErrorCode::InvalidGrant {
            told.insert(error.description);
        }
    };
    let swapped = VERIFIER.replace('d', "e");
    refuse(&code, &[("code_verifier", &swapped)], ErrorCode::InvalidGrant).await;
    refuse(&code, &[("code_verifier", CHALLENGE)], ErrorCode::InvalidGrant).await;
    let uri = ("redirect_uri", "http://127.0.0.1:51005/cb");
    refuse(&code, &[uri], ErrorCode::InvalidGrant).await;
    let id = code.split_once('.').expect("two parts").0;
    refuse(&format!("{id}.another"), &[], ErrorCode::InvalidGrant).await;
    refuse(id, &[], ErrorCode::InvalidGrant).await;
    refuse("no code", &[], ErrorCode::InvalidGrant).await;
    let elsewhere = format!("{ISSUER}/mcp/other");
    refuse(&code, &[("resource", &elsewhere)], ErrorCode::InvalidTarget).await;
    let foreign = ("resource", "https://other.example/mcp/crm");
    refuse(&code, &[foreign], ErrorCode::InvalidTarget).await;
    refuse(&code, &[("client_id", "https://x.example/c")], ErrorCode::InvalidClient).await;
    stage.sts.world.clock.advance(Duration::from_mins(1));
    refuse(&other, &[], ErrorCode::InvalidGrant).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(stage.sts.world.records("issuance").await.is_empty());
}

#[tokio::test]
async fn ma_04_a_code_of_a_client_is_that_clients_alone() {
    let stage = Stage::new().await;
    let code = stage.code().await;
    let theirs = key();
    stage.sts.another_agent("other", &theirs).await;
    let mut agent: model::Agent = stage.sts.fact(FactKey::agent(&"other".parse().unwrap())).await;
    let id = "https://other.example/oauth.json";
    let (id_of, since) = (id.to_owned(), agent.registered);
    agent.client = Some(RegisteredClient { id: id_of, bearer: true, since });
    stage.sts.world.put(FactKey::agent(&agent.name), &agent).await;
    stage.sts.world.put(FactKey::client(id), &agent.name).await;
    let refused = stage.redeem(&code, &[("client_id", id)], None).await;
    assert_eq!(code_of(refused), Some(ErrorCode::InvalidGrant));
    let response = stage.redeem(&code, &[], None).await.expect("its own client's");
    let refused = stage.refresh(refresh_of(&response), &[("client_id", id)], None).await;
    assert_eq!(code_of(refused), Some(ErrorCode::InvalidGrant));
    // Nor is it begun by the agent's key, as what an agent pushed is.
    let pushed = oauth::consent::request_uri(code.split_once('.').expect("two parts").0);
    let request = stage.sts.request(&key()).with("grant_type", oauth::consent::GRANT_TYPE);
    let refused = stage.sts.send(request.with("request_uri", &pushed)).await;
    assert_eq!(code_of(refused), Some(ErrorCode::InvalidGrant));
}

/// A client that was taken back has nothing of what it had, once it is said anew.
#[tokio::test]
async fn n_012_a_client_that_is_said_anew_redeems_no_code_of_before() {
    let stage = Stage::new().await;
    let [before, again] = [stage.code().await, stage.code().await];
    stage.redeem(&before, &[], None).await.expect("it holds");
    stage.client_said_anew().await;
    assert_eq!(code_of(stage.redeem(&again, &[], None).await), Some(ErrorCode::InvalidGrant));
    assert_eq!(stage.sts.causes(1).await, ["client_said_anew"]);
    let code = stage.code().await;
    stage.redeem(&code, &[], None).await.expect("the person authorized it since");
}

/// Somebody has a code that was used: all that came of it ends, and it is found.
#[tokio::test]
async fn n_093_a_code_that_is_shown_again_ends_what_came_of_it() {
    let stage = Stage::new().await;
    let (response, code) = stage.begun().await;
    let claims = stage.sts.verified(&response);
    let wrong = ("code_verifier", "another verifier, which is long enough to be one");
    assert_eq!(code_of(stage.redeem(&code, &[wrong], None).await), Some(ErrorCode::InvalidGrant));
    stage.has_ended(&claims, "code_replayed").await;
    let refused = stage.refresh(refresh_of(&response), &[], None).await;
    assert_eq!(code_of(refused), Some(ErrorCode::InvalidGrant));
    assert_eq!(code_of(stage.redeem(&code, &[], None).await), Some(ErrorCode::InvalidGrant));
    stage.has_ended(&claims, "code_replayed").await;
    let causes = stage.sts.causes(2).await;
    assert_eq!(causes, ["code_replayed", "code_replayed"]);
}

/// What names no client that an administrator registered is refused before anything is fetched.
#[tokio::test]
async fn n_072_nothing_is_fetched_for_a_client_that_nobody_registered() {
    let stage = Stage::new().await;
    for id in ["https://169.254.169.254/latest", "https://evil.example/c.json", "bot", "billing"] {
        let refused = stage.ask(&[("client_id", id)]).await;
        assert!(matches!(refused, Err(NotAuthorized::Told(_))), "{id}: {refused:?}");
    }
    assert_eq!(stage.published.fetched.load(Ordering::Relaxed), 0);
    assert_eq!(stage.sts.causes(4).await, ["client_unknown"; 4]);
}

#[tokio::test]
async fn n_079_nobody_is_sent_anywhere_before_the_redirect_uri_is_known_to_be_the_clients() {
    let stage = Stage::new().await;
    for uri in ["https://evil.example/cb", "http://127.0.0.1:51004/other", "app://cb", "/cb"] {
        // Whatever else is wrong with it.
        for more in [("state", "x"), ("response_type", "token"), ("code_challenge", "")] {
            let refused = stage.ask(&[("redirect_uri", uri), more]).await;
            assert!(matches!(refused, Err(NotAuthorized::Told(_))), "{uri}: {refused:?}");
        }
    }
    let document = Stage::of(true, json!({ "client_id": "https://client.example/other" })).await;
    let refused = document.ask(&[]).await;
    assert!(matches!(refused, Err(NotAuthorized::Told(_))), "the document is another's");
}

/// Once it is known, the client is told, with its state and by whom.
#[tokio::test]
async fn n_079_a_refusal_names_who_refused_and_what_state() {
    let stage = Stage::new().await;
    let check = async |change: (&str, &str), error: &str| {
        let refused = stage.ask(&[change]).await;
        let Err(NotAuthorized::Sent(to)) = refused else { panic!("{change:?}: {refused:?}") };
        let (uri, query) = to.split_once('?').expect("an answer");
        assert_eq!(uri, REDIRECT);
        let told: Vec<_> = query.split('&').filter(|it| !it.starts_with("error_desc")).collect();
        let iss = "iss=https%3A%2F%2Fchancery.example";
        assert_eq!(told, [&format!("error={error}"), "state=a+state", iss], "{change:?}");
    };
    check(("response_type", "token"), "unsupported_response_type").await;
    check(("code_challenge_method", "plain"), "invalid_request").await;
    check(("code_challenge", ""), "invalid_request").await;
    check(("resource", ""), "invalid_target").await;
    check(("resource", "https://other.example/mcp/crm"), "invalid_target").await;
    check(("resource", "https://chancery.example/mcp/other"), "invalid_target").await;
    check(("scope", "crm/lookup other/tool"), "invalid_scope").await;
    check(("scope", "admin"), "invalid_scope").await;
    let task = |change: &[(&str, Value)]| {
        let until = stage.sts.world.clock.now().as_seconds() + 3_600;
        let mut task = json!({
            "type": "agent_task", "purpose": "care", "tools": ["crm/lookup"], "until": until,
        });
        for (name, value) in change {
            task[*name] = value.clone();
        }
        json!([task]).to_string()
    };
    let other = task(&[("purpose", "other".into())]);
    check(("authorization_details", &other), "invalid_scope").await;
    let elsewhere = task(&[("tools", json!(["other/tool"]))]);
    check(("authorization_details", &elsewhere), "invalid_scope").await;
    let late = task(&[("until", 1.into())]);
    check(("authorization_details", &late), "invalid_authorization_details").await;
    stage.ask(&[("authorization_details", &task(&[]))]).await.expect("it is a part");
}

/// A scope takes away from what there is, and adds nothing.
#[tokio::test]
async fn ma_04_a_scope_narrows_what_is_asked_for() {
    let stage = Stage::new().await;
    let id = stage.ask(&[("scope", "crm/lookup crm/refund")]).await.expect("it is asked");
    let (code, _) = stage.consent(id).await;
    let response = stage.redeem(&code, &[], None).await.expect("it holds");
    let task = stage.task(&stage.sts.verified(&response)).await;
    let tools: Vec<_> = task.scope.tools.iter().map(ToString::to_string).collect();
    assert_eq!(tools, ["crm/lookup", "crm/refund"]);
    assert_eq!(response.scope.as_deref(), Some("crm/lookup crm/refund"));
}

/// So many of one person can wait for an answer. Any page can send them here: the oldest makes room.
#[tokio::test]
async fn i_18_a_person_is_asked_so_much_at_once_and_is_not_locked_out() {
    let stage = Stage::new().await;
    let first = stage.ask(&[]).await.expect("there is room");
    for _ in 0..15 {
        stage.sts.world.clock.advance(Duration::from_secs(1));
        stage.ask(&[]).await.expect("there is room");
    }
    let all =
        async || stage.sts.world.store.list("consent/", None, 32).await.expect("a list").facts;
    assert_eq!(all().await.len(), 16);
    let last = stage.ask(&[]).await.expect("the oldest makes room");
    let (left, of) = (all().await, |id: ConsentId| FactKey::consent(id));
    assert_eq!(left.len(), 16);
    assert!(
        left.iter().any(|(key, _)| *key == of(last))
            && left.iter().all(|(key, _)| *key != of(first))
    );
}

/// A document that cannot be had is not asked for again and again, and one at a time.
#[tokio::test]
async fn n_072_a_document_is_fetched_once_at_a_time_and_not_at_once_again() {
    let stage =
        Stage::of(true, json!({ "token_endpoint_auth_method": "client_secret_basic" })).await;
    let all = futures::future::join_all((0..8).map(|_| stage.ask(&[]))).await;
    assert!(all.iter().all(|it| matches!(it, Err(NotAuthorized::Told(_)))), "{all:?}");
    assert_eq!(stage.published.fetched.load(Ordering::Relaxed), 1);
    stage.sts.world.clock.advance(Duration::from_secs(10));
    stage.ask(&[]).await.expect_err("it is still none");
    assert_eq!(stage.published.fetched.load(Ordering::Relaxed), 2);
}

/// RFC 9449 §10: a client that names its key gets a code for that key alone.
#[tokio::test]
async fn n_140_a_code_for_one_key_is_redeemed_with_no_other_and_not_without() {
    let stage = Stage::new().await;
    let own = key();
    let jkt = own.verifying().thumbprint_text();
    let id = stage.ask(&[("dpop_jkt", &jkt)]).await.expect("it is asked");
    let (code, _) = stage.consent(id).await;
    for other in [None, Some(key())] {
        let refused = stage.redeem(&code, &[], other.as_deref()).await;
        assert_eq!(code_of(refused), Some(ErrorCode::InvalidDpopProof));
    }
    stage.redeem(&code, &[], Some(&own)).await.expect("it is that key's");
}

/// Who names a client has proven nothing: what it shows twice fills no agent's findings.
#[tokio::test]
async fn n_093_who_shows_a_code_again_is_found_as_a_stranger() {
    let stage = Stage::new().await;
    let keeper = stage.sts.world.authority.finding_keeper(None, Duration::from_mins(1)).await;
    let (_, code) = stage.begun().await;
    stage.redeem(&code, &[], None).await.expect_err("it was used");
    let found = strangers(&stage.sts, keeper.expect("the register can be read")).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].cause, "code_replayed");
    assert_eq!((&found[0].proven, found[0].claimed.as_deref()), (&None, Some(CLIENT)));
}

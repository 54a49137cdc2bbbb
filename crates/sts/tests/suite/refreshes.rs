//! Refresh tokens of clients that are known by their document: rotated, found when they are shown again,
//! given up and introspected.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use keys::SigningKey;
use model::{Clock as _, FactKey, Mandate, RegisteredClient, TaskState};
use oauth::ErrorCode;
use oauth::token_endpoint::{RESUME, TokenResponse};
use serde_json::{Value, json};
use store::Store as _;

use crate::authorizing::{Answer, CLIENT, Stage, changed, code_of, refresh_of};
use crate::client::key;
use crate::support::stores::OnCommit;
use crate::{ISSUER, RESOURCE};

/// With a proof the token is bound as always, and the refresh token goes with the same key.
#[tokio::test]
async fn ma_04_with_a_proof_the_token_is_bound_and_so_is_what_follows() {
    let stage = Stage::of(false, Value::Null).await;
    let code = stage.code().await;
    let refused = stage.redeem(&code, &[], None).await;
    assert_eq!(code_of(refused), Some(ErrorCode::InvalidDpopProof), "no bearer token for it");
    let (own, other) = (key(), key());
    let agents = stage.redeem(&code, &[], Some(&stage.sts.agent_key)).await;
    assert_eq!(code_of(agents), Some(ErrorCode::InvalidDpopProof), "the agent's own key");
    let response = stage.redeem(&code, &[], Some(&own)).await.expect("it is bound");
    assert_eq!((response.token_type.as_str(), response.expires_in), ("DPoP", 300));
    let claims = stage.sts.verified(&response);
    assert_eq!(claims.bound_to(), Some(own.verifying().thumbprint()));
    for key in [None, Some(&*other)] {
        let refused = stage.refresh(refresh_of(&response), &[], key).await;
        assert_eq!(code_of(refused), Some(ErrorCode::InvalidDpopProof));
    }
    assert_eq!(stage.task(&claims).await.state, TaskState::Open, "it was not its holder");
    let next = stage.refresh(refresh_of(&response), &[], Some(&own)).await.expect("its holder");
    assert_eq!(stage.sts.verified(&next).instance(), claims.instance());
    let second = stage.code().await;
    let refused = stage.redeem(&second, &[], Some(&own)).await;
    assert_eq!(code_of(refused), Some(ErrorCode::InvalidDpopProof), "a key is one instance's");
}

/// A refresh token is good once. Who of two that have it is the client nobody can tell.
#[tokio::test]
async fn n_093_a_refresh_token_that_is_shown_again_ends_all_that_came_of_its_code() {
    let stage = Stage::new().await;
    let (first, _) = stage.begun().await;
    let second = stage.refresh(refresh_of(&first), &[], None).await.expect("the last one");
    let claims = stage.sts.verified(&second);
    assert_eq!(
        code_of(stage.refresh(refresh_of(&first), &[], None).await),
        Some(ErrorCode::InvalidGrant)
    );
    stage.has_ended(&claims, "refresh_token_replayed").await;
    let refused = stage.refresh(refresh_of(&second), &[], None).await;
    assert_eq!(code_of(refused), Some(ErrorCode::InvalidGrant), "the last one is of no use");
}

/// N-013: 64 ask with one refresh token at once: one token is issued, and the family dies, bound to a
/// key or not. Who won is told so, unless the family is dead before its token is signed.
#[tokio::test(flavor = "multi_thread")]
async fn n_013_of_64_racers_with_one_refresh_token_one_wins_and_the_family_dies() {
    for key in [None, Some(key())] {
        check_race(key).await;
    }
}

async fn check_race(key: Option<Arc<SigningKey>>) {
    let stage = Arc::new(Stage::new().await);
    let code = stage.code().await;
    let first = stage.redeem(&code, &[], key.as_deref()).await.expect("it holds");
    let claims = stage.sts.verified(&first);
    let token = refresh_of(&first).to_owned();
    let racers = (0..64).map(|_| {
        let (stage, token, key) = (stage.clone(), token.clone(), key.clone());
        tokio::spawn(async move { stage.refresh(&token, &[], key.as_deref()).await })
    });
    let answers = join_all(racers).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("no panic")).collect();
    let won: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert!(won.len() <= 1, "{} won", won.len());
    for won in &won {
        let refused = stage.refresh(refresh_of(won), &[], key.as_deref()).await;
        assert_eq!(code_of(refused), Some(ErrorCode::InvalidGrant), "the family is dead");
    }
    let issued = stage.sts.world.records("issuance").await;
    assert_eq!(issued.len(), 2, "one after the first");
    stage.sts.world.drained().await;
    let outcomes = stage.sts.world.records("outcome").await;
    let decision = issued[1].text_of("decision");
    let last = outcomes.iter().find(|it| it.text_of("decision") == decision);
    match last.expect("it has ended").text_of("outcome") {
        "returned" => assert_eq!(won.len(), 1, "it was given to somebody"),
        "not_started" => assert_eq!(won.len(), 0, "it was given to nobody"),
        other => panic!("its permit ended as {other}"),
    }
    stage.has_ended(&claims, "refresh_token_replayed").await;
}

/// What the client is told of which the store says this.
async fn told_after(on_commit: OnCommit, is_refreshed: bool) -> (Stage, String, Option<ErrorCode>) {
    let stage = Stage::new().await;
    let shown = if is_refreshed {
        refresh_of(&stage.begun().await.0).to_owned()
    } else {
        stage.code().await
    };
    stage.sts.world.store.on_commit([on_commit]);
    let answer = show(&stage, &shown, is_refreshed).await;
    (stage, shown, code_of(answer))
}

async fn show(stage: &Stage, shown: &str, is_refreshed: bool) -> Answer {
    if is_refreshed {
        stage.refresh(shown, &[], None).await
    } else {
        stage.redeem(shown, &[], None).await
    }
}

/// What was shown is used up, and nobody knows it: asked for once more, it would look like a thief's.
#[tokio::test]
async fn ma_04_who_may_have_been_given_a_token_is_not_told_to_ask_again() {
    // Both wait until a decision is late: at once.
    let checks = [true, false].map(async |is_refreshed: bool| {
        let lost = told_after(OnCommit::WrittenButLost, is_refreshed);
        let late = told_after(OnCommit::WrittenAndSilent, is_refreshed);
        let ((_, _, lost), (_, _, late)) = futures::join!(lost, late);
        assert_eq!([lost, late], [Some(ErrorCode::InvalidGrant); 2], "refreshed: {is_refreshed}");
        let full = store::CommitError::Unavailable("the disk is full".into());
        let (stage, shown, told) = told_after(OnCommit::Refuse(full), is_refreshed).await;
        assert_eq!(told, Some(ErrorCode::TemporarilyUnavailable));
        show(&stage, &shown, is_refreshed).await.expect("nothing was used up");
    });
    join_all(checks).await;
}

#[tokio::test]
async fn ma_04_a_refresh_token_that_is_none_ends_nothing() {
    let stage = Stage::new().await;
    let (response, _) = stage.begun().await;
    let claims = stage.sts.verified(&response);
    for token in ["no token", "a.b", claims.jti.as_str(), claims.instance()] {
        let refused = stage.refresh(token, &[], None).await;
        assert_eq!(code_of(refused), Some(ErrorCode::InvalidGrant), "{token}");
    }
    let elsewhere = format!("{ISSUER}/mcp/other");
    let refused = stage.refresh(refresh_of(&response), &[("resource", &elsewhere)], None).await;
    assert_eq!(code_of(refused), Some(ErrorCode::InvalidTarget));
    let named = [("resource", RESOURCE)];
    stage.refresh(refresh_of(&response), &named, None).await.expect("it is for that server");
}

/// A first token, with the mandate under which it was given.
async fn given(stage: &Stage) -> (TokenResponse, Mandate) {
    let id = stage.ask(&[]).await.expect("it is asked");
    let (code, mandate) = stage.consent(id).await;
    (stage.redeem(&code, &[], None).await.expect("it holds"), mandate)
}

/// What the client is told that refreshes what is over.
async fn over(stage: &Stage, given: &TokenResponse) -> ErrorCode {
    let error = stage.refresh(refresh_of(given), &[], None).await.expect_err("it is over");
    assert_eq!(stage.sts.world.records("issuance").await.len(), 1);
    error.code
}

/// Each refresh is decided anew, for what was consented to and no longer than that.
#[tokio::test]
async fn n_012_what_is_over_is_not_refreshed() {
    let stage = Stage::new().await;
    let (response, _) = given(&stage).await;
    stage.sts.world.store.commit(stage.sts.world.sponsor_leaves()).await.expect("it commits");
    assert_eq!(over(&stage, &response).await, ErrorCode::InvalidGrant, "the sponsor left");

    let stage = Stage::new().await;
    let (response, mandate) = given(&stage).await;
    let (reason, since) = (String::new(), stage.sts.world.clock.now());
    let mandate = Mandate { withdrawn: Some(model::Withdrawn { reason, since }), ..mandate };
    stage.sts.world.put(FactKey::mandate(mandate.id), &mandate).await;
    assert_eq!(over(&stage, &response).await, ErrorCode::InvalidGrant, "she took it back");

    let stage = Stage::new().await;
    let (response, _) = given(&stage).await;
    stage.sts.world.clock.advance(Duration::from_hours(8));
    assert_eq!(over(&stage, &response).await, ErrorCode::InvalidGrant, "it lasted eight hours");
}

/// What an administrator says of the client counts at once.
#[tokio::test]
async fn n_012_what_a_client_may_is_what_is_registered_now() {
    let check = async |client: Option<RegisteredClient>, expected: ErrorCode| {
        let stage = Stage::new().await;
        let (response, _) = given(&stage).await;
        let agent = model::Agent { client, ..stage.sts.world.standing.agent.clone() };
        stage.sts.world.put(FactKey::agent(&agent.name), &agent).await;
        assert_eq!(over(&stage, &response).await, expected);
    };
    check(None, ErrorCode::InvalidClient).await;
    let since = Stage::new().await.sts.world.standing.agent.registered;
    let bound = RegisteredClient { id: CLIENT.to_owned(), bearer: false, since };
    check(Some(bound), ErrorCode::InvalidDpopProof).await;
}

/// A client that was taken back has nothing of what it had, once it is said anew.
#[tokio::test]
async fn n_012_a_client_that_is_said_anew_refreshes_nothing_of_before() {
    for key in [None, Some(key())] {
        let stage = Stage::new().await;
        let code = stage.code().await;
        let first = stage.redeem(&code, &[], key.as_deref()).await.expect("it holds");
        let second = stage.refresh(refresh_of(&first), &[], key.as_deref()).await;
        let second = second.expect("it is the same client");
        stage.client_said_anew().await;
        let refused = stage.refresh(refresh_of(&second), &[], key.as_deref()).await;
        assert_eq!(code_of(refused), Some(ErrorCode::InvalidGrant));
        assert_eq!(stage.sts.causes(1).await, ["client_said_anew"]);
        assert_eq!(stage.introspected(refresh_of(&second)).await, json!({ "active": false }));
        // One that was used before is a sign still: all of it ends.
        let refused = stage.refresh(refresh_of(&first), &[], key.as_deref()).await;
        assert_eq!(code_of(refused), Some(ErrorCode::InvalidGrant));
        stage.has_ended(&stage.sts.verified(&second), "refresh_token_replayed").await;
    }
}

/// A client that was taken back goes on with nothing of what it kept: neither a refresh token, nor an access token,
/// nor a code. Of its refresh token nothing is kept here but a digest; each attempt is on the record; and another
/// registration brings neither token back.
#[tokio::test]
async fn n_092_a_client_that_was_taken_back_goes_on_with_nothing_that_it_kept() {
    let stage = Stage::new().await;
    let (first, _) = stage.begun().await;
    let last = stage.refresh(refresh_of(&first), &[], None).await.expect("it is the client");
    let code = stage.code().await;
    let active = async |token: &str| stage.introspected(token).await["active"] == true;
    assert!(active(&last.access_token).await && active(refresh_of(&last)).await);
    let world = &stage.sts.world;
    let kept = world.store.list("family/", None, 8).await.expect("it can be read");
    let [(_, family)] = &kept.facts[..] else { panic!("one: {}", kept.facts.len()) };
    assert!(!String::from_utf8_lossy(family).contains(refresh_of(&last)));

    let whole = world.standing.agent.clone();
    let is_of = async |client: Option<RegisteredClient>| {
        let agent = model::Agent { client, ..whole.clone() };
        world.put(FactKey::agent(&agent.name), &agent).await;
    };
    is_of(None).await;
    for told in [
        stage.refresh(refresh_of(&last), &[], None).await,
        stage.refresh(refresh_of(&first), &[], None).await,
        stage.redeem(&code, &[], None).await,
    ] {
        assert_eq!(code_of(told), Some(ErrorCode::InvalidClient));
    }
    assert!(!active(&last.access_token).await && !active(refresh_of(&last)).await);
    assert_eq!(stage.sts.causes(3).await, ["client_unknown"; 3]);

    let since = world.clock.now().plus(Duration::from_secs(1));
    world.clock.advance(Duration::from_secs(2));
    is_of(Some(RegisteredClient { id: CLIENT.to_owned(), bearer: true, since })).await;
    let told = stage.refresh(refresh_of(&last), &[], None).await;
    assert_eq!(code_of(told), Some(ErrorCode::InvalidGrant));
    assert!(!active(&last.access_token).await && !active(refresh_of(&last)).await);
    assert_eq!(stage.sts.causes(4).await[3], "client_said_anew");
    assert_eq!(world.records("issuance").await.len(), 2, "none since it was taken back");
}

/// What a person let a client do is nobody's to take over, whether the client is the agent's still or not.
#[tokio::test]
async fn n_092_a_task_of_a_client_is_nobodys_to_take_over() {
    let stage = Stage::new().await;
    let (response, _) = given(&stage).await;
    let task = stage.task(&stage.sts.verified(&response)).await.id.to_string();
    stage.sts.world.clock.advance(Duration::from_mins(30));
    let whole = stage.sts.world.standing.agent.clone();
    for client in [whole.client.clone(), None] {
        let agent = model::Agent { client, ..whole.clone() };
        stage.sts.world.put(FactKey::agent(&agent.name), &agent).await;
        let request = stage.sts.request(&key()).with("grant_type", RESUME).with("task", &task);
        let refused = stage.sts.send(request).await.map(drop).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidGrant, "{refused}");
    }
    assert_eq!(stage.sts.causes(2).await, ["task_of_client"; 2]);
}

#[tokio::test]
async fn oa_07_a_client_gives_up_what_it_has_by_showing_it() {
    let check = async |shows: fn(&TokenResponse) -> &str| {
        let stage = Stage::new().await;
        let (response, _) = stage.begun().await;
        let claims = stage.sts.verified(&response);
        let shown = shows(&response);
        let form = changed(&[("client_id", CLIENT), ("token", shown)], &[]);
        stage.sts.service.revoke(stage.http(&form, None)).await.expect("it is given up");
        assert!(matches!(stage.task(&claims).await.state, TaskState::Ended { .. }));
        let refused = stage.refresh(refresh_of(&response), &[], None).await;
        assert_eq!(code_of(refused), Some(ErrorCode::InvalidGrant));
    };
    check(|response| &response.access_token).await;
    check(refresh_of).await;
    let stage = Stage::new().await;
    let form = changed(&[("client_id", "https://x.example/c"), ("token", "t")], &[]);
    let refused = stage.sts.service.revoke(stage.http(&form, None)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidClient);
}

/// What is bound to a key ends by its holder, and by nobody who merely saw it.
#[tokio::test]
async fn oa_07_a_bound_token_is_given_up_with_a_proof() {
    let stage = Stage::of(false, Value::Null).await;
    let (code, own) = (stage.code().await, key());
    let response = stage.redeem(&code, &[], Some(&own)).await.expect("it is bound");
    let claims = stage.sts.verified(&response);
    let form = changed(&[("client_id", CLIENT), ("token", &response.access_token)], &[]);
    let revoke = async |key: Option<&SigningKey>| {
        let proof = key.map(|key| stage.sts.proof_at("/oauth/revoke", (key, &stage.sts.jti())));
        let answer = stage.sts.service.revoke(stage.http(&form, proof.as_deref())).await;
        answer.map_err(|error| error.code)
    };
    for other in [None, Some(&*key())] {
        assert_eq!(revoke(other).await, Err(ErrorCode::InvalidDpopProof));
    }
    assert_eq!(stage.task(&claims).await.state, TaskState::Open);
    assert_eq!(revoke(Some(&own)).await, Ok(()));
    assert!(matches!(stage.task(&claims).await.state, TaskState::Ended { .. }));
}

/// The agent whose client it is learns what a token is, and nobody else.
#[tokio::test]
async fn n_016_a_refresh_token_says_of_itself_whether_it_is_the_last() {
    let stage = Stage::new().await;
    let (first, _) = stage.begun().await;
    let second = stage.refresh(refresh_of(&first), &[], None).await.expect("the last one");
    assert_eq!(stage.introspected(refresh_of(&first)).await, json!({ "active": false }));
    let said = stage.introspected(refresh_of(&second)).await;
    assert_eq!((&said["active"], &said["token_type"]), (&json!(true), &json!("refresh_token")));
    let said = stage.introspected(&second.access_token).await;
    assert_eq!((&said["active"], &said["token_type"]), (&json!(true), &json!("Bearer")));
}

//! R2, R11: one token of a platform, one key; one workload, one agent.

use std::collections::BTreeSet;
use std::time::Duration;

use authority::{CounterKey, Effect, Signal, Unit};
use keys::SigningKey;
use model::{AgentName, Clock as _, FactKey, Finding, SHOWN, Task, TaskEnd, TaskState, Timestamp};
use oauth::token_endpoint::RESUME;
use oauth::{ErrorCode, OAuthError, client_assertion};
use serde_json::{Value, json};
use store::Store as _;
use sts::{SHOWN_OF_AGENT_MAX, TokenHttpRequest};

use crate::client::{Sts, key};
use crate::platforms::{ACCOUNT, CLUSTER, Platforms, WAYS, Way, rule};
use crate::support::{POLICY, until};
use crate::workloads::{instance, refused};

/// The state of a task that ended so.
fn ended(sts: &Sts, how: TaskEnd) -> TaskState {
    TaskState::Ended { how, reason: String::new(), since: sts.world.clock.now() }
}

async fn change_task(sts: &Sts, of: &str, change: impl FnOnce(&mut Task)) {
    let place = FactKey::task(instance(sts, of).await.task);
    let mut task: Task = sts.fact(place.clone()).await;
    change(&mut task);
    sts.world.put(place, &task).await;
}

async fn bound(sts: &Sts) -> usize {
    sts.world.store.list(SHOWN, None, 1_000).await.unwrap().facts.len()
}

/// The newest record of `event`.
async fn event(sts: &Sts, event: &str) -> Option<Value> {
    let all = sts.world.records("system").await;
    let found = all.into_iter().rfind(|entry| entry.text_of("event") == event);
    found.map(|entry| entry.value["details"].clone())
}

#[tokio::test]
async fn r_2_a_token_goes_over_once_its_holder_gave_its_task_up_and_both_are_named() {
    for how in [TaskEnd::Completed, TaskEnd::Failed, TaskEnd::Changed] {
        let platforms = Platforms::new().await;
        let (sts, own) = (&platforms.sts, key());
        let token = platforms.token(&platforms.claims(Way::Oidc));
        let request = |key: &SigningKey| platforms.request(key, Way::Oidc, &token);
        let first = sts.verified(&sts.send(request(&own)).await.unwrap());
        assert_eq!(event(sts, "workload_token_taken_over").await, None);
        let over = ended(sts, how);
        change_task(sts, &first.sub, |task| task.state = over).await;
        let next = sts.verified(&sts.send(request(&key())).await.unwrap());
        let told = event(sts, "workload_token_taken_over").await.expect("it is recorded");
        let named = [&told["held_by_instance"], &told["used_by_instance"]];
        assert_eq!(named, [&first.sub, &next.sub], "{how:?}");
        assert_eq!([&told["issuer"], &told["used_by_agent"]], [CLUSTER, "billing"]);
        assert_eq!(refused(&platforms, request(&key())).await, ErrorCode::InvalidGrant);
        // And is forgotten once it has ended.
        sts.service.forget_shown(sts.world.clock.now()).await.unwrap();
        assert_eq!(bound(sts).await, 1);
        sts.world.clock.advance(Duration::from_secs(601));
        sts.service.forget_shown(sts.world.clock.now()).await.unwrap();
        assert_eq!(bound(sts).await, 0);
    }
}

/// Whoever stole a token does not get at it because its holder was stopped.
#[tokio::test]
async fn r_2_a_task_that_was_taken_away_frees_no_token() {
    type Change = fn(&Sts, &mut Task);
    let changes: [(&str, Change); 3] = [
        ("open", |_, _| {}),
        ("revoked", |sts, task| task.state = ended(sts, TaskEnd::Revoked)),
        ("past its deadline", |sts, task| task.deadline = sts.world.clock.now()),
    ];
    for (what, change) in changes {
        let platforms = Platforms::new().await;
        let (sts, own) = (&platforms.sts, key());
        let token = platforms.token(&platforms.claims(Way::Oidc));
        let request = |key: &SigningKey| platforms.request(key, Way::Oidc, &token);
        let first = sts.verified(&sts.send(request(&own)).await.unwrap());
        change_task(sts, &first.sub, |task| change(sts, task)).await;
        assert_eq!(refused(&platforms, request(&key())).await, ErrorCode::InvalidGrant, "{what}");
        assert_eq!(sts.causes(1).await, ["workload_token_shared"], "{what}");
        assert_eq!(event(sts, "workload_token_taken_over").await, None, "{what}");
    }
    // Nor by giving up what is quarantined.
    let platforms = Platforms::new().await;
    let (sts, own) = (&platforms.sts, key());
    let token = platforms.token(&platforms.claims(Way::Oidc));
    let request = |key: &SigningKey| platforms.request(key, Way::Oidc, &token);
    let first = sts.verified(&sts.send(request(&own)).await.unwrap());
    quarantine(sts, &first.sub).await;
    let over = ended(sts, TaskEnd::Completed);
    change_task(sts, &first.sub, |task| task.state = over).await;
    assert_eq!(refused(&platforms, request(&key())).await, ErrorCode::InvalidGrant);
}

async fn quarantine(sts: &Sts, instance: &str) {
    let (instance, seen, uses) = (instance.parse().unwrap(), Vec::new(), Vec::new());
    let signal = Signal { instance, signal: "key_copied", seen, uses };
    sts.world.authority.quarantine(signal).await.unwrap();
}

#[tokio::test]
async fn a_quarantined_workload_sheds_nothing_under_another_name() {
    let platforms = Platforms::new().await;
    let (sts, second) = (&platforms.sts, key());
    sts.another_agent("second", &second).await;
    let fresh = |way: Way| platforms.token(&platforms.claims(way));
    let first = sts.verified(&sts.send(platforms.fresh(&key(), Way::Oidc)).await.unwrap());
    quarantine(sts, &first.sub).await;
    let own = key();
    let as_second = || sts.request_of(("second", &second), &own);
    let same = Way::Oidc.show(as_second(), &fresh(Way::Oidc));
    assert_eq!(refused(&platforms, same).await, ErrorCode::AccessDenied);
    // Another workload of that agent is none of it, and neither is one that nobody vouches for.
    sts.send(Way::Svid.show(as_second(), &fresh(Way::Svid))).await.unwrap();
    sts.send(sts.request_of(("second", &second), &key())).await.unwrap();
}

#[tokio::test]
async fn r_11_a_workload_of_two_agents_is_found() {
    let platforms = Platforms::new().await;
    let (sts, second) = (&platforms.sts, key());
    sts.another_agent("second", &second).await;
    let keeper = sts.world.authority.finding_keeper(None, Duration::from_mins(1)).await.unwrap();
    let keeping = tokio::spawn(keeper.run());
    let findings = async || sts.world.store.list("finding/", None, 10).await.unwrap().facts;
    let first = sts.verified(&sts.send(platforms.fresh(&key(), Way::Oidc)).await.unwrap());
    // Another instance of the same agent, and another workload of the other one.
    sts.send(platforms.fresh(&key(), Way::Oidc)).await.unwrap();
    let as_second = |way: Way| {
        let request = sts.request_of(("second", &second), &key());
        way.show(request, &platforms.token(&platforms.claims(way)))
    };
    sts.send(as_second(Way::Svid)).await.unwrap();
    sts.send(as_second(Way::Oidc)).await.unwrap();
    until("it is found", || async { !findings().await.is_empty() }).await;
    let found = findings().await;
    assert_eq!(found.len(), 1);
    let found: Finding = serde_json::from_slice(&found[0].1).unwrap();
    let stranger = found.stranger;
    assert_eq!(stranger.cause, "workload_of_two_agents");
    let agents = (stranger.proven.map(|it| it.to_string()), stranger.holder);
    assert_eq!(agents, (Some("second".to_owned()), Some("billing".to_owned())));
    let workload = instance(sts, &first.sub).await.workload.unwrap();
    assert_eq!(stranger.credential, Some(workload.id()));
    keeping.abort();
}

/// Policy that forbids it keeps a workload to the first agent that it enters for, and that one goes on.
#[tokio::test]
async fn r_11_policy_keeps_the_second_agent_from_the_workload() {
    let platforms = Platforms::new().await;
    let (sts, second) = (&platforms.sts, key());
    sts.another_agent("second", &second).await;
    let apart = r#"@id("workloads-apart") forbid (principal, action == Action::"token/issue", resource)
                   when { context.shared_workload };"#;
    sts.world.publish(&format!("{POLICY}{apart}")).await;
    let first = sts.verified(&sts.send(platforms.fresh(&key(), Way::Oidc)).await.unwrap());
    let as_second = |way: Way| {
        let request = sts.request_of(("second", &second), &key());
        way.show(request, &platforms.token(&platforms.claims(way)))
    };
    assert_eq!(refused(&platforms, as_second(Way::Oidc)).await, ErrorCode::AccessDenied);
    let denied = sts.world.records("decision").await.pop().expect("it is decided");
    assert_eq!(denied.value["policies"], json!(["workloads-apart"]));
    sts.send(as_second(Way::Svid)).await.expect("a workload of its own");
    sts.send(platforms.fresh(&key(), Way::Oidc)).await.expect("nobody else's it is");
    let workload = instance(sts, &first.sub).await.workload.expect("it has one");
    let agents: BTreeSet<AgentName> = sts.fact(FactKey::agents_of(&workload)).await;
    assert_eq!(agents, BTreeSet::from(["billing".parse().expect("an agent")]));
}

/// Asks at `path`, authenticated by `svid` and with a proof by `key`, if with one.
async fn ask(
    sts: &Sts,
    path: &str,
    (key, svid): (Option<&SigningKey>, &str),
    more: (&str, &str),
) -> Result<Value, OAuthError> {
    let form = oauth::form::form(&[
        ("client_id", "billing"),
        ("client_assertion_type", client_assertion::SPIFFE_TYPE),
        ("client_assertion", svid),
        more,
    ]);
    let proof = key.map(|key| sts.proof_at(path, (key, &sts.jti())));
    let (form, dpop) = (form.as_bytes(), proof.as_deref());
    let arrived = sts.world.clock.monotonic();
    let http = TokenHttpRequest { form, dpop, from: None, client: None, arrived };
    match path {
        "/oauth/par" => sts.service.push(http).await.map(|pushed| json!(pushed)),
        "/oauth/revoke" => sts.service.revoke(http).await.map(|()| Value::Null),
        _ => sts.service.introspect(http).await,
    }
}

/// What is asked for of a person.
fn pushed(sts: &Sts) -> String {
    let until = sts.world.clock.now().as_seconds() + 3_600;
    let purpose = &sts.world.standing.purpose.id;
    let task = json!({ "type": "agent_task", "purpose": purpose, "tools": ["crm/lookup"],
                       "until": until });
    json!([task]).to_string()
}

#[tokio::test]
async fn r_2_a_platforms_token_serves_one_key_at_every_endpoint() {
    for path in ["/oauth/par", "/oauth/introspect", "/oauth/revoke"] {
        let platforms = Platforms::new().await;
        let (sts, own, thief) = (&platforms.sts, key(), key());
        let svid = platforms.token(&platforms.claims(Way::Client));
        let response = sts.send(platforms.request(&own, Way::Client, &svid)).await.unwrap();
        let details = pushed(sts);
        let more = match path {
            "/oauth/par" => ("authorization_details", details.as_str()),
            _ => ("token", response.access_token.as_str()),
        };
        let code = |answer: Result<Value, OAuthError>| answer.unwrap_err().code;
        let unproved = ask(sts, path, (None, &svid), more).await;
        assert_eq!(code(unproved), ErrorCode::InvalidDpopProof, "{path}");
        let stolen = ask(sts, path, (Some(&thief), &svid), more).await;
        assert_eq!(code(stolen), ErrorCode::InvalidGrant, "{path}");
        assert_eq!(sts.causes(2).await, ["proof_invalid", "workload_token_shared"], "{path}");
        // Shown here first, it serves that key alone as well.
        let fresh = platforms.token(&platforms.claims(Way::Client));
        let mine = ask(sts, path, (Some(&own), &fresh), more).await.expect(path);
        if path == "/oauth/introspect" {
            assert_eq!(mine["active"], true);
        }
        if path != "/oauth/revoke" {
            let request = platforms.request(&thief, Way::Client, &fresh);
            assert_eq!(refused(&platforms, request).await, ErrorCode::InvalidGrant, "{path}");
        }
        let workload = instance(sts, &sts.verified(&response).sub).await.workload.unwrap();
        let recorded = match path {
            "/oauth/par" => event(sts, "consent_asked").await,
            "/oauth/revoke" => event(sts, "task_ended").await,
            _ => continue,
        };
        assert_eq!(recorded.expect(path)["workload"], json!(workload.id()), "{path}");
    }
}

/// Who authenticates by a JWT-SVID gives its tokens up by it, and learns of them.
#[tokio::test]
async fn a_workload_gives_up_its_own_token() {
    let platforms = Platforms::new().await;
    let (sts, own) = (&platforms.sts, key());
    let response = sts.send(platforms.fresh(&own, Way::Client)).await.unwrap();
    let svid = platforms.token(&platforms.claims(Way::Client));
    let token = ("token", response.access_token.as_str());
    let asked = async |path| ask(sts, path, (Some(&own), &svid), token).await.unwrap();
    assert_eq!(asked("/oauth/introspect").await["active"], true);
    asked("/oauth/revoke").await;
    assert_eq!(asked("/oauth/introspect").await["active"], false);
    let code = refused(&platforms, platforms.fresh(&own, Way::Client)).await;
    assert_eq!(code, ErrorCode::AccessDenied);
}

/// Whoever else an SVID is for could show it to us; beside the agent's key that is of no use to them.
#[tokio::test]
async fn n_003_an_svid_for_others_too_authenticates_nobody() {
    for (way, is_taken) in [(Way::Client, false), (Way::Svid, true)] {
        let platforms = Platforms::new().await;
        let mut claims = platforms.claims(way);
        claims["aud"].as_array_mut().unwrap().push(json!("https://other.example"));
        let sent = platforms.sts.send(platforms.request(&key(), way, &platforms.token(&claims)));
        let code = sent.await.map(drop).map_err(|error| error.code);
        assert_eq!(code, if is_taken { Ok(()) } else { Err(ErrorCode::InvalidClient) }, "{way:?}");
        if !is_taken {
            assert_eq!(platforms.sts.causes(1).await, ["client_unknown"]);
            assert_eq!(event(&platforms.sts, "client_unknown").await.unwrap()["code"], "audience");
        }
    }
}

/// What an administrator learns of a token that does not hold: why, and which it was.
#[tokio::test]
async fn a_refusal_names_the_token_and_why_it_does_not_hold() {
    for way in WAYS {
        let platforms = Platforms::new().await;
        let sts = &platforms.sts;
        let mut claims = platforms.claims(way);
        claims["exp"] = json!(sts.world.clock.now().as_seconds() - 31);
        claims["iat"] = json!(sts.world.clock.now().as_seconds() - 600);
        let token = platforms.token(&claims);
        refused(&platforms, platforms.request(&key(), way, &token)).await;
        let cause = sts.causes(1).await.remove(0);
        let told = event(sts, &cause).await.expect("it is told");
        let signed = token.rsplit_once('.').unwrap().0;
        let digest = model::Sha256Digest::of(signed.as_bytes());
        assert_eq!(told, json!({ "code": "expired", "token": digest }), "{way:?}");
    }
}

/// N-113: what is remembered of tokens has a bound for each agent, and is made room for.
#[tokio::test]
async fn n_113_a_full_table_of_shown_tokens_refuses() {
    let platforms = Platforms::admitting(vec![rule(CLUSTER, ACCOUNT, &[])]).await;
    let (sts, second) = (&platforms.sts, key());
    sts.another_agent("second", &second).await;
    let counter = CounterKey("agent/billing/shown".to_owned());
    let (amount, limit) = (SHOWN_OF_AGENT_MAX - 1, None);
    let effects = vec![Effect::Count { counter, amount, limit }];
    sts.world.store.commit(Unit { effects, ..Unit::default() }).await.unwrap();
    let own = key();
    let token = platforms.token(&platforms.claims(Way::Oidc));
    let first = sts.send(platforms.request(&own, Way::Oidc, &token)).await.unwrap();
    let code = refused(&platforms, platforms.fresh(&own, Way::Oidc)).await;
    assert_eq!(code, ErrorCode::TemporarilyUnavailable);
    assert_eq!(sts.causes(1).await, ["workload_tokens_full"]);
    // What is bound already serves on, and other agents have room of their own.
    sts.send(platforms.request(&own, Way::Oidc, &token)).await.unwrap();
    let other = sts.request_of(("second", &second), &key());
    let fresh = platforms.token(&platforms.claims(Way::Oidc));
    sts.send(Way::Oidc.show(other, &fresh)).await.unwrap();
    // Nor is a task taken over by who shows one more.
    sts.world.clock.advance(Duration::from_secs(601));
    let task = &first.authorization_details[0].task;
    let resumes = platforms.fresh(&key(), Way::Oidc).with("grant_type", RESUME);
    let code = refused(&platforms, resumes.with("task", task)).await;
    assert_eq!(code, ErrorCode::TemporarilyUnavailable);
    assert_eq!(sts.causes(2).await[1], "workload_tokens_full");
    // What has ended is forgotten, however much it is, and makes room.
    forget(sts, sts.world.clock.now()).await;
    sts.send(platforms.fresh(&own, Way::Oidc)).await.unwrap();
}

async fn forget(sts: &Sts, now: Timestamp) {
    sts.service.forget_shown(now).await.unwrap();
    assert_eq!(bound(sts).await, 0);
}

/// More than one look has room for.
#[tokio::test]
async fn n_113_all_that_ended_is_forgotten_at_once() {
    let platforms = Platforms::new().await;
    let (sts, own) = (&platforms.sts, key());
    for _ in 0..100 {
        sts.send(platforms.fresh(&own, Way::Oidc)).await.unwrap();
    }
    assert_eq!(bound(sts).await, 100);
    sts.world.clock.advance(Duration::from_secs(601));
    forget(sts, sts.world.clock.now()).await;
}

/// What was used before binds nothing.
#[tokio::test]
async fn n_142_a_used_proof_binds_no_token() {
    for way in WAYS {
        let platforms = Platforms::new().await;
        let (sts, own) = (&platforms.sts, key());
        let used = sts.request(&own).unchained();
        sts.send(used.clone()).await.unwrap();
        let replayed = way.show(used, &platforms.token(&platforms.claims(way)));
        // Of the agent's own assertion, it is told before that of the proof.
        let code = match way {
            Way::Client => ErrorCode::InvalidDpopProof,
            Way::Oidc | Way::Svid => ErrorCode::InvalidClient,
        };
        assert_eq!(refused(&platforms, replayed).await, code, "{way:?}");
        assert_eq!(bound(sts).await, 0, "{way:?}");
        assert!(sts.world.records("signal").await.is_empty(), "{way:?}");
    }
}

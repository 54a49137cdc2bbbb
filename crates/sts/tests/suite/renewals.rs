//! Renewal is a chain: a copied key is found, a lost answer is not mistaken for one.

use std::time::Duration;

use keys::SigningKey;
use model::{FactKey, HostProcess, HostRule, Instance, InstanceState, Stopped};
use oauth::ErrorCode;
use oauth::token_endpoint::{Next, TokenResponse};
use proptest::prelude::*;
use serde_json::json;

use crate::client::{Sts, key};

async fn instance(sts: &Sts, id: &str) -> Instance {
    sts.fact(FactKey::instance(id.parse().unwrap())).await
}

fn next(response: &TokenResponse) -> Next {
    response.next.clone().expect("a client that chains is told what comes next")
}

/// Each with a state of its own, as two holders of one key have.
async fn renewed(sts: &Sts, own: &SigningKey, from: &Next) -> Result<Next, ErrorCode> {
    let answer = sts.send(sts.request(own).following(from)).await;
    answer.map(|response| next(&response)).map_err(|error| error.code)
}

#[tokio::test]
async fn r_2_a_copied_key_quarantines_the_instance_and_both_sources_are_named() {
    let sts = Sts::new().await;
    let own = key();
    let response = sts.send(sts.request(&own).from("192.0.2.1")).await.unwrap();
    let (copy, first) = (next(&response), sts.verified(&response));
    // The holder goes on; who copied key, token and nonce comes second.
    let request = sts.request(&own).following(&copy).from("192.0.2.1");
    sts.send(request).await.unwrap();
    let error = sts.send(sts.request(&own).following(&copy).from("198.51.100.7")).await;
    assert_eq!(error.as_ref().unwrap_err().code, ErrorCode::InvalidGrant);
    let signal = sts.world.records("signal").await.pop().expect("it is recorded");
    assert!(error.unwrap_err().description.contains(signal.text_of("id")));
    assert_eq!((signal.text_of("signal"), signal.text_of("state")), ("key_copied", "quarantined"));
    assert_eq!(signal.value["instance"], json!(first.sub));
    assert_eq!(signal.text_of("mandate"), first.authorization_details[0].mandate);
    assert!(!signal.text.contains("192.0.2.1"), "an address is personal");
    let disclosure = sts.world.authority.journal().disclosure(signal.index).await.unwrap().unwrap();
    assert_eq!(disclosure.value("first"), Some(&json!({ "address": "192.0.2.1" })));
    assert_eq!(disclosure.value("second"), Some(&json!({ "address": "198.51.100.7" })));
    // Neither of the two goes on.
    let state = instance(&sts, &first.sub).await.state;
    assert!(matches!(state, InstanceState::Quarantined { .. }), "{state:?}");
    assert_eq!(sts.token(&own).await.unwrap_err().code, ErrorCode::AccessDenied);
    let decision = sts.world.records("decision").await.pop().unwrap();
    assert_eq!(decision.text_of("reason"), "instance_quarantined");
}

#[tokio::test]
async fn a_renewal_whose_answer_was_lost_is_asked_again_and_harms_nobody() {
    let sts = Sts::new().await;
    let own = key();
    // The first token too: nothing is named, but the attempt is the same.
    let attempt = "the-attempt-of-the-first-token";
    let lost = sts.send(sts.request(&own).with("attempt", attempt)).await.unwrap();
    let request = sts.request(&own).unchained().with("attempt", attempt);
    let first = sts.send(request).await.unwrap();
    assert_eq!(sts.verified(&first).sub, sts.verified(&lost).sub);
    assert_ne!(next(&first), next(&lost));
    let attempt = "the-attempt-of-the-second-one";
    for _ in 0..3 {
        let request = sts.request(&own).following(&next(&first)).with("attempt", attempt);
        sts.send(request).await.unwrap();
    }
    assert!(sts.token(&own).await.is_ok());
    assert!(sts.world.records("signal").await.is_empty());
    // Whoever knows the token before, but not the attempt, is somebody else.
    let again = renewed(&sts, &own, &next(&first)).await;
    assert_eq!(again, Err(ErrorCode::InvalidGrant));
    assert_eq!(sts.world.records("signal").await.len(), 1);
}

/// The key alone is not enough where its holder chains.
#[tokio::test]
async fn r_2_a_chained_key_without_its_chain_is_a_copied_one() {
    let sts = Sts::new().await;
    for wrong in 0..3 {
        let own = key();
        let good = next(&sts.send(sts.request(&own)).await.unwrap());
        let request = sts.request(&own);
        let request = match wrong {
            0 => request.unchained(),
            1 => request.with("renewal_nonce", "a-nonce-that-was-never-given"),
            _ => request.unchained().with("attempt", "an-attempt-of-somebody-else"),
        };
        let error = sts.send(request).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidGrant, "{wrong}: {error}");
        assert_eq!(renewed(&sts, &own, &good).await, Err(ErrorCode::AccessDenied));
        // The next one begins with a clean register.
        release_all(&sts).await;
    }
}

/// A request that was overheard is no copy of the key: it was used before.
#[tokio::test]
async fn n_142_a_replayed_renewal_quarantines_nobody() {
    let sts = Sts::new().await;
    let own = key();
    sts.token(&own).await.unwrap();
    let overheard = sts.request(&own);
    sts.send(overheard.clone()).await.unwrap();
    sts.token(&own).await.unwrap();
    let latest = sts.request(&own);
    let error = sts.send(overheard).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidClient);
    assert!(sts.world.records("signal").await.is_empty());
    assert!(sts.send(latest).await.is_ok(), "the holder goes on");
}

/// Who knows nothing of the chain has one token at a time.
#[tokio::test]
async fn a_client_that_does_not_chain_renews_in_the_last_minute() {
    let sts = Sts::new().await;
    let own = key();
    let first = sts.send(sts.request(&own).unchained()).await.unwrap();
    assert_eq!(first.next, None);
    sts.world.clock.advance(Duration::from_secs(239));
    let error = sts.send(sts.request(&own).unchained()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidGrant);
    assert_eq!(sts.causes(1).await, ["renewal_too_early"]);
    sts.world.clock.advance(Duration::from_secs(2));
    assert!(sts.send(sts.request(&own).unchained()).await.is_ok());
    // It does not become one that chains.
    assert_eq!(sts.send(sts.request(&own)).await.unwrap_err().code, ErrorCode::InvalidGrant);
    assert_eq!(sts.world.records("signal").await.len(), 1);
}

#[tokio::test]
async fn a_renewal_names_all_or_nothing() {
    let sts = Sts::new().await;
    let check = async |name: &'static str, value: &str| {
        let request = sts.request(&key()).with("previous_jti", "j").with("renewal_nonce", "n");
        let error = sts.send(request.with(name, value)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidRequest, "{name}={value}");
    };
    for name in ["previous_jti", "renewal_nonce", "attempt"] {
        check(name, "").await;
    }
    check("attempt", "easily-guessed").await;
    check("attempt", &"x".repeat(129)).await;
}

async fn release_all(sts: &Sts) {
    let agent = &sts.world.standing.agent.name;
    sts.world.put(FactKey::stopped(agent), &Stopped::default()).await;
}

/// Quarantine is not shed by a restart: a new key of the same agent starts in it.
#[tokio::test]
async fn a_new_instance_starts_as_the_one_before_was_stopped() {
    let sts = Sts::new().await;
    let (own, other) = (key(), key());
    let running = sts.token(&other).await.unwrap();
    let first = next(&sts.send(sts.request(&own)).await.unwrap());
    renewed(&sts, &own, &first).await.unwrap();
    renewed(&sts, &own, &first).await.unwrap_err();
    for _ in 0..2 {
        let error = sts.token(&key()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::AccessDenied);
        assert!(error.description.contains("quarantined"), "{error}");
    }
    // Another agent, and an instance that runs already, are not concerned.
    assert_eq!(sts.token(&other).await.unwrap().sub, running.sub);
    release_all(&sts).await;
    assert!(sts.token(&key()).await.is_ok());
}

fn process(uid: u32, pid: u32) -> HostProcess {
    HostProcess { exe: None, pid, started: 7, uid }
}

async fn vouched(sts: &Sts, own: &SigningKey, process: &HostProcess) -> (ErrorCode, String) {
    let thumbprint = model::Thumbprint::from_bytes(own.verifying().thumbprint());
    let voucher = sts.service.vouch(thumbprint, process.clone()).expect("there is room");
    let answer = sts.send(sts.request(own).with("voucher", &voucher)).await;
    match answer {
        Ok(response) => (ErrorCode::AccessDenied, sts.verified(&response).sub),
        Err(error) => (error.code, String::new()),
    }
}

async fn attested(uid: u32) -> Sts {
    Sts::with(|facts| facts.agent.host = Some(HostRule { exe: None, uid })).await
}

#[tokio::test]
async fn r_6_the_host_vouches_for_whom_the_agents_rule_admits() {
    let sts = attested(1_000).await;
    for (process, expected) in [(process(1_000, 5), "host"), (process(1_001, 6), "user")] {
        let (_, id) = vouched(&sts, &key(), &process).await;
        let entered = instance(&sts, &id).await;
        assert_eq!(entered.attestation.as_str(), expected);
        assert_eq!(entered.process, Some(process));
        for kind in ["decision", "issuance"] {
            let record = sts.world.records(kind).await.pop().unwrap();
            assert_eq!(record.text_of("attestation"), expected, "{kind}");
            assert_eq!(record.text_of("binding"), "dpop", "{kind}");
        }
    }
    // Without a rule there is no process that the host could vouch for.
    let sts = Sts::new().await;
    let (_, id) = vouched(&sts, &key(), &process(1_000, 5)).await;
    assert_eq!(instance(&sts, &id).await.attestation.as_str(), "user");
}

/// The rule is asked at each decision: whom it no longer admits is vouched for no longer.
#[tokio::test]
async fn r_20_a_rule_that_is_taken_back_counts_at_once() {
    let sts = attested(1_000).await;
    let own = key();
    let attestation = async || {
        vouched(&sts, &own, &process(1_000, 5)).await;
        sts.world.records("decision").await.pop().unwrap().text_of("attestation").to_owned()
    };
    assert_eq!(attestation().await, "host");
    let mut agent = sts.world.standing.agent.clone();
    agent.host = Some(HostRule { exe: None, uid: 1_001 });
    sts.world.put(FactKey::agent(&agent.name), &agent).await;
    assert_eq!(attestation().await, "user");
}

#[tokio::test]
async fn a_voucher_is_good_once_for_its_own_key_for_a_minute() {
    let sts = attested(1_000).await;
    let (own, other) = (key(), key());
    let thumbprint = model::Thumbprint::from_bytes(own.verifying().thumbprint());
    let vouch = || sts.service.vouch(thumbprint, process(1_000, 5)).expect("there is room");
    let refused = async |request| sts.send(request).await.unwrap_err().code;
    let voucher = vouch();
    let request = sts.request(&other).with("voucher", &voucher);
    assert_eq!(refused(request).await, ErrorCode::InvalidGrant);
    let request = sts.request(&own).with("voucher", &voucher);
    assert_eq!(refused(request).await, ErrorCode::InvalidGrant, "the wrong key used it up");
    let voucher = vouch();
    sts.world.clock.advance(Duration::from_mins(1));
    let request = sts.request(&own).with("voucher", &voucher);
    assert_eq!(refused(request).await, ErrorCode::InvalidGrant);
    let voucher = vouch();
    assert!(sts.send(sts.request(&own).with("voucher", &voucher)).await.is_ok());
    let request = sts.request(&own).with("voucher", &voucher);
    assert_eq!(refused(request).await, ErrorCode::InvalidGrant);
    // One user does not use up what all have.
    while sts.service.vouch(thumbprint, process(1_000, 5)).is_some() {}
    assert!(sts.service.vouch(thumbprint, process(1_001, 5)).is_some());
}

/// The key of an attested instance in another process is a copied one, even with its chain.
#[tokio::test]
async fn r_2_an_attested_key_in_another_process_is_a_copied_one() {
    let sts = attested(1_000).await;
    let own = key();
    let (_, id) = vouched(&sts, &own, &process(1_000, 5)).await;
    assert_eq!(sts.token(&own).await.unwrap_err().code, ErrorCode::InvalidGrant, "no voucher");
    assert_eq!(sts.causes(1).await, ["not_vouched"]);
    assert_eq!(vouched(&sts, &own, &process(1_000, 5)).await.1, id);
    assert_eq!(vouched(&sts, &own, &process(1_000, 6)).await.0, ErrorCode::InvalidGrant);
    let signal = sts.world.records("signal").await.pop().unwrap();
    let disclosure = sts.world.authority.journal().disclosure(signal.index).await.unwrap().unwrap();
    let pid = |member| disclosure.value(member).and_then(|it| it.pointer("/process/pid").cloned());
    assert_eq!((pid("first"), pid("second")), (Some(json!(5)), Some(json!(6))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Two who go on from one state, in whatever order: nobody is suspected before both have, and
    /// at the second one's first renewal it is found.
    #[test]
    fn r_2_the_second_to_go_on_from_one_token_is_always_found(
        before in 0_usize..3,
        turns in prop::collection::vec(any::<bool>(), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let sts = Sts::new().await;
            let own = key();
            let mut state = next(&sts.send(sts.request(&own)).await.unwrap());
            for _ in 0..before {
                state = renewed(&sts, &own, &state).await.unwrap();
            }
            let mut holders = [state.clone(), state];
            for (count, turn) in turns.iter().enumerate() {
                let has_other_gone_on = turns[..count].contains(&!turn);
                let own_state = &mut holders[usize::from(*turn)];
                match renewed(&sts, &own, own_state).await {
                    Ok(next) => {
                        assert!(!has_other_gone_on, "a second successor was given");
                        *own_state = next;
                    }
                    Err(code) => {
                        assert!(has_other_gone_on && code == ErrorCode::InvalidGrant);
                        break;
                    }
                }
            }
        });
        drop(runtime);
    }
}

/// Of many who go on from one token at once, one is given a successor; the key is stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_013_of_64_racers_for_one_successor_one_wins_and_the_key_is_stopped() {
    let sts = std::sync::Arc::new(Sts::new().await);
    let own = key();
    let first = sts.verified(&sts.send(sts.request(&own)).await.unwrap());
    let requests: Vec<_> = (0..64).map(|_| sts.request(&own)).collect();
    let asked = requests.into_iter().map(|request| {
        let sts = sts.clone();
        tokio::spawn(async move { sts.send(request).await.is_ok() })
    });
    let answers = futures::future::join_all(asked).await;
    let won = answers.into_iter().filter(|answer| *answer.as_ref().unwrap()).count();
    assert_eq!(won, 1, "each attempt is another one");
    let state = instance(&sts, &first.sub).await.state;
    assert!(matches!(state, InstanceState::Quarantined { .. }), "{state:?}");
}

//! R6, R20: an instance by the word of its platform, shown anew at each renewal.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{
    Agent, AgentState, Clock as _, FactKey, Finding, Forgets, Instance, InstanceState, Label,
    Memory, ProcessMemory, Sha256Digest, Task, WorkloadRule,
};
use oauth::ErrorCode;
use serde_json::{Value, json};
use store::Store as _;

use crate::client::{Request, Sts, key};
use crate::platforms::{ACCOUNT, CLUSTER, DOMAIN, Platforms, SVID, WAYS, Way, merged, rule};

pub(crate) async fn instance(sts: &Sts, id: &str) -> Instance {
    sts.fact(FactKey::instance(id.parse().expect("an instance"))).await
}

pub(crate) async fn disclosed(sts: &Sts, kind: &str, member: &str) -> Value {
    let record = sts.world.records(kind).await.pop().expect("it is recorded");
    let disclosure = sts.world.authority.journal().disclosure(record.index).await;
    let disclosure = disclosure.expect("it can be read").expect("it is there");
    disclosure.value(member).cloned().unwrap_or_default()
}

/// Says anew which workloads the agent may be.
pub(crate) async fn admit(sts: &Sts, rules: Vec<WorkloadRule>) {
    let mut agent: Agent = sts.fact(FactKey::agent(&sts.world.standing.agent.name)).await;
    agent.workloads = rules;
    sts.world.put(FactKey::agent(&agent.name), &agent).await;
}

pub(crate) async fn refused(platforms: &Platforms, request: Request) -> ErrorCode {
    platforms.sts.send(request).await.expect_err("it is refused").code
}

#[tokio::test]
async fn r_6_a_platform_vouches_for_the_workload_that_a_rule_admits() {
    for way in WAYS {
        let platforms = Platforms::new().await;
        let sts = &platforms.sts;
        let response = sts.send(platforms.fresh(&key(), way)).await.unwrap();
        let claims = sts.verified(&response);
        let entered = instance(sts, &claims.sub).await;
        let expected = match way {
            Way::Oidc => json!({
                "issuer": CLUSTER, "subject": ACCOUNT,
                "claims": { "kubernetes.io.namespace": "payments" },
            }),
            Way::Svid | Way::Client => json!({ "issuer": DOMAIN, "subject": SVID }),
        };
        assert_eq!(entered.attestation.as_str(), "workload", "{way:?}");
        assert_eq!(json!(entered.workload), expected, "{way:?}: what the rules ask for is kept");
        for kind in ["decision", "issuance"] {
            let record = sts.world.records(kind).await.pop().unwrap();
            assert_eq!(record.text_of("attestation"), "workload", "{way:?} {kind}");
            assert!(!record.text.contains("payments"), "{way:?} {kind}: it is committed to");
        }
        assert_eq!(disclosed(sts, "issuance", "source").await["workload"], expected, "{way:?}");
    }
}

/// A new task begins with what its workload has read, and without what was read under another mandate where the
/// technical owner answers for that.
#[tokio::test]
async fn a_task_that_is_opened_begins_with_what_its_agent_remembers() {
    for forgets in [false, true] {
        let platforms = Platforms::new().await;
        let sts = &platforms.sts;
        let mut agent: Agent = sts.fact(FactKey::agent(&sts.world.standing.agent.name)).await;
        let word = Forgets { by: agent.technical_owner.clone(), since: agent.registered };
        (agent.memory, agent.forgets) = (Memory::PerTask, Some(word).filter(|_| forgets));
        sts.world.put(FactKey::agent(&agent.name), &agent).await;
        let response = sts.send(platforms.fresh(&key(), Way::Oidc)).await.unwrap();
        let first = instance(sts, &sts.verified(&response).sub).await;
        let workload = first.workload.expect("it is one");
        let task: Task = sts.fact(FactKey::task(first.task)).await;
        for (label, mandate) in [("private", None), ("external", Some(task.mandate))] {
            let labels = BTreeSet::from([label.parse::<Label>().expect("a label")]);
            let known = ProcessMemory::default().with(task.id, &labels).expect("it is new");
            sts.world.put(FactKey::memory_of_workload(&workload, mandate), &known).await;
        }
        let response = sts.send(platforms.fresh(&key(), Way::Oidc)).await.unwrap();
        let later = instance(sts, &sts.verified(&response).sub).await;
        let session: Value = sts.fact(FactKey::session(later.task)).await;
        let all = if forgets { json!(["external"]) } else { json!(["external", "private"]) };
        assert_eq!(session["labels"], all);
    }
}

/// A request whose platform says something else is refused, in each way that it can be shown.
async fn check(changed: Value, beside: (ErrorCode, &str), client: &str) {
    for way in WAYS {
        let platforms = Platforms::new().await;
        let claims = merged(platforms.claims(way), &changed);
        let request = platforms.request(&key(), way, &platforms.token(&claims));
        let expected = match way {
            Way::Oidc | Way::Svid => beside,
            // To whom asks, every failure to authenticate looks the same.
            Way::Client => (ErrorCode::InvalidClient, client),
        };
        assert_eq!(refused(&platforms, request).await, expected.0, "{way:?} {changed}");
        assert_eq!(platforms.sts.causes(1).await, [expected.1], "{way:?} {changed}");
        assert!(platforms.sts.world.records("decision").await.is_empty());
    }
}

#[tokio::test]
async fn r_6_what_the_platform_does_not_say_of_us_now_is_refused() {
    let invalid = (ErrorCode::InvalidGrant, "workload_token_invalid");
    let now = testkit::ManualClock::new().now().as_seconds();
    for changed in [
        json!({ "aud": "https://other.example" }),
        json!({ "aud": null }),
        // Within the skew that verification allows for, and yet over.
        json!({ "iat": now - 600, "exp": now }),
        json!({ "iat": now - 600, "exp": now - 31 }),
        json!({ "iat": now + 31 }),
        json!({ "exp": now + 90_000 }),
        json!({ "events": {} }),
    ] {
        check(changed, invalid, "client_unknown").await;
    }
    let admitted = (ErrorCode::InvalidGrant, "workload_not_admitted");
    let other = json!({ "sub": "spiffe://example.org/ns/payments/sa/bot2" });
    check(other, admitted, "workload_not_admitted").await;
}

#[tokio::test]
async fn n_037_another_organisations_platform_vouches_for_nobody() {
    let platforms = Platforms::new().await;
    let by = async |claims: Value, way| {
        let request = platforms.request(&key(), way, &platforms.token(&claims));
        refused(&platforms, request).await
    };
    let issuer = merged(platforms.claims(Way::Oidc), &json!({ "iss": "https://evil.example" }));
    assert_eq!(by(issuer, Way::Oidc).await, ErrorCode::InvalidGrant);
    let domain = merged(platforms.claims(Way::Svid), &json!({ "sub": "spiffe://evil.org/bot" }));
    assert_eq!(by(domain.clone(), Way::Svid).await, ErrorCode::InvalidGrant);
    assert_eq!(by(domain, Way::Client).await, ErrorCode::InvalidClient);
    // One platform's word is no other's, whatever kind it is said to be.
    assert_eq!(by(platforms.claims(Way::Svid), Way::Oidc).await, ErrorCode::InvalidGrant);
    assert_eq!(by(platforms.claims(Way::Oidc), Way::Svid).await, ErrorCode::InvalidGrant);
    // A service that trusts no platform, and one whose agent has no rule.
    let sts = Sts::new().await;
    let none = sts.request(&key()).with("workload_token_type", "oidc");
    let none = none.with("workload_token", &platforms.token(&platforms.claims(Way::Oidc)));
    assert_eq!(sts.send(none).await.unwrap_err().code, ErrorCode::InvalidGrant);
    admit(&platforms.sts, Vec::new()).await;
    for way in WAYS {
        let code = refused(&platforms, platforms.fresh(&key(), way)).await;
        let expected = [ErrorCode::InvalidGrant, ErrorCode::InvalidClient];
        assert_eq!(code, expected[usize::from(way == Way::Client)], "{way:?}");
    }
}

/// By whose signature nothing holds, at the endpoint too.
#[tokio::test]
async fn n_020_a_workloads_token_is_its_platforms() {
    for way in WAYS {
        let platforms = Platforms::new().await;
        let good = platforms.token(&platforms.claims(way));
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let other = oauth::jws::sign("JWT", &platforms.claims(way), key().as_ref()).unwrap();
        let none = format!("{}.", signed.replacen("eyJhbGciOiJFUzI1NiI", "eyJhbGciOiJub25lIi", 1));
        let cut = format!("{signed}.{}", &signature[..signature.len() - 2]);
        for wrong in [other, none, cut, format!("{good} "), format!("{good}."), "x".repeat(9_000)] {
            let code = refused(&platforms, platforms.request(&key(), way, &wrong)).await;
            let expected = [ErrorCode::InvalidGrant, ErrorCode::InvalidClient];
            assert_eq!(code, expected[usize::from(way == Way::Client)], "{way:?} {wrong}");
        }
        platforms.sts.send(platforms.request(&key(), way, &good)).await.unwrap();
    }
}

/// The agent has to be one that may ask, by whomever it authenticates.
#[tokio::test]
async fn a_workload_is_no_agent_that_is_not_active() {
    let platforms = Platforms::new().await;
    let sts = &platforms.sts;
    let nobody = platforms.fresh(&key(), Way::Client).with("client_id", "nobody");
    assert_eq!(refused(&platforms, nobody).await, ErrorCode::InvalidClient);
    let unnamed = platforms.fresh(&key(), Way::Client).with("client_id", "");
    assert_eq!(refused(&platforms, unnamed).await, ErrorCode::InvalidRequest);
    let mut agent = sts.world.standing.agent.clone();
    agent.state = AgentState::Retired { since: sts.world.clock.now() };
    sts.world.put(FactKey::agent(&agent.name), &agent).await;
    for way in WAYS {
        let code = refused(&platforms, platforms.fresh(&key(), way)).await;
        assert_eq!(code, ErrorCode::InvalidClient, "{way:?}");
    }
}

#[tokio::test]
async fn r_20_an_attested_instance_is_attested_again_at_each_renewal() {
    for way in WAYS {
        let platforms = Platforms::new().await;
        let (sts, own) = (&platforms.sts, key());
        let first = sts.verified(&sts.send(platforms.fresh(&own, way)).await.unwrap());
        let again = sts.verified(&sts.send(platforms.fresh(&own, way)).await.unwrap());
        assert_eq!(again.sub, first.sub);
        // Nothing shown: the agent's key alone is not enough any more.
        assert_eq!(refused(&platforms, sts.request(&own)).await, ErrorCode::InvalidGrant);
        assert_eq!(sts.causes(1).await, ["not_vouched"], "{way:?}");
        assert!(sts.world.records("signal").await.is_empty(), "{way:?}");
        let next = sts.verified(&sts.send(platforms.fresh(&own, way)).await.unwrap());
        assert_eq!(next.sub, first.sub);
    }
}

/// The key of an instance with another workload is a copied one, even with its chain.
#[tokio::test]
async fn r_2_an_attested_key_in_another_workload_is_a_copied_one() {
    let other = "system:serviceaccount:payments:other";
    for admitted in [true, false] {
        let mut rules = vec![rule(CLUSTER, ACCOUNT, &[])];
        rules.extend(admitted.then(|| rule(CLUSTER, other, &[])));
        let platforms = Platforms::admitting(rules).await;
        let (sts, own) = (&platforms.sts, key());
        let first = sts.verified(&sts.send(platforms.fresh(&own, Way::Oidc)).await.unwrap());
        let claims = merged(platforms.claims(Way::Oidc), &json!({ "sub": other }));
        let copy = platforms.request(&own, Way::Oidc, &platforms.token(&claims));
        assert_eq!(refused(&platforms, copy).await, ErrorCode::InvalidGrant);
        let subject =
            async |member| disclosed(sts, "signal", member).await["workload"]["subject"].clone();
        assert_eq!([subject("first").await, subject("second").await], [ACCOUNT, other]);
        let state = instance(sts, &first.sub).await.state;
        assert!(matches!(state, InstanceState::Quarantined { .. }), "{state:?}");
        let code = refused(&platforms, platforms.fresh(&own, Way::Oidc)).await;
        assert_eq!(code, ErrorCode::AccessDenied);
    }
}

#[tokio::test]
async fn r_20_what_the_platform_says_anew_is_recorded_and_decided_on() {
    let on = |stage: &str| rule(CLUSTER, ACCOUNT, &[("stage", stage)]);
    let platforms = Platforms::admitting(vec![on("test"), on("live")]).await;
    let (sts, own) = (&platforms.sts, key());
    let shown = |stage: &str| {
        let claims = merged(platforms.claims(Way::Oidc), &json!({ "stage": stage }));
        platforms.request(&own, Way::Oidc, &platforms.token(&claims))
    };
    let first = sts.verified(&sts.send(shown("test")).await.unwrap());
    sts.send(shown("test")).await.unwrap();
    assert!(sts.world.records("signal").await.is_empty(), "nothing has changed");
    sts.send(shown("live")).await.unwrap();
    let signal = sts.world.records("signal").await.pop().unwrap();
    let what = (signal.text_of("signal"), signal.text_of("state"));
    assert_eq!(what, ("workload_changed", "attested"));
    assert_eq!(signal.value["instance"], json!(first.sub));
    let stage = async |member| disclosed(sts, "signal", member).await["claims"]["stage"].clone();
    assert_eq!([stage("first").await, stage("second").await], ["test", "live"]);
    let entered = instance(sts, &first.sub).await;
    assert_eq!(entered.workload.unwrap().claims["stage"], "live");
    // What is admitted no longer is refused, and nobody is stopped for it.
    assert_eq!(refused(&platforms, shown("else")).await, ErrorCode::InvalidGrant);
    assert_eq!(sts.causes(1).await, ["workload_not_admitted"]);
    assert_eq!(instance(sts, &first.sub).await.state, InstanceState::Active);
    sts.send(shown("live")).await.unwrap();
}

/// The rules are asked at each decision, and whom they no longer admit nobody vouches for.
#[tokio::test]
async fn r_20_rules_that_change_count_at_once() {
    let platforms = Platforms::admitting(vec![rule(CLUSTER, ACCOUNT, &[])]).await;
    let (sts, own) = (&platforms.sts, key());
    let first = sts.verified(&sts.send(platforms.fresh(&own, Way::Oidc)).await.unwrap());
    let attestation = async || {
        let id = first.sub.parse().unwrap();
        let standing = sts.world.authority.pip().standing(id).await.unwrap();
        standing.value.attestation().as_str()
    };
    assert_eq!(attestation().await, "workload");
    let named = |pod: &str| rule(CLUSTER, ACCOUNT, &[("kubernetes.io.pod.name", pod)]);
    admit(sts, vec![named("bot-8")]).await;
    assert_eq!(attestation().await, "user");
    assert_eq!(
        refused(&platforms, platforms.fresh(&own, Way::Oidc)).await,
        ErrorCode::InvalidGrant
    );
    // What the new rules ask for is known once it is shown, and then decided on.
    admit(sts, vec![named("bot-7")]).await;
    assert_eq!(attestation().await, "user");
    sts.send(platforms.fresh(&own, Way::Oidc)).await.unwrap();
    assert_eq!(attestation().await, "workload");
    let decision = sts.world.records("decision").await.pop().unwrap();
    assert_eq!(decision.text_of("attestation"), "workload");
}

/// Nobody is more by a platform's word than when it was entered.
#[tokio::test]
async fn an_instance_that_its_platform_did_not_enter_stays_what_it_is() {
    let platforms = Platforms::new().await;
    let (sts, own) = (&platforms.sts, key());
    let first = sts.token(&own).await.unwrap();
    sts.send(platforms.fresh(&own, Way::Oidc)).await.unwrap();
    let entered = instance(sts, &first.sub).await;
    assert_eq!((entered.attestation.as_str(), entered.workload), ("user", None));
    let decision = sts.world.records("decision").await.pop().unwrap();
    assert_eq!(decision.text_of("attestation"), "user");
}

#[tokio::test]
async fn r_2_one_token_of_a_platform_serves_one_key() {
    for way in WAYS {
        let platforms = Platforms::new().await;
        let (sts, own, other) = (&platforms.sts, key(), key());
        let token = platforms.token(&platforms.claims(way));
        let first = sts.verified(&sts.send(platforms.request(&own, way, &token)).await.unwrap());
        // Its own instance may show it as often as it likes.
        sts.send(platforms.request(&own, way, &token)).await.unwrap();
        let keeper =
            sts.world.authority.finding_keeper(None, Duration::from_mins(1)).await.unwrap();
        for shown in [token.clone(), other_signature(&token)] {
            let request = platforms.request(&other, way, &shown).from("192.0.2.9");
            assert_eq!(refused(&platforms, request).await, ErrorCode::InvalidGrant, "{way:?}");
        }
        assert_eq!(sts.causes(2).await, ["workload_token_shared"; 2], "{way:?}");
        let event = &sts.world.records("system").await[0];
        assert_eq!(event.text_of("event"), "workload_token_shared");
        let details = &event.value["details"];
        assert_eq!(
            [&details["held_by_instance"], &details["used_by_agent"]],
            [first.sub.as_str(), "billing"]
        );
        sts.world.keeps(keeper, 1).await;
        let found = sts.world.store.list("finding/", None, 10).await.unwrap().facts;
        let found: Finding = serde_json::from_slice(&found[0].1).unwrap();
        assert_eq!(found.stranger.cause, "workload_token_shared");
        let digest = Sha256Digest::of(token.rsplit_once('.').unwrap().0.as_bytes());
        assert_eq!(found.stranger.credential, Some(digest), "{way:?}");
        assert_eq!(details["token"], json!(digest), "{way:?}");
        let entered = instance(sts, &first.sub).await.workload.unwrap();
        assert_eq!(
            [&details["issuer"], &details["workload"]],
            [&json!(entered.issuer), &json!(entered.id())]
        );
        // With a fresh one, there is another instance.
        let second = sts.verified(&sts.send(platforms.fresh(&other, way)).await.unwrap());
        assert_ne!(second.sub, first.sub);
    }
}

/// The same token with the other signature that verifies: (r, n - s) beside (r, s).
fn other_signature(token: &str) -> String {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = keys::from_base64url(signature).unwrap();
    let mut borrow = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER).rev() {
        let less = i16::from(order) - i16::from(*byte) - borrow;
        borrow = i16::from(less < 0);
        *byte = u8::try_from(less.rem_euclid(256)).unwrap();
    }
    let other = format!("{signed}.{}", keys::base64url(&signature));
    assert_ne!(other, token);
    other
}

/// Who has another agent's token cannot take it away by showing it.
#[tokio::test]
async fn a_token_that_no_rule_admits_is_bound_to_nobody() {
    let platforms = Platforms::admitting(vec![rule(CLUSTER, ACCOUNT, &[])]).await;
    let (sts, second) = (&platforms.sts, key());
    sts.another_agent("second", &second).await;
    admit(sts, vec![rule(DOMAIN, SVID, &[])]).await;
    let token = platforms.token(&platforms.claims(Way::Oidc));
    let stolen = platforms.request(&key(), Way::Oidc, &token);
    assert_eq!(refused(&platforms, stolen).await, ErrorCode::InvalidGrant);
    assert_eq!(sts.causes(1).await, ["workload_not_admitted"]);
    let its_own = sts.request_of(("second", &second), &key()).with("workload_token", &token);
    sts.send(its_own.with("workload_token_type", "oidc")).await.unwrap();
}

/// Whoever races with one token of a platform, each with a key of its own: one has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_2_of_16_racers_with_one_token_of_a_platform_one_wins() {
    let platforms = std::sync::Arc::new(Platforms::new().await);
    let token = platforms.token(&platforms.claims(Way::Client));
    let asked = (0..16).map(|_| {
        let (platforms, token) = (platforms.clone(), token.clone());
        let request = platforms.request(&key(), Way::Client, &token);
        tokio::spawn(async move { platforms.sts.send(request).await.is_ok() })
    });
    let won = futures::future::join_all(asked).await;
    assert_eq!(won.iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
}

#[tokio::test]
async fn what_is_given_ends_with_the_word_that_it_rests_on() {
    for way in WAYS {
        let platforms = Platforms::new().await;
        let sts = &platforms.sts;
        let now = sts.world.clock.now().as_seconds();
        let claims = merged(platforms.claims(way), &json!({ "exp": now + 40 }));
        let request = platforms.request(&key(), way, &platforms.token(&claims));
        let response = sts.send(request).await.unwrap();
        assert_eq!((response.expires_in, sts.verified(&response).exp), (40, now + 40), "{way:?}");
    }
}

/// What is answered where a platform's keys cannot be had. Whoever did not authenticate does not learn
/// whose are asked for.
fn without_keys(way: Way) -> ErrorCode {
    match way {
        Way::Oidc | Way::Svid => ErrorCode::TemporarilyUnavailable,
        Way::Client => ErrorCode::InvalidClient,
    }
}

/// The failure table: known keys count until their bound, then nobody is vouched for.
#[tokio::test]
async fn with_the_platforms_keys_gone_known_ones_count_until_their_bound() {
    for way in WAYS {
        let platforms = Platforms::new().await;
        let (sts, own) = (&platforms.sts, key());
        sts.send(platforms.fresh(&own, way)).await.unwrap();
        platforms.withdraw();
        sts.world.clock.advance(Duration::from_hours(1));
        sts.send(platforms.fresh(&own, way)).await.unwrap();
        sts.world.clock.advance(Duration::from_secs(1));
        let code = refused(&platforms, platforms.fresh(&own, way)).await;
        assert_eq!(code, without_keys(way), "{way:?}");
        assert_eq!(sts.causes(1).await, ["workload_keys_unavailable"], "{way:?}");
        platforms.publish();
        sts.world.clock.advance(Duration::from_secs(10));
        sts.send(platforms.fresh(&own, way)).await.unwrap();
    }
}

/// Keys that do not come are waited for as long as leaves time to say so.
#[tokio::test]
async fn i_17_keys_that_do_not_come_hold_nobody_up() {
    let platforms = Platforms::new().await;
    let _silent = std::os::unix::net::UnixListener::bind(platforms.folder().join("silent.sock"));
    let of = json!({ "sub": "spiffe://silent.org/bot" });
    for way in [Way::Svid, Way::Client] {
        let claims = merged(platforms.claims(way), &of);
        let request = platforms.request(&key(), way, &platforms.token(&claims));
        assert_eq!(refused(&platforms, request).await, without_keys(way), "{way:?}");
    }
    assert_eq!(platforms.sts.causes(2).await, ["workload_keys_unavailable"; 2]);
    // Others are answered meanwhile, and after.
    platforms.sts.send(platforms.fresh(&key(), Way::Client)).await.unwrap();
}

/// A client that finds us knows whether it may come with a JWT-SVID.
#[tokio::test]
async fn the_metadata_say_whether_workloads_authenticate() {
    let methods =
        |sts: &Sts| sts.service.metadata()["token_endpoint_auth_methods_supported"].clone();
    assert_eq!(methods(&Sts::new().await), json!(["private_key_jwt"]));
    let platforms = Platforms::new().await;
    assert_eq!(methods(&platforms.sts), json!(["private_key_jwt", "spiffe_jwt"]));
}

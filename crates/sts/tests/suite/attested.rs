//! R6, R20: who hands work on, and what a platform says anew.

use std::time::Duration;

use model::{Agent, Clock as _, FactKey, InstanceState};
use oauth::ErrorCode;
use serde_json::json;

use crate::client::{Request, key};
use crate::delegation::{Holder, Party, calls, delegates, hands_over, part, party, takes_up};
use crate::platforms::{ACCOUNT, CLUSTER, DOMAIN, Platforms, SVID, WAYS, Way, merged, rule};
use crate::support::POLICY;
use crate::workloads::{admit, disclosed, instance, refused};

/// Nothing may be called by who is not attested.
const ATTESTED: &str = r#"
    @id("attested")
    forbid (principal, action in Action::"tools/call", resource)
    when { ["none", "user"].contains(context.attestation) };
"#;

/// A deployment with an instance of `billing` that shows a token in this way, if in one, and another
/// agent with the same rules.
async fn stage(way: Option<Way>) -> (Platforms, Holder, Party) {
    let platforms = Platforms::new().await;
    let sts = &platforms.sts;
    sts.world.publish(&format!("{POLICY}{ATTESTED}")).await;
    let worker = party(sts, "worker").await;
    let own = key();
    let request = way.map_or_else(|| sts.request(&own), |way| platforms.fresh(&own, way));
    let token = sts.send(request).await.expect("a token");
    let lead = Holder::given(sts, (Party::own(sts), own), token);
    (platforms, lead, worker)
}

/// `request`, with a fresh token of the platform if in some way.
fn fresh(platforms: &Platforms, request: Request, way: Option<Way>) -> Request {
    match way {
        Some(way) => way.show(request, &platforms.token(&platforms.claims(way))),
        None => request,
    }
}

/// What `lead` hands on, attested in this way, to an attested instance of `worker`.
async fn handed_on(
    (platforms, lead, worker): &(Platforms, Holder, Party),
    way: Option<Way>,
) -> Holder {
    let (sts, own) = (&platforms.sts, key());
    let asked = fresh(platforms, delegates(sts, lead, (worker, &own), &part(sts)), way);
    let delegation = sts.send(asked).await.expect("a delegation");
    let asked = fresh(platforms, takes_up(sts, (worker, &own), &delegation), Some(Way::Oidc));
    let token = sts.send(asked).await.expect("a token");
    Holder::given(sts, (worker.clone(), own), token)
}

#[tokio::test]
async fn r_6_a_part_is_attested_no_better_than_whoever_handed_it_on() {
    let forbidden = Err("forbidden".to_owned());
    for (way, expected) in [(None, "user"), (Some(Way::Oidc), "workload")] {
        let stage = stage(way).await;
        let sts = &stage.0.sts;
        let worker = handed_on(&stage, way).await;
        let entered = instance(sts, worker.claims.instance()).await;
        assert_eq!(entered.attestation.as_str(), "workload", "{way:?}: it is attested itself");
        let attested = async |kind| {
            let record = sts.world.records(kind).await.pop().unwrap();
            record.text_of("attestation").to_owned()
        };
        assert_eq!(attested("issuance").await, expected, "{way:?}");
        let called = calls(sts, &worker, "lookup").await;
        assert_eq!(called.is_ok(), way.is_some(), "{way:?}: {called:?}");
        assert_eq!(attested("decision").await, expected, "{way:?}");
        // Whoever handed it on is asked for at each decision, by its own agent's rules.
        admit(sts, Vec::new()).await;
        assert_eq!(calls(sts, &worker, "lookup").await, forbidden, "{way:?}");
        assert_eq!(attested("decision").await, "user", "{way:?}");
    }
}

/// Who hands a part of its task on shows what it shows to renew, in both ways.
#[tokio::test]
async fn r_20_who_hands_on_is_attested_as_who_renews() {
    for is_delegation in [true, false] {
        for way in [Way::Oidc, Way::Svid, Way::Client] {
            let (platforms, lead, worker) = stage(Some(way)).await;
            let (sts, own) = (&platforms.sts, key());
            let hands_on = || {
                let by = if is_delegation { delegates } else { hands_over };
                by(sts, &lead, (&worker, &own), &part(sts))
            };
            assert_eq!(refused(&platforms, hands_on()).await, ErrorCode::InvalidGrant);
            assert_eq!(sts.causes(1).await, ["not_vouched"], "{way:?} {is_delegation}");
            sts.send(fresh(&platforms, hands_on(), Some(way))).await.expect("it is handed on");
            let decisions = sts.world.records("decision").await;
            let handing = decisions.iter().find(|it| it.text_of("action") == "delegate").unwrap();
            let source = sts.world.disclosure(handing).await.value("source").cloned().unwrap();
            let known = instance(sts, lead.claims.instance()).await.workload;
            assert_eq!(source["workload"], json!(known), "{way:?} {is_delegation}");
        }
    }
}

/// A copied key is found where it hands on, as where it renews.
#[tokio::test]
async fn r_2_a_copied_key_that_hands_on_is_found() {
    let (platforms, lead, worker) = stage(Some(Way::Oidc)).await;
    let (sts, own) = (&platforms.sts, key());
    let other = json!({ "sub": "system:serviceaccount:payments:other" });
    let token = platforms.token(&merged(platforms.claims(Way::Oidc), &other));
    let copy = delegates(sts, &lead, (&worker, &own), &part(sts));
    assert_eq!(refused(&platforms, Way::Oidc.show(copy, &token)).await, ErrorCode::InvalidGrant);
    let state = instance(sts, lead.claims.instance()).await.state;
    assert!(matches!(state, InstanceState::Quarantined { .. }), "{state:?}");
    let quarantined = "instance_quarantined".to_owned();
    assert_eq!(calls(sts, &lead, "lookup").await, Err(quarantined));
}

/// A rule that asks for a claim whatever its value pins what nobody can know before.
#[tokio::test]
async fn r_20_a_claim_of_any_value_is_kept_and_its_change_is_seen() {
    let uid = "kubernetes.io.pod.uid";
    let platforms = Platforms::admitting(vec![rule(CLUSTER, ACCOUNT, &[(uid, "*")])]).await;
    let (sts, own) = (&platforms.sts, key());
    let shown = |pod: serde_json::Value| {
        let said = json!({ "kubernetes.io": { "namespace": "payments", "pod": pod } });
        let claims = merged(platforms.claims(Way::Oidc), &said);
        platforms.request(&own, Way::Oidc, &platforms.token(&claims))
    };
    let first = sts.verified(&sts.send(shown(json!({ "uid": "a-1" }))).await.unwrap());
    assert_eq!(instance(sts, &first.sub).await.workload.unwrap().claims[uid], "a-1");
    sts.send(shown(json!({ "uid": "a-1" }))).await.unwrap();
    assert!(sts.world.records("signal").await.is_empty(), "nothing has changed");
    sts.send(shown(json!({ "uid": "b-2" }))).await.unwrap();
    let signal = sts.world.records("signal").await.pop().unwrap();
    assert_eq!(signal.text_of("signal"), "workload_changed");
    let said = async |member| disclosed(sts, "signal", member).await["claims"][uid].clone();
    assert_eq!([said("first").await, said("second").await], ["a-1", "b-2"]);
    assert_eq!(instance(sts, &first.sub).await.workload.unwrap().claims[uid], "b-2");
    // It has to be there.
    assert_eq!(refused(&platforms, shown(json!({ "name": "b" }))).await, ErrorCode::InvalidGrant);
    assert_eq!(sts.causes(1).await, ["workload_not_admitted"]);
}

/// What of an agent may change while an instance of it runs.
#[derive(Clone, Copy, Debug)]
enum Fact {
    /// What the platform's token says by this claim.
    Claim(&'static str),
    /// Who answers for it, as the register says.
    Owner,
}

/// Each that R20 names (`docs/workload-identity.md`).
const FACTS: [(&str, Fact); 4] = [
    ("image", Fact::Claim("image")),
    ("model", Fact::Claim("model")),
    ("tool set", Fact::Claim("tools")),
    ("owner", Fact::Owner),
];

/// An instance goes on by another `claim`: where any value is admitted, that is on record before the decision anew;
/// where one is prescribed, nobody vouches for another from the next act on, and it is not renewed.
async fn claim_changes((what, claim): (&str, &str), way: Way) {
    let (issuer, subject) = match way {
        Way::Oidc => (CLUSTER, ACCOUNT),
        Way::Svid | Way::Client => (DOMAIN, SVID),
    };
    let asking_for = |value: &str| vec![rule(issuer, subject, &[(claim, value)])];
    let platforms = Platforms::admitting(asking_for("*")).await;
    let (sts, own) = (&platforms.sts, key());
    sts.world.publish(&format!("{POLICY}{ATTESTED}")).await;
    let shown = |value: &str| {
        let claims = merged(platforms.claims(way), &json!({ claim: value }));
        platforms.request(&own, way, &platforms.token(&claims))
    };
    let token = sts.send(shown("one")).await.expect("any value is admitted");
    let holder = Holder::given(sts, (Party::own(sts), own.clone()), token);
    assert_eq!(calls(sts, &holder, "lookup").await, Ok(()), "{what} {way:?}");

    sts.send(shown("two")).await.expect("any value is admitted");
    let log = sts.world.log().await;
    let last = |kind: &str| log.iter().rfind(|entry| entry.is(kind)).expect("it is recorded");
    let (signal, decision) = (last("signal"), last("decision"));
    assert_eq!(signal.text_of("signal"), "workload_changed", "{what} {way:?}");
    assert_eq!(decision.text_of("action"), "token/issue", "{what} {way:?}");
    assert!(signal.index < decision.index, "{what} {way:?}: it was not decided on what changed");
    let said = async |member| disclosed(sts, "signal", member).await["claims"][claim].clone();
    assert_eq!([said("first").await, said("second").await], ["one", "two"], "{what} {way:?}");

    admit(sts, asking_for("three")).await;
    let called = calls(sts, &holder, "lookup").await;
    assert_eq!(called, Err("forbidden".to_owned()), "{what} {way:?}");
    let expected = match way {
        Way::Oidc | Way::Svid => ErrorCode::InvalidGrant,
        Way::Client => ErrorCode::InvalidClient,
    };
    assert_eq!(refused(&platforms, shown("two")).await, expected, "{what} {way:?}");
    assert_eq!(sts.causes(1).await, ["workload_not_admitted"], "{what} {way:?}");
    sts.send(shown("three")).await.expect("it is what is prescribed");
    assert_eq!(calls(sts, &holder, "lookup").await, Ok(()), "{what} {way:?}");
}

/// Another person takes the agent over: what it was given before is over, and is not renewed.
async fn owner_changes() {
    let (platforms, lead, _) = stage(Some(Way::Oidc)).await;
    let sts = &platforms.sts;
    assert_eq!(calls(sts, &lead, "lookup").await, Ok(()));
    sts.world.clock.advance(Duration::from_secs(1));
    let place = FactKey::agent(&sts.world.standing.agent.name);
    let mut agent: Agent = sts.fact(place.clone()).await;
    agent.sponsor = sts.world.standing.other.id.clone();
    agent.registered = sts.world.clock.now();
    sts.world.put(place, &agent).await;
    assert_eq!(calls(sts, &lead, "lookup").await, Err("taken_over".to_owned()));
    let renewal = platforms.fresh(&lead.key, Way::Oidc);
    assert_eq!(refused(&platforms, renewal).await, ErrorCode::AccessDenied);
    let decision = sts.world.records("decision").await.pop().unwrap();
    let told = (decision.text_of("action"), decision.text_of("reason"));
    assert_eq!(told, ("token/issue", "taken_over"));
}

/// Image, model, tool set or owner of an instance that runs becomes another: it is decided anew, on record.
#[tokio::test]
async fn r_20_an_image_model_tool_set_or_owner_that_changes_reopens_the_decision() {
    for (what, fact) in FACTS {
        match fact {
            Fact::Claim(claim) => {
                for way in WAYS {
                    claim_changes((what, claim), way).await;
                }
            }
            Fact::Owner => owner_changes().await,
        }
    }
}

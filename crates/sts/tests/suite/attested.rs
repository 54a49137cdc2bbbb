//! R6: work that is handed on.

use crate::client::{Request, key};
use crate::delegation::{Holder, Party, calls, delegates, part, party, takes_up};
use crate::platforms::{Platforms, Way};
use crate::support::POLICY;
use crate::workloads::{admit, instance};

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
    let of = Party { name: "billing".to_owned(), key: sts.agent_key.clone() };
    let own = key();
    let request = way.map_or_else(|| sts.request(&own), |way| platforms.fresh(&own, way));
    let token = sts.send(request).await.expect("a token");
    let claims = sts.verified(&token);
    let lead = Holder { of, key: own, token: token.access_token, claims };
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
    let claims = sts.verified(&token);
    Holder { of: worker.clone(), key: own, token: token.access_token, claims }
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

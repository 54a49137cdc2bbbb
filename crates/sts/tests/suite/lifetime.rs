//! A token never outlives what it rests on.

use std::time::Duration;

use model::Clock as _;
use proptest::prelude::*;
use store::Store as _;

use crate::client::{Sts, key};

/// Claims of a token, or none, for what ends after so many milliseconds.
async fn issued(ends: [u64; 3]) -> (Sts, Option<(i64, i64)>) {
    let [mandate, agent_key, lease] = ends.map(Duration::from_millis);
    let sts = Sts::with(|facts| {
        let now = facts.task.opened;
        facts.mandate.valid_until = now.plus(mandate);
        facts.agent.key_expires = now.plus(agent_key);
        facts.agent.valid_until = Some(now.plus(lease));
    })
    .await;
    let token = sts.token(&key()).await.ok().map(|claims| (claims.iat, claims.exp));
    (sts, token)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn r_3_a_token_ends_with_its_task_its_mandate_its_agents_key_and_lease(
        ends in prop::array::uniform3(prop_oneof![0_u64..5_000, 0_u64..600_000]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (sts, token) = runtime.block_on(issued(ends));
        let first = ends.into_iter().min().unwrap();
        match token {
            Some((iat, exp)) => {
                let start = sts.world.clock.now().as_millis();
                prop_assert!(exp - iat <= 300);
                prop_assert!(exp > iat);
                prop_assert!(exp * 1_000 <= start + i64::try_from(first).unwrap());
            }
            None => prop_assert!(first < 1_000, "there was time for a token"),
        }
        drop(runtime);
    }
}

#[tokio::test]
async fn r_3_a_token_lasts_five_minutes_and_ends_with_the_task() {
    let sts = Sts::new().await;
    let own = key();
    let response = sts.send(sts.request(&own)).await.unwrap();
    assert_eq!(response.expires_in, 300);
    sts.world.clock.advance(Duration::from_hours(8) - Duration::from_secs(42));
    let response = sts.send(sts.request(&own)).await.unwrap();
    assert_eq!(response.expires_in, 42);
}

/// The policy set makes tokens last less, by who asks and by what the task lets do, and never longer.
#[tokio::test]
async fn r_3_a_token_lasts_no_longer_than_the_policy_set_says() {
    let sts = Sts::new().await;
    let own = key();
    let lasts = async |rules: &str| {
        let bundle = sts.world.bundle(crate::support::POLICY).await;
        let strictness = Some(format!("tokens: [{rules}]"));
        let bundle = pdp::Bundle { strictness, ..bundle };
        sts.world.put_in_force(bundle).await;
        sts.send(sts.request(&own)).await.expect("a token").expires_in
    };
    assert_eq!(lasts("").await, 300);
    assert_eq!(lasts("{ description: x, lasts_s: 60, harm: [moves-money] }").await, 60);
    assert_eq!(lasts("{ description: x, lasts_s: 60, agents: [other] }").await, 300);
    sts.world.clock.advance(Duration::from_hours(8) - Duration::from_secs(42));
    assert_eq!(lasts("{ description: x, lasts_s: 60 }").await, 42);
    let issued = sts.world.records("issuance").await.pop().expect("it is on record");
    let (time, expires) = (issued.value["time"].as_i64(), issued.value["expires"].as_i64());
    assert_eq!(expires.zip(time).map(|(expires, time)| expires - time), Some(42_000));
}

/// The permit and that the token is issued are on record in one commit, or neither is.
#[tokio::test]
async fn i_02_a_token_that_could_not_be_recorded_is_not_handed_out() {
    use crate::support::stores::OnCommit;
    let sts = Sts::new().await;
    let own = key();
    sts.token(&own).await.unwrap();
    sts.world.drained().await;
    let unwritten = store::CommitError::Unavailable("the disk is full".into());
    sts.world.store.on_commit([OnCommit::Refuse(unwritten)]);
    let error = sts.token(&own).await.unwrap_err();
    assert_eq!(error.status(), 503);
    sts.world.drained().await;
    for kind in ["decision", "issuance"] {
        assert_eq!(sts.world.records(kind).await.len(), 1, "{kind}");
    }
    assert_eq!(sts.world.outcomes().await, ["returned"]);
    assert!(sts.world.store.open_permits().await.unwrap().is_empty());
}

//! What an agent authenticates by is taken back between what a request reads and its commit: nothing is issued by
//! it, in whichever way it is asked for.

use std::sync::Arc;
use std::time::Duration;

use authority::Unit;
use model::{Agent, FactKey};
use oauth::ErrorCode;

use crate::client::{Request, Sts, key};
use crate::delegation::{before, delegates, hands_over, part, takes_up};
use crate::platforms::{Platforms, WAYS};
use crate::resume::{GONE_AFTER, resumes, task_id};
use crate::support::put;
use crate::support::stores::OnCommit;
use crate::{consents, initiations};

/// How something is asked for by a registered key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Begins,
    Renews,
    Initiated,
    Consented,
    Delegates,
    TakesUp,
    TakesOver,
    HandsOver,
    /// The same: the key is that of the agent that names its instance in the actor token.
    IsHandedOver,
}

const ALL: [Way; 9] = [
    Way::Begins,
    Way::Renews,
    Way::Initiated,
    Way::Consented,
    Way::Delegates,
    Way::TakesUp,
    Way::TakesOver,
    Way::HandsOver,
    Way::IsHandedOver,
];

impl Way {
    /// The agent whose key it is by.
    const fn agent(self) -> &'static str {
        match self {
            Self::TakesUp | Self::IsHandedOver => "reader",
            _ => "billing",
        }
    }

    /// A deployment with a request of this way, with nothing wrong.
    async fn request(self) -> (Arc<Sts>, Request) {
        let own = key();
        match self {
            Self::Begins => {
                let sts = Arc::new(Sts::new().await);
                let request = sts.request(&own);
                (sts, request)
            }
            Self::Renews => {
                let sts = Arc::new(Sts::new().await);
                sts.token(&own).await.expect("a token");
                let request = sts.request(&own);
                (sts, request)
            }
            Self::Initiated => {
                let (sts, portal) = initiations::before_with(|_| {}).await;
                let said = initiations::said(&sts);
                let presented = initiations::signed(&sts, "portal", &portal, &said);
                let request = initiations::redeems(sts.request(&own), &presented);
                (sts, request)
            }
            Self::Consented => {
                let sts = Arc::new(consents::before().await);
                let pushed = consents::pushed(&sts).await;
                consents::given(&sts, &pushed, (true, Duration::from_hours(1))).await;
                let request = consents::redeems(sts.request(&own), &pushed);
                (sts, request)
            }
            Self::Delegates | Self::TakesUp | Self::TakesOver => Box::pin(self.of_a_task()).await,
            Self::HandsOver | Self::IsHandedOver => {
                let (sts, lead, reader) = before().await;
                let request = hands_over(&sts, &lead, (&reader, &own), &part(&sts));
                (sts, request)
            }
        }
    }

    /// The same, about the task of an instance.
    async fn of_a_task(self) -> (Arc<Sts>, Request) {
        let (sts, lead, reader) = before().await;
        let own = key();
        if self == Self::TakesOver {
            sts.world.clock.advance(GONE_AFTER);
            let request = resumes(&sts, (&lead.of, &own), &task_id(&lead));
            return (sts, request);
        }
        let made = delegates(&sts, &lead, (&reader, &own), &part(&sts));
        if self == Self::Delegates {
            return (sts, made);
        }
        let made = sts.send(made).await.expect("a delegation");
        let request = takes_up(&sts, (&reader, &own), &made);
        (sts, request)
    }
}

/// Sends `request`; when it is about to be committed, `agent` becomes what `change` makes of it. Tells why nothing
/// came of it.
async fn refused(
    sts: &Sts,
    request: Request,
    (agent, change): (&str, impl FnOnce(&mut Agent)),
) -> ErrorCode {
    let issued = sts.world.records("issuance").await.len();
    let place = FactKey::agent(&agent.parse().expect("an agent"));
    let mut changed: Agent = sts.fact(place.clone()).await;
    change(&mut changed);
    let meanwhile = Unit { effects: vec![put(place, &changed)], ..Unit::default() };
    sts.world.store.on_commit([OnCommit::After(meanwhile)]);
    let refused = sts.send(request).await.map(drop).expect_err("it rests on what is gone");
    assert_eq!(sts.world.store.commits_left(), 0, "it was about to be committed");
    assert_eq!(sts.world.records("issuance").await.len(), issued);
    refused.code
}

#[tokio::test]
async fn i_11_nothing_is_issued_by_a_key_that_was_replaced_meanwhile() {
    for way in ALL {
        let (sts, request) = Box::pin(way.request()).await;
        let replaced = |agent: &mut Agent| agent.key = key().verifying().to_jwk();
        let code = refused(&sts, request, (way.agent(), replaced)).await;
        let expected = match way {
            // What the other agent signed is read again, and does not hold.
            Way::IsHandedOver => ErrorCode::InvalidRequest,
            _ => ErrorCode::TemporarilyUnavailable,
        };
        assert_eq!(code, expected, "{way:?}");
    }
}

/// Whatever else changes of the agent is no reason to refuse who asks.
#[tokio::test]
async fn an_agent_that_changes_meanwhile_and_keeps_its_key_gets_its_token() {
    for way in ALL {
        let (sts, request) = Box::pin(way.request()).await;
        let place = FactKey::agent(&way.agent().parse().expect("an agent"));
        let mut agent: Agent = sts.fact(place.clone()).await;
        agent.key_expires = agent.key_expires.plus(Duration::from_secs(1));
        let meanwhile = Unit { effects: vec![put(place, &agent)], ..Unit::default() };
        sts.world.store.on_commit([OnCommit::After(meanwhile)]);
        let given = sts.send(request).await.map(drop).map_err(|refused| refused.code);
        assert_eq!((given, sts.world.store.commits_left()), (Ok(()), 0), "{way:?}");
    }
}

#[tokio::test]
async fn i_11_nothing_is_issued_to_a_workload_that_is_admitted_no_longer() {
    for way in WAYS {
        for renews in [false, true] {
            let platforms = Platforms::new().await;
            let (sts, own) = (&platforms.sts, key());
            if renews {
                sts.send(platforms.fresh(&own, way)).await.expect("a token");
            }
            let request = platforms.fresh(&own, way);
            let taken_back = |agent: &mut Agent| agent.workloads.clear();
            let code = refused(sts, request, ("billing", taken_back)).await;
            assert_eq!(code, ErrorCode::TemporarilyUnavailable, "{way:?} {renews}");
        }
    }
}

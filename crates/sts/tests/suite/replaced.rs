//! Keys that are replaced: nothing is issued by what is taken back between what a request reads and its commit, in
//! whichever way it is asked for; and what becomes of who is at work.

use std::sync::Arc;
use std::time::Duration;

use authority::Unit;
use keys::SigningKey;
use model::{Agent, FactKey, TokenKeySet};
use oauth::ErrorCode;

use crate::client::{Request, Sts, key};
use crate::delegation::{
    Holder, Party, before, calls, delegates, hand_on, hands_over, part, takes_up,
};
use crate::platforms::{Platforms, WAYS};
use crate::resume::{GONE_AFTER, resumes, task_id};
use crate::support::put;
use crate::support::stores::OnCommit;
use crate::{consents, delegation, initiations};

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

/// A delegation is worth what the key is that signed it: nothing, once another one is written in its place.
#[tokio::test]
async fn i_11_nothing_is_taken_up_on_the_word_of_a_key_that_was_compromised_meanwhile() {
    let (sts, request) = Box::pin(Way::TakesUp.request()).await;
    let issued = sts.world.records("issuance").await.len();
    let written = TokenKeySet { current: key().verifying().thumbprint_text(), retired: Vec::new() };
    let effects = vec![put(FactKey::token_keys(), &written)];
    sts.world.store.on_commit([OnCommit::After(Unit { effects, ..Unit::default() })]);
    let refused = sts.send(request).await.map(drop).expect_err("it rests on what is gone");
    assert_eq!(refused.code, ErrorCode::TemporarilyUnavailable);
    assert_eq!(sts.world.store.commits_left(), 0, "it was about to be committed");
    assert_eq!(sts.world.records("issuance").await.len(), issued);
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

/// The agent `name` has another key; the last one was in other hands, or was not.
async fn exchange(sts: &Sts, name: &str, compromised: bool) -> Arc<SigningKey> {
    let place = FactKey::agent(&name.parse().expect("an agent"));
    let (mut agent, own): (Agent, _) = (sts.fact(place.clone()).await, key());
    agent.key = own.verifying().to_jwk();
    if compromised {
        agent.keys_compromised = Some(agent.keys_compromised.unwrap_or(0) + 1);
    }
    sts.world.put(place, &agent).await;
    own
}

/// R8, R15: an instance at work goes on by the next key of its agent, and is over where the last one was in other hands:
/// its calls, its tokens, and what it handed on. Whoever shows the last key is nobody.
#[tokio::test]
async fn r_8_an_exchanged_key_ends_nothing_and_a_compromised_one_what_it_vouched_for() {
    for compromised in [false, true] {
        let (sts, lead, reader) = before().await;
        let (way, asked) = (delegation::Way::HandOver, part(&sts));
        let child = hand_on(&sts, &lead, (&reader, way), &asked).await.expect("a token");
        assert_eq!(calls(&sts, &child, "lookup").await, Ok(()));
        let next = exchange(&sts, "billing", compromised).await;
        let by =
            |agent_key: &SigningKey, own: &SigningKey| sts.request_of(("billing", agent_key), own);
        for own in [&lead.key, &key()] {
            let refused = sts.send(by(&lead.of.key, own)).await.expect_err("it is nobody's");
            assert_eq!(refused.code, ErrorCode::InvalidClient);
        }
        let renewed = sts.send(by(&next, &lead.key)).await;
        if compromised {
            let refused = renewed.expect_err("it is over");
            assert_eq!(refused.code, ErrorCode::AccessDenied);
            assert!(refused.description.starts_with(sts::TASK_OVER), "{refused}");
            let own = calls(&sts, &lead, "lookup").await;
            assert_eq!(own, Err("agent_key_compromised".to_owned()));
            let handed_on = calls(&sts, &child, "lookup").await;
            assert_eq!(handed_on, Err("delegator_not_active".to_owned()));
        } else {
            let claims = sts.verified(&renewed.expect("a token"));
            assert_eq!(claims.instance(), lead.claims.instance());
            assert_eq!(calls(&sts, &lead, "lookup").await, Ok(()));
            assert_eq!(calls(&sts, &child, "lookup").await, Ok(()));
        }
        // What begins by the next key is nobody's fault.
        let own = key();
        let begun = sts.send(by(&next, &own)).await.expect("a token");
        let begun = Holder::given(&sts, (lead.of.clone(), own), begun);
        assert_eq!(calls(&sts, &begun, "lookup").await, Ok(()), "{compromised}");
    }
}

/// Whom a platform vouches for besides goes on: the key alone was worth nothing there.
#[tokio::test]
async fn a_compromised_key_ends_no_workload_that_its_platform_vouches_for() {
    let platforms = Platforms::new().await;
    let (sts, own) = (&platforms.sts, key());
    let way = crate::platforms::Way::Oidc;
    let first = sts.send(platforms.fresh(&own, way)).await.expect("a token");
    let next = exchange(sts, "billing", true).await;
    let of = Party { name: "billing".to_owned(), key: next.clone() };
    let holder = Holder::given(sts, (of, own.clone()), first);
    assert_eq!(calls(sts, &holder, "lookup").await, Ok(()));
    let said = platforms.token(&platforms.claims(way));
    let renewed = sts.send(way.show(sts.request_of(("billing", &next), &own), &said)).await;
    assert_eq!(sts.verified(&renewed.expect("a token")).instance(), holder.claims.instance());
}

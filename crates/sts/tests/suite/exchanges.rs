//! Each way in which a token is got by another: what stops one stops all, and nothing that is shown
//! says more than the register does.

use std::sync::Arc;
use std::time::Duration;

use model::{
    Agent, AgentState, Clock as _, FactKey, Instance, InstanceState, Mandate, PersonState, Risk,
    RiskLevel, Task, TaskEnd, TaskState, Withdrawn,
};
use oauth::access_token::AccessTokenClaims;
use oauth::{ErrorCode, OAuthError, exchange, jws};
use serde_json::json;
use store::CommitError;

use crate::ISSUER;
use crate::borrowed::IDP;
use crate::client::{Sts, key};
use crate::delegation::{
    Holder, Party, WAYS, Way, before, calls, delegates, hand_on, hands_over, part, party, takes_up,
    task_of,
};
use crate::opened::opens;
use crate::platforms::{Platforms, Way as Shown};
use crate::resume::{GONE_AFTER, resumes, task_id};
use crate::support::POLICY;
use crate::support::stores::OnCommit;

/// What policy makes of risk, beside what else it says.
const AT_RISK: &str = r#"
@id("at-risk")
forbid (principal, action in [Action::"token/issue", Action::"delegate", Action::"task/resume"], resource)
when { context.risk == "high" };
"#;

/// What there is [`before`], and a policy that looks at risk.
async fn watched() -> (Arc<Sts>, Holder, Party) {
    let (sts, lead, reader) = before().await;
    sts.world.publish(&format!("{POLICY}{AT_RISK}")).await;
    (sts, lead, reader)
}

/// Something that ends what rests on the instance of `Holder`.
type Change = (&'static str, AsyncChange);
type AsyncChange = for<'a> fn(&'a Sts, &'a Holder) -> futures::future::BoxFuture<'a, ()>;

/// Each of them.
const CHANGES: [Change; 8] = [
    ("the instance is quarantined", |sts, lead| {
        Box::pin(async {
            let place = FactKey::instance(lead.instance());
            let mut instance: Instance = sts.fact(place.clone()).await;
            let since = sts.world.clock.now();
            instance.state = InstanceState::Quarantined { signal: "seen".to_owned(), since };
            sts.world.put(place, &instance).await;
        })
    }),
    ("the agent is suspended", |sts, lead| {
        Box::pin(async {
            let place = FactKey::agent(&lead.of.name.parse().expect("an agent"));
            let mut agent: Agent = sts.fact(place.clone()).await;
            let since = sts.world.clock.now();
            agent.state = AgentState::Suspended { reason: "left".to_owned(), since };
            sts.world.put(place, &agent).await;
        })
    }),
    ("the sponsor leaves", |sts, _| {
        Box::pin(async {
            let mut sponsor = sts.world.standing.sponsor.clone();
            sponsor.state = PersonState::Inactive { since: sts.world.clock.now() };
            sts.world.put(FactKey::person(&sponsor.id), &sponsor).await;
        })
    }),
    ("the mandate is withdrawn", |sts, lead| {
        Box::pin(async {
            let task = task_of(sts, lead).await;
            let mut mandate: Mandate = sts.fact(FactKey::mandate(task.mandate)).await;
            let since = sts.world.clock.now();
            mandate.withdrawn = Some(Withdrawn { reason: "no more".to_owned(), since });
            sts.world.put(FactKey::mandate(mandate.id), &mandate).await;
        })
    }),
    ("the task ends", |sts, lead| {
        Box::pin(async {
            let mut task: Task = task_of(sts, lead).await;
            let (since, reason) = (sts.world.clock.now(), "done".to_owned());
            task.state = TaskState::Ended { how: TaskEnd::Completed, reason, since };
            sts.world.put(FactKey::task(task.id), &task).await;
        })
    }),
    ("policy permits no token", |sts, _| {
        Box::pin(async {
            sts.world
                .publish(r#"@id("delegate") permit (principal, action == Action::"delegate", resource);"#)
                .await;
        })
    }),
    ("the agent is at high risk", |sts, lead| {
        Box::pin(async {
            let place = FactKey::agent(&lead.of.name.parse().expect("an agent"));
            let mut agent: Agent = sts.fact(place.clone()).await;
            agent.risk = Some(Risk { level: RiskLevel::High, since: sts.world.clock.now() });
            sts.world.put(place, &agent).await;
        })
    }),
    ("the purpose is narrowed to nothing", |sts, _| {
        Box::pin(async {
            let mut purpose = sts.world.standing.purpose.clone();
            purpose.scope.tools.clear();
            sts.world.put(FactKey::purpose(&purpose.id), &purpose).await;
        })
    }),
];

/// What is sent to get a token, once something has happened.
#[derive(Clone, Copy, Debug)]
enum Exchange {
    Renewal,
    HandOver,
    TakeUp,
    Delegation,
    TakeOver,
}

const EXCHANGES: [Exchange; 5] = [
    Exchange::Renewal,
    Exchange::HandOver,
    Exchange::TakeUp,
    Exchange::Delegation,
    Exchange::TakeOver,
];

impl Exchange {
    async fn after(
        self,
        change: AsyncChange,
        (sts, lead, reader): (&Sts, &Holder, &Party),
    ) -> Result<(), OAuthError> {
        let (own, asked) = (key(), part(sts));
        let made = match self {
            Self::TakeUp => {
                Some(sts.send(delegates(sts, lead, (reader, &own), &asked)).await.expect("made"))
            }
            _ => None,
        };
        if matches!(self, Self::TakeOver) {
            sts.world.clock.advance(GONE_AFTER);
        }
        change(sts, lead).await;
        let to = (reader, own.as_ref());
        let request = match (self, &made) {
            (Self::TakeUp, Some(made)) => takes_up(sts, to, made),
            (Self::HandOver, _) => hands_over(sts, lead, to, &asked),
            (Self::Delegation, _) => delegates(sts, lead, to, &asked),
            (Self::TakeOver, _) => resumes(sts, (&lead.of, own.as_ref()), &task_id(lead)),
            _ => sts.request(&lead.key),
        };
        sts.send(request).await.map(drop)
    }
}

/// The same holds of every way to a token.
#[tokio::test]
async fn n_008_what_ends_one_way_to_a_token_ends_every_other() {
    for way in EXCHANGES {
        let (sts, lead, reader) = watched().await;
        let given = way.after(|_, _| Box::pin(async {}), (&sts, &lead, &reader)).await;
        assert!(given.is_ok(), "{way:?}, nothing has happened: {given:?}");
        for (what, change) in CHANGES {
            let (sts, lead, reader) = watched().await;
            let issued = sts.world.records("issuance").await.len();
            let refused = way.after(change, (&sts, &lead, &reader)).await;
            // A delegation is no token: what it is taken up for is decided then.
            let is_left = matches!(way, Exchange::Delegation) && what == "policy permits no token";
            assert_eq!(refused.is_ok(), is_left, "{way:?}, {what}: {refused:?}");
            assert_eq!(sts.world.records("issuance").await.len(), issued, "{way:?}, {what}");
        }
    }
}

/// A renewal is a decision of its own, on the sponsor, the risk and the purpose of that moment. What they were when
/// the task began, or at the renewal before, helps nobody.
#[tokio::test]
async fn r_9_a_renewal_is_decided_on_what_holds_by_then() {
    use ErrorCode::{AccessDenied, InvalidTarget};
    for (what, reason, code) in [
        ("the sponsor leaves", "sponsor_not_active", AccessDenied),
        ("the agent is at high risk", "forbidden", AccessDenied),
        ("the purpose is narrowed to nothing", "outside_mandate", InvalidTarget),
    ] {
        let (sts, lead, _) = watched().await;
        let scope = task_of(&sts, &lead).await.scope;
        sts.send(sts.request(&lead.key)).await.expect("nothing has happened");
        assert_eq!(task_of(&sts, &lead).await.scope, scope, "it never grows");
        let (_, change) = CHANGES.into_iter().find(|(it, _)| *it == what).expect(what);
        change(&sts, &lead).await;
        let issued = sts.world.records("issuance").await.len();
        let refused = sts.send(sts.request(&lead.key)).await.expect_err(what);
        assert_eq!(refused.code, code, "{what}: {refused}");
        let decision = sts.world.records("decision").await.pop().expect("it is decided");
        assert_eq!(
            (decision.text_of("action"), decision.text_of("reason")),
            ("token/issue", reason),
            "{what}"
        );
        assert_eq!(sts.world.records("issuance").await.len(), issued, "{what}");
    }
}

/// R47: whoever can be reached by another agent, of the same sponsor and with the same rights, has in its work what was
/// handed on, and nothing else: not what the other holds, and not what it may do in work of its own.
#[tokio::test]
async fn r_47_an_agent_has_of_another_only_what_was_handed_on_to_it() {
    for way in WAYS {
        let (sts, lead, reader) = before().await;
        let deep = party(&sts, "deep").await;
        let own = key();
        let token = sts.send(sts.request_of((&reader.name, &reader.key), &own)).await;
        let token = token.expect("a token");
        let alone = Holder::given(&sts, (reader.clone(), own), token);
        let child = hand_on(&sts, &lead, (&reader, way), &part(&sts)).await.expect("a token");
        let outside = Err("outside_scope".to_owned());
        for (holder, refund) in [(&lead, Ok(())), (&alone, Ok(())), (&child, outside)] {
            assert_eq!(calls(&sts, holder, "lookup").await, Ok(()), "{way:?}");
            assert_eq!(calls(&sts, holder, "refund").await, refund, "{way:?}");
        }
        // In its hands the other's token is nothing.
        let shown = Holder { token: lead.token.clone(), ..child.clone() };
        let refused = hand_on(&sts, &shown, (&deep, way), &part(&sts)).await.map(drop);
        assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidRequest, "{way:?}");
        // It ends with what it was handed on of, and work of its own does not.
        let (_, ends) =
            CHANGES.into_iter().find(|(it, _)| *it == "the task ends").expect("it is one");
        ends(&sts, &lead).await;
        let above = Err("delegator_not_active".to_owned());
        assert_eq!(calls(&sts, &child, "lookup").await, above, "{way:?}");
        assert_eq!(calls(&sts, &alone, "lookup").await, Ok(()), "{way:?}");
    }
}

/// Of several ends each is enough, whichever came first and whichever is taken back.
#[tokio::test]
async fn n_017_each_of_two_ends_is_enough_whichever_is_taken_back() {
    for (first, one) in CHANGES.into_iter().take(4) {
        for (second, other) in CHANGES.into_iter().take(4).filter(|(it, _)| *it != first) {
            let (sts, lead, _) = before().await;
            let place = FactKey::agent(&lead.of.name.parse().expect("an agent"));
            let whole: Agent = sts.fact(place.clone()).await;
            one(&sts, &lead).await;
            other(&sts, &lead).await;
            sts.world.put(place, &whole).await;
            let renewed = sts.send(sts.request(&lead.key)).await;
            assert!(renewed.is_err(), "{first}, then {second}, and the agent goes on");
        }
    }
}

#[tokio::test]
async fn n_002_a_token_is_shown_as_what_it_is() {
    for kind in [exchange::ID_TOKEN, exchange::JWT, exchange::DELEGATION] {
        let (sts, lead, reader) = before().await;
        let own = key();
        let request = hands_over(&sts, &lead, (&reader, &own), &part(&sts));
        let refused = sts.send(request.with("subject_token_type", kind)).await.expect_err(kind);
        assert_eq!(refused.code, ErrorCode::InvalidRequest, "{kind}: {refused}");
    }
    let (sts, lead, reader) = before().await;
    let own = key();
    let made = sts.send(delegates(&sts, &lead, (&reader, &own), &part(&sts))).await.expect("made");
    for kind in [exchange::ACCESS_TOKEN, exchange::ID_TOKEN, exchange::JWT] {
        let request = takes_up(&sts, (&reader, &own), &made).with("subject_token_type", kind);
        let refused = sts.send(request).await.expect_err(kind);
        assert_eq!(refused.code, ErrorCode::InvalidRequest, "{kind}: {refused}");
    }
}

/// What is asked for is not passed over: whoever names another purpose than that of the part gets nothing for it.
#[tokio::test]
async fn a_delegation_is_taken_up_for_its_own_purpose() {
    let (sts, lead, reader) = before().await;
    let (own, asked) = (key(), part(&sts));
    let made = sts.send(delegates(&sts, &lead, (&reader, &own), &asked)).await.expect("made");
    let takes_up =
        |purpose: &str| sts.send(takes_up(&sts, (&reader, &own), &made).with("purpose", purpose));
    let refused = takes_up("other").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidScope, "{refused}");
    assert_eq!(sts.causes(1).await, ["other_purpose"]);
    takes_up(&asked.purpose).await.expect("a token");
}

/// What held a minute ago, and was used, is looked at again.
#[tokio::test]
async fn n_009_an_expired_token_is_exchanged_for_nothing() {
    for way in WAYS {
        let (sts, lead, reader) = before().await;
        hand_on(&sts, &lead, (&reader, way), &part(&sts)).await.expect("it holds");
        let left = lead.claims.exp - sts.world.clock.now().as_seconds();
        sts.world.clock.advance(Duration::from_secs(left.unsigned_abs()));
        let refused = hand_on(&sts, &lead, (&reader, way), &part(&sts)).await.map(drop);
        assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidRequest, "{way:?}");
        assert_eq!(sts.causes(1).await, ["subject_token_invalid"], "{way:?}");
    }
}

/// The end comes while the answer is made.
#[tokio::test]
async fn n_010_a_token_that_ends_while_it_is_exchanged_is_exchanged_for_nothing() {
    for way in WAYS {
        let (sts, lead, reader) = before().await;
        let issued = sts.world.records("issuance").await.len();
        let end = sts.world.sponsor_leaves();
        sts.world.store.on_commit([OnCommit::After(end)]);
        let refused = hand_on(&sts, &lead, (&reader, way), &part(&sts)).await.map(drop);
        assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidRequest, "{way:?}");
        assert_eq!(sts.world.records("issuance").await.len(), issued, "{way:?}");
    }
}

/// What another deployment signs is nothing here: its own token, one in its name for an instance of ours, and
/// one in our name.
#[tokio::test]
async fn n_015_a_token_of_another_organisation_is_exchanged_for_nothing() {
    let (sts, lead, reader) = before().await;
    let (elsewhere, theirs, _) = before().await;
    let signed = |iss: &str| {
        let claims = AccessTokenClaims { iss: iss.to_owned(), ..lead.claims.clone() };
        elsewhere.forged(&claims)
    };
    let tokens = [theirs.token.clone(), signed("https://elsewhere.example"), signed(ISSUER)];
    for token in tokens {
        let shown = Holder { token, ..lead.clone() };
        for way in WAYS {
            let refused = hand_on(&sts, &shown, (&reader, way), &part(&sts)).await.map(drop);
            assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidRequest, "{way:?}");
        }
    }
    // What was begun there is not taken up here.
    let own = key();
    let made = delegates(&elsewhere, &theirs, (&reader, &own), &part(&elsewhere));
    let made = elsewhere.send(made).await.expect("made");
    let refused = sts.send(takes_up(&sts, (&reader, &own), &made)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest, "{refused}");
    let mut causes = sts.causes(7).await;
    causes.sort_unstable();
    assert_eq!(causes[0], "delegation_invalid");
    assert_eq!(causes[1..], ["subject_token_invalid"; 6]);
    assert_eq!(sts.world.records("issuance").await.len(), 1, "that of the holder here");
    // The same holder's own token is good.
    hand_on(&sts, &lead, (&reader, WAYS[0]), &part(&sts)).await.expect("a token");
}

/// A token of an issuer whose word counts for something else is no subject token, though it is made out to us: of the
/// provider where people log in, and of a platform whose keys we have.
#[tokio::test]
async fn n_015_a_foreign_token_that_is_made_out_to_us_is_exchanged_for_nothing() {
    let platforms = Platforms::new().await;
    let (sts, idp) = (&platforms.sts, key());
    sts.world.put(FactKey::login(IDP, "00u1"), &sts.world.standing.other.id).await;
    let reader = party(sts, "reader").await;
    let lead = opens(sts).await.expect("a token");
    let now = sts.world.clock.now().as_seconds();
    let of_login = |typ: &str| {
        let claims = json!({
            "iss": IDP, "sub": "00u1", "aud": ISSUER, "client_id": "billing", "iat": now,
            "exp": now + 300, "jti": sts.jti(), "cnf": lead.claims.cnf,
        });
        jws::sign(typ, &claims, idp.as_ref()).expect("signed")
    };
    let of_platform = || platforms.token(&platforms.claims(Shown::Oidc));
    // The platform vouches for whoever shows that as what it is.
    let good = Shown::Oidc.show(sts.request(&key()), &of_platform());
    sts.send(good).await.expect("a token");
    let issued = sts.world.records("issuance").await.len();
    let kinds = [exchange::ACCESS_TOKEN, exchange::ID_TOKEN, exchange::JWT, exchange::DELEGATION];
    for foreign in [of_login("JWT"), of_login("at+jwt"), of_platform()] {
        for kind in kinds {
            let (new, asked) = (key(), part(sts));
            for request in [
                hands_over(sts, &lead, (&reader, &new), &asked),
                delegates(sts, &lead, (&reader, &new), &asked),
                sts.request(&lead.key).with("grant_type", exchange::GRANT_TYPE),
            ] {
                let request = request.with("subject_token", &foreign);
                let refused = sts.send(request.with("subject_token_type", kind)).await.map(drop);
                let refused = refused.expect_err(kind);
                assert_eq!(refused.code, ErrorCode::InvalidRequest, "{kind}: {refused}");
            }
        }
    }
    assert_eq!(sts.world.records("issuance").await.len(), issued);
    hand_on(sts, &lead, (&reader, WAYS[0]), &part(sts)).await.expect("the holder's own is good");
}

/// Whose key was exchanged, or who is stopped, gets nothing by any grant.
#[tokio::test]
async fn n_018_a_key_that_is_the_agents_no_more_authenticates_nobody() {
    let (sts, lead, reader) = before().await;
    let place = FactKey::agent(&lead.of.name.parse().expect("an agent"));
    let mut agent: Agent = sts.fact(place.clone()).await;
    agent.key = key().verifying().to_jwk();
    sts.world.put(place, &agent).await;
    let own = key();
    for request in [
        sts.request(&lead.key),
        sts.request(&key()),
        hands_over(&sts, &lead, (&reader, &own), &part(&sts)),
        delegates(&sts, &lead, (&reader, &own), &part(&sts)),
    ] {
        let refused = sts.send(request).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidClient, "{refused}");
    }
}

/// Even a token that we signed says nothing of who handed the work on: the register does.
#[tokio::test]
async fn n_034_n_036_a_chain_is_what_the_register_says_and_no_token() {
    let (sts, lead, reader) = before().await;
    let (deep, other) = (party(&sts, "deep").await, party(&sts, "other").await);
    let asked = part(&sts);
    let on = async |from: &Holder, to: &Party| {
        hand_on(&sts, from, (to, Way::TakeUp), &asked).await.expect("a token")
    };
    let middle = on(&lead, &reader).await;
    let (child, elsewhere) = (on(&middle, &deep).await, on(&lead, &other).await);
    let truth = on(&child, &other).await.claims.act.expect("somebody acts");
    let act = child.claims.act.clone().expect("somebody acts");
    let mut reversed = act.clone();
    let mut inner = *act.act.clone().expect("and somebody before");
    reversed.act = None;
    inner.act = Some(Box::new(reversed));
    let mut spliced = act.clone();
    spliced.act = elsewhere.claims.act.clone().map(Box::new);
    let mut cut = act.clone();
    cut.act = None;
    for (what, forged) in [("reversed", inner), ("spliced", spliced), ("cut", cut)] {
        let mut claims = child.claims.clone();
        claims.act = Some(forged);
        let shown = Holder { token: sts.forged(&claims), ..child.clone() };
        let grandchild = hand_on(&sts, &shown, (&other, Way::HandOver), &asked).await;
        match (what, grandchild) {
            // It names another as who holds it.
            ("reversed", refused) => {
                assert_eq!(refused.map(drop).unwrap_err().code, ErrorCode::InvalidRequest);
            }
            (what, grandchild) => {
                let found = grandchild.expect(what).claims.act.expect("somebody acts");
                assert_eq!(found.act, truth.act, "{what}");
            }
        }
    }
    // What another issuer signed is no subject token, whatever it says.
    let mut claims = child.claims.clone();
    claims.iss = "https://elsewhere.example".to_owned();
    let shown = Holder { token: sts.forged(&claims), ..child };
    let refused = hand_on(&sts, &shown, (&other, Way::HandOver), &asked).await.map(drop);
    assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidRequest);
}

/// What uses a proof up cannot be written: nothing is given.
#[tokio::test]
async fn n_149_where_a_proof_cannot_be_used_up_there_is_no_token() {
    let sts = Sts::new().await;
    let unavailable = || OnCommit::Refuse(CommitError::Overloaded);
    sts.world.store.on_commit([unavailable()]);
    let refused = sts.token(&key()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::TemporarilyUnavailable, "{refused}");
    assert_eq!(sts.world.records("issuance").await.len(), 0);
}

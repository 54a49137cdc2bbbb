//! Tasks that are opened: as many in a day as mandate, agent and person may have, whoever comes when.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use keys::SigningKey;
use oauth::token_endpoint::TokenResponse;
use oauth::{ErrorCode, OAuthError};
use serde_json::json;

use crate::client::{Sts, key};
use crate::delegation::{Holder, Party, WAYS, Way, calls, hand_on, part, party};
use crate::initiations::{before_with, begun, said};
use crate::resume::{GONE_AFTER, resumes, task_id};
use crate::support::{Facts, POLICY};

const DAY: Duration = Duration::from_hours(24);

fn of_agent(facts: &mut Facts, most: u64) {
    facts.agent.ceiling.max_tasks_a_day = Some(most);
}

fn of_mandate(facts: &mut Facts, most: u64) {
    facts.mandate.scope.max_tasks_a_day = Some(most);
}

impl Party {
    /// The agent of the fixture.
    pub(crate) fn own(sts: &Sts) -> Self {
        Self { name: "billing".to_owned(), key: sts.agent_key.clone() }
    }
}

impl Holder {
    /// The instance of `of` that holds `key`, by a token that it was given.
    pub(crate) fn given(
        sts: &Sts,
        (of, key): (Party, Arc<SigningKey>),
        token: TokenResponse,
    ) -> Self {
        let claims = sts.verified(&token);
        Self { of, key, token: token.access_token, claims }
    }
}

/// Opens a task of its own for a new instance.
pub(crate) async fn opens(sts: &Sts) -> Result<Holder, OAuthError> {
    let own = key();
    let response = sts.send(sts.request(&own)).await?;
    Ok(Holder::given(sts, (Party::own(sts), own), response))
}

/// What the newest decision says.
async fn reason(sts: &Sts) -> String {
    let record = sts.world.records("decision").await.pop().expect("a decision");
    record.text_of("reason").to_owned()
}

#[tokio::test]
async fn n_088_tasks_of_a_day_are_as_many_as_may_be() {
    let limits: [fn(&mut Facts, u64); 2] = [of_agent, of_mandate];
    for limit in limits {
        let sts = Sts::with(|facts| limit(facts, 2)).await;
        for _ in 0..2 {
            opens(&sts).await.expect("there is room");
            let holder = opens(&sts).await.expect("there is room");
            assert_eq!(calls(&sts, &holder, "lookup").await, Ok(()));
            let refused = opens(&sts).await.map(drop).unwrap_err();
            assert_eq!(refused.code, ErrorCode::AccessDenied);
            assert!(refused.description.starts_with("as many tasks"), "{refused}");
            assert_eq!(reason(&sts).await, "limit_reached");
            sts.send(sts.request(&holder.key)).await.expect("a renewal opens nothing");
            sts.world.clock.advance(DAY);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_088_no_limit_of_tasks_is_passed_by_who_asks_at_once() {
    let sts = Arc::new(Sts::with(|facts| of_agent(facts, 5)).await);
    let asked = (0..32).map(|_| {
        let sts = sts.clone();
        tokio::spawn(async move { opens(&sts).await.is_ok() })
    });
    let opened = join_all(asked).await.into_iter().filter(|it| matches!(it, Ok(true))).count();
    assert_eq!(opened, 5);
}

/// Whether whoever has no task gets one, whether one that has hands on of it, and, in any case, that this one goes on,
/// also by who takes it over, where nothing may be opened of which `condition` holds.
async fn check(condition: &str, (begins, hands_on): (bool, bool)) {
    let sts = Sts::new().await;
    let lead = opens(&sts).await.expect("nothing forbids it");
    let reader = party(&sts, "reader").await;
    let forbid = format!(
        "@id(\"frozen\") forbid (principal, action == Action::\"token/issue\", resource) when {{ {condition} }};"
    );
    sts.world.publish(&format!("{POLICY}\n{forbid}")).await;
    let forbidden = async |answer: Result<Holder, OAuthError>, code: ErrorCode| {
        let Err(error) = answer else { return false };
        assert_eq!((error.code, reason(&sts).await.as_str()), (code, "forbidden"));
        true
    };
    let opened = opens(&sts).await;
    assert_eq!(forbidden(opened, ErrorCode::AccessDenied).await, !begins, "{condition}");
    for way in WAYS {
        let handed = hand_on(&sts, &lead, (&reader, way), &part(&sts)).await;
        let is_forbidden = forbidden(handed, ErrorCode::InvalidRequest).await;
        assert_eq!(is_forbidden, !hands_on, "{condition} {way:?}");
    }
    sts.send(sts.request(&lead.key)).await.expect("it goes on");
    assert_eq!(calls(&sts, &lead, "lookup").await, Ok(()));
    sts.world.clock.advance(GONE_AFTER);
    let taken_over = resumes(&sts, (&lead.of, &key()), &task_id(&lead));
    sts.send(taken_over).await.expect("it is open already");
}

/// Opening is decided for what it is: a policy that forbids it takes no token from whoever has a task.
#[tokio::test]
async fn what_opens_a_task_is_told_apart_from_what_goes_on() {
    let of = |opens| format!("context.input has opens && context.input.opens == \"{opens}\"");
    for (condition, may) in [
        ("context.input has opens".to_owned(), (false, false)),
        (of("task"), (false, true)),
        (of("part"), (true, false)),
    ] {
        Box::pin(check(&condition, may)).await;
    }
}

/// Whoever has the log decides again on it.
#[tokio::test]
async fn what_is_opened_is_in_the_record_of_the_decision() {
    let sts = Sts::new().await;
    let told = async || {
        let records = sts.world.records("decision").await;
        let mut issued = records.iter().rev().filter(|it| it.text_of("action") == "token/issue");
        let newest = issued.next().expect("a token was issued");
        sts.world.disclosure(newest).await.value("arguments").cloned()
    };
    let lead = opens(&sts).await.expect("a token");
    assert_eq!(told().await, Some(json!({ "opens": "task" })));
    sts.send(sts.request(&lead.key)).await.expect("a token");
    assert_eq!(told().await, None);
    let reader = party(&sts, "reader").await;
    for way in WAYS {
        hand_on(&sts, &lead, (&reader, way), &part(&sts)).await.expect("a token");
        assert_eq!(told().await, Some(json!({ "opens": "part" })), "{way:?}");
    }
    sts.world.clock.advance(GONE_AFTER);
    let taken_over = resumes(&sts, (&lead.of, &key()), &task_id(&lead));
    sts.send(taken_over).await.expect("a token");
    assert_eq!(told().await, None);
}

/// A part counts against the agent that takes it up, and against nobody else; a takeover opens none.
#[tokio::test]
async fn a_part_is_a_task_of_its_own_agent() {
    let sts = Sts::with(|facts| {
        of_agent(facts, 1);
        of_mandate(facts, 1);
    })
    .await;
    let lead = opens(&sts).await.expect("there is room");
    let reader = party(&sts, "reader").await;
    let mut asked = part(&sts);
    asked.until += 3_600;
    hand_on(&sts, &lead, (&reader, Way::TakeUp), &asked).await.expect("there is room");
    let refused = hand_on(&sts, &lead, (&reader, Way::TakeUp), &asked).await.map(drop);
    assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidRequest);
    assert_eq!(reason(&sts).await, "limit_reached");
    sts.world.clock.advance(GONE_AFTER);
    let taken_over = resumes(&sts, (&lead.of, &key()), &task_id(&lead));
    sts.send(taken_over).await.expect("it is opened already");
}

#[tokio::test]
async fn n_088_what_is_done_for_one_person_has_a_limit_over_all_tasks() {
    let (sts, portal) = before_with(|facts| {
        facts.limits.tasks_of_person = Some(2);
        facts.limits.calls_of_person = Some(3);
    })
    .await;
    let begins = async || begun(&sts, &portal, &said(&sts)).await;
    for _ in 0..2 {
        let one = begins().await.expect("there is room");
        let other = begins().await.expect("there is room");
        assert_eq!(begins().await.map(drop).unwrap_err().code, ErrorCode::AccessDenied);
        assert_eq!(reason(&sts).await, "limit_reached");
        for holder in [&one, &other, &one] {
            assert_eq!(calls(&sts, holder, "lookup").await, Ok(()));
        }
        assert_eq!(calls(&sts, &other, "lookup").await, Err("limit_reached".to_owned()));
        // On nobody's behalf nothing is counted against a person.
        let own = opens(&sts).await.expect("a standing mandate");
        assert_eq!(calls(&sts, &own, "lookup").await, Ok(()));
        sts.world.clock.advance(DAY);
    }
}

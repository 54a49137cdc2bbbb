//! Tasks that a registered system starts for a person: what its word opens, and what it does not.

use std::collections::BTreeSet;
use std::sync::Arc;

use authority::{Effect, Unit};
use futures::future::join_all;
use keys::SigningKey;
use model::{
    Clock as _, FactKey, InitiatingSystem, Instance, InstanceId, Mandate, MandateBasis, Person,
    Scope, Task, TaskSubject,
};
use oauth::initiation::{self, AskedTask, Initiation};
use oauth::{ErrorCode, OAuthError};

use store::Store as _;

use crate::ISSUER;
use crate::client::{Request, Sts, key};
use crate::delegation::{Holder, Party};
use crate::support::{Facts, put};

/// A deployment with the person `carla` and the system `portal`, and the system's key.
pub(crate) async fn before() -> (Arc<Sts>, Arc<SigningKey>) {
    before_with(|_| {}).await
}

/// The same with other facts than usual.
pub(crate) async fn before_with(change: impl FnOnce(&mut Facts)) -> (Arc<Sts>, Arc<SigningKey>) {
    let (sts, portal) = (Arc::new(Sts::with(change).await), key());
    enter(&sts, "carla").await;
    sts.world.portal(portal.verifying().to_jwk()).await;
    (sts, portal)
}

/// Enters the person `id`, of whom records can be sealed.
pub(crate) async fn enter(sts: &Sts, id: &str) -> Person {
    let person = Person::new(id.parse().expect("a person"), BTreeSet::new());
    let data_key = sts.world.journal.sealer().new_data_key(&person.id);
    let effects = vec![
        Effect::Put { key: data_key.key, body: data_key.body },
        put(FactKey::person(&person.id), &person),
    ];
    sts.world.store.commit(Unit { effects, ..Unit::default() }).await.expect("it commits");
    person
}

/// What the portal says, with nothing wrong.
pub(crate) fn said(sts: &Sts) -> Initiation {
    let now = sts.world.clock.now().as_seconds();
    let task = AskedTask {
        kind: "agent_task".to_owned(),
        purpose: sts.world.standing.purpose.id.to_string(),
        tools: vec!["crm/lookup".to_owned()],
        harm: Vec::new(),
        objects: Vec::new(),
        max_calls: Some(3),
        max_tasks_a_day: None,
        until: now + 3_600,
    };
    let (subject, agent, jti) = ("carla".to_owned(), "billing".to_owned(), sts.jti());
    Initiation { subject, agent, task, jti, exp: now + 60 }
}

pub(crate) fn signed(sts: &Sts, system: &str, key: &SigningKey, said: &Initiation) -> String {
    let now = sts.world.clock.now().as_seconds();
    initiation::make((system, ISSUER), key, now, said).expect("signed")
}

pub(crate) fn redeems(request: Request, initiation: &str) -> Request {
    request.with("grant_type", initiation::GRANT_TYPE).with("assertion", initiation)
}

/// A new instance of `billing` that works on what the portal `said`.
pub(crate) async fn begun(
    sts: &Sts,
    portal: &SigningKey,
    said: &Initiation,
) -> Result<Holder, OAuthError> {
    let (own, presented) = (key(), signed(sts, "portal", portal, said));
    let response = sts.send(redeems(sts.request(&own), &presented)).await?;
    Ok(Holder::given(sts, (Party::own(sts), own), response))
}

#[tokio::test]
async fn r_3_the_word_of_a_system_opens_exactly_the_task_that_it_names() {
    let (sts, portal) = before().await;
    let (own, said) = (key(), said(&sts));
    let presented = signed(&sts, "portal", &portal, &said);
    let token = sts.send(redeems(sts.request(&own), &presented)).await.expect("a token");
    let claims = sts.verified(&token);
    assert_eq!((claims.sub.as_str(), claims.act.is_some()), ("carla", true));
    let instance: InstanceId = claims.instance().parse().expect("an instance");
    let instance: Instance = sts.fact(FactKey::instance(instance)).await;
    let task: Task = sts.fact(FactKey::task(instance.task)).await;
    assert_eq!(task.subject, TaskSubject::OnBehalfOf { person: "carla".parse().unwrap() });
    let tools = BTreeSet::from(["crm/lookup".parse().unwrap()]);
    let scope = Scope { tools, max_calls: Some(3), ..Scope::default() };
    assert_eq!((&task.scope, task.deadline.as_seconds()), (&scope, said.task.until));
    let mandate: Mandate = sts.fact(FactKey::mandate(task.mandate)).await;
    assert_eq!(claims.authorization_details[0].mandate, mandate.digest().to_string());
    let MandateBasis::Initiated { system, request, subject } = &mandate.basis else {
        panic!("{mandate:?}");
    };
    assert_eq!((system.as_str(), subject.as_str()), ("portal", "carla"));
    assert_eq!(*request, model::Sha256Digest::of(presented.as_bytes()));
}

/// Whoever did not hear the answer asks again; another task is another instance's.
#[tokio::test]
async fn an_instance_has_one_task() {
    let (sts, portal) = before().await;
    let own = key();
    let presented = signed(&sts, "portal", &portal, &said(&sts));
    let first = sts.request(&own);
    let attempt = first.parameters.iter().find(|(name, _)| *name == "attempt").cloned().unwrap();
    sts.send(redeems(first, &presented)).await.expect("a token");
    let again = sts.request(&own).unchained().with("attempt", &attempt.1);
    sts.send(redeems(again, &presented)).await.expect("the same attempt");
    let other = signed(&sts, "portal", &portal, &said(&sts));
    let refused = sts.send(redeems(sts.request(&own), &other)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidGrant, "{refused}");
    assert_eq!(sts.causes(1).await, ["has_a_task"]);
    let plain = key();
    sts.token(&plain).await.expect("a standing mandate");
    let refused = sts.send(redeems(sts.request(&plain), &other)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidGrant, "{refused}");
}

#[tokio::test]
async fn of_64_racers_for_one_initiation_one_begins_the_task() {
    let (sts, portal) = before().await;
    let presented = signed(&sts, "portal", &portal, &said(&sts));
    let asked = (0..64).map(|_| {
        let (sts, presented) = (sts.clone(), presented.clone());
        tokio::spawn(
            async move { sts.send(redeems(sts.request(&key()), &presented)).await.is_ok() },
        )
    });
    let won = join_all(asked).await.into_iter().filter(|one| *one.as_ref().unwrap()).count();
    assert_eq!(won, 1);
}

/// What the portal says is wrong in one way: it is refused with `code` and recorded as `cause`.
async fn check(
    change: impl FnOnce(&mut Initiation),
    system: &str,
    (code, cause): (ErrorCode, &str),
) {
    let (sts, portal) = before().await;
    let mut said = said(&sts);
    change(&mut said);
    let presented = signed(&sts, system, &portal, &said);
    let refused = sts.send(redeems(sts.request(&key()), &presented)).await.expect_err(cause);
    assert_eq!(refused.code, code, "{refused}");
    assert_eq!(sts.causes(1).await, [cause]);
}

#[tokio::test]
async fn n_005_no_initiation_is_wider_than_purpose_and_ceiling() {
    let too_wide = (ErrorCode::InvalidScope, "initiation_too_wide");
    check(|said| said.task.tools.push("other/*".to_owned()), "portal", too_wide).await;
    let invalid = (ErrorCode::InvalidGrant, "initiation_invalid");
    check(|said| said.task.tools.clear(), "portal", invalid).await;
    check(|said| said.task.tools.push("no pattern".to_owned()), "portal", invalid).await;
    check(|said| said.task.harm.push("no class".to_owned()), "portal", invalid).await;
    check(|said| said.task.purpose = "other".to_owned(), "portal", invalid).await;
    check(|said| said.agent = "other".to_owned(), "portal", invalid).await;
    check(|said| said.subject = "nobody".to_owned(), "portal", invalid).await;
    check(|said| said.exp -= 3_600, "portal", invalid).await;
    check(|said| said.task.until -= 3_600, "portal", invalid).await;
    check(|_| {}, "another", invalid).await;
}

/// No task is longer than a task may be, and none outlives the key by which it was asked for.
#[tokio::test]
async fn n_005_no_initiation_is_longer_than_a_task_and_the_systems_key() {
    let (sts, portal) = before().await;
    let mut said = said(&sts);
    said.task.until = 9_000_000_000_000_000;
    let deadline = async |said: &Initiation| {
        let presented = signed(&sts, "portal", &portal, said);
        let token = sts.send(redeems(sts.request(&key()), &presented)).await.expect("a token");
        let instance = sts.verified(&token).instance().parse().expect("an instance");
        let instance: Instance = sts.fact(FactKey::instance(instance)).await;
        let task: Task = sts.fact(FactKey::task(instance.task)).await;
        let mandate: Mandate = sts.fact(FactKey::mandate(task.mandate)).await;
        assert_eq!(task.deadline, mandate.valid_until);
        task.deadline.as_seconds() - sts.world.clock.now().as_seconds()
    };
    assert_eq!(deadline(&said).await, 8 * 3_600);
    let place = FactKey::system(&"portal".parse().unwrap());
    let mut system: InitiatingSystem = sts.fact(place.clone()).await;
    system.key_expires = sts.world.clock.now().plus(std::time::Duration::from_mins(10));
    sts.world.put(place, &system).await;
    said.jti = sts.jti();
    assert_eq!(deadline(&said).await, 600);
}

/// An agent that works for people only gets nothing without an initiation.
#[tokio::test]
async fn an_agent_without_a_standing_mandate_works_for_people_only() {
    let (sts, portal) = before().await;
    sts.works_for_people_only().await;
    let refused = sts.send(sts.request(&key())).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnauthorizedClient, "{refused}");
    let link = refused.consent.expect("where a person can give one");
    assert!(link.consent_uri.starts_with("https://people.example/consent/con_"), "{link:?}");
    assert_eq!(sts.causes(1).await, ["no_standing_mandate"]);
    let presented = signed(&sts, "portal", &portal, &said(&sts));
    let beside = sts.request(&key()).with("assertion", &presented);
    assert_eq!(sts.send(beside).await.unwrap_err().code, ErrorCode::InvalidRequest);
    let other = redeems(sts.request(&key()), &presented).with("purpose", "other");
    assert_eq!(sts.send(other).await.unwrap_err().code, ErrorCode::InvalidScope);
    sts.send(redeems(sts.request(&key()), &presented)).await.expect("a token");
}

/// A task of another agent cannot be begun by this one, nor one without an initiation.
#[tokio::test]
async fn n_001_an_initiation_is_for_the_agent_that_authenticated() {
    let (sts, portal) = before().await;
    let theirs = key();
    sts.another_agent("other", &theirs).await;
    let mut said = said(&sts);
    said.agent = "other".to_owned();
    let presented = signed(&sts, "portal", &portal, &said);
    let refused = sts.send(redeems(sts.request(&key()), &presented)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidGrant, "{refused}");
    let without = sts.request(&key()).with("grant_type", initiation::GRANT_TYPE);
    assert_eq!(sts.send(without).await.unwrap_err().code, ErrorCode::InvalidRequest);
}

//! Consent: what people are shown, what they answer, and that nobody answers for another.

use std::collections::BTreeSet;
use std::time::Duration;

use authority::AdminAct;
use model::{
    Clock as _, Consent, ConsentId, ConsentState, FactKey, Mandate, MandateBasis, Person, PersonId,
    Purpose, ResourceRef,
};
use pap::{AdminError, Answer};

use crate::desk::Desk;

const HOUR: Duration = Duration::from_hours(1);

/// A deployment with the person `carla`, of whom the agent asks something.
async fn desk() -> (Desk, PersonId, Consent) {
    let desk = Desk::new().await;
    let command = pap::Command::PersonAdd { id: "carla".to_owned(), groups: Vec::new() };
    desk.run(command).await.expect("she is added");
    let (facts, now) = (&desk.world.standing, desk.world.clock.now());
    let mut scope = facts.purpose.scope.clone();
    scope.tools = BTreeSet::from(["crm/lookup".parse().unwrap(), "crm/refund".parse().unwrap()]);
    scope.max_calls = Some(3);
    let consent = Consent {
        id: ConsentId::new(desk.world.entropy.as_ref()),
        agent: facts.agent.name.clone(),
        purpose: facts.purpose.id.clone(),
        scope,
        until: now.plus(24 * HOUR),
        asked: now,
        expires: now.plus(Duration::from_mins(10)),
        state: ConsentState::Pending,
        client: None,
    };
    desk.world.put(FactKey::consent(consent.id), &consent).await;
    (desk, "carla".parse().expect("a person"), consent)
}

/// The digest of what `person` is shown.
async fn shown(desk: &Desk, person: &PersonId, asked: &Consent) -> String {
    let shown = desk.administration.consent_show(person, &asked.id.to_string()).await;
    shown.expect("it can be answered").terms.digest().to_string()
}

async fn answer(
    desk: &Desk,
    person: &PersonId,
    asked: &Consent,
    answer: Answer,
) -> Result<Option<Mandate>, AdminError> {
    let shown = shown(desk, person, asked).await;
    let id = asked.id.to_string();
    let answered = desk.administration.consent_answer(person, &id, (answer, &shown)).await;
    answered.map(|answered| answered.mandate)
}

#[tokio::test]
async fn nobody_consents_for_another() {
    let (desk, carla, asked) = desk().await;
    let read = shown(&desk, &carla, &asked).await;
    let mandate = answer(&desk, &carla, &asked, Answer::Once).await.expect("she may");
    let mandate = mandate.expect("she did");
    let MandateBasis::Consented { subject, request, once } = &mandate.basis else {
        panic!("{mandate:?}");
    };
    assert_eq!((subject, request.to_string(), *once), (&carla, read, true));
    assert_eq!(mandate.scope, asked.scope);
    let state = desk.fact(FactKey::consent(asked.id)).await.expect("it is kept");
    assert_eq!(state["state"]["mandate"], mandate.id.to_string());
    // An administrator is shown something else, and takes back nothing of hers as their own.
    let alice = desk.world.standing.sponsor.id.clone();
    let id = mandate.id.to_string();
    let refused = desk.administration.consent_withdraw(&alice, &id).await;
    assert!(matches!(refused, Err(AdminError::Missing(_))), "{refused:?}");
    let again = desk.administration.consent_show(&alice, &asked.id.to_string()).await;
    assert!(matches!(again, Err(AdminError::Missing(_))), "it was answered: {again:?}");
    desk.administration.consent_withdraw(&carla, &id).await.expect("it is hers");
    let given = desk.administration.consents_of(&carla).await.expect("they are hers");
    assert_eq!(given.iter().map(|given| given.is_valid).collect::<Vec<_>>(), [false]);
}

#[tokio::test]
async fn a_consent_is_no_wider_and_no_longer_than_what_was_asked() {
    let check = async |how: Answer, hours: u32| {
        let (desk, carla, asked) = desk().await;
        let mandate = answer(&desk, &carla, &asked, how).await.expect("she may").expect("she did");
        assert_eq!(mandate.valid_until.since(mandate.given), hours * HOUR);
        assert_eq!(mandate.scope, asked.scope);
    };
    let (desk, carla, asked) = desk().await;
    let now = desk.world.clock.now();
    check(Answer::Once, 8).await;
    check(Answer::Until(now.plus(1_000 * HOUR)), 24).await;
    check(Answer::Until(now.plus(2 * HOUR)), 2).await;
    let past = answer(&desk, &carla, &asked, Answer::Until(now)).await;
    assert!(matches!(past, Err(AdminError::Invalid(_))), "{past:?}");
    assert_eq!(answer(&desk, &carla, &asked, Answer::Refuse).await.expect("she may"), None);
    let state = desk.fact(FactKey::consent(asked.id)).await.expect("it is kept");
    assert_eq!(state["state"]["is"], "refused");
}

/// N-040f: what is agreed is what was shown, every hidden character made visible.
#[tokio::test]
async fn n_040f_what_is_agreed_is_what_was_shown() {
    let (desk, carla, asked) = desk().await;
    let read = shown(&desk, &carla, &asked).await;
    let mut purpose: Purpose = desk.world.standing.purpose.clone();
    purpose.description = "pays \u{202e}nothing\u{200b}".to_owned();
    desk.world.put(FactKey::purpose(&purpose.id), &purpose).await;
    let id = asked.id.to_string();
    let shown = desk.administration.consent_show(&carla, &id).await.expect("it can be answered");
    let what = shown.terms.0.iter().find(|(name, _)| name == "What for").expect("it is told");
    assert!(what.1.ends_with("pays \\u{202e}nothing\\u{200b}"), "{what:?}");
    let tools: Vec<_> = shown.terms.0.iter().filter(|(name, _)| name == "Tool").collect();
    assert_eq!(tools.len(), 2);
    assert!(tools.iter().all(|(_, tool)| tool.contains("answers for it")), "{tools:?}");
    let stale = desk.administration.consent_answer(&carla, &id, (Answer::Once, &read)).await;
    assert!(matches!(stale, Err(AdminError::Conflict(_))), "{stale:?}");
}

#[tokio::test]
async fn n_040g_who_is_not_active_or_not_permitted_consents_to_nothing() {
    let (desk, carla, asked) = desk().await;
    let mut late = asked.clone();
    late.id = ConsentId::new(desk.world.entropy.as_ref());
    late.expires = desk.world.clock.now();
    desk.world.put(FactKey::consent(late.id), &late).await;
    let refused = desk.administration.consent_show(&carla, &late.id.to_string()).await;
    assert!(matches!(refused, Err(AdminError::Missing(_))), "{refused:?}");
    let command = pap::Command::PersonDeactivate { id: "carla".to_owned() };
    desk.run(command).await.expect("she leaves");
    let refused = answer(&desk, &carla, &asked, Answer::Once).await;
    assert!(matches!(refused, Err(AdminError::Refused(_))), "{refused:?}");
    let key = FactKey::login("https://idp.example", "00u1");
    desk.world.put(key, &carla).await;
    let known = desk.administration.logged_in("https://idp.example", "00u1").await;
    assert_eq!(known.expect("it can be read"), None);
    let known = desk.administration.logged_in("https://idp.example", "carla@example.com").await;
    assert_eq!(known.expect("it can be read"), None);
}

/// The act is one of policy: where it permits nobody, nobody consents.
#[tokio::test]
async fn i_22_giving_is_decided_by_policy_and_recorded() {
    let (desk, carla, asked) = desk().await;
    answer(&desk, &carla, &asked, Answer::Once).await.expect("she may").expect("she did");
    let act = |action| AdminAct {
        administrator: carla.clone(),
        action,
        target: ResourceRef::Agent(asked.agent.clone()),
        change: serde_json::Value::Null,
        reads: (Vec::new(), model::Revision(u64::MAX)),
        effects: Vec::new(),
    };
    assert!(desk.world.authority.may_administer(act("mandate/give")).await.is_ok());
    assert!(desk.world.authority.may_administer(act("agent/suspend")).await.is_err());
    let records = desk.world.records("administration").await;
    let given = records.iter().filter(|entry| entry.text_of("action") == "mandate/give").count();
    assert_eq!(given, 1);
    let person: Person = desk.world.standing.sponsor.clone();
    assert!(person.is_active());
}

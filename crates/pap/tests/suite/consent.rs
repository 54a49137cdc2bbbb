//! Consent: what people are shown, what they answer, and that nobody answers for another.

use std::collections::BTreeSet;
use std::time::Duration;

use authority::{AdminAct, ChangedBy};
use model::{
    AskedOf, Clock as _, Consent, ConsentId, ConsentState, FactKey, Harm, LoginSession, Mandate,
    MandateBasis, Person, PersonId, PersonState, Purpose, ResourceRef, Tool,
};
use pap::{AdminError, Answer, Answered};
use store::{Store as _, Unit};

use crate::desk::Desk;
use crate::support::POLICY;
use crate::support::stores::OnCommit;

const HOUR: Duration = Duration::from_hours(1);

/// A deployment with the person `carla`, of whom the agent asks something.
pub(crate) async fn desk() -> (Desk, PersonId, Consent) {
    let desk = Desk::new().await;
    let command = pap::Command::PersonAdd { id: "carla".to_owned(), groups: Vec::new() };
    desk.run(command).await.expect("she is added");
    let asked = asked(&desk).await;
    (desk, "carla".parse().expect("a person"), asked)
}

/// The agent asks somebody something.
pub(crate) async fn asked(desk: &Desk) -> Consent {
    let (facts, now) = (&desk.world.standing, desk.world.clock.now());
    let mut scope = facts.purpose.scope.clone();
    scope.tools = BTreeSet::from(["crm/lookup".parse().unwrap(), "crm/refund".parse().unwrap()]);
    scope.max_calls = Some(3);
    let consent = Consent {
        id: ConsentId::new(desk.world.entropy.as_ref()),
        agent: facts.agent.name.clone(),
        of: None,
        purpose: facts.purpose.id.clone(),
        scope,
        resources: BTreeSet::new(),
        delegable: false,
        until: now.plus(24 * HOUR),
        asked: now,
        expires: now.plus(Duration::from_mins(10)),
        state: ConsentState::Pending,
        client: None,
        key: None,
    };
    desk.world.put(FactKey::consent(consent.id), &consent).await;
    consent
}

/// The digest of what `person` is shown.
pub(crate) async fn shown(desk: &Desk, person: &PersonId, asked: &Consent) -> String {
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
    let reply = desk.administration.consent_answer(person, &id, (answer, &shown)).await?;
    Ok(match reply.answered {
        Answered::Given(mandate) => Some(*mandate),
        Answered::Refused => None,
    })
}

#[tokio::test]
async fn n_090_nobody_consents_for_another() {
    let (desk, carla, asked) = desk().await;
    let read = shown(&desk, &carla, &asked).await;
    let mandate = answer(&desk, &carla, &asked, Answer::Once).await.expect("she may");
    let mandate = mandate.expect("she did");
    let MandateBasis::Consented { subject, request, once, agreed, .. } = &mandate.basis else {
        panic!("{mandate:?}");
    };
    assert_eq!((subject, request.to_string(), *once), (&carla, read, true));
    assert_eq!(mandate.scope, asked.scope);
    let harm = |tool: &str| agreed.harm[&tool.parse().unwrap()].clone();
    assert_eq!(harm("crm/refund"), BTreeSet::from([Harm::MovesMoney]));
    assert_eq!((agreed.harm.len(), agreed.delegable, agreed.resources.len()), (2, false, 0));
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

/// What is beyond calls of tools, and that others may do it, is on the page, and so in its digest.
#[tokio::test]
async fn n_040f_a_page_says_what_is_wider_than_its_tools() {
    let (desk, carla, asked) = desk().await;
    let check = async |change: fn(&mut Consent), name: &str, expected: &str| {
        let mut other = asked.clone();
        change(&mut other);
        desk.world.put(FactKey::consent(other.id), &other).await;
        let shown = desk.administration.consent_show(&carla, &other.id.to_string()).await.unwrap();
        let told = shown.terms.0.iter().find(|(told, _)| told == name).expect("it is told");
        assert_eq!(told.1, expected);
        shown.terms.digest()
    };
    let plain = check(|_| {}, "May hand work on", "no, it does all itself").await;
    let yes = "yes, any part of this to other agents, as far as policy lets it";
    let handing = check(|it| it.delegable = true, "May hand work on", yes).await;
    let any = check(|_| {}, "Data objects", "whatever its tools reach").await;
    let some: fn(&mut Consent) =
        |it| it.scope.objects = Some(["crm/a*", "crm/b"].map(|it| it.parse().unwrap()).into());
    let some = check(some, "Data objects", "crm/a*, crm/b").await;
    assert!(plain == any && plain != some);
    let nothing = check(|_| {}, "Beside tools", "nothing").await;
    let more = "crm: its resources and prompts, and what it asks of the agent";
    let named: fn(&mut Consent) = |it| it.resources = BTreeSet::from(["crm".parse().unwrap()]);
    let reading = check(named, "Beside tools", more).await;
    assert!(plain == nothing && plain != handing && plain != reading);
    let mandate = answer(&desk, &carla, &asked, Answer::Once).await.unwrap().unwrap();
    let MandateBasis::Consented { agreed, .. } = mandate.basis else { panic!("it is a consent") };
    assert!(agreed.resources.contains(&"crm".parse().unwrap()));
}

/// Where data objects are on the page, it says what names them, and that is kept with the categories.
#[tokio::test]
async fn r_41_a_page_says_what_names_data_objects() {
    let (desk, carla, mut asked) = desk().await;
    let mut purpose: Purpose = desk.world.standing.purpose.clone();
    purpose.data = BTreeSet::from(["orders".parse().unwrap()]);
    desk.world.put(FactKey::purpose(&purpose.id), &purpose).await;
    let places = |all: &[&str]| Some(all.iter().map(|&place| place.to_owned()).collect());
    let mut lookup = desk.world.standing.tools[0].clone();
    lookup.objects = places(&["/account"]);
    desk.world.put(FactKey::tool(&lookup.tool), &lookup).await;
    let plain = answer(&desk, &carla, &asked, Answer::Once).await.unwrap().unwrap();
    let MandateBasis::Consented { agreed, .. } = &plain.basis else { panic!("it is a consent") };
    assert!(agreed.objects.is_empty(), "the page named none");

    asked.id = ConsentId::new(desk.world.entropy.as_ref());
    asked.scope.objects = Some(BTreeSet::from(["crm/c-*".parse().unwrap()]));
    desk.world.put(FactKey::consent(asked.id), &asked).await;
    let shown = desk.administration.consent_show(&carla, &asked.id.to_string()).await.unwrap();
    let tools = shown.terms.0.iter().filter(|(name, _)| name == "Tool").map(|(_, tool)| tool);
    let tools: Vec<_> = tools.collect();
    assert!(tools[0].ends_with("; it is used on what /account names"), "{tools:?}");
    assert!(tools[1].ends_with("; nobody said on which data objects it is used"), "{tools:?}");
    let mandate = answer(&desk, &carla, &asked, Answer::Once).await.unwrap().unwrap();
    let MandateBasis::Consented { agreed, .. } = &mandate.basis else { panic!("it is a consent") };
    assert_eq!(agreed.objects.get(&lookup.tool), lookup.objects.as_ref());
    assert_eq!((agreed.objects.len(), &agreed.data), (1, &purpose.data));
    let is_agreed = |all: &[&str]| {
        let tool = Tool { objects: places(all), ..lookup.clone() };
        mandate.agrees_to(&tool)
    };
    assert!(is_agreed(&["/account"]) && is_agreed(&["/account", "/amount"]));
    assert!(!is_agreed(&[]) && !is_agreed(&["/amount"]));
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
    for subject in ["00u1", "carla@example.com"] {
        let session = LoginSession { id: None, since: desk.world.clock.now() };
        let known = desk.administration.logged_in(("https://idp.example", subject), session).await;
        assert_eq!(known.expect("it can be read"), None, "{subject}");
    }
}

/// Whom the agent names narrows who may look and answer, and vouches for nobody.
#[tokio::test]
async fn n_040g_what_is_asked_of_one_person_nobody_else_can_open() {
    let (desk, carla, asked) = desk().await;
    let olga = desk.world.standing.other.id.clone();
    let (idp, id) = ("https://idp.example", asked.id.to_string());
    desk.world.put(FactKey::login(idp, "00u1"), &carla).await;
    let login = |subject: &str| AskedOf::Login { key: FactKey::login(idp, subject) };
    let check = async |of: AskedOf, opens: [bool; 2]| {
        let narrowed = Consent { of: Some(of.clone()), ..asked.clone() };
        desk.world.put(FactKey::consent(asked.id), &narrowed).await;
        for (person, opens) in [&carla, &olga].into_iter().zip(opens) {
            let shown = desk.administration.consent_show(person, &id).await;
            assert_eq!(shown.is_ok(), opens, "{person:?} {of:?}");
            let missing = matches!(&shown, Err(AdminError::Missing(_)));
            assert_eq!(missing, !opens, "{person:?} {of:?}");
        }
    };
    check(AskedOf::Person { id: carla.clone() }, [true, false]).await;
    check(AskedOf::Person { id: "nobody".parse().unwrap() }, [false, false]).await;
    check(login("carla"), [false, false]).await;
    check(login("00u1"), [true, false]).await;
    let read = shown(&desk, &carla, &asked).await;
    let given = desk.administration.consent_answer(&olga, &id, (Answer::Once, &read)).await;
    assert!(matches!(given, Err(AdminError::Missing(_))), "{given:?}");
    assert!(answer(&desk, &carla, &asked, Answer::Once).await.unwrap().is_some());
}

/// Of an agent that would be denied everything, nothing is shown, and to nothing of it is consented,
/// whatever was shown before.
#[tokio::test]
async fn n_012_nobody_consents_to_an_agent_that_is_stopped() {
    let check = async |change: fn(&Desk) -> Unit, cause: &str| {
        let (desk, carla, asked) = desk().await;
        let read = shown(&desk, &carla, &asked).await;
        desk.world.store.commit(change(&desk)).await.expect("it commits");
        let id = asked.id.to_string();
        let shown = desk.administration.consent_show(&carla, &id).await;
        assert!(matches!(shown, Err(AdminError::Missing(_))), "{cause}: {shown:?}");
        for answer in [Answer::Once, Answer::Refuse] {
            let given = desk.administration.consent_answer(&carla, &id, (answer, &read)).await;
            assert!(matches!(given, Err(AdminError::Missing(_))), "{cause}: {given:?}");
        }
        crate::support::until("each is recorded", || async {
            let refusals = desk.world.records("refusal").await;
            refusals.iter().filter(|it| it.text_of("cause") == cause).count() == 3
        })
        .await;
    };
    check(|desk| desk.world.stopping("all"), "agent_stopped").await;
    check(|desk| desk.world.stopping("agent/billing"), "agent_stopped").await;
    check(|desk| desk.world.quarantining(), "agent_quarantined").await;
    check(|desk| desk.world.sponsor_leaves(), "sponsor_not_active").await;
}

/// A stop that comes while somebody answers is not passed by.
#[tokio::test]
async fn n_012_a_stop_while_somebody_consents_is_seen() {
    let stops: [fn(&Desk) -> Unit; 2] =
        [|desk| desk.world.stopping("all"), |desk| desk.world.quarantining()];
    for stop in stops {
        let (desk, carla, asked) = desk().await;
        let read = shown(&desk, &carla, &asked).await;
        desk.world.store.on_commit([OnCommit::After(stop(&desk))]);
        let id = asked.id.to_string();
        let given = desk.administration.consent_answer(&carla, &id, (Answer::Once, &read)).await;
        assert!(matches!(given, Err(AdminError::Conflict(_))), "{given:?}");
    }
}

/// Who comes back logs in again: a session of before is nobody's.
#[tokio::test]
async fn a_session_does_not_outlast_who_left_and_came_back() {
    let (desk, carla, _) = desk().await;
    desk.world.put(FactKey::login("https://idp.example", "00u1"), &carla).await;
    let known = async |since| {
        let session = LoginSession { id: None, since };
        let known = desk.administration.logged_in(("https://idp.example", "00u1"), session).await;
        known.expect("it can be read")
    };
    let begun = desk.world.clock.now();
    assert_eq!(known(begun).await, Some(carla.clone()));
    desk.world.clock.advance(Duration::from_secs(1));
    let mut back = crate::support::person("carla", &[]);
    let cutoff = desk.world.clock.now();
    back.state = PersonState::Active { authorization_cutoff: Some(cutoff) };
    desk.world.put(FactKey::person(&carla), &back).await;
    assert_eq!(known(begun).await, None);
    assert_eq!(known(cutoff.plus(Duration::from_millis(1))).await, Some(carla));
}

/// Whoever sends an answer again, or did not hear, is told what they answered, and nobody else is.
#[tokio::test]
async fn an_answer_that_is_repeated_is_told_again() {
    let (desk, carla, asked) = desk().await;
    let (read, id) = (shown(&desk, &carla, &asked).await, asked.id.to_string());
    desk.world.store.on_commit([OnCommit::WrittenButLost]);
    let answered = async |person: &PersonId, answer| {
        desk.administration.consent_answer(person, &id, (answer, &read)).await
    };
    let lost = answered(&carla, Answer::Once).await;
    assert!(matches!(lost, Err(AdminError::Unknown(_))), "{lost:?}");
    for answer in [Answer::Once, Answer::Refuse] {
        let again = answered(&carla, answer).await.expect("she answered");
        let Answered::Given(mandate) = again.answered else { panic!("{again:?}") };
        let state = desk.fact(FactKey::consent(asked.id)).await.expect("it is kept");
        assert_eq!(state["state"]["mandate"], mandate.id.to_string());
    }
    let others = answered(&desk.world.standing.other.id, Answer::Once).await;
    assert!(matches!(others, Err(AdminError::Missing(_))), "{others:?}");

    let (desk, carla, asked) = self::desk().await;
    let no = answer(&desk, &carla, &asked, Answer::Refuse).await.expect("she may");
    assert_eq!(no, None);
    let again = desk.administration.consent_answered(&carla, &asked.id.to_string()).await;
    assert_eq!(again.expect("it can be read"), Some(Answered::Refused));
    let other = &desk.world.standing.other.id;
    let others = desk.administration.consent_answered(other, &asked.id.to_string()).await;
    assert_eq!(others.expect("it can be read"), None);
}

/// Whatever policy says, whoever consented takes it back; and whatever the clock does.
#[tokio::test]
async fn nothing_keeps_a_person_from_taking_back_what_they_gave() {
    let (desk, carla, asked) = desk().await;
    let mandate = answer(&desk, &carla, &asked, Answer::Once).await.expect("she may");
    let id = mandate.expect("she did").id.to_string();
    desk.world.publish(r#"@id("no") forbid (principal, action, resource);"#).await;
    let refused = desk.run(pap::Command::PersonList).await;
    assert!(matches!(refused, Err(AdminError::Refused(_))), "{refused:?}");
    desk.world.publish("").await;
    desk.world.clock.step_wall(600_000);
    desk.administration.consent_withdraw(&carla, &id).await.expect("it is hers");
    let given = desk.administration.consents_of(&carla).await.expect("they are hers");
    assert_eq!(given.iter().map(|given| given.is_valid).collect::<Vec<_>>(), [false]);
    let record = desk.world.records("administration").await.pop().expect("it is recorded");
    assert_eq!(
        (record.text_of("action"), record.text_of("decision")),
        ("consent/withdraw", "permit")
    );
    desk.world.clock.step_wall(-600_000);
    desk.world.clock.advance(Duration::from_mins(1));
    desk.world.publish(POLICY).await;
    let replayed = desk.run(pap::Command::LogReplay).await.expect("she may read");
    assert_eq!(replayed["differ"], serde_json::json!([]), "{replayed}");
}

/// Whatever is refused in a page leaves a record of why.
#[tokio::test]
async fn i_22_what_is_refused_in_a_page_is_recorded() {
    let (desk, carla, asked) = desk().await;
    let check = async |refused: Result<(), AdminError>, cause: &str| {
        assert!(refused.is_err(), "{cause}");
        crate::support::until(cause, || async {
            let refusals = desk.world.records("refusal").await;
            refusals.last().is_some_and(|it| it.text_of("cause") == cause)
        })
        .await;
    };
    let id = asked.id.to_string();
    let show = async |id: &str| desk.administration.consent_show(&carla, id).await.map(drop);
    let answered = async |answer, shown: &str| {
        desk.administration.consent_answer(&carla, &id, (answer, shown)).await.map(drop)
    };
    let read = shown(&desk, &carla, &asked).await;
    check(show("con_1").await, "consent_unknown").await;
    let nobodys = format!("con_{}", "0".repeat(32));
    check(show(&nobodys).await, "consent_unknown").await;
    check(answered(Answer::Once, "another digest").await, "consent_changed").await;
    let now = desk.world.clock.now();
    check(answered(Answer::Until(now), &read).await, "consent_day_past").await;
    let taken = desk.administration.consent_withdraw(&carla, "nothing").await;
    check(taken, "mandate_unknown").await;
    desk.world.clock.advance(Duration::from_mins(10));
    check(show(&id).await, "consent_not_open").await;
}

/// Groups in a token take away of those in the register, and give none.
#[tokio::test]
async fn groups_in_a_token_count_as_far_as_the_register_has_them() {
    const STAFF: &str = r#"@id("staff") permit (principal in Group::"staff",
        action == Action::"mandate/give", resource);"#;
    let check = async |registered: &[&str], in_token: Option<&[&str]>, is_permitted: bool| {
        let (desk, carla, asked) = desk().await;
        let person = crate::support::person("carla", registered);
        desk.world.put(FactKey::person(&carla), &person).await;
        let adding =
            r#"@id("reading") permit (principal, action == Action::"crm/lookup", resource);"#;
        desk.world.publish(&format!("{STAFF}{adding}")).await;
        let groups: Option<BTreeSet<String>> =
            in_token.map(|groups| groups.iter().map(|&group| group.to_owned()).collect());
        let by = pap::By { groups: groups.as_ref(), ..pap::By::from(&carla) };
        let (read, id) = (shown(&desk, &carla, &asked).await, asked.id.to_string());
        let given = desk.administration.consent_answer(by, &id, (Answer::Once, &read)).await;
        let told = format!("{registered:?} {in_token:?}: {given:?}");
        assert_eq!(given.is_ok(), is_permitted, "{told}");
        assert!(is_permitted || matches!(given, Err(AdminError::Refused(_))), "{told}");
    };
    check(&["staff"], None, true).await;
    check(&["staff"], Some(&["staff", "others"]), true).await;
    check(&["staff"], Some(&["others"]), false).await;
    check(&["staff"], Some(&[]), false).await;
    check(&[], Some(&["staff"]), false).await;
}

/// The act is one of policy: where it permits nobody, nobody consents.
#[tokio::test]
async fn i_22_giving_is_decided_by_policy_and_recorded() {
    let (desk, carla, asked) = desk().await;
    answer(&desk, &carla, &asked, Answer::Once).await.expect("she may").expect("she did");
    let act = |action| AdminAct {
        by: ChangedBy::person(carla.clone()),
        action,
        target: ResourceRef::Agent(asked.agent.clone()),
        change: serde_json::Value::Null,
        reads: (Vec::new(), model::Revision(u64::MAX)),
        effects: Vec::new(),
    };
    assert!(desk.world.authority.may_administer(&act("mandate/give")).await.is_ok());
    assert!(desk.world.authority.may_administer(&act("agent/suspend")).await.is_err());
    let records = desk.world.records("administration").await;
    let given = records.iter().filter(|entry| entry.text_of("action") == "mandate/give").count();
    assert_eq!(given, 1);
    let person: Person = desk.world.standing.sponsor.clone();
    assert!(person.is_active());
}

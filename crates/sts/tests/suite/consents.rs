//! What an agent asks a person for, and what their answer opens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use authority::{Effect, Unit};
use keys::SigningKey;
use model::{
    Agreed, AskedOf, Authentication, Clock as _, Consent, ConsentSession, ConsentState, FactKey,
    Instance, InstanceId, LoginSession, Mandate, MandateBasis, MandateId, Person, PersonState,
    Sha256Digest, Task, Withdrawn,
};
use oauth::consent::{self, Pushed};
use oauth::{ConsentLink, ErrorCode, OAuthError};
use serde_json::{Value, json};
use store::Store as _;
use sts::TokenHttpRequest;

use crate::ISSUER;
use crate::client::{Request, Sts, key};

const HOUR: Duration = Duration::from_hours(1);

/// A deployment with the person `carla`.
pub(crate) async fn before() -> Sts {
    let sts = Sts::new().await;
    let carla = Person::new("carla".parse().unwrap(), BTreeSet::new());
    let data_key = sts.world.journal.sealer().new_data_key(&carla.id);
    let effects = vec![Effect::Put { key: data_key.key, body: data_key.body }];
    sts.world.store.commit(Unit { effects, ..Unit::default() }).await.expect("it commits");
    sts.world.put(FactKey::person(&carla.id), &carla).await;
    sts
}

/// What is asked for, with nothing wrong.
pub(crate) fn task(sts: &Sts) -> Value {
    json!({
        "type": "agent_task",
        "purpose": sts.world.standing.purpose.id,
        "tools": ["crm/lookup"],
        "max_calls": 3,
        "until": sts.world.clock.now().as_seconds() + 24 * 3_600,
    })
}

pub(crate) async fn push(sts: &Sts, request: Request, task: &Value) -> Result<Pushed, OAuthError> {
    let request = request.with("grant_type", "").with("authorization_details", "");
    let details = json!([task]).to_string();
    let request = request.and("authorization_details", &details);
    let all = request.parameters.iter().map(|(name, value)| (*name, value.as_str()));
    let all: Vec<_> = all.collect();
    let form = oauth::form::form(&all);
    let (form, arrived) = (form.as_bytes(), sts.world.clock.monotonic());
    let http = TokenHttpRequest { form, dpop: None, from: None, client: None, arrived };
    sts.service.push(http).await
}

pub(crate) async fn pushed(sts: &Sts) -> Pushed {
    push(sts, sts.request(&key()), &task(sts)).await.expect("it is kept")
}

pub(crate) fn redeems(request: Request, pushed: &Pushed) -> Request {
    request.with("grant_type", consent::GRANT_TYPE).with("request_uri", &pushed.request_uri)
}

pub(crate) async fn asked(sts: &Sts, pushed: &Pushed) -> Consent {
    let id = consent::requested(&pushed.request_uri).expect("one of ours");
    sts.fact(FactKey::consent(id.parse().expect("an id"))).await
}

/// Carla consents to what was pushed, for `lasts`.
pub(crate) async fn given(sts: &Sts, pushed: &Pushed, (once, lasts): (bool, Duration)) -> Mandate {
    let mut asked = asked(sts, pushed).await;
    let now = sts.world.clock.now();
    let mandate = Mandate {
        id: MandateId::new(now, sts.world.entropy.as_ref()),
        basis: MandateBasis::Consented {
            subject: "carla".parse().unwrap(),
            request: Sha256Digest::of(b"what she was shown"),
            once,
            agreed: Agreed {
                resources: asked.resources.clone(),
                delegable: asked.delegable,
                ..Agreed::default()
            },
            session: None,
        },
        agent: asked.agent.clone(),
        purpose: asked.purpose.clone(),
        scope: asked.scope.clone(),
        given: now,
        valid_until: now.plus(lasts),
        withdrawn: None,
    };
    asked.state = ConsentState::Given { mandate: mandate.id };
    sts.world.put(FactKey::mandate(mandate.id), &mandate).await;
    sts.world.put(FactKey::consent(asked.id), &asked).await;
    mandate
}

#[tokio::test]
async fn r_3_what_a_person_consented_to_opens_exactly_that() {
    let sts = before().await;
    let pushed = pushed(&sts).await;
    assert_eq!((pushed.expires_in, pushed.interval), (600, 5));
    assert!(pushed.consent_uri.starts_with("https://people.example/consent/con_"), "{pushed:?}");
    let events = sts.world.records("system").await;
    let event = events.iter().find(|entry| entry.text_of("event") == "consent_asked");
    // Who reads the log cannot open it.
    let kept = event.expect("that it was asked is on record").value["details"]["consent"].clone();
    assert_eq!(kept, asked(&sts, &pushed).await.digest().to_string());
    let mandate = given(&sts, &pushed, (true, 8 * HOUR)).await;
    let own = key();
    let token = sts.send(redeems(sts.request(&own), &pushed)).await.expect("a token");
    let claims = sts.verified(&token);
    assert_eq!((claims.sub.as_str(), claims.act.is_some()), ("carla", true));
    assert_eq!(claims.authorization_details[0].mandate, mandate.digest().to_string());
    let instance: InstanceId = claims.instance().parse().expect("an instance");
    let instance: Instance = sts.fact(FactKey::instance(instance)).await;
    let task: Task = sts.fact(FactKey::task(instance.task)).await;
    assert_eq!((&task.scope, task.mandate), (&mandate.scope, mandate.id));

    // Once is once, whoever asks; whoever did not hear the answer asks again.
    let refused = sts.send(redeems(sts.request(&key()), &pushed)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidGrant, "{refused}");
    assert_eq!(sts.causes(1).await, ["consent_replayed"]);
    let again = sts.send(redeems(sts.request(&own), &pushed)).await;
    assert!(again.as_ref().is_ok_and(|again| *again != token), "{again:?}");
}

/// RFC 9068 §2.2.1: what the provider said of the login in which the person consented is in each token that derives from
/// that; where it said nothing, nothing is.
#[tokio::test]
async fn a_token_tells_how_the_person_authenticated_who_consented() {
    let check = async |acr: Option<&str>, amr: &[&str]| {
        let sts = before().await;
        let pushed = pushed(&sts).await;
        let mut mandate = given(&sts, &pushed, (true, HOUR)).await;
        let (since, amr) = (mandate.given, amr.iter().map(|it| (*it).to_owned()).collect());
        let how = Authentication::said(acr.map(|_| since), acr, &amr);
        let MandateBasis::Consented { session, .. } = &mut mandate.basis else {
            panic!("{mandate:?}")
        };
        *session = Some(ConsentSession::of(LoginSession { id: None, since }, how.as_ref()));
        sts.world.put(FactKey::mandate(mandate.id), &mandate).await;
        let own = key();
        for _ in 0..2 {
            let token = sts.send(redeems(sts.request(&own), &pushed)).await.expect("a token");
            let claims = sts.verified(&token);
            assert_eq!(claims.auth_time, acr.map(|_| since.as_seconds()));
            assert_eq!((claims.acr.as_deref(), claims.amr), (acr, amr.clone()));
        }
    };
    check(Some("urn:example:loa2"), &["otp", "pwd"]).await;
    check(None, &[]).await;
}

#[tokio::test]
async fn until_a_date_there_are_tasks_and_none_is_longer_than_a_task() {
    let sts = before().await;
    let pushed = pushed(&sts).await;
    given(&sts, &pushed, (false, 20 * HOUR)).await;
    for _ in 0..2 {
        let token = sts.send(redeems(sts.request(&key()), &pushed)).await.expect("a token");
        let instance: InstanceId = sts.verified(&token).instance().parse().expect("an instance");
        let instance: Instance = sts.fact(FactKey::instance(instance)).await;
        let task: Task = sts.fact(FactKey::task(instance.task)).await;
        assert_eq!(task.deadline.since(sts.world.clock.now()), 8 * HOUR);
    }
}

/// What became of the request is told by `code`, and recorded as `cause`; gives where a person can consent anew.
async fn check(sts: &Sts, request: Request, code: ErrorCode, cause: &str) -> Option<ConsentLink> {
    let refused = sts.send(request).await.expect_err(cause);
    assert_eq!(refused.code, code, "{refused}");
    assert_eq!(sts.causes(1).await, [cause]);
    refused.consent
}

/// That `link` leads to where a person can consent once more to what was `before`, and to nothing else.
async fn asks_again(sts: &Sts, link: Option<ConsentLink>, before: &Consent) {
    let again = asked(sts, &as_pushed(link.expect("a link"))).await;
    assert!(again.id != before.id && again.is_open(sts.world.clock.now()), "{again:?}");
    let Consent { id, asked, expires, state, key, .. } = again.clone();
    assert_eq!(again, Consent { id, asked, expires, state, key, ..before.clone() });
}

/// What `link` names, as if its agent had pushed it.
fn as_pushed(ConsentLink { consent_uri, request_uri }: ConsentLink) -> Pushed {
    assert!(consent_uri.starts_with("https://people.example/consent/con_"), "{consent_uri}");
    Pushed { request_uri, expires_in: 600, consent_uri, interval: 5 }
}

#[tokio::test]
async fn without_an_answer_there_is_no_token() {
    let sts = before().await;
    let pushed = pushed(&sts).await;
    let refused = sts.send(redeems(sts.request(&key()), &pushed)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::AuthorizationPending);
    assert_eq!(as_pushed(refused.consent.expect("a link")), pushed);
    sts.world.clock.advance(Duration::from_mins(10));
    let request = redeems(sts.request(&key()), &pushed);
    let link = check(&sts, request, ErrorCode::ExpiredToken, "consent_expired").await;
    asks_again(&sts, link, &asked(&sts, &pushed).await).await;
}

#[tokio::test]
async fn what_was_refused_withdrawn_or_is_over_opens_nothing() {
    let sts = before().await;
    let no = pushed(&sts).await;
    let mut refused = asked(&sts, &no).await;
    refused.state =
        ConsentState::Refused { by: "carla".parse().unwrap(), since: sts.world.clock.now() };
    sts.world.put(FactKey::consent(refused.id), &refused).await;
    let request = redeems(sts.request(&key()), &no);
    let link = check(&sts, request, ErrorCode::AccessDenied, "consent_refused").await;
    assert_eq!(link, None, "who refused is not asked again");

    let sts = before().await;
    let taken_back = pushed(&sts).await;
    let mut mandate = given(&sts, &taken_back, (false, HOUR)).await;
    mandate.withdrawn = Some(Withdrawn { reason: "no".to_owned(), since: mandate.given });
    sts.world.put(FactKey::mandate(mandate.id), &mandate).await;
    let request = redeems(sts.request(&key()), &taken_back);
    let link = check(&sts, request, ErrorCode::AccessDenied, "consent_withdrawn").await;
    asks_again(&sts, link, &asked(&sts, &taken_back).await).await;

    // Who has begun by it gets no further, and has no use for another link.
    let sts = before().await;
    let (begun, own) = (pushed(&sts).await, key());
    let mut mandate = given(&sts, &begun, (false, HOUR)).await;
    sts.send(redeems(sts.request(&own), &begun)).await.expect("a token");
    mandate.withdrawn = Some(Withdrawn { reason: "no".to_owned(), since: mandate.given });
    sts.world.put(FactKey::mandate(mandate.id), &mandate).await;
    let request = redeems(sts.request(&own), &begun);
    let link = check(&sts, request, ErrorCode::AccessDenied, "consent_withdrawn").await;
    assert_eq!(link, None);

    let sts = before().await;
    let over = pushed(&sts).await;
    given(&sts, &over, (false, HOUR)).await;
    // What is over is forgotten once something else is asked.
    let was = asked(&sts, &over).await;
    sts.world.clock.advance(HOUR);
    let request = redeems(sts.request(&key()), &over);
    let link = check(&sts, request, ErrorCode::ExpiredToken, "consent_over").await;
    asks_again(&sts, link, &was).await;

    // Once it is too late for all that was asked, there is nothing to ask for.
    let sts = before().await;
    let late = pushed(&sts).await;
    given(&sts, &late, (false, 24 * HOUR)).await;
    sts.world.clock.advance(24 * HOUR);
    let request = redeems(sts.request(&key()), &late);
    let link = check(&sts, request, ErrorCode::ExpiredToken, "consent_over").await;
    assert_eq!(link, None);
}

/// An agent that has no mandate is told where a person can give one: each instance a link of its own, and the
/// same one as long as there is time to answer.
#[tokio::test]
async fn r_56_an_agent_without_a_mandate_is_told_where_a_person_can_give_one() {
    let sts = before().await;
    sts.works_for_people_only().await;
    let (own, other) = (key(), key());
    let link = async |key: &Arc<SigningKey>| {
        let refused = sts.send(sts.request(key)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::UnauthorizedClient, "{refused}");
        refused.consent.map(as_pushed)
    };
    let first = link(&own).await.expect("a link");
    assert_eq!(link(&own).await.as_ref(), Some(&first), "nobody is asked twice");
    assert_ne!(link(&other).await.as_ref(), Some(&first), "each for its own person");
    sts.world.clock.advance(Duration::from_mins(6));
    let second = link(&own).await.expect("a link");
    assert_ne!(second, first, "there is little time left for that");

    // All that it may have there, and nothing that it said itself.
    let wanted = asked(&sts, &second).await;
    let standing = &sts.world.standing;
    let tools: Vec<_> = wanted.scope.tools.iter().map(ToString::to_string).collect();
    assert_eq!((tools, &wanted.purpose), (vec!["crm/*".to_owned()], &standing.purpose.id));
    assert!(standing.purpose.scope.includes(&wanted.scope), "{wanted:?}");
    assert_eq!((wanted.of, wanted.delegable), (None, false));
    given(&sts, &second, (true, HOUR)).await;
    let token = sts.send(redeems(sts.request(&own), &second)).await.expect("a token");
    assert_eq!(sts.verified(&token).sub, "carla");

    // Who may begin nothing asks nobody; nor is anybody asked for what the agent can never have.
    let stopped = sts.world.stopping("agent/billing");
    let elsewhere = sts.request(&key()).with("resource", &format!("{ISSUER}/mcp/other"));
    let refused = sts.send(elsewhere).await.unwrap_err();
    assert_eq!((refused.code, refused.consent), (ErrorCode::UnauthorizedClient, None));
    sts.world.store.commit(stopped).await.expect("it commits");
    assert_eq!(link(&key()).await, None);
}

/// Whoever has seen a request learns of no link by it: neither of a new one nor of that which was told before.
#[tokio::test]
async fn a_link_is_told_once_for_what_is_shown() {
    let sts = before().await;
    sts.works_for_people_only().await;
    let own = key();
    let seen = [sts.request(&own), sts.request(&own)];
    for is_told in [true, false] {
        for request in seen.clone() {
            let refused = sts.send(request).await.unwrap_err();
            let told = (refused.code, refused.consent.is_some());
            assert_eq!(told, (ErrorCode::UnauthorizedClient, is_told), "{refused}");
        }
    }
}

/// Who left and came back has consented to nothing that begins now.
#[tokio::test]
async fn who_came_back_revives_no_consent() {
    let sts = before().await;
    let pushed = pushed(&sts).await;
    given(&sts, &pushed, (false, 2 * HOUR)).await;
    sts.world.clock.advance(Duration::from_mins(1));
    let mut carla = Person::new("carla".parse().unwrap(), BTreeSet::new());
    let cutoff = Some(sts.world.clock.now());
    carla.state = PersonState::Active { authorization_cutoff: cutoff };
    sts.world.put(FactKey::person(&carla.id), &carla).await;
    sts.world.clock.advance(Duration::from_mins(1));
    let refused = sts.send(redeems(sts.request(&key()), &pushed)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::AccessDenied, "{refused}");
}

/// What another agent was given, what it asked, and what nobody asked look the same.
#[tokio::test]
async fn n_001_a_request_is_of_the_agent_that_asked() {
    let sts = before().await;
    let pushed = pushed(&sts).await;
    given(&sts, &pushed, (false, HOUR)).await;
    let theirs = key();
    sts.another_agent("other", &theirs).await;
    let unknown = format!("con_{}", "0".repeat(32));
    let unknown = Pushed { request_uri: consent::request_uri(&unknown), ..pushed.clone() };
    let mut told = Vec::new();
    for pushed in [&pushed, &unknown] {
        let request = redeems(sts.request_of(("other", &theirs), &key()), pushed);
        told.push(sts.send(request).await.unwrap_err());
    }
    assert_eq!((&told[0], told[0].code), (&told[1], ErrorCode::InvalidGrant));
}

#[tokio::test]
async fn n_005_nothing_is_asked_beyond_purpose_and_ceiling() {
    let check = async |change: fn(&mut Value), code: ErrorCode, cause: &str| {
        let sts = before().await;
        let mut task = task(&sts);
        change(&mut task);
        let refused = push(&sts, sts.request(&key()), &task).await.expect_err(cause);
        assert_eq!(refused.code, code, "{refused}");
        assert_eq!(sts.causes(1).await, [cause]);
    };
    let (scope, malformed) = (ErrorCode::InvalidScope, ErrorCode::InvalidAuthorizationDetails);
    check(|task| task["tools"] = json!(["other/*"]), scope, "consent_too_wide").await;
    check(|task| task["purpose"] = json!("other"), scope, "unknown_purpose").await;
    check(|task| task["tools"] = json!([]), malformed, "consent_malformed").await;
    check(|task| task["harm"] = json!(["none such"]), malformed, "consent_malformed").await;
    check(|task| task["until"] = json!(1), malformed, "consent_malformed").await;
    check(|task| task["until"] = json!(9_000_000_000_000_i64), malformed, "consent_malformed")
        .await;
    check(|task| task["subject"] = json!("carla"), malformed, "malformed").await;
}

#[tokio::test]
async fn i_18_an_agent_asks_for_so_much_at_once() {
    let sts = before().await;
    for _ in 0..16 {
        pushed(&sts).await;
    }
    let refused = push(&sts, sts.request(&key()), &task(&sts)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::TemporarilyUnavailable, "{refused}");
    assert_eq!(sts.causes(1).await, ["consents_pending"]);
    sts.world.clock.advance(Duration::from_mins(10));
    let last = pushed(&sts).await;
    // What nobody answered is forgotten in the end.
    sts.world.clock.advance(Duration::from_mins(20));
    pushed(&sts).await;
    let id = consent::requested(&last.request_uri).unwrap().parse().unwrap();
    let loaded = sts.world.store.load(&[FactKey::consent(id)]).await.expect("it can be read");
    assert_eq!(loaded.bodies, [None]);
}

/// However many instances lack a mandate, their agent can push what it asks for.
#[tokio::test]
async fn what_instances_lack_leaves_room_for_what_is_pushed() {
    let sts = before().await;
    sts.works_for_people_only().await;
    for nth in 0..9 {
        let refused = sts.send(sts.request(&key())).await.unwrap_err();
        assert_eq!(refused.consent.is_some(), nth < 8, "{nth}");
    }
    for _ in 0..8 {
        pushed(&sts).await;
    }
    push(&sts, sts.request(&key()), &task(&sts)).await.expect_err("there is room for no more");
}

/// Whoever would be denied what it asks for asks nobody.
#[tokio::test]
async fn n_012_an_agent_that_is_stopped_asks_nobody() {
    let check = async |change: fn(&Sts) -> Unit, cause: &str| {
        let sts = before().await;
        pushed(&sts).await;
        sts.world.store.commit(change(&sts)).await.expect("it commits");
        let refused = push(&sts, sts.request(&key()), &task(&sts)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::AccessDenied, "{refused}");
        assert_eq!(sts.causes(1).await, [cause]);
    };
    check(|sts| sts.world.stopping("all"), "agent_stopped").await;
    check(|sts| sts.world.stopping("agent/billing"), "agent_stopped").await;
    check(|sts| sts.world.quarantining(), "agent_quarantined").await;
    check(|sts| sts.world.sponsor_leaves(), "sponsor_not_active").await;
}

#[tokio::test]
async fn an_agent_may_name_the_person_who_is_to_answer() {
    let sts = before().await;
    let check = async |named: Value, of: Option<AskedOf>| {
        let mut task = task(&sts);
        task["sub_id"] = named;
        let pushed = push(&sts, sts.request(&key()), &task).await.expect("it is kept");
        assert_eq!(asked(&sts, &pushed).await.of, of);
    };
    let key = FactKey::login("https://idp.example", "00u1");
    let named = json!({ "format": "iss_sub", "iss": "https://idp.example", "sub": "00u1" });
    check(named, Some(AskedOf::Login { key })).await;
    let id = "nobody".parse().unwrap();
    check(json!({ "format": "opaque", "id": "nobody" }), Some(AskedOf::Person { id })).await;
    assert_eq!(asked(&sts, &pushed(&sts).await).await.of, None);
    let mut task = task(&sts);
    task["sub_id"] = json!({ "format": "opaque", "id": "no body" });
    let refused = push(&sts, sts.request(&self::key()), &task).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidAuthorizationDetails, "{refused}");
}

/// Nothing that an agent made up stands in a page as the name of a tool.
#[tokio::test]
async fn n_040f_only_tools_of_the_register_are_asked_for() {
    let check = async |tool: &str| {
        let sts = before().await;
        let mut task = task(&sts);
        task["tools"] = json!(["crm/lookup", tool]);
        let refused = push(&sts, sts.request(&key()), &task).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidScope, "{tool}: {refused}");
        assert_eq!(sts.causes(1).await, ["consent_unknown_tool"], "{tool}");
    };
    check("crm/read your name, nothing else").await;
    check("crm/l\u{43e}\u{43e}kup").await;
    check(&format!("crm/lookup{}", "\u{336}".repeat(50))).await;
    check("crm/\u{5d0}\u{5d1}\u{5d2}").await;
    check("crm/Lookup").await;
}

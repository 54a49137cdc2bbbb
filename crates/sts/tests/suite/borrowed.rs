//! R10: a person's own credential in an agent's hands is worth nothing, is told apart, and is found.

use std::time::Duration;

use authority::FindingKeeper;
use futures::future::join_all;
use keys::SigningKey;
use model::{Clock as _, FactKey, Finding, PersonId, Stranger};
use oauth::exchange;
use oauth::token_endpoint::{self, Grant};
use oauth::{OAuthError, initiation};
use serde_json::json;
use store::Store as _;

use crate::ISSUER;
use crate::client::{Request, Sts, assertion, key};
use crate::delegation::party;

pub(crate) const IDP: &str = "https://idp.example";

/// Who has the login `00u1` there.
const CARLA: &str = "carla";

/// What the login provider says of `subject`, to whomever it is made out.
fn id_token(sts: &Sts, idp: &SigningKey, subject: &str) -> String {
    let now = sts.world.clock.now().as_seconds();
    let claims = json!({
        "iss": IDP, "sub": subject, "aud": "chancery", "iat": now, "exp": now + 300,
        "nonce": "n", "email": "carla@example.org",
    });
    assertion(&claims, idp)
}

/// A way in which a token can be shown.
type Way = fn(Request, &str) -> Request;

/// Each of them.
const WAYS: [(&str, Way); 7] = [
    ("as an ID token", |request, token| {
        exchanged(request, token).with("subject_token_type", exchange::ID_TOKEN)
    }),
    ("beside what belongs to others", |request, token| {
        let request = exchanged(request, token).with("subject_token_type", exchange::ID_TOKEN);
        request.with("requested_token_type", exchange::DELEGATION).with("may_act", "{}")
    }),
    ("n_002 as an access token", exchanged),
    ("as a delegation", |request, token| {
        exchanged(request, token).with("subject_token_type", exchange::DELEGATION)
    }),
    ("as an initiation", |request, token| {
        request.with("grant_type", initiation::GRANT_TYPE).with("assertion", token)
    }),
    ("as an assertion", |request, token| request.with("client_assertion", token)),
    ("as a workload's", |request, token| {
        request.with("workload_token", token).with("workload_token_type", "oidc")
    }),
];

fn exchanged(request: Request, token: &str) -> Request {
    request
        .with("grant_type", exchange::GRANT_TYPE)
        .with("subject_token", token)
        .with("subject_token_type", exchange::ACCESS_TOKEN)
}

async fn refused(sts: &Sts, show: Way, token: &str) -> OAuthError {
    sts.send(show(sts.request(&key()), token).from("192.0.2.7")).await.expect_err("it is refused")
}

#[tokio::test]
async fn r_10_no_agent_acts_by_a_persons_own_credential() {
    let idp = key();
    // Each waits for what is found: all at once.
    join_all(WAYS.map(|way| is_borrowed(&idp, way))).await;
}

/// Shown this way, a person's own credential is refused and found, and says nothing of anybody.
async fn is_borrowed(idp: &SigningKey, (way, show): (&str, Way)) {
    let sts = Sts::new().await;
    sts.world.put(FactKey::login(IDP, "00u1"), &CARLA).await;
    let keeper = sts.world.authority.finding_keeper(None, Duration::from_mins(1)).await;
    let own = refused(&sts, show, &id_token(&sts, idp, "00u1")).await;
    sts.causes(1).await;
    let refusal = sts.world.records("refusal").await.remove(0);
    // Whoever shows it learns nothing by that: not even that there is such a person.
    let other = refused(&sts, show, &id_token(&sts, idp, "00u2")).await;
    assert_eq!((other.code, other.description), (own.code, own.description), "{way}");
    let causes = sts.causes(2).await;
    assert_eq!(causes[0], causes[1], "{way}");
    assert!(sts.world.records("decision").await.is_empty(), "{way}");
    let found = strangers(&sts, keeper.expect("the register can be read")).await;
    for record in sts.world.log().await {
        assert!(!record.text.contains(CARLA), "{way}: {}", record.text);
    }
    // Whoever reads the log learns which of them was a person's own.
    let told = sts.world.records("system").await;
    let told: Vec<_> =
        told.iter().filter(|it| it.text_of("event") == authority::HUMAN_CREDENTIAL).collect();
    let of = told.iter().map(|it| &it.value["details"]["refusal"]).collect::<Vec<_>>();
    assert_eq!(of, [&refusal.value["id"]], "{way}");
    let borrowed = found.iter().find(|it| it.cause == "human_credential").expect(way);
    assert_eq!(borrowed.person.as_ref().map(PersonId::as_str), Some(CARLA), "{way}");
    assert_eq!(borrowed.claimed.as_deref(), Some("billing"), "{way}");
}

/// Whom `keeper` found.
pub(crate) async fn strangers(sts: &Sts, keeper: FindingKeeper) -> Vec<Stranger> {
    sts.world.keeps(keeper, 1).await;
    let found = sts.world.store.list("finding/", None, 10).await.expect("a list").facts;
    let read = |body: &[u8]| serde_json::from_slice::<Finding>(body).expect("a finding").stranger;
    found.iter().map(|(_, body)| read(body)).collect()
}

/// The holder's own word is no person's, whatever is wrong with it.
#[tokio::test]
async fn what_is_an_agents_own_is_nobody_elses() {
    let sts = Sts::new().await;
    let reader = party(&sts, "reader").await;
    let claims = json!({ "iss": "reader", "sub": "reader", "aud": ISSUER });
    let shown = assertion(&claims, &reader.key);
    refused(&sts, |request, token| request.with("client_assertion", token), &shown).await;
    assert_eq!(sts.causes(1).await, ["client_unknown"]);
    let form = oauth::form::form(&[
        ("grant_type", exchange::GRANT_TYPE),
        ("client_id", "billing"),
        ("client_assertion_type", oauth::client_assertion::TYPE),
        ("client_assertion", "a.b.c"),
        ("subject_token", "s.s.s"),
        ("subject_token_type", exchange::ID_TOKEN),
    ]);
    let read = token_endpoint::parse(form.as_bytes()).expect("it is read");
    assert_eq!(read.grant, Grant::Bare("s.s.s".to_owned()));
}

//! What is refused is told by the code of its RFC, as the table in docs/token-errors.md has it.

use std::time::Duration;

use futures::future::LocalBoxFuture;
use model::{ConsentState, FactKey, PersonState};
use oauth::{OAuthError, consent};

use crate::ISSUER;
use crate::client::{Request, Sts, assertion, key};
use crate::consents::{asked, pushed, redeems};
use crate::delegation::{before, hands_over, part};
use crate::support::stores::OnLoad;

/// What is wrong, the code, the clause, and how it is refused.
type Row = (&'static str, &'static str, &'static str, fn() -> LocalBoxFuture<'static, OAuthError>);

const ROWS: [Row; 20] = [
    (
        "the form cannot be read; a parameter is missing, stands twice or does not belong there",
        "invalid_request",
        "RFC 6749 §5.2",
        || Box::pin(wrong(|it| it.and("purpose", "care").and("purpose", "care"))),
    ),
    ("the client does not authenticate", "invalid_client", "RFC 6749 §5.2", || {
        Box::pin(wrong(|it| it.with("client_id", "nobody")))
    }),
    ("the assertion of the client was used before", "invalid_client", "RFC 7521 §4.2.1", || {
        Box::pin(async {
            let sts = Sts::new().await;
            let used = assertion(&sts.claims(), &sts.agent_key);
            let request = || sts.request(&key()).with("client_assertion", &used);
            sts.send(request()).await.expect("a token");
            sts.send(request()).await.expect_err("it was used")
        })
    }),
    ("the grant is not offered", "unsupported_grant_type", "RFC 6749 §5.2", || {
        Box::pin(wrong(|it| it.with("grant_type", "password")))
    }),
    (
        "the agent works on behalf of people only, and asks for itself (`client_credentials`)",
        "unauthorized_client",
        "RFC 6749 §5.2",
        || {
            Box::pin(async {
                let sts = Sts::new().await;
                sts.works_for_people_only().await;
                sts.token(&key()).await.expect_err("nobody stands behind it")
            })
        },
    ),
    (
        "`resource` is missing, stands twice or is none of this service; `audience` is another; a \
         delegation names one",
        "invalid_target",
        "RFC 8707 §2",
        || Box::pin(wrong(|it| it.and("resource", crate::RESOURCE))),
    ),
    (
        "the server is beyond what the agent, its mandate or its task is for",
        "invalid_target",
        "RFC 8707 §2, RFC 8693 §2.2.2",
        || Box::pin(wrong(|it| it.with("resource", &format!("{ISSUER}/mcp/other")))),
    ),
    (
        "a `scope` is asked for, and not by a receiver or in an authorization request",
        "invalid_scope",
        "RFC 6749 §3.3",
        || Box::pin(wrong(|it| it.with("scope", "crm/*"))),
    ),
    (
        "the purpose is not the agent's, or what is asked for is wider than it may be",
        "invalid_scope",
        "RFC 6749 §5.2",
        || Box::pin(wrong(|it| it.with("purpose", "other"))),
    ),
    (
        "`authorization_details` is not one `agent_task` as it should be",
        "invalid_authorization_details",
        "RFC 9396 §5",
        || Box::pin(not_handed_over(None, |it| it.with("authorization_details", "[]"))),
    ),
    (
        "the proof of possession is missing, does not hold or was used before",
        "invalid_dpop_proof",
        "RFC 9449 §5",
        || {
            Box::pin(wrong(|mut it| {
                it.proof = None;
                it
            }))
        },
    ),
    ("it has no fresh nonce, where one is needed", "use_dpop_nonce", "RFC 9449 §8", || {
        Box::pin(async {
            let sts = Sts::served(|_| (), |service, _| service.needing_nonces()).await;
            sts.token(&key()).await.expect_err("there is none")
        })
    }),
    (
        "an initiation, consent, code, refresh token or renewal does not hold, or was used before",
        "invalid_grant",
        "RFC 6749 §5.2",
        || {
            Box::pin(wrong(|it| {
                let nobodys = consent::request_uri("con_1");
                it.with("grant_type", consent::GRANT_TYPE).with("request_uri", &nobodys)
            }))
        },
    ),
    (
        "a subject token, actor token or delegation does not hold, was used before or is not the \
         holder's",
        "invalid_request",
        "RFC 8693 §2.2.2",
        || Box::pin(not_handed_over(None, |it| it.with("subject_token", "a.b.c"))),
    ),
    (
        "an exchange is denied, by policy or because something is over",
        "invalid_request",
        "RFC 8693 §2.2.2",
        || {
            let tokens =
                r#"@id("t") permit (principal, action == Action::"token/issue", resource);"#;
            Box::pin(not_handed_over(Some(tokens), |it| it))
        },
    ),
    ("any other token of an agent is denied so", "access_denied", "RFC 8628 §3.5", || {
        Box::pin(async {
            let left = |facts: &mut crate::support::Facts| {
                facts.sponsor.state = PersonState::Inactive { since: facts.task.opened };
            };
            let sts = Sts::with(left).await;
            sts.token(&key()).await.expect_err("nobody answers for it")
        })
    }),
    ("nobody has consented yet", "authorization_pending", "RFC 8628 §3.5", || {
        Box::pin(not_consented(Duration::ZERO, false))
    }),
    ("the person refused, or took it back", "access_denied", "RFC 8628 §3.5", || {
        Box::pin(not_consented(Duration::ZERO, true))
    }),
    (
        "nobody consented in time, or what was given is over",
        "expired_token",
        "RFC 8628 §3.5",
        || Box::pin(not_consented(Duration::from_mins(10), false)),
    ),
    ("it cannot be decided now", "temporarily_unavailable", "RFC 6749 §4.1.2.1", || {
        Box::pin(async {
            let sts = Sts::new().await;
            sts.world.store.on_load([OnLoad::Fail]);
            sts.token(&key()).await.expect_err("it cannot be read")
        })
    }),
];

/// What is told of a request for a token that is wrong in one way.
async fn wrong(change: fn(Request) -> Request) -> OAuthError {
    let sts = Sts::new().await;
    sts.send(change(sts.request(&key()))).await.expect_err("it is wrong")
}

/// What is told of a part of a task that is not handed over, as the request is wrong or by this `policy`.
async fn not_handed_over(policy: Option<&str>, change: fn(Request) -> Request) -> OAuthError {
    let (sts, lead, reader) = before().await;
    if let Some(policy) = policy {
        sts.world.publish(policy).await;
    }
    let request = hands_over(&sts, &lead, (&reader, &key()), &part(&sts));
    sts.send(change(request)).await.expect_err("it is not handed over")
}

/// What is told, after some time, of a request to which nobody consented: nobody answered, or somebody refused.
async fn not_consented(after: Duration, is_refused: bool) -> OAuthError {
    let sts = crate::consents::before().await;
    let pushed = pushed(&sts).await;
    sts.world.clock.advance(after);
    if is_refused {
        let mut asked = asked(&sts, &pushed).await;
        let by = "carla".parse().expect("a person");
        asked.state = ConsentState::Refused { by, since: asked.asked };
        sts.world.put(FactKey::consent(asked.id), &asked).await;
    }
    sts.send(redeems(sts.request(&key()), &pushed)).await.expect_err("nobody consented")
}

#[tokio::test]
async fn every_error_is_told_by_the_code_of_its_rfc() {
    for (what, code, _, refused) in ROWS {
        let told = refused().await;
        assert_eq!(told.code.as_str(), code, "{what}: {told}");
        let status = match code {
            "invalid_client" => 401,
            "temporarily_unavailable" => 503,
            _ => 400,
        };
        assert_eq!(told.status(), status, "{what}");
    }
    let page = include_str!("../../../../docs/token-errors.md");
    let told: Vec<_> = page.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    let rows = ROWS.map(|(what, code, by, _)| format!("| {what} | `{code}` | {by} |"));
    assert_eq!(told, rows);
}

//! The token endpoint's forms: what may be asked, read strictly.

use schemars::JsonSchema;
use serde::Serialize;

use crate::access_token::{self, AgentTask};
use crate::authorization_code::{self, ClientRequest};
use crate::error::{ErrorCode, OAuthError};
use crate::exchange::MayAct;
use crate::form::{Client, Parameters, Signed, invalid, missing};
use crate::initiation::AskedTask;
use crate::signals::{self, ReceiverRequest};
use crate::{consent, exchange, initiation};

/// The `grant_type` by which an instance takes over the task of one that is gone.
pub const RESUME: &str = "urn:chancery:oauth:grant-type:resume";

/// How long an `attempt` is, in bytes: at least 128 bits in base64url.
const ATTEMPT: std::ops::RangeInclusive<usize> = 22..=128;

/// A request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// Who asks.
    pub client: Client,
    /// The one service that the token is for (RFC 8707); nothing, for a delegation.
    pub resource: Option<String>,
    /// By what.
    pub grant: Grant,
    /// What for, where the agent has several purposes.
    pub purpose: Option<String>,
    /// Which token it follows; none for a client that knows nothing of that.
    pub renewal: Option<Renewal>,
    /// What its host said of the process that asks.
    pub voucher: Option<String>,
    /// What its platform said of the workload that asks.
    pub workload: Option<PlatformToken>,
}

/// A token that a platform issued to a workload (docs/workload-identity.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlatformToken {
    /// By an issuer of OpenID Connect tokens.
    Oidc(String),
    /// By a SPIFFE trust domain.
    JwtSvid(String),
}

/// By what a token is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// By the agent's own authority (RFC 6749 §4.4): on the sponsor's standing mandate, or for work
    /// that was begun already.
    ClientCredentials,
    /// By what a system signed to start the work (RFC 7523 §2.1).
    Initiation(String),
    /// By what a person consented to: the `request_uri` of what was asked.
    Consent(String),
    /// By taking over the task with this id, whose holder is gone.
    Resume(String),
    /// By the holder of a task, for an instance of another agent (RFC 8693).
    HandOver {
        /// The holder's own token.
        subject_token: String,
        /// In which the other agent names its instance.
        actor_token: String,
        /// The proof of possession by which that instance agrees (RFC 9449).
        actor_proof: String,
        /// The part of the task.
        task: AskedTask,
    },
    /// By the holder of a task: not a token, but what another instance gets one by.
    Delegate {
        /// The holder's own token.
        subject_token: String,
        /// Who may take it up.
        may_act: MayAct,
        /// The part of the task.
        task: AskedTask,
    },
    /// By such a delegation (RFC 8693).
    TakeUp(String),
    /// By somebody's token alone: nothing is given for that, but it may be stolen.
    Bare(String),
}

/// Which token of its instance a request follows (docs/instances.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// A value that the client made for this renewal, and repeats if it has to ask again.
    pub attempt: String,
    /// The last token that it was given; none before the first.
    pub previous: Option<Previous>,
}

/// The token before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its id.
    pub jti: String,
    /// The nonce that came with it.
    pub nonce: String,
}

/// A token, as it is answered (RFC 6749 §5.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TokenResponse {
    /// The token, or the delegation.
    pub access_token: String,
    /// What that is, where it was exchanged for something (RFC 8693 §2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<String>,
    /// `DPoP`, or `Bearer` where it is bound to no key; `N_A` for a delegation.
    pub token_type: String,
    /// For how many seconds it is good.
    pub expires_in: i64,
    /// What it does, where a scope says that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// By what the next one is asked for, for a client that is known by its document (RFC 6749 §6).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// The task that it belongs to (RFC 9396 §7).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<AgentTask>,
    /// What the next renewal has to name, for a client that knows of that.
    #[serde(flatten)]
    pub next: Option<Next>,
}

/// What the next renewal has to name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Next {
    /// The id of the token.
    pub jti: String,
    /// Good for one renewal.
    pub renewal_nonce: String,
}

/// What a form at the token endpoint asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A token for a client that is known by its document, by a code or a refresh token.
    Redeemed(ClientRequest),
    /// A receiver's token.
    Receiver(ReceiverRequest),
    /// An agent's token, or what another one gets a token by.
    Token(Box<TokenRequest>),
}

/// Reads a form at the token endpoint. A parameter that stands twice is refused (RFC 6749 §3.2).
pub fn read(form: &[u8]) -> Result<Asked, OAuthError> {
    let mut form = Parameters::read(form)?;
    if let Some(request) = authorization_code::redeemed(&mut form)? {
        return Ok(Asked::Redeemed(request));
    }
    if let Some(request) = signals::asked(&mut form)? {
        return Ok(Asked::Receiver(request));
    }
    of_agent(&mut form).map(|request| Asked::Token(Box::new(request)))
}

/// The same, of a form that asks for an agent's token.
pub fn parse(form: &[u8]) -> Result<TokenRequest, OAuthError> {
    of_agent(&mut Parameters::read(form)?)
}

fn of_agent(form: &mut Parameters) -> Result<TokenRequest, OAuthError> {
    let grant = grant(form)?;
    let client = form.client()?;
    let workload = workload(form, client.by)?;
    let renewal = ["attempt", "previous_jti", "renewal_nonce"].map(|name| form.take(name));
    let resource = target(form, &grant)?;
    // Nothing is given for a token alone, whatever scope is asked for; whose it is, is looked at.
    if !matches!(grant, Grant::Bare(_)) {
        form.without_scope()?;
    }
    let purpose = form.take("purpose");
    if let Grant::HandOver { task, .. } | Grant::Delegate { task, .. } = &grant
        && purpose.as_ref().is_some_and(|purpose| *purpose != task.purpose)
    {
        let why = "`purpose` is another than that of `authorization_details`";
        return Err(OAuthError::new(ErrorCode::InvalidScope, why));
    }
    Ok(TokenRequest {
        client,
        resource,
        grant,
        purpose,
        renewal: self::renewal(renewal)?,
        voucher: form.take("voucher"),
        workload,
    })
}

/// The one service that a token is asked for by `grant`.
fn target(form: &mut Parameters, grant: &Grant) -> Result<Option<String>, OAuthError> {
    match grant {
        Grant::Delegate { .. } if form.has("resource") || form.has("audience") => {
            let why = "a delegation is for no service: who takes it up names it";
            Err(OAuthError::new(ErrorCode::InvalidTarget, why))
        }
        // For a token that is shown alone nothing is given, whatever for.
        Grant::Delegate { .. } | Grant::Bare(_) => Ok(None),
        _ => form.target()?.map(Some).ok_or_else(|| missing("resource")),
    }
}

/// What a platform said of the workload, where the client did not authenticate by that already.
fn workload(form: &mut Parameters, by: Signed) -> Result<Option<PlatformToken>, OAuthError> {
    let token = form.take("workload_token");
    let shown = match (token, form.take("workload_token_type").as_deref()) {
        (None, None) => return Ok(None),
        (Some(token), Some("oidc")) => PlatformToken::Oidc(token),
        (Some(token), Some("jwt-svid")) => PlatformToken::JwtSvid(token),
        _ => {
            let why = "`workload_token` has a `workload_token_type`: `oidc` or `jwt-svid`";
            return Err(invalid(why));
        }
    };
    match by {
        Signed::Key | Signed::Device => Ok(Some(shown)),
        Signed::TrustDomain => Err(invalid("the workload is shown once: by the client's JWT-SVID")),
    }
}

/// The parameters that belong to one grant type or another.
const OF_GRANTS: [&str; 11] = [
    "assertion",
    "request_uri",
    "task",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "actor_proof",
    "requested_token_type",
    "authorization_details",
    "may_act",
];

/// By what a token is asked for. What belongs to another grant type is refused, not passed over.
fn grant(form: &mut Parameters) -> Result<Grant, OAuthError> {
    let grant = match form.take("grant_type").as_deref() {
        Some("client_credentials") => Grant::ClientCredentials,
        Some(initiation::GRANT_TYPE) => Grant::Initiation(form.need("assertion")?),
        Some(consent::GRANT_TYPE) => Grant::Consent(form.need("request_uri")?),
        Some(RESUME) => Grant::Resume(form.need("task")?),
        Some(exchange::GRANT_TYPE) => exchanged(form)?,
        _ => {
            let why = "the grant type is not one that is offered";
            return Err(OAuthError::new(ErrorCode::UnsupportedGrantType, why));
        }
    };
    match OF_GRANTS.iter().find(|name| form.take(name).is_some()) {
        Some(name) => Err(invalid(&format!("`{name}` does not belong here"))),
        None => Ok(grant),
    }
}

/// What is exchanged, for what (RFC 8693 §2.1).
fn exchanged(form: &mut Parameters) -> Result<Grant, OAuthError> {
    let (subject_token, kind) = (form.need("subject_token")?, form.need("subject_token_type")?);
    let wanted = form.take("requested_token_type");
    let wanted = wanted.as_deref().unwrap_or(exchange::ACCESS_TOKEN);
    match (kind.as_str(), wanted) {
        (exchange::DELEGATION, exchange::ACCESS_TOKEN) => Ok(Grant::TakeUp(subject_token)),
        (exchange::ACCESS_TOKEN, exchange::DELEGATION) => {
            let may_act = form.need_json("may_act")?;
            Ok(Grant::Delegate { subject_token, may_act, task: task(form)? })
        }
        (exchange::ACCESS_TOKEN, exchange::ACCESS_TOKEN) => {
            let Some(actor_token) = form.take("actor_token") else {
                let _ = form.take("authorization_details");
                return Ok(Grant::Bare(subject_token));
            };
            if form.need("actor_token_type")? != exchange::JWT {
                return Err(invalid("the actor token is a JWT that the other agent signs"));
            }
            let actor_proof = form.need("actor_proof")?;
            Ok(Grant::HandOver { subject_token, actor_token, actor_proof, task: task(form)? })
        }
        // Nothing is given for it, whatever stands beside; whose it is, is recorded.
        (exchange::ID_TOKEN, _) => {
            for name in OF_GRANTS {
                drop(form.take(name));
            }
            Ok(Grant::Bare(subject_token))
        }
        _ => Err(invalid("tokens of these types are not exchanged here")),
    }
}

/// The one task that `authorization_details` asks for.
pub(crate) fn task(form: &mut Parameters) -> Result<AskedTask, OAuthError> {
    let [task] = form.need_json::<[AskedTask; 1]>("authorization_details")?;
    of_its_type(task)
}

/// `task`, if it says that it is one.
pub(crate) fn of_its_type(task: AskedTask) -> Result<AskedTask, OAuthError> {
    if task.kind == access_token::AGENT_TASK {
        return Ok(task);
    }
    let why = "the type of `authorization_details` is `agent_task`";
    Err(OAuthError::new(ErrorCode::InvalidAuthorizationDetails, why))
}

/// Which token is followed, if that is said, and said whole.
fn renewal([attempt, jti, nonce]: [Option<String>; 3]) -> Result<Option<Renewal>, OAuthError> {
    let previous = match (jti, nonce) {
        (Some(jti), Some(nonce)) => Some(Previous { jti, nonce }),
        (None, None) => None,
        _ => {
            let why = "`previous_jti` and `renewal_nonce` go together";
            return Err(OAuthError::new(ErrorCode::InvalidRequest, why));
        }
    };
    match attempt {
        Some(attempt) if ATTEMPT.contains(&attempt.len()) => {
            Ok(Some(Renewal { attempt, previous }))
        }
        None if previous.is_none() => Ok(None),
        _ => {
            let why = "a renewal has an `attempt` of 22 to 128 characters";
            Err(OAuthError::new(ErrorCode::InvalidRequest, why))
        }
    }
}

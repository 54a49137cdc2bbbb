//! The token endpoint: authenticates agent and instance, asks, mints.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use authority::{
    Authority, Effect, FactsError, NotPermitted, Once, OnceScope, Permit, RefusalLog, Refused,
};
use keys::TokenKeys;
use model::{
    Agent, FactKey, HostProcess, Instance, InstanceId, InstanceState, ServerName, Source, Sourced,
    Thumbprint, Timestamp,
};
use oauth::nonces::Nonces;
use oauth::token_endpoint::{self, Asked, Grant, TokenRequest, TokenResponse};
use oauth::verified_tokens::VerifiedTokens;
use oauth::{ErrorCode, OAuthError, metadata};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use workload::Sources;

use crate::attest::Shown;
use crate::bound::Showing;
use crate::client::{Authenticated, Credential, is_own_key};
use crate::clients::Clients;
use crate::delegate::Taken;
use crate::devices::Devices;
use crate::grant::{Asker, Drawn, Renewing, TokenGrant};
use crate::mint::Minter;
use crate::not_permitted::{not_exchanged, not_issued, refused};
use crate::possession::PROOF_SKEW_S;
use crate::redeem;
use crate::renewal::{self, Renewal, Step};
use crate::turns::Turns;
use crate::vouchers::Vouchers;

/// Where tokens are asked for, behind the issuer.
pub(crate) const TOKEN: &str = "/oauth/token";

/// What a client is told whose instance cannot go on, and a new one can.
pub const TASK_OVER: &str = "the task of this instance is over: start one with a new key";

/// One request to the token endpoint.
#[derive(Clone, Copy, Debug)]
pub struct TokenHttpRequest<'a> {
    /// The form.
    pub form: &'a [u8],
    /// The one `DPoP` header.
    pub dpop: Option<&'a str>,
    /// The address of the peer.
    pub from: Option<IpAddr>,
    /// What it says of its software (`User-Agent`).
    pub client: Option<&'a str>,
    /// When it arrived, on the monotonic clock.
    pub arrived: Duration,
}

/// Issues tokens.
pub struct TokenService {
    pub(crate) authority: Arc<Authority>,
    pub(crate) minter: Minter,
    pub(crate) keys: Arc<TokenKeys>,
    pub(crate) refusals: RefusalLog,
    pub(crate) nonces: Arc<Nonces>,
    /// Whether a proof without a nonce is refused.
    pub(crate) needs_nonce: bool,
    pub(crate) vouchers: Vouchers,
    pub(crate) devices: Devices,
    turns: Turns,
    pub(crate) platforms: Option<Arc<Sources>>,
    /// Where people consent, if they can.
    pub(crate) people_url: Option<String>,
    /// What clients say of themselves, where people authorize them.
    pub(crate) clients: Option<Clients>,
}

/// An authenticated request for a token.
pub(crate) struct Asking<'a> {
    pub(crate) agent: &'a Agent,
    pub(crate) form: &'a TokenRequest,
    /// The one service that the token is for; nothing, for a delegation.
    audience: Option<(ServerName, String)>,
    pub(crate) key: Thumbprint,
    /// The instance that will have the key, if none has it.
    pub(crate) new: InstanceId,
    pub(crate) source: Source,
    pub(crate) uses: Vec<Effect>,
    pub(crate) arrived: Duration,
    /// What is taken up, if that is shown, and holds.
    pub(crate) taken: Option<Taken>,
    /// What the platform says of the workload, if that is shown, and holds.
    pub(crate) shown: Option<Shown>,
}

impl Asking<'_> {
    /// The one service that the token is for, with its URL.
    pub(crate) fn audience(&self) -> (ServerName, String) {
        self.audience.clone().expect("a form without one asks for no token")
    }

    /// Whether `used` is that by which the agent or the instance shows who it is.
    fn shows(&self, used: Option<Once>) -> bool {
        self.uses.iter().any(|effect| match effect {
            Effect::UseOnce { scope, id, .. } => used == Some(Once { scope: *scope, id: *id }),
            _ => false,
        })
    }

    /// Who shows what the platform says, if that is shown, and goes on with the task of `gone`.
    pub(crate) fn showing(&self, gone: Option<InstanceId>) -> Option<Showing<'_>> {
        let Self { agent, key, new, shown, .. } = self;
        Some(Showing { agent, key: *key, shown: shown.as_ref()?, new: Some(*new), gone })
    }
}

/// Why there is no token: what the client is told, and what is recorded.
pub(crate) struct TokenRefusal {
    pub(crate) error: Box<OAuthError>,
    /// Why, as a stable code; none if a decision record tells of it.
    pub(crate) cause: Option<&'static str>,
    pub(crate) refused: Box<Refused>,
}

impl TokenRefusal {
    /// A refusal for `cause` of a client that authenticated as `agent`.
    pub(crate) fn of(cause: &'static str, error: OAuthError, agent: &Agent) -> Self {
        let refused = Refused { agent: Some(agent.name.clone()), ..Refused::default() };
        Self { error: error.into(), cause: Some(cause), refused: refused.into() }
    }

    /// The same, with what else an administrator should see.
    pub(crate) fn with<const N: usize>(mut self, details: [(&str, String); N]) -> Self {
        let details = details.map(|(name, value)| (name.to_owned(), value));
        self.refused.details.get_or_insert_default().extend(details);
        self
    }

    /// There was no answer in time.
    pub(crate) fn late() -> Self {
        let why = "no answer within the time limit";
        let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, why);
        Self { error: error.into(), cause: Some("late"), refused: Box::default() }
    }

    /// A refusal of which a decision record, or the outcome of a permit, tells.
    pub(crate) fn decided(error: OAuthError) -> Self {
        Self { error: error.into(), cause: None, refused: Box::default() }
    }
}

impl TokenService {
    /// A service that is `issuer` and signs and verifies with `keys`; `nonces` are of this boot.
    pub fn new(
        authority: Arc<Authority>,
        issuer: String,
        (keys, nonces): (Arc<TokenKeys>, Arc<Nonces>),
    ) -> Self {
        let verified = Arc::new(VerifiedTokens::new(keys.clone()));
        Self {
            authority,
            minter: Minter { issuer, keys: keys.clone(), verified },
            keys,
            refusals: RefusalLog::default(),
            nonces,
            needs_nonce: false,
            vouchers: Vouchers::default(),
            devices: Devices::new(),
            turns: Turns::default(),
            platforms: None,
            people_url: None,
            clients: None,
        }
    }

    /// The same, which takes the word of `platforms` on workloads.
    #[must_use]
    pub fn attesting(mut self, platforms: Arc<Sources>) -> Self {
        self.platforms = Some(platforms);
        self
    }

    /// The same; people consent at pages below `people_url`.
    #[must_use]
    pub fn with_consent_at(self, people_url: String) -> Self {
        Self { people_url: Some(people_url), ..self }
    }

    /// A voucher, to be shown once with a request for a token, that `process` holds `key`; none if
    /// too many were given and not shown.
    pub fn vouch(&self, key: Thumbprint, process: HostProcess) -> Option<String> {
        let (clock, entropy) = (self.authority.clock(), self.authority.entropy());
        self.vouchers.give((key, process), (clock.as_ref(), entropy.as_ref()))
    }

    /// The metadata of the service (RFC 8414).
    pub fn metadata(&self) -> Value {
        let takes_svids = self.platforms.as_ref().is_some_and(|platforms| platforms.takes_svids());
        let people_url = self.clients.as_ref().and(self.people_url.as_deref());
        metadata::authorization_server(&self.minter.issuer, takes_svids, people_url)
    }

    /// The metadata of the resource that is `server` (RFC 9728).
    pub fn resource_metadata(&self, server: &ServerName) -> Value {
        let issuer = &self.minter.issuer;
        metadata::protected_resource(&self.audience_of(server), issuer, self.clients.is_some())
    }

    /// The keys that verify tokens (RFC 7517).
    pub fn jwks(&self) -> Value {
        self.keys.jwks(self.authority.clock().now().as_seconds())
    }

    /// Answers a request for a token. Whatever is refused before a decision is recorded as that.
    pub async fn token(&self, http: TokenHttpRequest<'_>) -> Result<TokenResponse, OAuthError> {
        match token_endpoint::read(http.form) {
            Ok(Asked::Redeemed(request)) => {
                self.within_or(http, Box::pin(self.redeem(http, request)), redeem::late).await
            }
            Ok(Asked::Receiver(it)) => self.within(http, Box::pin(self.receiver_token(&it))).await,
            Ok(Asked::Token(form)) => self.within(http, Box::pin(self.answer(http, &form))).await,
            Err(error) => Err(self.told(http, before("malformed")(error))),
        }
    }

    /// Waits for `answer` as long as a decision may take, and records what is refused before one.
    pub(crate) async fn within<T>(
        &self,
        http: TokenHttpRequest<'_>,
        answer: impl Future<Output = Result<T, TokenRefusal>>,
    ) -> Result<T, OAuthError> {
        self.within_or(http, answer, TokenRefusal::late).await
    }

    /// The same; who waits for longer is told what `late` says.
    async fn within_or<T>(
        &self,
        http: TokenHttpRequest<'_>,
        answer: impl Future<Output = Result<T, TokenRefusal>>,
        late: fn() -> TokenRefusal,
    ) -> Result<T, OAuthError> {
        let answer = tokio::time::timeout(self.authority.decision_timeout(), answer).await;
        match answer.unwrap_or_else(|_| Err(late())) {
            Ok(answer) => Ok(answer),
            Err(refusal) => Err(self.told(http, refusal)),
        }
    }

    async fn answer(
        &self,
        http: TokenHttpRequest<'_>,
        form: &TokenRequest,
    ) -> Result<TokenResponse, TokenRefusal> {
        let audience = self.audience(form).map_err(before("unknown_resource"))?;
        let proof = self.proof(http.dpop, TOKEN)?;
        let key = Thumbprint::from_bytes(proof.thumbprint);
        // Before anything is looked up: whose word it is costs no access to the store.
        let beside = self.beside(form.workload.as_ref()).await;
        let Authenticated { agent, uses, shown, device } = self.agent(&form.client).await?;
        if let Some(device) = &device {
            device.is_for(&proof.thumbprint, &agent)?;
        }
        let shown = Self::one_shown(beside, shown, &agent)?;
        is_own_key(&agent, &proof)?;
        let source = Source {
            address: http.from,
            process: self.process(form, key, &agent)?,
            workload: shown.as_ref().map(|shown| shown.identity.known_by(&agent.workloads)),
            device: device.map(|device| device.id),
        };
        let taken = match &form.grant {
            Grant::TakeUp(delegation) => Some(self.taken(delegation, (&agent, key))?),
            _ => None,
        };
        let proved = once(OnceScope::Proof, &proof.thumbprint, &proof.jti, proof.iat);
        let uses = uses.into_iter().chain([proved]).collect();
        let (agent, arrived) = (&agent, http.arrived);
        let new = InstanceId::new(self.authority.clock().now(), self.authority.entropy().as_ref());
        let _turn = self.turns.enter(key).await;
        let mut asking =
            Asking { agent, form, audience, key, new, source, uses, arrived, taken, shown };
        // What goes over with a task goes over once that is permitted.
        if !matches!(form.grant, Grant::Resume(_)) {
            self.bind_shown(&mut asking).await?;
        }
        match &form.grant {
            Grant::Delegate { subject_token, may_act, task } => {
                self.delegate(&asking, (subject_token, may_act), task).await
            }
            Grant::HandOver { subject_token, actor_token, actor_proof, task } => {
                let actor = (actor_token.as_str(), actor_proof.as_str());
                Box::pin(self.hand_over(&asking, (subject_token, actor), task)).await
            }
            Grant::Bare(subject_token) => Err(self.bare(&asking, subject_token)),
            Grant::Resume(task) => {
                Box::pin(self.resume(&mut asking, task)).await?;
                self.issue(&asking).await
            }
            Grant::ClientCredentials
            | Grant::Initiation(_)
            | Grant::Consent(_)
            | Grant::TakeUp(_) => self.issue(&asking).await,
        }
    }

    async fn issue(&self, asking: &Asking<'_>) -> Result<TokenResponse, TokenRefusal> {
        let permit = self.permit(asking).await?;
        self.minter.mint(permit, &self.authority).map_err(TokenRefusal::decided)
    }

    /// Asks for the token. Of several requests that bring the same new key at once, one enters the
    /// instance; the others are asked again, for that one.
    async fn permit(&self, asking: &Asking<'_>) -> Result<Permit<TokenGrant>, TokenRefusal> {
        let mut again = true;
        loop {
            let asker = self.asker(asking).await?;
            let renewing = self.renewing(asking, &asker).await?;
            let is_new = matches!(asker, Asker::New(_));
            let others = asker.others();
            let uses = (asking.uses.clone(), asking.arrived);
            let bound = asking.taken.as_ref().map(|taken| taken.made.exp);
            let key = (Some(asking.key), renewing, bound);
            let grant = TokenGrant::new(asker, asking.audience(), key, uses, self.drawn());
            match self.authority.authorize(grant).await {
                Ok(permit) => {
                    self.note_names(asking, &others);
                    return Ok(permit);
                }
                // What was read before may have changed with what others did meanwhile.
                Err(NotPermitted::Contended) if again => again = false,
                Err(NotPermitted::Replayed(once)) if is_new && !asking.shows(once) => {
                    let (code, cause, why) = match &asking.form.grant {
                        Grant::Initiation(_) => {
                            let why = "the initiation was used before";
                            (ErrorCode::InvalidGrant, "initiation_replayed", why)
                        }
                        Grant::Consent(_) => {
                            let why = "the consent was for one task, which was begun";
                            (ErrorCode::InvalidGrant, "consent_replayed", why)
                        }
                        Grant::TakeUp(_) => {
                            let why = "the delegation was used before";
                            (ErrorCode::InvalidRequest, "delegation_replayed", why)
                        }
                        _ => return Err(refused(NotPermitted::Replayed(once), asking.agent)),
                    };
                    return Err(TokenRefusal::of(cause, OAuthError::new(code, why), asking.agent));
                }
                Err(reason) => {
                    let refusal = not_issued(reason, asking.agent);
                    let is_exchanged = asking.taken.is_some();
                    return Err(if is_exchanged { not_exchanged(refusal) } else { refusal });
                }
            }
        }
    }

    /// What is drawn for a token that is asked for now.
    pub(crate) fn drawn(&self) -> Drawn {
        Drawn::new(self.authority.clock().now(), self.authority.entropy().as_ref())
    }

    /// What the token would follow. Somebody who goes on from where the holder of the key has been,
    /// or is another process, has copied it: the instance is quarantined.
    async fn renewing(&self, asking: &Asking<'_>, asker: &Asker) -> Result<Renewing, TokenRefusal> {
        let mut last = match asker {
            Asker::Known(instance) => self.last(instance.id).await?,
            Asker::New(proposed) => self.signed_still(asking, proposed.given_before()).await?,
        };
        let (renewal, source) = (asking.form.renewal.clone(), asking.source.clone());
        // Of who is stopped, the decision tells.
        if let Asker::Known(instance) = asker
            && instance.state == InstanceState::Active
        {
            let ((server, _), now) = (asking.audience(), self.authority.clock().now());
            let step = renewal::step(last.value.as_ref(), &renewal, (&server, now));
            if step == Step::Copied {
                return Err(self.copied(asking, instance, last.value.as_ref()).await);
            }
            self.is_same(asking, instance, last.value.as_ref()).await?;
            if let Step::TooEarly(end) = step {
                return Err(too_early(end, asking.agent, instance));
            }
            last = self.attest_again(asking, instance, last).await?;
        }
        let until = asking.shown.as_ref().map(|shown| shown.expires);
        let by = Box::new(Credential::of(asking));
        Ok(Renewing { asked: renewal, last, source, is_own: true, until, by })
    }

    /// The last token of an instance.
    pub(crate) async fn last(
        &self,
        instance: InstanceId,
    ) -> Result<Sourced<Option<Renewal>>, TokenRefusal> {
        let mut reader = self.authority.pip().reader();
        let last = reader.find(FactKey::renewal(instance)).await;
        Ok(reader.sourced(last.map_err(unavailable)?))
    }

    /// The one service that the form names, if it is one of ours.
    fn audience(&self, form: &TokenRequest) -> Result<Option<(ServerName, String)>, OAuthError> {
        let Some(resource) = &form.resource else { return Ok(None) };
        Ok(Some((self.server(resource)?, resource.clone())))
    }

    /// The URL of `server`: the audience of tokens for it.
    pub(crate) fn audience_of(&self, server: &ServerName) -> String {
        format!("{}/mcp/{server}", self.minter.issuer)
    }

    pub(crate) fn server(&self, resource: &str) -> Result<ServerName, OAuthError> {
        let name = resource.strip_prefix(&self.minter.issuer).and_then(|r| r.strip_prefix("/mcp/"));
        let name = name.and_then(|name| name.parse().ok());
        name.ok_or_else(no_such_resource)
    }
}

pub(crate) fn no_such_resource() -> OAuthError {
    OAuthError::new(ErrorCode::InvalidTarget, "the resource is not one of this service")
}

/// `refusal`, of `instance`.
pub(crate) fn about(instance: &Instance, mut refusal: TokenRefusal) -> TokenRefusal {
    refusal.refused.instance = Some(instance.id);
    refusal
}

/// A client that does not chain has a token for this server already.
fn too_early(end: Timestamp, agent: &Agent, instance: &Instance) -> TokenRefusal {
    let why = format!("a token of this key is good until {end}: renew it in its last minute");
    let error = OAuthError::new(ErrorCode::InvalidGrant, why);
    about(instance, TokenRefusal::of("renewal_too_early", error, agent))
}

/// A refusal for `cause`, of whom nothing is known for sure.
pub(crate) fn before(cause: &'static str) -> impl FnOnce(OAuthError) -> TokenRefusal {
    move |error| TokenRefusal { error: error.into(), cause: Some(cause), refused: Box::default() }
}

/// What a `jti` uses up, remembered until nothing with it can be accepted any more.
pub(crate) fn once(scope: OnceScope, key: &[u8; 32], jti: &str, at: i64) -> Effect {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(jti.as_bytes());
    let expires = Timestamp::from_seconds(at.saturating_add(2 * PROOF_SKEW_S));
    Effect::UseOnce { scope, id: hash.finalize().into(), expires }
}

pub(crate) fn unavailable(error: FactsError) -> TokenRefusal {
    tracing::warn!(%error, "a token could not be decided on");
    let why = "it cannot be decided now";
    before("unavailable")(OAuthError::new(ErrorCode::TemporarilyUnavailable, why))
}

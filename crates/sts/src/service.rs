//! The token endpoint: authenticates agent and instance, asks, mints.

use std::sync::Arc;
use std::time::Duration;

use authority::{Authority, Effect, FactsError, NotPermitted, OnceScope, Reader};
use keys::{Signer, TokenKeys, VerifyingKey};
use model::{
    Agent, AgentName, AgentState, FactKey, Instance, InstanceId, PurposeId, ServerName, Thumbprint,
    Timestamp,
};
use oauth::dpop::{self, DpopExpect, VerifiedProof};
use oauth::token_endpoint::{self, ClientCredentials, TokenResponse};
use oauth::{ErrorCode, OAuthError, client_assertion, metadata};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::grant::{Asker, TokenGrant, propose};
use crate::mint::Minter;

/// How far a proof's `iat` may be off, in seconds.
const PROOF_SKEW_S: i64 = 60;

/// One request to the token endpoint.
#[derive(Clone, Copy, Debug)]
pub struct TokenHttpRequest<'a> {
    /// The form.
    pub form: &'a [u8],
    /// The one `DPoP` header.
    pub dpop: Option<&'a str>,
    /// When it arrived, on the monotonic clock.
    pub arrived: Duration,
}

/// Issues tokens.
pub struct TokenService {
    authority: Arc<Authority>,
    minter: Minter,
    keys: Arc<TokenKeys>,
}

impl TokenService {
    /// A service that is `issuer` and signs with `signer`; `keys` verify what it signed.
    pub fn new(
        authority: Arc<Authority>,
        issuer: String,
        signer: Arc<dyn Signer>,
        keys: Arc<TokenKeys>,
    ) -> Self {
        Self { authority, minter: Minter { issuer, signer }, keys }
    }

    /// The metadata of the service (RFC 8414).
    pub fn metadata(&self) -> Value {
        metadata::authorization_server(&self.minter.issuer)
    }

    /// The metadata of the resource that is `server` (RFC 9728).
    pub fn resource_metadata(&self, server: &ServerName) -> Value {
        let issuer = &self.minter.issuer;
        metadata::protected_resource(&format!("{issuer}/mcp/{server}"), issuer)
    }

    /// The keys that verify tokens (RFC 7517).
    pub fn jwks(&self) -> Value {
        self.keys.jwks()
    }

    /// Answers a request for a token.
    pub async fn token(&self, http: TokenHttpRequest<'_>) -> Result<TokenResponse, OAuthError> {
        let form = token_endpoint::parse(http.form)?;
        let server = self.server(&form.resource)?;
        let proof = self.proof(http.dpop)?;
        let key = Thumbprint::from_bytes(proof.thumbprint);
        let (agent, assertion) = self.agent(&form).await?;
        if agent_key(&agent).is_some_and(|own| own.thumbprint() == proof.thumbprint) {
            let why = "an instance needs a key of its own, not its agent's";
            return Err(OAuthError::new(ErrorCode::InvalidDpopProof, why));
        }
        let asker = self.asker(&agent, &form, key).await?;
        let uses =
            vec![assertion, once(OnceScope::Proof, &proof.thumbprint, &proof.jti, proof.iat)];
        let audience = (server, form.resource);
        let grant = TokenGrant::new(asker, audience, key, uses, http.arrived);
        let permit = self.authority.authorize(grant).await.map_err(refused)?;
        self.minter.mint(permit, &self.authority).await
    }

    fn server(&self, resource: &str) -> Result<ServerName, OAuthError> {
        let name = resource.strip_prefix(&self.minter.issuer).and_then(|r| r.strip_prefix("/mcp/"));
        let name = name.and_then(|name| name.parse().ok());
        name.ok_or_else(|| {
            OAuthError::new(ErrorCode::InvalidTarget, "the resource is not one of this service")
        })
    }

    fn proof(&self, header: Option<&str>) -> Result<VerifiedProof, OAuthError> {
        let invalid = |why: &str| OAuthError::new(ErrorCode::InvalidDpopProof, why);
        let proof = header.ok_or_else(|| invalid("exactly one DPoP header is needed"))?;
        let url = format!("{}/oauth/token", self.minter.issuer);
        let expect = DpopExpect {
            method: "POST",
            url: &url,
            access_token: None,
            now: self.authority.clock().now().as_seconds(),
            max_skew_s: PROOF_SKEW_S,
        };
        dpop::verify_proof(proof, &expect).map_err(|error| invalid(&error.to_string()))
    }

    /// The agent that asserts itself, and what its assertion uses up. Every failure looks the same.
    async fn agent(&self, form: &ClientCredentials) -> Result<(Agent, Effect), OAuthError> {
        let unknown =
            || OAuthError::new(ErrorCode::InvalidClient, "the client did not authenticate");
        let name: AgentName = form.client_id.parse().map_err(|_| unknown())?;
        let mut reader = Reader::new(self.authority.pip().store());
        let found = reader.find::<Agent>(FactKey::agent(&name)).await.map_err(unavailable)?;
        let agent = found.ok_or_else(unknown)?;
        let now = self.authority.clock().now();
        if agent.state != AgentState::Active || agent.key_expires <= now {
            return Err(unknown());
        }
        let key = agent_key(&agent).ok_or_else(unknown)?;
        let parties = (name.as_str(), self.minter.issuer.as_str());
        let verified =
            client_assertion::verify(&form.client_assertion, parties, &key, now.as_seconds());
        let verified = verified.map_err(|_| unknown())?;
        let used = once(OnceScope::Assertion, &key.thumbprint(), &verified.jti, verified.exp);
        Ok((agent, used))
    }

    /// Which instance asks: the one that holds the key, or a new one. A key never serves two agents.
    async fn asker(
        &self,
        agent: &Agent,
        form: &ClientCredentials,
        key: Thumbprint,
    ) -> Result<Asker, OAuthError> {
        let pip = self.authority.pip();
        let mut reader = Reader::new(pip.store());
        let known = reader.find::<InstanceId>(FactKey::key(&key)).await.map_err(unavailable)?;
        if let Some(id) = known {
            let instance = reader.need::<Instance>(FactKey::instance(id)).await;
            let instance = instance.map_err(unavailable)?;
            if instance.agent != agent.name {
                tracing::warn!(
                    held_by = %instance.agent, instance = %id, used_by = %agent.name,
                    "a key that is bound to an instance of one agent was used for another"
                );
                let why = "the key is bound to another agent";
                return Err(OAuthError::new(ErrorCode::InvalidDpopProof, why));
            }
            return Ok(Asker::Known(id));
        }
        let purpose = purpose(agent, form.purpose.as_deref())?;
        let (clock, entropy) = (self.authority.clock(), self.authority.entropy());
        let asked = (&agent.name, &purpose);
        let proposed = propose(pip, asked, key, (clock.as_ref(), entropy.as_ref())).await;
        Ok(Asker::New(Box::new(proposed.map_err(unavailable)?)))
    }
}

fn agent_key(agent: &Agent) -> Option<VerifyingKey> {
    VerifyingKey::from_jwk(&agent.key).ok()
}

fn purpose(agent: &Agent, wanted: Option<&str>) -> Result<PurposeId, OAuthError> {
    let mut all = agent.purposes.iter();
    let chosen = match (wanted, all.next(), all.next()) {
        (Some(wanted), ..) => agent.purposes.iter().find(|known| known.as_str() == wanted),
        (None, Some(only), None) => Some(only),
        (None, ..) => None,
    };
    chosen.cloned().ok_or_else(|| {
        OAuthError::new(ErrorCode::InvalidScope, "name one of the agent's purposes in `purpose`")
    })
}

/// What a `jti` uses up, remembered until nothing with it can be accepted any more.
fn once(scope: OnceScope, key: &[u8; 32], jti: &str, at: i64) -> Effect {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(jti.as_bytes());
    let expires = Timestamp::from_seconds(at.saturating_add(2 * PROOF_SKEW_S));
    Effect::UseOnce { scope, id: hash.finalize().into(), expires }
}

fn unavailable(error: FactsError) -> OAuthError {
    tracing::warn!(%error, "a token could not be decided on");
    OAuthError::new(ErrorCode::TemporarilyUnavailable, "it cannot be decided now")
}

fn refused(reason: NotPermitted) -> OAuthError {
    match reason {
        NotPermitted::Denied { decision, .. } => {
            let why = format!("it is not permitted (decision {decision})");
            OAuthError::new(ErrorCode::AccessDenied, why)
        }
        NotPermitted::Replayed => {
            let why = "the proof or the assertion was used before";
            OAuthError::new(ErrorCode::InvalidDpopProof, why)
        }
        other => OAuthError::new(ErrorCode::TemporarilyUnavailable, other.to_string()),
    }
}

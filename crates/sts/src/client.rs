//! Which agent asks: by its registered key, by a workload that its rules admit, or by a device.

use authority::{Effect, OnceScope, Reader};
use keys::{Signer as _, VerifyingKey};
use model::{Agent, AgentName, AgentState, FactKey, Thumbprint, WorkloadIdentity};
use oauth::dpop::VerifiedProof;
use oauth::form::{Client, Signed};
use oauth::{ErrorCode, OAuthError, client_assertion};
use serde_json::Value;
use workload::WorkloadToken;

use crate::attest::Shown;
use crate::bound::Showing;
use crate::enrol::Vouching;
use crate::service::{
    Asking, TokenHttpRequest, TokenRefusal, TokenService, before, once, unavailable,
};

/// An agent that authenticated.
pub(crate) struct Authenticated {
    pub(crate) agent: Agent,
    /// What that used up.
    pub(crate) uses: Vec<Effect>,
    /// By the word of which platform, if it was by that.
    pub(crate) shown: Option<Shown>,
    /// By the word of which device, if it was by that.
    pub(crate) device: Option<Vouching>,
}

/// By what an agent authenticated, as far as that may be taken back before anything is permitted by it. A device
/// is read by every decision for what it vouches for, and a client's document by what its token rests on.
#[derive(Debug, Default)]
pub(crate) struct Credential {
    /// Its registered key (JWK), if it was by that.
    key: Option<Value>,
    /// The workload that a platform says it is, if one does.
    workload: Option<WorkloadIdentity>,
}

impl Credential {
    /// What was shown with a request.
    pub(crate) fn of(asking: &Asking<'_>) -> Self {
        let Asking { agent, form, source, .. } = asking;
        let key = (form.client.by == Signed::Key).then(|| agent.key.clone());
        Self { key, workload: source.workload.clone() }
    }

    /// Whether who showed it is still taken for an instance of `agent`.
    pub(crate) fn is_of(&self, agent: &Agent) -> bool {
        self.key.as_ref().is_none_or(|key| *key == agent.key)
            && self.workload.as_ref().is_none_or(|it| agent.admits_workload(Some(it)))
    }
}

/// What every client is told that did not authenticate, whatever the reason.
pub(crate) fn error() -> OAuthError {
    OAuthError::new(ErrorCode::InvalidClient, "the client did not authenticate")
}

pub(crate) fn unknown() -> TokenRefusal {
    before("client_unknown")(error())
}

impl TokenService {
    /// The agent that asserts itself, and what its assertion uses up. To whom asks, every failure
    /// looks the same.
    pub(crate) async fn agent(&self, client: &Client) -> Result<Authenticated, TokenRefusal> {
        let authenticated = match client.by {
            Signed::Key => self.by_key(client).await?,
            Signed::TrustDomain => self.by_workload(client).await?,
            Signed::Device => self.by_device(client).await?,
        };
        self.is_active(&authenticated.agent).map(|()| authenticated)
    }

    /// Refuses an agent that has no instances now.
    pub(crate) fn is_active(&self, agent: &Agent) -> Result<(), TokenRefusal> {
        if agent.state != AgentState::Active {
            return Err(TokenRefusal::of("agent_not_active", error(), agent));
        }
        if agent.key_expires <= self.authority.clock().now() {
            return Err(TokenRefusal::of("agent_key_expired", error(), agent));
        }
        if agent.has_lapsed(self.authority.clock().now()) {
            return Err(TokenRefusal::of("agent_review_lapsed", error(), agent));
        }
        if agent.leased_until() <= self.authority.clock().now() {
            return Err(TokenRefusal::of("agent_lease_ended", error(), agent));
        }
        Ok(())
    }

    /// The same at `path`, where nobody gets a token. Whoever authenticates by a JWT-SVID or an enrolment
    /// proves there too for which key that is: it is bound to that one, and shown with another it is
    /// refused.
    pub(crate) async fn agent_at(
        &self,
        path: &str,
        (http, client): (&TokenHttpRequest<'_>, &Client),
    ) -> Result<Authenticated, TokenRefusal> {
        let Authenticated { agent, mut uses, shown, device } = self.agent(client).await?;
        if shown.is_none() && device.is_none() {
            return Ok(Authenticated { agent, uses, shown, device });
        }
        let proof = self.proof(http.dpop, path).map_err(|mut refusal| {
            refusal.refused.agent = Some(agent.name.clone());
            refusal
        })?;
        uses.push(once(OnceScope::Proof, &proof.thumbprint, &proof.jti, proof.iat));
        if let Some(device) = &device {
            device.is_for(&proof.thumbprint, &agent)?;
        }
        if let Some(shown) = &shown {
            let key = Thumbprint::from_bytes(proof.thumbprint);
            uses = self
                .bind(&Showing { agent: &agent, key, shown, new: None, gone: None }, uses)
                .await?;
        }
        Ok(Authenticated { agent, uses, shown, device })
    }

    async fn by_key(&self, client: &Client) -> Result<Authenticated, TokenRefusal> {
        let found = self.claimed(client).await?;
        let now = self.authority.clock().now();
        // Who is not there is asked for as much work as who is, so that time tells nothing either.
        let own = || self.keys.signer().public().clone();
        let key = found.as_ref().and_then(agent_key).unwrap_or_else(own);
        let parties = (client.id.as_str(), self.minter.issuer.as_str());
        let verified = client_assertion::verify(&client.assertion, parties, &key, now.as_seconds());
        let (agent, verified) = found.zip(verified.ok()).ok_or_else(unknown)?;
        let used = once(OnceScope::Assertion, &key.thumbprint(), &verified.jti, verified.exp);
        Ok(Authenticated { agent, uses: vec![used], shown: None, device: None })
    }

    /// The agent whose rules admit the workload that shows its JWT-SVID. That may be shown again as
    /// long as it holds, with one key (`bound`).
    async fn by_workload(&self, client: &Client) -> Result<Authenticated, TokenRefusal> {
        let svid = &client.assertion;
        let shown = self.shown(WorkloadToken::ClientSvid(svid), svid).await;
        // Whether there are keys, and whose are asked for, is for the record alone.
        let shown =
            shown.map_err(|not| before(not.cause_of_nobody())(error()).with(not.details()))?;
        let agent = self.claimed(client).await?;
        let agent = agent.ok_or_else(|| unknown().with(shown.details()))?;
        if !agent.admits_workload(Some(&shown.identity)) {
            let refusal = TokenRefusal::of("workload_not_admitted", error(), &agent);
            return Err(refusal.with(shown.details()));
        }
        Ok(Authenticated { agent, uses: Vec::new(), shown: Some(shown), device: None })
    }

    /// The agent that the client says it is, if there is one.
    pub(crate) async fn claimed(&self, client: &Client) -> Result<Option<Agent>, TokenRefusal> {
        let name = claimed_name(client)?;
        let mut reader = self.looking();
        reader.find::<Agent>(FactKey::agent(&name)).await.map_err(unavailable)
    }

    /// A reader that knows nothing before: what is known is had sooner, and the time would tell which
    /// agents are active here.
    pub(crate) fn looking(&self) -> Reader<'_> {
        Reader::new(self.authority.pip().store())
    }
}

/// The name by which the client calls itself, if an agent could have it.
pub(crate) fn claimed_name(client: &Client) -> Result<AgentName, TokenRefusal> {
    client.id.parse().map_err(|_| unknown())
}

/// Refuses the key of `agent` itself as that of an instance.
pub(crate) fn is_own_key(agent: &Agent, proof: &VerifiedProof) -> Result<(), TokenRefusal> {
    if !proof.key.is_of(&agent.key) {
        return Ok(());
    }
    let why = "an instance needs a key of its own, not its agent's";
    let error = OAuthError::new(ErrorCode::InvalidDpopProof, why);
    Err(TokenRefusal::of("agent_key_as_instance", error, agent))
}

pub(crate) fn agent_key(agent: &Agent) -> Option<VerifyingKey> {
    VerifyingKey::from_jwk(&agent.key).ok()
}

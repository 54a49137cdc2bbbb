//! Tokens for clients that are known by their document: by the code that a person came back with, and
//! by the refresh tokens that follow.
//!
//! Each of them is good once. Whoever shows one that was used ends all that came of it: it is in the
//! hands of two, and nobody can tell which of them is the client (RFC 6749 §10.5, RFC 9700 §4.14.2).

use std::time::Duration;

use authority::{Effect, NotPermitted, OnceScope, Permit, Reader, Signal};
use model::{
    Agent, Consent, ConsentState, FactKey, Family, Instance, InstanceId, Mandate, SentBy,
    ServerName, Sha256Digest, Source, Sourced, Thumbprint, Timestamp,
};
use oauth::authorization_code::{self, ClientRequest, Redeemed};
use oauth::token_endpoint::TokenResponse;
use oauth::{ErrorCode, OAuthError};
use serde_json::json;

use crate::asker::not_proposed;
use crate::client::{Credential, is_own_key};
use crate::consented::Consented;
use crate::family::{self, Rotation};
use crate::grant::{Asker, Renewing, TokenGrant};
use crate::not_permitted::{not_noted, refused};
use crate::proposed::{Rests, new_fact, propose};
use crate::service::{
    TOKEN, TokenHttpRequest, TokenRefusal, TokenService, about, before, no_such_resource, once,
    unavailable,
};

/// How often a request is looked at again because what it rests on changed meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// A request of a client that is registered.
struct Redeeming {
    agent: Agent,
    client_id: String,
    /// The server that it names.
    wanted: Option<ServerName>,
    /// The key that it proved, if it did.
    key: Option<Thumbprint>,
    source: Source,
    uses: Vec<Effect>,
    arrived: Duration,
}

/// A code, with all that it is bound to.
struct ShownCode<'a> {
    code: &'a str,
    redirect_uri: &'a str,
    verifier: &'a str,
}

/// What a code stands for.
struct Coded {
    asked: Consent,
    sent: Box<SentBy>,
}

impl Redeeming {
    /// A refusal for `cause`.
    fn refuse<T>(
        &self,
        code: ErrorCode,
        cause: &'static str,
        why: &str,
    ) -> Result<T, TokenRefusal> {
        Err(TokenRefusal::of(cause, OAuthError::new(code, why), &self.agent))
    }

    /// The same of a code or a refresh token, which tells not what is wrong with it.
    fn invalid<T>(&self, cause: &'static str) -> Result<T, TokenRefusal> {
        let why = "it does not hold, or was used before: send the person to authorize again";
        self.refuse(ErrorCode::InvalidGrant, cause, why)
    }

    /// Whether the token is wanted for `server`.
    fn is_for(&self, server: &ServerName) -> Result<(), TokenRefusal> {
        if self.wanted.as_ref().is_none_or(|wanted| wanted == server) {
            return Ok(());
        }
        let error = no_such_resource();
        Err(TokenRefusal::of("other_resource", error, &self.agent))
    }
}

impl TokenService {
    /// Answers `request` of a client.
    pub(crate) async fn redeem(
        &self,
        http: TokenHttpRequest<'_>,
        request: ClientRequest,
    ) -> Result<TokenResponse, TokenRefusal> {
        let ClientRequest { client_id, resource, by } = request;
        let wanted = resource.as_deref().map(|resource| self.server(resource)).transpose();
        let wanted = wanted.map_err(before("unknown_resource"))?;
        let proof = http.dpop.map(|_| self.proof(http.dpop, TOKEN)).transpose()?;
        let agent = self.registered(&client_id).await?;
        if let Some(proof) = &proof {
            is_own_key(&agent, proof)?;
        }
        let key = proof.as_ref().map(|proof| Thumbprint::from_bytes(proof.thumbprint));
        let proved = proof.map(|it| once(OnceScope::Proof, &it.thumbprint, &it.jti, it.iat));
        let source = Source { address: http.from, ..Source::default() };
        let (uses, arrived) = (proved.into_iter().collect(), http.arrived);
        let redeeming = Redeeming { agent, client_id, wanted, key, source, uses, arrived };
        if key.is_none() && !redeeming.agent.takes_bearer() {
            let why = "this client is given no token without a proof of possession";
            return redeeming.refuse(ErrorCode::InvalidDpopProof, "bearer_not_admitted", why);
        }
        let permit = match &by {
            Redeemed::Code { code, redirect_uri, verifier } => {
                self.by_code(&redeeming, &ShownCode { code, redirect_uri, verifier }).await?
            }
            Redeemed::Refresh(token) => self.by_refresh(&redeeming, token).await?,
        };
        self.minter.mint(permit, &self.authority).map_err(|_| TokenRefusal::decided(used_up()))
    }

    async fn by_code(
        &self,
        redeeming: &Redeeming,
        shown: &ShownCode<'_>,
    ) -> Result<Permit<TokenGrant>, TokenRefusal> {
        for _ in 0..ATTEMPTS_MAX {
            let mut reader = self.authority.pip().reader();
            let coded = self.coded(&mut reader, redeeming, shown).await?;
            if let Some(key) = &redeeming.key {
                let held = reader.find::<InstanceId>(FactKey::key(key)).await;
                if held.map_err(unavailable)?.is_some() {
                    let why = "this key is an instance's already: start one with a new key";
                    return redeeming.refuse(ErrorCode::InvalidDpopProof, "has_a_task", why);
                }
                self.is_instances(key, &redeeming.agent).await?;
            }
            let grant = self.begins(reader, redeeming, &coded).await?;
            match self.authority.authorize(grant).await {
                // What was read before may have changed with what others did meanwhile.
                Err(NotPermitted::Contended) => {}
                Err(NotPermitted::Replayed(used)) => {
                    // The code, or else the proof.
                    self.not_redeemed(redeeming, &coded.asked).await?;
                    return Err(refused(NotPermitted::Replayed(used), &redeeming.agent));
                }
                answer => return answer.map_err(|reason| not_granted(reason, &redeeming.agent)),
            }
        }
        Err(refused(NotPermitted::Contended, &redeeming.agent))
    }

    /// What the code of `shown` stands for, if it can be redeemed by who shows it.
    async fn coded(
        &self,
        reader: &mut Reader<'_>,
        redeeming: &Redeeming,
        shown: &ShownCode<'_>,
    ) -> Result<Coded, TokenRefusal> {
        let id = shown.code.split_once('.').and_then(|(id, _)| id.parse().ok());
        let asked = match id {
            Some(id) => reader.find::<Consent>(FactKey::consent(id)).await.map_err(unavailable)?,
            None => None,
        };
        let digest = Sha256Digest::of(shown.code.as_bytes());
        let coded = asked.and_then(|asked| {
            let sent = asked.client.clone()?;
            let expires = sent.code.as_ref().filter(|code| code.digest == digest)?.expires;
            Some((Coded { asked, sent }, expires))
        });
        let Some((coded, expires)) = coded else { return redeeming.invalid("code_unknown") };
        self.not_redeemed(redeeming, &coded.asked).await?;
        let Coded { asked, sent } = &coded;
        if expires <= self.authority.clock().now() {
            return redeeming.invalid("code_expired");
        }
        let is_its = sent.client_id == redeeming.client_id && asked.agent == redeeming.agent.name;
        if !is_its || sent.redirect_uri != shown.redirect_uri {
            return redeeming.invalid("code_of_another");
        }
        self.is_still(reader, redeeming, sent.since).await?;
        if !authorization_code::is_verified(shown.verifier, sent.challenge.as_bytes()) {
            return redeeming.invalid("code_not_verified");
        }
        if sent.bound && redeeming.key.is_none() {
            let why = "this client says that its tokens are bound: a proof is needed";
            return redeeming.refuse(ErrorCode::InvalidDpopProof, "bearer_not_admitted", why);
        }
        if sent.jkt.is_some() && sent.jkt != redeeming.key {
            let why = "the code is bound to another key, as the client asked";
            return redeeming.refuse(ErrorCode::InvalidDpopProof, "code_of_another", why);
        }
        redeeming.is_for(&sent.server)?;
        Ok(coded)
    }

    /// Whether nobody redeemed the code of `asked` yet; what came of it ends, if somebody did.
    async fn not_redeemed(
        &self,
        redeeming: &Redeeming,
        asked: &Consent,
    ) -> Result<(), TokenRefusal> {
        let mut reader = self.authority.pip().reader();
        let found = reader.find::<InstanceId>(FactKey::redeemed(asked.id)).await;
        match found.map_err(unavailable)? {
            Some(instance) => Err(self.replayed(redeeming, instance, "code_replayed").await),
            None => Ok(()),
        }
    }

    /// The token for the instance that begins with `coded`.
    async fn begins(
        &self,
        mut reader: Reader<'_>,
        redeeming: &Redeeming,
        Coded { asked, sent }: &Coded,
    ) -> Result<TokenGrant, TokenRefusal> {
        let ConsentState::Given { mandate } = asked.state else {
            return redeeming.invalid("code_unknown");
        };
        let mandate: Mandate = reader.need(FactKey::mandate(mandate)).await.map_err(unavailable)?;
        if mandate.withdrawn.is_some() || mandate.valid_until <= self.authority.clock().now() {
            return redeeming.invalid("consent_over");
        }
        let read = reader.sourced(());
        let (clock, entropy) = (self.authority.clock(), self.authority.entropy());
        let new = InstanceId::new(clock.now(), entropy.as_ref());
        let uses = code_used(asked, &mandate);
        let consented =
            Consented { mandate: mandate.id, purpose: mandate.purpose, uses: Some(uses) };
        let (key, source) = (redeeming.key, &redeeming.source);
        let rests = (&asked.agent, Rests::Consented(consented));
        let proposed = propose(&self.authority, rests, (new, key, source)).await;
        let mut proposed = proposed.map_err(|why| not_proposed(why, &redeeming.agent))?;
        let instance = proposed.standing.value.instance.id;
        let rotation = Rotation::first(sent, instance, entropy.as_ref());
        proposed.effects.push(new_fact(FactKey::redeemed(asked.id), &instance));
        let asker = Asker::New(Box::new(proposed));
        Ok(self.granted(redeeming, (asker, &sent.server), (rotation, read)))
    }

    async fn by_refresh(
        &self,
        redeeming: &Redeeming,
        token: &str,
    ) -> Result<Permit<TokenGrant>, TokenRefusal> {
        for _ in 0..ATTEMPTS_MAX {
            let mut reader = self.authority.pip().reader();
            let (family, instance) = self.last_of(&mut reader, redeeming, token).await?;
            redeeming.is_for(&family.server)?;
            let (server, read) = (family.server.clone(), reader.sourced(()));
            let rotation = Rotation::after(family, token, self.authority.entropy().as_ref());
            let asker = Asker::Known(Box::new(instance));
            let grant = self.granted(redeeming, (asker, &server), (rotation, read));
            match self.authority.authorize(grant).await {
                Err(NotPermitted::Contended) => {}
                answer => return answer.map_err(|reason| not_granted(reason, &redeeming.agent)),
            }
        }
        Err(refused(NotPermitted::Contended, &redeeming.agent))
    }

    /// The family of which `token` is the last one, with its instance. All of it ends if it is not.
    async fn last_of(
        &self,
        reader: &mut Reader<'_>,
        redeeming: &Redeeming,
        token: &str,
    ) -> Result<(Family, Instance), TokenRefusal> {
        let found = match family::place_of(token) {
            Some(place) => reader.find::<Family>(place).await.map_err(unavailable)?,
            None => None,
        };
        let found = found.filter(|family| family.client_id == redeeming.client_id);
        let Some(family) = found else { return redeeming.invalid("refresh_token_unknown") };
        let instance = reader.need::<Instance>(FactKey::instance(family.instance)).await;
        let instance = instance.map_err(unavailable)?;
        // The client may have been another agent's then.
        if instance.agent != redeeming.agent.name {
            return redeeming.invalid("refresh_token_unknown");
        }
        if instance.key != redeeming.key {
            let why = "the refresh token goes with the key, or with none, that it began with";
            let refusal = redeeming.refuse(ErrorCode::InvalidDpopProof, "holder_absent", why);
            return refusal.map_err(|it| about(&instance, it).with(held_by(instance.id)));
        }
        if family.is_last(token) {
            self.is_still(reader, redeeming, family.since).await?;
            return Ok((family, instance));
        }
        Err(self.replayed(redeeming, instance.id, "refresh_token_replayed").await)
    }

    /// Whether the client is registered as it was `since` then: one that was taken back and said anew
    /// has nothing of what it had.
    async fn is_still(
        &self,
        reader: &mut Reader<'_>,
        redeeming: &Redeeming,
        since: Timestamp,
    ) -> Result<(), TokenRefusal> {
        let agent = reader.need::<Agent>(FactKey::agent(&redeeming.agent.name)).await;
        if agent.map_err(unavailable)?.has_client(&redeeming.client_id, since) {
            return Ok(());
        }
        redeeming.invalid("client_said_anew")
    }

    /// The token for `asker` at `server`, with the next refresh token. It is not issued if what was
    /// `read` has changed by then.
    fn granted(
        &self,
        redeeming: &Redeeming,
        (asker, server): (Asker, &ServerName),
        (rotation, read): (Rotation, Sourced<()>),
    ) -> TokenGrant {
        let Sourced { keys, revision, .. } = read;
        let (last, source) = (Sourced { value: None, keys, revision }, redeeming.source.clone());
        let by = Box::<Credential>::default();
        let renewing = Renewing { asked: None, last, source, is_own: false, until: None, by };
        let audience = (server.clone(), self.audience_of(server));
        let uses = (redeeming.uses.clone(), redeeming.arrived);
        TokenGrant::new(asker, audience, (redeeming.key, renewing, None), uses, self.drawn())
            .with(rotation)
    }

    /// Ends what `instance` has, because something of it was shown a second time.
    async fn replayed(
        &self,
        redeeming: &Redeeming,
        instance: InstanceId,
        signal: &'static str,
    ) -> TokenRefusal {
        let seen = vec![("source", json!(redeeming.source))];
        let ending = Signal { instance, signal, seen, uses: redeeming.uses.clone() };
        if let Err(error) = self.authority.end_replayed(ending).await {
            return not_noted(error, &redeeming.agent);
        }
        let refusal = redeeming.invalid::<()>(signal).err();
        refusal.expect("it is refused").with(held_by(instance))
    }
}

/// Why there is no token. A client that is told of an invalid grant sends the person here again; told
/// anything else, it may ask for ever (RFC 6749 §5.2).
fn not_granted(reason: NotPermitted, agent: &Agent) -> TokenRefusal {
    match reason {
        NotPermitted::Denied { decision, .. } => {
            let why = format!("it is not permitted, or no longer (decision {decision})");
            TokenRefusal::decided(OAuthError::new(ErrorCode::InvalidGrant, why))
        }
        other if other.may_be_recorded() => {
            TokenRefusal { error: used_up().into(), ..refused(other, agent) }
        }
        other => refused(other, agent),
    }
}

/// There was no answer in time.
pub(crate) fn late() -> TokenRefusal {
    TokenRefusal { error: used_up().into(), ..TokenRefusal::late() }
}

/// What is told where what was shown is used up, or may be, and no token comes of it: asking again would
/// look like a thief.
fn used_up() -> OAuthError {
    let why = "what was shown may be used up, and no token came of it: send the person to authorize \
               again";
    OAuthError::new(ErrorCode::InvalidGrant, why)
}

fn held_by(instance: InstanceId) -> [(&'static str, String); 1] {
    [("held_by_instance", instance.to_string())]
}

/// What redeeming the code of `asked` uses up: the consent, where it is for one task.
fn code_used(asked: &Consent, mandate: &Mandate) -> Effect {
    let at = mandate.valid_until.as_seconds();
    once(OnceScope::Assertion, &[0; 32], &asked.id.to_string(), at)
}

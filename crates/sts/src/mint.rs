//! Minting: what is signed is what was permitted.

use std::sync::Arc;

use authority::{Authority, Begun, Entailed, Governed as _, Permit, PermitContext};
use keys::TokenKeys;
use model::record::{ActCommitments, Disclosure, HandedOn, IssuanceRecord, OutcomeKind, VERSION};
use model::{
    Entropy, FactKey, PolicyDigest, RecordId, Scope, ServerName, Sha256Digest, Standing, Timestamp,
};
use oauth::access_token::{self, AccessTokenClaims, Actor, AgentTask, Confirmation};
use oauth::exchange::{self, Delegated};
use oauth::token_endpoint::{Next, TokenResponse};
use oauth::verified_tokens::VerifiedTokens;
use oauth::{ErrorCode, OAuthError};

use crate::delegate::HandingOn;
use crate::grant::{Drawn, TokenGrant};
use crate::renewal::{Link, Renewal};
use crate::service::TokenService;

/// Signs tokens, each against a permit for it.
#[derive(Clone)]
pub struct Minter {
    /// The issuer.
    pub issuer: String,
    /// The keys, of which one signs.
    pub keys: Arc<TokenKeys>,
    /// The tokens that were signed, and those of holders that were shown.
    pub verified: Arc<VerifiedTokens>,
}

impl TokenService {
    /// The same, which shares with whoever takes its tokens which of them are `known`.
    #[must_use]
    pub fn sharing(mut self, known: Arc<VerifiedTokens>) -> Self {
        self.minter.verified = known;
        self
    }
}

impl Minter {
    /// Signs the token that `permit` covers. That it is issued was recorded with the permit.
    ///
    /// ```
    /// use authority::{Authority, Permit};
    /// use sts::{Minter, TokenGrant};
    ///
    /// fn mint(minter: &Minter, permit: Permit<TokenGrant>, authority: &Authority) {
    ///     let _ = minter.mint(permit, authority);
    /// }
    /// ```
    ///
    /// Not without one:
    ///
    /// ```compile_fail,E0308
    /// use authority::Authority;
    /// use sts::{Minter, TokenGrant};
    ///
    /// fn i_01_no_token_without_a_permit(
    ///     minter: &Minter,
    ///     grant: TokenGrant,
    ///     authority: &Authority,
    /// ) {
    ///     let _ = minter.mint(grant, authority);
    /// }
    /// ```
    pub fn mint(
        &self,
        permit: Permit<TokenGrant>,
        authority: &Authority,
    ) -> Result<TokenResponse, OAuthError> {
        let unavailable = |why: &str| OAuthError::new(ErrorCode::TemporarilyUnavailable, why);
        let begun = permit.begin(authority.clock().as_ref());
        let begun = begun.map_err(|error| unavailable(&error.to_string()))?;
        let signed = self.sign(&begun);
        let (outcome, result) = match &signed {
            Ok((_, claims)) => {
                (OutcomeKind::Returned, Some(Sha256Digest::of(claims.jti.as_bytes())))
            }
            Err(_) => (OutcomeKind::Failed, None),
        };
        begun.running.finish(outcome, result);
        let (token, claims) = signed.map_err(unavailable)?;
        let knows = begun.act.renewing.asked.is_some();
        let refresh_token = begun.act.rotation.as_ref().map(|rotation| rotation.token().to_owned());
        let granted = || scope_at(&begun.context.standing.task.scope, &begun.act.server);
        let scope = refresh_token.is_some().then(granted);
        let Drawn { jti, nonce } = begun.act.drawn;
        let next = || Next { jti, renewal_nonce: nonce };
        Ok(TokenResponse {
            access_token: token,
            token_type: token_type(&claims).to_owned(),
            refresh_token,
            issued_token_type: begun.act.bound.map(|_| exchange::ACCESS_TOKEN.to_owned()),
            expires_in: claims.exp - claims.iat,
            scope,
            next: knows.then(next),
            authorization_details: claims.authorization_details,
        })
    }

    fn sign(&self, begun: &Begun<TokenGrant>) -> Result<(String, AccessTokenClaims), &'static str> {
        let claims = self.claims(begun).ok_or("what the token would rest on ends now")?;
        let token = self.verified.mint(&claims);
        let token = token.map_err(|_| "the token could not be signed")?;
        Ok((token, claims))
    }

    /// Signs the delegation that `begun` covers, made while `policy` was in force; gives its id too.
    pub(crate) fn delegate(
        &self,
        begun: &Begun<HandingOn>,
        policy: PolicyDigest,
        authority: &Authority,
    ) -> Result<(TokenResponse, String), OAuthError> {
        let now = authority.clock().now();
        let (standing, act) = (&begun.context.standing, &begun.act);
        let (sub, actor) = parties(standing);
        let jti = RecordId::new(now, authority.entropy().as_ref()).to_string();
        let delegated = Delegated {
            iss: self.issuer.clone(),
            aud: self.issuer.clone(),
            sub,
            act: actor,
            client_id: standing.agent.name.to_string(),
            task: standing.task.id.to_string(),
            may_act: act.to.clone(),
            decision: begun.context.decision.to_string(),
            policy: policy.to_string(),
            authorization_details: [act.task.clone()],
            iat: now.as_seconds(),
            exp: act.bound.min(now.as_seconds() + exchange::LIFETIME_MAX_S),
            jti: jti.clone(),
        };
        let signed = exchange::make(&delegated, self.keys.signer().as_ref());
        let why = "the delegation could not be signed";
        let unsigned = |_| OAuthError::new(ErrorCode::TemporarilyUnavailable, why);
        let response = TokenResponse {
            access_token: signed.map_err(unsigned)?,
            issued_token_type: Some(exchange::DELEGATION.to_owned()),
            token_type: "N_A".to_owned(),
            expires_in: delegated.exp - delegated.iat,
            scope: None,
            refresh_token: None,
            next: None,
            authorization_details: Vec::new(),
        };
        Ok((response, jti))
    }

    /// The claims, if there is a token to be issued.
    fn claims(&self, begun: &Begun<TokenGrant>) -> Option<AccessTokenClaims> {
        let standing = &begun.context.standing;
        let cnf = begun.act.key.map(|key| Confirmation { jkt: keys::base64url(key.as_bytes()) });
        let exp = expires(&begun.act, &begun.context)?;
        let (sub, act) = parties(standing);
        // As it was for what was consented to, in all tokens that derive from that (RFC 9068 §2.2.1).
        let how = standing.mandate.basis.authentication().cloned().unwrap_or_default();
        Some(AccessTokenClaims {
            iss: self.issuer.clone(),
            sub,
            act,
            client_id: standing.agent.name.to_string(),
            aud: begun.act.audience.clone(),
            exp,
            iat: begun.context.decided.as_seconds(),
            jti: begun.act.drawn.jti.clone(),
            txn: Some(standing.root().id.to_string()),
            auth_time: how.auth_time.map(Timestamp::as_seconds),
            acr: how.acr,
            amr: how.amr,
            cnf,
            authorization_details: vec![AgentTask {
                kind: "agent_task".to_owned(),
                task: standing.task.id.to_string(),
                purpose: standing.purpose.id.to_string(),
                mandate: standing.task.mandate_digest.to_string(),
            }],
        })
    }
}

/// How a token with these claims is presented (RFC 6749 §7.1, RFC 9449 §5).
pub(crate) const fn token_type(claims: &AccessTokenClaims) -> &'static str {
    match claims.cnf {
        Some(_) => "DPoP",
        None => "Bearer",
    }
}

/// What a client that people authorize may at `server`, as it asks for that in `scope` (RFC 6749 §5.1). It may have asked
/// for all that there is, and not know what that is.
fn scope_at(scope: &Scope, server: &ServerName) -> String {
    let tools = scope.tools.iter().filter(|tool| tool.server() == server);
    tools.map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// On whose account an instance acts, and who acts: the person and all instances of the chain; where
/// the work is on nobody's behalf, the instance that began it and all others.
fn parties(standing: &Standing) -> (String, Option<Actor>) {
    let mut instances = standing.hops().map(|hop| hop.instance.id.to_string());
    let sub = match &standing.subject {
        Some(person) => person.id.to_string(),
        None => instances.next_back().expect("who acts is in the chain"),
    };
    (sub, Actor::chain(instances))
}

/// When the token ends, in seconds since the epoch: never later than anything that the instance's
/// authority rests on, nor than what the token was exchanged for. None if it would end as it begins.
fn expires(grant: &TokenGrant, context: &PermitContext) -> Option<i64> {
    let begins = context.decided.as_seconds();
    let attested = grant.renewing.until.map(Timestamp::as_seconds);
    let most = match grant.key {
        Some(_) => access_token::LIFETIME_MAX_S,
        None => access_token::BEARER_LIFETIME_MAX_S,
    };
    let bounds = [Some(context.ends.as_seconds()), grant.bound, attested];
    let ends = bounds.into_iter().flatten().fold(begins + most, i64::min);
    (ends > begins).then_some(ends)
}

/// The record of the token, in one commit with the permit for it, and what its successor has to follow.
pub(crate) fn issuance(
    grant: &TokenGrant,
    context: &PermitContext,
    entropy: &dyn Entropy,
) -> Option<Entailed> {
    let (standing, renewing) = (&context.standing, &grant.renewing);
    let (now, expires) = (context.decided, Timestamp::from_seconds(expires(grant, context)?));
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    let mut disclosure = Disclosure::new(seed);
    let mut commitments = ActCommitments::from(context.people);
    commitments.insert("source", disclosure.commit("source", &renewing.source));
    let Drawn { jti, nonce } = &grant.drawn;
    let record = IssuanceRecord {
        agent: standing.agent.name.clone(),
        attestation: standing.attestation(),
        audience: grant.audience.clone(),
        binding: grant.circumstances().binding,
        commitments,
        decision: context.decision,
        delegators: HandedOn::all(standing),
        expires,
        id: RecordId::new(now, entropy),
        instance: standing.instance.id,
        jti: Sha256Digest::of(jti.as_bytes()),
        key: grant.key,
        kind: "issuance".to_owned(),
        mandate: Some(standing.task.mandate_digest),
        purpose: standing.purpose.id.clone(),
        task: standing.task.id,
        time: now,
        v: VERSION,
    };
    let own = || {
        let place = (grant.server.clone(), expires);
        let (last, source) = (renewing.last.value.clone(), renewing.source.clone());
        let given = Link::of(jti, nonce);
        let renewal = Renewal::after(last, &renewing.asked, given, place, source);
        (FactKey::renewal(standing.instance.id), json::canonical_of(&renewal))
    };
    Some(Entailed {
        entry: authority::entry(*record.id.as_bytes(), &record, None),
        disclosure,
        writes: match &grant.rotation {
            Some(rotation) => Some(rotation.fact()),
            None => renewing.is_own.then(own),
        },
    })
}

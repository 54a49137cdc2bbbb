//! Minting: what is signed is what was permitted.

use std::sync::Arc;

use authority::{Authority, Begun, Effect, Governed as _, Permit, Unit, Urgency};
use keys::TokenKeys;
use model::record::{Disclosure, HandedOn, IssuanceRecord, OutcomeKind, VERSION};
use model::{FactKey, PolicyDigest, RecordId, Sha256Digest, Standing, Timestamp};
use oauth::access_token::{self, AccessTokenClaims, Actor, AgentTask, Confirmation};
use oauth::exchange::{self, Delegated};
use oauth::token_endpoint::{Next, TokenResponse};
use oauth::{ErrorCode, OAuthError};

use crate::delegate::HandingOn;
use crate::grant::TokenGrant;
use crate::renewal::{Link, Renewal};

/// Signs tokens, each against a permit for it.
#[derive(Clone)]
pub struct Minter {
    /// The issuer.
    pub issuer: String,
    /// The keys, of which one signs.
    pub keys: Arc<TokenKeys>,
}

impl Minter {
    /// Signs the token that `permit` covers and records that it was issued.
    ///
    /// ```
    /// use authority::{Authority, Permit};
    /// use sts::{Minter, TokenGrant};
    ///
    /// async fn mint(minter: &Minter, permit: Permit<TokenGrant>, authority: &Authority) {
    ///     let _ = minter.mint(permit, authority).await;
    /// }
    /// ```
    ///
    /// Not without one:
    ///
    /// ```compile_fail,E0308
    /// use authority::Authority;
    /// use sts::{Minter, TokenGrant};
    ///
    /// async fn i_01_no_token_without_a_permit(
    ///     minter: &Minter,
    ///     grant: TokenGrant,
    ///     authority: &Authority,
    /// ) {
    ///     let _ = minter.mint(grant, authority).await;
    /// }
    /// ```
    pub async fn mint(
        &self,
        permit: Permit<TokenGrant>,
        authority: &Authority,
    ) -> Result<TokenResponse, OAuthError> {
        let unavailable = |why: &str| OAuthError::new(ErrorCode::TemporarilyUnavailable, why);
        let begun = permit.begin(authority.clock().as_ref());
        let begun = begun.map_err(|error| unavailable(&error.to_string()))?;
        let mut nonce = [0; 16];
        authority.entropy().fill(&mut nonce);
        let nonce = keys::base64url(&nonce);
        let signed = self.sign(&begun, &nonce, authority).await;
        let (outcome, result) = match &signed {
            Ok((_, claims)) => {
                (OutcomeKind::Returned, Some(Sha256Digest::of(claims.jti.as_bytes())))
            }
            Err(_) => (OutcomeKind::Failed, None),
        };
        begun.running.finish(outcome, result);
        let (token, claims) = signed.map_err(unavailable)?;
        let knows = begun.act.renewing.asked.is_some();
        let next = || Next { jti: claims.jti.clone(), renewal_nonce: nonce };
        let refresh_token = begun.act.rotation.as_ref().map(|rotation| rotation.token().to_owned());
        Ok(TokenResponse {
            access_token: token,
            token_type: token_type(&claims).to_owned(),
            refresh_token,
            issued_token_type: begun.act.bound.map(|_| exchange::ACCESS_TOKEN.to_owned()),
            expires_in: claims.exp - claims.iat,
            next: knows.then(next),
            authorization_details: claims.authorization_details,
        })
    }

    /// Signs the token and, before anybody sees it, records that it was issued.
    async fn sign(
        &self,
        begun: &Begun<TokenGrant>,
        nonce: &str,
        authority: &Authority,
    ) -> Result<(String, AccessTokenClaims), &'static str> {
        let claims = self.claims(begun, authority);
        if claims.exp <= claims.iat {
            return Err("what the token would rest on ends now");
        }
        let token = access_token::mint(&claims, self.keys.signer().as_ref());
        let token = token.map_err(|_| "the token could not be signed")?;
        let unit = issuance(begun, (&claims, nonce), authority).await?;
        let recorded = authority.journal().store().commit(unit).await;
        recorded.map_err(|_| "the token could not be recorded")?;
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
            refresh_token: None,
            next: None,
            authorization_details: Vec::new(),
        };
        Ok((response, jti))
    }

    /// The claims: never longer than anything that the instance's authority rests on, nor than what
    /// the token was exchanged for.
    fn claims(&self, begun: &Begun<TokenGrant>, authority: &Authority) -> AccessTokenClaims {
        let standing = &begun.context.standing;
        let now = authority.clock().now();
        let cnf = begun.act.key.map(|key| Confirmation { jkt: keys::base64url(key.as_bytes()) });
        let most = now.as_seconds()
            + match cnf {
                Some(_) => access_token::LIFETIME_MAX_S,
                None => access_token::BEARER_LIFETIME_MAX_S,
            };
        let attested = begun.act.renewing.until.map(Timestamp::as_seconds);
        let bounds = [Some(begun.context.ends.as_seconds()), begun.act.bound, attested];
        let exp = bounds.into_iter().flatten().fold(most, i64::min);
        let (sub, act) = parties(standing);
        AccessTokenClaims {
            iss: self.issuer.clone(),
            sub,
            act,
            client_id: standing.agent.name.to_string(),
            aud: begun.act.audience.clone(),
            exp,
            iat: now.as_seconds(),
            jti: RecordId::new(now, authority.entropy().as_ref()).to_string(),
            cnf,
            authorization_details: vec![AgentTask {
                kind: "agent_task".to_owned(),
                task: standing.task.id.to_string(),
                purpose: standing.purpose.id.to_string(),
                mandate: standing.task.mandate_digest.to_string(),
            }],
        }
    }
}

/// How a token with these claims is presented (RFC 6749 §7.1, RFC 9449 §5).
pub(crate) const fn token_type(claims: &AccessTokenClaims) -> &'static str {
    match claims.cnf {
        Some(_) => "DPoP",
        None => "Bearer",
    }
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

/// The record of the token, with what its successor has to follow.
async fn issuance(
    begun: &Begun<TokenGrant>,
    (claims, nonce): (&AccessTokenClaims, &str),
    authority: &Authority,
) -> Result<Unit, &'static str> {
    let (standing, renewing) = (&begun.context.standing, &begun.act.renewing);
    let (now, expires) = (authority.clock().now(), Timestamp::from_seconds(claims.exp));
    let mut seed = [0; 32];
    authority.entropy().fill(&mut seed);
    let mut disclosure = Disclosure::new(seed);
    let source = serde_json::to_value(&renewing.source).expect("a source is a map of text");
    let mut commitments = begun.context.people.clone();
    commitments.insert("source", disclosure.commit("source", source));
    let record = IssuanceRecord {
        agent: standing.agent.name.clone(),
        attestation: standing.attestation(),
        audience: claims.aud.clone(),
        binding: begun.act.circumstances().binding,
        commitments,
        decision: begun.context.decision,
        delegators: HandedOn::all(standing),
        expires,
        id: RecordId::new(now, authority.entropy().as_ref()),
        instance: standing.instance.id,
        jti: Sha256Digest::of(claims.jti.as_bytes()),
        key: begun.act.key,
        kind: "issuance".to_owned(),
        purpose: standing.purpose.id.clone(),
        task: standing.task.id,
        time: now,
        v: VERSION,
    };
    let sealed = authority.journal().seal(&standing.sponsor.id, &disclosure).await;
    let sealed = sealed.map_err(|_| "the token could not be recorded")?;
    let given = Link::of(&claims.jti, nonce);
    let place = (begun.act.server.clone(), expires);
    let (last, source) = (renewing.last.value.clone(), renewing.source.clone());
    let renewal = Renewal::after(last, &renewing.asked, given, place, source);
    let key = FactKey::renewal(standing.instance.id);
    Ok(Unit {
        entries: vec![authority::entry(*record.id.as_bytes(), &record, Some(sealed))],
        // Ordered against every revocation once more, and against other renewals: what the permit
        // rests on, and the token that is followed, have not changed since it was given.
        reads: [begun.context.reads.as_slice(), &renewing.last.keys].concat(),
        revision: begun.context.revision,
        effects: match &begun.act.rotation {
            Some(rotation) => vec![rotation.effect()],
            None if renewing.is_own => {
                vec![Effect::Put { key, body: json::canonical_of(&renewal) }]
            }
            None => Vec::new(),
        },
        urgency: Urgency::Awaited,
    })
}

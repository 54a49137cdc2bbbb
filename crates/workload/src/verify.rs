//! The rules of both kinds of tokens.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::workload::{ISSUER_MAX, SUBJECT_MAX};
use model::{Clock, WorkloadIdentity};
use oauth::jwks::Algorithm;
use oauth::jws::Foreign;
use serde_json::{Map, Value};

use crate::claims;
use crate::error::VerifyError;
use crate::identity::Verified;
use crate::source::Source;
use crate::spiffe_id::{SpiffeId, TrustDomain};

/// What an OpenID Connect token may say of its type, if anything: no access token of RFC 9068, no
/// token to log out, no proof says so.
const OIDC_TYPES: [&str; 2] = ["JWT", "jwt"];

/// What a JWT-SVID may say of its type, if anything (JWT-SVID §2.3).
const SVID_TYPES: [&str; 2] = ["JWT", "JOSE"];

/// All that the header of a JWT-SVID may hold (JWT-SVID §2).
const SVID_HEADER: [&str; 3] = ["alg", "kid", "typ"];

/// A token that a platform issued to a workload. Which kind it is, whoever shows it says.
#[derive(Clone, Copy)]
pub enum WorkloadToken<'a> {
    /// By an issuer of OpenID Connect tokens.
    Oidc(&'a str),
    /// By a SPIFFE trust domain.
    JwtSvid(&'a str),
    /// The same, where nothing else says who asks: it is for us and nobody else, since each whom it is
    /// for could show it to us.
    ClientSvid(&'a str),
}

/// A configured issuer.
pub(crate) struct OidcTrust {
    pub(crate) audience: String,
    pub(crate) algorithms: BTreeSet<Algorithm>,
    pub(crate) source: Arc<Source>,
}

/// A configured trust domain.
pub(crate) struct SpiffeTrust {
    pub(crate) audience: String,
    pub(crate) source: Arc<Source>,
}

/// An issuer's token, read and not yet verified.
pub(crate) struct OidcToken<'a> {
    token: Foreign<'a>,
    issuer: String,
}

impl<'a> OidcToken<'a> {
    pub(crate) fn read(token: &'a str) -> Result<Self, VerifyError> {
        let token = Foreign::read(token, &OIDC_TYPES)?;
        let issuer = claims::text(&token.unverified_claims()?, "iss", ISSUER_MAX)?.to_owned();
        Ok(Self { token, issuer })
    }

    /// The issuer that it names.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whose token it is, by the word of `trust`, the issuer that it names.
    pub(crate) async fn verify(
        self,
        trust: &OidcTrust,
        clock: &dyn Clock,
    ) -> Result<Verified, VerifyError> {
        let may = |algorithm: &Algorithm| trust.algorithms.contains(algorithm);
        let claims = signed(self.token, &trust.source, may).await?;
        claims::is_workload_token(&claims)?;
        claims::only_audience(&claims, &trust.audience)?;
        let expires = claims::expiry(&claims, true, clock.now())?;
        let subject = claims::text(&claims, "sub", SUBJECT_MAX)?.to_owned();
        let claims = claims::flat(&claims)?;
        let identity = WorkloadIdentity { issuer: self.issuer, subject, claims };
        Ok(Verified { identity, expires })
    }
}

/// A JWT-SVID, read and not yet verified.
pub(crate) struct SvidToken<'a> {
    token: Foreign<'a>,
    subject: SpiffeId,
    is_for: IsFor,
}

/// Refuses claims by which a token is not for an audience, or, perhaps, for others too.
type IsFor = fn(&Map<String, Value>, &str) -> Result<(), VerifyError>;

impl<'a> SvidToken<'a> {
    pub(crate) fn read(token: &'a str) -> Result<Self, VerifyError> {
        let token = Foreign::read(token, &SVID_TYPES)?;
        if !token.header_members().all(|name| SVID_HEADER.contains(&name)) {
            return Err(VerifyError::HeaderMember);
        }
        let claims = token.unverified_claims()?;
        let subject = claims::text(&claims, "sub", SUBJECT_MAX)?;
        let subject = SpiffeId::parse(subject).map_err(|_| VerifyError::NotSpiffeId)?;
        Ok(Self { token, subject, is_for: claims::has_audience })
    }

    /// The same, which is refused if it is for others too.
    pub(crate) fn for_us_alone(self) -> Self {
        Self { is_for: claims::only_audience, ..self }
    }

    /// The trust domain of its subject, whose keys alone can have signed it (Workload API §6.3).
    pub(crate) fn trust_domain(&self) -> &TrustDomain {
        self.subject.trust_domain()
    }

    /// Whose token it is, by the word of `trust`, its subject's trust domain.
    pub(crate) async fn verify(
        self,
        trust: &SpiffeTrust,
        clock: &dyn Clock,
    ) -> Result<Verified, VerifyError> {
        let may = |algorithm: &Algorithm| Algorithm::JWT_SVID.contains(algorithm);
        let claims = signed(self.token, &trust.source, may).await?;
        claims::is_workload_token(&claims)?;
        (self.is_for)(&claims, &trust.audience)?;
        let expires = claims::expiry(&claims, false, clock.now())?;
        let identity = WorkloadIdentity {
            issuer: self.subject.trust_domain().id(),
            subject: self.subject.as_str().to_owned(),
            claims: claims::flat(&claims)?,
        };
        Ok(Verified { identity, expires })
    }
}

/// The claims of `token`, once a key of `source` verifies it by an algorithm that it `may` have.
async fn signed(
    token: Foreign<'_>,
    source: &Arc<Source>,
    may: impl Fn(&Algorithm) -> bool,
) -> Result<Map<String, Value>, VerifyError> {
    // Before the key, as nobody is asked for the key of a token that could not be taken.
    let algorithm = Algorithm::named(token.alg()?);
    algorithm.filter(may).ok_or(VerifyError::Algorithm)?;
    let key = source.key(token.kid()?).await?;
    Ok(token.verified_by(key.as_ref())?)
}

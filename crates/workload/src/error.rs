//! Why a token is refused, and why keys could not be fetched.

use std::io;

use https_url::NotHttpsUrl;
use oauth::jwks::KeySetError;
use oauth::jws::JwsError;
use outbound::FetchError;

use crate::claims::{CLAIMS_MAX, LIFETIME_MAX};

/// Why a token says nothing about its holder. It tells nothing of what the token holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It is no JWS that can be read in one way only, or its header has what no header may have.
    #[error("the token cannot be read")]
    Unreadable(#[source] JwsError),
    /// Its header holds more than that of a JWT-SVID may.
    #[error("the token's header has a member that those of JWT-SVIDs do not have")]
    HeaderMember,
    /// It says of itself that it is another kind of token.
    #[error("the claim `{0}` says that the token is of another kind")]
    OtherKind(&'static str),
    /// Its algorithm is none by which its issuer may sign, or is not that of the key.
    #[error("the token's algorithm is not allowed for its issuer or key")]
    Algorithm,
    /// Its issuer is not configured.
    #[error("the token's issuer is not configured")]
    ForeignIssuer,
    /// Its subject's trust domain is not configured.
    #[error("the trust domain of the token's subject is not configured")]
    ForeignTrustDomain,
    /// Its subject is no SPIFFE ID of a workload.
    #[error("the token's subject is not the SPIFFE ID of a workload")]
    NotSpiffeId,
    /// Its issuer has no key of its `kid`, or it has none and the issuer several.
    #[error("the token's issuer has no such key")]
    UnknownKey,
    /// No key of its `kid` is known, and its issuer cannot be asked for it now. This may pass.
    #[error("the token's issuer cannot be asked for its key now")]
    KeyUnasked,
    /// Its signature is not the key's.
    #[error("the token's signature does not verify")]
    Signature,
    /// A claim is missing or not what it should be.
    #[error("the claim `{0}` is missing or not as it should be")]
    Claim(&'static str),
    /// It is for somebody else, or for others too where it may not be.
    #[error("the token is not for us")]
    Audience,
    /// It holds no more.
    #[error("the token has expired")]
    Expired,
    /// It does not hold yet.
    #[error("the token does not hold yet")]
    NotYet,
    /// It was made to be kept, or to expire before it was made.
    #[error("the token lasts longer than {} hours, or no time at all", LIFETIME_MAX.as_secs() / 3_600)]
    Lifetime,
    /// It has too many claims, or two with one path.
    #[error("the token has more than {CLAIMS_MAX} claims, or two with one path")]
    Claims,
    /// The keys of its issuer were not seen for too long. This may pass.
    #[error("the keys of the token's issuer were not seen for too long")]
    KeysUnavailable,
}

impl VerifyError {
    /// What it is, for records and for those who count: one word that stays.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::HeaderMember => "header_member",
            Self::OtherKind(_) => "other_kind",
            Self::Algorithm => "algorithm",
            Self::ForeignIssuer => "foreign_issuer",
            Self::ForeignTrustDomain => "foreign_trust_domain",
            Self::NotSpiffeId => "not_spiffe_id",
            Self::UnknownKey => "unknown_key",
            Self::KeyUnasked => "key_unasked",
            Self::Signature => "signature",
            Self::Claim(_) => "claim",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Lifetime => "lifetime",
            Self::Claims => "claims",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }

    /// Whether the same token may be taken later.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::KeysUnavailable | Self::KeyUnasked | Self::UnknownKey | Self::NotYet)
    }
}

impl From<JwsError> for VerifyError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::UnknownKey => Self::UnknownKey,
            JwsError::WrongAlgorithm => Self::Algorithm,
            JwsError::WrongSignature | JwsError::Unsigned => Self::Signature,
            JwsError::Claim(name) => Self::Claim(name),
            JwsError::TooLong
            | JwsError::NotCompact
            | JwsError::NotJson(_)
            | JwsError::HeaderMember(_)
            | JwsError::WrongType(_) => Self::Unreadable(error),
        }
    }
}

/// Why an issuer's keys could not be fetched. Those that are known are used until their bound.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// A document could not be fetched.
    #[error("could not fetch the issuer's {what}")]
    Fetch {
        /// Which document.
        what: &'static str,
        /// Why not.
        #[source]
        error: Box<FetchError>,
    },
    /// The metadata are of another issuer (OpenID Connect Discovery §4.3).
    #[error("the issuer's metadata name another issuer")]
    OtherIssuer,
    /// The metadata do not say where the keys are, over https.
    #[error("the issuer's metadata have no `jwks_uri` that can be fetched")]
    JwksUri(#[source] Option<NotHttpsUrl>),
    /// The issuer is somebody else's, and its metadata lead into the operator's own network.
    #[error("the issuer's metadata lead to the private host `{0}`")]
    PrivateHost(String),
    /// The document is no set of keys.
    #[error("the keys cannot be read")]
    Keys(#[from] KeySetError),
    /// The file could not be read.
    #[error("could not read the file of keys")]
    File(#[source] io::Error),
    /// The file, or the bundle, is no strict JSON within limits.
    #[error("the keys are not strict JSON")]
    Json(#[from] json::ParseError),
    /// Nobody listens on the socket, or who does speaks no HTTP/2.
    #[error("could not connect to the Workload API")]
    Unreached(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The Workload API refused, or the stream broke off.
    #[error("the Workload API answered with `{0:?}`")]
    Refused(tonic::Code),
    /// The Workload API gave no bundles in time, or ended the stream.
    #[error("the Workload API sent no bundles")]
    Silent,
}

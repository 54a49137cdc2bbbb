//! Why a login failed. Each has a code that stays what it is; none holds a token, a code or a secret.

use std::time::Duration;

use crate::cached::PAUSE;
use crate::pending::PENDING_LIFETIME;
use crate::transport::TransportError;

/// Why a login could not be begun or finished.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// More logins were begun than are remembered. Later it may work.
    #[error("too many logins were begun and not finished: try again later")]
    Busy,
    /// This one began more logins than are remembered of one. Later it may work.
    #[error("too many logins were begun from your network and not finished: try again later")]
    BusyOfOne,
    /// The provider did not answer. Later it may work.
    #[error("the provider does not answer: try again later")]
    Unavailable(#[source] TransportError),
    /// The provider did not answer a moment ago, and is not asked again yet.
    #[error("the provider did not answer a moment ago: try again later")]
    Waiting,
    /// The provider's metadata is not that of a provider at which people can log in here.
    #[error("the provider's metadata cannot be used")]
    Metadata(#[from] MetadataError),
    /// Nothing can be signed with our key.
    #[error("could not authenticate to the provider")]
    Unsigned,
    /// The answer through the browser is none.
    #[error("the provider's answer cannot be read: {0}")]
    Callback(&'static str),
    /// No such login was begun here by this browser, or it was finished already.
    #[error("no such login was begun in this browser: log in again")]
    Unknown,
    /// The login was begun too long ago.
    #[error("the login was begun too long ago: log in again")]
    Expired,
    /// The answer is another issuer's, or does not say whose it is although it should (RFC 9207).
    #[error("the answer does not come from the provider at which the login was begun")]
    OtherIssuer,
    /// The provider did not log the person in.
    #[error("the provider did not log the person in: {0}")]
    NotLoggedIn(&'static str),
    /// The provider does not take the code, or us.
    #[error("the provider gave no token for the code: {0}")]
    NotExchanged(&'static str),
    /// The ID token does not hold.
    #[error("the ID token does not hold")]
    IdToken(#[from] IdTokenError),
}

impl LoginError {
    /// The code of the error: a contract, for records, pages and alarms.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Busy => "login_busy",
            Self::BusyOfOne => "login_busy_of_one",
            Self::Unavailable(_) | Self::Waiting => "provider_unavailable",
            Self::Metadata(_) => "provider_metadata",
            Self::Unsigned => "client_unsigned",
            Self::Callback(_) => "answer_malformed",
            Self::Unknown => "login_unknown",
            Self::Expired => "login_expired",
            Self::OtherIssuer => "issuer_mismatch",
            Self::NotLoggedIn(_) => "not_logged_in",
            Self::NotExchanged(_) => "code_not_exchanged",
            Self::IdToken(_) => "id_token_invalid",
        }
    }

    /// How long to wait before another try can end otherwise; none if the time changes nothing.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy | Self::BusyOfOne => Some(PENDING_LIFETIME),
            Self::Unavailable(_) | Self::Waiting | Self::Metadata(_) => Some(PAUSE),
            _ => None,
        }
    }
}

/// Why metadata cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// It is another issuer's (Discovery §4.3).
    #[error("it is not the metadata of the issuer")]
    OtherIssuer,
    /// A member is missing, or not what it should be.
    #[error("`{0}` is missing or not as it should be")]
    Member(&'static str),
    /// An endpoint is where the operator did not say that the provider is.
    #[error("`{0}` is at a host that is not the issuer's: name it in `other_hosts` if it is meant")]
    OtherHost(&'static str),
    /// The provider does not do what is needed.
    #[error("`{member}` does not have `{wanted}`")]
    Unsupported {
        /// The member.
        member: &'static str,
        /// What it lacks.
        wanted: &'static str,
    },
    /// The keys are no set of keys, or too many.
    #[error("the keys cannot be read")]
    Keys,
}

/// Why an ID token does not hold (OpenID Connect Core 1.0 §3.1.3.7).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// It is longer than an ID token may be.
    #[error("it is too long")]
    TooLong,
    /// It is not three parts of canonical base64url.
    #[error("it is not a compact JWS")]
    NotCompact,
    /// Header or claims are not strict JSON objects.
    #[error("its {0} cannot be read as a JSON object in one way only")]
    NotJson(&'static str),
    /// The header has a member that is never followed.
    #[error("the header has the member `{0}`")]
    HeaderMember(&'static str),
    /// It says of itself that it is something else.
    #[error("it is of another type")]
    OtherType,
    /// It is signed by another algorithm than is expected of the provider.
    #[error("the algorithm is not the one that is expected")]
    OtherAlgorithm,
    /// The provider has no such key, or several.
    #[error("the key is not one of the provider's")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the signature does not verify")]
    WrongSignature,
    /// A claim is missing or not what it should be.
    #[error("the claim `{0}` is missing or not as it should be")]
    Claim(&'static str),
    /// The claim with the groups is not as it should be, or stands somewhere else.
    #[error("the groups cannot be read, or are too many for a token")]
    Groups,
}

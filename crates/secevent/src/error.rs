//! Why a security event token is refused.

use oauth::jws::JwsError;

use crate::delivery::ErrorCode;

/// Why a token says nothing. It tells nothing of what the token holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// It is no JWS that can be read in one way only, is too long, or is no security event token.
    #[error("the token cannot be read as a security event token")]
    Unreadable(#[source] JwsError),
    /// Its issuer is not that of the stream.
    #[error("the issuer is not that of the stream")]
    Issuer,
    /// It is for others.
    #[error("the audience is not that of the stream")]
    Audience,
    /// Its algorithm is none by which the transmitter may sign, or is not that of the key.
    #[error("the algorithm is not allowed for the stream or the key")]
    Algorithm,
    /// The transmitter has no such key.
    #[error("the transmitter has no such key")]
    UnknownKey,
    /// Its signature is not the key's.
    #[error("the signature does not verify")]
    Signature,
    /// It has a claim that no security event token has (SSF 1.0 §4.1.4 and §4.1.7).
    #[error("the claim `{0}` has no place in a security event token")]
    OtherKind(&'static str),
    /// A claim is missing or not what it should be.
    #[error("the claim `{0}` is missing or not as it should be")]
    Claim(&'static str),
    /// It was issued too long ago.
    #[error("the token was issued too long ago")]
    TooOld,
    /// It was issued, or what it tells of happened, in the future.
    #[error("the token is from the future")]
    NotYet,
    /// A member of its event is missing or not what it should be.
    #[error("the event's member `{0}` is missing or not as it should be")]
    Event(&'static str),
}

impl SetError {
    /// What it is, for records: one word that stays.
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::OtherKind(_) => "other_kind",
            Self::Claim(_) => "claim",
            Self::TooOld => "too_old",
            Self::NotYet => "not_yet",
            Self::Event(_) => "event",
        }
    }

    /// What the transmitter is told (RFC 8935 §2.4).
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Issuer => ErrorCode::InvalidIssuer,
            Self::Audience => ErrorCode::InvalidAudience,
            Self::Algorithm | Self::UnknownKey | Self::Signature => ErrorCode::InvalidKey,
            Self::Unreadable(_)
            | Self::OtherKind(_)
            | Self::Claim(_)
            | Self::TooOld
            | Self::NotYet
            | Self::Event(_) => ErrorCode::InvalidRequest,
        }
    }
}

impl From<JwsError> for SetError {
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

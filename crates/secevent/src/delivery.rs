//! How tokens are delivered: what a receiver answers to one that is pushed (RFC 8935), and what it
//! asks for, and is given, where it polls (RFC 8936).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::managing::{RequestError, object};
use crate::set::{JTI_MAX, SET_BYTES_MAX};

/// The media type of one token.
pub const MEDIA_TYPE: &str = "application/secevent+jwt";

/// The most tokens that one answer to a poll may hold; the most that whoever polls us is given at once.
pub const POLL_SETS_MAX: usize = 16;

/// The most bytes of an answer to a poll: as many of the largest tokens fit, with their names.
pub const POLL_BYTES_MAX: usize = POLL_SETS_MAX * (SET_BYTES_MAX + JTI_MAX) + 1_024;

/// Why a token is refused, for its transmitter (RFC 8935 §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// It cannot be read, or does not say what it should.
    InvalidRequest,
    /// A key by which it is signed is not accepted.
    InvalidKey,
    /// Its issuer is not that of the stream.
    InvalidIssuer,
    /// Its audience is not that of the stream.
    InvalidAudience,
    /// Who sends it has not shown that they may.
    AuthenticationFailed,
}

impl ErrorCode {
    /// The value of `err`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidKey => "invalid_key",
            Self::InvalidIssuer => "invalid_issuer",
            Self::InvalidAudience => "invalid_audience",
            Self::AuthenticationFailed => "authentication_failed",
        }
    }
}

/// That a token is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub code: ErrorCode,
    /// The same in words, for whoever set the transmitter up.
    pub description: String,
}

impl Refusal {
    /// The body of the answer.
    pub fn to_json(&self) -> Value {
        json!({ "err": self.code.as_str(), "description": self.description })
    }

    /// Whether whoever answers with this body refuses the token for good, as what it says makes no sense
    /// to them. What is wrong with keys, parties or credentials can be mended, and the token told again.
    pub fn is_final(body: &[u8]) -> bool {
        object(body).is_ok_and(|told| told.get("err").is_some_and(|err| is_final(err.as_str())))
    }
}

/// Whether a token that is refused by this code is so for good.
pub fn is_final(code: Option<&str>) -> bool {
    code == Some(ErrorCode::InvalidRequest.as_str())
}

/// What a receiver that polls asks for, and tells of what it got before (RFC 8936 §2.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollRequest {
    /// The tokens that were taken, by their `jti`.
    pub ack: Vec<String>,
    /// Those that were refused.
    pub errors: BTreeMap<String, Refusal>,
    /// Whether to answer at once if there is nothing.
    pub return_immediately: bool,
}

impl PollRequest {
    /// The body of the request.
    pub fn to_json(&self) -> Value {
        let errors = self.errors.iter().map(|(jti, error)| (jti.clone(), error.to_json()));
        let errors: Map<String, Value> = errors.collect();
        json!({
            "maxEvents": POLL_SETS_MAX,
            "returnImmediately": self.return_immediately,
            "ack": self.ack,
            "setErrs": errors,
        })
    }
}

/// The most tokens that one poll may tell of.
const TOLD_OF_MAX: usize = 256;

/// What whoever polls us asks for, and tells of what it got before (RFC 8936 §2.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollAsked {
    /// The most tokens that it takes.
    pub max: usize,
    /// Whether it wants to be answered at once if there is nothing.
    pub immediately: bool,
    /// The tokens that it took, by their `jti`.
    pub ack: Vec<String>,
    /// Those that it refused, each with the code of why.
    pub errors: BTreeMap<String, String>,
}

impl PollAsked {
    /// Reads the body of a request.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let body = object(bytes)?;
        let given = |name: &str| body.get(name).filter(|value| !value.is_null());
        let max = match given("maxEvents") {
            Some(max) => max.as_u64().ok_or(RequestError::Member("maxEvents"))?,
            None => u64::MAX,
        };
        let immediately = match given("returnImmediately") {
            Some(it) => it.as_bool().ok_or(RequestError::Member("returnImmediately"))?,
            None => false,
        };
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(POLL_SETS_MAX);
        let ack = given("ack").map_or(Some(Vec::new()), acknowledged);
        let errors = given("setErrs").map_or(Some(BTreeMap::new()), refused);
        Ok(Self {
            max,
            immediately,
            ack: ack.ok_or(RequestError::Member("ack"))?,
            errors: errors.ok_or(RequestError::Member("setErrs"))?,
        })
    }
}

fn acknowledged(value: &Value) -> Option<Vec<String>> {
    let all = value.as_array().filter(|all| all.len() <= TOLD_OF_MAX)?;
    all.iter().map(|jti| jti.as_str().map(str::to_owned)).collect()
}

fn refused(value: &Value) -> Option<BTreeMap<String, String>> {
    let all = value.as_object().filter(|all| all.len() <= TOLD_OF_MAX)?;
    all.iter().map(|(jti, why)| Some((jti.clone(), why.get("err")?.as_str()?.to_owned()))).collect()
}

/// What a receiver that polls is given (RFC 8936 §2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polled {
    /// The tokens, by their `jti` as the transmitter says it.
    pub sets: BTreeMap<String, String>,
    /// Whether there are more.
    pub more: bool,
}

/// Why an answer to a poll is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// It is not JSON that can be read in one way only, or too large.
    #[error(
        "the answer is not JSON of at most {POLL_BYTES_MAX} bytes that can be read in one way only"
    )]
    NotJson,
    /// It has no `sets`, or something else in them than tokens.
    #[error("the answer has no `sets` of tokens")]
    NoSets,
    /// It holds more than was asked for.
    #[error("the answer holds more than {POLL_SETS_MAX} tokens")]
    TooMany,
}

impl Polled {
    /// Reads the body of an answer.
    pub fn parse(bytes: &[u8]) -> Result<Self, PollError> {
        let limits = json::Limits { bytes: POLL_BYTES_MAX, depth: 4 };
        let body = json::parse(bytes, limits).map_err(|_| PollError::NotJson)?;
        let sets = body.get("sets").and_then(Value::as_object).ok_or(PollError::NoSets)?;
        if sets.len() > POLL_SETS_MAX {
            return Err(PollError::TooMany);
        }
        let set = |(jti, set): (&String, &Value)| {
            let is_named = (1..=JTI_MAX).contains(&jti.len());
            Some((jti.clone(), set.as_str().filter(|_| is_named)?.to_owned()))
        };
        let sets: Option<BTreeMap<_, _>> = sets.iter().map(set).collect();
        let more = body.get("moreAvailable").and_then(Value::as_bool).unwrap_or(false);
        Ok(Self { sets: sets.ok_or(PollError::NoSets)?, more })
    }

    /// The body of the answer.
    pub fn to_json(&self) -> Value {
        json!({ "sets": self.sets, "moreAvailable": self.more })
    }
}

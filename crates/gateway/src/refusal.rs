//! Every reason for which the gateway does not act, and what each audience is told.

use authority::NotPermitted;
use mcp::RefusalCode;
use model::{DecisionId, Denial, PolicyId};

use crate::authenticate::OtherHands;
use crate::upstream::LinkError;

/// How long a client should wait before it tries again when a part is down.
const RETRY_AFTER_MS: u64 = 1_000;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The caller did not prove who it is; the challenge says what is missing.
    #[error("not authenticated: {cause}")]
    Unauthenticated {
        /// Why, as a stable code.
        cause: &'static str,
        /// The value of `WWW-Authenticate`.
        challenge: String,
        /// A fresh nonce, where one is demanded.
        nonce: Option<String>,
        /// Whose token was shown by whose key, if by another's.
        other_hands: Option<Box<OtherHands>>,
    },
    /// The bytes are not one request.
    #[error("not a valid request: {0}")]
    Unparsable(mcp::ParseError),
    /// Headers and body disagree, or the request misses what its era demands.
    #[error("not a valid request of its protocol version: {0}")]
    WrongEra(mcp::EraError),
    /// A response to something that was never asked.
    #[error("nothing was asked that this could answer")]
    Unasked,
    /// There is no such MCP session, or it is not the caller's.
    #[error("there is no such MCP session")]
    NoSession,
    /// The method is not one that we know, or not one of the protocol's version.
    #[error("the method is not known")]
    UnknownMethod,
    /// The tool does not exist, or not for this caller.
    #[error("there is no such tool")]
    UnknownTool,
    /// The tool is not what was approved.
    #[error("the tool has changed since it was approved")]
    ToolChanged,
    /// The arguments do not fit the tool's schema.
    #[error("the arguments do not fit: {0}")]
    ArgumentsInvalid(String),
    /// It was decided that it may not happen.
    #[error("{denial}")]
    Denied {
        /// Why.
        denial: Box<Denial>,
        /// The decision.
        decision: DecisionId,
    },
    /// It was decided that it may not happen with the token that was shown; with a new one it may.
    #[error("{denial}")]
    TokenNeeded {
        /// Why.
        denial: Box<Denial>,
        /// The decision.
        decision: DecisionId,
        /// The value of `WWW-Authenticate`.
        challenge: String,
        /// A fresh nonce, where one is demanded.
        nonce: Option<String>,
    },
    /// It cannot be decided, or not be recorded, at the moment.
    #[error("it cannot be decided now: {0}")]
    Unavailable(String),
    /// The call failed before the tool did anything.
    #[error("the tool failed: {source}")]
    UpstreamFailed {
        /// Why.
        source: LinkError,
        /// The decision that permitted it.
        decision: Option<DecisionId>,
    },
    /// The call was begun and nobody knows how it ended.
    #[error("nobody knows whether it happened")]
    OutcomeUnknown {
        /// The decision that permitted it, or that found an equal act unknown.
        decision: DecisionId,
    },
    /// The server wants input before it goes on, and the client may not be asked for it.
    #[error("the tool asks for input, which is not offered")]
    InputRequired {
        /// The decision that permitted the call.
        decision: DecisionId,
    },
    /// What the client brings back is no state of ours, or not for this call, or was used before.
    #[error("the state is not good for this call")]
    StateRefused,
    /// Something here broke: nothing is known to have happened.
    #[error("the request could not be dealt with")]
    Broken,
    /// More than may be open at once.
    #[error("too many {0}")]
    TooMany(&'static str),
}

impl Refusal {
    /// The cause as refusal records and metrics spell it.
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Unauthenticated { cause, .. } => cause,
            Self::Unparsable(_) => "unparsable",
            Self::WrongEra(_) => "wrong_era",
            Self::Unasked => "unasked_response",
            Self::NoSession => "no_mcp_session",
            Self::UnknownMethod => "unknown_method",
            Self::UnknownTool => "unknown_tool",
            Self::ToolChanged => "tool_changed",
            Self::ArgumentsInvalid(_) => "arguments_invalid",
            Self::Denied { .. } => "denied",
            Self::TokenNeeded { .. } => "token_needed",
            Self::Unavailable(_) => "unavailable",
            Self::UpstreamFailed { .. } => "upstream_failed",
            Self::OutcomeUnknown { .. } => "outcome_unknown",
            Self::InputRequired { .. } => "input_required",
            Self::StateRefused => "request_state",
            Self::Broken => "broken",
            Self::TooMany(_) => "too_many",
        }
    }

    /// Whether a decision record, or the outcome that closes it, already tells of it.
    pub const fn is_decided(&self) -> bool {
        matches!(
            self,
            Self::Denied { .. }
                | Self::TokenNeeded { .. }
                | Self::UpstreamFailed { decision: Some(_), .. }
                | Self::OutcomeUnknown { .. }
        )
    }

    /// What the client, and the model behind it, is told.
    pub(crate) fn told(&self) -> mcp::Refusal {
        let (code, decision, policies) = match self {
            Self::Denied { denial, decision } => {
                (RefusalCode::Denied, Some(*decision), denial.policies().into_iter().collect())
            }
            Self::TokenNeeded { decision, .. } => {
                (RefusalCode::TokenNeeded, Some(*decision), Vec::new())
            }
            Self::OutcomeUnknown { decision } => {
                (RefusalCode::OutcomeUnknown, Some(*decision), Vec::new())
            }
            Self::UpstreamFailed { decision, .. } => {
                (RefusalCode::UpstreamFailed, *decision, Vec::new())
            }
            Self::InputRequired { decision } => {
                (RefusalCode::UpstreamFailed, Some(*decision), Vec::new())
            }
            Self::ToolChanged => (RefusalCode::ToolChanged, None, Vec::new()),
            Self::ArgumentsInvalid(_) => (RefusalCode::ArgumentsInvalid, None, Vec::new()),
            Self::UnknownTool => (RefusalCode::UnknownTool, None, Vec::new()),
            _ => (RefusalCode::Unavailable, None, Vec::<PolicyId>::new()),
        };
        let requestable =
            matches!(self, Self::Denied { denial, .. } if !denial.remedies().is_empty());
        mcp::Refusal {
            code,
            decision_id: decision.map(|id| id.to_string()),
            policies: policies.iter().map(ToString::to_string).collect(),
            retry_after_ms: (code == RefusalCode::Unavailable).then_some(RETRY_AFTER_MS),
            requestable,
            text: match self {
                Self::ArgumentsInvalid(why) => why.clone(),
                Self::InputRequired { .. } => self.to_string(),
                Self::Denied { denial, .. } => denied_text(denial),
                Self::TokenNeeded { denial, .. } => denial.to_string(),
                _ => String::new(),
            },
        }
    }
}

/// What an agent is told of a denial beside its code, where that lets it do better: which limit it met, not how much is
/// left; that the work is not for what it named, not what it is for; that a new task may do what this one may not.
fn denied_text(denial: &Denial) -> String {
    match denial {
        Denial::LimitReached { .. } => "the task has been given no more calls".to_owned(),
        Denial::BudgetExceeded { .. }
        | Denial::BudgetUnread { .. }
        | Denial::OutsidePurpose
        | Denial::ObjectUnknown
        | Denial::Unremembered => denial.to_string(),
        _ => String::new(),
    }
}

impl Refusal {
    /// Why there is no permit; `replayed` is the refusal of a proof that was used before.
    pub(crate) fn of(reason: NotPermitted, replayed: impl FnOnce() -> Self) -> Self {
        match reason {
            NotPermitted::Denied { denial, decision } if *denial == Denial::OutcomeUnknown => {
                Self::OutcomeUnknown { decision }
            }
            NotPermitted::Denied { denial, decision } => Self::Denied { denial, decision },
            NotPermitted::Replayed(_) => replayed(),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

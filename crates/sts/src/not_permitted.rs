//! Why nothing is given of which the authority said no: as the client is told it, by the code of its RFC
//! (docs/token-errors.md).

use authority::{CommitError, NotPermitted, NotStopped, OnceScope};
use model::{Agent, Denial, KernelRule};
use oauth::{ErrorCode, OAuthError};

use crate::service::{TASK_OVER, TokenRefusal, unavailable};

/// Why `agent` is given nothing.
pub(crate) fn refused(reason: NotPermitted, agent: &Agent) -> TokenRefusal {
    match reason {
        NotPermitted::Denied { denial, decision } => {
            let why = match *denial {
                Denial::Kernel(KernelRule::TaskNotOpen | KernelRule::AgentKeyCompromised) => {
                    TASK_OVER
                }
                Denial::Kernel(KernelRule::InstanceQuarantined) => {
                    "an instance of this agent, or of its workload, is quarantined until an \
                     administrator releases it"
                }
                Denial::LimitReached { .. } => "as many tasks were opened as may be",
                _ => "it is not permitted",
            };
            let why = format!("{why} (decision {decision})");
            TokenRefusal::decided(OAuthError::new(ErrorCode::AccessDenied, why))
        }
        NotPermitted::Replayed(used) => {
            let (code, why) = match used.map(|used| used.scope) {
                // It authenticates nobody any more (RFC 7521 §4.2.1).
                Some(OnceScope::Assertion) => {
                    (ErrorCode::InvalidClient, "the assertion was used before")
                }
                _ => (ErrorCode::InvalidDpopProof, "the proof was used before"),
            };
            TokenRefusal::of("replayed", OAuthError::new(code, why), agent)
        }
        other => {
            let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, other.to_string());
            TokenRefusal::of("unavailable", error, agent)
        }
    }
}

/// Why `agent` is given no token for the server that it named. What is beyond its work is no target for it
/// (RFC 8707 §2), whether there is such a server or not: nobody looks.
pub(crate) fn not_issued(reason: NotPermitted, agent: &Agent) -> TokenRefusal {
    let is_beyond = matches!(
        &reason,
        NotPermitted::Denied { denial, .. } if matches!(
            **denial,
            Denial::OutsideCeiling | Denial::OutsideMandate | Denial::OutsideScope
        )
    );
    let mut refusal = refused(reason, agent);
    if is_beyond {
        refusal.error.code = ErrorCode::InvalidTarget;
    }
    refusal
}

/// The same of what is exchanged: tokens that are not acceptable by policy make the request invalid
/// (RFC 8693 §2.2.2).
pub(crate) fn not_exchanged(mut refusal: TokenRefusal) -> TokenRefusal {
    if refusal.error.code == ErrorCode::AccessDenied {
        refusal.error.code = ErrorCode::InvalidRequest;
    }
    refusal
}

/// Why a change was not made for `agent` that rests on what it shows.
pub(crate) fn not_committed(error: CommitError, agent: &Agent) -> TokenRefusal {
    match error {
        CommitError::Used(used) => refused(NotPermitted::Replayed(used), agent),
        other => refused(NotPermitted::Unrecorded(other), agent),
    }
}

/// Why what was seen of an instance of `agent` could not be entered.
pub(crate) fn not_noted(error: NotStopped, agent: &Agent) -> TokenRefusal {
    match error {
        NotStopped::Commit(error) => not_committed(error, agent),
        NotStopped::Facts(error) => unavailable(error),
    }
}

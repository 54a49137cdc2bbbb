//! MCP on the wire: JSON-RPC messages read strictly, both protocol eras, framing, and refusals.
//!
//! The *session* era (2025-06-18, 2025-11-25) greets with `initialize` and keeps a session; the
//! *stateless* era (2026-07-28) says who and what with every request, twice: in headers and body.
//! What a message decides on is read here once; the bytes of its parameters are kept as received.
//! It knows no policy, no upstream and no IO.

mod era;
mod header_value;
mod message;
mod method;
mod param_headers;
mod refusal;
mod server_request;
mod sse;
mod translate;
mod untrusted;

pub use era::{
    EraError, SESSION_VERSIONS, STATELESS_VERSION, check_era, era_of, era_of_headers, error_status,
    negotiate,
};
pub use header_value::{decode_header_value, encode_header_value};
pub use message::{
    ID_MAX, Limits, Message, Notification, ParseError, Request, Response, Target, ToolCall,
    parse_message,
};
pub use method::Method;
pub use param_headers::{AnnotationError, check_param_headers, param_headers};
pub use refusal::{DenialStyle, Refusal, RefusalCode, refusal};
pub use server_request::{
    ASKED_MAX, Ask, Askable, InputRequest, InputRequired, NotAskable, ServerRequest,
    demanded_elicitations,
};
pub use sse::{SseError, SseEvent, SseParser};
pub use translate::{
    discover_from_initialize, forced_private, initialize_from_discover, only_passed_on,
    to_stateless,
};
pub use untrusted::{descriptor_diff, render_untrusted};

/// The two eras of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// 2025-06-18 and 2025-11-25: `initialize`, then a session.
    Session,
    /// 2026-07-28: every request stands alone.
    Stateless,
}

//! Shared signals on the wire: security event tokens (RFC 8417) and what they say of whom, how they are
//! delivered (RFC 8935, RFC 8936), and how their streams are verified (Shared Signals Framework 1.0).
//!
//! [`Unverified::read`] reads a token of one [`Transmitter`], and [`Unverified::verified_by`] gives its
//! [`Set`] once a key of that transmitter verifies it. Events are those of CAEP 1.0, RISC 1.0, the
//! framework itself and SCIM (RFC 9967), and each is one [`Meaning`]: what a receiver has to do.
//!
//! What a transmitter tells, and how it is asked for that, is here too: [`Tells::claims`] are those of a
//! token, [`StreamAsked`] and its like what a receiver says of its stream. A receiver that manages its own finds by
//! [`Offers`] where it asks, and by [`StreamSeen`] whether it is as it asked for.
//!
//! INVARIANT: there is no [`Set`] but of the transmitter that its reader expected, for the audience that
//! it is, by an algorithm that it allows, about one subject, and of no other time than it may be.
//!
//! It knows no IO, no clock and no people: the time and the keys are given.

mod asking;
mod delivery;
mod error;
mod event;
mod managing;
mod set;
mod stream;
mod subject;
mod telling;
#[cfg(test)]
mod tests;

pub use asking::{
    ANSWER_BYTES_MAX, AnswerError, Drift, Expected, LISTED_MAX, Offer, Offers, Place, StreamSeen,
    Unread, status_seen, subject_request,
};
pub use delivery::{
    ErrorCode, MEDIA_TYPE, POLL_BYTES_MAX, POLL_SETS_MAX, PollAsked, PollError, PollRequest,
    Polled, Refusal, is_final,
};
pub use error::SetError;
pub use event::{Event, Meaning, RiskLevel, StreamStatus};
pub use managing::{
    Authorization, DeliveryAsked, REQUEST_BYTES_MAX, RequestError, StatusAsked, StreamAsked,
    StreamTold, VerificationAsked, is_host, metadata, status_told,
};
pub use set::{AGE_MAX_MS, JTI_MAX, SET_BYTES_MAX, SKEW_MS, Set, TYPE, Transmitter, Unverified};
pub use stream::{CRITICAL, critical_members, metadata_url, verification_request};
pub use subject::{ALIASES_MAX, Complex, Identifier, Subject, TEXT_MAX};
pub use telling::{
    About, Cause, Envelope, Initiator, RISK_LEVEL_CHANGE, SESSION_REVOKED, TOLD, Tells, sign_rs256,
};

//! The enforcement point for MCP: holds every call until it is permitted, then forwards it.
//!
//! One direction, each type narrower than the one before: bytes are parsed, the caller is
//! authenticated, the call is governed (bound to a pinned tool), authorized, forwarded by value of
//! its permit, and answered. The inbound token goes no further than [`authenticate`].
//!
//! INVARIANT: nothing is forwarded without a permit that owns exactly what is forwarded
//! (`i_01_…`, `i_06_…`).

mod ask;
mod asks;
mod assertion;
mod authenticate;
mod awaited;
mod call;
mod catalog;
mod declared;
mod entry;
mod events;
mod forward;
mod input_required;
mod intake;
mod links;
mod list;
mod mcp_id;
mod offered;
mod pieces;
mod pins;
mod recorder;
mod refusal;
mod reply;
mod request_state;
mod revealed;
mod room;
mod shared;
mod shares;
mod translate;
mod under_way;
mod upstream;
mod way_back;

pub use assertion::Assertions;
pub use authenticate::{Caller, OtherHands, Tokens};
pub use call::{Gateway, GatewayLimits, GatewayParts};
pub use catalog::{GovernedCall, Route, Routes};
pub use entry::HttpCall;
pub use events::{Events, Told};
pub use links::LinkLimits;
pub use pins::{Listed, Listing, PinChange, list_tools};
pub use refusal::Refusal;
pub use reply::{Reply, ReplyBody};
pub use room::{Kept, Room, Whose};
pub use shares::{Full, Subject};
pub use upstream::{LinkError, Target, UPSTREAM_MESSAGE_MAX};
pub use way_back::{Lost, WayBack};

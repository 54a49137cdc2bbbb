//! The HTTP surface: routers over the enforcement point, the token service and administration.
//!
//! The only place that chooses the status of an answer of ours, and the only one that knows axum.
//! It decides nothing: every handler reads, calls one function of an edge, and writes.

mod admin;
mod admin_listener;
mod agents;
mod answers;
mod authorization;
mod bodies;
mod described;
mod devices;
mod directories;
mod host;
mod hosts;
mod network;
mod observers;
mod openapi;
mod pages;
mod people;
mod receivers;
mod sponsors;
mod streams;
mod well_known;

pub use admin::admin;
pub use admin_listener::admin_listener;
pub use agents::{Agents, Peer, agents};
pub use bodies::Bodies;
pub use directories::{Directories, directory_base};
pub use host::host;
pub use hosts::Hosts;
pub use observers::{Health, Observers};
pub use people::{Door, People};
pub use receivers::Receivers;
pub use streams::Streams;

//! MCP on the wire: what is read, what each era demands, and what a refusal looks like.

mod asked;
mod eras;
mod events;
mod messages;
mod param_headers;
mod refusals;
mod translation;
mod untrusted;

//! A gateway as it runs, in one process: the real authority over the real store, real keys, tokens
//! and proofs, a clock that the test moves, and upstreams that do what the test says and keep every
//! byte that reached them.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "test binaries share it, and none uses all of it"
)]

mod client;
mod parts;
mod process;
mod upstream;
mod world;

pub use client::{Agent, Answer, Client, jti, set};
pub use process::Process;
pub use upstream::{Act, Seen, Upstream, tool};
pub use world::{BOOT, ISSUER, OTHER_BOOT, Setup, World, nonces, until};

//! Black-box tests: the real binary, real clients, real tool servers.
//!
//! A [`Deployment`] is a directory with a configuration and a running service. Nothing here looks
//! inside.
#![allow(clippy::disallowed_methods, reason = "tests live in real time and real processes")]

pub mod breaking;
mod caller;
pub mod canary;
pub mod chromium;
mod client;
pub mod conformance;
pub mod consenting;
mod deployment;
mod escort;
mod head;
pub mod identity;
pub mod newcomer;
mod page;
mod process;
mod recorder;
mod relay;
pub mod scim;
mod silent;
pub mod stage;
mod terminal;
pub mod tls;
pub mod upstream;

pub use caller::{Answer, Caller, voucher};
pub use canary::Canary;
pub use client::{Client, Door, Sdk, listen};
pub use deployment::{Deployment, Options, free_port};
pub use escort::Escort;
pub use page::Page;
pub use process::{Child, signal, wait_until};
pub use recorder::{Recorded, Recorder};
pub use relay::{Mode, Relay};
pub use silent::Silent;
pub use stage::Stage;
pub use terminal::Terminal;

use std::path::PathBuf;

/// The binary under test, built beside the tests.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let target = test.ancestors().nth(2).expect("tests lie in target/PROFILE/deps");
    let binary = target.join("chancery");
    assert!(binary.exists(), "build the binary first: cargo build -p chancery");
    binary
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e lies in the root").to_owned()
}

/// The Python with the official SDK.
pub fn python() -> PathBuf {
    repository().join("target/provision/python/bin/python")
}

/// The folder of npm packages.
pub fn node_modules() -> PathBuf {
    repository().join("target/provision/npm/node_modules")
}

//! Demo servers.

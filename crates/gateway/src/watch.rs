//! Whether what is under way is still permitted.

use std::future::Future;
use std::pin::Pin;

use authority::Permit;

use crate::catalog::GovernedCall;

/// Completes once an act under way is no longer permitted, and never while it is.
pub type NoLongerPermitted = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Says when an act that was begun is no longer permitted: the facts that its decision rested on
/// have changed, and a new decision denies it.
pub trait PermitWatch: Send + Sync {
    /// Watches what `permit` permits, from its decision on.
    fn watch(&self, permit: &Permit<GovernedCall>) -> NoLongerPermitted;
}

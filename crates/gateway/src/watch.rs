//! Whether what is under way is still permitted.

use std::future::Future;
use std::pin::Pin;

use authority::PermitContext;

/// Says when an act that was begun is no longer permitted: the facts that its decision rested on
/// have changed, and a new decision denies it.
pub trait PermitWatch: Send + Sync {
    /// Completes once the act of `context` is no longer permitted, and never while it is.
    fn no_longer_permitted<'a>(
        &'a self,
        context: &'a PermitContext,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

//! The processes of servers that are declared stateless: one for each server, as long as any
//! conversation uses it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use model::ServerName;

use crate::pins::Verified;
use crate::refusal::Refusal;
use crate::upstream::Link;

type Kept = Option<(Weak<Link>, Weak<Verified>)>;

/// What conversations share.
#[derive(Default)]
pub(crate) struct Shared(Mutex<HashMap<ServerName, Arc<tokio::sync::Mutex<Kept>>>>);

impl Shared {
    /// The link to `server`, started by `start` if there is none. Whoever comes meanwhile waits, but
    /// not longer than `within`.
    pub(crate) async fn link(
        &self,
        server: &ServerName,
        start: impl Future<Output = Result<(Arc<Link>, Arc<Verified>), Refusal>>,
        within: Duration,
    ) -> Result<(Arc<Link>, Arc<Verified>), Refusal> {
        let kept = {
            let mut all = self.0.lock().expect("no panic while it is held");
            all.entry(server.clone()).or_default().clone()
        };
        let kept = tokio::time::timeout(within, kept.lock()).await;
        let mut kept = kept.map_err(|_| Refusal::TooMany("callers while a server starts"))?;
        let known = kept.as_ref().and_then(|(link, verified)| {
            let link = link.upgrade().filter(|link| link.is_alive());
            link.zip(verified.upgrade())
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let (link, verified) = start.await?;
        *kept = Some((Arc::downgrade(&link), Arc::downgrade(&verified)));
        Ok((link, verified))
    }

    /// The links that somebody uses.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        let all = self.0.lock().expect("no panic while it is held");
        let kept = all.values().filter_map(|kept| kept.try_lock().ok());
        kept.filter_map(|kept| kept.as_ref()?.0.upgrade()).collect()
    }
}

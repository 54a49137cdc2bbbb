//! Names to addresses, of which only public ones come through.
//!
//! INVARIANT: what is checked is what is connected to. A name is looked up once for each connection;
//! the connection is made to that answer, so a name that leads elsewhere a moment later is of no use.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;

use crate::address::is_public;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A host that leads, perhaps among others, to an address that is not public.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{host}` leads to `{address}`, which is no public address")]
pub struct NotPublic {
    /// The host.
    pub host: String,
    /// The first such address of its answer.
    pub address: IpAddr,
}

/// A name that has no address.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` has no address")]
struct NoAddress(String);

/// Says which addresses a name has.
#[async_trait]
pub(crate) trait Lookup: Send + Sync {
    /// All addresses of `host`, in the order in which they are to be tried.
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// Asks whom the system asks.
pub(crate) struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Lets through what leads to public addresses alone.
#[derive(Clone)]
pub(crate) struct Resolver {
    pub(crate) lookup: Arc<dyn Lookup>,
    /// The hosts whose addresses may be any.
    pub(crate) private_hosts: Arc<BTreeSet<String>>,
    /// Which addresses are public.
    pub(crate) is_public: fn(IpAddr) -> bool,
}

impl Resolver {
    /// The resolver of the system, by what is registered as public.
    pub(crate) fn of_system(private_hosts: BTreeSet<String>) -> Self {
        Self { lookup: Arc::new(SystemLookup), private_hosts: Arc::new(private_hosts), is_public }
    }

    /// All addresses of `host`, or none: who mixes private ones in means us to go there.
    pub(crate) async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, BoxError> {
        let addresses = self.lookup.lookup(host).await?;
        if addresses.is_empty() {
            return Err(NoAddress(host.to_owned()).into());
        }
        if self.private_hosts.contains(host) {
            return Ok(addresses);
        }
        match addresses.iter().find(|&&address| !(self.is_public)(address)) {
            Some(&address) => Err(NotPublic { host: host.to_owned(), address }.into()),
            None => Ok(addresses),
        }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.resolve(name.as_str()).await?;
            // The connector puts in the port of the URL.
            let with_port = |address| SocketAddr::new(address, 0);
            Ok(addresses.into_iter().map(with_port).collect::<Vec<_>>().into_iter())
        })
    }
}

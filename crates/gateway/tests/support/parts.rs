//! What a gateway is given: who reads servers, who notes pins, entropy, limits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use gateway::{Gateway, GatewayLimits, LinkLimits, Listing, PinChange};
use model::{Enforcement, ServerName};
use pap::{Administration, Found, ToolSource};

/// Reads servers for administration and notes what they list for the gateway.
#[derive(Default)]
pub struct Sources {
    parts: OnceLock<(Weak<Gateway>, Weak<Administration>)>,
    /// The next comparison panics.
    pub panics: AtomicBool,
}

impl Sources {
    pub fn connect(&self, gateway: &Arc<Gateway>, administration: &Arc<Administration>) {
        let parts = (Arc::downgrade(gateway), Arc::downgrade(administration));
        assert!(self.parts.set(parts).is_ok(), "it is connected once");
    }

    fn parts(&self) -> (Arc<Gateway>, Arc<Administration>) {
        let (gateway, administration) = self.parts.get().expect("connected");
        (gateway.upgrade().expect("it runs"), administration.upgrade().expect("it runs"))
    }
}

#[async_trait]
impl ToolSource for Sources {
    async fn read(&self, server: &ServerName) -> Result<Found, String> {
        let (gateway, _) = self.parts();
        let tools = gateway::list_tools(&gateway, server, true).await;
        let tools = tools.map_err(|error| error.to_string())?;
        let (origin, enforcement) = ("test".to_owned(), Enforcement::Mandatory);
        Ok(Found { tools, origin, enforcement, account: None })
    }
}

#[async_trait]
impl PinChange for Sources {
    async fn note(&self, server: &ServerName, listing: Listing) -> Result<(), String> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "the test wants a panic here");
        let (_, administration) = self.parts();
        let noted = administration.note_tools(server, &listing.tools, listing.is_whole).await;
        noted.map_err(|error| error.to_string())
    }
}

/// Limits that no test meets by accident.
pub fn limits() -> GatewayLimits {
    GatewayLimits {
        links: LinkLimits {
            conversations: 10_000,
            of_agent: 10_000,
            processes: 8,
            processes_of_agent: 32,
            idle: Duration::from_mins(10),
            greeting: Duration::from_secs(8),
        },
        call: Duration::from_secs(20),
        body: 1 << 20,
        requests_per_agent: 10_000,
        threads: 2,
    }
}

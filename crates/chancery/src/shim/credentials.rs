//! What proves that requests come from an instance, wherever its key is.

use http::HeaderMap;
use outbound::HttpClient;

use super::Options;
use super::held::Held;
use super::instance::Instance;

/// What one request shows.
pub(crate) struct Shown {
    /// The token.
    pub(super) token: String,
    /// The proof that the token's key signed for this request.
    pub(super) proof: String,
}

/// What proves that requests come from an instance.
pub(crate) enum Credentials {
    /// Its key is in this process.
    Own(Box<Instance>),
    /// Another process holds it, for all that the client started.
    Held(Box<Held>),
}

impl Credentials {
    /// Those of a new instance of the agent whose key is `pem`.
    pub(crate) fn own(options: &Options, pem: &str) -> anyhow::Result<Self> {
        Ok(Self::Own(Box::new(Instance::new(options, Some(pem))?)))
    }

    /// What a request for `method` to `server` shows.
    pub(crate) async fn show(
        &self,
        client: &HttpClient,
        (method, server): (&str, &str),
    ) -> anyhow::Result<Shown> {
        match self {
            Self::Own(instance) => instance.show(client, (method, server)).await,
            Self::Held(held) => held.show((method, server)).await,
        }
    }

    /// What the same request shows in place of a token that the gateway did not take: a new one that no
    /// other request shows, as it may be good for one only.
    pub(crate) async fn show_another(
        &self,
        client: &HttpClient,
        (method, server): (&str, &str),
    ) -> anyhow::Result<Shown> {
        match self {
            Self::Own(instance) => instance.show_another(client, (method, server)).await,
            Self::Held(held) => held.show_another((method, server)).await,
        }
    }

    /// Remembers the nonce that the gateway wants.
    pub(crate) async fn note_nonce(&self, headers: &HeaderMap) {
        let nonce = headers.get("dpop-nonce").and_then(|value| value.to_str().ok());
        match (self, nonce) {
            (Self::Own(instance), Some(nonce)) => instance.note_nonce(nonce),
            (Self::Held(held), Some(nonce)) => held.note_nonce(nonce).await,
            (_, None) => {}
        }
    }
}

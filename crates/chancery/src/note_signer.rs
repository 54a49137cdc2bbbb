//! Signs checkpoints with the deployment's log key.

use std::sync::Arc;

use keys::{KeyRing, Signer as _, SigningKey};
use tlog::note::{KeyId, Name, NoteSigner, VerifierKey};

use crate::config::Config;

/// The log's signer.
pub(crate) struct LogSigner {
    key: Arc<SigningKey>,
    verifier: VerifierKey,
}

impl LogSigner {
    pub(crate) fn new(config: &Config, ring: &KeyRing) -> anyhow::Result<Self> {
        let verifier = crate::founding::founded_verifier(config, ring)?;
        Ok(Self { key: ring.log.clone(), verifier })
    }
}

impl NoteSigner for LogSigner {
    fn name(&self) -> &Name {
        self.verifier.name()
    }

    fn key_id(&self) -> KeyId {
        self.verifier.id()
    }

    fn sign(&self, text: &[u8]) -> [u8; 64] {
        let signature = self.key.sign(text).expect("Ed25519 signs any text");
        signature.try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

//! Proofs of possession at the token service (RFC 9449): whoever asks holds the key, now.

use oauth::dpop::{self, DpopExpect, VerifiedProof};
use oauth::{ErrorCode, OAuthError};

use crate::service::{TokenRefusal, TokenService, before};

/// How far a proof's `iat` may be off, in seconds.
pub(crate) const PROOF_SKEW_S: i64 = 60;

impl TokenService {
    /// The same, which takes no proof of possession without a nonce (RFC 9449 §8).
    #[must_use]
    pub fn needing_nonces(mut self) -> Self {
        self.needs_nonce = true;
        self
    }

    /// The nonce for the next proof.
    pub fn nonce(&self) -> String {
        self.nonces.at(self.authority.clock().now().as_seconds())
    }

    /// The proof in a request for `path`, with a nonce of ours if one is needed.
    pub(crate) fn proof(
        &self,
        header: Option<&str>,
        path: &str,
    ) -> Result<VerifiedProof, TokenRefusal> {
        let proof = self.possession(header, path)?;
        let now = self.authority.clock().now().as_seconds();
        let has_nonce = proof.nonce.as_ref().is_some_and(|it| self.nonces.is_fresh(it, now));
        if self.needs_nonce && !has_nonce {
            let why = "the proof needs the nonce that `DPoP-Nonce` tells";
            return Err(before("nonce_missing")(OAuthError::new(ErrorCode::UseDpopNonce, why)));
        }
        Ok(proof)
    }

    /// The proof for a request for `path`, whoever makes that.
    pub(crate) fn possession(
        &self,
        header: Option<&str>,
        path: &str,
    ) -> Result<VerifiedProof, TokenRefusal> {
        let invalid = |why: &str| {
            let error = OAuthError::new(ErrorCode::InvalidDpopProof, why);
            before("proof_invalid")(error)
        };
        let proof = header.ok_or_else(|| invalid("exactly one DPoP header is needed"))?;
        let url = format!("{}{path}", self.minter.issuer);
        let expect = DpopExpect {
            method: "POST",
            url: &url,
            access_token: None,
            now: self.authority.clock().now().as_seconds(),
            max_skew_s: PROOF_SKEW_S,
        };
        dpop::verify_proof(proof, &expect).map_err(|error| invalid(&error.to_string()))
    }
}

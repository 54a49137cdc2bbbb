//! Access tokens that were verified, or signed here: each is known by its digest until the keys are exchanged.
//!
//! Only a token may be shown again. What is good once (assertions, proofs) is verified each time.

use std::sync::Arc;

use keys::TokenKeys;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::access_token::{self, AccessTokenClaims};
use crate::jws::{JwsError, TOKEN_MAX};

/// The most tokens that are known at once.
const KNOWN_MAX: u64 = 100_000;

/// The access tokens that were verified by some keys.
pub struct VerifiedTokens {
    keys: Arc<TokenKeys>,
    known: Cache<[u8; 32], Known>,
}

#[derive(Clone)]
struct Known {
    claims: Arc<AccessTokenClaims>,
    /// By the keys of which era.
    era: u64,
}

impl VerifiedTokens {
    /// None are verified yet; `keys` will.
    pub fn new(keys: Arc<TokenKeys>) -> Self {
        Self { keys, known: Cache::new(KNOWN_MAX) }
    }

    /// The claims of `token`, if it was verified.
    pub fn known(&self, token: &str) -> Option<Arc<AccessTokenClaims>> {
        // Read first: keys that are exchanged meanwhile have it verified again.
        let era = self.keys.era();
        let known = self.known.get(&digest(token)).filter(|known| known.era == era);
        known.map(|known| known.claims)
    }

    /// The claims of `token`, which `verify` verifies unless that was done. It may have been for
    /// somebody else, and some time ago: whoever asks looks whether it is for them and has not ended.
    pub fn claims(
        &self,
        token: &str,
        verify: impl FnOnce(&TokenKeys) -> Result<AccessTokenClaims, JwsError>,
    ) -> Result<Arc<AccessTokenClaims>, JwsError> {
        if let Some(known) = self.known(token) {
            return Ok(known);
        }
        let era = self.keys.era();
        let claims = Arc::new(verify(&self.keys)?);
        self.known.insert(digest(token), Known { claims: claims.clone(), era });
        Ok(claims)
    }

    /// Signs a token that says `claims`: it is known when it is shown for the first time.
    pub fn mint(&self, claims: &AccessTokenClaims) -> Result<String, JwsError> {
        // Read first: by keys that are exchanged meanwhile it is verified.
        let era = self.keys.era();
        let token = access_token::mint(claims, self.keys.signer().as_ref())?;
        // Nobody verifies one that is longer.
        if token.len() <= TOKEN_MAX {
            self.known.insert(digest(&token), Known { claims: Arc::new(claims.clone()), era });
        }
        Ok(token)
    }

    /// Forgets `token`, which has ended.
    pub fn forget(&self, token: &str) {
        self.known.invalidate(&digest(token));
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use keys::{KeyAlgorithm, SigningKey};

    use super::*;
    use crate::access_token::Confirmation;

    const PARTIES: (&str, &str) = ("https://issuer.example", "https://issuer.example/mcp/crm");

    fn key() -> Arc<SigningKey> {
        Arc::new(SigningKey::generate(KeyAlgorithm::Es256).expect("a key"))
    }

    fn claims() -> AccessTokenClaims {
        let agent_task = access_token::AgentTask {
            kind: "agent_task".to_owned(),
            task: "t".to_owned(),
            purpose: "care".to_owned(),
            mandate: "m".to_owned(),
        };
        AccessTokenClaims {
            iss: PARTIES.0.to_owned(),
            sub: "i".to_owned(),
            act: None,
            client_id: "bot".to_owned(),
            aud: PARTIES.1.to_owned(),
            exp: 300,
            iat: 0,
            jti: "j".to_owned(),
            txn: Some("t".to_owned()),
            auth_time: Some(0),
            acr: Some("a".to_owned()),
            amr: ["pwd", "otp"].map(str::to_owned).into(),
            cnf: Some(Confirmation { jkt: keys::base64url(&[7; 32]) }),
            authorization_details: vec![agent_task],
        }
    }

    #[test]
    fn what_was_signed_is_known_as_it_would_be_verified() {
        let tokens = VerifiedTokens::new(Arc::new(TokenKeys::new(key(), Vec::new())));
        let token = tokens.mint(&claims()).expect("it is signed");
        let verified = access_token::verify(&token, &tokens.keys, PARTIES, 10);
        assert_eq!(tokens.known(&token).as_deref(), verified.as_ref().ok());
        assert!(verified.is_ok());
        tokens.keys.replace(key(), Vec::new());
        assert_eq!(tokens.known(&token), None);
        let long = AccessTokenClaims { jti: "j".repeat(TOKEN_MAX), ..claims() };
        let token = tokens.mint(&long).expect("it is signed");
        assert!(access_token::verify(&token, &tokens.keys, PARTIES, 10).is_err());
        assert_eq!(tokens.known(&token), None);
    }

    #[test]
    fn a_token_is_verified_once_by_the_keys_of_each_era() {
        let signer = key();
        let tokens = VerifiedTokens::new(Arc::new(TokenKeys::new(signer.clone(), Vec::new())));
        let token = access_token::mint(&claims(), signer.as_ref()).expect("it is signed");
        let mut verified = 0;
        let mut look = |token: &str| {
            let claims = tokens.claims(token, |keys| {
                verified += 1;
                access_token::verify(token, keys, PARTIES, 10)
            });
            (claims.is_ok(), verified)
        };
        assert_eq!(look(&token), (true, 1));
        assert_eq!(look(&token), (true, 1));
        // Another spelling is another token.
        assert_eq!(look(&format!("{token}A")), (false, 2));
        tokens.keys.replace(key(), Vec::new());
        assert_eq!(look(&token), (false, 3));
        assert!(tokens.known(&token).is_none());
    }
}

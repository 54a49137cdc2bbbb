//! Tokens for receivers of shared signals (RFC 6749 §4.4): by these a receiver manages its stream, and polls it.
//!
//! That it may have some was decided when its key was registered. A token is no text that anybody verifies but one
//! that is kept, by its digest, with the receiver: so it counts for nobody else and nowhere else, and is gone with
//! the receiver, or its key.

use std::collections::BTreeMap;
use std::time::Duration;

use authority::{CommitError, Effect, NewEntry, OnceScope, Reader, Unit, event};
use keys::{Signer as _, VerifyingKey};
use model::{
    DirectoryToken, DirectoryTokens, FactKey, Receiver, ReceiverKey, Sha256Digest, SourceName,
    Timestamp,
};
use oauth::signals::{MANAGE, READ, ReceiverRequest};
use oauth::token_endpoint::TokenResponse;
use oauth::{ErrorCode, OAuthError, client_assertion};

use crate::client;
use crate::service::{TokenRefusal, TokenService, before, no_such_resource, once, unavailable};

/// How long a token of a receiver counts: as long as an agent's.
const LIFETIME: Duration = Duration::from_mins(5);

/// The most tokens of one receiver that count at once.
pub const RECEIVER_TOKENS_MAX: usize = 64;

/// What records that a receiver was given a token.
const GIVEN: &str = "receiver_token";

/// A receiver that authenticated.
struct Known {
    name: SourceName,
    key: ReceiverKey,
    /// What that used up.
    used: Effect,
}

impl TokenService {
    /// A token for the receiver that asks. One that is asked for while another is given is asked for once more.
    pub(crate) async fn receiver_token(
        &self,
        asked: &ReceiverRequest,
    ) -> Result<TokenResponse, TokenRefusal> {
        let own = format!("{}/ssf", self.minter.issuer);
        if asked.resource.as_ref().is_some_and(|named| *named != own) {
            return Err(before("unknown_resource")(no_such_resource()));
        }
        let given = match self.give(asked).await? {
            Err(CommitError::Changed { .. }) => self.give(asked).await?,
            given => given,
        };
        given.map_err(|error| {
            tracing::warn!(%error, "a receiver could not be given a token");
            let why = "it cannot be done now";
            before("unavailable")(OAuthError::new(ErrorCode::TemporarilyUnavailable, why))
        })
    }

    /// Gives a token, as things are now.
    async fn give(
        &self,
        asked: &ReceiverRequest,
    ) -> Result<Result<TokenResponse, CommitError>, TokenRefusal> {
        let mut reader = self.looking();
        let Known { name, key, used } = self.receiver(&mut reader, asked).await?;
        if asked.manages && key.read_only {
            let why = "this receiver only reads: it may ask for `ssf.read`";
            return Err(about(
                &name,
                "receiver_reads",
                OAuthError::new(ErrorCode::InvalidScope, why),
            ));
        }
        let (place, now) = (FactKey::receiver_granted(&name), self.authority.clock().now());
        let tokens = reader.find::<DirectoryTokens>(place.clone()).await.map_err(unavailable)?;
        let mut tokens = tokens.unwrap_or_default();
        tokens.0.retain(|token| token.expires > now);
        if tokens.0.len() >= RECEIVER_TOKENS_MAX {
            let why = "as many tokens count as may: use one until it ends";
            let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, why);
            return Err(about(&name, "too_many_tokens", error));
        }
        let secret = keys::unguessable(|bytes| self.authority.entropy().fill(bytes));
        let token = format!("{name}.{secret}");
        let given = DirectoryToken {
            digest: Sha256Digest::of(token.as_bytes()),
            // It does not outlive the key by which it was got.
            expires: now.plus(LIFETIME).min(key.expires),
            read_only: !asked.manages,
        };
        let expires_in = given.expires.since(now).as_secs().cast_signed();
        let entries = vec![self.given(&name, &given, now)];
        tokens.0.push(given);
        let effects = vec![used, Effect::Put { key: place, body: json::canonical_of(&tokens) }];
        let unit = Unit { entries, effects, ..Unit::resting_on(reader.sourced(())) };
        let committed = self.authority.journal().store().commit(unit).await;
        if let Err(CommitError::Used(_)) = committed {
            let why = "the assertion was used before";
            let error = OAuthError::new(ErrorCode::InvalidClient, why);
            return Err(about(&name, "replayed", error));
        }
        // What manages the stream reads it too, whether that was asked for or not.
        let scope = if asked.manages { format!("{READ} {MANAGE}") } else { READ.to_owned() };
        Ok(committed.map(|_| TokenResponse {
            access_token: token,
            issued_token_type: None,
            token_type: "Bearer".to_owned(),
            expires_in,
            scope: Some(scope),
            refresh_token: None,
            authorization_details: Vec::new(),
            next: None,
        }))
    }

    /// The receiver that asserts itself by its key. To whom asks, every failure looks the same, and takes as long.
    async fn receiver(
        &self,
        reader: &mut Reader<'_>,
        asked: &ReceiverRequest,
    ) -> Result<Known, TokenRefusal> {
        let unknown = || before("receiver_unknown")(client::error());
        let (client, now) = (&asked.client, self.authority.clock().now());
        let name = client.id.parse::<SourceName>().map_err(|_| unknown())?;
        let found = reader.find::<Receiver>(FactKey::receiver(&name)).await.map_err(unavailable)?;
        let key = found.filter(Receiver::is_active).and_then(|receiver| receiver.key);
        let key = key.filter(|key| key.expires > now);
        let ours = || self.keys.signer().public().clone();
        let own_key = key.as_ref().and_then(|key| VerifyingKey::from_jwk(&key.jwk).ok());
        let own_key = own_key.unwrap_or_else(ours);
        let parties = (client.id.as_str(), self.minter.issuer.as_str());
        let verified =
            client_assertion::verify(&client.assertion, parties, &own_key, now.as_seconds());
        let (key, verified) = key.zip(verified.ok()).ok_or_else(unknown)?;
        let thumbprint = own_key.thumbprint();
        let used = once(OnceScope::Assertion, &thumbprint, &verified.jti, verified.exp);
        Ok(Known { name, key, used })
    }

    /// What records that the receiver `name` was given a token.
    fn given(&self, name: &SourceName, token: &DirectoryToken, now: Timestamp) -> NewEntry {
        let scope = if token.read_only { READ } else { MANAGE };
        let details = [
            ("receiver", name.to_string()),
            ("scope", scope.to_owned()),
            ("expires", token.expires.to_string()),
            ("token", token.digest.to_string()),
        ];
        let details: BTreeMap<_, _> =
            details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        event((now, self.authority.entropy().as_ref()), GIVEN, details)
    }
}

/// A refusal for `cause` of the receiver `name`, which authenticated.
fn about(name: &SourceName, cause: &'static str, error: OAuthError) -> TokenRefusal {
    let mut refusal = before(cause)(error);
    refusal.refused.details = Some([("receiver".to_owned(), name.to_string())].into());
    refusal
}

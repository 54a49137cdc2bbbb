//! What the gateway shows an upstream: who calls, for exactly that upstream, for a minute at most.

use std::sync::Arc;
use std::time::Duration;

use keys::TokenKeys;
use model::{ArgumentsDigest, Clock, DecisionId, Entropy, RecordId, TaskId};
use oauth::access_token::Actor;
use serde_json::json;

use crate::authenticate::Caller;

/// How long an assertion is good for.
const ASSERTION_LIFETIME: Duration = Duration::from_mins(1);

/// Signs assertions for upstreams.
#[derive(Clone)]
pub struct Assertions {
    /// Who vouches: our issuer URL.
    pub issuer: String,
    /// The keys, of which one signs.
    pub keys: Arc<TokenKeys>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for the `jti`.
    pub entropy: Arc<dyn Entropy>,
}

/// What an assertion says beside who speaks to whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) task: Option<TaskId>,
    pub(crate) decision: Option<DecisionId>,
    pub(crate) arguments: Option<ArgumentsDigest>,
}

impl Assertions {
    /// An `at+jwt` (RFC 9068) for `audience` alone, on account of `caller`: `sub` is the person on
    /// whose behalf it acts and `act` the instances, as in its own token.
    pub(crate) fn sign(&self, audience: &str, caller: &Caller, said: Said) -> Option<String> {
        let chancery = json!({
            "task": said.task,
            "decision_id": said.decision,
            "args_digest": said.arguments,
        });
        let parties = (caller.sub.as_str(), caller.act.as_ref());
        self.signed((audience, caller.agent.as_str()), parties, chancery)
    }

    /// An assertion that the deployment itself asks, on nobody's account.
    pub(crate) fn sign_for_ourselves(&self, audience: &str) -> Option<String> {
        self.signed((audience, &self.issuer), (&self.issuer, None), json!({}))
    }

    fn signed(
        &self,
        (audience, client): (&str, &str),
        (subject, actor): (&str, Option<&Actor>),
        chancery: serde_json::Value,
    ) -> Option<String> {
        let now = self.clock.now();
        let mut claims = json!({
            "iss": self.issuer,
            "sub": subject,
            "client_id": client,
            "aud": audience,
            "iat": now.as_seconds(),
            "exp": now.plus(ASSERTION_LIFETIME).as_seconds(),
            "jti": RecordId::new(now, self.entropy.as_ref()),
            "chancery": chancery,
        });
        if let Some(actor) = actor {
            claims["act"] = json!(actor);
        }
        oauth::jws::sign("at+jwt", &claims, self.keys.signer().as_ref()).ok()
    }
}

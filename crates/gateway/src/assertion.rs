//! What the gateway shows an upstream: who calls, for exactly that upstream, for a minute at most.

use std::sync::Arc;
use std::time::Duration;

use keys::Signer;
use model::{ArgumentsDigest, Clock, DecisionId, Entropy, InstanceId, RecordId, TaskId};
use serde_json::json;

/// How long an assertion is good for.
const ASSERTION_LIFETIME: Duration = Duration::from_mins(1);

/// Signs assertions for upstreams.
#[derive(Clone)]
pub struct Assertions {
    /// Who vouches: our issuer URL.
    pub issuer: String,
    /// The key that signs.
    pub signer: Arc<dyn Signer>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for the `jti`.
    pub entropy: Arc<dyn Entropy>,
}

/// What an assertion says beside who speaks to whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) instance: InstanceId,
    pub(crate) task: Option<TaskId>,
    pub(crate) decision: Option<DecisionId>,
    pub(crate) arguments: Option<ArgumentsDigest>,
}

impl Assertions {
    /// An `at+jwt` (RFC 9068) for `audience` alone, on account of an instance.
    pub(crate) fn sign(&self, audience: &str, client: &str, said: Said) -> Option<String> {
        let chancery = json!({
            "task": said.task,
            "decision_id": said.decision,
            "args_digest": said.arguments,
        });
        self.signed((audience, client), &said.instance.to_string(), chancery)
    }

    /// An assertion that the deployment itself asks, on nobody's account.
    pub(crate) fn sign_for_ourselves(&self, audience: &str) -> Option<String> {
        self.signed((audience, &self.issuer), &self.issuer, json!({}))
    }

    fn signed(
        &self,
        (audience, client): (&str, &str),
        subject: &str,
        chancery: serde_json::Value,
    ) -> Option<String> {
        let now = self.clock.now();
        let claims = json!({
            "iss": self.issuer,
            "sub": subject,
            "client_id": client,
            "aud": audience,
            "iat": now.as_seconds(),
            "exp": now.plus(ASSERTION_LIFETIME).as_seconds(),
            "jti": RecordId::new(now, self.entropy.as_ref()),
            "chancery": chancery,
        });
        oauth::jws::sign("at+jwt", &claims, self.signer.as_ref()).ok()
    }
}

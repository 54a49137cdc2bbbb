//! What a platform says of the workload that asks (`docs/workload-identity.md`), and whether it is the
//! one that is known. Which key its token serves, `bound` knows.

use std::time::Duration;

use authority::{FactsError, Signal};
use model::{
    Agent, Attestation, FactKey, Instance, InstanceId, InstanceState, Sha256Digest, Source,
    Sourced, Timestamp, WorkloadIdentity,
};
use oauth::token_endpoint::PlatformToken;
use oauth::{ErrorCode, OAuthError};
use serde_json::json;
use workload::{VerifyError, WorkloadToken};

use crate::not_permitted::not_noted;
use crate::renewal::Renewal;
use crate::service::{Asking, TokenRefusal, TokenService, about, unavailable};

/// Why a caller shows a token that tells nothing good of it, among the causes of refusals.
pub(crate) const NOT_THE_WORKLOAD: [&str; 2] = ["workload_not_admitted", "workload_token_shared"];

/// What a platform says of the workload that asks.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// Who it is.
    pub(crate) identity: WorkloadIdentity,
    /// Until when the platform says so.
    pub(crate) expires: Timestamp,
    /// The digest of what the platform signed. Not of the signature: of one token there may be
    /// several that verify (ECDSA).
    pub(crate) token: Sha256Digest,
}

impl Shown {
    /// By what an administrator finds the workload and the token; nothing of it is personal.
    pub(crate) fn details(&self) -> [(&'static str, String); 3] {
        [
            ("issuer", self.identity.issuer.clone()),
            ("token", self.token.to_string()),
            ("workload", self.identity.id().to_string()),
        ]
    }
}

/// Why nothing is known of the workload.
#[derive(Debug)]
pub(crate) struct NotShown {
    why: VerifyError,
    /// The digest of what was to be signed by the platform.
    token: Sha256Digest,
}

impl NotShown {
    /// What a client is told that authenticated as `agent`, and what is recorded.
    fn of(self, asking: &Agent) -> TokenRefusal {
        let (code, why) = if self.may_pass() {
            let why = "the keys of the platform that issued the workload's token are not available";
            (ErrorCode::TemporarilyUnavailable, why.to_owned())
        } else {
            let why = format!("the workload's token does not count: {}", self.why);
            (ErrorCode::InvalidGrant, why)
        };
        let refusal = TokenRefusal::of(self.cause(), OAuthError::new(code, why), asking);
        refusal.with(self.details())
    }

    /// The keys of who issued it are not there, did not come in time, or may just not be known yet.
    const fn may_pass(&self) -> bool {
        matches!(self.why, VerifyError::KeysUnavailable | VerifyError::KeyUnasked)
    }

    const fn cause(&self) -> &'static str {
        if self.may_pass() { "workload_keys_unavailable" } else { "workload_token_invalid" }
    }

    /// Why a client did not authenticate by it.
    pub(crate) const fn cause_of_nobody(&self) -> &'static str {
        if self.may_pass() { "workload_keys_unavailable" } else { "client_unknown" }
    }

    /// What an administrator should see.
    pub(crate) fn details(&self) -> [(&'static str, String); 2] {
        [("code", self.why.code().to_owned()), ("token", self.token.to_string())]
    }
}

impl TokenService {
    /// What the platform says whose token is shown beside the agent's own assertion.
    pub(crate) async fn beside(
        &self,
        token: Option<&PlatformToken>,
    ) -> Option<Result<Shown, NotShown>> {
        Some(match token? {
            PlatformToken::Oidc(text) => self.shown(WorkloadToken::Oidc(text), text).await,
            PlatformToken::JwtSvid(text) => self.shown(WorkloadToken::JwtSvid(text), text).await,
        })
    }

    /// What the platform says that issued `token`. Keys that have to be fetched are waited for as
    /// long as leaves time to decide.
    pub(crate) async fn shown(
        &self,
        token: WorkloadToken<'_>,
        text: &str,
    ) -> Result<Shown, NotShown> {
        let signed = text.rsplit_once('.').map_or(text, |(signed, _)| signed);
        let digest = Sha256Digest::of(signed.as_bytes());
        let not = |why| NotShown { why, token: digest };
        let platforms = self.platforms.as_ref().ok_or(not(VerifyError::ForeignIssuer))?;
        let within: Duration = self.authority.decision_timeout() / 2;
        let verified = tokio::time::timeout(within, platforms.verify(token)).await;
        let verified = verified.map_err(|_| not(VerifyError::KeysUnavailable))?.map_err(not)?;
        // What is given for it lasts no longer: the skew that is allowed for is of no use.
        if verified.expires <= self.authority.clock().now() {
            return Err(not(VerifyError::Expired));
        }
        Ok(Shown { identity: verified.identity, expires: verified.expires, token: digest })
    }

    /// What is shown of the workload, in whichever way, of a client that is `agent`.
    pub(crate) fn one_shown(
        beside: Option<Result<Shown, NotShown>>,
        by: Option<Shown>,
        agent: &Agent,
    ) -> Result<Option<Shown>, TokenRefusal> {
        match beside {
            Some(shown) => shown.map(Some).map_err(|why| why.of(agent)),
            None => Ok(by),
        }
    }

    /// Refuses a workload that no rule of the agent admits.
    pub(crate) fn is_admitted(asking: &Asking<'_>) -> Result<(), TokenRefusal> {
        let Some(shown) = &asking.shown else { return Ok(()) };
        if asking.agent.admits_workload(Some(&shown.identity)) {
            return Ok(());
        }
        let why = "no rule of the agent admits this workload: see `chancery agent attest`";
        let error = OAuthError::new(ErrorCode::InvalidGrant, why);
        let refusal = TokenRefusal::of("workload_not_admitted", error, asking.agent);
        Err(refusal.with(shown.details()))
    }

    /// Refuses who is not the device, process or workload any more that `instance`, which is active, was
    /// entered as. Who is another one has copied its key: it is quarantined.
    pub(crate) async fn is_same(
        &self,
        asking: &Asking<'_>,
        instance: &Instance,
        last: Option<&Renewal>,
    ) -> Result<(), TokenRefusal> {
        match is_vouched(instance, &asking.source) {
            Some(true) => Self::is_admitted(asking).map_err(|refusal| about(instance, refusal)),
            Some(false) => Err(self.copied(asking, instance, last).await),
            None => Err(not_vouched(instance, asking.agent)),
        }
    }

    /// Attests the holder of a task, who hands a part of it on, as at a renewal. Of who is stopped,
    /// the decision tells.
    pub(crate) async fn attest_holder(
        &self,
        asking: &Asking<'_>,
        id: InstanceId,
    ) -> Result<(), TokenRefusal> {
        let mut reader = self.authority.pip().reader();
        let instance = reader.need::<Instance>(FactKey::instance(id)).await.map_err(unavailable)?;
        if instance.state != InstanceState::Active {
            return Self::is_admitted(asking);
        }
        let last = self.last(id).await?;
        self.is_same(asking, &instance, last.value.as_ref()).await?;
        self.attest_again(asking, &instance, last).await.map(drop)
    }

    /// Quarantines `instance`, whose key somebody copied, and records both sources.
    pub(crate) async fn copied(
        &self,
        asking: &Asking<'_>,
        instance: &Instance,
        last: Option<&Renewal>,
    ) -> TokenRefusal {
        let Instance { process, workload, device, .. } = instance.clone();
        let known = Source { address: None, process, workload, device };
        let first = last.and_then(Renewal::source).unwrap_or(&known);
        let signal = Signal {
            instance: instance.id,
            signal: "key_copied",
            seen: vec![("first", json!(first)), ("second", json!(asking.source))],
            uses: asking.uses.clone(),
        };
        match self.authority.quarantine(signal).await {
            Ok(record) => {
                let why = format!(
                    "the key of this instance is in use elsewhere: it is quarantined ({record})"
                );
                TokenRefusal::decided(OAuthError::new(ErrorCode::InvalidGrant, why))
            }
            Err(error) => not_noted(error, asking.agent),
        }
    }

    /// Enters what the platform says by now of the workload that `instance` is, where that has
    /// changed: the decision is about that. Gives its `last` token as it is by then.
    pub(crate) async fn attest_again(
        &self,
        asking: &Asking<'_>,
        instance: &Instance,
        last: Sourced<Option<Renewal>>,
    ) -> Result<Sourced<Option<Renewal>>, TokenRefusal> {
        let Some(workload) = asking.source.workload.clone() else { return Ok(last) };
        let is_known = instance.workload.as_ref() == Some(&workload);
        if is_known || instance.attestation != Attestation::Workload {
            return Ok(last);
        }
        let changed = self.authority.note_workload(instance.id, workload).await;
        changed.map_err(|error| about(instance, not_noted(error, asking.agent)))?;
        // What was read before rests on what the platform said before.
        let again = self.last(instance.id).await?;
        if again.value == last.value { Ok(again) } else { Err(unavailable(FactsError::Changed)) }
    }
}

/// Whether the device, and the host or the platform, vouches for `instance` where it once did: none if
/// nothing was shown, false if it is another device, process or workload.
fn is_vouched(instance: &Instance, source: &Source) -> Option<bool> {
    let Instance { attestation, process, workload, device, .. } = instance;
    if *device != source.device {
        return Some(false);
    }
    match attestation {
        Attestation::None | Attestation::User => Some(true),
        Attestation::Host => {
            let shown = source.process.as_ref()?;
            Some(process.as_ref().is_some_and(|process| process.is(shown)))
        }
        Attestation::Workload => {
            let shown = source.workload.as_ref()?;
            Some(workload.as_ref().is_some_and(|workload| workload.is(shown)))
        }
    }
}

/// Nobody vouches for `instance` now who once did.
fn not_vouched(instance: &Instance, agent: &Agent) -> TokenRefusal {
    let why = match instance.attestation {
        Attestation::Workload => "this instance is known by its platform: show a token of it",
        _ => "this instance is known by its host: show a voucher",
    };
    let error = OAuthError::new(ErrorCode::InvalidGrant, why);
    about(instance, TokenRefusal::of("not_vouched", error, agent))
}

//! What a platform says of the workload that asks (`docs/workload-identity.md`).
//!
//! Platforms' tokens are bearer tokens: whoever has one can show it. So each is bound to the key of
//! the first instance that shows it, until it ends; whoever shows it with another key is refused,
//! and found.
//!
//! INVARIANT: one token of a platform serves one instance at a time
//! (`r_2_one_token_of_a_platform_serves_one_key`).

use std::time::Duration;

use authority::{CommitError, Effect, FactsError, NotPermitted, Reader, Unit};
use model::{
    Agent, Attestation, FactKey, Instance, InstanceId, SHOWN, Sha256Digest, Source, Sourced, Task,
    TaskState, Thumbprint, Timestamp, WorkloadIdentity,
};
use oauth::token_endpoint::{Grant, PlatformToken};
use oauth::{ErrorCode, OAuthError};
use workload::{VerifyError, WorkloadToken};

use crate::renewal::Renewal;
use crate::service::{
    Asking, TokenRefusal, TokenService, about, before, not_noted, refused, unavailable,
};

/// How often a token is bound anew that somebody else bound meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// The most bindings that are looked at, and forgotten, at a time.
const FORGOTTEN_MAX: usize = 100;

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
    token: Sha256Digest,
}

/// Why nothing is known of the workload.
#[derive(Debug)]
pub(crate) enum NotShown {
    /// The token does not hold.
    Invalid(VerifyError),
    /// The keys of who issued it are not there, or did not come in time.
    NoKeys,
}

impl NotShown {
    /// What a client is told that authenticated as `agent`, and what is recorded.
    fn of(self, asking: &Agent) -> TokenRefusal {
        match self {
            Self::NoKeys => no_keys(),
            Self::Invalid(error) => {
                let why = format!("the workload's token does not count: {error}");
                let error = OAuthError::new(ErrorCode::InvalidGrant, why);
                TokenRefusal::of("workload_token_invalid", error, asking)
            }
        }
    }
}

/// Nobody can tell whose a token is: this may pass.
pub(crate) fn no_keys() -> TokenRefusal {
    let why = "the keys of the platform that issued the workload's token are not available";
    let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, why);
    before("workload_keys_unavailable")(error)
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
        let platforms = self.platforms.as_ref();
        let platforms = platforms.ok_or(NotShown::Invalid(VerifyError::ForeignIssuer))?;
        let within: Duration = self.authority.decision_timeout() / 2;
        let verified = tokio::time::timeout(within, platforms.verify(token)).await;
        let verified = verified.map_err(|_| NotShown::NoKeys)?.map_err(|error| match error {
            VerifyError::KeysUnavailable => NotShown::NoKeys,
            error => NotShown::Invalid(error),
        })?;
        // What is given for it lasts no longer: the skew that is allowed for is of no use.
        if verified.expires <= self.authority.clock().now() {
            return Err(NotShown::Invalid(VerifyError::Expired));
        }
        let signed = text.rsplit_once('.').map_or(text, |(signed, _)| signed);
        let token = Sha256Digest::of(signed.as_bytes());
        Ok(Shown { identity: verified.identity, expires: verified.expires, token })
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

    /// Binds the token that was shown to the key of who asks. Only once the task is over of whoever
    /// has it may another have it. Who is refused anyway binds nothing: nobody takes away what is
    /// another agent's.
    pub(crate) async fn bind(&self, asking: &Asking<'_>) -> Result<(), TokenRefusal> {
        let Some(shown) = &asking.shown else { return Ok(()) };
        if Self::is_admitted(asking).is_err() {
            return Ok(());
        }
        let place = FactKey::shown(shown.expires, &shown.token);
        for _ in 0..ATTEMPTS_MAX {
            let mut reader = Reader::new(self.authority.pip().store());
            let holder = reader.find::<Thumbprint>(place.clone()).await.map_err(unavailable)?;
            match holder {
                Some(own) if own == asking.key => return Ok(()),
                Some(other) => self.is_free(&mut reader, other, asking).await?,
                None => {}
            }
            let read = reader.sourced(());
            let body = json::canonical_of(&asking.key);
            let unit = Unit {
                reads: read.keys,
                revision: read.revision,
                effects: vec![Effect::Put { key: place.clone(), body }],
                ..Unit::default()
            };
            match self.authority.journal().store().commit(unit).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Changed { .. }) => {}
                Err(error) => return Err(refused(NotPermitted::Unrecorded(error), asking.agent)),
            }
        }
        Err(unavailable(FactsError::Changed))
    }

    /// Refuses who shows what the instance with `other` key still has.
    async fn is_free(
        &self,
        reader: &mut Reader<'_>,
        other: Thumbprint,
        asking: &Asking<'_>,
    ) -> Result<(), TokenRefusal> {
        let holder = reader.find::<InstanceId>(FactKey::key(&other)).await.map_err(unavailable)?;
        if let Some(id) = holder {
            let instance: Instance =
                reader.need(FactKey::instance(id)).await.map_err(unavailable)?;
            let task: Task =
                reader.need(FactKey::task(instance.task)).await.map_err(unavailable)?;
            let now = self.authority.clock().now();
            let has_it = task.instance == id && task.state == TaskState::Open;
            if !has_it || task.deadline <= now {
                return Ok(());
            }
            // Who goes on with its task, because it is gone, may be the same workload.
            if let Grant::Resume(wanted) = &asking.form.grant
                && self.former(reader, asking, wanted).await.is_ok_and(|former| former == id)
            {
                return Ok(());
            }
        }
        let why = "this token of the platform was shown with another key: show a fresh one";
        let error = OAuthError::new(ErrorCode::InvalidGrant, why);
        let mut refusal = TokenRefusal::of("workload_token_shared", error, asking.agent);
        let known = ("held_by_instance", holder.map(|id| id.to_string()));
        let used = ("used_by_agent", Some(asking.agent.name.to_string()));
        let details = [known, used].into_iter();
        let details = details.filter_map(|(name, value)| Some((name.to_owned(), value?)));
        refusal.refused.details = Some(details.collect());
        Err(refusal)
    }

    /// Refuses a workload that no rule of the agent admits.
    pub(crate) fn is_admitted(asking: &Asking<'_>) -> Result<(), TokenRefusal> {
        let Some(shown) = &asking.shown else { return Ok(()) };
        if asking.agent.admits_workload(Some(&shown.identity)) {
            return Ok(());
        }
        let why = "no rule of the agent admits this workload: see `chancery agent attest`";
        let error = OAuthError::new(ErrorCode::InvalidGrant, why);
        Err(TokenRefusal::of("workload_not_admitted", error, asking.agent))
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

    /// Forgets which keys tokens were shown with that have ended by `now`.
    pub async fn forget_shown(&self, now: Timestamp) -> Result<(), FactsError> {
        if self.platforms.is_none() {
            return Ok(());
        }
        let store = self.authority.pip().store();
        let page = store.list(SHOWN, None, FORGOTTEN_MAX).await?;
        let ended = page.facts.into_iter().map(|(key, _)| key).filter(|key| has_ended(key, now));
        let effects: Vec<_> = ended.map(|key| Effect::Remove { key }).collect();
        if !effects.is_empty() {
            let unit = Unit { effects, ..Unit::default() };
            if let Err(error) = self.authority.journal().store().commit(unit).await {
                tracing::warn!(%error, "what ended is not forgotten yet");
            }
        }
        Ok(())
    }
}

/// Whether the host or the platform vouches for `instance` where it once did: none if nothing was
/// shown, false if it is another process or workload.
pub(crate) fn is_vouched(instance: &Instance, source: &Source) -> Option<bool> {
    let Instance { attestation, process, workload, .. } = instance;
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
pub(crate) fn not_vouched(instance: &Instance, agent: &Agent) -> TokenRefusal {
    let why = match instance.attestation {
        Attestation::Workload => "this instance is known by its platform: show a token of it",
        _ => "this instance is known by its host: show a voucher",
    };
    let error = OAuthError::new(ErrorCode::InvalidGrant, why);
    about(instance, TokenRefusal::of("not_vouched", error, agent))
}

/// Whether the token ended before `now` whose binding has this key.
fn has_ended(key: &FactKey, now: Timestamp) -> bool {
    let rest = key.as_str().strip_prefix(SHOWN).and_then(|rest| rest.split_once('/'));
    let expires = rest.and_then(|(expires, _)| expires.parse().ok());
    expires.is_some_and(|millis| Timestamp::from_millis(millis) < now)
}

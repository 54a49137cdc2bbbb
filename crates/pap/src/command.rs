//! The one place that does what an administrator asks for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use authority::{
    AdminAct, Administered, Authority, Effect, FactsError, NewEntry, NotAdministered, NotPermitted,
    Pages, Reader, RefusalLog, Refused,
};
use model::{FactKey, Finding, PersonId, ResourceRef, Revision, ServerName, Sourced, Stranger};
use serde_json::{Value, json};

use crate::KeptTokenKeys;
use crate::asked::Command;
use crate::explain::why;
use crate::flips::Trying;
use crate::log::Exports;
use crate::logged_in::By;
use crate::past::Lookings;
use crate::policy::Publisher;
use crate::register::put;
use crate::release::PolicyKey;
use crate::review::Counted;
use crate::tools::ToolSource;

/// Why an act was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// What was asked for does not make sense.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing.
    #[error("there is no {0}")]
    Missing(String),
    /// It was not permitted, or cannot be decided now.
    #[error("{0}")]
    Refused(String),
    /// It conflicts with what is there.
    #[error("{0}")]
    Conflict(String),
    /// Something that it needs is down.
    #[error("{0}")]
    Unavailable(String),
    /// Nobody can tell whether it was done.
    #[error("{0}")]
    Unknown(String),
}

impl AdminError {
    pub(crate) fn invalid(error: impl std::fmt::Display) -> Self {
        Self::Invalid(error.to_string())
    }

    pub(crate) fn unavailable(error: impl std::fmt::Display) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<NotAdministered> for AdminError {
    fn from(reason: NotAdministered) -> Self {
        match reason {
            NotAdministered::Conflict(error) => Self::Conflict(error.to_string()),
            NotAdministered::NotPermitted(NotPermitted::Denied { denial, decision }) => {
                Self::Refused(format!("not permitted: {} (decision {decision})", why(&denial)))
            }
            NotAdministered::NotPermitted(NotPermitted::FactsUnavailable(FactsError::Missing(
                who,
            ))) => Self::Refused(format!("not permitted: there is no {who}")),
            NotAdministered::Unknown => {
                let look =
                    "look (`agent list`, `mandate list`, `log tail`) before it is asked again";
                Self::Unknown(format!("it may have been done: {look}"))
            }
            NotAdministered::NotPermitted(other) => Self::Unavailable(other.to_string()),
        }
    }
}

/// Does what administrators ask for.
pub struct Administration {
    pub(crate) authority: Arc<Authority>,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) source: Arc<dyn ToolSource>,
    pub(crate) log: journal::LogDirectory,
    /// The base URL of the deployment: whom what is signed for it names.
    pub(crate) issuer: String,
    pub(crate) token_keys: KeptTokenKeys,
    /// What countersigns releases.
    pub(crate) policy_key: PolicyKey,
    /// Whether a release has to be one of which its author says that it is proved.
    pub(crate) requires_proof: bool,
    /// Whether an instance at high risk is revoked, and not only quarantined.
    pub(crate) revokes_at_high_risk: bool,
    /// How the servers that are started here are kept apart, once that is settled.
    pub(crate) isolation: OnceLock<BTreeMap<ServerName, &'static str>>,
    /// The exports of the log that are under way.
    pub(crate) exports: Mutex<Exports>,
    /// How far each has come with counting for the export of a review.
    pub(crate) counted: Counted,
    /// How far each has come with looking through the records for the register as of a time.
    pub(crate) looking: Lookings,
    /// Held by the one report that is made: each reads the register and the whole log.
    pub(crate) reports: tokio::sync::Mutex<()>,
    /// The policy sets that were tried last.
    pub(crate) trying: tokio::sync::Mutex<Trying>,
    pub(crate) refusals: RefusalLog,
}

/// An act that may be done as far as is known before anything is looked up for it.
pub(crate) struct Draft<'a> {
    authority: &'a Authority,
    by: By<'a>,
    action: &'static str,
    target: ResourceRef,
    /// Reads what the change rests on.
    pub(crate) reader: Reader<'a>,
    /// What else it rests on.
    also: Vec<Sourced<()>>,
    /// What was found by it, each with what records that.
    found: Vec<(Finding, NewEntry)>,
}

impl Draft<'_> {
    /// Decides on the act as what it has become, and makes the change with its record.
    pub(crate) async fn make(
        self,
        change: Value,
        mut effects: Vec<Effect>,
    ) -> Result<Administered, AdminError> {
        let read = std::iter::once(self.reader.sourced(())).chain(self.also);
        // An act that read nothing rests on nothing that could have changed.
        let (mut keys, mut revision) = (Vec::new(), Revision(u64::MAX));
        for read in read.filter(|read| !read.keys.is_empty()) {
            keys.extend(read.keys);
            revision = revision.min(read.revision);
        }
        keys.sort_unstable();
        keys.dedup();
        let mut records = Vec::new();
        for (finding, record) in self.found {
            effects.push(put(FactKey::finding(&finding.id), &finding));
            records.push(record);
        }
        let is_found = !records.is_empty();
        let act = AdminAct {
            by: self.by.into(),
            action: self.action,
            target: self.target,
            change,
            reads: (keys, revision),
            effects,
        };
        let done = self.authority.administer_with(act, records).await;
        // Also where nobody can tell whether it was committed.
        if is_found {
            self.authority.note_committed();
        }
        Ok(done?)
    }

    /// Keeps with the change that people have to be told of `stranger`.
    pub(crate) async fn note_found(&mut self, stranger: Stranger) -> Result<(), AdminError> {
        let found = self.authority.found(&mut self.reader, stranger).await;
        self.found.push(found.map_err(AdminError::unavailable)?);
        Ok(())
    }

    /// Whether `by` may do `action` to `target` by themselves, as a part of this act, which rests on that; why
    /// not, if they may not. A denial is recorded, with who brought it about.
    pub(crate) async fn includes(
        &mut self,
        by: By<'_>,
        action: &'static str,
        target: ResourceRef,
    ) -> Result<Result<(), String>, AdminError> {
        let change = json!({ "part_of": self.action, "by": self.by.person });
        let part = AdminAct { change, ..asked(by, action, target) };
        match self.authority.may_administer(&part).await {
            Ok(read) => self.also.push(read),
            Err(NotPermitted::Denied { denial, decision }) => {
                return Ok(Err(format!("{denial} (decision {decision})")));
            }
            Err(other) => return Err(NotAdministered::from(other).into()),
        }
        Ok(Ok(()))
    }
}

/// The question whether `by` may do `action` to `target`, before anything is looked up for it.
pub(crate) fn asked(by: By<'_>, action: &'static str, target: ResourceRef) -> AdminAct {
    AdminAct {
        by: by.into(),
        action,
        target,
        change: Value::Null,
        reads: (Vec::new(), Revision(u64::MAX)),
        effects: Vec::new(),
    }
}

impl Administration {
    /// Administration of the deployment `issuer`, whose tokens `token_keys` sign, and whose releases of policy
    /// `policy_key` countersigns, through `authority`; `source` reads servers, `log` is where the log lies.
    pub fn new(
        authority: Arc<Authority>,
        publisher: Arc<Publisher>,
        source: Arc<dyn ToolSource>,
        log: journal::LogDirectory,
        (issuer, token_keys, policy_key): (String, KeptTokenKeys, PolicyKey),
    ) -> Self {
        Self {
            authority,
            publisher,
            source,
            log,
            issuer,
            token_keys,
            policy_key,
            requires_proof: false,
            revokes_at_high_risk: false,
            isolation: OnceLock::new(),
            exports: Mutex::default(),
            counted: Counted::default(),
            looking: Lookings::default(),
            reports: tokio::sync::Mutex::default(),
            trying: tokio::sync::Mutex::default(),
            refusals: RefusalLog::default(),
        }
    }

    /// The same, where a release has to be proved, if it `is_required`.
    #[must_use]
    pub fn requiring_proof(self, is_required: bool) -> Self {
        Self { requires_proof: is_required, ..self }
    }

    /// The same, where an instance at high risk is revoked, if it is so.
    #[must_use]
    pub fn revoking_at_high(self, is_so: bool) -> Self {
        Self { revokes_at_high_risk: is_so, ..self }
    }

    /// Does `command` on behalf of `by` and gives what to tell.
    pub async fn run(&self, by: &PersonId, command: Command) -> Result<Value, AdminError> {
        match command {
            Command::PersonAdd { .. }
            | Command::PersonDeactivate { .. }
            | Command::PersonConfirm { .. }
            | Command::PersonList
            | Command::AgentAdd { .. }
            | Command::AgentAttest { .. }
            | Command::AgentClient { .. }
            | Command::AgentSuspend { .. }
            | Command::AgentList { .. }
            | Command::RegisterShow { .. }
            | Command::InstanceRevoke { .. }
            | Command::InstanceQuarantine { .. }
            | Command::InstanceRelease { .. }
            | Command::InstanceList => self.register(by, command).await,
            Command::AgentAffirm { .. }
            | Command::AgentDeclare { .. }
            | Command::AgentMemory { .. }
            | Command::AgentOwners { .. }
            | Command::AgentReinstate { .. }
            | Command::AgentRenew { .. }
            | Command::AgentTakeOver { .. } => self.sponsors(by, command).await,
            Command::PurposeAdd(_)
            | Command::PurposeNarrow(_)
            | Command::PurposeWiden(_)
            | Command::PurposeOwner { .. }
            | Command::PurposeList { .. } => self.purposes(by, command).await,
            Command::PeopleWidening { said } => self.people_widening(by, said).await,
            Command::PersonOffboard { id, since } => self.offboard_person(by, (&id, since)).await,
            Command::AgentOffboard { name, since } => self.offboard_agent(by, (&name, since)).await,
            Command::ReviewOpen(_)
            | Command::ReviewExport { .. }
            | Command::ReviewImport { .. }
            | Command::ReviewWithdraw { .. }
            | Command::ReviewShow { .. }
            | Command::ReviewList => self.reviews(by, command).await,
            Command::PeopleSourceAdd { .. }
            | Command::PeopleSourceRekey(_)
            | Command::PeopleSilence { .. }
            | Command::PeopleSourceList
            | Command::PeopleApply { .. } => self.people(by, command).await,
            Command::DirectoryAdd(_)
            | Command::DirectoryToken { .. }
            | Command::DirectoryAdopt { .. }
            | Command::DirectorySuspend { .. }
            | Command::DirectoryResume { .. }
            | Command::DirectorySilence { .. }
            | Command::DirectoryList => self.directories(by, command).await,
            Command::StreamAdd(_)
            | Command::StreamToken { .. }
            | Command::StreamSuspend { .. }
            | Command::StreamResume { .. }
            | Command::StreamSilence { .. }
            | Command::StreamManage(_)
            | Command::StreamAnswered(_)
            | Command::StreamList => self.streams(by, command).await,
            Command::ReceiverAdd(_)
            | Command::ReceiverCover { .. }
            | Command::ReceiverIssuer { .. }
            | Command::ReceiverToken { .. }
            | Command::ReceiverKey { .. }
            | Command::ReceiverSuspend { .. }
            | Command::ReceiverResume { .. }
            | Command::ReceiverRemove { .. }
            | Command::ReceiverList => self.receivers(by, command).await,
            other => Box::pin(self.work(by, other)).await,
        }
    }

    /// Does what concerns work: who begins it, on what it rests, what of it is under way, what stops it, and by what
    /// policy.
    async fn work(&self, by: &PersonId, command: Command) -> Result<Value, AdminError> {
        match command {
            Command::SignalUndo { .. } | Command::SignalApprove { .. } | Command::SignalList => {
                self.undoing(by, command).await
            }
            Command::Stop { .. } | Command::Start { .. } | Command::StopList => {
                self.stops(by, command).await
            }
            Command::RiskRaise { .. } | Command::RiskLower { .. } => self.risks(by, command).await,
            Command::DeviceRevoke { .. } | Command::DeviceList => self.devices(by, command).await,
            Command::SystemAdd(registration) => self.system_add(by, registration).await,
            Command::SystemSuspend { name, reason } => self.system_suspend(by, &name, reason).await,
            Command::SystemList => self.list(by, "system/", "").await,
            Command::Reach { instance, since } => {
                Box::pin(self.reach(by, (&instance, since))).await
            }
            Command::Unattended { agent, since } => {
                Box::pin(self.unattended(by, (agent.as_deref(), since))).await
            }
            Command::Suggest { agent, since } => self.suggest(by, (&agent, since)).await,
            Command::TaskList => self.task_list(by).await,
            Command::TaskShow { id } => self.task_show(by, &id).await,
            Command::LabelRemove { label, what, reason, word } => {
                self.label_remove(by, (&label, &what), (reason, word)).await
            }
            Command::BudgetList => self.budget_list(by).await,
            Command::TaskEnd { id, reason } => self.task_end(by, &id, reason).await,
            Command::MandateList => self.list(by, "mandate/", "").await,
            Command::MandateWithdraw { id, reason } => self.mandate_withdraw(by, &id, reason).await,
            Command::ElevationAsk { .. }
            | Command::ElevationApprove { .. }
            | Command::ElevationRevoke { .. }
            | Command::ElevationList => Box::pin(self.elevations(by, command)).await,
            Command::PolicyPublish { .. }
            | Command::PolicyApprove { .. }
            | Command::PolicyActivate { .. }
            | Command::PolicyObserve { .. }
            | Command::PolicyInForce
            | Command::PolicyWithdraw { .. }
            | Command::PolicyRelease { .. }
            | Command::PolicyHistory => self.releases(by, command).await,
            other => self.operate(by, other).await,
        }
    }

    /// Does what concerns servers, the service itself and its log.
    async fn operate(&self, by: &PersonId, command: Command) -> Result<Value, AdminError> {
        match command {
            Command::FounderRedeem { .. }
            | Command::FounderAdd { .. }
            | Command::FounderRekey { .. }
            | Command::FounderRemove { .. }
            | Command::FounderWithdraw { .. }
            | Command::FounderList => self.founders(by, command).await,
            Command::ServerAdd { name, said } => self.server_add(by, &name, said).await,
            Command::FindingList => self.list(by, "finding/", "").await,
            Command::FindingClose { id, reason } => self.finding_close(by, &id, reason).await,
            Command::ServerList => self.server_list(by).await,
            Command::ToolDescribe { tool, said } => self.tool_describe(by, &tool, said).await,
            Command::ToolDiff { tool } => self.tool_diff(by, &tool).await,
            Command::ToolPin { tool, digest } => self.tool_pin(by, &tool, &digest).await,
            Command::OutcomeSettle { decision, did_not_happen, reason } => {
                self.settle(by, (&decision, did_not_happen), &reason).await
            }
            Command::ClockTrust { reason } => self.trust_clock(by, &reason).await,
            Command::KeysRotate { reason, compromised } => {
                self.rotate_token_key(by, (&reason, compromised)).await
            }
            Command::DrillOutage { version, rows } => self.drill(by, &version, &rows).await,
            Command::DrillSignal { version, signal, measured } => {
                self.drill_signal(by, &version, (signal, measured)).await
            }
            reading => self.read_log(by, reading).await,
        }
    }

    /// Begins an act of `by`. Who may not do it, or not any more in their session, is told so before anything is
    /// looked up: what there is and what there is not look the same to them.
    pub(crate) async fn draft<'a>(
        &'a self,
        by: impl Into<By<'a>>,
        action: &'static str,
        target: ResourceRef,
    ) -> Result<Draft<'a>, AdminError> {
        let by = by.into();
        let act = asked(by, action, target.clone());
        let authority = self.authority.as_ref();
        match authority.may_administer(&act).await {
            Ok(_) => {}
            Err(reason) => {
                if let NotPermitted::FactsUnavailable(FactsError::Missing(_)) = reason {
                    // Nobody whom a decision could be about.
                    let place = ("administration", "unknown_administrator");
                    authority.record_refusal(&self.refusals, place, Refused::default());
                }
                return Err(NotAdministered::from(reason).into());
            }
        }
        let (reader, also, found) = (self.in_session(by).await?, Vec::new(), Vec::new());
        Ok(Draft { authority, by, action, target, reader, also, found })
    }

    /// Says that the clock, though it stepped or is behind the last record, is right.
    async fn trust_clock(&self, by: &PersonId, reason: &str) -> Result<Value, AdminError> {
        let draft = self.draft(by, "clock/trust", ResourceRef::Deployment).await?;
        let done = draft.make(json!({ "reason": reason }), Vec::new()).await?;
        self.authority.trust_clock();
        let now = self.authority.clock().now().to_string();
        Ok(json!({ "time": now, "decision": done.decision }))
    }

    /// The facts whose keys begin with `prefix`, a page at a time.
    pub(crate) fn pages<'a>(&'a self, prefix: &'a str) -> Pages<'a> {
        Pages::of(self.authority.pip().store(), prefix)
    }

    /// How many facts there are whose keys begin with `prefix`.
    pub(crate) async fn count(&self, prefix: &str) -> Result<usize, AdminError> {
        let (mut pages, mut count) = (self.pages(prefix), 0);
        while let Some(facts) = pages.next().await.map_err(AdminError::unavailable)? {
            count += facts.len();
        }
        Ok(count)
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader::new(self.authority.pip().store())
    }

    /// A reader that takes what was read before, and has not changed, for read: for who asks of much, as a
    /// directory that tells of thousands.
    pub(crate) fn knowing(&self) -> Reader<'_> {
        self.authority.pip().reader()
    }

    /// Lists the facts under each prefix, once that is permitted.
    pub(crate) async fn list(
        &self,
        by: &PersonId,
        first: &str,
        second: &str,
    ) -> Result<Value, AdminError> {
        self.may_read(by, first).await?;
        let mut all = Vec::new();
        for prefix in [first, second].into_iter().filter(|prefix| !prefix.is_empty()) {
            let listed = authority::all::<Value>(self.authority.pip().store(), prefix).await;
            all.extend(listed.map_err(AdminError::unavailable)?);
        }
        Ok(Value::Array(all))
    }

    /// Reading is an act too: decided and recorded.
    pub(crate) async fn may_read(&self, by: &PersonId, what: &str) -> Result<(), AdminError> {
        let draft = self.draft(by, "log/read", ResourceRef::Deployment).await?;
        draft.make(what.into(), Vec::new()).await.map(drop)
    }
}

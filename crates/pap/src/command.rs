//! What an administrator can ask for, and the one place that does it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use authority::{
    AdminAct, Administered, Authority, ChangedBy, Effect, FactsError, NotAdministered,
    NotPermitted, Pages, Reader, RefusalLog, Refused,
};
use model::{
    Enforcement, HostRule, PersonId, ResourceRef, Revision, ServerName, Sha256Digest, StopTarget,
    ToolName, WorkloadRule,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::KeptTokenKeys;
use crate::clients::ClientRegistration;
use crate::directory::{DirectoryRegistration, NewToken};
use crate::drill::DrillRow;
use crate::elevations::ElevationAsked;
use crate::log::Exports;
use crate::people::SourceKey;
use crate::policy::Publisher;
use crate::said::{PurposeRegistration, Registration, ToolSaid};
use crate::systems::SystemRegistration;

/// One act of administration, as the command line sends it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the members are those of the command line, documented there")]
pub enum Command {
    /// Redeems a founder's code.
    FounderRedeem { code: String, key: Value },
    /// Adds a person.
    PersonAdd { id: String, groups: Vec<String> },
    /// Deactivates a person.
    PersonDeactivate { id: String },
    /// Lists people.
    PersonList,
    /// Registers a directory that says who its people are.
    PeopleSourceAdd(SourceKey),
    /// Gives one another key.
    PeopleSourceRekey(SourceKey),
    /// Lists them, each with the version that is in force.
    PeopleSourceList,
    /// Puts a signed list of people in force.
    PeopleApply { file: String },
    /// Registers a directory that pushes who its people are.
    DirectoryAdd(DirectoryRegistration),
    /// Gives one another token, beside the newest that it has or alone.
    DirectoryToken { name: String, token: NewToken, alone: bool },
    /// Makes a person that an administrator added one of a directory's.
    DirectoryAdopt { name: String, person: String },
    /// Suspends a directory.
    DirectorySuspend { name: String, reason: String },
    /// Lets one go on.
    DirectoryResume { name: String },
    /// Lists them.
    DirectoryList,
    /// Adds a purpose.
    PurposeAdd(PurposeRegistration),
    /// Names who answers for a purpose.
    PurposeOwner { id: String, owner: String },
    /// Registers an agent.
    AgentAdd(Registration),
    /// Says which processes of the host, and which workloads of platforms, may be instances of an
    /// agent: all of them at once.
    AgentAttest {
        name: String,
        host: Option<HostRule>,
        #[serde(default)]
        workloads: Vec<WorkloadRule>,
    },
    /// Names who wants an agent and who keeps it running; who is not named is who they were.
    AgentOwners { name: String, business_owner: Option<String>, technical_owner: Option<String> },
    /// The sponsor of an agent renews its lease and its key, which may be another one from now on. `word`
    /// says who, where that is not who sends it.
    AgentRenew {
        name: String,
        key: Option<Value>,
        #[serde(default)]
        word: Option<String>,
    },
    /// The sponsor of an agent affirms that they answer for it. `word` says who, where that is not who
    /// sends it.
    AgentAffirm { name: String, word: Option<String> },
    /// Makes who asks the sponsor of an agent whose own is gone.
    AgentTakeOver { name: String, reason: String, word: Option<String> },
    /// Says which OAuth client an agent is, if any.
    AgentClient { name: String, client: Option<ClientRegistration> },
    /// Suspends an agent.
    AgentSuspend { name: String, reason: String },
    /// Lists agents, as they are or were at a time.
    AgentList {
        #[serde(default)]
        as_of: Option<String>,
    },
    /// Shows agents after one of that name, with their instances, as they are or were at a time.
    RegisterShow {
        #[serde(default)]
        as_of: Option<String>,
        #[serde(default)]
        after: Option<String>,
    },
    /// Revokes a device for good.
    DeviceRevoke { agent: String, id: String, reason: String },
    /// Lists devices.
    DeviceList,
    /// Registers a system that starts work of agents.
    SystemAdd(SystemRegistration),
    /// Suspends one: what it started is over.
    SystemSuspend { name: String, reason: String },
    /// Lists systems.
    SystemList,
    /// Stops all, a tool or an agent at once.
    Stop {
        #[schemars(with = "String")]
        what: StopTarget,
        reason: String,
    },
    /// Starts it again, or asks for that: it takes two. `word` says who asks, where that is not who
    /// sends it.
    Start {
        #[schemars(with = "String")]
        what: StopTarget,
        reason: String,
        word: Option<String>,
    },
    /// Lists what is stopped.
    StopList,
    /// Revokes an instance.
    InstanceRevoke { id: String, reason: String },
    /// Stops an instance until it is released.
    InstanceQuarantine { id: String, reason: String },
    /// Lets an instance, or those after it, act again.
    InstanceRelease { id: String, reason: String },
    /// Lists instances.
    InstanceList,
    /// Lists callers that are no active agent.
    FindingList,
    /// Closes a finding.
    FindingClose { id: String, reason: String },
    /// Onboards a server.
    ServerAdd { name: String, owner: Option<String>, harm: Vec<String> },
    /// Lists servers with their tools.
    ServerList,
    /// Says who answers for a tool and what it can do.
    ToolDescribe { tool: String, said: ToolSaid },
    /// Shows how a tool differs from its pin.
    ToolDiff { tool: String },
    /// Pins a tool again.
    ToolPin { tool: String, digest: String },
    /// Lists tasks.
    TaskList,
    /// Shows a task with all that was handed on of it.
    TaskShow { id: String },
    /// Takes a task away.
    TaskEnd { id: String, reason: String },
    /// Asks that the holder of a task may do something beyond it. `word` says who asks, where that is not
    /// who sends it.
    ElevationAsk { asked: ElevationAsked, word: Option<String> },
    /// Approves that: it takes another. `word` says who approves, where that is not who sends it.
    ElevationApprove { id: String, word: Option<String> },
    /// Takes it back.
    ElevationRevoke { id: String, reason: String },
    /// Lists elevations.
    ElevationList,
    /// Lists mandates.
    MandateList,
    /// Withdraws a mandate.
    MandateWithdraw { id: String, reason: String },
    /// Settles an unknown outcome.
    OutcomeSettle { decision: String, reason: String },
    /// Says that the clock is right as it is.
    ClockTrust { reason: String },
    /// Exchanges the key that signs tokens; a compromised one verifies none any more.
    KeysRotate { reason: String, compromised: bool },
    /// Records an outage drill: that it begins, or, with rows, its result.
    DrillOutage { version: String, rows: Vec<DrillRow> },
    /// Shows a record with its disclosure.
    LogShow { id: String },
    /// Traces a decision back.
    LogChain { id: String },
    /// The newest records.
    LogTail { n: usize },
    /// Records from an index on, a page.
    LogExport { from: u64 },
    /// Proves that a record is in the log.
    LogProve { id: String },
    /// Decides every recorded decision again.
    LogReplay,
}

/// What a server lists, as somebody read it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The descriptors, by name.
    pub tools: BTreeMap<ToolName, Value>,
    /// Where it is served from.
    pub origin: String,
    /// Whether it refuses who is not us.
    pub enforcement: Enforcement,
    /// The account with which it is called, by the digest of its credential, if it is by one.
    pub account: Option<Sha256Digest>,
}

/// Reads what a configured server lists.
#[async_trait]
pub trait ToolSource: Send + Sync {
    /// Reads the tools of `server`.
    async fn read(&self, server: &ServerName) -> Result<Found, String>;
}

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
                Self::Refused(format!("not permitted: {denial} (decision {decision})"))
            }
            NotAdministered::NotPermitted(NotPermitted::FactsUnavailable(FactsError::Missing(
                who,
            ))) => Self::Refused(format!("not permitted: there is no {who}")),
            NotAdministered::Unknown => {
                let look =
                    "look (`stop list`, `mandate list`, `log tail`) before it is asked again";
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
    /// How far each administrator has read the log.
    pub(crate) exports: Exports,
    pub(crate) refusals: RefusalLog,
}

/// Who acts: a person, and, where a provider vouches for them, the groups that it says they are in.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// The person.
    pub person: &'a PersonId,
    /// The groups, if the provider's word on them counts: it takes some away, and gives none.
    pub groups: Option<&'a BTreeSet<String>>,
}

impl<'a> From<&'a PersonId> for By<'a> {
    fn from(person: &'a PersonId) -> Self {
        Self { person, groups: None }
    }
}

impl From<By<'_>> for ChangedBy {
    fn from(By { person, groups }: By<'_>) -> Self {
        Self::Person { id: person.clone(), groups: groups.cloned() }
    }
}

/// An act that may be done as far as is known before anything is looked up for it.
pub(crate) struct Draft<'a> {
    authority: &'a Authority,
    by: By<'a>,
    action: &'static str,
    target: ResourceRef,
    /// Reads what the change rests on.
    pub(crate) reader: Reader<'a>,
}

impl Draft<'_> {
    /// Decides on the act as what it has become, and makes the change with its record.
    pub(crate) async fn make(
        self,
        change: Value,
        effects: Vec<Effect>,
    ) -> Result<Administered, AdminError> {
        let read = self.reader.sourced(());
        // An act that read nothing rests on nothing that could have changed.
        let revision = if read.keys.is_empty() { Revision(u64::MAX) } else { read.revision };
        let act = AdminAct {
            by: self.by.into(),
            action: self.action,
            target: self.target,
            change,
            reads: (read.keys, revision),
            effects,
        };
        Ok(self.authority.administer(act).await?)
    }
}

impl Administration {
    /// Administration of the deployment `issuer`, whose tokens `token_keys` sign, through `authority`;
    /// `source` reads servers, `log` is where the log lies.
    pub fn new(
        authority: Arc<Authority>,
        publisher: Arc<Publisher>,
        source: Arc<dyn ToolSource>,
        log: journal::LogDirectory,
        (issuer, token_keys): (String, KeptTokenKeys),
    ) -> Self {
        let (exports, refusals) = (Exports::default(), RefusalLog::default());
        Self { authority, publisher, source, log, issuer, token_keys, exports, refusals }
    }

    /// Does `command` on behalf of `by` and gives what to tell.
    pub async fn run(&self, by: &PersonId, command: Command) -> Result<Value, AdminError> {
        match command {
            Command::FounderRedeem { code, key } => self.redeem(by, &code, &key).await,
            Command::PersonAdd { .. }
            | Command::PersonDeactivate { .. }
            | Command::PersonList
            | Command::PurposeAdd(_)
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
            | Command::AgentOwners { .. }
            | Command::AgentRenew { .. }
            | Command::AgentTakeOver { .. }
            | Command::PurposeOwner { .. } => self.sponsors(by, command).await,
            Command::PeopleSourceAdd(_)
            | Command::PeopleSourceRekey(_)
            | Command::PeopleSourceList
            | Command::PeopleApply { .. } => self.people(by, command).await,
            Command::DirectoryAdd(_)
            | Command::DirectoryToken { .. }
            | Command::DirectoryAdopt { .. }
            | Command::DirectorySuspend { .. }
            | Command::DirectoryResume { .. }
            | Command::DirectoryList => self.directories(by, command).await,
            Command::Stop { .. } | Command::Start { .. } | Command::StopList => {
                self.stops(by, command).await
            }
            Command::DeviceRevoke { .. } | Command::DeviceList => self.devices(by, command).await,
            Command::ElevationAsk { .. }
            | Command::ElevationApprove { .. }
            | Command::ElevationRevoke { .. }
            | Command::ElevationList => self.elevations(by, command).await,
            Command::SystemAdd(registration) => self.system_add(by, registration).await,
            Command::SystemSuspend { name, reason } => self.system_suspend(by, &name, reason).await,
            Command::SystemList => self.list(by, "system/", "").await,
            Command::ServerAdd { name, owner, harm } => {
                self.server_add(by, &name, owner.as_deref(), &harm).await
            }
            Command::FindingList => self.list(by, "finding/", "").await,
            Command::FindingClose { id, reason } => self.finding_close(by, &id, reason).await,
            Command::ServerList => self.list_with_stops(by, "server/", "tool/").await,
            Command::ToolDescribe { tool, said } => self.tool_describe(by, &tool, said).await,
            Command::ToolDiff { tool } => self.tool_diff(by, &tool).await,
            Command::ToolPin { tool, digest } => self.tool_pin(by, &tool, &digest).await,
            Command::TaskList => self.list(by, "task/", "").await,
            Command::TaskShow { id } => self.task_show(by, &id).await,
            Command::TaskEnd { id, reason } => self.task_end(by, &id, reason).await,
            Command::MandateList => self.list(by, "mandate/", "").await,
            Command::MandateWithdraw { id, reason } => self.mandate_withdraw(by, &id, reason).await,
            Command::OutcomeSettle { decision, reason } => {
                self.settle(by, &decision, &reason).await
            }
            Command::ClockTrust { reason } => self.trust_clock(by, &reason).await,
            Command::KeysRotate { reason, compromised } => {
                self.rotate_token_key(by, (&reason, compromised)).await
            }
            Command::DrillOutage { version, rows } => self.drill(by, &version, &rows).await,
            reading => self.read_log(by, reading).await,
        }
    }

    /// Begins an act of `by`. Who may not do it is told so before anything is looked up: what there
    /// is and what there is not look the same to them.
    pub(crate) async fn draft<'a>(
        &'a self,
        by: impl Into<By<'a>>,
        action: &'static str,
        target: ResourceRef,
    ) -> Result<Draft<'a>, AdminError> {
        let by = by.into();
        let act = AdminAct {
            by: by.into(),
            action,
            target: target.clone(),
            change: Value::Null,
            reads: (Vec::new(), Revision(u64::MAX)),
            effects: Vec::new(),
        };
        let authority = self.authority.as_ref();
        match authority.may_administer(act).await {
            Ok(()) => {}
            Err(reason) => {
                if let NotPermitted::FactsUnavailable(FactsError::Missing(_)) = reason {
                    // Nobody whom a decision could be about.
                    let place = ("administration", "unknown_administrator");
                    authority.record_refusal(&self.refusals, place, Refused::default());
                }
                return Err(NotAdministered::from(reason).into());
            }
        }
        Ok(Draft { authority, by, action, target, reader: self.reader() })
    }

    /// Says that the clock, though it stepped or is behind the last record, is right.
    async fn trust_clock(&self, by: &PersonId, reason: &str) -> Result<Value, AdminError> {
        let draft = self.draft(by, "clock/trust", ResourceRef::Deployment).await?;
        let done = draft.make(serde_json::json!({ "reason": reason }), Vec::new()).await?;
        self.authority.trust_clock();
        let now = self.authority.clock().now().to_string();
        Ok(serde_json::json!({ "time": now, "decision": done.decision }))
    }

    /// The facts whose keys begin with `prefix`, a page at a time.
    pub(crate) fn pages<'a>(&'a self, prefix: &'a str) -> Pages<'a> {
        Pages::of(self.authority.pip().store(), prefix)
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader::new(self.authority.pip().store())
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

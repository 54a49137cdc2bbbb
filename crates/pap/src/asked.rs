//! What an administrator can ask for.

use model::{
    Covers, HostRule, Label, Marked, Memory, PolicyDigest, ReceiverKey, RiskLevel, RiskTarget,
    StopTarget, Timestamp, WorkloadRule,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clients::ClientRegistration;
use crate::directory::{DirectoryRegistration, NewToken};
use crate::drill::{DrillMeasured, DrillRow, DrillSignal};
use crate::elevations::ElevationAsked;
use crate::flips::PolicyFiles;
use crate::founders::FounderSaid;
use crate::people::SourceKey;
use crate::receivers::ReceiverRegistration;
use crate::release::ReleaseAsked;
use crate::review::{ReviewAsked, ReviewFormat};
use crate::said::{PurposeRegistration, PurposeSaid, Registration, ServerSaid, ToolSaid};
use crate::streams::{StreamAnswered, StreamManaged, StreamRegistration};
use crate::systems::SystemRegistration;
use crate::undo::UndoAsked;
use crate::widening::WideningSaid;

/// One act of administration, as the command line sends it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the members are those of the command line, documented there")]
pub enum Command {
    /// Redeems a founder's code.
    FounderRedeem { code: String, key: Value },
    /// Asks that somebody becomes a founder, or agrees to it: it takes two. `word` says who asks, where that is not who
    /// sends it.
    FounderAdd { said: FounderSaid, word: Option<String> },
    /// The same, that a founder has another key: one of them and time suffice. `word` says who asks, where that is not
    /// who sends it.
    FounderRekey { said: FounderSaid, word: Option<String> },
    /// Takes a founder their key away.
    FounderRemove { id: String, reason: String },
    /// Takes back that somebody is to have a key.
    FounderWithdraw { id: String, reason: String },
    /// Lists who signs, and what waits.
    FounderList,
    /// Adds a person.
    PersonAdd { id: String, groups: Vec<String> },
    /// Deactivates a person.
    PersonDeactivate { id: String },
    /// Confirms what is said of a person and waits. `word` says who does, where that is not who sends it.
    PersonConfirm { id: String, word: Option<String> },
    /// Lists people.
    PersonList,
    /// Reports every credential of a person, and whether it still counts.
    PersonOffboard {
        id: String,
        #[serde(default)]
        #[schemars(with = "Option<i64>")]
        since: Option<Timestamp>,
    },
    /// Says what of what widens somebody's standing waits, and how long; without that, tells it.
    PeopleWidening {
        #[serde(default)]
        said: Option<WideningSaid>,
    },
    /// Registers a directory that says who its people are.
    PeopleSourceAdd {
        said: SourceKey,
        #[serde(default = "crate::heard::by_default")]
        silence_min: Option<u32>,
    },
    /// Gives one another key.
    PeopleSourceRekey(SourceKey),
    /// Says anew for how many minutes there may be no newer list of one.
    PeopleSilence {
        name: String,
        #[serde(default = "crate::heard::by_default")]
        silence_min: Option<u32>,
    },
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
    /// Says anew for how many minutes one may say nothing.
    DirectorySilence {
        name: String,
        #[serde(default = "crate::heard::by_default")]
        silence_min: Option<u32>,
    },
    /// Lists them.
    DirectoryList,
    /// Registers a stream of shared signals.
    StreamAdd(StreamRegistration),
    /// Gives one another token, beside the newest that it has or alone.
    StreamToken { name: String, token: NewToken, alone: bool },
    /// Suspends a stream.
    StreamSuspend { name: String, reason: String },
    /// Lets one go on.
    StreamResume { name: String },
    /// Says anew for how many minutes one may say nothing.
    StreamSilence {
        name: String,
        #[serde(default = "crate::heard::by_default")]
        silence_min: Option<u32>,
    },
    /// Says what its transmitter is about to be asked for.
    StreamManage(StreamManaged),
    /// Says what that answered.
    StreamAnswered(StreamAnswered),
    /// Lists them.
    StreamList,
    /// Registers a receiver, which is told when instances and agents stop.
    ReceiverAdd(ReceiverRegistration),
    /// Says anew of whom one is told.
    ReceiverCover { name: String, covers: Covers },
    /// Says anew by which issuer's streams one tells us, if by any.
    ReceiverIssuer { name: String, issuer: Option<String> },
    /// Gives one another token, beside the newest that it has or alone.
    ReceiverToken { name: String, token: NewToken, alone: bool },
    /// Gives one another key, by which it gets tokens for itself, or none.
    ReceiverKey { name: String, key: Option<ReceiverKey> },
    /// Suspends a receiver.
    ReceiverSuspend { name: String, reason: String },
    /// Lets one go on.
    ReceiverResume { name: String },
    /// Removes a receiver, with its stream and all that it was still to be told.
    ReceiverRemove { name: String },
    /// Lists them, with their streams.
    ReceiverList,
    /// Asks that what a mistaken signal did is undone. `word` says who asks, where that is not who sends it.
    SignalUndo { asked: UndoAsked, word: Option<String> },
    /// Approves that: it takes another. `word` says who approves, where that is not who sends it.
    SignalApprove { id: String, word: Option<String> },
    /// Lists what was asked for.
    SignalList,
    /// Adds a purpose.
    PurposeAdd(PurposeRegistration),
    /// Says that a purpose is for no more than this.
    PurposeNarrow(PurposeSaid),
    /// Says that a purpose is for this as well.
    PurposeWiden(PurposeSaid),
    /// Lists purposes, or one, as they are or were at a time.
    PurposeList {
        #[serde(default)]
        id: Option<String>,
        #[serde(default)]
        as_of: Option<String>,
    },
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
    /// Says how often an hour each instance of an agent asks for something, and in which hours of the week
    /// (`mon-fri 08:00-18:00 +01:00`): both at once, and what is not said is not declared.
    AgentDeclare { name: String, calls_an_hour: Option<u32>, hours: Option<String> },
    /// Says what the processes of an agent remember from one task to the next: that they forget, its technical
    /// owner says alone. `word` says who, where that is not who sends it.
    AgentMemory { name: String, memory: Memory, word: Option<String> },
    /// The sponsor of an agent renews its lease and its key, which may be another one from now on; then the
    /// last one may be `compromised`. `word` says who, where that is not who sends it.
    AgentRenew {
        name: String,
        key: Option<Value>,
        #[serde(default)]
        compromised: bool,
        #[serde(default)]
        word: Option<String>,
    },
    /// The sponsor of an agent begins it anew that lapsed because nobody answered its review. `word` says
    /// who, where that is not who sends it.
    AgentReinstate { name: String, reason: String, word: Option<String> },
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
    /// Opens a review of agents: those of which nobody decides by its date that they go on lapse.
    ReviewOpen(ReviewAsked),
    /// Exports a review for whoever decides. Counting takes a while: it is asked again until it is done.
    ReviewExport { id: String, format: ReviewFormat },
    /// Takes decisions on a review, as a file says them: all of them or none.
    ReviewImport { id: String, file: String },
    /// Withdraws a review before its date: who was not answered yet does not lapse by it.
    ReviewWithdraw { id: String, reason: String },
    /// Shows a review with what was decided.
    ReviewShow { id: String },
    /// Lists reviews.
    ReviewList,
    /// Reports every credential of an agent, and whether it still counts.
    AgentOffboard {
        name: String,
        #[serde(default)]
        #[schemars(with = "Option<i64>")]
        since: Option<Timestamp>,
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
    /// Shows what an instance could do now, itself and by handing its work on, and what of that came or went since a
    /// time.
    Reach {
        instance: String,
        #[serde(default)]
        #[schemars(with = "Option<i64>")]
        since: Option<Timestamp>,
    },
    /// Shows what agents, or one of them, could do now without anybody being asked: on which policies that rests, who answers
    /// for it, and how often it was used since a time. Counting takes a while: it is asked again until it is done.
    Unattended {
        agent: Option<String>,
        #[schemars(with = "i64")]
        since: Timestamp,
    },
    /// Holds what an agent was given against what it used since a time, and suggests a narrower policy. Counting takes a
    /// while: it is asked again until it is done.
    Suggest {
        agent: String,
        #[schemars(with = "i64")]
        since: Timestamp,
    },
    /// Revokes an instance.
    InstanceRevoke { id: String, reason: String },
    /// Stops an instance until it is released.
    InstanceQuarantine { id: String, reason: String },
    /// Lets an instance, or those after it, act again. `word` says who, where that is not who sends it.
    InstanceRelease { id: String, reason: String, word: Option<String> },
    /// Lists instances.
    InstanceList,
    /// Says that something is at risk, for policy to read.
    RiskRaise {
        #[schemars(with = "String")]
        what: RiskTarget,
        level: RiskLevel,
        reason: String,
    },
    /// Says that it is less so, or not at all. `word` says who, where that is not who sends it.
    RiskLower {
        #[schemars(with = "String")]
        what: RiskTarget,
        level: Option<RiskLevel>,
        reason: String,
        word: Option<String>,
    },
    /// Takes a label off. `word` says who, where that is not who sends it.
    LabelRemove {
        #[schemars(with = "String")]
        label: Label,
        #[schemars(with = "String")]
        what: Marked,
        reason: String,
        word: Option<String>,
    },
    /// Lists the budgets of the policy set in force, with what is left of each.
    BudgetList,
    /// Lists callers that are no active agent.
    FindingList,
    /// Closes a finding.
    FindingClose { id: String, reason: String },
    /// Onboards a server.
    ServerAdd { name: String, said: ServerSaid },
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
    /// Settles an unknown outcome. What did not happen gives back what it took of limits and budgets.
    OutcomeSettle {
        decision: String,
        #[serde(default)]
        did_not_happen: bool,
        reason: String,
    },
    /// Says that the clock is right as it is.
    ClockTrust { reason: String },
    /// Exchanges the key that signs tokens; a compromised one verifies none any more.
    KeysRotate { reason: String, compromised: bool },
    /// Records an outage drill: that it begins, or, with rows, its result.
    DrillOutage { version: String, rows: Vec<DrillRow> },
    /// Records a drill that takes something away from an agent at work: that it begins, or its result.
    DrillSignal { version: String, signal: DrillSignal, measured: Option<DrillMeasured> },
    /// Shows a record with its disclosure.
    LogShow { id: String },
    /// Traces a decision back.
    LogChain { id: String },
    /// The newest records.
    LogTail { n: usize },
    /// Records from an index on, a page.
    LogExport {
        from: u64,
        #[serde(default)]
        export: Option<u64>,
    },
    /// Proves that a record is in the log.
    LogProve { id: String },
    /// Decides every recorded decision again.
    LogReplay,
    /// Publishes a policy set, or what an earlier release held. `word` is its author's.
    PolicyPublish { asked: ReleaseAsked, files: Option<PolicyFiles>, word: Option<String> },
    /// Approves a release that somebody else published. `word` is the approver's.
    PolicyApprove { version: u64, word: Option<String> },
    /// Has a release decide beside the set in force, which goes on deciding; none any more, without a version.
    PolicyObserve { version: Option<u64> },
    /// Puts a release in force, if it has this content.
    PolicyActivate {
        version: u64,
        #[serde(default)]
        #[schemars(with = "Option<String>")]
        content: Option<PolicyDigest>,
    },
    /// Takes back a release that was not in force yet.
    PolicyWithdraw { version: u64 },
    /// Shows a release with its content.
    PolicyRelease { version: u64 },
    /// Lists releases, and says what is in force.
    PolicyHistory,
    /// Shows the policy set in force.
    PolicyInForce,
    /// Says how a decision came about.
    PolicyExplain { id: String },
    /// Says what the set in force answers to a question as a case puts it, and why.
    PolicyAsk { case: Map<String, Value> },
    /// Tells a decision as a case.
    PolicyCase { id: String },
    /// Decides the acts that are recorded from an index on again by another policy set, those at or after a time, a
    /// page.
    PolicyReplay {
        files: PolicyFiles,
        from: u64,
        #[schemars(with = "Option<String>")]
        since: Option<Timestamp>,
    },
}

//! Names of facts: what a decision's read set is made of.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::written::written;
use crate::{
    AgentName, ConsentId, DecisionId, ElevationId, HostProcess, InstanceId, MandateId, PersonId,
    PolicyDigest, PurposeId, RecordId, ReviewId, ServerName, Sha256Digest, SourceName, StopTarget,
    SystemName, TaskId, Thumbprint, Timestamp, ToolRef, WorkloadIdentity,
};

/// How the keys begin of when policy sets came into force.
pub const ACTIVATIONS: &str = "policy-activations/";

/// How the keys begin of the wrapped keys under which disclosures are sealed.
pub const DATA_KEYS: &str = "datakey/";

/// How the keys begin of what platforms' tokens were shown with.
pub const SHOWN: &str = "shown/";

/// How the keys begin of what says when streams' tokens need not be remembered any longer.
pub const TAKEN: &str = "taken-until/";

/// How the keys begin of what says when what waits counts by itself.
pub const WAITING: &str = "waits-until/";

/// Names one fact in the store; a decision's read set is made of these.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FactKey(Arc<str>);

impl FactKey {
    /// The key with this text, as a store keeps it.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// A person of the register.
    pub fn person(id: &PersonId) -> Self {
        Self(written(format_args!("person/{id}")))
    }

    /// That a mistaken signal is undone, or that somebody asked for that.
    pub fn undo(id: RecordId) -> Self {
        Self(written(format_args!("undo/{id}")))
    }

    /// What somebody asked for so that a person has a founder's key, or another one.
    pub fn founder_asked(person: &PersonId) -> Self {
        Self(written(format_args!("founder-asked/{person}")))
    }

    /// The keys by which a person was known as a founder.
    pub fn former_keys(person: &PersonId) -> Self {
        Self(written(format_args!("former-keys/{person}")))
    }

    /// That a founder's key signs nothing any more.
    pub fn replaced_key(thumbprint: &Thumbprint) -> Self {
        Self(written(format_args!("replaced-key/{thumbprint}")))
    }

    /// A release of policy: older ones come first.
    pub fn release(version: u64) -> Self {
        Self(written(format_args!("release/{version:020}")))
    }

    /// Which releases of policy there are.
    pub fn releases() -> Self {
        Self("releases".into())
    }

    /// What of what widens somebody's standing waits, and for how long.
    pub fn widening() -> Self {
        Self("widening".into())
    }

    /// That something that is said of a person counts by itself from then on: what is due comes first.
    pub fn waits_until(from: Timestamp, person: &PersonId) -> Self {
        Self(written(format_args!("{WAITING}{:013}/{person}", from.as_millis())))
    }

    /// The person whom a login joins: who `issuer` says that they are, by `subject`. An e-mail address joins nobody.
    pub fn login(issuer: &str, subject: &str) -> Self {
        let login = json::canonical(&serde_json::json!([issuer, subject]));
        Self(written(format_args!("login/{}", Sha256Digest::of(&login))))
    }

    /// A directory that says who its people are.
    pub fn people_source(name: &SourceName) -> Self {
        Self(written(format_args!("people-source/{name}")))
    }

    /// A directory that pushes who its people are.
    pub fn directory(name: &SourceName) -> Self {
        Self(written(format_args!("directory/{name}")))
    }

    /// By what such a directory is known.
    pub fn directory_tokens(name: &SourceName) -> Self {
        Self(written(format_args!("directory-tokens/{name}")))
    }

    /// A stream of shared signals.
    pub fn stream(name: &SourceName) -> Self {
        Self(written(format_args!("stream/{name}")))
    }

    /// By what whoever pushes to such a stream is known.
    pub fn stream_tokens(name: &SourceName) -> Self {
        Self(written(format_args!("stream-tokens/{name}")))
    }

    /// Whether such a stream tells anything, if its transmitter said so.
    pub fn stream_tells(name: &SourceName) -> Self {
        Self(written(format_args!("stream-tells/{name}")))
    }

    /// That it is recorded what the transmitter of such a stream answered to what was decided so.
    pub fn stream_answered(decision: &DecisionId) -> Self {
        Self(written(format_args!("stream-answered/{decision}")))
    }

    /// A receiver of what we tell.
    pub fn receiver(name: &SourceName) -> Self {
        Self(written(format_args!("receiver/{name}")))
    }

    /// Whose audience that is: one receiver's alone. Holds its name.
    pub fn receiver_audience(audience: &str) -> Self {
        Self(written(format_args!("receiver-audience/{}", Sha256Digest::of(audience.as_bytes()))))
    }

    /// By what such a receiver is known.
    pub fn receiver_tokens(name: &SourceName) -> Self {
        Self(written(format_args!("receiver-tokens/{name}")))
    }

    /// The tokens that such a receiver got for itself.
    pub fn receiver_granted(name: &SourceName) -> Self {
        Self(written(format_args!("receiver-granted/{name}")))
    }

    /// The stream of such a receiver.
    pub fn receiver_stream(name: &SourceName) -> Self {
        Self(written(format_args!("receiver-stream/{name}")))
    }

    /// What shows such a receiver who pushes to it, sealed.
    pub fn receiver_secret(name: &SourceName) -> Self {
        Self(written(format_args!("receiver-secret/{name}")))
    }

    /// How far such a receiver has been told.
    pub fn telling(name: &SourceName) -> Self {
        Self(written(format_args!("telling/{name}")))
    }

    /// That the token with this `jti` of such a stream was taken.
    pub fn taken(stream: &SourceName, jti: &str) -> Self {
        Self(written(format_args!("taken/{stream}/{}", Sha256Digest::of(jti.as_bytes()))))
    }

    /// The same, by until when that has to be remembered: what need not be comes first.
    pub fn taken_until(until: Timestamp, taken: &Self) -> Self {
        Self(written(format_args!("{TAKEN}{:013}/{taken}", until.as_millis())))
    }

    /// Until when who tells of the people of a directory counts as heard.
    pub fn heard(directory: &SourceName) -> Self {
        Self(written(format_args!("heard/{directory}")))
    }

    /// The newest that such a directory, or a stream for it, told of whether a person is there.
    pub fn signal_mark(directory: &SourceName, person: &PersonId) -> Self {
        Self(written(format_args!("signal-mark/{directory}/{person}")))
    }

    /// A user of such a directory, as it left them.
    pub fn scim_user(directory: &SourceName, id: &str) -> Self {
        Self(written(format_args!("scim/{directory}/user/{id}")))
    }

    /// A group of such a directory, as it left it.
    pub fn scim_group(directory: &SourceName, id: &str) -> Self {
        Self(written(format_args!("scim/{directory}/group/{id}")))
    }

    /// What such a directory left of an agent that it registered.
    pub fn scim_agent(directory: &SourceName, id: &str) -> Self {
        Self(written(format_args!("scim/{directory}/agent/{id}")))
    }

    /// Whose the value of a member is that identifies one user, or group, of such a directory.
    pub fn scim_unique(directory: &SourceName, member: &str, value: &str) -> Self {
        let value = Sha256Digest::of(value.as_bytes());
        Self(written(format_args!("scim/{directory}/{member}/{value}")))
    }

    /// By which names policy may know a group of such a directory: two while it is renamed.
    pub fn scim_names(directory: &SourceName, group: &str) -> Self {
        Self(written(format_args!("scim/{directory}/names/{group}")))
    }

    /// That a person is in a group of such a directory.
    pub fn scim_member(directory: &SourceName, group: &str, person: &PersonId) -> Self {
        Self(written(format_args!("scim/{directory}/member/{group}/{person}")))
    }

    /// An agent of the register.
    pub fn agent(name: &AgentName) -> Self {
        Self(written(format_args!("agent/{name}")))
    }

    /// When a policy set came into force, and by whose act.
    pub fn policy_activations(digest: &PolicyDigest) -> Self {
        Self(written(format_args!("{ACTIVATIONS}{digest}")))
    }

    /// Who was reminded that the lease of an agent ends.
    pub fn reminded(agent: &AgentName) -> Self {
        Self(written(format_args!("reminded/{agent}")))
    }

    /// The same, of a review of the agent that awaits an answer.
    pub fn reminded_of_review(agent: &AgentName) -> Self {
        Self(written(format_args!("reminded-review/{agent}")))
    }

    /// Who was asked to follow the sponsor of an agent, who left.
    pub fn reminded_of_leaver(agent: &AgentName) -> Self {
        Self(written(format_args!("reminded-left/{agent}")))
    }

    /// The same, who moved.
    pub fn reminded_of_move(agent: &AgentName) -> Self {
        Self(written(format_args!("reminded-moved/{agent}")))
    }

    /// A review of agents.
    pub fn review(id: ReviewId) -> Self {
        Self(written(format_args!("review/{id}")))
    }

    /// A purpose of the register.
    pub fn purpose(id: &PurposeId) -> Self {
        Self(written(format_args!("purpose/{id}")))
    }

    /// An instance.
    pub fn instance(id: InstanceId) -> Self {
        Self(written(format_args!("instance/{id}")))
    }

    /// The instance that holds a key.
    pub fn key(thumbprint: &Thumbprint) -> Self {
        Self(written(format_args!("key/{thumbprint}")))
    }

    /// Which keys sign and verify tokens, once the first one was exchanged.
    pub fn token_keys() -> Self {
        Self("token-keys".into())
    }

    /// Which keys sign events by RSA, once a receiver asked for that, likewise.
    pub fn event_keys() -> Self {
        Self("event-keys".into())
    }

    /// Whose a registered key is: holds the key of the agent's, the system's, the device's or the receiver's own fact.
    pub fn registered(thumbprint: &Thumbprint) -> Self {
        Self(written(format_args!("registered/{thumbprint}")))
    }

    /// A device that vouches for instances of an agent.
    pub fn device(agent: &AgentName, id: &Thumbprint) -> Self {
        Self(written(format_args!("device/{agent}/{id}")))
    }

    /// What the next renewal of an instance's token has to follow.
    pub fn renewal(id: InstanceId) -> Self {
        Self(written(format_args!("renewal/{id}")))
    }

    /// The instances of an agent that are stopped.
    pub fn stopped(agent: &AgentName) -> Self {
        Self(written(format_args!("stopped/{agent}")))
    }

    /// The instances of a workload that are stopped, under the name of whatever agent.
    pub fn stopped_workload(workload: &WorkloadIdentity) -> Self {
        Self(written(format_args!("stopped/workload/{}", workload.id())))
    }

    /// The agents as whose instances a workload was entered.
    pub fn agents_of(workload: &WorkloadIdentity) -> Self {
        Self(written(format_args!("workload/{}", workload.id())))
    }

    /// That something is stopped, while it is.
    pub fn stop(what: &StopTarget) -> Self {
        Self(written(format_args!("stop/{what}")))
    }

    /// A system that starts work of agents.
    pub fn system(name: &SystemName) -> Self {
        Self(written(format_args!("system/{name}")))
    }

    /// A mandate.
    pub fn mandate(id: MandateId) -> Self {
        Self(written(format_args!("mandate/{id}")))
    }

    /// The standing mandate of an agent for a purpose: holds the mandate's id.
    pub fn standing_mandate(agent: &AgentName, purpose: &PurposeId) -> Self {
        Self(written(format_args!("standing/{agent}/{purpose}")))
    }

    /// What an agent asks a person for.
    pub fn consent(id: ConsentId) -> Self {
        Self(written(format_args!("consent/{id}")))
    }

    /// What an agent, or a client that is one sent this person for, asked and nobody answered: until when each can be.
    pub fn asked(agent: &AgentName, person: Option<&PersonId>) -> Self {
        match person {
            Some(person) => Self(written(format_args!("asked/{agent}/{person}"))),
            None => Self(written(format_args!("asked/{agent}"))),
        }
    }

    /// The agent that an OAuth client is: holds its name.
    pub fn client(id: &str) -> Self {
        Self(written(format_args!("client/{}", Sha256Digest::of(id.as_bytes()))))
    }

    /// That the code was redeemed which a client got for a consent: holds the instance that began.
    pub fn redeemed(consent: ConsentId) -> Self {
        Self(written(format_args!("redeemed/{consent}")))
    }

    /// What came of one authorization code: all tokens that followed each other. It is named by the
    /// digest of what all their refresh tokens begin with.
    pub fn family(id: &Sha256Digest) -> Self {
        Self(written(format_args!("family/{id}")))
    }

    /// A mandate that a person gave by consent: holds the mandate's id.
    pub fn consented(person: &PersonId, mandate: MandateId) -> Self {
        Self(written(format_args!("consented/{person}/{mandate}")))
    }

    /// A task.
    pub fn task(id: TaskId) -> Self {
        Self(written(format_args!("task/{id}")))
    }

    /// Since when the tasks were made of which one may be open: those before have ended, and that is recorded.
    pub fn tasks_settled() -> Self {
        Self("tasks-settled".into())
    }

    /// A part of the task `parent` that was handed on: holds the part's id.
    pub fn part(parent: TaskId, part: TaskId) -> Self {
        Self(written(format_args!("part/{parent}/{part}")))
    }

    /// An elevation, whatever became of it.
    pub fn elevation(id: ElevationId) -> Self {
        Self(written(format_args!("elevation/{id}")))
    }

    /// The elevations that somebody approved in a task: holds their ids.
    pub fn elevated(task: TaskId) -> Self {
        Self(written(format_args!("elevated/{task}")))
    }

    /// What was read and used in a session.
    pub fn session(id: TaskId) -> Self {
        Self(written(format_args!("session/{id}")))
    }

    /// What a process of the host has read in all its tasks, or in those under one mandate: the labels.
    pub fn memory(process: &HostProcess, mandate: Option<MandateId>) -> Self {
        let HostProcess { uid, pid, started, .. } = process;
        let under = mandate.map(|mandate| format!("/{mandate}")).unwrap_or_default();
        Self(written(format_args!("memory/{uid}.{pid}.{started}{under}")))
    }

    /// The same of a workload, whatever else its platform says of it.
    pub fn memory_of_workload(workload: &WorkloadIdentity, mandate: Option<MandateId>) -> Self {
        let under = mandate.map(|mandate| format!("/{mandate}")).unwrap_or_default();
        Self(written(format_args!("memory/workload-{}{under}", workload.id())))
    }

    /// The same of a device, by the thumbprint of its key.
    pub fn memory_of_device(device: &Thumbprint, mandate: Option<MandateId>) -> Self {
        let under = mandate.map(|mandate| format!("/{mandate}")).unwrap_or_default();
        Self(written(format_args!("memory/device-{device}{under}")))
    }

    /// What results said in a session, as digests.
    pub fn said(id: TaskId) -> Self {
        Self(written(format_args!("said/{id}")))
    }

    /// Which time has come, however far ahead the clock is: as of then what is over is forgotten.
    pub fn time_reached() -> Self {
        Self("time-reached".into())
    }

    /// The labels of one object that a server keeps, by the argument that names it; of all that it keeps,
    /// if none does. A text names what it spells, and so does a number.
    pub fn kept(server: &ServerName, name: Option<&serde_json::Value>) -> Self {
        let Some(name) = name else { return Self(written(format_args!("kept/{server}"))) };
        let spelt = name.as_str().map_or_else(|| json::canonical(name), Vec::from);
        Self(written(format_args!("kept/{server}/{}", Sha256Digest::of(&spelt))))
    }

    /// The labels of all that a server keeps under no name of its own.
    pub fn kept_unnamed(server: &ServerName) -> Self {
        Self(written(format_args!("kept/{server}/unnamed")))
    }

    /// An upstream server.
    pub fn server(name: &ServerName) -> Self {
        Self(written(format_args!("server/{name}")))
    }

    /// The agents that have called with an account of ours at a server.
    pub fn account(credential: &Sha256Digest) -> Self {
        Self(written(format_args!("account/{credential}")))
    }

    /// A tool.
    pub fn tool(tool: &ToolRef) -> Self {
        Self(written(format_args!("tool/{tool}")))
    }

    /// Which policy set is in force.
    pub fn active_policy() -> Self {
        Self("policy/active".into())
    }

    /// Which files are in force in place of a release.
    pub fn policy_files() -> Self {
        Self("policy/files".into())
    }

    /// A policy set, by digest.
    pub fn policy(digest: &PolicyDigest) -> Self {
        Self(written(format_args!("policy/set/{digest}")))
    }

    /// The mark of an act whose outcome nobody knows.
    pub fn unknown_outcome(act: &crate::ActDigest) -> Self {
        Self(written(format_args!("unknown/{act}")))
    }

    /// The wrapped key under which a person's disclosures are sealed.
    pub fn data_key(id: &PersonId) -> Self {
        Self(written(format_args!("{DATA_KEYS}{id}")))
    }

    /// Whose key a platform's token was shown with, by when it ends: what has ended comes first.
    pub fn shown(expires: Timestamp, token: &Sha256Digest) -> Self {
        Self(written(format_args!("{SHOWN}{:013}/{token}", expires.as_millis())))
    }

    /// A caller that is no active agent.
    pub fn finding(id: &Sha256Digest) -> Self {
        Self(written(format_args!("finding/{id}")))
    }

    /// The founding of the deployment.
    pub fn deployment() -> Self {
        Self("deployment".into())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

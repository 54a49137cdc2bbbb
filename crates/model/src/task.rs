//! Purposes, mandates and tasks: why something may be done, who said so, and the work itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    AgentName, Agreed, Authentication, ConsentSession, DataCategory, DecisionId, InstanceId,
    MandateDigest, MandateId, Person, PersonId, PurposeId, Scope, SessionDigest, Sha256Digest,
    SystemName, TaskId, Timestamp, Tool,
};

/// A registered reason to act. Free text describes it and is no input to a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// Its name in the register.
    pub id: PurposeId,
    /// Who answers for the purpose.
    pub owner: PersonId,
    /// Since when they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned: Option<Timestamp>,
    /// The most that may be done for it.
    pub scope: Scope,
    /// The categories of data that it is for; any, where none is named.
    #[serde(default)]
    pub data: BTreeSet<DataCategory>,
    /// What it is, for people.
    #[serde(default)]
    pub description: String,
}

impl Purpose {
    /// Whether it is for data of all of these categories.
    pub fn is_for(&self, data: &BTreeSet<DataCategory>) -> bool {
        self.data.is_empty() || data.is_subset(&self.data)
    }

    /// Whether `narrower` is for no more.
    pub fn includes(&self, narrower: &Self) -> bool {
        let data =
            self.data.is_empty() || (!narrower.data.is_empty() && self.is_for(&narrower.data));
        data && self.scope.includes(&narrower.scope)
    }

    /// Whether its owner is one of `people`, and still answers for it.
    pub fn is_owned(&self, people: &BTreeMap<PersonId, Person>) -> bool {
        // Of what was said before it was kept when, nobody knows that it was after anything.
        let owned = self.owned.unwrap_or(Timestamp::from_millis(0));
        people.get(&self.owner).is_some_and(|person| person.answers_for(owned))
    }
}

/// Who authorised which purpose. A root task exists only on one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mandate {
    /// Its id.
    pub id: MandateId,
    /// On what it rests.
    pub basis: MandateBasis,
    /// The agent that it authorises.
    pub agent: AgentName,
    /// For what.
    pub purpose: PurposeId,
    /// The most that may be done under it.
    pub scope: Scope,
    /// When it was given.
    pub given: Timestamp,
    /// When it ends.
    pub valid_until: Timestamp,
    /// That it was withdrawn, if it was: what was given by it is no less what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Withdrawn>,
}

/// That a mandate was withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawn {
    /// Why, in a few words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// On what a mandate rests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum MandateBasis {
    /// The sponsor's word for an agent that works for nobody.
    Standing {
        /// The sponsor.
        sponsor: PersonId,
    },
    /// The signed word of a registered system, on behalf of a person.
    Initiated {
        /// The system.
        system: SystemName,
        /// The digest of what it signed.
        request: Sha256Digest,
        /// The person.
        subject: PersonId,
    },
    /// A person's own word, on their own behalf.
    Consented {
        /// The person.
        subject: PersonId,
        /// The digest of what they were shown.
        request: Sha256Digest,
        /// Whether it is for one task only.
        once: bool,
        /// What they were shown beside the scope; nothing, in what was given before it was kept.
        #[serde(default)]
        agreed: Agreed,
        /// The login session in which they gave it, if they logged in for that and it was kept: what is done under it
        /// ends with that one. Where their provider does not name it, with any of theirs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<ConsentSession>,
    },
}

impl MandateBasis {
    /// On whose behalf a task under such a mandate is done.
    pub fn subject(&self) -> TaskSubject {
        match self {
            Self::Standing { .. } => TaskSubject::Autonomous,
            Self::Initiated { subject, .. } | Self::Consented { subject, .. } => {
                TaskSubject::OnBehalfOf { person: subject.clone() }
            }
        }
    }

    /// The login session in which a person gave it, if that is known.
    pub fn session(&self) -> Option<SessionDigest> {
        match self {
            Self::Consented { session, .. } => session.as_ref().and_then(|session| session.id),
            Self::Standing { .. } | Self::Initiated { .. } => None,
        }
    }

    /// How the person authenticated who gave it, as far as that is known.
    pub fn authentication(&self) -> Option<&Authentication> {
        match self {
            Self::Consented { session, .. } => session.as_ref()?.authentication.as_deref(),
            Self::Standing { .. } | Self::Initiated { .. } => None,
        }
    }
}

impl Task {
    /// The task that it is a part of; none, if it is a root task.
    pub fn parent(&self) -> Option<TaskId> {
        self.delegation.map(|delegation| delegation.parent)
    }

    /// As it is at `now`: once its deadline has come it has ended by that, whether or not that is written down yet.
    #[must_use]
    pub fn as_of(self, now: Timestamp) -> Self {
        if self.state != TaskState::Open || now < self.deadline {
            return self;
        }
        let (how, reason) = (TaskEnd::Expired, "its deadline passed".to_owned());
        Self { state: TaskState::Ended { how, reason, since: self.deadline }, ..self }
    }
}

impl Mandate {
    /// The digest of what was given: it stands in the task, in every token below it and in every
    /// record.
    pub fn digest(&self) -> MandateDigest {
        if self.withdrawn.is_some() {
            return Self { withdrawn: None, ..self.clone() }.digest();
        }
        MandateDigest::of(&json::canonical_of(self))
    }

    /// When that was begun by which it was given: a person's login session, which may have been over already when they
    /// gave it. Where none is known, when it was given.
    pub fn begun(&self) -> Timestamp {
        if let MandateBasis::Consented { session: Some(session), .. } = &self.basis {
            session.since.min(self.given)
        } else {
            self.given
        }
    }

    /// Whether a call of `tool`, as that is now, is of what a person was shown who consented, if it rests
    /// on that.
    pub fn agrees_to(&self, tool: &Tool) -> bool {
        match &self.basis {
            MandateBasis::Consented { agreed, .. } => agreed.covers(tool, &self.scope),
            MandateBasis::Standing { .. } | MandateBasis::Initiated { .. } => true,
        }
    }

    /// Whether data of these categories is what a person was shown who consented, if it rests on that.
    pub fn is_for(&self, data: &BTreeSet<DataCategory>) -> bool {
        self.data().is_none_or(|shown| data.is_subset(shown))
    }

    /// The categories of data that a person was shown who consented; any, where it does not rest on that, or none was
    /// named.
    pub fn data(&self) -> Option<&BTreeSet<DataCategory>> {
        match &self.basis {
            MandateBasis::Consented { agreed, .. } => {
                Some(&agreed.data).filter(|shown| !shown.is_empty())
            }
            MandateBasis::Standing { .. } | MandateBasis::Initiated { .. } => None,
        }
    }
}

/// On whose behalf a task is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum TaskSubject {
    /// On behalf of a person.
    OnBehalfOf {
        /// The person.
        person: PersonId,
    },
    /// On nobody's: the sponsor is a separate fact and never a subject by default.
    Autonomous,
}

/// How often the work of a root task can be handed on, from instance to instance.
pub const DELEGATIONS_MAX: usize = 8;

/// A unit of work under a mandate, held by exactly one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its id; a root task's also names the session.
    pub id: TaskId,
    /// The instance that works on it.
    pub instance: InstanceId,
    /// By what it was handed on; nothing, for a root task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegation: Option<Delegation>,
    /// The mandate under which it was opened.
    pub mandate: MandateId,
    /// That mandate's digest.
    pub mandate_digest: MandateDigest,
    /// What for.
    pub purpose: PurposeId,
    /// On whose behalf.
    pub subject: TaskSubject,
    /// The most that may be done in it.
    pub scope: Scope,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it ends by itself.
    pub deadline: Timestamp,
    /// Where it stands in its life.
    pub state: TaskState,
}

/// What is opened by the first token that an instance is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opens {
    /// A root task.
    Task,
    /// A part of another one, which was handed on.
    Part,
}

impl Opens {
    /// All that there are.
    pub const ALL: [Self; 2] = [Self::Task, Self::Part];
}

impl From<&Task> for Opens {
    fn from(task: &Task) -> Self {
        if task.delegation.is_some() { Self::Part } else { Self::Task }
    }
}

/// What made a task a part of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// The task that it is a part of.
    pub parent: TaskId,
    /// The instance that handed it on: it ends when another takes that task over.
    pub by: InstanceId,
    /// The decision that permitted it to.
    pub decision: DecisionId,
}

/// The life of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum TaskState {
    /// Being worked on.
    Open,
    /// Over: everything issued for it is dead, and so is what was handed on of it.
    Ended {
        /// How.
        how: TaskEnd,
        /// Why, in a few words.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
}

impl TaskState {
    /// Whether its holder said that it is over: nobody took it away, and it did not run out.
    pub const fn is_given_up(&self) -> bool {
        match self {
            Self::Open | Self::Ended { how: TaskEnd::Expired | TaskEnd::Revoked, .. } => false,
            Self::Ended {
                how: TaskEnd::Completed | TaskEnd::Failed | TaskEnd::Changed, ..
            } => true,
        }
    }
}

/// How a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskEnd {
    /// Its holder says that it is done.
    Completed,
    /// Its holder says that it did not succeed.
    Failed,
    /// Its holder says that what was asked for has changed.
    Changed,
    /// Its deadline passed.
    Expired,
    /// Somebody took it away.
    Revoked,
}

impl TaskEnd {
    /// The value as records spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Changed => "changed",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

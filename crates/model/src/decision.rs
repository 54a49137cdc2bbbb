//! What the decision point answers.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Amount, BudgetName, ElevationId, Spend};

/// The `@id` of a policy, unique in its set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyId(Arc<str>);

impl PolicyId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for PolicyId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an enforcement point must do with a permit, or it must not proceed (`KIND:ARGUMENT`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Obligation(pub String);

/// What would lift a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// A person's approval of exactly this act.
    Approval,
    /// A fresh, stronger login of the subject.
    StepUp,
}

/// A rule that is compiled in and that no policy set can remove, observe or except.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelRule {
    /// The instance, its agent or its key is not active.
    ActorNotActive,
    /// The device that vouched for the instance does so no longer: it was revoked or enrolled anew, its
    /// time is over, or the person who enrolled it has left.
    DeviceNotActive,
    /// Nothing but a key of its agent vouched for the instance, and that was in other hands, as the sponsor
    /// said since.
    AgentKeyCompromised,
    /// The instance is quarantined, or one of its agent is and nobody has released it.
    InstanceQuarantined,
    /// The token is bound to no key, and the agent is not one that may use such tokens.
    BearerNotAdmitted,
    /// The sponsor is not active, or what the agent was given predates the cutoff.
    SponsorNotActive,
    /// The sponsor's unit, manager or roles changed, or they left an eligible group, since they took responsibility: they affirm it anew.
    SponsorMoved,
    /// The lease of the agent, or of one that handed the work on, has ended: its sponsor did not say in
    /// time that it is to go on.
    LeaseEnded,
    /// Nobody said by the date of a review that the agent, or one that handed the work on, is to keep what
    /// it has.
    ReviewLapsed,
    /// Another sponsor took the agent over since the task was begun, or its own reinstated it.
    TakenOver,
    /// The task is over, or its deadline has passed.
    TaskNotOpen,
    /// The mandate has expired or is not the task's.
    MandateNotValid,
    /// Somebody above in the delegation chain is not active, or no longer has the task that was
    /// handed on.
    DelegatorNotActive,
    /// The delegation chain is not one: a link, or the person whom it is for, is missing, from elsewhere or in the
    /// wrong place.
    DelegationCollapse,
    /// The work was handed on as often as it may be.
    DelegationTooDeep,
    /// An agent is in the delegation chain already.
    DelegationCycle,
    /// The tool is not for work that was handed on.
    NotDelegable,
    /// The tool is for work on behalf of a person only.
    NoOriginator,
    /// An administrator has stopped everything, the tool, or an agent of the delegation chain.
    Stopped,
    /// An agent never administers, approves, consents, sponsors or renews its own lease.
    AgentsDoNotAdminister,
    /// A consequential tool needs owner, harm class and an active sponsor behind the call.
    ToolUnaccounted,
    /// What can do more than read needs, beside the sponsor, somebody who wants the agent, somebody who
    /// keeps it running, somebody who set what it may be given, and an owner of its purpose; and so does
    /// each agent that handed the work on.
    OwnersNotActive,
    /// The tool is not what was pinned.
    ToolNotPinned,
    /// An author is not the approver.
    AuthorIsNotApprover,
    /// The administrator is not an active person.
    AdministratorNotActive,
    /// The directory was suspended.
    DirectoryNotActive,
    /// Nobody takes over what they let go of themselves.
    SponsorIsNotSuccessor,
    /// Nobody but its sponsor says that an agent is to go on, or to begin anew.
    SponsorRenews,
    /// Nobody but its technical owner says that an agent forgets.
    TechnicalOwnerAnswers,
}

impl KernelRule {
    /// The rule as records spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ActorNotActive => "actor_not_active",
            Self::DeviceNotActive => "device_not_active",
            Self::AgentKeyCompromised => "agent_key_compromised",
            Self::InstanceQuarantined => "instance_quarantined",
            Self::BearerNotAdmitted => "bearer_not_admitted",
            Self::SponsorNotActive => "sponsor_not_active",
            Self::SponsorMoved => "sponsor_moved",
            Self::LeaseEnded => "lease_ended",
            Self::ReviewLapsed => "review_lapsed",
            Self::TakenOver => "taken_over",
            Self::TaskNotOpen => "task_not_open",
            Self::MandateNotValid => "mandate_not_valid",
            Self::DelegatorNotActive => "delegator_not_active",
            Self::DelegationCollapse => "delegation_collapse",
            Self::DelegationTooDeep => "delegation_too_deep",
            Self::DelegationCycle => "delegation_cycle",
            Self::NotDelegable => "not_delegable",
            Self::NoOriginator => "no_originator",
            Self::Stopped => "stopped",
            Self::AgentsDoNotAdminister => "agents_do_not_administer",
            Self::ToolUnaccounted => "tool_unaccounted",
            Self::OwnersNotActive => "owners_not_active",
            Self::ToolNotPinned => "tool_not_pinned",
            Self::AuthorIsNotApprover => "author_is_not_approver",
            Self::AdministratorNotActive => "administrator_not_active",
            Self::DirectoryNotActive => "directory_not_active",
            Self::SponsorIsNotSuccessor => "sponsor_is_not_successor",
            Self::SponsorRenews => "sponsor_renews",
            Self::TechnicalOwnerAnswers => "technical_owner_answers",
        }
    }

    /// What is the matter, and who can do something about it, for a person who asks why.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::ActorNotActive => {
                "the instance has ended, or its agent or that one's key is not active"
            }
            Self::DeviceNotActive => {
                "the device that vouched for it does so no longer: who uses it enrols it again"
            }
            Self::AgentKeyCompromised => {
                "the key that vouched for it was in other hands, as its sponsor said since: it is begun anew"
            }
            Self::InstanceQuarantined => "it is quarantined until an administrator releases it",
            Self::BearerNotAdmitted => {
                "its token is bound to no key, and its agent is not one that may use such tokens, or is another client since"
            }
            Self::SponsorNotActive => {
                "its sponsor is gone, or it was given from before they answered for it: another one takes it over"
            }
            Self::SponsorMoved => {
                "its sponsor's unit, manager, roles or eligible groups changed: they affirm that they still answer for it"
            }
            Self::LeaseEnded => "its lease has ended: its sponsor renews it",
            Self::ReviewLapsed => {
                "nobody certified it by the date of a review: its sponsor reinstates it"
            }
            Self::TakenOver => {
                "it was begun before somebody else took the agent over: it is begun anew"
            }
            Self::TaskNotOpen => "its task is over, or the deadline of that: another one is opened",
            Self::MandateNotValid => {
                "what authorised the task counts no longer: who gave it, or consented, does so again"
            }
            Self::DelegatorNotActive => {
                "an instance that handed the work on is not active, or has that work no longer"
            }
            Self::DelegationCollapse => {
                "the work was not handed on as its tasks say: it is begun anew"
            }
            Self::DelegationTooDeep => "it was handed on as often as work may be",
            Self::DelegationCycle => "an agent that has a part in the work would get it again",
            Self::NotDelegable => {
                "the tool is not for work that was handed on: who has the task calls it"
            }
            Self::NoOriginator => {
                "the tool is for work on behalf of a person, and this is for nobody"
            }
            Self::Stopped => "an administrator stopped it, until they start it again",
            Self::AgentsDoNotAdminister => {
                "agents administer, approve and consent to nothing: a person does"
            }
            Self::ToolUnaccounted => {
                "the tool needs an owner, what harm it can do, and an active sponsor behind the call"
            }
            Self::OwnersNotActive => {
                "it can do more than read, and an owner of its agent, or of what it is for, is gone: others are named"
            }
            Self::ToolNotPinned => {
                "the tool is not what was looked at: an administrator looks at it and pins it again"
            }
            Self::AuthorIsNotApprover => "who wrote it approves it: another person does",
            Self::AdministratorNotActive => "who asks is no active person",
            Self::DirectoryNotActive => "the directory is suspended",
            Self::SponsorIsNotSuccessor => "who let it go would take it over: another person does",
            Self::SponsorRenews => "only its sponsor says that it goes on, or begins anew",
            Self::TechnicalOwnerAnswers => "only its technical owner says that it forgets",
        }
    }
}

/// One member of the conjunction that a permit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It permits.
    Permit,
    /// It does not.
    Deny,
}

/// What each member of the conjunction answered; members that do not apply are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// The agent's ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Answer>,
    /// The policy set with the instance (or the administrator) as principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Answer>,
    /// The kernel rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Answer>,
    /// The mandate and the purpose behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandate: Option<Answer>,
    /// The policy set with the person as principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Answer>,
    /// The scope of the task and of every ancestor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Answer>,
}

/// What the decision point answers to one access request.
///
/// There is no third answer. "Ask a human" is a denial that names its [`Remedy`], so an
/// enforcement point that ignores remedies is still safe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a decision that nobody enforces is a bypass"]
pub enum Decision {
    /// It may happen.
    Permit(Grant),
    /// It may not.
    Deny(Denial),
}

/// Why access was permitted, and what the enforcement point owes in return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The policies that permitted the request; none, if a built-in rule did.
    pub basis: BTreeSet<PolicyId>,
    /// All obligations of all policies in `basis`.
    pub obligations: BTreeSet<Obligation>,
    /// What each member of the conjunction answered.
    pub answers: Answers,
    /// The elevation on which it rests, if it is beyond the task.
    pub elevation: Option<ElevationId>,
    /// Policies under observation that would have changed the answer, or that could not be
    /// evaluated.
    pub observed: BTreeSet<PolicyId>,
    /// What it uses up of budgets: there is no permit if one has less left.
    pub spends: Vec<Spend>,
    /// Whether it uses up the token that was shown: there is no permit if that is used up already.
    pub uses_token: bool,
}

impl Grant {
    /// The first of what it uses of which there is not as much left, once as much is used up as `used` says.
    pub fn over(&self, used: impl Fn(&Spend) -> Amount) -> Option<&Spend> {
        self.spends.iter().find(|spend| !spend.fits(used(spend)))
    }
}

/// Why access was denied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// A rule that is compiled in.
    #[error("denied by the built-in rule `{}`", .0.as_str())]
    Kernel(KernelRule),
    /// Outside the agent's ceiling.
    #[error("outside what the agent may ever be given")]
    OutsideCeiling,
    /// Outside the scope of the task.
    #[error("outside the scope of the task")]
    OutsideScope,
    /// Outside the mandate or its purpose.
    #[error("outside the mandate and its purpose")]
    OutsideMandate,
    /// On a data object, or data of a category, that the work is not for.
    #[error("on data outside the purpose of the task")]
    OutsidePurpose,
    /// It does not say on which data object, and the work is for some only.
    #[error("the purpose of the task is for certain data objects, and the act names none")]
    ObjectUnknown,
    /// No policy permits it.
    #[error("no policy grants this access")]
    NotGranted {
        /// What each member of the conjunction answered.
        answers: Answers,
    },
    /// A policy forbids it.
    #[error("forbidden by policy {}", list(.by))]
    Forbidden {
        /// The policies that forbid it.
        by: BTreeSet<PolicyId>,
        /// What would lift every forbid in `by`; empty if one cannot be lifted.
        remedies: BTreeSet<Remedy>,
        /// What each member of the conjunction answered.
        answers: Answers,
    },
    /// A policy that had a say could not be evaluated.
    #[error("could not evaluate policy {}", list(.policies))]
    Unevaluable {
        /// The policies that failed.
        policies: BTreeSet<PolicyId>,
    },
    /// A policy would read an argument that has no exact value in the policy language.
    #[error("policy reads an argument that has no exact value: {}", .pointers.iter().cloned().collect::<Vec<_>>().join(", "))]
    Unread {
        /// JSON pointers of those arguments.
        pointers: BTreeSet<String>,
    },
    /// A policy looks at what was called in the session, and nobody remembers all of that.
    #[error(
        "policy looks at what was called in this task, and all of that is remembered only of tasks that began later"
    )]
    Unremembered,
    /// The request does not fit the schema of the policy set in force.
    #[error("the request does not fit the policy schema")]
    Malformed,
    /// More policies than one decision may look at.
    #[error("too many candidate policies")]
    TooManyCandidates,
    /// A limit is reached, of the task and all its branches or of the day.
    #[error("the limit `{counter}` is reached")]
    LimitReached {
        /// The counter that would pass its limit.
        counter: String,
    },
    /// A budget has less left than the act uses.
    #[error("the budget `{budget}` has less left than this uses")]
    BudgetExceeded {
        /// The budget.
        budget: BudgetName,
    },
    /// What the act uses of a budget is not there, or is no amount as the budget counts them.
    #[error("what this uses of the budget `{budget}` cannot be read")]
    BudgetUnread {
        /// The budget.
        budget: BudgetName,
    },
    /// The token that was shown is good for one such act, and was used for one.
    #[error("the token has been used for such a call: each needs a new one")]
    TokenUsed,
    /// The token that was shown was issued too long ago for such an act; or it is not known when.
    #[error("the token is older than {within_s} s: such a call needs a newer one")]
    TokenTooOld {
        /// How old it may be, in seconds.
        within_s: u32,
    },
    /// An equal act was begun before and nobody knows whether it happened.
    #[error("an equal act has an unknown outcome")]
    OutcomeUnknown,
    /// The release of policy in force has expired, and its grace is over.
    #[error("the release of policy in force has expired")]
    PolicyExpired,
}

impl Denial {
    /// Those that follow from state which the commit checks, or from how long the set counts, not from what it says, as
    /// records spell them.
    pub const NOT_BY_POLICY: [&'static str; 5] =
        ["budget_exceeded", "limit_reached", "outcome_unknown", "policy_expired", "token_used"];

    /// Whether it follows from what a policy set says.
    pub fn is_by_policy(&self) -> bool {
        !Self::NOT_BY_POLICY.contains(&self.code())
    }

    /// The denial's kind as records spell it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Kernel(rule) => rule.as_str(),
            Self::OutsideCeiling => "outside_ceiling",
            Self::OutsideScope => "outside_scope",
            Self::OutsideMandate => "outside_mandate",
            Self::OutsidePurpose => "outside_purpose",
            Self::ObjectUnknown => "object_unknown",
            Self::NotGranted { .. } => "not_granted",
            Self::Forbidden { .. } => "forbidden",
            Self::Unevaluable { .. } => "unevaluable",
            Self::Unread { .. } => "unread",
            Self::Unremembered => "unremembered",
            Self::Malformed => "malformed",
            Self::TooManyCandidates => "too_many_candidates",
            Self::LimitReached { .. } => "limit_reached",
            Self::BudgetExceeded { .. } => "budget_exceeded",
            Self::BudgetUnread { .. } => "budget_unread",
            Self::TokenUsed => "token_used",
            Self::TokenTooOld { .. } => "token_too_old",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::PolicyExpired => "policy_expired",
        }
    }

    /// The policies that determined the denial.
    pub fn policies(&self) -> BTreeSet<PolicyId> {
        match self {
            Self::Forbidden { by, .. } => by.clone(),
            Self::Unevaluable { policies } => policies.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// The budget that determined the denial.
    pub const fn budget(&self) -> Option<&BudgetName> {
        match self {
            Self::BudgetExceeded { budget } | Self::BudgetUnread { budget } => Some(budget),
            _ => None,
        }
    }

    /// Whether it is of the token alone: with a new one it may be permitted.
    pub const fn is_of_token(&self) -> bool {
        matches!(self, Self::TokenUsed | Self::TokenTooOld { .. })
    }

    /// What would lift the denial.
    pub fn remedies(&self) -> BTreeSet<Remedy> {
        match self {
            Self::Forbidden { remedies, .. } => remedies.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// What each member of the conjunction answered, where the set was asked at all.
    pub fn answers(&self) -> Answers {
        let denied = Some(Answer::Deny);
        match self {
            Self::Kernel(_) => Answers { kernel: denied, ..Answers::default() },
            Self::OutsideCeiling => Answers { ceiling: denied, ..Answers::default() },
            Self::OutsideScope => Answers { scope: denied, ..Answers::default() },
            Self::OutsideMandate | Self::OutsidePurpose | Self::ObjectUnknown => {
                Answers { mandate: denied, ..Answers::default() }
            }
            Self::NotGranted { answers } | Self::Forbidden { answers, .. } => *answers,
            _ => Answers { instance: denied, ..Answers::default() },
        }
    }
}

fn list(policies: &BTreeSet<PolicyId>) -> String {
    policies.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}

//! What came of proofs: a verdict for each claim, and what all of them assume.

use std::collections::{BTreeMap, BTreeSet};

use model::{DataCategory, Harm, Label, PolicyDigest, PolicyId, Sha256Digest, ToolRef};
use pdp::{Environment, Posed};
use serde::Serialize;
use serde_json::Value;

use crate::claims::Claim;

/// What came of all claims about one set.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Each claim, with what came of it.
    pub shown: Vec<Shown>,
    /// What the verdicts rest on.
    pub assumptions: Assumptions,
}

/// One claim, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// What was claimed.
    #[serde(flatten)]
    pub claim: Claim,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// In how many environments it was looked at.
    pub environments: usize,
    /// In how many of these nothing is known.
    pub unknown: usize,
    /// Of a claim over chains, over which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chains: Option<Chains>,
}

/// Over which chains a claim was looked at: all those along which the policies let work be handed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chains {
    /// The agents that the work can come to, of those that policies name, as Cedar writes them.
    pub agents: BTreeSet<String>,
    /// Whether it can come to agents that no policy names.
    pub others: bool,
    /// In how many steps all these are reached.
    pub steps: usize,
    /// Whether a further step reaches nobody else: then it is so however often work is handed on. Else `steps` is how often
    /// it can be.
    pub is_closed: bool,
}

/// What came of one claim.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It holds in every environment.
    Proved,
    /// It holds whatever the set says: the built-in rules let nothing come to it that it is about.
    Guaranteed,
    /// It does not: this was decided ([`pdp::Snapshot::decide`]), and is as the claim says it never is.
    Counterexample(Box<Counterexample>),
    /// The policies alone answer this as the claim says they never do, but no decision confirms it.
    Unconfirmed {
        /// What they answer so.
        example: Box<Counterexample>,
        /// Why it is not confirmed: a built-in rule denies it, it cannot be said as facts, or it is answered otherwise on
        /// those that say it.
        why: String,
    },
    /// Nobody knows.
    NotProved {
        /// Where, and why.
        because: Vec<Unshown>,
    },
}

/// Where nothing is known, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Unshown {
    /// Where, if it is not everywhere.
    #[serde(flatten)]
    pub environment: Option<Environment>,
    /// The policy, if it is one.
    pub policy: Option<PolicyId>,
    /// Why.
    pub why: Why,
}

/// A question that is answered as it must not be.
#[derive(Clone, Debug, Serialize)]
pub struct Counterexample {
    /// The policies that make it so; none where it is that none permits.
    pub by: BTreeSet<PolicyId>,
    /// Whether the set permits it.
    pub is_permitted: bool,
    /// The case that was decided so, which expects another answer; none, if no decision confirms it.
    pub case: Option<Value>,
    /// The question, as the solver found it.
    pub posed: Posed,
    /// The steps before it, by which work is handed on to who asks it; most have none. Where there are some, the cases of all
    /// steps expect what is answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub handed_on: Vec<Step>,
}

/// A step of a chain, by which work is handed on.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// The policies that permit it.
    pub by: BTreeSet<PolicyId>,
    /// The case that was decided so; none, if no decisions confirm the chain.
    pub case: Option<Value>,
    /// The question, as the solver found it.
    pub posed: Posed,
}

/// Why nothing is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", content = "said", rename_all = "snake_case")]
pub enum Why {
    /// The deadline passed.
    #[error("the solver found no answer in time")]
    TooLong,
    /// The solver failed.
    #[error("the solver failed: {0}")]
    Solver(String),
    /// It cannot be said to a solver.
    #[error("it cannot be compiled for the solver: {0}")]
    Unsupported(String),
    /// The policies do not answer what the solver found as it says.
    #[error("the solver found an example that the policies do not answer so: {0}")]
    Unconfirmed(String),
    /// Where an argument has no exact value, the other set denies, because this policy of it looks at that.
    #[error(
        "where the argument `{0}` has no exact value the other set denies, as its policy `{1}` looks at it"
    )]
    Unread(String, PolicyId),
    /// A policy on which the answer rests may fail, and then denies.
    #[error("it rests on policy `{0}`, which may not be evaluable")]
    MayFail(PolicyId),
    /// A property is about no act that could be asked for: it would hold of any set.
    #[error(
        "it matches no act that could be asked for: look for a name or a value that is not there"
    )]
    MatchesNothing,
    /// The other set is asked of other things.
    #[error("the {0} of both sets differ, so the same act is not the same question to both")]
    Differs(String),
}

/// What verdicts rest on.
#[derive(Clone, Debug, Serialize)]
pub struct Assumptions {
    /// The set.
    pub set: PolicyDigest,
    /// Its content: the set without tools.
    pub content: PolicyDigest,
    /// The set that it was held against.
    pub against: Option<PolicyDigest>,
    /// The content of that.
    pub against_content: Option<PolicyDigest>,
    /// The files of the set that are others than those, and surely hold back as much.
    pub tighter: BTreeSet<&'static str>,
    /// How often work can be handed on: for how many steps a claim of whoever acts holds.
    pub steps: usize,
    /// The agents that policies and properties name, as Cedar writes them: an instance is of one at most.
    pub agents: BTreeSet<String>,
    /// The schema: methods, and the arguments of the tools.
    pub schema: Sha256Digest,
    /// What each tool can do.
    pub tools: BTreeMap<ToolRef, BTreeSet<Harm>>,
    /// What else is said of each.
    pub mappings: BTreeMap<ToolRef, Mapping>,
    /// What the built-in rules and the facts guarantee, as Cedar says it, but for what is said of each tool.
    pub guaranteed: BTreeSet<String>,
    /// How many environments there are: who, asking for what, of what.
    pub environments: usize,
    /// The solver.
    pub solver: String,
    /// How many questions it was asked; what terms alone showed needed none.
    pub queries: u64,
}

/// What is said of a tool beside what it can do: what policies are told of its calls rests on that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mapping {
    /// The arguments that name the data objects that it is used on; nothing, if nobody said so.
    pub objects: Option<BTreeSet<String>>,
    /// The categories of data that it touches.
    pub data: BTreeSet<DataCategory>,
    /// Whether it sends out what it is given.
    pub sink: bool,
    /// The labels that its results can carry.
    pub carries: BTreeSet<Label>,
}

impl Report {
    /// Whether some claim does not hold.
    pub fn is_refuted(&self) -> bool {
        self.shown.iter().any(|it| matches!(it.verdict, Verdict::Counterexample(_)))
    }

    /// Whether all claims hold.
    pub fn is_proved(&self) -> bool {
        self.shown.iter().all(|it| matches!(it.verdict, Verdict::Proved | Verdict::Guaranteed))
    }
}

//! A policy set, compiled: what decisions are made against.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use cedar_policy::{Effect, EntityUid, Expression, PolicySet, Schema};
use jsonschema::Validator;
use model::{Obligation, PolicyDigest, PolicyId, Remedy, ServerName, ToolRef};
use serde_json::Value;

use crate::Bundle;
use crate::arguments::{self, InvalidArguments};
use crate::budgets::Budgets;
use crate::candidates::{Index, Placed, ScopeOf};
use crate::entities::{server_uid, tool_uid};
use crate::labels::Labels;
use crate::reads::InputReads;
use crate::remembered::Remembered;
use crate::report::Finding;
use crate::schema::{SERVER_REQUEST, Vocabulary, action_uid};
use crate::strictness::Strictness;

/// The policy set that a new deployment starts with.
pub const STARTER_POLICY: &str = include_str!("../../../policies/starter.cedar");

/// What is said of a set in which nothing is.
pub(crate) const NO_POLICY: &str =
    "there is no policy in the set: write one (`*.cedar`), or begin with `chancery policy new`";

/// A policy set, compiled and validated, with the digest that names it in every record.
pub struct Snapshot {
    pub(crate) bundle: Bundle,
    pub(crate) digest: PolicyDigest,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) policies: Vec<Arc<Compiled>>,
    pub(crate) index: Index,
    pub(crate) tools: BTreeMap<ToolRef, CompiledTool>,
    /// The actions, tools and servers that the scope of some permit names.
    pub(crate) named: HashSet<EntityUid>,
    pub(crate) warnings: Vec<Finding>,
    pub(crate) gap: Option<Finding>,
    pub(crate) labels: Labels,
    pub(crate) budgets: Budgets,
    pub(crate) strictness: Strictness,
    pub(crate) remembered: Remembered,
}

/// One policy, ready to be asked by itself.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is found by itself")]
pub(crate) struct Compiled {
    pub(crate) id: PolicyId,
    pub(crate) effect: Effect,
    pub(crate) scope: ScopeOf,
    pub(crate) description: Option<String>,
    /// Whether its scope alone says when it applies: no condition does, or only one that is always met.
    pub(crate) is_unconditional: bool,
    /// The policy alone.
    pub(crate) alone: PolicySet,
    /// All that it says beside its scope, as one expression; none, if it says nothing there. Cedar evaluates each policy
    /// by itself, and so do we: but of a scope that is known to match Cedar would make sets and look into the hierarchy
    /// again each time.
    pub(crate) beside_scope: Option<Expression>,
    pub(crate) observe: bool,
    pub(crate) obligations: BTreeSet<Obligation>,
    pub(crate) remedy: Option<Remedy>,
    /// The arguments that it can look at.
    pub(crate) reads: InputReads,
    /// The texts that it compares arguments with, by their JSON pointers.
    pub(crate) compared: BTreeMap<String, BTreeSet<String>>,
    /// The attributes that it names anywhere.
    pub(crate) attributes: BTreeSet<String>,
    /// Whether it asks beside its scope what lies within what.
    pub(crate) asks_within: bool,
    /// The actions that it names anywhere.
    pub(crate) actions: BTreeSet<String>,
    /// Whether it looks at where arguments come from.
    pub(crate) looks_at_provenance: bool,
    /// By which members of the context more is permitted the more was read.
    pub(crate) lifting: BTreeSet<&'static str>,
}

/// What is known of a tool besides its action.
pub(crate) struct CompiledTool {
    pub(crate) arguments: Arc<Validator>,
    /// The schema in which its arguments are unknown, made when first asked for.
    pub(crate) unknown_input: OnceLock<Option<Schema>>,
}

impl Snapshot {
    /// The snapshot without any policy: it denies everything.
    pub fn empty() -> Self {
        let bundle = Bundle::default();
        Self {
            digest: bundle.digest(),
            bundle,
            vocabulary: Vocabulary::base(),
            policies: Vec::new(),
            index: Index::default(),
            tools: BTreeMap::new(),
            named: HashSet::new(),
            warnings: Vec::new(),
            gap: Some(Finding::general(NO_POLICY)),
            labels: Labels::default(),
            budgets: Budgets::default(),
            strictness: Strictness::default(),
            remembered: Remembered::default(),
        }
    }

    /// The digest of the bundle that it was compiled from.
    pub const fn digest(&self) -> PolicyDigest {
        self.digest
    }

    /// The bundle that it was compiled from.
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// What results carry and where data goes.
    pub const fn labels(&self) -> &Labels {
        &self.labels
    }

    /// How much may be used up, and by whom.
    pub const fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// How strict it is beyond what it permits.
    pub const fn strictness(&self) -> &Strictness {
        &self.strictness
    }

    /// What of a session has to be remembered for its policies.
    pub const fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    /// What is doubtful in it, though it could be compiled.
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// A file of the set that holds no policy, or the set if it holds none: it denies, and is what is
    /// left of a file that was cut off.
    pub const fn gap(&self) -> Option<&Finding> {
        self.gap.as_ref()
    }

    /// The ids of the policies, in the order of the files.
    pub fn ids_of_all(&self) -> impl Iterator<Item = &PolicyId> {
        self.policies.iter().map(|policy| &policy.id)
    }

    /// The policies whose forbid something would lift, with what.
    pub fn remedies(&self) -> impl Iterator<Item = (&PolicyId, Remedy)> {
        let in_force = self.policies.iter().filter(|policy| !policy.observe);
        in_force.filter_map(|policy| Some((&policy.id, policy.remedy?)))
    }

    /// Whether some permit in force names the tool in its scope, directly or by its server.
    ///
    /// A tool that no policy names is not callable, whatever a broader policy permits.
    pub fn names_tool(&self, tool: &ToolRef) -> bool {
        names_of(tool).iter().any(|uid| self.named.contains(uid))
    }

    /// Whether some permit in force could match what `server` asks of its clients.
    pub fn lets_ask(&self, server: &ServerName) -> bool {
        let Some(action) = self.vocabulary.actions.get(SERVER_REQUEST) else { return false };
        let resource = Placed { uid: server_uid(server.as_str()), ancestors: Vec::new() };
        let mut whoever = self.index.whoever(&action.placed, &resource);
        whoever.any(|position| {
            let policy = &self.policies[position];
            policy.effect == Effect::Permit && !policy.observe
        })
    }

    /// Validates the arguments of a call against the tool's input schema in the bundle.
    ///
    /// A tool that is not in the bundle, or whose schema cannot be used, takes no arguments at all.
    pub fn validate_arguments(
        &self,
        tool: &ToolRef,
        arguments: &Value,
    ) -> Result<(), InvalidArguments> {
        match self.tools.get(tool) {
            Some(compiled) => arguments::validate(&compiled.arguments, arguments),
            None => Err(InvalidArguments {
                pointer: String::new(),
                message: "the tool has no usable input schema".to_owned(),
            }),
        }
    }
}

/// By what a scope names a tool.
pub(crate) fn names_of(tool: &ToolRef) -> [EntityUid; 3] {
    [action_uid(&tool.to_string()), tool_uid(tool), server_uid(tool.server.as_str())]
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({}, {} policies)", self.digest, self.policies.len())
    }
}

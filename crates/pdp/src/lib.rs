//! The policy decision point: compiles Cedar policy sets into snapshots, and decides.
//!
//! [`Snapshot::decide`] is pure and total: the same request and facts give the same decision on
//! every machine, today or when an auditor replays the record. It knows no clock, no network, no
//! storage; whatever can fail or vary has already happened when it is asked.
//!
//! A permit is a conjunction: built-in rules, mandate and purpose, the agent's ceiling, the task's
//! scope, and the policy set, once for the person on whose behalf the act is done and once for the
//! instance. Absence denies, and so does any error. The words that policies use are
//! `policies/chancery.cedarschema` and `docs/policy-schema.md`.

pub mod agentcore;
mod annotations;
mod arguments;
mod beside;
mod budgets;
mod bundle;
mod candidates;
mod compile;
mod context;
mod decide;
mod declared;
mod differing;
mod ends;
mod entities;
mod evaluate;
mod explain;
mod extent;
mod format;
mod formats;
mod kept;
mod kernel;
mod labels;
mod lifting;
mod limits;
mod lint;
mod mandates;
mod nesting;
mod observed;
mod parts;
mod possible;
mod properties;
mod provable;
mod reads;
mod remembered;
mod report;
mod schema;
mod shape;
mod snapshot;
mod split;
pub mod stands;
mod strictness;
mod validate;

pub use annotations::OBLIGATION_KINDS;
pub use arguments::{InvalidArguments, SCHEMA_NODES_MAX};
pub use beside::{is_pointer, misread};
pub use budgets::{BUDGETS_FILE, BUDGETS_MAX, Budgets, Every, Per, Shown, window, window_end};
pub use bundle::{Bundle, ToolSchema};
pub use candidates::CANDIDATES_MAX;
pub use compile::{Compiler, schema_text};
pub use differing::{Change, PolicyChange, changes};
pub use explain::{AskedPolicy, Condition, Explanation, ForOthers};
pub use format::{by_id, format};
pub use labels::{Flow, LABELS_FILE, LABELS_MAX, Labels};
pub use limits::{POLICIES_MAX, POLICY_BYTES_MAX, TEXT_MAX, TOOLS_MAX};
pub use parts::{PartChange, parts};
pub use possible::{Foreseen, Outlook};
pub use properties::STARTER_PROPERTIES;
pub use provable::{Environment, PolicyText, Posed, PosedAnswer, Provable};
pub use reads::{InputReads, pointer_tokens};
pub use remembered::{COUNTED_TOOLS_MAX, Remembered};
pub use report::{CompileErrors, Finding};
pub use schema::{BASE_SCHEMA, begins_methods};
pub use snapshot::{STARTER_POLICY, Snapshot};
pub use strictness::{
    Before, STRICTNESS_FILE, STRICTNESS_MAX, Strictness, Tolerance, calling_departs, departs,
};

#[cfg(test)]
mod tests;

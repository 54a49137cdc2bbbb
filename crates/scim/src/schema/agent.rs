//! Agents (draft-wzdk-scim-agent-resource-00), with who answers for them.
//!
//! The draft is no standard: what of it is spoken stands here alone.

use super::{Attribute, ResourceType, Schema};

/// The resource type of agents (draft-wzdk-scim-agent-resource-00), with what governs them.
pub static AGENT: ResourceType = ResourceType {
    name: "Agent",
    endpoint: "/Agents",
    schema: &CORE,
    extensions: &[&GOVERNANCE_SCHEMA],
};

/// The URN of the extension by which it is known who answers for an agent, and for what it is.
pub const GOVERNANCE: &str = "urn:chancery:scim:schemas:extension:governance:2.0:Agent";

static CORE: Schema = Schema {
    id: "urn:ietf:params:scim:schemas:core:2.0:Agent",
    name: "Agent",
    description: "Software that acts.",
    attributes: &ATTRIBUTES,
};

static GOVERNANCE_SCHEMA: Schema = Schema {
    id: GOVERNANCE,
    name: "AgentGovernance",
    description: "Who answers for an agent, and for what it is.",
    attributes: &GOVERNANCE_ATTRIBUTES,
};

static ATTRIBUTES: [Attribute; 5] = [
    Attribute::text("agentUserName", "The name of the agent: a-z, 0-9 and `-`.")
        .required()
        .unique()
        .immutable(),
    Attribute::text("displayName", "The name of the agent, as it is shown."),
    Attribute::text("description", "What the agent does."),
    Attribute::flag("active", "Whether the agent may act. Who was not active stays so."),
    Attribute::complex("owners", "The people who answer for the agent.", &SOMEBODY)
        .multi()
        .read_only(),
];

/// Who answers for an agent is changed by their own acts, and by administrators: to a client it is
/// what it was registered with.
static GOVERNANCE_ATTRIBUTES: [Attribute; 6] = [
    Attribute::complex("sponsor", "The one person who answers for the agent.", &SOMEBODY)
        .required()
        .immutable(),
    Attribute::complex("businessOwner", "Who wants what the agent does.", &SOMEBODY)
        .required()
        .immutable(),
    Attribute::complex("technicalOwner", "Who keeps the agent running.", &SOMEBODY)
        .required()
        .immutable(),
    Attribute::text("purposes", "What the agent is for, by ids of the register: one.")
        .exact()
        .multi()
        .required()
        .immutable(),
    Attribute::text("tools", "The tools that it may ever be given.").exact().multi().read_only(),
    Attribute::time("leaseUntil", "When it ends, unless its sponsor renews it.").read_only(),
];

static SOMEBODY: [Attribute; 2] = [
    Attribute::text("value", "The id of the person.").exact().immutable().required(),
    Attribute::reference("$ref", "The URI of the person.", &["User"]).read_only(),
];

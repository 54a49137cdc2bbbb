//! Groups (RFC 7643 §4.2, §8.7.1).

use super::{Attribute, ResourceType, Schema};

/// The resource type of groups (RFC 7643 §4.2).
pub static GROUP: ResourceType =
    ResourceType { name: "Group", endpoint: "/Groups", schema: &CORE, extensions: &[] };

static CORE: Schema = Schema {
    id: "urn:ietf:params:scim:schemas:core:2.0:Group",
    name: "Group",
    description: "A group of people.",
    attributes: &ATTRIBUTES,
};

/// `displayName` is required as §4.2 has it, although the example of §8.7.1 says otherwise.
static ATTRIBUTES: [Attribute; 2] = [
    Attribute::text("displayName", "The name of the group.").required(),
    Attribute::complex("members", "The members of the group.", &MEMBER).many(),
];

/// A member's id is required here: a member without one is nobody.
static MEMBER: [Attribute; 3] = [
    Attribute::text("value", "The id of the member.").exact().immutable().required(),
    Attribute::reference("$ref", "The URI of the member.", &["User", "Group"]).immutable(),
    Attribute::text("type", "Of which resource type the member is.")
        .immutable()
        .canonical(&["User", "Group"]),
];

//! What directories reach.

use pap::directory::Kind;
use serde_json::{Value, json};

use crate::openapi::{Operation, optional};

/// By what a directory is known.
const TOKEN: &str = "directory";

/// SCIM (RFC 7644 §3.1).
const SCIM: &str = "application/scim+json";

/// How directories show who they are.
pub(crate) fn schemes() -> Value {
    json!({
        TOKEN: {
            "type": "http", "scheme": "bearer",
            "description": "The token that `chancery directory add` wrote.",
        },
    })
}

/// Every endpoint of the service provider.
pub(crate) fn always(operation: Operation) -> Operation {
    let error = json!({ "type": "object" });
    super::hosted(operation)
        .shown_by(TOKEN)
        .answers_with((401, "no token of a directory that counts"), SCIM, error)
        .answers_with((503, "too much is under way, or the store is down"), SCIM, object())
}

fn object() -> Value {
    json!({ "type": "object" })
}

fn reading(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary).answers_with((200, "as RFC 7643 has it"), SCIM, object())
}

/// What the service provider can do.
pub(crate) fn provider() -> Operation {
    reading("scim_provider", "What the service provider can do (RFC 7643 §5)")
}

/// The types of resources.
pub(crate) fn types() -> Operation {
    reading("scim_types", "The types of resources (RFC 7643 §6)")
}

/// One of them.
pub(crate) fn type_of() -> Operation {
    missing(reading("scim_type", "A type of resources (RFC 7643 §6)"))
}

/// The schemas.
pub(crate) fn schemas() -> Operation {
    reading("scim_schemas", "The schemas (RFC 7643 §7)")
}

/// One of them.
pub(crate) fn schema() -> Operation {
    missing(reading("scim_schema", "A schema (RFC 7643 §7)"))
}

/// Searching all types of resources at once.
pub(crate) fn search_all() -> Operation {
    let summary = "Those of all types that a filter matches (RFC 7644 §3.4.3)";
    filtered(reading("scim_search_all", summary)).takes_body(SCIM, object())
}

/// What is told of one kind of resources.
pub(crate) struct OfKind {
    pub(crate) list: Operation,
    pub(crate) search: Operation,
    pub(crate) create: Operation,
    pub(crate) read: Operation,
    pub(crate) replace: Operation,
    pub(crate) patch: Operation,
    pub(crate) delete: Operation,
}

/// What is told of resources of `kind`.
pub(crate) fn of(kind: Kind) -> OfKind {
    let ids = match kind {
        Kind::Users => [
            "scim_users",
            "scim_users_search",
            "scim_user_create",
            "scim_user",
            "scim_user_replace",
            "scim_user_patch",
            "scim_user_delete",
        ],
        Kind::Groups => [
            "scim_groups",
            "scim_groups_search",
            "scim_group_create",
            "scim_group",
            "scim_group_replace",
            "scim_group_patch",
            "scim_group_delete",
        ],
        Kind::Agents => [
            "scim_agents",
            "scim_agents_search",
            "scim_agent_create",
            "scim_agent",
            "scim_agent_replace",
            "scim_agent_patch",
            "scim_agent_delete",
        ],
    };
    let [list, search, create, read, replace, patch, delete] = ids;
    let there = |operation| if kind == Kind::Agents { unwanted(operation) } else { operation };
    OfKind {
        list: there(filtered(reading(list, "Those that a filter matches (RFC 7644 §3.4.2)")))
            .takes_query(&[
                optional("filter", "which"),
                optional("startIndex", "the first one of the page, counted from 1"),
                optional("count", "the most of the page"),
                optional("attributes", "what is shown of each"),
                optional("excludedAttributes", "what is not"),
            ]),
        search: there(filtered(reading(search, "The same, by a body (RFC 7644 §3.4.3)")))
            .takes_body(SCIM, object()),
        create: there(changing(Operation::new(create, "Makes one (RFC 7644 §3.3)"))).answers_with(
            (201, "what was made"),
            SCIM,
            object(),
        ),
        read: missing(reading(read, "One of them (RFC 7644 §3.4.1)"))
            .answers(304, "it is at the version that `If-None-Match` names"),
        replace: known(changing(reading(replace, "Replaces one (RFC 7644 §3.5.1)"))),
        patch: known(changing(reading(patch, "Changes one (RFC 7644 §3.5.2)"))),
        delete: known(refusing(Operation::new(delete, "Deletes one (RFC 7644 §3.6)")))
            .answers(204, "there is none any longer"),
    }
}

fn missing(operation: Operation) -> Operation {
    operation.answers_with((404, "there is none, or it is not this directory's"), SCIM, object())
}

/// That there may be no resources of the kind.
fn unwanted(operation: Operation) -> Operation {
    operation.answers_with((404, "agents are not wanted (`directories.agents`)"), SCIM, object())
}

fn filtered(operation: Operation) -> Operation {
    operation.answers_with(
        (400, "the filter is none, or would look through too much"),
        SCIM,
        object(),
    )
}

fn refusing(operation: Operation) -> Operation {
    operation
        .answers_with((403, "the token reads only, or policy does not permit it"), SCIM, object())
        .answers_with(
            (409, "another has what identifies it, or it changed meanwhile"),
            SCIM,
            object(),
        )
}

fn changing(operation: Operation) -> Operation {
    refusing(operation)
        .takes_body(SCIM, object())
        .answers_with((400, "it makes no sense"), SCIM, object())
        .answers_with((408, "the body did not arrive in time"), SCIM, object())
        .answers_with((413, "the body is too large"), SCIM, object())
        .answers_with((415, "the body is neither SCIM nor JSON"), SCIM, object())
}

fn known(operation: Operation) -> Operation {
    missing(operation).answers_with((412, "it is at another version"), SCIM, object())
}

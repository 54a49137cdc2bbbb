//! Properties: what is to be proved of a policy set, written as policies that decide nothing.

use cedar_policy::{Policy, PrincipalConstraint};
use serde_json::json;

use crate::schema::{DELEGATE, chain};

/// The properties that a new deployment starts with.
pub const STARTER_PROPERTIES: &str = include_str!("../../../policies/properties/starter.cedar");

/// What makes a policy a property.
pub(crate) const PROPERTY: &str = "property";

/// Nothing that it matches is permitted.
pub(crate) const NEVER_PERMITS: &str = "never-permits";

/// Nothing that it matches is permitted, nor that whom it names hands work on to others.
pub(crate) const NEVER_REACHES: &str = "never-reaches";

/// All that it matches is permitted.
pub(crate) const ALWAYS_PERMITS: &str = "always-permits";

/// Of a property that holds over chains its second part: whom it names hands nothing on. None of others.
///
/// Of whoever acts policies are asked anew, at whatever depth; so only what is said of somebody in
/// particular could be got round by handing work on, which is an act of its own.
pub(crate) fn handed_on(property: &Policy) -> Option<Result<Policy, String>> {
    if property.annotation(PROPERTY) != Some(NEVER_REACHES) {
        return None;
    }
    if property.principal_constraint() == PrincipalConstraint::Any {
        let why = "names no principal: as `never-permits` it holds of whoever acts, work handed on or not";
        return Some(Err(why.to_owned()));
    }
    Some(of_delegating(property))
}

fn of_delegating(property: &Policy) -> Result<Policy, String> {
    let mut parts = property.to_json().map_err(|error| chain(&error))?;
    let id = property.annotation("id").unwrap_or_default();
    parts["annotations"] = json!({
        "id": format!("{id}/handed-on"),
        "description": format!("Whom `{id}` names hands no work on"),
        PROPERTY: NEVER_PERMITS,
    });
    parts["action"] = json!({ "op": "==", "entity": { "type": "Action", "id": DELEGATE } });
    parts["resource"] = json!({ "op": "All" });
    parts["conditions"] = json!([]);
    Policy::from_json(None, parts).map_err(|error| chain(&error))
}

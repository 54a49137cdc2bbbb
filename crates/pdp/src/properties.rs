//! Properties: what is to be proved of a policy set, written as policies that decide nothing.

use cedar_policy::{Policy, PrincipalConstraint};
use model::PolicyId;
use serde_json::{Value, json};

use crate::schema::{DELEGATE, chain};

/// The properties that a new deployment starts with.
pub const STARTER_PROPERTIES: &str = include_str!("../../../policies/properties/starter.cedar");

/// What makes a policy a property.
pub(crate) const PROPERTY: &str = "property";

/// Nothing that it matches is permitted.
pub(crate) const NEVER_PERMITS: &str = "never-permits";

/// Nothing that it matches is permitted, nor to anybody to whom the work can come whom it names.
pub(crate) const NEVER_REACHES: &str = "never-reaches";

/// All that it matches is permitted.
pub(crate) const ALWAYS_PERMITS: &str = "always-permits";

/// Whose instances act, and so hand work on: types of principals.
const OF_INSTANCES: [&str; 3] = ["Instance", "Agent", "Team"];

/// The ids of the further parts of the property `id`, if it holds over chains ([`over_chains`]).
pub(crate) fn parts(id: &PolicyId) -> [PolicyId; 2] {
    ["handed-on", "by-others"].map(|part| PolicyId::from(format!("{id}/{part}").as_str()))
}

/// Of a property that holds over chains its further parts: that whom it names hands work on, and that whoever it is does
/// what it matches. None of others.
///
/// Of whoever acts policies are asked anew, at whatever depth; so only what is said of somebody in particular could be
/// got round by handing work on.
pub(crate) fn over_chains(property: &Policy) -> Result<Vec<Policy>, String> {
    if property.annotation(PROPERTY) != Some(NEVER_REACHES) {
        return Ok(Vec::new());
    }
    let named = match property.principal_constraint() {
        PrincipalConstraint::Any => {
            let why = "names no principal: as `never-permits` it holds of whoever acts, work handed on or not";
            return Err(why.to_owned());
        }
        PrincipalConstraint::Is(kind) | PrincipalConstraint::IsIn(kind, _) => kind,
        PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) => uid.type_name().clone(),
    };
    if !OF_INSTANCES.contains(&named.basename()) {
        let why = "names no instance, agent or team: for whom work is done stays as it is when it is handed on, so as \
                   `never-permits` it holds over chains";
        return Err(why.to_owned());
    }
    let whole = property.to_json().map_err(|error| chain(&error))?;
    let id = PolicyId::from(property.annotation("id").unwrap_or_default());
    let [handed_on, by_others] = parts(&id);
    let mut handing = part(&whole, &handed_on, &format!("Whom `{id}` names hands work on"));
    handing["action"] = json!({ "op": "==", "entity": { "type": "Action", "id": DELEGATE } });
    handing["resource"] = json!({ "op": "All" });
    handing["conditions"] = json!([]);
    let mut acting = part(&whole, &by_others, &format!("Somebody does what `{id}` matches"));
    acting["principal"] = json!({ "op": "is", "entity_type": "Instance" });
    let policy = |form| Policy::from_json(None, form).map_err(|error| chain(&error));
    [handing, acting].into_iter().map(policy).collect()
}

/// The property `whole` under the id and description of one of its parts.
fn part(whole: &Value, id: &PolicyId, description: &str) -> Value {
    let mut part = whole.clone();
    part["annotations"] =
        json!({ "id": id.as_str(), "description": description, PROPERTY: NEVER_PERMITS });
    part
}

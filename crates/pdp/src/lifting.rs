//! Which policies let more be done the more was read: what a policy is about hangs on what was read in one direction or
//! the other, or in both where nobody can tell, and from that follows whether reading widens it.
//!
//! From its syntax, and so an upper bound: whoever writes `when { … != … }` is told of it as well.

use std::collections::BTreeSet;

use cedar_policy::Effect;
use serde_json::Value;

use crate::context::PROVENANCE;
use crate::reads::context_path;

/// What was read that is trusted.
pub(crate) const TRUSTED: &str = "context.provenance.trusted";

/// How what an expression says hangs on one of its parts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// With more in it, it is true of more.
    More,
    /// With more in it, it is true of less.
    Less,
    Either,
}

impl Way {
    const fn turned(self) -> Self {
        match self {
            Self::More => Self::Less,
            Self::Less => Self::More,
            Self::Either => Self::Either,
        }
    }
}

/// The members of the context by which reading widens the policy with this `syntax`.
pub(crate) fn of(syntax: &Value, effect: Effect) -> BTreeSet<&'static str> {
    // A permit widens what is permitted where it applies to more, a forbid where it applies to less.
    let widening = if effect == Effect::Permit { Way::More } else { Way::Less };
    let mut lifting = BTreeSet::new();
    for condition in syntax["conditions"].as_array().into_iter().flatten() {
        let way = if condition["kind"] == "unless" { Way::Less } else { Way::More };
        walk(&condition["body"], way, &mut |name, hangs| {
            if hangs == widening || hangs == Way::Either {
                lifting.insert(name);
            }
        });
    }
    lifting
}

/// Tells of each member of the context that reading changes, and how the whole hangs on reading by it.
fn walk(node: &Value, way: Way, tell: &mut impl FnMut(&'static str, Way)) {
    if let Some((path, is_asked_for)) = context_path(node) {
        // Each is always there.
        if is_asked_for {
            return;
        }
        match path.as_slice() {
            ["session", "labels", ..] => tell("context.session.labels", way),
            // Its members are looked at elsewhere.
            ["session"] => tell("context.session.labels", Way::Either),
            [PROVENANCE, "trusted", ..] => tell(TRUSTED, way),
            [PROVENANCE, "untrusted", ..] => tell("context.provenance.untrusted", way),
            // Of the more is known, the less is unknown.
            [PROVENANCE, "unknown", ..] => tell("context.provenance.unknown", way.turned()),
            _ => {}
        }
        return;
    }
    match node {
        Value::Array(items) => items.iter().for_each(|item| walk(item, Way::Either, tell)),
        Value::Object(members) => {
            for (operator, operand) in members {
                operands((operator.as_str(), operand), way, tell);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn operands(
    (operator, operand): (&str, &Value),
    way: Way,
    tell: &mut impl FnMut(&'static str, Way),
) {
    let of_both = |right: Way| [("left", way), ("right", right)];
    let parts = match operator {
        "!" | "isEmpty" => vec![("arg", way.turned())],
        "&&" | "||" | "containsAny" => of_both(way).to_vec(),
        "contains" => of_both(Way::Either).to_vec(),
        "containsAll" => of_both(way.turned()).to_vec(),
        "if-then-else" => vec![("if", Way::Either), ("then", way), ("else", way)],
        _ => {
            // Of a comparison nobody can tell; the keys of a record literal are no operators.
            let below = operand.as_object().into_iter().flat_map(serde_json::Map::values);
            let below = below.chain(operand.as_array().into_iter().flatten());
            return below.for_each(|part| walk(part, Way::Either, tell));
        }
    };
    for (part, way) in parts {
        walk(&operand[part], way, tell);
    }
}

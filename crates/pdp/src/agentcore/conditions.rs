//! What conditions say, in Cedar's JSON form.

use model::{GroupName, PersonId, UnitName};
use serde_json::{Map, Value, json};

use super::scope::{IAM, USER};
use super::{Claim, SUBJECT, Translation};
use crate::nesting::OPERATORS_MAX;

/// What a condition before has shown to be there.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// The person on whose behalf the act is done.
    Subject,
    /// Their unit.
    Unit,
    /// A claim, which was asked for there.
    Claim(String),
}

/// What all of `parts` say together; true, if there are none.
pub(super) fn all_of(parts: Vec<Value>) -> Value {
    let both = |left, right| json!({ "&&": { "left": left, "right": right } });
    parts.into_iter().reduce(both).unwrap_or_else(truth)
}

/// The parts of a conjunction.
pub(super) fn conjuncts(expression: &Value) -> Vec<&Value> {
    match expression.get("&&") {
        Some(both) => [conjuncts(&both["left"]), conjuncts(&both["right"])].concat(),
        None => vec![expression],
    }
}

fn truth() -> Value {
    json!({ "Value": true })
}

fn is_true(expression: &Value) -> bool {
    expression["Value"] == true
}

fn is_var(expression: &Value, name: &str) -> bool {
    expression["Var"] == name
}

/// `context.subject`.
fn subject() -> Value {
    json!({ ".": { "left": { "Var": "context" }, "attr": "subject" } })
}

fn entity(kind: &str, id: &str) -> Value {
    json!({ "Value": { "__entity": { "type": kind, "id": id } } })
}

/// The names of an attribute and of those that it is in, outermost first, and what it is an attribute of at last.
fn path(expression: &Value) -> (Vec<&str>, &Value) {
    match expression.get(".") {
        Some(attribute) => {
            let (mut names, root) = path(&attribute["left"]);
            names.push(attribute["attr"].as_str().unwrap_or_default());
            (names, root)
        }
        None => (Vec::new(), expression),
    }
}

/// Whether it is `context.input`, or something in it.
fn is_input(expression: &Value) -> bool {
    let (names, root) = path(expression);
    is_var(root, "context") && names.first() == Some(&"input")
}

/// The claim that is looked at, if it is one.
fn claim(expression: &Value) -> Option<&str> {
    if let Some(got) = expression.get("getTag") {
        return is_var(&got["left"], "principal").then(|| got["right"]["Value"].as_str())?;
    }
    let (names, root) = path(expression);
    (is_var(root, "principal") && names == ["id"]).then_some(SUBJECT)
}

/// The claim of which it is asked whether it is there.
fn asked_for(expression: &Value) -> Option<&str> {
    let asked = expression.get("hasTag")?;
    is_var(&asked["left"], "principal").then(|| asked["right"]["Value"].as_str())?
}

/// Whether it holds for nobody who has not the claim.
fn needs(expression: &Value, name: &str) -> bool {
    let sides = |operator: &str| expression.get(operator).map(|it| (&it["left"], &it["right"]));
    let is_it = |side: &Value| claim(side) == Some(name);
    if let Some((left, right)) = sides("==") {
        return is_it(left) || is_it(right);
    }
    if let Some((left, right)) = sides("||") {
        return needs(left, name) && needs(right, name);
    }
    if let Some((left, right)) = sides("&&") {
        return needs(left, name) || needs(right, name);
    }
    sides("contains").is_some_and(|(_, right)| is_it(right))
}

impl Translation<'_> {
    /// What `parts` say together; what they show to be there is known afterwards.
    pub(super) fn conjunction(&mut self, parts: &[&Value]) -> Vec<Value> {
        let mut said = Vec::new();
        for (position, part) in parts.iter().enumerate() {
            let Some(name) = asked_for(part) else {
                let part = self.expression(part);
                said.extend((!is_true(&part)).then_some(part));
                continue;
            };
            self.known.push(Known::Claim(name.to_owned()));
            let Some(kind) = self.kind(name) else { continue };
            // Who is in no group of a claim may well be there: only its value says that it is.
            if kind == Claim::Group && !parts[position + 1..].iter().any(|it| needs(it, name)) {
                self.refuse(format!(
                    "asks whether there is a claim `{name}`, and then not for one value of it: no group says that. \
                     Ask for a group (`context has subject && context.subject in Group::\"NAME\"`) in a policy of your own"
                ));
            }
            said.extend(self.guards(kind));
        }
        said
    }

    /// The expression; what it shows to be there is known within it only.
    pub(super) fn expression(&mut self, expression: &Value) -> Value {
        let known = self.known.clone();
        let said = self.said(expression);
        self.known = known;
        said
    }

    /// The expression, where what permits may be that it does not hold.
    fn operand(&mut self, expression: &Value) -> Value {
        let permits = std::mem::replace(&mut self.permits, false);
        let said = self.expression(expression);
        self.permits = permits;
        said
    }

    fn said(&mut self, expression: &Value) -> Value {
        let Some((operator, operands)) = expression.as_object().and_then(|it| it.iter().next())
        else {
            self.refuse("it holds an expression that is not known");
            return Value::Null;
        };
        let (left, right) = (&operands["left"], &operands["right"]);
        match operator.as_str() {
            "Value" => self.value(expression),
            "Var" => self.variable(expression),
            "&&" | "hasTag" => all_of(self.conjunction(&conjuncts(expression))),
            "||" => {
                let (left, right) = (self.expression(left), self.expression(right));
                if is_true(&left) {
                    left
                } else {
                    json!({ "||": { "left": left, "right": right } })
                }
            }
            "==" | "!=" => self.compared(operator, (left, right)),
            "contains" if claim(right).is_some() => self.one_of(left, right),
            "is" => self.is(expression),
            "getTag" => {
                self.refuse(ONE_VALUE);
                Value::Null
            }
            "." => self.attribute(expression),
            "has" if is_var(left, "context") && operands["attr"] == "input" => truth(),
            "Record" => self.members(expression),
            "has" | "like" => self.of_left(expression),
            _ => self.every_operand(operator, operands),
        }
    }

    /// The same of what is said of every operand.
    fn every_operand(&mut self, operator: &str, operands: &Value) -> Value {
        let said = match operands {
            Value::Array(operands) => operands.iter().map(|it| self.operand(it)).collect(),
            Value::Object(operands) => {
                let said = operands.iter().map(|(name, it)| (name.clone(), self.operand(it)));
                Value::Object(said.collect())
            }
            _ => {
                self.refuse(format!("`{operator}` is not known"));
                Value::Null
            }
        };
        json!({ operator: said })
    }

    fn members(&mut self, expression: &Value) -> Value {
        let members = expression["Record"].as_object().into_iter().flatten();
        let said: Map<_, _> =
            members.map(|(name, it)| (name.clone(), self.expression(it))).collect();
        json!({ "Record": said })
    }

    /// `has` and `like`, of which the left is an expression.
    fn of_left(&mut self, expression: &Value) -> Value {
        let mut said = expression.clone();
        let operator = if said.get("has").is_some() { "has" } else { "like" };
        let left = expression[operator]["left"].clone();
        self.asked_first(&left);
        said[operator]["left"] = match claim(&left) {
            Some(name) if self.kind(name) == Some(Claim::Unit) && operator == "like" => {
                let mut all = self.guards(Claim::Unit);
                said[operator]["left"] = unit();
                all.push(said);
                return all_of(all);
            }
            Some(name) => {
                self.refuse(format!(
                    "looks for a part of the claim `{name}`, which here is no text: ask for a group \
                     (`context has subject && context.subject in Group::\"NAME\"`), for an agent (`principal in Agent::\"NAME\"`) or \
                     for a purpose (`context.purpose`) in a policy of your own"
                ));
                Value::Null
            }
            None if operator == "has" && is_input(&left) => left,
            None => self.expression(&left),
        };
        said
    }

    fn value(&mut self, expression: &Value) -> Value {
        if expression["Value"].is_object() {
            self.refuse("names an entity of AgentCore where policies here have none");
        }
        expression.clone()
    }

    fn variable(&mut self, expression: &Value) -> Value {
        let name = expression["Var"].as_str().unwrap_or_default();
        self.refuse(match name {
            "context" => "of `context` it can look at members of `context.input`, and at `context.system.now`",
            "principal" => "of `principal` it can look at claims (`hasTag`, `getTag`) and at `id`",
            _ => "action and resource belong into the scope",
        });
        Value::Null
    }

    fn attribute(&mut self, expression: &Value) -> Value {
        let (names, root) = path(expression);
        if is_var(root, "context") {
            return match names.as_slice() {
                ["input", _, ..] => expression.clone(),
                ["system", "now"] => json!({ ".": { "left": root, "attr": "now" } }),
                _ => self.variable(root),
            };
        }
        if claim(expression).is_some() {
            self.refuse(ONE_VALUE);
            return Value::Null;
        }
        let attribute = &expression["."];
        json!({ ".": { "left": self.expression(&attribute["left"]), "attr": attribute["attr"] } })
    }

    fn is(&mut self, expression: &Value) -> Value {
        let asked = &expression["is"];
        let is_principal = is_var(&asked["left"], "principal") && asked["in"].is_null();
        match asked["entity_type"].as_str() {
            Some(USER) if is_principal => truth(),
            Some(IAM) if is_principal => json!({ "Value": false }),
            _ => {
                self.refuse(format!("only `principal is {USER}` is known of types"));
                Value::Null
            }
        }
    }

    fn compared(&mut self, operator: &str, (left, right): (&Value, &Value)) -> Value {
        self.asked_first(left);
        self.asked_first(right);
        let principal = [(left, right), (right, left)].into_iter().find_map(|(one, other)| {
            let named = &other["Value"]["__entity"];
            let is_it = is_var(one, "principal") && named["type"] == USER;
            is_it.then(|| (SUBJECT, named["id"].as_str()))
        });
        let claimed = claim(left).map(|name| (name, right["Value"].as_str()));
        let claimed = claimed.or_else(|| claim(right).map(|name| (name, left["Value"].as_str())));
        match principal.or(claimed) {
            // Who acts for nobody is not that person, and is permitted nothing by it.
            Some((SUBJECT, Some(value))) if operator == "!=" && !self.permits => {
                json!({ "!": { "arg": self.is_claimed(SUBJECT, value, true) } })
            }
            Some((name, Some(value))) => self.is_claimed(name, value, operator == "=="),
            Some((name, None)) => {
                self.refuse(format!(
                    "compares the claim `{name}` with what is no text. {ONE_VALUE}"
                ));
                Value::Null
            }
            None => {
                let (left, right) = (self.operand(left), self.operand(right));
                json!({ operator: { "left": left, "right": right } })
            }
        }
    }

    /// Refuses a claim of which it was not asked before whether it is there: without it the policy fails there, whole.
    fn asked_first(&mut self, expression: &Value) {
        let name = expression.get("getTag").and_then(|_| claim(expression));
        if let Some(name) = name
            && !self.known.contains(&Known::Claim(name.to_owned()))
        {
            self.refuse(format!(
                "looks at the claim `{name}`, which may not be there: ask `principal.hasTag(\"{name}\")` first, \
                 in the same conjunction"
            ));
        }
    }

    /// Whether a claim has one of some values.
    fn one_of(&mut self, values: &Value, claimed: &Value) -> Value {
        self.asked_first(claimed);
        let name = claim(claimed).unwrap_or_default();
        let values = values["Set"].as_array();
        let texts: Option<Vec<&str>> =
            values.and_then(|values| values.iter().map(|value| value["Value"].as_str()).collect());
        let Some(texts) = texts.filter(|texts| !texts.is_empty()) else {
            self.refuse(format!(
                "looks for the claim `{name}` in what is no list of texts. {ONE_VALUE}"
            ));
            return Value::Null;
        };
        if texts.len() > OPERATORS_MAX {
            self.refuse(format!("looks for the claim `{name}` in more than {OPERATORS_MAX} texts"));
            return Value::Null;
        }
        let each = texts.into_iter().map(|value| {
            let known = self.known.clone();
            let said = self.is_claimed(name, value, true);
            self.known = known;
            said
        });
        let each: Vec<_> = each.collect();
        let either = |left, right| json!({ "||": { "left": left, "right": right } });
        each.into_iter().reduce(either).unwrap_or_default()
    }

    /// Whether, or that not, the claim has this value; what it shows to be there is known afterwards.
    pub(super) fn is_claimed(&mut self, name: &str, value: &str, is: bool) -> Value {
        let Some(kind) = self.kind(name) else { return Value::Null };
        let named = match kind {
            Claim::Person => value.parse::<PersonId>().map(drop),
            Claim::Group => value.parse::<GroupName>().map(drop),
            Claim::Unit => value.parse::<UnitName>().map(drop),
        };
        if let Err(error) = named {
            self.refuse(format!("the claim `{name}`: {error}: write who or what that is here"));
            return Value::Null;
        }
        let means = match kind {
            Claim::Person => format!("is the person `{value}`"),
            Claim::Group => format!("is in the group `{value}`, and nobody else is"),
            Claim::Unit => format!("is in the unit `{value}`, and nobody else is"),
        };
        let means = format!("who has the claim `{name}` with the value `{value}` {means}");
        self.rests_on.claims.insert(means);
        let operator = if is { "==" } else { "!=" };
        let test = match kind {
            Claim::Person => {
                json!({ operator: { "left": subject(), "right": entity("Person", value) } })
            }
            Claim::Group if is => {
                json!({ "in": { "left": subject(), "right": entity("Group", value) } })
            }
            // Of who has no such claim at all it would hold.
            Claim::Group => {
                self.refuse(format!(
                    "asks that the claim `{name}` is not `{value}`, which here would hold of who has none: \
                     name the groups that may instead"
                ));
                Value::Null
            }
            Claim::Unit => json!({ operator: { "left": unit(), "right": { "Value": value } } }),
        };
        let mut all = self.guards(kind);
        all.push(test);
        all_of(all)
    }

    /// What must be asked first, as far as it was not: they are known then.
    fn guards(&mut self, kind: Claim) -> Vec<Value> {
        let has = |left: Value, name: &str| json!({ "has": { "left": left, "attr": name } });
        let mut said = Vec::new();
        let mut need = |known: Known, guard: Value| {
            if !self.known.contains(&known) {
                self.known.push(known);
                said.push(guard);
            }
        };
        need(Known::Subject, has(json!({ "Var": "context" }), "subject"));
        if kind == Claim::Unit {
            need(Known::Unit, has(subject(), "unit"));
        }
        said
    }

    /// What the claim says of a person.
    fn kind(&mut self, name: &str) -> Option<Claim> {
        let kind = self.claims.get(name).copied();
        if kind.is_none() {
            self.refuse(format!(
                "of the claim `{name}` it is not known what it says of a person: say it, as with `--claim {name}=group`, \
                 or ask for what is known here (docs/policy-schema.md) in a policy of your own"
            ));
        }
        kind
    }
}

/// What can be asked of a claim.
const ONE_VALUE: &str = "A claim can be compared with a text, or looked for in a list of texts";

/// `context.subject.unit`.
fn unit() -> Value {
    json!({ ".": { "left": subject(), "attr": "unit" } })
}

//! What a filter compares with: read by the type of the attribute, and by whether its case matters.

use std::cmp::Ordering;

use jiff::Timestamp;
use scim_v2::filter::{CompValue, CompareOp};
use serde_json::Value;

use super::Node;
use crate::schema::{Attribute, Kind, Place};
use crate::{Error, ScimType};

/// How values are compared.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    Equal(Operand),
    Differs(Operand),
    /// `gt`, `ge`, `lt`, `le`.
    Ordered(Operand, fn(Ordering) -> bool),
    /// `co`, `sw`, `ew`.
    Part(Operand, fn(&str, &str) -> bool),
}

/// A value of the attribute's type.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    /// As [`fold`] writes it unless the case matters, and as it was given.
    Text {
        text: String,
        exact: bool,
        given: String,
    },
    Boolean(bool),
    Time(Timestamp),
}

/// Text as it is compared where its case does not matter (RFC 7643 §2.2, `caseExact`).
pub fn fold(text: &str) -> String {
    text.to_lowercase()
}

impl Test {
    /// Reads the comparison of what is at `place`, if there is such a place, with `with`.
    pub(super) fn read(
        place: Option<Place>,
        op: &CompareOp,
        with: &CompValue,
    ) -> Result<Node, Error> {
        let Some(place) = place.map(compared) else {
            // Nothing has the attribute: it is equal to `null` and differs from all else.
            let is_null = matches!(with, CompValue::Null);
            return Ok(Node::Always(match op {
                CompareOp::Eq => is_null,
                CompareOp::Ne => !is_null,
                _ => false,
            }));
        };
        let attribute = place.sub.unwrap_or(place.attribute);
        let refused = || cannot(attribute, op, with);
        if matches!(with, CompValue::Null) {
            let present = Node::Present(place);
            return match op {
                CompareOp::Eq => Ok(Node::Not(Box::new(present))),
                CompareOp::Ne => Ok(present),
                _ => Err(refused()),
            };
        }
        let operand = Operand::read(attribute, op, with).ok_or_else(refused)?;
        let is_ordered = !matches!(attribute.kind, Kind::Boolean | Kind::Binary);
        let is_text = matches!(operand, Operand::Text { .. }) && is_ordered;
        let given = operand.clone();
        let ordered = |holds| {
            if is_ordered { Ok(Self::Ordered(given.clone(), holds)) } else { Err(refused()) }
        };
        let part = |holds| {
            if is_text { Ok(Self::Part(given.clone(), holds)) } else { Err(refused()) }
        };
        let test = match op {
            CompareOp::Eq => Self::Equal(operand),
            CompareOp::Ne => Self::Differs(operand),
            CompareOp::Gt => ordered(Ordering::is_gt)?,
            CompareOp::Ge => ordered(Ordering::is_ge)?,
            CompareOp::Lt => ordered(Ordering::is_lt)?,
            CompareOp::Le => ordered(Ordering::is_le)?,
            CompareOp::Co => part(|whole, part| whole.contains(part))?,
            CompareOp::Sw => part(|whole, part| whole.starts_with(part))?,
            CompareOp::Ew => part(|whole, part| whole.ends_with(part))?,
        };
        Ok(Node::Compare(place, test))
    }

    /// Whether it holds for one of `values`.
    pub(super) fn holds<'v>(&self, mut values: impl Iterator<Item = &'v Value>) -> bool {
        match self {
            Self::Equal(operand) => values.any(|value| operand.compare(value) == Some(EQUAL)),
            Self::Differs(operand) => {
                let mut values = values.peekable();
                values.peek().is_none() || values.any(|value| operand.compare(value) != Some(EQUAL))
            }
            Self::Ordered(operand, holds) => {
                values.any(|value| operand.compare(value).is_some_and(holds))
            }
            Self::Part(operand, holds) => values.any(|value| operand.is_part(value, *holds)),
        }
    }
}

const EQUAL: Ordering = Ordering::Equal;

impl Operand {
    fn read(attribute: &Attribute, op: &CompareOp, with: &CompValue) -> Option<Self> {
        let is_part = matches!(op, CompareOp::Co | CompareOp::Sw | CompareOp::Ew);
        let text = |given: &str| {
            let exact = attribute.case_exact || matches!(attribute.kind, Kind::DateTime);
            let text = if exact { given.to_owned() } else { fold(given) };
            let given = given.to_owned();
            Some(Self::Text { text, exact, given })
        };
        match (attribute.kind, with) {
            (Kind::Text | Kind::Binary | Kind::Reference(_), CompValue::Str(given)) => text(given),
            (Kind::DateTime, CompValue::Str(given)) if is_part => text(given),
            (Kind::DateTime, CompValue::Str(given)) => given.parse().ok().map(Self::Time),
            (Kind::Boolean, CompValue::True) => Some(Self::Boolean(true)),
            (Kind::Boolean, CompValue::False) => Some(Self::Boolean(false)),
            (Kind::Boolean, CompValue::Str(given)) => boolean(given).map(Self::Boolean),
            _ => None,
        }
    }

    /// How `value` stands to it, if they are of one type.
    fn compare(&self, value: &Value) -> Option<Ordering> {
        match self {
            Self::Text { text, exact: true, .. } => Some(value.as_str()?.cmp(text)),
            Self::Text { text, exact: false, .. } => Some(fold(value.as_str()?).cmp(text)),
            Self::Boolean(boolean) => Some(value.as_bool()?.cmp(boolean)),
            Self::Time(time) => Some(value.as_str()?.parse::<Timestamp>().ok()?.cmp(time)),
        }
    }

    fn is_part(&self, value: &Value, holds: fn(&str, &str) -> bool) -> bool {
        match (self, value) {
            (Self::Text { text, exact: true, .. }, Value::String(value)) => holds(value, text),
            (Self::Text { text, exact: false, .. }, Value::String(value)) => {
                holds(&fold(value), text)
            }
            _ => false,
        }
    }

    /// A value that is equal to it, as a filter can name it.
    pub(super) fn value(&self) -> Option<Value> {
        match self {
            Self::Text { given, .. } => Some(given.clone().into()),
            Self::Boolean(boolean) => Some((*boolean).into()),
            Self::Time(_) => None,
        }
    }
}

/// The boolean that `text` names, in whatever case.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    let named = |boolean: &bool| text.eq_ignore_ascii_case(&boolean.to_string());
    [true, false].into_iter().find(named)
}

/// A complex attribute is compared by its `value` (RFC 7644 §3.4.2.2: `emails co "example.com"`).
fn compared(place: Place) -> Place {
    Place { sub: place.sub.or_else(|| place.attribute.sub("value")), ..place }
}

fn cannot(attribute: &Attribute, op: &CompareOp, with: &CompValue) -> Error {
    let name = attribute.name;
    Error::new(ScimType::InvalidFilter, format!("`{name}` cannot be compared: `{op} {with}`"))
}

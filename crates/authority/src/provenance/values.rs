//! The values in what is told: texts, numbers and the names of members, one after another, until nobody wants more.

use std::borrow::Cow;
use std::ops::ControlFlow;

use serde_json::{Number, Value};
use unicode_normalization::UnicodeNormalization as _;

/// How much of a value is compared in its normal form, in characters: two that begin alike are one there.
pub(super) const VALUE_MAX: usize = 4_096;

/// How often JSON that stands in a text is read, one within the other.
const TEXTS_IN_TEXTS_MAX: u32 = 1;

/// The largest whole number below which every one is told from the next (IEEE 754).
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Of an answer, members that say how it is wrapped, and not what is said.
const WRAPPING: [&str; 9] = [
    "_meta",
    "annotations",
    "code",
    "isError",
    "mimeType",
    "nextCursor",
    "resultType",
    "role",
    "type",
];

/// Members that hold what is wrapped.
const WRAPPED: [&str; 8] = [
    "completion",
    "content",
    "contents",
    "messages",
    "prompts",
    "resource",
    "resourceTemplates",
    "resources",
];

/// Something that is told.
pub(super) struct Word<'a> {
    text: Cow<'a, str>,
    /// Whether nothing else is spelt like that.
    is_exact: bool,
    /// Whether it is the name of a member.
    pub(super) is_name: bool,
}

/// What becomes of a value, and whether the next one is wanted.
pub(super) type Each<'e> = dyn FnMut(&Word<'_>) -> ControlFlow<()> + 'e;

impl<'a> Word<'a> {
    fn text(text: &'a str) -> Self {
        Self { text: text.into(), is_exact: true, is_name: false }
    }

    fn name(text: &'a str) -> Self {
        Self { is_name: true, ..Self::text(text) }
    }

    /// A number as it is spelt, whether it is written `1`, `1.0` or `1e0`.
    fn number(number: &Number) -> Self {
        let whole = number.is_i64() || number.is_u64();
        let fraction = number.as_f64().filter(|_| !whole);
        let text = fraction.map_or_else(|| number.to_string(), |fraction| fraction.to_string());
        let is_exact = fraction.is_none_or(|fraction| fraction.abs() < WHOLE_MAX);
        Self { text: text.into(), is_exact, is_name: false }
    }

    /// Trimmed, in lower case, and with compatible characters taken for one (NFKC, UAX #15).
    pub(super) fn normal(&self) -> String {
        let chars = self.text.trim().nfkc().flat_map(char::to_lowercase).nfkc();
        chars.take(VALUE_MAX).collect()
    }

    /// As it is spelt, if that says which it is.
    pub(super) fn exact(&self) -> Option<&str> {
        self.is_exact.then_some(self.text.as_ref())
    }

    /// How long it is, in bytes.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }
}

/// Goes through all of `value`. Of a truth value nobody could say where it comes from.
pub(super) fn all(value: &Value, each: &mut Each<'_>) -> ControlFlow<()> {
    walk(value, TEXTS_IN_TEXTS_MAX, each)
}

/// Goes through what `answer` says: a result, or an error.
pub(super) fn said(answer: &Value, each: &mut Each<'_>) -> ControlFlow<()> {
    match answer {
        Value::Array(items) => items.iter().try_for_each(|item| said(item, each)),
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            let is_one_of = |names: &[&str]| names.contains(&name.as_str());
            if is_one_of(&WRAPPING) {
                ControlFlow::Continue(())
            } else if is_one_of(&WRAPPED) {
                said(member, each)
            } else {
                all(member, each)
            }
        }),
        scalar => all(scalar, each),
    }
}

fn walk(value: &Value, texts: u32, each: &mut Each<'_>) -> ControlFlow<()> {
    match value {
        Value::Null | Value::Bool(_) => ControlFlow::Continue(()),
        Value::Number(number) => each(&Word::number(number)),
        Value::String(text) => {
            each(&Word::text(text))?;
            let inner = || serde_json::from_str::<Value>(text).ok();
            let inner = (texts > 0).then(inner).flatten();
            inner.iter().try_for_each(|inner| walk(inner, texts - 1, each))
        }
        Value::Array(items) => items.iter().try_for_each(|item| walk(item, texts, each)),
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            each(&Word::name(name))?;
            walk(member, texts, each)
        }),
    }
}

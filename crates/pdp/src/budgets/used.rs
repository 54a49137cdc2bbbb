//! What a call uses of a budget: one, or what its arguments say, in a list each of its objects.

use std::fmt;

use model::Amount;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::read::CALLS;
use crate::beside;
use crate::formats::Format;
use crate::reads::pointer_tokens;
use crate::shape::{Members, Shape};

/// The most objects of one call whose amounts are added up; of more it is not read what they use.
pub(super) const LISTED_MAX: usize = 1_000;

/// The most lists one within the other.
const LISTS_MAX: usize = 4;

/// What a call uses of a budget.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Used {
    /// One.
    Call,
    /// What the arguments there say together, each with so many places, in a currency that others name.
    Argument { path: Path, places: u8, currency: Option<(Path, String)> },
}

/// Where arguments are: by a pointer, or by one to a list and others that go on from each of its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<String>);

/// Why calls of a tool are denied.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("have no argument `{0}` of a type that can be counted, so all are denied")]
    Always(String),
    #[error("may leave out `{0}`, and are denied then")]
    Sometimes(String),
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a JSON pointer, or a list of them")]
        enum Written {
            One(String),
            All(Vec<String>),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::One(pointer) => vec![pointer],
            Written::All(pointers) => pointers,
        }))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("[]"))
    }
}

impl Path {
    /// Whether it is the word for calls, and no path.
    pub(super) fn is_calls(&self) -> bool {
        matches!(self.0.as_slice(), [word] if word == CALLS)
    }

    /// Whether it can lead to arguments; why it cannot.
    pub(super) fn is_right(&self) -> Result<(), String> {
        if !(1..=LISTS_MAX + 1).contains(&self.0.len()) {
            return Err(format!("it is a pointer, or up to {LISTS_MAX} to lists and one more"));
        }
        self.0.iter().try_for_each(|pointer| beside::is_pointer(pointer))
    }

    /// Whether there is one of these wherever there is one of `other`: it goes through no other lists.
    pub(super) fn goes_with(&self, other: &Self) -> bool {
        let lists = |path: &Self| path.0.len().saturating_sub(1);
        lists(self) <= lists(other) && self.0[..lists(self)] == other.0[..lists(self)]
    }

    /// What is there; none if something is not, or there is too much.
    fn values<'v>(&self, input: &'v Value) -> Option<Vec<&'v Value>> {
        let (last, lists) = self.0.split_last()?;
        let mut objects = vec![input];
        for list in lists {
            let mut below = Vec::new();
            for object in objects {
                below.extend(object.pointer(list)?.as_array()?);
                if below.len() > LISTED_MAX {
                    return None;
                }
            }
            objects = below;
        }
        objects.into_iter().map(|object| object.pointer(last)).collect()
    }

    /// Whether such arguments always have something there, of a type that `fits`.
    fn can_be_read(
        &self,
        mut arguments: &Members,
        fits: impl Fn(&Shape) -> bool,
    ) -> Result<(), Unread> {
        let always = || Unread::Always(self.to_string());
        let (last, lists) = self.0.split_last().ok_or_else(always)?;
        let mut is_required = true;
        for list in lists {
            let (shape, is_there) = find(arguments, list).ok_or_else(always)?;
            is_required &= is_there;
            let Shape::Set(items) = shape else { return Err(always()) };
            let Shape::Record(below) = items.as_ref() else { return Err(always()) };
            arguments = below;
        }
        let (shape, is_there) = find(arguments, last).ok_or_else(always)?;
        if !fits(shape) {
            return Err(always());
        }
        let is_required = is_required && is_there;
        if is_required { Ok(()) } else { Err(Unread::Sometimes(self.to_string())) }
    }
}

/// The argument that `pointer` points at, and whether it is always there.
fn find<'m>(arguments: &'m Members, pointer: &str) -> Option<(&'m Shape, bool)> {
    let (mut members, mut is_required) = (arguments, true);
    let mut tokens = pointer_tokens(pointer).peekable();
    while let Some(token) = tokens.next() {
        let member = members.get(&token)?;
        is_required &= member.required;
        match (&member.shape, tokens.peek()) {
            (shape, None) => return Some((shape, is_required)),
            (Shape::Record(below), Some(_)) => members = below,
            _ => return None,
        }
    }
    None
}

impl Used {
    /// What a call with these arguments uses, if it can be read.
    pub(super) fn by(&self, input: &Value) -> Option<Amount> {
        let (path, places, currency) = match self {
            Self::Call => return Some(Amount::ONE),
            Self::Argument { path, places, currency } => (path, *places, currency),
        };
        if let Some((path, name)) = currency {
            let mut currencies = path.values(input)?.into_iter();
            if currencies.any(|it| it.as_str() != Some(name.as_str())) {
                return None;
            }
        }
        let amount = |it| Amount::of_value(it).filter(|amount| amount.has_places(places));
        let mut amounts = path.values(input)?.into_iter().map(amount);
        amounts.try_fold(Amount::default(), |sum, amount| sum.plus(amount?))
    }

    /// Whether it can be read what calls with such arguments use.
    pub(super) fn can_be_read(&self, arguments: &Members) -> Result<(), Unread> {
        let Self::Argument { path, currency, .. } = self else { return Ok(()) };
        let is_amount = |it: &Shape| {
            let of_text = matches!(it, Shape::Text | Shape::Formatted(Format::Decimal));
            of_text || matches!(it, Shape::Long | Shape::Decimal)
        };
        path.can_be_read(arguments, is_amount)?;
        match currency {
            Some((path, _)) => path.can_be_read(arguments, |it| *it == Shape::Text),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call => f.write_str(CALLS),
            Self::Argument { path, .. } => path.fmt(f),
        }
    }
}

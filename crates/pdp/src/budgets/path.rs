//! Where arguments are: by a pointer, or by one to a list and others that go on from each of its objects.

use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::used::Unread;
use crate::beside;
use crate::reads::pointer_tokens;
use crate::shape::{Members, Shape};

/// The most objects of one call whose amounts are added up; of more it is not read what they use.
const LISTED_MAX: usize = 1_000;

/// The most lists one within the other.
pub(super) const LISTS_MAX: usize = 4;

/// Pointers to lists, each within an object of the one before, and one more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<String>);

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

/// The objects of the list at `lists`, of lists in lists of all of them; none if one is no list, or they are too many.
pub(super) fn objects<'v>(lists: &[String], input: &'v Value) -> Option<Vec<&'v Value>> {
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
    Some(objects)
}

impl Path {
    /// The one to which `pointer` leads.
    pub(super) fn to(pointer: &str) -> Self {
        Self(vec![pointer.to_owned()])
    }

    /// It, from each object of these lists on.
    pub(super) fn within(self, lists: &[String]) -> Self {
        Self(lists.iter().cloned().chain(self.0).collect())
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
    pub(super) fn values<'v>(&self, input: &'v Value) -> Option<Vec<&'v Value>> {
        let (last, lists) = self.0.split_last()?;
        objects(lists, input)?.into_iter().map(|object| object.pointer(last)).collect()
    }

    /// Whether such arguments always have something there, of a type that `fits`.
    pub(super) fn can_be_read(
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

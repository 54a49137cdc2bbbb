//! What results have said in a session: codes of values, and never the values.
//!
//! What outsiders say is remembered in its normal form, so that it is known however it is spelt; what others
//! say as it is spelt, so that it vouches for nothing else.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use keys::SealingKey;
use model::{Origin, TaskId};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::values::{self, Word};

/// The most values of outsiders, and the most of others, that are remembered of one session. Once outsiders
/// have said more, whatever the mandate does not name is untrusted.
pub const SAID_MAX: usize = 1_024;

/// The most values of one answer that are looked at, also if they are the same ones again.
const LOOKED_AT_MAX: usize = 16 * SAID_MAX;

/// How long the code of a value is, in bytes.
const CODE: usize = 16;

type Code = [u8; CODE];

/// Makes the codes of values in one session: by a key of the service, which is in no database.
pub(super) struct Coding {
    pub(super) key: Arc<SealingKey>,
    pub(super) session: TaskId,
}

/// What results have said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    /// What no outsider has said, as it was spelt.
    trusted: Codes,
    /// What outsiders may have said, in its normal form.
    untrusted: Codes,
    /// Whether that was too much to be remembered.
    is_over: bool,
}

/// Codes, one behind the other in one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Codes(BTreeSet<Code>);

/// Who has a part in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    /// No outsider.
    Ours,
    /// Outsiders, perhaps.
    Outsiders,
}

/// What one answer adds.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    Trusted(BTreeSet<Code>),
    Untrusted(BTreeSet<Code>),
    /// More of outsiders than is remembered, or what nobody can read.
    TooMuch,
}

impl Coding {
    fn of(&self, text: &str) -> Code {
        let code = self.key.code(&[self.session.as_bytes(), text.as_bytes()].concat());
        *code.first_chunk().expect("it is longer")
    }

    /// The values that were told, in their normal form; none if that cannot be read.
    fn told(&self, told: &str) -> Option<BTreeSet<Code>> {
        let (told, mut codes) = (serde_json::from_str::<Value>(told).ok()?, BTreeSet::new());
        let _ = values::all(&told, &mut |word| {
            codes.insert(self.of(&word.normal()));
            ControlFlow::Continue(())
        });
        Some(codes)
    }
}

impl Heard {
    /// What is known of an answer of `speaker` that cannot be read.
    pub(super) const fn unread(speaker: Speaker) -> Self {
        match speaker {
            Speaker::Ours => Self::Trusted(BTreeSet::new()),
            Speaker::Outsiders => Self::TooMuch,
        }
    }

    /// What `answer` of `speaker` adds, who was `told` that.
    pub(super) fn of(speaker: Speaker, (told, answer): (&str, &str), coding: &Coding) -> Self {
        let Ok(answer) = serde_json::from_str::<Value>(answer) else {
            return Self::unread(speaker);
        };
        match speaker {
            Speaker::Outsiders => Self::of_outsiders(&answer, coding),
            // What a tool was told is no more trusted for coming back, however it is spelt then.
            Speaker::Ours => match coding.told(told) {
                Some(told) => Self::ours(&answer, &told, coding),
                None => Self::unread(speaker),
            },
        }
    }

    fn of_outsiders(answer: &Value, coding: &Coding) -> Self {
        let (mut codes, mut left) = (BTreeSet::new(), LOOKED_AT_MAX);
        let all = values::said(answer, &mut |word| {
            codes.insert(coding.of(&word.normal()));
            next(&mut left, codes.len() <= SAID_MAX)
        });
        if all.is_break() { Self::TooMuch } else { Self::Untrusted(codes) }
    }

    fn ours(answer: &Value, told: &BTreeSet<Code>, coding: &Coding) -> Self {
        let (mut codes, mut left) = (BTreeSet::new(), LOOKED_AT_MAX);
        let vouched = |word: &Word<'_>| {
            let exact = word.exact().filter(|_| !word.is_name)?;
            (!told.contains(&coding.of(&word.normal()))).then(|| coding.of(exact))
        };
        // What is beyond is unknown.
        let _ = values::said(answer, &mut |word| {
            codes.extend(vouched(word));
            next(&mut left, codes.len() < SAID_MAX)
        });
        Self::Trusted(codes)
    }
}

fn next(left: &mut usize, has_room: bool) -> ControlFlow<()> {
    *left -= 1;
    if has_room && *left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

impl Said {
    /// Whether anything of `speaker` is still remembered.
    pub(super) fn has_room(&self, speaker: Speaker) -> bool {
        let has_room = speaker == Speaker::Outsiders || self.trusted.0.len() < SAID_MAX;
        has_room && !self.is_over
    }

    pub(super) fn note(&mut self, heard: &Heard) {
        match heard {
            Heard::Trusted(codes) => {
                let room = SAID_MAX.saturating_sub(self.trusted.0.len());
                let new: Vec<_> = codes.difference(&self.trusted.0).take(room).copied().collect();
                self.trusted.0.extend(new);
            }
            Heard::Untrusted(codes) => self.untrusted.0.extend(codes),
            Heard::TooMuch => self.is_over = true,
        }
        if self.is_over || self.untrusted.0.len() > SAID_MAX {
            // What is not remembered may be anything: nothing need be any more.
            *self = Self { is_over: true, ..Self::default() };
        }
    }

    /// Where `word` comes from; what is trusted counts only if it `trusts` that.
    pub(super) fn origin(&self, word: &Word<'_>, (coding, trusts): (&Coding, bool)) -> Origin {
        let is_trusted = |exact| self.trusted.0.contains(&coding.of(exact));
        if self.is_over || self.untrusted.0.contains(&coding.of(&word.normal())) {
            Origin::Untrusted
        } else if trusts && word.exact().is_some_and(is_trusted) {
            Origin::Trusted
        } else {
            Origin::Unknown
        }
    }
}

impl Serialize for Codes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flatten().copied().collect();
        serializer.serialize_str(&keys::base64url(&bytes))
    }
}

impl<'de> Deserialize<'de> for Codes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = keys::from_base64url(&String::deserialize(deserializer)?);
        let bytes = bytes.filter(|bytes| bytes.len() % CODE == 0);
        let bytes = bytes.ok_or_else(|| D::Error::custom("codes that are none"))?;
        let codes = bytes.chunks_exact(CODE).filter_map(|code| code.try_into().ok());
        Ok(Self(codes.collect()))
    }
}

#[cfg(test)]
mod tests;

//! What is spelt as a text: digests, ids, names.

use std::fmt::{Display, Formatter, Result as Formatted};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Reads what a text says, without a copy of it: records have so many of them that the copies would cost as much as
/// reading them does.
pub(crate) fn read<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr,
    T::Err: Display,
    D: Deserializer<'de>,
{
    deserializer.deserialize_string(Spelt::<T>(PhantomData))
}

/// Takes a text for what it says.
struct Spelt<T>(PhantomData<T>);

impl<T> Visitor<'_> for Spelt<T>
where
    T: FromStr,
    T::Err: Display,
{
    type Value = T;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> Formatted {
        formatter.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

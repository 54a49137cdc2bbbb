//! What a call uses of a budget: one, or what its arguments say.

use std::fmt;

use model::Amount;
use serde_json::Value;

use super::expression::Expression;
use super::path::Path;
use super::read::CALLS;
use crate::formats::Format;
use crate::shape::{Members, Shape};

/// What a call uses of a budget.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Used {
    /// One.
    Call,
    /// What the arguments say, with so many places, in a currency that others name.
    Arguments { amount: Expression, places: u8, currency: Option<(Path, String)> },
}

/// Why calls of a tool are denied.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("have no argument `{0}` of a type that can be counted, so all are denied")]
    Always(String),
    #[error("may leave out `{0}`, and are denied then")]
    Sometimes(String),
}

impl Used {
    /// What a call with these arguments uses, if it can be read.
    pub(super) fn by(&self, input: &Value) -> Option<Amount> {
        let (amount, places, currency) = match self {
            Self::Call => return Some(Amount::ONE),
            Self::Arguments { amount, places, currency } => (amount, *places, currency),
        };
        if let Some((path, name)) = currency {
            let mut currencies = path.values(input)?.into_iter();
            if currencies.any(|it| it.as_str() != Some(name.as_str())) {
                return None;
            }
        }
        amount.of(input, places)
    }

    /// Why it cannot be read what calls with such arguments use, or not always.
    pub(super) fn unread(&self, arguments: &Members) -> Option<Unread> {
        let Self::Arguments { amount, currency, .. } = self else { return None };
        let is_text = |it: &Shape| *it == Shape::Text;
        let amounts = amount.paths().into_iter();
        let of_amount = amounts.filter_map(|path| path.can_be_read(arguments, is_amount).err());
        let currency = currency.iter();
        let of_currency =
            currency.filter_map(|(path, _)| path.can_be_read(arguments, is_text).err());
        // What is never there matters more than what may be left out.
        of_amount.chain(of_currency).min_by_key(|it| matches!(it, Unread::Sometimes(_)))
    }
}

fn is_amount(shape: &Shape) -> bool {
    let of_text = matches!(shape, Shape::Text | Shape::Formatted(Format::Decimal));
    of_text || matches!(shape, Shape::Long | Shape::Decimal)
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call => f.write_str(CALLS),
            Self::Arguments { amount, .. } => amount.fmt(f),
        }
    }
}

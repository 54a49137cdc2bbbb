//! What arguments say together: products and sums of them and of constants, over the objects of lists.
//!
//! It is exact: what is missing, below zero, finer or more than an amount can be on the way is not read at all.
//! Nothing is taken away from anything: only a factor below 1 makes less of what others say.

use std::fmt;

use model::Amount;
use serde_json::{Map, Value};

use super::path::{LISTS_MAX, Path, objects};
use crate::beside;

/// The most arguments and constants of one amount.
const TERMS_MAX: usize = 16;

/// How deep sums, products and lists stand in one another.
const DEPTH_MAX: usize = 8;

/// What can be written for an amount.
const EXPECTED: &str = "an amount is `calls`, a JSON pointer (`/NAME`), `[/LIST, AMOUNT]`, `{ product: [AMOUNT, …] }` or \
                        `{ sum: [AMOUNT, …] }`; in these it is a constant, too";

/// How much it is, as arguments say it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// What the argument says to which this pointer leads.
    Argument(String),
    /// The same in every call.
    Constant(Amount),
    /// What it is of each object of a list, or of lists in lists, together.
    Each(Vec<String>, Box<Self>),
    /// What all of these are together.
    Sum(Vec<Self>),
    /// The first as often as the others say.
    Product(Vec<Self>),
}

/// Where a part of an amount stands.
#[derive(Clone, Copy)]
struct At {
    /// How many places it may have.
    places: u8,
    /// Whether it goes on from each object of a list.
    in_list: bool,
    depth: usize,
}

impl Expression {
    /// Reads what is `written` for an amount that has up to `places` places.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub(super) fn read(written: &Value, places: u8) -> Result<Self, String> {
        let read = part(written, At { places, in_list: false, depth: 0 })?;
        if read.terms() > TERMS_MAX {
            return Err(format!(
                "more than {TERMS_MAX} arguments and constants: write several budgets"
            ));
        }
        if read.paths().is_empty() {
            return Err(
                "it is the same of every call: name an argument, or write `calls`".to_owned()
            );
        }
        Ok(read)
    }

    /// What it is of a call with these arguments, if it can be read and has no more than `places` places.
    pub(super) fn of(&self, input: &Value, places: u8) -> Option<Amount> {
        match self {
            Self::Argument(pointer) => {
                Amount::of_value(input.pointer(pointer)?).filter(|it| it.has_places(places))
            }
            Self::Constant(amount) => Some(*amount),
            Self::Each(lists, of) => objects(lists, input)?
                .into_iter()
                .try_fold(Amount::default(), |sum, object| sum.plus(of.of(object, places)?)),
            Self::Sum(parts) => parts
                .iter()
                .try_fold(Amount::default(), |sum, part| sum.plus(part.of(input, places)?)),
            Self::Product(parts) => {
                let factor = |part: &Self| part.of(input, Amount::PLACES_MAX);
                let product = parts
                    .iter()
                    .try_fold(Amount::ONE, |product, part| product.times(factor(part)?))?;
                product.has_places(places).then_some(product)
            }
        }
    }

    /// Where the arguments are that it names.
    pub(super) fn paths(&self) -> Vec<Path> {
        match self {
            Self::Argument(pointer) => vec![Path::to(pointer)],
            Self::Constant(_) => Vec::new(),
            Self::Each(lists, of) => {
                of.paths().into_iter().map(|path| path.within(lists)).collect()
            }
            Self::Sum(parts) | Self::Product(parts) => parts.iter().flat_map(Self::paths).collect(),
        }
    }

    /// How many arguments and constants it has.
    fn terms(&self) -> usize {
        match self {
            Self::Argument(_) | Self::Constant(_) => 1,
            Self::Each(_, of) => of.terms(),
            Self::Sum(parts) | Self::Product(parts) => parts.iter().map(Self::terms).sum(),
        }
    }

    /// It, as a part of another one.
    fn as_part(&self) -> String {
        match self {
            Self::Sum(_) | Self::Product(_) => format!("({self})"),
            Self::Argument(_) | Self::Constant(_) | Self::Each(..) => self.to_string(),
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined =
            |parts: &[Self], by: &str| parts.iter().map(Self::as_part).collect::<Vec<_>>().join(by);
        match self {
            Self::Argument(pointer) => f.write_str(pointer),
            Self::Constant(amount) => amount.fmt(f),
            Self::Each(lists, of) => write!(f, "{}[]{}", lists.join("[]"), of.as_part()),
            Self::Sum(parts) => f.write_str(&joined(parts, " + ")),
            Self::Product(parts) => f.write_str(&joined(parts, " * ")),
        }
    }
}

fn part(written: &Value, at: At) -> Result<Expression, String> {
    if at.depth > DEPTH_MAX {
        return Err(format!("it is more than {DEPTH_MAX} deep: write several budgets"));
    }
    let below = At { depth: at.depth + 1, ..at };
    match written {
        Value::String(text) if text.parse::<Amount>().is_err() => {
            beside::is_pointer(text)?;
            Ok(Expression::Argument(text.clone()))
        }
        Value::String(_) | Value::Number(_) => constant(written, at.places),
        Value::Array(items) => each(items, below),
        Value::Object(members) => combined(members, below),
        Value::Null | Value::Bool(_) => Err(EXPECTED.to_owned()),
    }
}

fn constant(written: &Value, places: u8) -> Result<Expression, String> {
    let amount = Amount::of_value(written).filter(|amount| *amount > Amount::default());
    let amount = amount.ok_or_else(|| {
        let most = Amount::PLACES_MAX;
        format!(
            "`{written}` is no constant: write digits, above zero, with at most {most} after a point"
        )
    })?;
    if !amount.has_places(places) {
        return Err(format!("`{amount}` has more places than the amount: say more `places`"));
    }
    Ok(Expression::Constant(amount))
}

/// What is written as pointers to lists, and what goes on from each object there.
fn each(items: &[Value], at: At) -> Result<Expression, String> {
    let lists_and_one = items.split_last().filter(|(_, lists)| lists.len() <= LISTS_MAX);
    let Some((last, lists)) = lists_and_one else {
        return Err(format!("it is a pointer, or up to {LISTS_MAX} to lists and one more"));
    };
    if lists.is_empty() {
        return part(last, at);
    }
    if at.in_list {
        return Err("has a list of the objects of a list within what is added up there: write \
                    `[/LIST, /LIST, AMOUNT]`"
            .to_owned());
    }
    let pointer = |list: &Value| -> Result<String, String> {
        let text = list.as_str().ok_or(EXPECTED)?;
        beside::is_pointer(text)?;
        Ok(text.to_owned())
    };
    let lists = lists.iter().map(pointer).collect::<Result<Vec<_>, _>>()?;
    let of = part(last, At { in_list: true, ..at })?;
    if of.paths().is_empty() {
        return Err("it is the same of every object of a list: name an argument there".to_owned());
    }
    Ok(Expression::Each(lists, Box::new(of)))
}

fn combined(members: &Map<String, Value>, at: At) -> Result<Expression, String> {
    let mut members = members.iter();
    let (Some((name, Value::Array(parts))), None) = (members.next(), members.next()) else {
        return Err(EXPECTED.to_owned());
    };
    if parts.len() < 2 {
        return Err("a `sum` or `product` has two parts or more: take it out".to_owned());
    }
    let read = |at: At| parts.iter().map(|it| part(it, at)).collect::<Result<Vec<_>, String>>();
    match name.as_str() {
        "sum" => read(at).map(Expression::Sum),
        // What is finer than the amount can come to one that is not: 0.5 × 3.
        "product" => read(At { places: Amount::PLACES_MAX, ..at }).map(Expression::Product),
        _ => Err(EXPECTED.to_owned()),
    }
}

//! Budgets: how much of something may be used up, by whom, and in which time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};

use crate::BudgetName;

/// How many parts a unit of an amount has: an amount has four places, as a decimal of policies has.
const PARTS: i64 = 10_000;

/// The most digits before the point of an amount that is an argument and written as a text.
const DIGITS_MAX: usize = 14;

/// The most of any amount.
const WRITTEN_MAX: usize = DIGITS_MAX + 1;

/// An exact amount with at most four places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i64);

/// A text that is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an amount as digits, with at most four after a point")]
pub struct InvalidAmount;

impl Amount {
    /// The most places that an amount has.
    pub const PLACES_MAX: u8 = 4;

    /// One: of a thing, a call, a unit of money.
    pub const ONE: Self = Self(PARTS);

    /// The amount of as many ten-thousandths.
    pub const fn from_parts(parts: i64) -> Self {
        Self(parts)
    }

    /// It, in ten-thousandths.
    pub const fn parts(self) -> i64 {
        self.0
    }

    /// The number as an amount, however it is spelt, if it is exactly one.
    pub fn of_number(number: &Number) -> Option<Self> {
        let text = match (number.as_i64(), number.as_f64()) {
            (Some(long), _) => long.to_string(),
            // Rust prints the shortest digits that read back equal, and never an exponent.
            (None, Some(double)) if number.is_f64() => format!("{double}"),
            _ => return None,
        };
        let (whole, places) = text.split_once('.').unwrap_or((&text, "0"));
        if places.len() > usize::from(Self::PLACES_MAX) || whole.len() > 20 {
            return None;
        }
        let parts: i128 = format!("{whole}{places:0<4}").parse().ok()?;
        i64::try_from(parts).ok().map(Self)
    }

    /// The value as an amount that is not below zero: a number, or a text of digits that can be read in one
    /// way only.
    pub fn of_value(value: &Value) -> Option<Self> {
        let amount = match value {
            Value::Number(number) => Self::of_number(number),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        amount.filter(|amount| amount.0 >= 0)
    }

    /// Whether it has no more than `most` places.
    pub fn has_places(self, most: u8) -> bool {
        let unused = u32::from(Self::PLACES_MAX.saturating_sub(most));
        self.0 % 10_i64.pow(unused) == 0
    }

    /// Both together, unless that is more than an amount can be.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The one as often as the other says, unless that is finer than an amount can be, or more.
    pub fn times(self, other: Self) -> Option<Self> {
        let (product, parts) = (i128::from(self.0) * i128::from(other.0), i128::from(PARTS));
        let is_exact = product % parts == 0;
        i64::try_from(product / parts).ok().filter(|_| is_exact).map(Self)
    }

    /// What is left of it once `used` is used up.
    #[must_use]
    pub fn less(self, used: Self) -> Self {
        Self(self.0.saturating_sub(used.0).max(0))
    }
}

impl FromStr for Amount {
    type Err = InvalidAmount;

    /// Reads digits, with at most four more after a point. A sign, a zero before other digits or anything
    /// else is refused: a tool might read it in another way.
    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        read(text, DIGITS_MAX)
    }
}

fn read(text: &str, digits_max: usize) -> Result<Amount, InvalidAmount> {
    let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let leads_with_zero = whole.len() > 1 && whole.starts_with('0');
    let fits = (1..=digits_max).contains(&whole.len()) && (1..=4).contains(&places.len());
    if !fits || leads_with_zero || !is_digits(whole) || !is_digits(places) {
        return Err(InvalidAmount);
    }
    format!("{whole}{places:0<4}").parse().map(Amount).map_err(|_| InvalidAmount)
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, parts) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let (whole, places) = (parts / PARTS.unsigned_abs(), parts % PARTS.unsigned_abs());
        write!(f, "{sign}{whole}")?;
        if places == 0 {
            return Ok(());
        }
        write!(f, ".{}", format!("{places:04}").trim_end_matches('0'))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = match Value::deserialize(deserializer)? {
            Value::String(text) => read(&text, WRITTEN_MAX),
            value => Self::of_value(&value).ok_or(InvalidAmount),
        };
        read.map_err(serde::de::Error::custom)
    }
}

/// What an act uses up of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spend {
    /// The budget.
    pub budget: BudgetName,
    /// In which time it is used up, and by whom (`day-20600/agent/billing`).
    pub place: String,
    /// How much the act uses.
    pub amount: Amount,
    /// How much may be used there.
    pub cap: Amount,
}

impl Spend {
    /// What counts what is used up there, among all budgets.
    pub fn counter(&self) -> String {
        format!("{}/{}", self.budget, self.place)
    }

    /// Whether there is as much left, once `used` is used up. Who uses nothing always finds that.
    pub fn fits(&self, used: Amount) -> bool {
        let all = used.0.checked_add(self.amount.0);
        self.amount.0 == 0 || all.is_some_and(|all| all <= self.cap.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Amount;

    #[test]
    fn an_amount_is_read_in_one_way_or_not_at_all() {
        let check = |value: Value, expected: Option<&str>| {
            let read = Amount::of_value(&value).map(|amount| amount.to_string());
            assert_eq!(read.as_deref(), expected, "{value}");
        };
        for (value, expected) in [
            (json!(0), "0"),
            (json!(12), "12"),
            (json!(12.5), "12.5"),
            (json!(1e2), "100"),
            (json!(0.0001), "0.0001"),
            (json!("12"), "12"),
            (json!("12.50"), "12.5"),
            (json!("0.0001"), "0.0001"),
            (json!("99999999999999.9999"), "99999999999999.9999"),
            (json!(922_337_203_685_477_i64), "922337203685477"),
        ] {
            check(value, Some(expected));
        }
        let numbers = [json!(-1), json!(-0.5), json!(0.00001), json!(922_337_203_685_478_i64)];
        let huge = [json!(u64::MAX), json!(1e300), json!(null), json!(true), json!([1]), json!({})];
        let texts = [
            "",
            " 1",
            "1 ",
            "+1",
            "-1",
            "01",
            "1.",
            ".5",
            "1e2",
            "1,5",
            "1_000",
            "0x1",
            "1.00001",
            "\u{663}",
            "NaN",
            "999999999999999",
        ];
        let texts = texts.map(|text| json!(text));
        numbers.into_iter().chain(huge).chain(texts).for_each(|value| check(value, None));
    }

    #[test]
    fn every_amount_reads_as_it_is_written() {
        for parts in [0, 1, 15_000, i64::MAX] {
            let amount = Amount::from_parts(parts);
            let read = serde_json::from_value::<Amount>(json!(amount)).expect("it reads");
            assert_eq!(read, amount, "{amount}");
        }
        assert!(serde_json::from_value::<Amount>(json!("999999999999999")).is_err());
    }

    #[test]
    fn an_amount_has_no_more_places_than_it_needs() {
        let places = |text: &str, most: u8| text.parse::<Amount>().unwrap().has_places(most);
        assert!(places("1", 0) && places("1.00", 0) && places("1.5", 1) && places("1.0001", 4));
        assert!(!places("1.5", 0) && !places("1.55", 1) && !places("1.0001", 3));
    }

    #[test]
    fn a_product_is_exact_or_there_is_none() {
        let check = |one: &str, other: &str, expected: Option<&str>| {
            let [one, other] = [one, other].map(|text| text.parse::<Amount>().unwrap());
            let product = one.times(other).map(|amount| amount.to_string());
            assert_eq!(product.as_deref(), expected, "{one} {other}");
            assert_eq!(one.times(other), other.times(one), "{one} {other}");
        };
        check("3", "9.99", Some("29.97"));
        check("0.5", "0.5", Some("0.25"));
        check("0.01", "0.01", Some("0.0001"));
        check("0", "99999999999999.9999", Some("0"));
        check("0.01", "0.001", None);
        check("1.0001", "1.0001", None);
        check("92233720368547", "10", Some("922337203685470"));
        check("92233720368548", "10", None);
        check("99999999999999.9999", "99999999999999", None);
    }

    #[test]
    fn what_is_left_is_never_below_zero() {
        let amount = |text: &str| text.parse::<Amount>().unwrap();
        assert_eq!(amount("5").less(amount("3.5")), amount("1.5"));
        assert_eq!(amount("5").less(amount("6")), Amount::default());
    }
}

//! Formats of texts that have a type of their own in Cedar (`docs/adr/0014-formats.md`).
//!
//! A format is what a tool's server says of an argument, and nobody checks it before: whatever is not exactly of
//! it has no value, so that no policy that could look at it is asked. INVARIANT: every value that is
//! given is one that Cedar takes (`a_formatted_text_is_a_value_or_left_out`).

use std::net::{Ipv4Addr, Ipv6Addr};

use cedar_policy::RestrictedExpression;
use model::{Amount, Timestamp};

use crate::compile::Compiler;
use crate::shape::decimal;

/// How a point in time is spelt whose year has four digits.
const TIME: &str = "2027-01-31T12:00:00.000Z";

/// A format whose texts have exact values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    /// `date-time` (RFC 3339).
    DateTime,
    /// `decimal` (the format registry of `OpenAPI`).
    Decimal,
    /// `ipv4` (RFC 2673 §3.2).
    Ipv4,
    /// `ipv6` (RFC 4291 §2.2).
    Ipv6,
}

impl Format {
    /// The format that a schema calls so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "date-time" => Some(Self::DateTime),
            "decimal" => Some(Self::Decimal),
            "ipv4" => Some(Self::Ipv4),
            "ipv6" => Some(Self::Ipv6),
            _ => None,
        }
    }

    /// The Cedar extension type of its texts.
    pub(crate) const fn type_name(self) -> &'static str {
        match self {
            Self::DateTime => "datetime",
            Self::Decimal => "decimal",
            Self::Ipv4 | Self::Ipv6 => "ipaddr",
        }
    }

    /// The value of `text`, if it is exactly of the format.
    pub(crate) fn value(self, text: &str) -> Option<RestrictedExpression> {
        match self {
            Self::DateTime => instant(text).map(RestrictedExpression::new_datetime),
            Self::Decimal => number(text).map(RestrictedExpression::new_decimal),
            Self::Ipv4 => {
                text.parse::<Ipv4Addr>().ok().map(|it| RestrictedExpression::new_ip(it.to_string()))
            }
            Self::Ipv6 => ipv6(text).map(RestrictedExpression::new_ip),
        }
    }
}

impl Compiler {
    /// Those of before, the latest first, for what was decided then by a set that does not compile any more: when schema
    /// parts declared types under any names, and texts were of any length; and when, besides, formats were no types.
    pub fn of_before() -> [Self; 2] {
        [false, true].map(|as_texts| {
            let mut compiler = Self::default();
            (compiler.of_before, compiler.as_texts) = (true, as_texts);
            compiler
        })
    }
}

/// A date and a time to the second, or to the thousandth, with where on earth: in one way of spelling, so that no tool
/// reads another time.
fn instant(text: &str) -> Option<String> {
    let digits: String =
        text.chars().map(|it| if it.is_ascii_digit() { '0' } else { it }).collect();
    let rest = digits.strip_prefix("0000-00-00T00:00:00")?;
    let fraction = [".000", ".00", ".0", ""].into_iter().find(|it| rest.starts_with(it))?;
    let zone = text.get(text.len() - (rest.len() - fraction.len())..)?;
    let is_zone = match zone.as_bytes() {
        b"Z" => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            [h1, h2, m1, m2].iter().all(|it| it.is_ascii_digit())
                && [*h1, *h2] <= *b"23"
                && [*m1, *m2] <= *b"59"
        }
        _ => false,
    };
    // A second that was put in has no time of its own.
    let is_second = text.get(17..19).is_some_and(|second| second <= "59");
    let told = text.parse::<Timestamp>().ok().filter(|_| is_zone && is_second)?.to_string();
    (told.len() == TIME.len()).then_some(told)
}

/// Digits, with at most four more after a point, and perhaps a minus before them.
fn number(text: &str) -> Option<String> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let amount: Amount = digits.parse().ok()?;
    Some(format!("{sign}{}", decimal(amount)))
}

/// All eight groups. An address that stands for one of version 4, or leads to it, has no value: Cedar finds it in no
/// range of those.
fn ipv6(text: &str) -> Option<String> {
    let address: Ipv6Addr = text.parse().ok()?;
    let groups = address.segments().map(|group| format!("{group:x}"));
    let is_other = match address.segments() {
        [0, 0, 0, 0, 0, 0, high, _] => high != 0,
        // Mapped; translated without state (RFC 2765); NAT64 (RFC 6052), and where a network has its own (RFC 8215);
        // Teredo; 6to4; ISATAP.
        [0, 0, 0, 0, 0, 0xffff, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _]
        | [0x64, 0xff9b, 1, ..]
        | [0x2001, 0, ..]
        | [0x2002, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => true,
        _ => false,
    };
    (!is_other).then(|| groups.join(":"))
}

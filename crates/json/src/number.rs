//! Which number texts are exact: whose RFC 8785 form is numerically the same number.
//!
//! INVARIANT: an accepted number is one number to whoever reads it, as a decimal or as the double that
//! is written as that decimal.

/// Decimal digits that every double keeps (C's `DBL_DIG`).
const DIGITS_ALWAYS_KEPT: usize = 15;

/// Decimal exponents between which [`DIGITS_ALWAYS_KEPT`] holds with a margin: no subnormals.
const EXPONENTS_ALWAYS_KEPT: std::ops::RangeInclusive<i64> = -280..=280;

/// Says whether `text` is a JSON number that RFC 8785 writes as the same number.
///
/// `1e2`, `100.0`, `0.1` and `-0` are exact; `9007199254740993`, `0.30000000000000001` and `1e400`
/// are not, nor is what is no JSON number.
pub fn is_exact_number(text: &str) -> bool {
    let Some(stated) = Decimal::parse(text) else { return false };
    if stated.is_always_kept() {
        return true;
    }
    // A grammatical JSON number is always a Rust one.
    let value: f64 = text.parse().unwrap_or(f64::NAN);
    if !value.is_finite() {
        return false;
    }
    Decimal::parse(ryu_js::Buffer::new().format_finite(value)).is_some_and(|kept| kept == stated)
}

/// Says whether `text` follows the number grammar of RFC 8259 §6.
pub(crate) fn is_number(text: &str) -> bool {
    Parts::split(text).is_some()
}

/// A number text cut at its signs and points.
struct Parts<'a> {
    negative: bool,
    integer: &'a str,
    fraction: &'a str,
    exponent: &'a str,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
            Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
            None => (unsigned, None),
        };
        let (integer, fraction) = match mantissa.split_once('.') {
            Some((integer, fraction)) => (integer, Some(fraction)),
            None => (mantissa, None),
        };
        let well_formed = all_digits(integer)
            && (integer == "0" || !integer.starts_with('0'))
            && fraction.is_none_or(all_digits)
            && exponent.is_none_or(|e| all_digits(e.strip_prefix(['+', '-']).unwrap_or(e)));
        let (fraction, exponent) = (fraction.unwrap_or(""), exponent.unwrap_or("0"));
        well_formed.then_some(Self { negative, integer, fraction, exponent })
    }
}

/// `digits` × 10^`exponent`, in one form per number: no zeros at either end, zero without digits.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let parts = Parts::split(text)?;
        let written = || parts.integer.bytes().chain(parts.fraction.bytes());
        let mut digits: Vec<u8> = written().skip_while(|digit| *digit == b'0').collect();
        let significant = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |at| at + 1);
        let dropped = digits.len() - significant;
        digits.truncate(significant);
        if digits.is_empty() {
            return Some(Self { negative: false, digits, exponent: 0 });
        }
        // An exponent beyond i32 is far beyond every double: any value that stays so will do.
        let beyond = if parts.exponent.starts_with('-') { i32::MIN } else { i32::MAX };
        let exponent = i64::from(parts.exponent.parse::<i32>().unwrap_or(beyond));
        let shift = i64::try_from(dropped).ok()? - i64::try_from(parts.fraction.len()).ok()?;
        Some(Self { negative: parts.negative, digits, exponent: exponent + shift })
    }

    fn is_always_kept(&self) -> bool {
        self.digits.len() <= DIGITS_ALWAYS_KEPT && EXPONENTS_ALWAYS_KEPT.contains(&self.exponent)
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

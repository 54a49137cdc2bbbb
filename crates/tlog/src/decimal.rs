//! Reads the ASCII decimals of the C2SP formats, each of which has one spelling.

/// The greatest number that a text may name (2^63 - 1): other implementations hold them signed.
const MAX: u64 = i64::MAX.cast_unsigned();

/// The number that `text` spells, without sign, spaces or leading zeros.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok().filter(|number| *number <= MAX)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse("70000"), Some(70_000));
        assert_eq!(parse("9223372036854775807"), Some(i64::MAX.cast_unsigned()));
        for refused in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "١", "9223372036854775808"]
        {
            assert_eq!(parse(refused), None, "{refused}");
        }
    }
}

//! Numbers in attach points and parameters, with messages that users match on.

/// Why a text is no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadNumber {
    /// It does not begin like one.
    Invalid(String),
    /// Something stands behind it.
    Trailing(String),
    /// It is too large.
    Overflow(String),
}

impl std::fmt::Display for BadNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadNumber::Invalid(text) => write!(f, "invalid integer: {text}"),
            BadNumber::Trailing(text) => write!(f, "invalid trailing bytes: {text}"),
            BadNumber::Overflow(text) => write!(f, "overflow error, maximum value is {}: {text}", u64::MAX),
        }
    }
}

/// Units of durations in nanoseconds.
const UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// A number with a sign: decimal, octal with `0` before it, hexadecimal with `0x`. Digits may be parted by `_`.
pub(crate) fn integer(text: &str) -> Result<i128, BadNumber> {
    let (value, rest) = leading(text)?;
    if rest.is_empty() { Ok(value) } else { Err(BadNumber::Trailing(text.to_owned())) }
}

/// A number that may end in a unit of time; then it is in nanoseconds and the second value is true.
pub(crate) fn duration(text: &str) -> Result<(i128, bool), BadNumber> {
    let (value, rest) = leading(text)?;
    if rest.is_empty() {
        return Ok((value, false));
    }
    let Some((_, scale)) = UNITS.iter().find(|(unit, _)| *unit == rest) else {
        return Err(BadNumber::Trailing(text.to_owned()));
    };
    let scaled = value.checked_mul(i128::from(*scale)).filter(|v| *v <= i128::from(u64::MAX));
    Ok((scaled.ok_or_else(|| BadNumber::Overflow(text.to_owned()))?, true))
}

/// The number at the start of a text, and what is left.
fn leading(text: &str) -> Result<(i128, &str), BadNumber> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => (16, hex),
        _ if digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit() => {
            (8, &digits[1..])
        }
        _ => (10, digits),
    };
    let end = digits.find(|c: char| !c.is_digit(radix) && c != '_').unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    if !number.starts_with(|c: char| c.is_digit(radix)) {
        return Err(BadNumber::Invalid(text.to_owned()));
    }
    let value = u64::from_str_radix(&number.replace('_', ""), radix);
    let value = value.map_err(|_| BadNumber::Overflow(text.to_owned()))?;
    let value = i128::from(value);
    if negative && value > 1 << 63 {
        return Err(BadNumber::Overflow(text.to_owned()));
    }
    Ok((if negative { -value } else { value }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_their_mistakes() {
        assert_eq!(integer("0775"), Ok(0o775));
        assert_eq!(integer("0x1F"), Ok(31));
        assert_eq!(integer("-5"), Ok(-5));
        assert_eq!(integer("0"), Ok(0));
        assert_eq!(integer("1_000"), Ok(1000));
        assert_eq!(integer("").map_err(|e| e.to_string()), Err("invalid integer: ".into()));
        assert_eq!(integer("1a").map_err(|e| e.to_string()), Err("invalid trailing bytes: 1a".into()));
        assert_eq!(integer("s").map_err(|e| e.to_string()), Err("invalid integer: s".into()));
        assert!(matches!(integer("99999999999999999999"), Err(BadNumber::Overflow(_))));
        assert_eq!(duration("5ms"), Ok((5_000_000, true)));
        assert_eq!(duration("7"), Ok((7, false)));
        assert_eq!(duration("1x").map_err(|e| e.to_string()), Err("invalid trailing bytes: 1x".into()));
        assert!(matches!(duration("999999999999d"), Err(BadNumber::Overflow(_))));
    }
}

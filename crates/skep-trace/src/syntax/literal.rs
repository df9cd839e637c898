//! Values of integer and string literals.

use std::ops::Range;

/// What is wrong with a literal, and which bytes of it are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) at: Range<usize>,
    pub(crate) message: String,
}

/// Value of an integer token; errors know their place in it.
pub(crate) fn integer(token: &str) -> Result<u64, Vec<Flaw>> {
    let whole = |message: String| vec![Flaw { at: 0..token.len(), message }];
    if let Some(rest) = token.strip_prefix("0x").or_else(|| token.strip_prefix("0X")) {
        let digits = rest.trim_end_matches(['u', 'U', 'l', 'L']);
        if let Some(flaw) = trailing_underscore(token, token.len() - rest.len() + digits.len()) {
            return Err(vec![flaw]);
        }
        if !is_c_suffix(&rest[digits.len()..]) {
            return Err(vec![bad_suffix(token, token.len() - rest.len() + digits.len())]);
        }
        return number(digits, 16).map_err(whole);
    }
    let coefficient = token.bytes().take_while(|b| b.is_ascii_digit() || *b == b'_').count();
    // `e` and digits: an exponent; `e` and anything else falls through to "trailing bytes".
    let mut end = coefficient;
    if token[end..].starts_with(['e', 'E']) {
        end += 1 + token[end + 1..].bytes().take_while(|b| b.is_ascii_digit() || *b == b'_').count();
    }
    if let Some(flaw) = trailing_underscore(token, end) {
        return Err(vec![flaw]);
    }
    let (digits, suffix) = token.split_at(end);
    let mut flaws = Vec::new();
    let unit = match unit(suffix) {
        Some(unit) => unit,
        None => {
            flaws.push(bad_suffix(token, end));
            1
        }
    };
    let value = if end > coefficient { scientific(digits, coefficient) } else { decimal(digits) };
    let scaled = value.and_then(|v| v.checked_mul(unit).ok_or_else(|| overflow(token)));
    match scaled {
        Ok(value) if flaws.is_empty() => Ok(value),
        Ok(_) => Err(flaws),
        Err(message) => {
            flaws.extend(whole(message));
            Err(flaws)
        }
    }
}

fn decimal(digits: &str) -> Result<u64, String> {
    match digits.strip_prefix('0') {
        Some(rest) if !rest.is_empty() => {
            let octal = rest.bytes().all(|b| matches!(b, b'0'..=b'7' | b'_'));
            if octal { number(rest, 8) } else { Err(format!("invalid trailing bytes: {digits}")) }
        }
        _ => number(digits, 10),
    }
}

fn scientific(text: &str, coefficient: usize) -> Result<u64, String> {
    let (head, exponent) = (&text[..coefficient], &text[coefficient + 1..]);
    if exponent.is_empty() {
        return Err(format!("invalid trailing bytes: {text}"));
    }
    let &[digit @ b'1'..=b'9'] = head.as_bytes() else {
        return Err(format!("coefficient part of scientific literal must be 1-9: {text}"));
    };
    let power =
        number(exponent, 10).ok().and_then(|e| u32::try_from(e).ok()).and_then(|e| 10u64.checked_pow(e));
    power.and_then(|p| p.checked_mul(u64::from(digit - b'0'))).ok_or_else(|| overflow(text))
}

fn number(digits: &str, radix: u32) -> Result<u64, String> {
    let mut value = 0u64;
    let mut any = false;
    for digit in digits.chars().filter_map(|c| c.to_digit(radix)) {
        any = true;
        let next = value.checked_mul(u64::from(radix)).and_then(|v| v.checked_add(u64::from(digit)));
        value = next.ok_or_else(|| overflow(digits))?;
    }
    if any { Ok(value) } else { Err(format!("invalid integer: {digits}")) }
}

fn overflow(text: &str) -> String {
    format!("overflow error, maximum value is {}: {text}", u64::MAX)
}

fn is_c_suffix(suffix: &str) -> bool {
    suffix.is_empty() || ["u", "l", "ul", "ll", "ull"].iter().any(|s| suffix.eq_ignore_ascii_case(s))
}

/// What a suffix multiplies with.
fn unit(suffix: &str) -> Option<u64> {
    Some(match suffix {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        "d" => 86_400 * 1_000_000_000,
        other if is_c_suffix(other) => 1,
        _ => return None,
    })
}

fn bad_suffix(token: &str, at: usize) -> Flaw {
    Flaw { at: at..token.len(), message: format!("invalid integer suffix '{}'", &token[at..]) }
}

fn trailing_underscore(token: &str, end: usize) -> Option<Flaw> {
    let message = "trailing underscore in integer literal".to_owned();
    token[..end].ends_with('_').then(|| Flaw { at: end - 1..end, message })
}

/// Bytes of a string token with its quotes. The first flaw ends it: later ones often follow from it.
pub(crate) fn string(token: &str) -> Result<Vec<u8>, Flaw> {
    let body = &token.as_bytes()[1..token.len() - 1];
    let mut out = Vec::with_capacity(body.len());
    let mut at = 0;
    while let Some(&byte) = body.get(at) {
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(&sign) = body.get(at) else { break };
        at += 1;
        match sign {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'\\' | b'"' => out.push(sign),
            b'0'..=b'7' => {
                let first = at - 1;
                let digits = body[first..].iter().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
                at = first + digits;
                let value = body[first..at].iter().fold(0u32, |v, b| v * 8 + u32::from(b - b'0'));
                match u8::try_from(value) {
                    Ok(value) => out.push(value),
                    Err(_) => {
                        let text = &token[first + 1..at + 1];
                        let message = format!("octal escape sequence out of range '\\{text}'");
                        return Err(Flaw { at: first..at + 1, message });
                    }
                }
            }
            b'x' => {
                let digits = body[at..].iter().take(2).take_while(|b| b.is_ascii_hexdigit()).count();
                if digits == 0 {
                    let message = "invalid hex escape sequence".to_owned();
                    return Err(Flaw { at: word_at(token, at + 1), message });
                }
                let value = token[at + 1..at + 1 + digits].chars().filter_map(|c| c.to_digit(16));
                out.push(value.fold(0, |v, d| v * 16 + d) as u8);
                at += digits;
            }
            _ => {
                let range = word_at(token, at);
                let sign = token[at..].chars().next().unwrap_or('\\');
                return Err(Flaw { at: range, message: format!("invalid escape character '\\{sign}'") });
            }
        }
    }
    Ok(out)
}

/// The word at a byte of a token, or one character.
fn word_at(token: &str, at: usize) -> Range<usize> {
    let word = token[at..].bytes().take_while(|&b| super::lexer::is_word(b)).count();
    let width = token[at..].chars().next().map_or(0, char::len_utf8);
    at..at + word.max(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_all_forms() {
        for (text, value) in [
            ("0", 0),
            ("1_000", 1000),
            ("0x1F", 31),
            ("0X1_0ul", 16),
            ("010", 8),
            ("0_7", 7),
            ("2e3", 2000),
            ("1E3", 1000),
            ("1e19", 10_000_000_000_000_000_000),
            ("5ULL", 5),
            ("5Ul", 5),
            ("18446744073709551615u", u64::MAX),
            ("1m", 60_000_000_000),
            ("1e3s", 1_000_000_000_000),
            ("7ns", 7),
            ("05us", 5_000),
            ("2h", 7_200_000_000_000),
            ("1d", 86_400_000_000_000),
        ] {
            assert_eq!(integer(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn flaws_of_integers_have_a_place() {
        let flaw = |text: &str| {
            let flaws = integer(text).expect_err(text);
            flaws.into_iter().map(|f| (f.at, f.message)).collect::<Vec<_>>()
        };
        assert_eq!(flaw("12abc"), [(2..5, "invalid integer suffix 'abc'".to_owned())]);
        assert_eq!(flaw("1_"), [(1..2, "trailing underscore in integer literal".to_owned())]);
        assert_eq!(flaw("08"), [(0..2, "invalid trailing bytes: 08".to_owned())]);
        assert_eq!(flaw("0x"), [(0..2, "invalid integer: ".to_owned())]);
        assert_eq!(flaw("12e3")[0].1, "coefficient part of scientific literal must be 1-9: 12e3");
        assert_eq!(flaw("1e"), [(0..2, "invalid trailing bytes: 1e".to_owned())]);
        assert_eq!(flaw("1e99999999999")[0].0, 0..13);
        assert_eq!(flaw("300000d")[0].1, "overflow error, maximum value is 18446744073709551615: 300000d");
        assert_eq!(flaw("99999999999999999999abc").len(), 2);
        assert!(flaw("0x1ffffffffffffffff")[0].1.ends_with(": 1ffffffffffffffff"));
    }

    #[test]
    fn strings_hold_any_byte() {
        assert_eq!(string(r#""a\n\t\r\\\"b""#), Ok(b"a\n\t\r\\\"b".to_vec()));
        assert_eq!(string(r#""\0\18\377\x7\x7fg\xff""#), Ok(b"\0\x018\xff\x07\x7fg\xff".to_vec()));
        assert_eq!(string("\"\u{e9}\""), Ok("\u{e9}".as_bytes().to_vec()));
    }

    #[test]
    fn flaws_of_strings_have_a_place() {
        let flaw = |text: &str| string(text).map_err(|f| (f.at, f.message)).expect_err(text);
        assert_eq!(flaw(r#""a\qc""#), (3..5, "invalid escape character '\\q'".to_owned()));
        assert_eq!(flaw(r#""a\400""#), (2..6, "octal escape sequence out of range '\\400'".to_owned()));
        assert_eq!(flaw(r#""\xg""#), (3..4, "invalid hex escape sequence".to_owned()));
        assert_eq!(flaw(r#""\x""#), (3..4, "invalid hex escape sequence".to_owned()));
        assert_eq!(flaw("\"\\\u{e9}\"").1, "invalid escape character '\\\u{e9}'");
    }
}

//! Formats of `printf` and its kin: from text to pieces, and what each piece takes.

use crate::plan::{ConvKind, Conversion, Format, Piece};
use crate::types::Type;

/// A conversion as written, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// What stands at its end: `d`, `s`, `rx`...
    pub(crate) name: String,
}

/// A format with the names of its conversions, one for each [`Piece::Conv`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parsed {
    pub(crate) format: Format,
    pub(crate) specs: Vec<Spec>,
}

/// Widest field that is padded to; more is cut to it, so that no format can ask for gigabytes of blanks.
const MAX_WIDTH: u32 = 1 << 16;

/// Reads a format. What is no conversion is text, a `%` included; flags have a fixed order.
pub(crate) fn parse(text: &[u8]) -> Parsed {
    let mut format: Format = Vec::new();
    let mut specs = Vec::new();
    let mut plain: Vec<u8> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match conversion(&text[at..]) {
            Some((None, len)) => {
                plain.push(b'%');
                at += len;
            }
            Some((Some((conversion, name)), len)) => {
                if !plain.is_empty() {
                    format.push(Piece::Text(std::mem::take(&mut plain)));
                }
                format.push(Piece::Conv(conversion));
                specs.push(Spec { name });
                at += len;
            }
            None => {
                plain.push(text[at]);
                at += 1;
            }
        }
    }
    if !plain.is_empty() {
        format.push(Piece::Text(plain));
    }
    Parsed { format, specs }
}

/// Reads a conversion at the start of a text: the conversion (none for `%%`) and its length.
#[allow(clippy::type_complexity, reason = "read in one place")]
fn conversion(text: &[u8]) -> Option<(Option<(Conversion, String)>, usize)> {
    let mut at = 1;
    if text.first() != Some(&b'%') {
        return None;
    }
    let mut take = |c: u8| {
        let found = text.get(at) == Some(&c);
        at += usize::from(found);
        found
    };
    let mut out = Conversion {
        left: take(b'-'),
        plus: take(b'+'),
        space: take(b' '),
        alternate: take(b'#'),
        zero: take(b'0'),
        ..Conversion::default()
    };
    (out.width, at) = number(text, at).map_or((0, at), |(n, next)| (n.unwrap_or(0), next));
    if text.get(at) == Some(&b'.') {
        // A point must be followed by digits or a star; else this is no conversion.
        let (precision, next) = number(text, at + 1)?;
        out.precision = precision;
        at = next;
    }
    let start = at;
    while text.get(at).is_some_and(|c| b"hlLjzt".contains(c)) {
        at += 1;
    }
    out.bytes = match &text[start..at] {
        b"hh" => 1,
        b"h" => 2,
        b"" => 4,
        _ => 8,
    };
    let rest = &text[at..];
    let two = rest.get(..2).filter(|t| [b"gr".as_slice(), b"rx", b"rh"].contains(t));
    let name = two.or_else(|| rest.get(..1))?;
    out.kind = match name {
        b"d" | b"i" => ConvKind::Signed,
        b"u" => ConvKind::Unsigned,
        b"o" => ConvKind::Octal,
        b"x" => ConvKind::Hex,
        b"X" => ConvKind::UpperHex,
        b"c" => ConvKind::Char,
        b"p" => ConvKind::Pointer,
        b"s" => ConvKind::Text,
        b"r" => ConvKind::Bytes,
        b"rx" => ConvKind::BytesHex,
        b"rh" => ConvKind::BytesSpacedHex,
        b"gr" => ConvKind::GfpFlags,
        b"%" => return Some((None, at + 1)),
        // Known to C and to nobody here: told by its name.
        [c] if b"eEfFgGaAn".contains(c) => ConvKind::Text,
        _ => return None,
    };
    let name = String::from_utf8_lossy(name).into_owned();
    let len = at + name.len();
    // Addresses are whole whatever the length says.
    if out.kind == ConvKind::Pointer {
        out.bytes = 8;
    }
    Some((Some((out, name)), len))
}

/// Digits or a star at a place: the number (none for a star) and what is behind it.
fn number(text: &[u8], at: usize) -> Option<(Option<u32>, usize)> {
    if text.get(at) == Some(&b'*') {
        return Some((None, at + 1));
    }
    let len = text[at.min(text.len())..].iter().take_while(|c| c.is_ascii_digit()).count();
    let digits = std::str::from_utf8(text.get(at..at + len)?).ok()?;
    (len > 0).then(|| (Some(digits.parse().unwrap_or(MAX_WIDTH).min(MAX_WIDTH)), at + len))
}

impl Spec {
    /// Why a value of a type cannot be shown by it; the type's name is as messages show it.
    pub(crate) fn check(&self, ty: &Type, shown: &str) -> Option<String> {
        if *ty == Type::None {
            return Some(format!("unable to print none type for specifier: {}", self.name));
        }
        let fits = match self.name.as_str() {
            "d" | "i" | "u" | "o" | "x" | "X" | "c" | "p" | "gr" => {
                matches!(ty, Type::Int(_) | Type::Bool | Type::Ptr(..) | Type::Enum(_))
            }
            "r" | "rx" | "rh" => matches!(ty, Type::Buf(_)),
            _ => true,
        };
        (!fits).then(|| format!("unsupported format specifier for type '{shown}': {}", self.name))
    }

    /// Whether C has it and the language does not.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self.name.as_str(), "e" | "E" | "f" | "F" | "g" | "G" | "a" | "A" | "n")
    }
}

/// Whether a format ends in `n` where a newline was meant: `%sn`, `%dn`. Gives what was meant.
pub(crate) fn meant_newline(parsed: &Parsed) -> Option<String> {
    let [.., Piece::Conv(_), Piece::Text(end)] = parsed.format.as_slice() else { return None };
    (end == b"n").then(|| format!("%{}\\n", parsed.specs.last().map_or("s", |s| s.name.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text.as_bytes()).specs.into_iter().map(|s| s.name).collect()
    }

    #[test]
    fn conversions_and_what_is_none() {
        assert_eq!(names("%d %% %-5s|%rx%gr"), ["d", "s", "rx", "gr"]);
        assert_eq!(names("%y %5 %+-d %qd %"), [""; 0]);
        assert_eq!(names("%.s"), [""; 0]);
        assert_eq!(names("%.3s%*.*d"), ["s", "d"]);
        assert_eq!(names("%f"), ["f"]);
        let parsed = parse(b"a%-+ #010.3lldb");
        let conversion = Conversion {
            left: true,
            plus: true,
            space: true,
            alternate: true,
            zero: true,
            width: 10,
            precision: Some(3),
            bytes: 8,
            kind: ConvKind::Signed,
        };
        let text = |t: &str| Piece::Text(t.as_bytes().to_vec());
        assert_eq!(parsed.format, [text("a"), Piece::Conv(conversion), text("b")]);
        assert_eq!(parse(b"100%").format, [text("100%")]);
        let widths = |f: &str| match parse(f.as_bytes()).format.first() {
            Some(Piece::Conv(c)) => (c.width, c.bytes),
            _ => (0, 0),
        };
        assert_eq!(widths("%99999999999d"), (MAX_WIDTH, 4));
        assert_eq!(widths("%hhd"), (0, 1));
        assert_eq!(widths("%zu"), (0, 8));
    }

    #[test]
    fn a_newline_that_lost_its_backslash() {
        assert_eq!(meant_newline(&parse(b"a %sn")), Some("%s\\n".into()));
        assert_eq!(meant_newline(&parse(b"a %s\n")), None);
        assert_eq!(meant_newline(&parse(b"%s in")), None);
    }
}

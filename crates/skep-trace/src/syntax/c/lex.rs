//! Preprocessing tokens of C.

use super::super::lexer::{is_word, is_word_start};
use skep_ir::{Loc, SourceMap, Span};

/// Kind of a token.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ident,
    Number,
    Char,
    Str,
    Punct,
    /// The end of a logical line.
    Newline,
    /// A number that the preprocessor found out, such as that of `defined(X)`.
    Value(i64),
}

/// A token. Its text is that of its span; if a macro brought it in, the expansion of its place says where.
#[derive(Copy, Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) loc: Loc,
}

impl Token {
    pub(super) fn text(self, sources: &SourceMap) -> &str {
        sources.text(self.loc.span)
    }

    pub(super) fn is(self, sources: &SourceMap, text: &str) -> bool {
        !matches!(self.kind, Kind::Newline | Kind::Value(_)) && self.text(sources) == text
    }
}

const SIGNS: &[&str] = &[
    "...", "<<=", ">>=", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "##", "->", "++", "--", "+=", "-=",
    "*=", "/=", "%=", "&=", "|=", "^=",
];

/// Tokens of a part of a text, with [`Kind::Newline`] at the end of each logical line and of the text.
pub(super) fn tokens(text: &str, span: Span) -> Vec<Token> {
    let bytes = text.as_bytes();
    let end = (span.hi as usize).min(bytes.len());
    let byte = |at: usize| if at < end { bytes[at] } else { 0 };
    let run = |mut at: usize, member: &dyn Fn(u8) -> bool| {
        while at < end && member(bytes[at]) {
            at += 1;
        }
        at
    };
    let until = |at: usize, sign: &[u8]| {
        let rest = bytes.get(at..end).unwrap_or_default();
        rest.windows(sign.len()).position(|w| w == sign).map_or(end, |n| at + n)
    };
    let mut tokens = Vec::new();
    let mut at = span.lo as usize;
    while at < end {
        let lo = at;
        let kind = match bytes[at] {
            b'\n' => {
                at += 1;
                Kind::Newline
            }
            b' ' | b'\t' | b'\r' | 0x0b | 0x0c => {
                at += 1;
                continue;
            }
            b'\\' if byte(at + 1) == b'\n' => {
                at += 2;
                continue;
            }
            b'\\' if byte(at + 1) == b'\r' && byte(at + 2) == b'\n' => {
                at += 3;
                continue;
            }
            b'/' if byte(at + 1) == b'/' => {
                at = until(at, b"\n");
                continue;
            }
            b'/' if byte(at + 1) == b'*' => {
                at = (until(at + 2, b"*/") + 2).min(end);
                continue;
            }
            b if is_word_start(b) => {
                at = run(at, &is_word);
                Kind::Ident
            }
            b if b.is_ascii_digit() => {
                at = run(at, &|b| is_word(b) || b == b'.');
                Kind::Number
            }
            quote @ (b'"' | b'\'') => {
                at += 1;
                while at < end && bytes[at] != quote && bytes[at] != b'\n' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at = if byte(at) == quote { at + 1 } else { text.floor_char_boundary(at.min(end)) };
                if quote == b'"' { Kind::Str } else { Kind::Char }
            }
            _ => {
                let sign = SIGNS.iter().find(|s| bytes[at..end].starts_with(s.as_bytes()));
                let width = || text[at..].chars().next().map_or(1, char::len_utf8);
                at = (at + sign.map_or_else(width, |s| s.len())).min(end);
                Kind::Punct
            }
        };
        tokens.push(Token { kind, loc: Loc::new(Span { file: span.file, lo: lo as u32, hi: at as u32 }) });
    }
    if tokens.last().is_none_or(|t| t.kind != Kind::Newline) {
        let place = Span { file: span.file, lo: end as u32, hi: end as u32 };
        tokens.push(Token { kind: Kind::Newline, loc: Loc::new(place) });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_comments_and_continuations() {
        let mut sources = SourceMap::default();
        let text = "a/* \n */b \\\n c // d\n'\\'' \"\\\"\" 0x1FULL ## x\u{e9}";
        let file = sources.add_file("a.h", text);
        let found = tokens(text, Span { file, lo: 0, hi: text.len() as u32 });
        let words: Vec<_> =
            found.iter().map(|t| if t.kind == Kind::Newline { "\n" } else { t.text(&sources) }).collect();
        assert_eq!(words, ["a", "b", "c", "\n", "'\\''", "\"\\\"\"", "0x1FULL", "##", "x", "\u{e9}", "\n"]);
    }
}

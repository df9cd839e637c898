//! Tokens of a line.

use super::parse::Problem;
use super::{is_identifier, is_name_byte};

/// One token and its column, from 1, counted in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) column: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    /// A quoted name.
    Quoted(String),
    Number {
        value: u64,
        hex: bool,
    },
    Sign(&'static str),
}

impl Token {
    /// The token as a message quotes it.
    pub(super) fn describe(&self) -> String {
        match self {
            Token::Word(word) => format!("`{word}`"),
            Token::Quoted(name) => format!("{name:?}"),
            Token::Number { value, .. } => format!("`{value}`"),
            Token::Sign(sign) => format!("`{sign}`"),
        }
    }
}

/// Longer ones first.
const SIGNS: &[&str] = &[
    ">>=", "<<=", "+=", "-=", "*=", "/=", "|=", "&=", "%=", "^=", "==", "!=", ">=", "<=", "=", "<", ">", "&",
    "*", "(", ")", "[", "]", "+", "-", ":", "#", ",", "@",
];

/// A lexical mistake: column and what is wrong.
pub(super) type Mistake = (usize, Problem);

/// The tokens of a line up to its comment.
pub(super) fn tokens(line: &str) -> Result<Vec<Spanned>, Mistake> {
    let mut out = Vec::new();
    let mut at = 0;
    // Columns are counted as the line is read, so that a long line costs no more than its length.
    let (mut counted, mut column) = (0, 1);
    while let Some(c) = line[at..].chars().next() {
        let rest = &line[at..];
        column += line[counted..at].chars().count();
        counted = at;
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        if c == ';' || rest.starts_with("//") {
            break;
        }
        let (token, len) = if c == '"' {
            quoted(rest).ok_or((column, Problem::OpenQuote))?
        } else if c.is_ascii_digit() {
            number(rest).ok_or((column, Problem::BadNumber))?
        } else if let Some(len) = word(rest) {
            (Token::Word(rest[..len].to_owned()), len)
        } else if let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) {
            (Token::Sign(sign), sign.len())
        } else {
            return Err((column, Problem::Character(c)));
        };
        at += len;
        out.push(Spanned { token, column });
    }
    Ok(out)
}

/// Length of the word at the start of a text that begins with no digit.
fn word(text: &str) -> Option<usize> {
    let len = text.bytes().take_while(|&b| is_name_byte(b)).count();
    is_identifier(&text[..len]).then_some(len)
}

/// A name in quotes and its length with them.
fn quoted(text: &str) -> Option<(Token, usize)> {
    let mut name = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((Token::Quoted(name), at + 1)),
            '\\' => match chars.next()?.1 {
                'n' => name.push('\n'),
                'r' => name.push('\r'),
                c => name.push(c),
            },
            c => name.push(c),
        }
    }
    None
}

/// A number of at most 64 bits and its length.
fn number(text: &str) -> Option<(Token, usize)> {
    let len = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let digits = &text[..len];
    let (value, hex) = match digits.strip_prefix("0x") {
        Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => (u64::from_str_radix(hex, 16).ok()?, true),
        Some(_) => return None,
        None => (digits.parse().ok()?, false),
    };
    Some((Token::Number { value, hex }, len))
}

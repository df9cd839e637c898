//! Tokens of the text form, and the cursor over them that the parsers share.

use std::fmt;

/// Why a text is not a module, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

/// An error whose place is still an offset in bytes.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) message: String,
}

impl Fault {
    /// The error with line and column.
    pub(super) fn locate(self, text: &str) -> ParseError {
        let before = text.get(..self.at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        ParseError {
            line: before.bytes().filter(|&b| b == b'\n').count() as u32 + 1,
            column: before[line_start..].chars().count() as u32 + 1,
            message: self.message,
        }
    }
}

pub(super) type Parsed<T> = Result<T, Fault>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'t> {
    /// Letters, digits and `_`, beginning with a letter or `_`.
    Word(&'t str),
    Int(u64),
    Str(Vec<u8>),
    /// `@`, `$` or `%` and a name.
    Symbol(char, String),
    Sign(&'static str),
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(w) => write!(f, "`{w}`"),
            Token::Int(n) => write!(f, "`{n}`"),
            Token::Str(_) => f.write_str("a string"),
            Token::Symbol(sigil, name) => write!(f, "`{sigil}{name}`"),
            Token::Sign(s) => write!(f, "`{s}`"),
            Token::End => f.write_str("the end of the text"),
        }
    }
}

/// Longer signs first, so that `->` is not read as `-`.
const SIGNS: [&str; 18] =
    ["->", "..", "(", ")", "{", "}", "[", "]", ",", ":", "=", "+", "-", "*", "?", ".", "/", "|"];

/// Cuts a text into tokens, each with its offset. The last one is [`Token::End`].
pub(super) fn tokens(text: &str) -> Parsed<Vec<(Token<'_>, usize)>> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let b = bytes[at];
        let token = if b.is_ascii_whitespace() {
            at += 1;
            continue;
        } else if b == b';' {
            at += bytes[at..].iter().take_while(|&&b| b != b'\n').count();
            continue;
        } else if b.is_ascii_alphabetic() || b == b'_' {
            at += run(&bytes[at..], |b| b.is_ascii_alphanumeric() || b == b'_');
            Token::Word(&text[start..at])
        } else if b.is_ascii_digit() {
            at += run(&bytes[at..], |b| b.is_ascii_alphanumeric());
            let digits = &text[start..at];
            let value = match digits.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16),
                None => digits.parse(),
            };
            match value {
                Ok(n) => Token::Int(n),
                Err(_) => {
                    return Err(Fault { at: start, message: format!("`{digits}` is no number of 64 bits") });
                }
            }
        } else if b == b'"' {
            Token::Str(string(bytes, &mut at)?)
        } else if matches!(b, b'@' | b'$' | b'%') {
            at += 1;
            let name = if bytes.get(at) == Some(&b'"') {
                String::from_utf8(string(bytes, &mut at)?)
                    .map_err(|_| Fault { at: start, message: "the name is not UTF-8".to_owned() })?
            } else {
                let from = at;
                at += run(&bytes[at..], |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
                text[from..at].to_owned()
            };
            if name.is_empty() {
                return Err(Fault { at: start, message: format!("`{}` has no name", char::from(b)) });
            }
            Token::Symbol(char::from(b), name)
        } else if let Some(sign) = SIGNS.iter().find(|s| bytes[at..].starts_with(s.as_bytes())) {
            at += sign.len();
            Token::Sign(sign)
        } else {
            let c = text[at..].chars().next().unwrap_or('?');
            return Err(Fault { at, message: format!("unexpected character {c:?}") });
        };
        out.push((token, start));
    }
    out.push((Token::End, text.len()));
    Ok(out)
}

fn run(bytes: &[u8], of: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|&&b| of(b)).count()
}

fn string(bytes: &[u8], at: &mut usize) -> Parsed<Vec<u8>> {
    let start = *at;
    let fault = |at: usize, message: &str| Fault { at, message: message.to_owned() };
    let mut out = Vec::new();
    *at += 1;
    loop {
        let Some(&b) = bytes.get(*at) else { return Err(fault(start, "the string has no end")) };
        *at += 1;
        match b {
            b'"' => return Ok(out),
            b'\n' => return Err(fault(start, "the string has no end on its line")),
            b'\\' => {
                let escape = *at - 1;
                let Some(&kind) = bytes.get(*at) else { return Err(fault(start, "the string has no end")) };
                *at += 1;
                out.push(match kind {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'"' | b'\\' => kind,
                    b'x' => {
                        let digit = |i: usize| bytes.get(i).and_then(|&b| char::from(b).to_digit(16));
                        let (Some(high), Some(low)) = (digit(*at), digit(*at + 1)) else {
                            return Err(fault(escape, "`\\x` takes two hexadecimal digits"));
                        };
                        *at += 2;
                        (high * 16 + low) as u8
                    }
                    _ => return Err(fault(escape, "escapes are \\n, \\t, \\\", \\\\ and \\xNN")),
                });
            }
            _ => out.push(b),
        }
    }
}

/// A place in the tokens of a text.
pub(super) struct Cursor<'t> {
    tokens: Vec<(Token<'t>, usize)>,
    at: usize,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Parsed<Self> {
        Ok(Cursor { tokens: tokens(text)?, at: 0 })
    }

    /// Every token and its offset, wherever the cursor is.
    pub(super) fn all(&self) -> &[(Token<'t>, usize)] {
        &self.tokens
    }

    pub(super) fn peek(&self) -> &Token<'t> {
        self.ahead(0)
    }

    pub(super) fn ahead(&self, by: usize) -> &Token<'t> {
        let last = self.tokens.len() - 1;
        &self.tokens[(self.at + by).min(last)].0
    }

    /// Offset of the next token.
    pub(super) fn offset(&self) -> usize {
        self.tokens[self.at.min(self.tokens.len() - 1)].1
    }

    pub(super) fn next(&mut self) -> Token<'t> {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    /// An error at the next token.
    pub(super) fn fault<T>(&self, message: impl Into<String>) -> Parsed<T> {
        Err(Fault { at: self.offset(), message: message.into() })
    }

    pub(super) fn expected<T>(&self, what: &str) -> Parsed<T> {
        self.fault(format!("expected {what}, found {}", self.peek()))
    }

    pub(super) fn eat(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(s) if *s == sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(w) if *w == word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn sign(&mut self, sign: &str) -> Parsed<()> {
        if self.eat(sign) { Ok(()) } else { self.expected(&format!("`{sign}`")) }
    }

    pub(super) fn word(&mut self, word: &str) -> Parsed<()> {
        if self.eat_word(word) { Ok(()) } else { self.expected(&format!("`{word}`")) }
    }

    pub(super) fn any_word(&mut self, what: &str) -> Parsed<&'t str> {
        if let Token::Word(w) = *self.peek() {
            self.at += 1;
            return Ok(w);
        }
        self.expected(what)
    }

    /// A word that stands for something, by its table.
    pub(super) fn one_of<T>(&mut self, what: &str, of: impl Fn(&str) -> Option<T>) -> Parsed<T> {
        if let Token::Word(w) = *self.peek()
            && let Some(value) = of(w)
        {
            self.at += 1;
            return Ok(value);
        }
        self.expected(what)
    }

    pub(super) fn symbol(&mut self, sigil: char, what: &str) -> Parsed<String> {
        if let Token::Symbol(s, name) = self.peek()
            && *s == sigil
        {
            let name = name.clone();
            self.at += 1;
            return Ok(name);
        }
        self.expected(what)
    }

    pub(super) fn u64(&mut self) -> Parsed<u64> {
        if let Token::Int(n) = *self.peek() {
            self.at += 1;
            return Ok(n);
        }
        self.expected("a number")
    }

    /// An unsigned number of a narrower type.
    pub(super) fn uint<T: TryFrom<u64>>(&mut self) -> Parsed<T> {
        let at = self.offset();
        let n = self.u64()?;
        T::try_from(n).map_err(|_| Fault { at, message: format!("{n} is too large here") })
    }

    /// A number with an optional sign; without one it may fill all 64 bits.
    pub(super) fn i64(&mut self) -> Parsed<i64> {
        let at = self.offset();
        let negative = self.eat("-");
        let n = self.u64()?;
        if !negative {
            return Ok(n as i64);
        }
        if n > i64::MIN.unsigned_abs() {
            return Err(Fault { at, message: format!("-{n} is too small") });
        }
        Ok((n as i64).wrapping_neg())
    }

    pub(super) fn i32(&mut self) -> Parsed<i32> {
        let at = self.offset();
        let n = self.i64()?;
        i32::try_from(n).map_err(|_| Fault { at, message: format!("{n} does not fit 32 bits") })
    }

    /// `+ n` or `- n`, or nothing, which is 0.
    pub(super) fn displacement(&mut self) -> Parsed<i32> {
        if self.eat("+") || matches!(self.peek(), Token::Sign("-")) { self.i32() } else { Ok(0) }
    }

    pub(super) fn bytes(&mut self) -> Parsed<Vec<u8>> {
        if let Token::Str(bytes) = self.peek() {
            let bytes = bytes.clone();
            self.at += 1;
            return Ok(bytes);
        }
        self.expected("a string")
    }

    pub(super) fn string(&mut self) -> Parsed<String> {
        let at = self.offset();
        String::from_utf8(self.bytes()?)
            .map_err(|_| Fault { at, message: "the string is not UTF-8".to_owned() })
    }

    /// Items between brackets, with commas between them.
    pub(super) fn list<T>(
        &mut self,
        open: &str,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.sign(open)?;
        let mut items = Vec::new();
        while !self.eat(close) {
            if !items.is_empty() {
                self.sign(",")?;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_of(text: &str) -> (u32, u32) {
        let error = tokens(text).expect_err("not well formed").locate(text);
        (error.line, error.column)
    }

    #[test]
    fn places_of_errors_count_lines_and_characters() {
        assert_eq!(fault_of("a\n é &"), (2, 2));
        assert_eq!(fault_of("\"é\" #"), (1, 5));
        assert_eq!(fault_of("x\n  \"abc"), (2, 3));
        assert_eq!(fault_of("\"\\q\""), (1, 2));
        assert_eq!(fault_of("\"\\xg0\""), (1, 2));
        assert_eq!(fault_of("18446744073709551616"), (1, 1));
        assert_eq!(fault_of("@ x"), (1, 1));
    }

    #[test]
    fn numbers_use_all_their_bits() {
        let number = |text: &str| Cursor::new(text).and_then(|mut c| c.i64()).map_err(|f| f.message);
        assert_eq!(number("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(number("0xffffffffffffffff"), Ok(-1));
        assert_eq!(number("-9223372036854775809"), Err("-9223372036854775809 is too small".to_owned()));
        let mut c = Cursor::new("- 4 +7 300").unwrap_or_else(|f| panic!("{}", f.message));
        assert_eq!(c.displacement().ok(), Some(-4));
        assert_eq!(c.displacement().ok(), Some(7));
        assert_eq!(c.displacement().ok(), Some(0));
        assert!(c.uint::<u8>().is_err());
    }
}

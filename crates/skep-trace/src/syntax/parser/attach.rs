//! Attach points: text with rules of its own, because paths, wildcards and signatures are no tokens.

use super::super::ast::{AttachPart, AttachPoint, Ident};
use super::super::lexer::{Tok, is_blank};
use super::Parser;
use skep_ir::{Diagnostic, Loc};

impl Parser<'_> {
    /// Attach points with commas between them; a comma may stand behind the last one. `None` if there is none.
    pub(super) fn attach_points(&mut self) -> Option<Vec<AttachPoint>> {
        let mut points = vec![self.attach_point()?];
        while self.eat(Tok::Comma) && !matches!(self.tok.kind, Tok::LBrace | Tok::Slash) {
            match self.attach_point() {
                Some(point) => points.push(point),
                None => break,
            }
        }
        Some(points)
    }

    fn attach_point(&mut self) -> Option<AttachPoint> {
        let bytes = self.text.as_bytes();
        let mut label = None;
        let mut lo = self.tok.lo;
        if self.at(Tok::Ident) && bytes.get(self.tok.hi as usize) == Some(&b'=') {
            label = Some(Ident { name: self.str_of(self.tok).to_owned(), loc: self.loc_here() });
            lo = self.tok.hi + 1;
        }
        let hi = self.attach_point_end(lo);
        if hi == lo {
            self.error_here("expected attach point");
            return None;
        }
        self.prev_end = hi;
        self.seek(hi);
        let loc = self.loc(lo, hi);
        let mut parts = Parts::new(lo);
        // The body may show that this is no attach point at all, so its own mistakes are told behind those.
        let error = self.split(lo, hi, &mut parts);
        self.attach_errors.extend(error);
        let mut parts =
            parts.done.into_iter().chain([parts.current]).map(|p| (p.text, p.quoted, self.loc(p.lo, p.hi)));
        let (name, _, name_loc) = parts.next()?;
        let provider = Ident { name, loc: name_loc };
        let parts = parts.map(|(text, quoted, loc)| AttachPart { text, quoted, loc }).collect();
        Some(AttachPoint { label, provider, parts, loc })
    }

    /// Blanks, `{` and `,` end an attach point; `/` does if no `:` was seen, so that paths need no quotes.
    fn attach_point_end(&self, lo: u32) -> u32 {
        let bytes = self.text.as_bytes();
        let end = self.lexer.end() as usize;
        let mut at = lo as usize;
        let mut colon = false;
        while at < end {
            match bytes[at] {
                b'{' | b',' => break,
                b'/' if !colon && at > lo as usize => break,
                b if is_blank(b) => break,
                b':' => colon = true,
                b'"' => at = quote_end(bytes, at + 1, end),
                _ => {}
            }
            at += 1;
        }
        at.min(end) as u32
    }

    /// Cuts at colons; the first parameter that is none is the message.
    fn split(&self, lo: u32, hi: u32, parts: &mut Parts) -> Option<Diagnostic> {
        let whole = self.loc(lo, hi);
        let (text, end) = (self.text, hi as usize);
        let bytes = text.as_bytes();
        let mut at = lo as usize;
        while at < end {
            match bytes[at] {
                b':' => {
                    parts.finish(at);
                    at += 1;
                }
                b'"' => {
                    let close = quote_end(bytes, at + 1, end);
                    parts.current.quoted = true;
                    parts.current.text.push_str(&text[at + 1..close].replace("\\\"", "\""));
                    at = (close + 1).min(end);
                }
                b'$' if self.params.is_some() => {
                    let digits = bytes[at + 1..end].iter().take_while(|b| b.is_ascii_digit()).count();
                    let number = &text[at + 1..at + 1 + digits];
                    at += 1 + digits;
                    match self.attach_param(number, &text[at..end], whole) {
                        Ok(value) => parts.push_param(value, at),
                        Err(error) => return Some(error),
                    }
                }
                _ => {
                    let stop = bytes[at..end].iter().position(|b| matches!(b, b':' | b'"' | b'$'));
                    let next = match stop {
                        Some(0) => at + 1,
                        Some(length) => at + length,
                        None => end,
                    };
                    parts.current.text.push_str(&text[at..next]);
                    at = next;
                }
            }
        }
        parts.current.hi = hi;
        None
    }

    /// Value of `$number` in an attach point; `rest` is what follows it.
    fn attach_param(&self, number: &str, rest: &str, whole: Loc) -> Result<&str, Diagnostic> {
        let zero = number.bytes().all(|b| b == b'0');
        if zero {
            let Some(sign) = number.chars().chain(rest.chars()).next().filter(|&c| c != ':') else {
                return Err(Diagnostic::error(whole, "positional parameter is not valid: invalid integer: "));
            };
            let part: String = rest.chars().take_while(|&c| c != ':').collect();
            let message = format!(
                "invalid trailing character for positional param: {sign}. Try quoting this entire part if this is \
                 intentional e.g. \"${number}{part}\"."
            );
            return Err(Diagnostic::error(whole, message));
        }
        let Ok(number) = number.parse::<u64>() else {
            let message = format!(
                "positional parameter is not valid: overflow error, maximum value is {}: {number}",
                u64::MAX
            );
            return Err(Diagnostic::error(whole, message));
        };
        let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
        Ok(self.params.and_then(|p| p.get(index)).map_or("", String::as_str))
    }
}

/// Where the quote that opened before `at` is closed, or the end.
fn quote_end(bytes: &[u8], mut at: usize, end: usize) -> usize {
    while at < end && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(end)
}

struct Part {
    text: String,
    quoted: bool,
    lo: u32,
    hi: u32,
}

/// Text between colons.
struct Parts {
    done: Vec<Part>,
    current: Part,
}

impl Parts {
    fn new(lo: u32) -> Self {
        Parts { done: Vec::new(), current: Part { text: String::new(), quoted: false, lo, hi: lo } }
    }

    /// A colon stands at `at`.
    fn finish(&mut self, at: usize) {
        let next = Part { text: String::new(), quoted: false, lo: at as u32 + 1, hi: at as u32 + 1 };
        let mut part = std::mem::replace(&mut self.current, next);
        part.hi = at as u32;
        self.done.push(part);
    }

    /// A parameter's value may have colons of its own.
    fn push_param(&mut self, value: &str, end: usize) {
        let mut pieces = value.split(':');
        self.current.text.push_str(pieces.next().unwrap_or(""));
        for piece in pieces {
            let (lo, hi) = (self.current.lo, end as u32);
            let next = Part { text: piece.to_owned(), quoted: false, lo, hi };
            let mut part = std::mem::replace(&mut self.current, next);
            part.hi = hi;
            self.done.push(part);
        }
    }
}

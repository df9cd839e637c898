//! Where the C part of a script ends. Its text is read by [`crate::syntax::c`].

use super::super::lexer::{Tok, is_blank, is_word};
use super::Parser;

/// What a line that begins with `#` does to the nesting of conditions.
enum Directive {
    Opens,
    Closes,
    Other,
}

impl Parser<'_> {
    /// Takes `#` lines and definitions for as long as there are any; their extent.
    pub(super) fn c_part(&mut self) -> Option<(u32, u32)> {
        let lo = self.tok.lo;
        let mut end = None;
        while let Some(hi) = self.c_chunk_end() {
            end = Some(hi);
            self.prev_end = hi;
            self.seek(hi);
        }
        end.map(|hi| (lo, hi))
    }

    pub(super) fn at_c_part(&self) -> bool {
        match self.tok.kind {
            Tok::Ident => matches!(self.str_of(self.tok), "struct" | "union" | "enum" | "typedef"),
            _ => self.str_of(self.tok) == "#",
        }
    }

    /// The end of the line, the condition or the definition that comes next.
    pub(super) fn c_chunk_end(&self) -> Option<u32> {
        if !self.at_c_part() {
            return None;
        }
        let scan = Scan { bytes: self.text.as_bytes(), end: self.lexer.end() as usize };
        let lo = self.tok.lo as usize;
        let hi = if self.at(Tok::Ident) {
            scan.definition_end(lo, self.at_word("typedef"))
        } else {
            scan.directive_end(lo)
        };
        Some(hi as u32)
    }
}

struct Scan<'a> {
    bytes: &'a [u8],
    end: usize,
}

impl Scan<'_> {
    fn byte(&self, at: usize) -> u8 {
        if at < self.end { self.bytes[at] } else { 0 }
    }

    /// A directive with what its condition encloses.
    fn directive_end(&self, lo: usize) -> usize {
        let mut depth = 0u32;
        let mut at = lo;
        loop {
            match self.directive(at) {
                Directive::Opens => depth += 1,
                Directive::Closes => depth = depth.saturating_sub(1),
                Directive::Other => {}
            }
            at = self.line_end(at);
            if depth == 0 || at >= self.end {
                return at;
            }
            // What is enclosed may be anything; only the lines of directives count.
            loop {
                at = self.skip_blanks(at);
                if at >= self.end || self.byte(at) == b'#' {
                    break;
                }
                at = self.line_end(at);
            }
        }
    }

    fn directive(&self, at: usize) -> Directive {
        let mut lo = at + 1;
        while matches!(self.byte(lo), b' ' | b'\t') {
            lo += 1;
        }
        let rest = &self.bytes[lo.min(self.end)..self.end];
        let length = rest.iter().take_while(|&&b| is_word(b)).count();
        match &rest[..length] {
            b"if" | b"ifdef" | b"ifndef" => Directive::Opens,
            b"endif" => Directive::Closes,
            _ => Directive::Other,
        }
    }

    /// The newline that ends a logical line, or the end.
    fn line_end(&self, mut at: usize) -> usize {
        while at < self.end {
            match self.bytes[at] {
                b'\n' => return at,
                b'\\' if self.byte(at + 1) == b'\r' => at += 3,
                b'\\' => at += 2,
                _ => at = self.pass(at),
            }
        }
        self.end
    }

    fn skip_blanks(&self, mut at: usize) -> usize {
        while at < self.end && is_blank(self.bytes[at]) {
            at += 1;
        }
        at
    }

    /// Behind a comment, a literal or one byte.
    fn pass(&self, at: usize) -> usize {
        match (self.byte(at), self.byte(at + 1)) {
            (b'/', b'/') => self.until(at + 2, b"\n"),
            (b'/', b'*') => (self.until(at + 2, b"*/") + 2).min(self.end),
            (quote @ (b'"' | b'\''), _) => {
                let mut at = at + 1;
                while at < self.end && self.bytes[at] != quote && self.bytes[at] != b'\n' {
                    at += if self.bytes[at] == b'\\' { 2 } else { 1 };
                }
                if self.byte(at) == quote { at + 1 } else { at.min(self.end) }
            }
            _ => at + 1,
        }
    }

    fn until(&self, at: usize, sign: &[u8]) -> usize {
        let rest = self.bytes.get(at..self.end).unwrap_or_default();
        rest.windows(sign.len()).position(|w| w == sign).map_or(self.end, |n| at + n)
    }

    /// A definition ends with `;`; behind the `}` of a struct, union or enum it may be missing.
    fn definition_end(&self, lo: usize, typedef: bool) -> usize {
        let mut depth = 0u32;
        let mut at = lo;
        while at < self.end {
            match self.bytes[at] {
                b'{' => depth += 1,
                b'}' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 && !typedef {
                        return self.definition_tail(at + 1);
                    }
                }
                b';' if depth == 0 => return at + 1,
                _ => {
                    at = self.pass(at);
                    continue;
                }
            }
            at += 1;
        }
        self.end
    }

    /// Attributes and the `;` behind a `}`.
    fn definition_tail(&self, end: usize) -> usize {
        let mut end = end;
        loop {
            let at = self.skip_blanks(end);
            if self.byte(at) == b';' {
                return at + 1;
            }
            let word = self.bytes[at.min(self.end)..self.end].iter().take_while(|&&b| is_word(b)).count();
            if !matches!(
                &self.bytes[at.min(self.end)..at + word],
                b"__attribute__" | b"__attribute" | b"__packed"
            ) {
                return end;
            }
            end = at + word;
            let mut open = self.skip_blanks(end);
            if self.byte(open) != b'(' {
                continue;
            }
            let mut depth = 0u32;
            while open < self.end {
                match self.bytes[open] {
                    b'(' => depth += 1,
                    b')' => depth -= 1,
                    _ => {}
                }
                open += 1;
                if depth == 0 {
                    break;
                }
            }
            end = open;
        }
    }
}

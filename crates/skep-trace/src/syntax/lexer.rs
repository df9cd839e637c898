//! From characters to tokens.
//!
//! The lexer is total: every text is a sequence of tokens, and what cannot be one is [`Tok::Unknown`]. It
//! makes one token at a time because attach points are not made of tokens: the parser takes them from the
//! text itself and lets the lexer go on behind them. Literals are only delimited here; [`super::literal`]
//! gives them a value when the parser uses them.

/// Kind of a token. Keywords are identifiers: they are reserved only where a statement begins.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tok {
    /// End of the text; also at every position behind it.
    Eof,
    /// `name`
    Ident,
    /// `$name`
    Var,
    /// `$` that nothing follows
    Dollar,
    /// `$1`
    Param,
    /// `$#`
    ParamCount,
    /// `@name` or `@`
    Map,
    /// Digits and all letters, digits and `_` that follow
    Int,
    /// `"..."`
    Str,
    /// `"...` up to the end of the line
    OpenStr,
    LParen,
    RParen,
    LBrace,
    RBrace,
    LBracket,
    RBracket,
    Comma,
    Semi,
    Colon,
    Question,
    Dot,
    DotDot,
    Arrow,
    Assign,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Amp,
    Pipe,
    Caret,
    Shl,
    Shr,
    EqEq,
    NotEq,
    Lt,
    Le,
    Gt,
    Ge,
    AndAnd,
    OrOr,
    Not,
    Tilde,
    PlusPlus,
    MinusMinus,
    PlusAssign,
    MinusAssign,
    StarAssign,
    SlashAssign,
    PercentAssign,
    AmpAssign,
    PipeAssign,
    CaretAssign,
    ShlAssign,
    ShrAssign,
    /// One character that begins no token
    Unknown,
}

/// A token: its kind and its bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Tok,
    pub(crate) lo: u32,
    pub(crate) hi: u32,
}

/// A comment: its bytes with its signs.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) lo: u32,
    pub(crate) hi: u32,
    /// `/* */`
    pub(crate) block: bool,
}

/// Makes tokens of a part of a text.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    pos: usize,
    end: usize,
}

/// What stands between two tokens.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    Comment(Comment),
    /// `/*` without end: the rest of the text.
    OpenComment(u32),
}

impl<'a> Lexer<'a> {
    /// Tokens of `text[lo..hi]`. Texts are shorter than 4 GiB: [`super::MAX_SOURCE`].
    pub(crate) fn new(text: &'a str, lo: u32, hi: u32) -> Self {
        let end = (hi as usize).min(text.len());
        Lexer { text, pos: (lo as usize).min(end), end }
    }

    /// Goes on somewhere else.
    pub(crate) fn seek(&mut self, pos: u32) {
        self.pos = (pos as usize).min(self.end);
    }

    /// The end of the part.
    pub(crate) fn end(&self) -> u32 {
        self.end as u32
    }

    fn byte(&self, at: usize) -> u8 {
        if at < self.end { self.text.as_bytes()[at] } else { 0 }
    }

    fn run(&self, mut at: usize, member: impl Fn(u8) -> bool) -> usize {
        while at < self.end && member(self.text.as_bytes()[at]) {
            at += 1;
        }
        at
    }

    /// Skips blanks, newlines, continued lines and comments; `found` gets the comments.
    pub(crate) fn skip_gap(&mut self, mut found: impl FnMut(Gap)) {
        loop {
            self.pos = self.run(self.pos, is_blank);
            let lo = self.pos;
            match (self.byte(lo), self.byte(lo + 1)) {
                (b'/', b'/') => {
                    self.pos = self.run(lo, |b| b != b'\n');
                    found(Gap::Comment(Comment { lo: lo as u32, hi: self.pos as u32, block: false }));
                }
                (b'/', b'*') => {
                    let body = self.text.as_bytes().get(lo + 2..self.end).unwrap_or_default();
                    let Some(length) = body.windows(2).position(|w| w == b"*/") else {
                        self.pos = self.end;
                        found(Gap::OpenComment(lo as u32));
                        return;
                    };
                    self.pos = lo + 2 + length + 2;
                    found(Gap::Comment(Comment { lo: lo as u32, hi: self.pos as u32, block: true }));
                }
                // A continued line: text of a C define may have them.
                (b'\\', b'\n') => self.pos += 2,
                (b'\\', b'\r') if self.byte(lo + 2) == b'\n' => self.pos += 3,
                _ => return,
            }
        }
    }

    /// The next token behind blanks and comments.
    pub(crate) fn next(&mut self, found: impl FnMut(Gap)) -> Token {
        self.skip_gap(found);
        let lo = self.pos;
        let (kind, hi) = self.token_at(lo);
        self.pos = hi;
        Token { kind, lo: lo as u32, hi: hi as u32 }
    }

    fn token_at(&self, lo: usize) -> (Tok, usize) {
        if lo >= self.end {
            return (Tok::Eof, self.end);
        }
        let first = self.text.as_bytes()[lo];
        match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => (Tok::Ident, self.run(lo, is_word)),
            b'0'..=b'9' => (Tok::Int, self.number_end(lo)),
            b'@' if is_word_start(self.byte(lo + 1)) => (Tok::Map, self.run(lo + 1, is_word)),
            b'@' => (Tok::Map, lo + 1),
            b'$' => match self.byte(lo + 1) {
                b if is_word_start(b) => (Tok::Var, self.run(lo + 1, is_word)),
                b'0'..=b'9' => (Tok::Param, self.run(lo + 1, |b| b.is_ascii_digit())),
                b'#' => (Tok::ParamCount, lo + 2),
                _ => (Tok::Dollar, lo + 1),
            },
            b'"' => self.string(lo),
            _ => self.operator(lo),
        }
    }

    /// `0x` takes hexadecimal digits and C suffixes, everything else the whole word: what a suffix means is
    /// found out with the value.
    fn number_end(&self, lo: usize) -> usize {
        if self.byte(lo) == b'0' && matches!(self.byte(lo + 1), b'x' | b'X') {
            let digits = self.run(lo + 2, |b| b.is_ascii_hexdigit() || b == b'_');
            return self.run(digits, |b| matches!(b, b'u' | b'U' | b'l' | b'L'));
        }
        self.run(lo, is_word)
    }

    fn string(&self, lo: usize) -> (Tok, usize) {
        let mut at = lo + 1;
        while at < self.end {
            match self.text.as_bytes()[at] {
                b'"' => return (Tok::Str, at + 1),
                b'\n' => break,
                b'\\' if !matches!(self.byte(at + 1), b'\n' | 0) => at += 2,
                _ => at += 1,
            }
        }
        (Tok::OpenStr, self.text.floor_char_boundary(at.min(self.end)))
    }

    fn operator(&self, lo: usize) -> (Tok, usize) {
        const SIGNS: &[(&str, Tok)] = &[
            ("<<=", Tok::ShlAssign),
            (">>=", Tok::ShrAssign),
            ("++", Tok::PlusPlus),
            ("--", Tok::MinusMinus),
            ("->", Tok::Arrow),
            ("..", Tok::DotDot),
            ("<<", Tok::Shl),
            (">>", Tok::Shr),
            ("==", Tok::EqEq),
            ("!=", Tok::NotEq),
            ("<=", Tok::Le),
            (">=", Tok::Ge),
            ("&&", Tok::AndAnd),
            ("||", Tok::OrOr),
            ("+=", Tok::PlusAssign),
            ("-=", Tok::MinusAssign),
            ("*=", Tok::StarAssign),
            ("/=", Tok::SlashAssign),
            ("%=", Tok::PercentAssign),
            ("&=", Tok::AmpAssign),
            ("|=", Tok::PipeAssign),
            ("^=", Tok::CaretAssign),
        ];
        let rest = &self.text.as_bytes()[lo..self.end];
        // All of these begin with a sign of their own or are made of two signs; most tokens are one sign.
        if rest.len() > 1
            && rest[1].is_ascii_punctuation()
            && let Some((sign, kind)) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign.as_bytes()))
        {
            return (*kind, lo + sign.len());
        }
        let kind = match rest[0] {
            b'(' => Tok::LParen,
            b')' => Tok::RParen,
            b'{' => Tok::LBrace,
            b'}' => Tok::RBrace,
            b'[' => Tok::LBracket,
            b']' => Tok::RBracket,
            b',' => Tok::Comma,
            b';' => Tok::Semi,
            b':' => Tok::Colon,
            b'?' => Tok::Question,
            b'.' => Tok::Dot,
            b'=' => Tok::Assign,
            b'+' => Tok::Plus,
            b'-' => Tok::Minus,
            b'*' => Tok::Star,
            b'/' => Tok::Slash,
            b'%' => Tok::Percent,
            b'&' => Tok::Amp,
            b'|' => Tok::Pipe,
            b'^' => Tok::Caret,
            b'<' => Tok::Lt,
            b'>' => Tok::Gt,
            b'!' => Tok::Not,
            b'~' => Tok::Tilde,
            _ => {
                let width = self.text[lo..].chars().next().map_or(1, char::len_utf8);
                return (Tok::Unknown, (lo + width).min(self.end));
            }
        };
        (kind, lo + 1)
    }
}

/// Blanks, as C has them.
pub(crate) fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Whether a name can begin with it.
pub(crate) fn is_word_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_'
}

/// Whether a name can contain it.
pub(crate) fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Tok> {
        let mut lexer = Lexer::new(text, 0, text.len() as u32);
        let mut kinds = Vec::new();
        loop {
            let token = lexer.next(|_| ());
            if token.kind == Tok::Eof {
                return kinds;
            }
            assert!(token.hi > token.lo, "no progress at {} of {text:?}", token.lo);
            kinds.push(token.kind);
        }
    }

    #[test]
    fn signs_are_taken_as_long_as_possible() {
        use Tok::*;
        assert_eq!(
            kinds("a<<=b>>=c<<d<=e"),
            [Ident, ShlAssign, Ident, ShrAssign, Ident, Shl, Ident, Le, Ident]
        );
        assert_eq!(kinds("$x->y..1.z"), [Var, Arrow, Ident, DotDot, Int, Dot, Ident]);
        assert_eq!(kinds("@a[$1,$#,$]"), [Map, LBracket, Param, Comma, ParamCount, Comma, Dollar, RBracket]);
        assert_eq!(kinds("a---b+++c"), [Ident, MinusMinus, Minus, Ident, PlusPlus, Plus, Ident]);
    }

    #[test]
    fn every_text_ends() {
        for text in [
            "\u{e9}\u{1f600}",
            "\"\u{e9}",
            "\"\\",
            "\"\\\u{e9}",
            "/*",
            "/**",
            "/*/",
            "@",
            "$",
            "0x",
            "\\",
            "\0",
            "\"a\\\n",
        ] {
            kinds(text);
        }
        assert_eq!(kinds("/* a */ // b\n/**/ x"), [Tok::Ident]);
        assert_eq!(kinds("\"a\\\"b\" \"c\nd"), [Tok::Str, Tok::OpenStr, Tok::Ident]);
    }

    #[test]
    fn hexadecimal_numbers_end_before_other_letters() {
        assert_eq!(kinds("0x5s"), [Tok::Int, Tok::Ident]);
        assert_eq!(kinds("0x5ULL 5abc"), [Tok::Int, Tok::Int]);
    }
}

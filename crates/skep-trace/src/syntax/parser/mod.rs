//! Recursive descent over the tokens of one file.
//!
//! **Errors.** A message stands at the token where the text stops making sense. The rest of the statement is
//! still read, because its messages tell more about it (`print("abc); }` misses a quote, a `)` and a `;`),
//! but nothing behind it: what comes later usually follows from the first mistake. A tree that has errors is
//! never looked at, so a missing expression is any expression.
//!
//! **Bounds.** Nesting is bounded while descending, the height of the tree while ascending, because chains
//! such as `a + b + c` make a tree that is as high as the chain is long and everything that walks a tree
//! recurses. No text is read more than twice.

mod attach;
mod block;
mod c_part;
mod expr;
mod item;
mod types;

use super::ast::{Expr, ExprKind, Ident};
use super::lexer::{Comment, Gap, Lexer, Tok, Token, is_word};
use cranelift_entity::packed_option::PackedOption;
use skep_ir::source::ExpansionId;
use skep_ir::{Diagnostic, FileId, Loc, Span};

pub(crate) use item::FileTree;
pub(crate) use types::is_value;

/// Levels of brackets, blocks and operators before an operand.
const MAX_NESTING: u32 = 200;
/// Messages about one file: who has made so many mistakes gave the wrong file.
const MAX_ERRORS: usize = 50;
/// Height of a tree.
const MAX_HEIGHT: u32 = 500;

/// Reads one file or a part of it.
pub(crate) struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    file: FileId,
    expansion: PackedOption<ExpansionId>,
    /// The next token.
    tok: Token,
    /// End of the token before it.
    prev_end: u32,
    errors: Vec<Diagnostic>,
    /// What is wrong with the attach points of the probe that is being read.
    attach_errors: Vec<Diagnostic>,
    comments: Vec<Comment>,
    /// Values of `$1`... for attach points; `None` leaves them as written.
    params: Option<&'a [String]>,
    nesting: u32,
    /// Height of the tree that was made last.
    height: u32,
    /// Nothing more is read or reported.
    stopped: bool,
    /// A `/` that `{` follows ends the expression.
    in_predicate: bool,
}

impl<'a> Parser<'a> {
    /// A parser of `text[span]`, which stands in `span.file`.
    pub(crate) fn new(text: &'a str, span: Span, expansion: PackedOption<ExpansionId>) -> Self {
        let lexer = Lexer::new(text, span.lo, span.hi);
        let tok = Token { kind: Tok::Eof, lo: span.lo, hi: span.lo };
        let mut parser = Parser {
            text,
            lexer,
            file: span.file,
            expansion,
            tok,
            prev_end: span.lo,
            errors: Vec::new(),
            attach_errors: Vec::new(),
            comments: Vec::new(),
            params: None,
            nesting: 0,
            height: 0,
            stopped: false,
            in_predicate: false,
        };
        parser.advance();
        parser.prev_end = span.lo;
        parser
    }

    /// Puts parameters of the command line into attach points.
    pub(crate) fn with_params(mut self, params: Option<&'a [String]>) -> Self {
        self.params = params;
        self
    }

    // Tokens

    /// Takes the next token.
    fn advance(&mut self) -> Token {
        let taken = self.tok;
        self.prev_end = taken.hi;
        let mut open = None;
        let comments = &mut self.comments;
        self.tok = self.lexer.next(|gap| match gap {
            // Text that was read twice gives its comments once.
            Gap::Comment(c) if comments.last().is_none_or(|last| last.lo < c.lo) => comments.push(c),
            Gap::Comment(_) => {}
            Gap::OpenComment(lo) => open = Some(lo),
        });
        if let Some(lo) = open {
            self.error(self.loc(lo, lo + 2), "unterminated comment");
        }
        taken
    }

    /// The token behind the next one.
    fn peek(&self) -> Token {
        self.lexer.clone().next(|_| ())
    }

    /// Goes on at a byte.
    fn seek(&mut self, pos: u32) {
        self.lexer.seek(pos);
        let prev_end = self.prev_end;
        self.advance();
        self.prev_end = prev_end;
    }

    fn at(&self, kind: Tok) -> bool {
        self.tok.kind == kind
    }

    fn at_word(&self, word: &str) -> bool {
        self.tok.kind == Tok::Ident && self.str_of(self.tok) == word
    }

    /// Takes the token if it is of that kind.
    fn eat(&mut self, kind: Tok) -> bool {
        let found = self.at(kind);
        if found {
            self.advance();
        }
        found
    }

    /// Takes the token or says that it is missing.
    fn expect(&mut self, kind: Tok, sign: &str) -> bool {
        let found = self.eat(kind);
        if !found {
            self.error_here(&format!("expected '{sign}'"));
        }
        found
    }

    fn str_of(&self, token: Token) -> &'a str {
        self.text.get(token.lo as usize..token.hi as usize).unwrap_or("")
    }

    /// Takes a token that is a name; `$` and `@` are dropped.
    fn take_name(&mut self) -> Ident {
        let token = self.advance();
        let name = self.str_of(token).trim_start_matches(['$', '@']).to_owned();
        Ident { name, loc: self.loc(token.lo, token.hi) }
    }

    // Places

    fn loc(&self, lo: u32, hi: u32) -> Loc {
        Loc { span: Span { file: self.file, lo, hi }, expansion: self.expansion }
    }

    /// From a byte to the end of the last token.
    fn loc_from(&self, lo: u32) -> Loc {
        self.loc(lo, self.prev_end.max(lo))
    }

    /// What a message about the next token marks: a whole word, else one character.
    fn loc_here(&self) -> Loc {
        let (lo, bytes) = (self.tok.lo, self.text.as_bytes());
        let limit = self.lexer.end() as usize;
        let mut at = lo as usize;
        if at < limit {
            if matches!(bytes[at], b'$' | b'@') {
                at += 1;
            }
            at += bytes[at..limit].iter().take_while(|&&b| is_word(b)).count();
            if at == lo as usize {
                at += self.text[at..].chars().next().map_or(0, char::len_utf8);
            }
        }
        self.loc(lo, at.min(limit) as u32)
    }

    // Errors

    fn error(&mut self, loc: Loc, message: &str) {
        if self.stopped {
            return;
        }
        self.errors.push(Diagnostic::error(loc, format!("syntax: {message}")));
        if self.errors.len() >= MAX_ERRORS {
            self.go_to_end();
        }
    }

    fn error_here(&mut self, message: &str) {
        self.error(self.loc_here(), message);
    }

    /// Reports an error that nothing can follow.
    fn stop(&mut self, loc: Loc, message: &str) {
        self.error(loc, message);
        self.go_to_end();
    }

    fn go_to_end(&mut self) {
        self.stopped = true;
        let end = self.lexer.end();
        self.lexer.seek(end);
        self.tok = Token { kind: Tok::Eof, lo: end, hi: end };
    }

    /// Goes one level down; `None` if there are too many of them.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.nesting >= MAX_NESTING {
            self.stop(
                self.loc_here(),
                &format!("nesting is too deep, at most {MAX_NESTING} levels are possible"),
            );
            return None;
        }
        self.nesting += 1;
        let result = parse(self);
        self.nesting -= 1;
        Some(result)
    }

    /// Notes that a node was made above trees of the given height.
    fn above(&mut self, height: u32) {
        self.height = height + 1;
        if self.height > MAX_HEIGHT {
            self.stop_too_long();
        }
    }

    fn stop_too_long(&mut self) {
        let message =
            format!("this is too long, at most {MAX_HEIGHT} operators or arms can follow each other");
        self.stop(self.loc_here(), &message);
    }

    /// What stands for an expression that is missing.
    fn missing(&mut self) -> Expr {
        self.height = 1;
        Expr { kind: ExprKind::Int(0), loc: self.loc(self.tok.lo, self.tok.lo) }
    }
}

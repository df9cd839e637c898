//! What stands at the top level of a file.

use super::super::ast::{
    ConfigEntry, ConfigValue, Expr, ExprKind, Ident, Import, Item, Macro, MacroParam, MapDecl, ParamKind,
    Probe, Subprog, TypeExpr,
};
use super::super::lexer::{Comment, Tok};
use super::Parser;
use skep_ir::{Diagnostic, Span};

/// One file as written: nothing imported, the C part unread.
#[derive(Default)]
pub(crate) struct FileTree {
    /// The line that begins with `#!`.
    pub(crate) shebang: Option<Span>,
    /// The C part.
    pub(crate) c_part: Option<Span>,
    /// The config block with its braces, and its entries.
    pub(crate) config: Option<(Span, Vec<ConfigEntry>)>,
    /// Root imports.
    pub(crate) imports: Vec<Import>,
    /// Everything else.
    pub(crate) items: Vec<Item>,
    /// Comments outside of the C part.
    pub(crate) comments: Vec<Comment>,
    /// What is wrong.
    pub(crate) errors: Vec<Diagnostic>,
}

impl Parser<'_> {
    /// Reads a whole file.
    pub(crate) fn file(mut self) -> FileTree {
        let mut tree = FileTree::default();
        // Editors of other systems begin a file with a mark that is no text.
        let start = if self.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        if start > 0 {
            self.seek(start as u32);
        }
        if self.text[start..].starts_with("#!") && self.tok.lo == start as u32 {
            let length = self.text.find('\n').unwrap_or(self.text.len()) as u32;
            tree.shebang = Some(self.loc(start as u32, length).span);
            self.comments.clear();
            self.seek(length);
        }
        let first = self.tok.lo;
        if let Some((lo, hi)) = self.c_part() {
            tree.c_part = Some(self.loc(lo, hi).span);
            self.comments.retain(|c| c.lo < first || c.lo >= hi);
        }
        loop {
            // As behind the definitions of the C part, a semicolon behind a probe means nothing.
            while !tree.items.is_empty() && self.eat(Tok::Semi) {}
            if self.at(Tok::Eof) {
                break;
            }
            let (start, errors) = (self.tok.lo, self.errors.len());
            self.item(&mut tree);
            if self.errors.len() > errors {
                if self.tok.lo == start && self.at_no_item() {
                    self.error_here("unexpected input");
                }
                break;
            }
        }
        tree.comments = std::mem::take(&mut self.comments);
        tree.errors = self.errors;
        tree
    }

    /// A sign that cannot begin anything at the top level.
    fn at_no_item(&self) -> bool {
        matches!(self.tok.kind, Tok::LBrace | Tok::Comma)
    }

    fn item(&mut self, tree: &mut FileTree) {
        if self.at_c_part() {
            let hi = self.c_chunk_end().unwrap_or(self.tok.hi);
            self.error(self.loc(self.tok.lo, hi), "C definitions must appear before probes and functions");
            return;
        }
        let word = if self.at(Tok::Ident) { self.str_of(self.tok) } else { "" };
        let item = match word {
            "config" => {
                if tree.config.is_some() {
                    return self.error_here("duplicate config block");
                }
                if !tree.items.is_empty() {
                    return self.error_here("config must appear before probes and functions");
                }
                let lo = self.tok.lo;
                let entries = self.config();
                tree.config = Some((self.loc_from(lo).span, entries));
                return;
            }
            "import" => {
                if !tree.items.is_empty() {
                    return self.error_here("root imports must appear before probes and functions");
                }
                tree.imports.extend(self.import());
                return;
            }
            "macro" => self.macro_item().map(Item::Macro),
            "let" => self.map_decl().map(Item::MapDecl),
            "fn" => self.subprog().map(Item::Subprog),
            _ => self.probe().map(Item::Probe),
        };
        tree.items.extend(item);
    }

    fn config(&mut self) -> Vec<ConfigEntry> {
        let mut entries = Vec::new();
        self.advance();
        if !self.expect(Tok::Assign, "=") || !self.expect(Tok::LBrace, "{") {
            return entries;
        }
        while !self.at(Tok::RBrace) && !self.at(Tok::Eof) {
            if !self.at(Tok::Ident) {
                self.error_here("expected config key");
                break;
            }
            let lo = self.tok.lo;
            let key = self.take_name();
            if !self.expect(Tok::Assign, "=") {
                break;
            }
            let value = self.config_value();
            entries.push(ConfigEntry { key, value, loc: self.loc_from(lo) });
            if !self.at(Tok::RBrace) && !self.expect(Tok::Semi, ";") {
                return entries;
            }
            while self.eat(Tok::Semi) {}
        }
        self.expect(Tok::RBrace, "}");
        entries
    }

    fn config_value(&mut self) -> ConfigValue {
        match self.tok.kind {
            Tok::Str | Tok::OpenStr => ConfigValue::Str(String::from_utf8_lossy(&self.string()).into_owned()),
            Tok::Int => ConfigValue::Int(self.integer()),
            Tok::Ident => ConfigValue::Word(self.take_name().name),
            _ => {
                self.error_here("expected string, int, boolean, or ident");
                ConfigValue::Int(0)
            }
        }
    }

    /// A macro and nothing else.
    pub(crate) fn whole_macro(mut self) -> Result<Macro, Vec<Diagnostic>> {
        let found = self.macro_item();
        if !self.at(Tok::Eof) {
            self.error_here("unexpected input");
        }
        found.filter(|_| self.errors.is_empty()).ok_or(self.errors)
    }

    /// An expression and nothing else.
    pub(crate) fn whole_expression(mut self) -> Result<Expr, Vec<Diagnostic>> {
        let expr = self.expression();
        if !self.at(Tok::Eof) {
            self.error_here("unexpected input");
        }
        if self.errors.is_empty() { Ok(expr) } else { Err(self.errors) }
    }

    fn macro_item(&mut self) -> Option<Macro> {
        let lo = self.advance().lo;
        if !self.at(Tok::Ident) {
            self.error_here("expected macro name");
            return None;
        }
        let name = self.take_name();
        let params = if self.at(Tok::LBrace) { None } else { Some(self.macro_params()?) };
        let body = self.value_block();
        Some(Macro { name, params, body, loc: self.loc_from(lo), builtin: false })
    }

    fn macro_params(&mut self) -> Option<Vec<MacroParam>> {
        if !self.expect(Tok::LParen, "(") {
            return None;
        }
        let mut params = Vec::new();
        while !self.at(Tok::RParen) || !params.is_empty() {
            let kind = match self.tok.kind {
                Tok::Var => ParamKind::Variable,
                Tok::Map => ParamKind::Map,
                Tok::Ident => ParamKind::Expr,
                Tok::Dollar | Tok::Param | Tok::ParamCount => {
                    self.error_here("expected identifier after '$'");
                    break;
                }
                _ => {
                    self.error_here("expected macro argument ($var, @map, or identifier)");
                    break;
                }
            };
            params.push(MacroParam { kind, name: self.take_name() });
            if !self.eat(Tok::Comma) {
                break;
            }
        }
        self.expect(Tok::RParen, ")").then_some(params)
    }

    fn map_decl(&mut self) -> Option<MapDecl> {
        if self.peek().kind != Tok::Map {
            self.error_here("root-level let statements need to be map declarations, e.g. let @a = hash(2);");
            return None;
        }
        let lo = self.advance().lo;
        let map = self.take_name();
        if !self.expect(Tok::Assign, "=") {
            return None;
        }
        if !self.at(Tok::Ident) {
            self.error_here("expected map type name");
            return None;
        }
        let kind = self.take_name();
        if !self.expect(Tok::LParen, "(") {
            return None;
        }
        if !self.at(Tok::Int) {
            self.error_here("expected positive integer for map declaration max entries");
            return None;
        }
        let number = self.tok;
        let value = self.integer();
        let entries = Expr { kind: ExprKind::Int(value), loc: self.loc(number.lo, number.hi) };
        if !self.expect(Tok::RParen, ")") {
            return None;
        }
        self.eat(Tok::Semi);
        Some(MapDecl { map, kind, entries, loc: self.loc_from(lo) })
    }

    fn subprog(&mut self) -> Option<Subprog> {
        let lo = self.advance().lo;
        if !self.at(Tok::Ident) {
            self.error_here("expected function name");
            return None;
        }
        let name = self.take_name();
        if !self.expect(Tok::LParen, "(") {
            return None;
        }
        let params = if self.eat(Tok::RParen) { Vec::new() } else { self.subprog_params()? };
        if !self.expect(Tok::Colon, ":") {
            return None;
        }
        let ret = self.type_expr();
        let body = self.plain_block();
        Some(Subprog { name, params, ret, body, loc: self.loc_from(lo) })
    }

    fn subprog_params(&mut self) -> Option<Vec<(Ident, TypeExpr)>> {
        let mut params = Vec::new();
        loop {
            if !self.at(Tok::Var) {
                self.error_here("expected variable in function argument");
                break;
            }
            let name = self.take_name();
            if !self.expect(Tok::Colon, ":") {
                return None;
            }
            params.push((name, self.type_expr()));
            if !self.eat(Tok::Comma) {
                break;
            }
        }
        self.expect(Tok::RParen, ")").then_some(params)
    }

    fn probe(&mut self) -> Option<Probe> {
        let (lo, errors) = (self.tok.lo, self.errors.len());
        let attach = self.attach_points()?;
        let predicate = self.at(Tok::Slash).then(|| {
            self.advance();
            self.in_predicate = true;
            let predicate = self.expression();
            self.in_predicate = false;
            if !self.eat(Tok::Slash) {
                self.error_here("expected '/' to close predicate");
            }
            predicate
        });
        let body = self.plain_block();
        let attach_errors = std::mem::take(&mut self.attach_errors);
        if self.errors.len() == errors {
            self.errors.extend(attach_errors);
        }
        Some(Probe { attach, predicate, body, loc: self.loc_from(lo) })
    }
}

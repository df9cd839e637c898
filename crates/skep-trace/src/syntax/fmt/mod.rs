//! The standard format of a script.
//!
//! Two blanks of indent, braces of probes on lines of their own, blanks around operators, parentheses where
//! operators are mixed. Lines are broken behind [`WIDTH`] columns. Literals, attach points and the C part stay
//! as they were written; comments stay where they are: behind the code of their line, or on their own line in
//! front of what follows. Formatting twice gives the same text, and the tree stays the same.

mod comments;
mod expr;
mod layout;
mod stmt;

use super::ast::{ConfigEntry, ConfigValue, Import, Item, Macro, MacroParam, ParamKind, Probe, Subprog};
use super::dump::quoted;
use super::load::parse_file;
use super::parser::FileTree;
use comments::Comments;
use layout::{Text, fill};
use skep_ir::{Diagnostic, FileId, SourceMap, Span};
use stmt::Role;

/// Columns of a line without the `;` at its end.
const WIDTH: usize = 90;

/// The text of a file of `sources` in the standard format.
///
/// # Errors
/// What keeps the text from being read.
pub fn format(sources: &SourceMap, file: FileId) -> Result<String, Vec<Diagnostic>> {
    let mut tree = parse_file(sources, file, None);
    if !tree.errors.is_empty() {
        return Err(tree.errors);
    }
    let text = &*sources.file(file).text;
    let comments = Comments::new(text, std::mem::take(&mut tree.comments));
    let mut printer = Printer { text, comments, out: String::new() };
    printer.file(&tree);
    let end = printer.out.trim_end().len();
    printer.out.truncate(end);
    if !printer.out.is_empty() {
        printer.out.push('\n');
    }
    // On the first line it would name an interpreter, which it did not further down.
    let is_shebang = |text: &str| text.trim_start_matches('\u{feff}').starts_with("#!");
    if is_shebang(&printer.out) && !is_shebang(text) {
        printer.out.insert(0, '\n');
    }
    Ok(printer.out)
}

struct Printer<'a> {
    text: &'a str,
    comments: Comments<'a>,
    out: String,
}

impl<'a> Printer<'a> {
    fn source(&self, span: Span) -> &'a str {
        self.text.get(span.lo as usize..span.hi as usize).unwrap_or("")
    }

    /// The word that a range of the source ends with: numbers stay as they were written.
    fn last_word(&self, span: Span) -> &'a str {
        let text = self.source(span);
        let rest = text.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        &text[rest.len()..]
    }

    /// Ends the last line.
    fn newline(&mut self) {
        self.out.push('\n');
    }

    fn line(&mut self, indent: usize, text: &str) {
        self.start(indent);
        self.out.push_str(text);
        self.newline();
    }

    fn start(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    /// Adds text that was laid out to begin at the current place.
    fn put(&mut self, text: &Text) {
        self.out.push_str(&text.lines().join("\n"));
    }

    /// Comments and empty lines in front of what begins at `lo`.
    fn lead(&mut self, lo: u32, indent: usize) {
        for comment in self.comments.before(lo) {
            for _ in 0..comment.blank_lines {
                self.newline();
            }
            self.line(indent, comment.text);
        }
        for _ in 0..self.comments.blank_lines_to(lo) {
            self.newline();
        }
    }

    /// Ends the line of something that ended at `hi`: with the comment that stands behind it there.
    fn end(&mut self, hi: u32) {
        if let Some(comment) = self.comments.behind(hi) {
            self.out.push(' ');
            self.out.push_str(comment);
        }
        self.newline();
    }

    fn file(&mut self, tree: &FileTree) {
        if let Some(span) = tree.shebang {
            self.line(0, self.source(span).trim_end());
            self.comments.pass(span.hi);
        }
        if let Some(span) = tree.c_part {
            self.lead(span.lo, 0);
            let text = self.source(span);
            self.out.push_str(text.trim_end());
            self.end(span.lo + text.trim_end().len() as u32);
            self.comments.pass(span.hi);
        }
        // Imports and the config block may stand in any order; imports are placed by where they stand.
        let config_lo = tree.config.as_ref().map_or(u32::MAX, |(span, _)| span.lo);
        let (before, behind): (Vec<_>, Vec<_>) = tree.imports.iter().partition(|i| i.loc.span.lo < config_lo);
        for import in before {
            self.import(import);
        }
        if let Some((span, entries)) = &tree.config {
            self.config(*span, entries);
        }
        for import in behind {
            self.import(import);
        }
        for item in &tree.items {
            match item {
                Item::Probe(probe) => self.probe(probe),
                Item::Macro(found) => self.macro_item(found),
                Item::Subprog(subprog) => self.subprog(subprog),
                Item::MapDecl(decl) => {
                    let (lo, hi) = (decl.loc.span.lo, decl.loc.span.hi);
                    self.lead(lo, 0);
                    let entries = self.source(decl.entries.loc.span);
                    self.out.push_str(&format!("let @{} = {}({entries});", decl.map.name, decl.kind.name));
                    self.end(hi);
                }
            }
        }
        let end = self.text.len() as u32;
        self.lead(end, 0);
    }

    fn import(&mut self, import: &Import) {
        self.lead(import.loc.span.lo, 0);
        self.out.push_str(&format!("import {};", quoted(import.path.as_bytes())));
        self.end_behind_semicolon(import.loc.span.hi);
    }

    /// Ends a line whose node does not include its `;`.
    fn end_behind_semicolon(&mut self, hi: u32) {
        let hi = self.comments.behind_semicolon(hi);
        self.end(hi);
    }

    fn config(&mut self, span: Span, entries: &[ConfigEntry]) {
        self.lead(span.lo, 0);
        let open = span.lo + self.source(span).find('{').map_or(0, |at| at as u32 + 1);
        self.out.push_str("config = {");
        if entries.is_empty() && !self.comments.any_in(span.lo, span.hi) {
            self.out.push('}');
            return self.end(span.hi);
        }
        self.end(open);
        self.comments.pass(open);
        for entry in entries {
            self.lead(entry.loc.span.lo, 2);
            self.start(2);
            let value = match &entry.value {
                ConfigValue::Str(text) => quoted(text.as_bytes()),
                ConfigValue::Word(word) => word.clone(),
                ConfigValue::Int(_) => self.last_word(entry.loc.span).to_owned(),
            };
            self.out.push_str(&format!("{} = {value};", entry.key.name));
            self.end_behind_semicolon(entry.loc.span.hi);
        }
        self.close(span.hi, 2);
        self.out.push('}');
        self.end(span.hi);
    }

    /// Comments in front of the bracket that ends at `hi`.
    fn close(&mut self, hi: u32, indent: usize) {
        for comment in self.comments.before(hi.saturating_sub(1)) {
            for _ in 0..comment.blank_lines {
                self.newline();
            }
            self.line(indent, comment.text);
        }
        self.comments.pass(hi);
    }

    fn probe(&mut self, probe: &Probe) {
        for (index, point) in probe.attach.iter().enumerate() {
            let lo = point.label.as_ref().map_or(point.loc.span.lo, |l| l.loc.span.lo);
            if index == 0 {
                self.lead(lo, 0);
            } else {
                for comment in self.comments.before(lo) {
                    self.line(0, comment.text);
                }
            }
            self.out.push_str(self.source(Span { lo, ..point.loc.span }));
            let hi = point.loc.span.hi;
            if self.out.ends_with('\\') {
                // With a line end behind it, it would be no part of the attach point any more.
                self.out.push(' ');
            }
            if index + 1 < probe.attach.len() {
                self.out.push(',');
                let hi = self.comments.behind_comma(hi);
                self.end(hi);
            } else {
                self.end(hi);
            }
        }
        if let Some(predicate) = &probe.predicate {
            for comment in self.comments.before(predicate.loc.span.lo) {
                self.line(0, comment.text);
            }
            self.out.push('/');
            let text = self.expr(predicate, 1, 1);
            self.put(&text);
            self.out.push('/');
            self.newline();
        }
        self.body(&probe.body, Role::Body);
    }

    fn macro_item(&mut self, found: &Macro) {
        self.lead(found.loc.span.lo, 0);
        let mut head = Text::from(format!("macro {}", found.name.name));
        if let Some(params) = &found.params {
            head.push("(");
            let params = params.iter().map(|p| Text::from(param(p))).collect();
            let column = head.width();
            head.append(fill(params, column, 1));
            head.push(")");
        }
        self.put(&head);
        self.newline();
        self.body(&found.body, Role::Value);
    }

    fn subprog(&mut self, subprog: &Subprog) {
        self.lead(subprog.loc.span.lo, 0);
        let mut head = Text::from(format!("fn {}(", subprog.name.name));
        let column = head.width();
        let mut params = Vec::new();
        for (name, ty) in &subprog.params {
            let mut param = Text::from(format!("${} : ", name.name));
            let at = param.end(column);
            param.append(self.ty(ty, at));
            params.push(param);
        }
        head.append(fill(params, column, 1));
        head.push(") : ");
        let column = head.width();
        head.append(self.ty(&subprog.ret, column));
        self.put(&head);
        self.newline();
        self.body(&subprog.body, Role::Body);
    }
}

fn param(param: &MacroParam) -> String {
    let sign = match param.kind {
        ParamKind::Variable => "$",
        ParamKind::Map => "@",
        ParamKind::Expr => "",
    };
    format!("{sign}{}", param.name.name)
}

//! Messages to the user as values, and their one rendering.
//!
//! The rendering is our own and not a library's because its exact form is a contract: users of the tracing
//! language match on it (`docs/reference` describes it). It is the same for all front ends.

use crate::source::{Loc, SourceMap};
use std::fmt::Write as _;

/// How bad it is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Nothing is compiled or attached.
    Error,
    /// The program runs, perhaps not as meant.
    Warning,
}

impl Severity {
    fn label(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Warning => "WARNING",
        }
    }

    fn color(self) -> &'static str {
        match self {
            Severity::Error => "\x1b[31m",
            Severity::Warning => "\x1b[33m",
        }
    }
}

/// One message: what, where, why, and a way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, in the terms of the language.
    pub message: String,
    /// Where; `None` for what has no place, such as a missing permission.
    pub loc: Option<Loc>,
    /// A line printed between the message and the source line, e.g. the helper and its return code.
    pub detail: Option<String>,
    /// Further places that belong to the message, each with its own text.
    pub contexts: Vec<(Loc, String)>,
    /// What to do about it.
    pub hints: Vec<String>,
}

impl Diagnostic {
    /// An error at a place.
    #[must_use]
    pub fn error(loc: Loc, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, Some(loc), message)
    }

    /// A warning at a place.
    #[must_use]
    pub fn warning(loc: Loc, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, Some(loc), message)
    }

    /// A message with or without a place.
    #[must_use]
    pub fn new(severity: Severity, loc: Option<Loc>, message: impl Into<String>) -> Self {
        let message = message.into();
        Diagnostic { severity, message, loc, detail: None, contexts: Vec::new(), hints: Vec::new() }
    }

    /// Adds a way out.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hints.push(text.into());
        self
    }

    /// Adds a further place.
    #[must_use]
    pub fn context(mut self, loc: Loc, text: impl Into<String>) -> Self {
        self.contexts.push((loc, text.into()));
        self
    }

    /// The message as text:
    ///
    /// ```text
    /// file:line:col1-col2: ERROR: message
    /// source line
    ///     ~~~~~
    /// HINT: text
    /// ```
    ///
    /// Columns count from 1 and the second is one past the end; a range over several lines shows
    /// `file:line1-line2` and those lines without a marker. Tabs are shown as four blanks.
    #[must_use]
    pub fn render(&self, sources: &SourceMap, color: bool) -> String {
        let mut out = String::new();
        self.place(&mut out, sources, self.loc, &self.message, self.detail.as_deref(), color);
        for (loc, text) in &self.contexts {
            self.place(&mut out, sources, Some(*loc), text, None, color);
        }
        for hint in &self.hints {
            let _ = writeln!(out, "HINT: {hint}");
        }
        out
    }

    fn place(
        &self,
        out: &mut String,
        sources: &SourceMap,
        loc: Option<Loc>,
        text: &str,
        detail: Option<&str>,
        color: bool,
    ) {
        let (on, off) = if color { (self.severity.color(), "\x1b[0m") } else { ("", "") };
        let label = self.severity.label();
        let Some(loc) = loc else {
            let _ = writeln!(out, "{on}{label}: {off}{text}");
            return;
        };
        let _ = writeln!(out, "{on}{}: {label}: {off}{text}", position(sources, loc));
        if let Some(detail) = detail {
            let _ = writeln!(out, "{detail}");
        }
        excerpt(out, sources, loc);
        for call in sources.call_chain(loc) {
            let _ = writeln!(out, "{on}{}: {label}: {off}expanded from", position(sources, call));
            excerpt(out, sources, call);
        }
    }
}

/// `file:line:col1-col2`, or `file:line1-line2` for a range over several lines.
#[must_use]
pub fn position(sources: &SourceMap, loc: Loc) -> String {
    let file = sources.file(loc.span.file);
    let (line, column) = file.line_col(loc.span.lo);
    let (last_line, end) = file.line_col(loc.span.hi);
    if line == last_line {
        format!("{}:{line}:{column}-{end}", file.name)
    } else {
        format!("{}:{line}-{last_line}", file.name)
    }
}

fn excerpt(out: &mut String, sources: &SourceMap, loc: Loc) {
    const TAB: &str = "    ";
    let file = sources.file(loc.span.file);
    let (line, column) = file.line_col(loc.span.lo);
    let (last_line, end) = file.line_col(loc.span.hi);
    for number in line..=last_line {
        let _ = writeln!(out, "{}", file.line(number).replace('\t', TAB));
    }
    if line == last_line {
        let marked = file.line(line).chars().chain(std::iter::repeat(' ')).zip(1..).take(end as usize - 1);
        for (character, at) in marked {
            let sign = if at < column { ' ' } else { '~' };
            out.extend(std::iter::repeat_n(sign, if character == '\t' { TAB.len() } else { 1 }));
        }
        out.push('\n');
    }
}

/// Prints messages in the order that users expect: errors first, then warnings.
#[must_use]
pub fn render_all(diagnostics: &[Diagnostic], sources: &SourceMap, color: bool) -> String {
    let of = |s: Severity| diagnostics.iter().filter(move |d| d.severity == s);
    of(Severity::Error).chain(of(Severity::Warning)).map(|d| d.render(sources, color)).collect()
}

/// Whether any of the messages is an error.
#[must_use]
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|d| d.severity == Severity::Error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Span;

    #[test]
    fn one_line_many_lines_tabs_and_chains() {
        let mut sources = SourceMap::default();
        let file = sources.add_file("a.bt", "begin {\n\tx();\n}");
        let span = |lo, hi| Span { file, lo, hi };
        let one = Diagnostic::error(span(9, 12).into(), "no x").hint("write y");
        assert_eq!(
            one.render(&sources, false),
            "a.bt:2:2-5: ERROR: no x\n    x();\n    ~~~\nHINT: write y\n"
        );
        let many = Diagnostic::warning(span(6, 15).into(), "odd");
        assert_eq!(many.render(&sources, false), "a.bt:1-3: WARNING: odd\nbegin {\n    x();\n}\n");
        let call = sources.add_expansion(span(9, 12).into());
        let inner = Loc { span: span(0, 5), expansion: call.into() };
        let chained = Diagnostic::error(inner, "bad").render(&sources, false);
        assert!(chained.ends_with("a.bt:2:2-5: ERROR: expanded from\n    x();\n    ~~~\n"), "{chained}");
        let end = Diagnostic::error(span(15, 15).into(), "more").render(&sources, false);
        assert_eq!(end, "a.bt:3:2-2: ERROR: more\n}\n \n");
    }
}

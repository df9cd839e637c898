//! The preprocessor: directives, conditions, includes and macros.

use super::super::MAX_SOURCE;
use super::super::ast::{CDefine, Ident};
use super::super::load::{LoadError, Loader, ParseOptions, beside, normalized};
use super::cond;
use super::lex::{Kind, Token, tokens};
use skep_ir::{Diagnostic, FileId, Loc, SourceMap, Span};
use std::collections::{HashMap, HashSet};

const MAX_INCLUDE_DEPTH: usize = 32;
const MAX_INCLUDES: usize = 2000;
/// Macros that are being replaced at one time.
const MAX_EXPANSION_DEPTH: usize = 100;
/// Tokens that are looked at while macros are replaced, also where they come to nothing.
const MAX_WORK: usize = 1 << 21;

struct Macro {
    name: Ident,
    params: Option<Vec<String>>,
    /// `...` takes the rest; its name is then the last parameter.
    variadic: bool,
    body: Vec<Token>,
    /// In which order macros were defined.
    number: usize,
}

/// One `#if` with what follows up to its `#endif`.
struct Condition {
    loc: Loc,
    /// The text in front of it counts.
    outer: bool,
    /// One of its branches was taken.
    taken: bool,
    live: bool,
    has_else: bool,
}

/// Makes C tokens of texts.
pub(super) struct Preprocessor<'a> {
    options: &'a ParseOptions,
    macros: HashMap<String, Macro>,
    /// Number of definitions made.
    defined: usize,
    once: HashSet<String>,
    includes: usize,
    depth: usize,
    work: usize,
    out: Vec<Token>,
    errors: Vec<Diagnostic>,
    started: bool,
}

impl<'a> Preprocessor<'a> {
    pub(super) fn new(options: &'a ParseOptions) -> Self {
        Preprocessor {
            options,
            macros: HashMap::new(),
            defined: 0,
            once: HashSet::new(),
            includes: 0,
            depth: 0,
            work: 0,
            out: Vec::new(),
            errors: Vec::new(),
            started: false,
        }
    }

    pub(super) fn has_included_files(&self) -> bool {
        !self.options.include_files.is_empty()
    }

    /// Reads the files of `--include`.
    pub(super) fn included_files(
        &mut self,
        sources: &mut SourceMap,
        loader: &mut dyn Loader,
        script: FileId,
    ) {
        let place = Loc::new(Span { file: script, lo: 0, hi: 0 });
        for path in &self.options.include_files {
            self.start(sources, loader);
            match self.find(loader, std::iter::once(path.clone()), &mut Vec::new()) {
                Ok(Some((path, text))) => self.include_text(sources, loader, place, path, text),
                Ok(None) => self.error(place, &format!("cannot include {path}: no such file")),
                Err(why) => self.error(place, &format!("cannot include {path}: {why}")),
            }
        }
    }

    /// Reads a part of a file that `sources` has.
    pub(super) fn text(&mut self, sources: &mut SourceMap, loader: &mut dyn Loader, span: Span) {
        self.start(sources, loader);
        self.lines(sources, loader, span);
    }

    /// Tokens and errors since the last call.
    pub(super) fn take(&mut self) -> (Vec<Token>, Vec<Diagnostic>) {
        (std::mem::take(&mut self.out), std::mem::take(&mut self.errors))
    }

    /// Object-like macros, in the order of their definitions.
    pub(super) fn defines(self, sources: &SourceMap) -> Vec<CDefine> {
        let mut macros: Vec<_> = self.macros.into_values().filter(|m| m.params.is_none()).collect();
        macros.sort_by_key(|m| m.number);
        let define = |m: Macro| {
            let end = Span { lo: m.name.loc.span.hi, ..m.name.loc.span };
            let loc = match (m.body.first(), m.body.last()) {
                (Some(first), Some(last)) => first.loc.to(last.loc),
                _ => end.into(),
            };
            CDefine { name: m.name, text: sources.text(loc.span).to_owned(), loc }
        };
        macros.into_iter().map(define).collect()
    }

    /// Macros that exist before any text.
    fn start(&mut self, sources: &mut SourceMap, loader: &mut dyn Loader) {
        if std::mem::replace(&mut self.started, true) || !self.options.have_btf {
            return;
        }
        let file = sources.add_file("<predefined>", "#define BPFTRACE_HAVE_BTF 1\n");
        let hi = sources.file(file).text.len() as u32;
        self.lines(sources, loader, Span { file, lo: 0, hi });
    }

    fn error(&mut self, loc: Loc, message: &str) {
        self.errors.push(Diagnostic::error(loc, format!("syntax: {message}")));
    }

    fn lines(&mut self, sources: &mut SourceMap, loader: &mut dyn Loader, span: Span) {
        let text = sources.file(span.file).text.clone();
        let tokens = tokens(&text, span);
        let mut conditions: Vec<Condition> = Vec::new();
        // Text is expanded in runs of lines, because the arguments of a macro may go over several of them.
        let mut run = Vec::new();
        for line in tokens.split_inclusive(|t| t.kind == Kind::Newline) {
            let live = conditions.last().is_none_or(|c| c.live);
            let is_directive = line[0].is(sources, "#");
            if !is_directive {
                if live {
                    run.extend(line.iter().filter(|t| t.kind != Kind::Newline));
                }
                continue;
            }
            self.flush(sources, &mut run);
            let end = line[line.len() - 1].loc;
            let line = &line[1..line.len() - 1];
            let word =
                line.first().filter(|t| t.kind == Kind::Ident).map_or("", |t| t.text(sources)).to_owned();
            let loc = line.first().map_or(end, |t| t.loc);
            let rest = line.get(1..).unwrap_or_default();
            match word.as_str() {
                "if" | "ifdef" | "ifndef" => {
                    let holds = live && self.holds(sources, &word, rest, end);
                    conditions.push(Condition {
                        loc,
                        outer: live,
                        taken: holds,
                        live: holds,
                        has_else: false,
                    });
                }
                "elif" | "else" | "endif" => {
                    self.next_branch(sources, &mut conditions, &word, loc, rest, end);
                }
                _ if live => self.directive(sources, loader, &word, loc, rest, end),
                _ => {}
            }
            if self.errors.len() > 100 {
                return;
            }
        }
        self.flush(sources, &mut run);
        if let Some(open) = conditions.first() {
            self.error(open.loc, "this condition has no #endif");
        }
    }

    fn next_branch(
        &mut self,
        sources: &mut SourceMap,
        conditions: &mut Vec<Condition>,
        word: &str,
        loc: Loc,
        rest: &[Token],
        end: Loc,
    ) {
        let Some(last) = conditions.last_mut() else {
            return self.error(loc, &format!("#{word} without #if"));
        };
        if word == "endif" {
            conditions.pop();
        } else if last.has_else {
            self.error(loc, &format!("#{word} behind #else"));
        } else if word == "else" {
            last.has_else = true;
            last.live = last.outer && !last.taken;
        } else {
            let open = last.outer && !last.taken;
            let holds = open && self.holds(sources, "if", rest, end);
            last.live = holds;
            last.taken |= holds;
        }
    }

    fn directive(
        &mut self,
        sources: &mut SourceMap,
        loader: &mut dyn Loader,
        word: &str,
        loc: Loc,
        rest: &[Token],
        end: Loc,
    ) {
        match word {
            "define" => self.define(sources, loc, rest),
            "undef" => match rest.first() {
                Some(name) if name.kind == Kind::Ident => {
                    self.macros.remove(name.text(sources));
                }
                _ => self.error(loc, "expected a macro name"),
            },
            "include" => self.include(sources, loader, loc, rest, end),
            "error" => {
                let text = rest
                    .first()
                    .map_or("", |first| sources.text(first.loc.to(rest[rest.len() - 1].loc).span));
                let message = format!("#error {text}");
                self.error(loc, message.trim_end());
            }
            "pragma" if rest.first().is_some_and(|t| t.is(sources, "once")) => {
                let name = normalized(&sources.file(loc.span.file).name);
                self.once.insert(name);
            }
            // Members would stand elsewhere than they say.
            "pragma" if rest.first().is_some_and(|t| t.is(sources, "pack")) => {
                self.error(loc, "#pragma pack is not supported, use __attribute__((packed))");
            }
            "pragma" | "warning" | "line" | "ident" | "" => {}
            _ => self.error(loc, &format!("unknown directive #{word}")),
        }
    }

    fn define(&mut self, sources: &SourceMap, loc: Loc, rest: &[Token]) {
        let Some((&name, mut body)) = rest.split_first() else {
            return self.error(loc, "expected a macro name");
        };
        if name.kind != Kind::Ident {
            return self.error(name.loc, "expected a macro name");
        }
        let mut params = None;
        let mut variadic = false;
        // Parameters begin directly behind the name.
        if let Some(open) = body.first().filter(|t| t.is(sources, "(") && t.loc.span.lo == name.loc.span.hi) {
            let Some(close) = body.iter().position(|t| t.is(sources, ")")) else {
                return self.error(open.loc, "this list of parameters has no ')'");
            };
            let mut names = Vec::new();
            for token in body[1..close].iter().filter(|t| !t.is(sources, ",")) {
                if token.is(sources, "...") {
                    variadic = true;
                    names.push("__VA_ARGS__".to_owned());
                } else {
                    names.push(token.text(sources).to_owned());
                }
            }
            params = Some(names);
            body = &body[close + 1..];
            if let Some(sign) = body.iter().find(|t| t.is(sources, "##") || t.is(sources, "#")) {
                return self.error(sign.loc, "macros that make names or strings (#, ##) are not supported");
            }
        }
        let ident = Ident { name: name.text(sources).to_owned(), loc: name.loc };
        self.defined += 1;
        let entry = Macro { name: ident, params, variadic, body: body.to_vec(), number: self.defined };
        self.macros.insert(entry.name.name.clone(), entry);
    }

    /// Whether the text behind `#if`, `#ifdef` or `#ifndef` holds.
    fn holds(&mut self, sources: &mut SourceMap, word: &str, rest: &[Token], end: Loc) -> bool {
        if word != "if" {
            let Some(name) = rest.first().filter(|t| t.kind == Kind::Ident) else {
                self.error(end, "expected a macro name");
                return false;
            };
            return self.macros.contains_key(name.text(sources)) == (word == "ifdef");
        }
        // `defined` looks at names before they are replaced.
        let mut line = Vec::new();
        let mut at = 0;
        while let Some(&token) = rest.get(at) {
            at += 1;
            if !token.is(sources, "defined") && !token.is(sources, "__has_include") {
                line.push(token);
                continue;
            }
            let open = rest.get(at).is_some_and(|t| t.is(sources, "("));
            at += usize::from(open);
            let known = token.is(sources, "defined")
                && rest
                    .get(at)
                    .is_some_and(|t| t.kind == Kind::Ident && self.macros.contains_key(t.text(sources)));
            at += 1;
            while open && rest.get(at - 1).is_some_and(|t| !t.is(sources, ")")) {
                at += 1;
            }
            line.push(Token { kind: Kind::Value(i64::from(known)), loc: token.loc });
        }
        let mut expanded = Vec::new();
        self.expand(sources, &line, &mut Vec::new(), &mut expanded);
        // A name that is no macro counts as 0.
        match cond::evaluate(sources, &expanded, end, &|_| Some(0)) {
            Ok(value) => value != 0,
            Err(error) => {
                self.errors.push(error);
                false
            }
        }
    }

    // Includes

    fn include(
        &mut self,
        sources: &mut SourceMap,
        loader: &mut dyn Loader,
        loc: Loc,
        rest: &[Token],
        end: Loc,
    ) {
        let Some(first) = rest.first() else { return self.error(loc, "expected a file name") };
        let text = sources.text(Span { hi: end.span.lo, ..first.loc.span });
        let (path, angle) = if let Some((path, _)) = text.strip_prefix('<').and_then(|t| t.split_once('>')) {
            (path.to_owned(), true)
        } else if let Some((path, _)) = text.strip_prefix('"').and_then(|t| t.split_once('"')) {
            (path.to_owned(), false)
        } else {
            return self.error(first.loc, "expected \"file\" or <file>");
        };
        let here = (!angle).then(|| beside(&sources.file(loc.span.file).name, &path));
        let dirs =
            self.options.include_dirs.iter().map(|dir| format!("{}/{path}", dir.trim_end_matches('/')));
        let candidates: Vec<String> = here.into_iter().chain(dirs).collect();
        let mut checked = Vec::new();
        match self.find(loader, candidates.into_iter(), &mut checked) {
            Ok(Some((path, text))) => self.include_text(sources, loader, loc, path, text),
            // The kernel's own description stands in for its headers.
            Ok(None) if angle && self.options.have_btf => {}
            Ok(None) => {
                let place = first.loc.to(rest[rest.len() - 1].loc);
                let mut error = Diagnostic::error(place, format!("syntax: cannot find '{path}'"));
                if angle {
                    error = error
                        .hint("the kernel has no BTF, so its headers are needed: name their folder with -I");
                } else {
                    error = error.hint(format!("checked: {}", checked.join(", ")));
                }
                self.errors.push(error);
            }
            Err(why) => self.error(loc, &format!("cannot include {path}: {why}")),
        }
    }

    fn find(
        &self,
        loader: &mut dyn Loader,
        candidates: impl Iterator<Item = String>,
        checked: &mut Vec<String>,
    ) -> Result<Option<(String, String)>, LoadError> {
        for path in candidates {
            match loader.read(&path) {
                Ok(text) => return Ok(Some((path, text))),
                Err(LoadError::Missing) => checked.push(path),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn include_text(
        &mut self,
        sources: &mut SourceMap,
        loader: &mut dyn Loader,
        loc: Loc,
        path: String,
        text: String,
    ) {
        if self.once.contains(&normalized(&path)) {
            return;
        }
        self.includes += 1;
        if self.depth >= MAX_INCLUDE_DEPTH || self.includes > MAX_INCLUDES {
            let limit =
                if self.depth >= MAX_INCLUDE_DEPTH { "are nested too deeply" } else { "are too many" };
            return self.error(loc, &format!("includes {limit}"));
        }
        if text.len() > MAX_SOURCE {
            return self.error(loc, &format!("{path} is too long"));
        }
        let hi = text.len() as u32;
        let file = sources.add_file(path, text);
        self.depth += 1;
        self.lines(sources, loader, Span { file, lo: 0, hi });
        self.depth -= 1;
    }

    // Macros

    fn flush(&mut self, sources: &mut SourceMap, run: &mut Vec<Token>) {
        if run.is_empty() {
            return;
        }
        let mut out = std::mem::take(&mut self.out);
        self.expand(sources, run, &mut Vec::new(), &mut out);
        self.out = out;
        run.clear();
    }

    /// Replaces macros in `tokens`; `active` are those that are being replaced.
    fn expand(
        &mut self,
        sources: &mut SourceMap,
        tokens: &[Token],
        active: &mut Vec<String>,
        out: &mut Vec<Token>,
    ) {
        let mut at = 0;
        while let Some(&token) = tokens.get(at) {
            at += 1;
            if self.is_spent(1, token.loc) {
                return;
            }
            let name = if token.kind == Kind::Ident { token.text(sources) } else { "" };
            let found = self.macros.get(name).filter(|_| !active.iter().any(|a| a == name));
            let Some(found) = found else {
                out.push(token);
                continue;
            };
            let start = at;
            let mut end = token.loc;
            let mut args = Vec::new();
            if let Some(params) = &found.params {
                let Some((list, next)) = arguments(sources, tokens, at) else {
                    self.is_spent(tokens.len() - at, token.loc);
                    out.push(token);
                    continue;
                };
                at = next;
                end = tokens[at - 1].loc;
                args = list;
                let count = params.len();
                if found.variadic && args.len() >= count && count > 0 {
                    let rest = args.split_off(count - 1);
                    args.push(join(sources, &rest, tokens));
                } else if found.variadic && args.len() + 1 == count {
                    args.push(Vec::new());
                }
                if count == 0 && args.len() == 1 && args[0].is_empty() {
                    args.clear();
                }
                if args.len() != count {
                    let name = token.text(sources);
                    let message = format!("macro {name} takes {count} arguments, {} given", args.len());
                    self.error(token.loc, &message);
                    return;
                }
            }
            if active.len() >= MAX_EXPANSION_DEPTH {
                return self.error(token.loc, "macros are nested too deeply");
            }
            let name = token.text(sources).to_owned();
            if self.is_spent(at - start, token.loc) {
                return;
            }
            let body = self.substituted(sources, &name, args, active, token.loc.to(end));
            active.push(name);
            self.expand(sources, &body, active, out);
            active.pop();
        }
    }

    /// Counts work; whether there was too much of it.
    fn is_spent(&mut self, work: usize, loc: Loc) -> bool {
        let before = self.work;
        self.work = self.work.saturating_add(work);
        if before <= MAX_WORK && self.work > MAX_WORK {
            self.error(loc, "the C part is too long when its macros are replaced");
        }
        self.work > MAX_WORK
    }

    /// The body of a macro with its arguments, as brought in by the call at `call`.
    fn substituted(
        &mut self,
        sources: &mut SourceMap,
        name: &str,
        args: Vec<Vec<Token>>,
        active: &mut Vec<String>,
        call: Loc,
    ) -> Vec<Token> {
        let args: Vec<Vec<Token>> = args
            .into_iter()
            .map(|arg| {
                let mut expanded = Vec::new();
                self.expand(sources, &arg, active, &mut expanded);
                expanded
            })
            .collect();
        let expansion = sources.add_expansion(call).into();
        let Some(found) = self.macros.get(name) else { return Vec::new() };
        let mut body = Vec::with_capacity(found.body.len());
        for &token in &found.body {
            let param = found.params.as_ref().and_then(|params| {
                let text = (token.kind == Kind::Ident).then(|| token.text(sources))?;
                params.iter().position(|p| p == text)
            });
            match param {
                Some(index) => body.extend_from_slice(&args[index]),
                None => body.push(Token { loc: Loc { expansion, ..token.loc }, ..token }),
            }
            if body.len() > MAX_WORK {
                break;
            }
        }
        body
    }
}

/// Arguments of a call whose `(` stands at `at`, and the place behind its `)`.
fn arguments(sources: &SourceMap, tokens: &[Token], at: usize) -> Option<(Vec<Vec<Token>>, usize)> {
    if !tokens.get(at)?.is(sources, "(") {
        return None;
    }
    let mut args = vec![Vec::new()];
    let mut depth = 0;
    for (index, &token) in tokens.iter().enumerate().skip(at) {
        let sign = if token.kind == Kind::Punct { token.text(sources) } else { "" };
        match sign {
            "(" => depth += 1,
            ")" => depth -= 1,
            "," if depth == 1 => {
                args.push(Vec::new());
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            return Some((args, index + 1));
        }
        if index > at {
            args.last_mut()?.push(token);
        }
    }
    None
}

/// Arguments of `...` with their commas.
fn join(sources: &SourceMap, args: &[Vec<Token>], tokens: &[Token]) -> Vec<Token> {
    let comma = tokens.iter().find(|t| t.is(sources, ",")).copied();
    let mut joined = Vec::new();
    for (index, arg) in args.iter().enumerate() {
        if index > 0 {
            joined.extend(comma);
        }
        joined.extend_from_slice(arg);
    }
    joined
}

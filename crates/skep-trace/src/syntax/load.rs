//! A script with its imports as one tree.

use super::MAX_SOURCE;
use super::ast::{Expr, Import, Macro, Script};
use super::c::CReader;
use super::parser::{FileTree, Parser};
use cranelift_entity::packed_option::PackedOption;
use skep_ir::{Diagnostic, FileId, Loc, SourceMap, Span};
use std::collections::HashSet;

/// How deep imports may import.
const MAX_IMPORT_DEPTH: usize = 32;

/// How many files a script may import.
const MAX_IMPORTS: usize = 2000;

/// Why a file could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// There is no such file; other places may be tried.
    #[error("no such file")]
    Missing,
    /// It exists and is not used; the text says why, e.g. that anyone may write to it.
    #[error("{0}")]
    Refused(String),
    /// Reading failed.
    #[error("{0}")]
    Failed(String),
}

/// Reads the files that a script names. Paths are those of the script, joined to the folder of the file that
/// names them; the loader knows what relative ones relate to.
pub trait Loader {
    /// The text of a file.
    ///
    /// # Errors
    /// See [`LoadError`].
    fn read(&mut self, path: &str) -> Result<String, LoadError>;

    /// Paths of the files of a folder, sorted; `None` if it is no folder.
    ///
    /// # Errors
    /// The folder is refused or cannot be read.
    fn list(&mut self, path: &str) -> Result<Option<Vec<String>>, LoadError>;
}

/// A [`Loader`] that has no files.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Loader for NoFiles {
    fn read(&mut self, _path: &str) -> Result<String, LoadError> {
        Err(LoadError::Missing)
    }

    fn list(&mut self, _path: &str) -> Result<Option<Vec<String>>, LoadError> {
        Ok(None)
    }
}

/// What reading a script depends on besides its text.
#[derive(Clone, Debug, Default)]
pub struct ParseOptions {
    /// Values of `$1`, `$2`... that attach points use.
    pub params: Vec<String>,
    /// Whether the kernel has type information: `BPFTRACE_HAVE_BTF` is defined, and missing kernel headers are
    /// not missed.
    pub have_btf: bool,
    /// Folders in which `#include` looks.
    pub include_dirs: Vec<String>,
    /// Files included before the script's C part.
    pub include_files: Vec<String>,
}

/// Reads a script of `sources` with everything that it imports and includes.
///
/// The tree is to be used only if none of the messages is an error.
#[must_use]
pub fn parse(
    sources: &mut SourceMap,
    file: FileId,
    options: &ParseOptions,
    loader: &mut dyn Loader,
) -> (Script, Vec<Diagnostic>) {
    let mut reader = ScriptReader {
        options,
        loader,
        script: Script::default(),
        diagnostics: Vec::new(),
        seen: HashSet::new(),
        c: CReader::new(options),
    };
    reader.seen.insert(normalized(&sources.file(file).name));
    reader.script(sources, file, 0);
    let ScriptReader { mut script, mut diagnostics, c, .. } = reader;
    let c = c.finish(sources);
    diagnostics.extend(c.diagnostics);
    script.c_items = c.items;
    script.defines = c.defines;
    (script, diagnostics)
}

/// The tree of one file alone; attach points keep `$1`... unless there are values for them.
pub(super) fn parse_file(sources: &SourceMap, file: FileId, params: Option<&[String]>) -> FileTree {
    let text = &*sources.file(file).text;
    let span = Span { file, lo: 0, hi: text.len().min(MAX_SOURCE) as u32 };
    if text.len() > MAX_SOURCE {
        let message = format!("the script is too long: {} bytes, at most {MAX_SOURCE} are read", text.len());
        let error = Diagnostic::error(Span { file, lo: 0, hi: 0 }.into(), message);
        return FileTree { errors: vec![error], ..FileTree::default() };
    }
    Parser::new(text, span, PackedOption::default()).with_params(params).file()
}

/// The macro that a part of a file is.
pub(crate) fn parse_macro(sources: &SourceMap, span: Span) -> Result<Macro, Vec<Diagnostic>> {
    Parser::new(&sources.file(span.file).text, span, PackedOption::default()).whole_macro()
}

/// The expression that a part of a file is.
pub(crate) fn parse_expression(sources: &SourceMap, span: Span) -> Result<Expr, Vec<Diagnostic>> {
    Parser::new(&sources.file(span.file).text, span, PackedOption::default()).whole_expression()
}

struct ScriptReader<'a> {
    options: &'a ParseOptions,
    loader: &'a mut dyn Loader,
    script: Script,
    diagnostics: Vec<Diagnostic>,
    /// Paths that were read.
    seen: HashSet<String>,
    c: CReader<'a>,
}

impl ScriptReader<'_> {
    fn script(&mut self, sources: &mut SourceMap, file: FileId, depth: usize) {
        let mut tree = parse_file(sources, file, Some(&self.options.params));
        if !tree.errors.is_empty() {
            // What a script that cannot be read names is not worth a message.
            tree.imports.clear();
        }
        self.diagnostics.extend(tree.errors);
        if depth == 0 {
            self.c.read_included(sources, self.loader, file);
        }
        if let Some(span) = tree.c_part {
            self.c.read(sources, self.loader, span);
        }
        match tree.config {
            Some((span, _)) if depth > 0 => {
                self.diagnostics.push(Diagnostic::error(span.into(), "invalid `config` within import"));
            }
            Some((_, entries)) => self.script.config = entries,
            None => {}
        }
        for import in tree.imports {
            self.import(sources, file, import, depth);
        }
        self.script.items.extend(tree.items);
    }

    fn import(&mut self, sources: &mut SourceMap, importer: FileId, mut import: Import, depth: usize) {
        if self.seen.len() > MAX_IMPORTS {
            return;
        }
        if depth >= MAX_IMPORT_DEPTH {
            let message =
                format!("imports are nested too deeply, at most {MAX_IMPORT_DEPTH} levels are possible");
            self.diagnostics.push(Diagnostic::error(import.loc, message));
            return;
        }
        let path = beside(&sources.file(importer).name, &import.path);
        let files = match self.loader.list(&path) {
            Ok(Some(files)) => files.into_iter().filter(|f| Kind::of(f).is_some()).collect(),
            Ok(None) => vec![path],
            Err(e) => return self.refuse(import.loc, &path, &e),
        };
        for path in files {
            if self.import_file(sources, &path, import.loc, depth) {
                import.files.push(path);
            }
        }
        self.script.imports.push(import);
    }

    /// Reads one file unless it was read before; whether it could be read.
    fn import_file(&mut self, sources: &mut SourceMap, path: &str, loc: Loc, depth: usize) -> bool {
        let kind = match Kind::of(path) {
            Some(Kind::Program) => {
                let message = format!("cannot import {path}: programs and objects are not linked to scripts");
                let error =
                    Diagnostic::error(loc, message).hint("only .bt and .h files and folders can be imported");
                self.diagnostics.push(error);
                return false;
            }
            Some(kind) => kind,
            None => {
                self.refuse(loc, path, &LoadError::Missing);
                return false;
            }
        };
        if !self.seen.insert(normalized(path)) {
            return true;
        }
        if self.seen.len() > MAX_IMPORTS {
            if self.seen.len() == MAX_IMPORTS + 1 {
                let message = format!("too many files are imported, at most {MAX_IMPORTS} are possible");
                self.diagnostics.push(Diagnostic::error(loc, message));
            }
            return false;
        }
        let text = match self.loader.read(path) {
            Ok(text) => text,
            Err(e) => {
                self.refuse(loc, path, &e);
                return false;
            }
        };
        let file = sources.add_file(path, text);
        if kind == Kind::Script {
            self.script(sources, file, depth + 1);
        } else {
            let hi = sources.file(file).text.len().min(MAX_SOURCE) as u32;
            self.c.read(sources, self.loader, Span { file, lo: 0, hi });
        }
        true
    }

    fn refuse(&mut self, loc: Loc, path: &str, error: &LoadError) {
        self.diagnostics.push(match error {
            LoadError::Missing => Diagnostic::error(loc, "Unable to find suitable path for import")
                .hint(format!("checked: {path}")),
            LoadError::Refused(why) | LoadError::Failed(why) => {
                Diagnostic::error(loc, format!("cannot import {path}: {why}"))
            }
        });
    }
}

/// What a file is for, by its name.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Kind {
    Script,
    Header,
    Program,
}

impl Kind {
    fn of(path: &str) -> Option<Kind> {
        let name = path.rsplit('/').next().unwrap_or(path);
        match name.rsplit_once('.')?.1 {
            "bt" => Some(Kind::Script),
            "h" => Some(Kind::Header),
            "c" | "o" => Some(Kind::Program),
            _ => None,
        }
    }
}

/// A path that a file names, relative to that file.
pub(super) fn beside(file: &str, path: &str) -> String {
    match file.rsplit_once('/') {
        Some((folder, _)) if !path.starts_with('/') => format!("{folder}/{path}"),
        _ => path.to_owned(),
    }
}

/// One name for the paths of one file, as far as their text shows it.
pub(super) fn normalized(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            "" if !parts.is_empty() => {}
            ".." if parts.last().is_some_and(|&last| last != ".." && !last.is_empty()) => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_relate_to_the_file_that_names_them() {
        assert_eq!(beside("lib/a.bt", "b.bt"), "lib/b.bt");
        assert_eq!(beside("a.bt", "../b.bt"), "../b.bt");
        assert_eq!(beside("lib/a.bt", "/b.bt"), "/b.bt");
        assert_eq!(normalized("lib/./x/../a.bt"), "lib/a.bt");
        assert_eq!(normalized("../lib//a.bt"), "../lib/a.bt");
        assert_eq!(normalized("/lib/../a.bt"), "/a.bt");
        assert_eq!(normalized("/../a.bt"), "/../a.bt");
    }
}

//! The C part of a script and the headers it includes: a preprocessor and a reader of declarations.
//!
//! Scripts use C for the layout of data and for named constants, so this is not a C compiler: declarations of
//! functions and variables are passed over, and expressions are read only where a constant is needed.

mod cond;
mod decl;
mod lex;
mod pp;
mod ty;

use super::ast::{CDefine, CItem};
use super::load::{Loader, ParseOptions};
use pp::Preprocessor;
use skep_ir::{Diagnostic, FileId, SourceMap, Span};
use std::collections::HashMap;

/// Value of a text that is a character of C.
pub(crate) fn c_character(text: &str) -> Option<u64> {
    let text = text.trim();
    text.starts_with('\'').then(|| cond::character(text)).flatten().map(|value| value as u64)
}

/// What the C parts of a script came to.
pub(super) struct COutput {
    pub(super) items: Vec<CItem>,
    pub(super) defines: Vec<CDefine>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Reads C texts one after the other; macros and enumerators of the earlier ones are known in later ones.
pub(super) struct CReader<'a> {
    pp: Preprocessor<'a>,
    items: Vec<CItem>,
    enumerators: HashMap<String, i64>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> CReader<'a> {
    pub(super) fn new(options: &'a ParseOptions) -> Self {
        CReader {
            pp: Preprocessor::new(options),
            items: Vec::new(),
            enumerators: HashMap::new(),
            diagnostics: Vec::new(),
        }
    }

    /// Reads the files that the command line includes; `script` is the file that they are put before.
    pub(super) fn read_included(&mut self, sources: &mut SourceMap, loader: &mut dyn Loader, script: FileId) {
        if self.pp.has_included_files() {
            self.pp.included_files(sources, loader, script);
            self.declarations(sources);
        }
    }

    /// Reads a part of a file.
    pub(super) fn read(&mut self, sources: &mut SourceMap, loader: &mut dyn Loader, span: Span) {
        self.pp.text(sources, loader, span);
        self.declarations(sources);
    }

    fn declarations(&mut self, sources: &SourceMap) {
        let (tokens, mut diagnostics) = self.pp.take();
        // Tokens of a text with broken directives are not what its author meant.
        if !skep_ir::diag::has_errors(&diagnostics)
            && let Some(reader) = decl::Reader::new(sources, &tokens, &mut self.enumerators)
        {
            let (items, errors) = reader.read();
            self.items.extend(items);
            diagnostics.extend(errors);
        }
        self.diagnostics.extend(diagnostics);
    }

    pub(super) fn finish(self, sources: &SourceMap) -> COutput {
        COutput { items: self.items, defines: self.pp.defines(sources), diagnostics: self.diagnostics }
    }
}

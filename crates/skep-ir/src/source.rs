//! Where something stands in what the user wrote.
//!
//! Every token, instruction and message carries a [`Loc`]: a byte range of a file and, for text that a macro
//! brought in, the chain of calls that led to it.

use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{PrimaryMap, entity_impl};
use std::sync::Arc;

/// A file of a [`SourceMap`].
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(u32);
entity_impl!(FileId, "file");

/// One use of a macro (or an import, or an inlined function) of a [`SourceMap`].
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExpansionId(u32);
entity_impl!(ExpansionId, "expansion");

/// A range of bytes of a file; `lo == hi` is a place between two bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// First byte.
    pub lo: u32,
    /// One past the last byte.
    pub hi: u32,
}

impl Span {
    /// The range from the start of `self` to the end of `other`; the file is that of `self`.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        Span { file: self.file, lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }
}

/// A [`Span`] and the expansion that it was copied by.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Loc {
    /// Where the text stands.
    pub span: Span,
    /// The innermost macro call that brought the text here.
    pub expansion: PackedOption<ExpansionId>,
}

impl Loc {
    /// Text that stands where it was written.
    #[must_use]
    pub fn new(span: Span) -> Loc {
        Loc { span, expansion: PackedOption::default() }
    }

    /// The range from the start of `self` to the end of `other`, in the expansion of `self`.
    #[must_use]
    pub fn to(self, other: Loc) -> Loc {
        Loc { span: self.span.to(other.span), expansion: self.expansion }
    }
}

impl From<Span> for Loc {
    fn from(span: Span) -> Loc {
        Loc::new(span)
    }
}

/// One source text.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// The name that messages show: a path as the user gave it, or `stdin`.
    pub name: String,
    /// The whole text.
    pub text: Arc<str>,
    line_starts: Vec<u32>,
}

impl SourceFile {
    fn new(name: String, text: Arc<str>) -> Self {
        let newlines = text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(i, _)| i as u32 + 1);
        let line_starts = std::iter::once(0).chain(newlines).collect();
        SourceFile { name, text, line_starts }
    }

    /// Line and column of a byte, both from 1; the column counts characters.
    #[must_use]
    pub fn line_col(&self, offset: u32) -> (u32, u32) {
        let offset = offset.min(self.text.len() as u32);
        let line = self.line_starts.partition_point(|&s| s <= offset) - 1;
        let before = self.text.get(self.line_starts[line] as usize..offset as usize).unwrap_or("");
        (line as u32 + 1, before.chars().count() as u32 + 1)
    }

    /// A line without its newline, counted from 1; empty beyond the last one.
    #[must_use]
    pub fn line(&self, line: u32) -> &str {
        let index = (line as usize).saturating_sub(1);
        let Some(&start) = self.line_starts.get(index) else { return "" };
        let end = self.line_starts.get(index + 1).map_or(self.text.len(), |&e| e as usize - 1);
        self.text.get(start as usize..end).unwrap_or("").trim_end_matches('\r')
    }
}

/// All texts of one compilation.
#[derive(Debug, Clone, Default)]
pub struct SourceMap {
    files: PrimaryMap<FileId, SourceFile>,
    expansions: PrimaryMap<ExpansionId, Loc>,
}

impl SourceMap {
    /// Adds a text.
    pub fn add_file(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        self.files.push(SourceFile::new(name.into(), text.into()))
    }

    /// Records a macro call that stands at `call`; what it brings in gets the result as its expansion.
    pub fn add_expansion(&mut self, call: Loc) -> ExpansionId {
        self.expansions.push(call)
    }

    /// A file.
    #[must_use]
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id]
    }

    /// All files, in the order in which they were added.
    pub fn files(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.files.iter()
    }

    /// The text of a span.
    #[must_use]
    pub fn text(&self, span: Span) -> &str {
        self.files[span.file].text.get(span.lo as usize..span.hi as usize).unwrap_or("")
    }

    /// The calls that brought a location in, innermost first; empty for text that stands where it was written.
    pub fn call_chain(&self, loc: Loc) -> impl Iterator<Item = Loc> + '_ {
        let mut next = loc.expansion;
        std::iter::from_fn(move || {
            let call = self.expansions[next.expand()?];
            next = call.expansion;
            Some(call)
        })
    }

    /// The outermost call of a location's chain, or the location itself: what the user wrote.
    #[must_use]
    pub fn outermost(&self, loc: Loc) -> Loc {
        self.call_chain(loc).last().unwrap_or(loc)
    }
}

//! Types as C text: declarations, and definitions in the layout of compilable headers.

mod declare;
mod define;

use crate::layout::Alignments;
use crate::{Btf, TypeId};
use std::fmt::Write;
use thiserror::Error;

/// Most bytes that one piece of C text may take: hostile nesting doubles at every level.
const MAX_TEXT: usize = 1 << 20;

/// Why a type has no C text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CError {
    /// There is no type of an id.
    #[error("there is no type {0}")]
    NoType(TypeId),
    /// A chain of types that does not end.
    #[error("type {0} is made of itself")]
    Endless(TypeId),
    /// Nesting or text beyond any sensible type.
    #[error("type {0} is nested too deeply or too large to print")]
    TooComplex(TypeId),
    /// A kind that C has no definition for.
    #[error("type {id} is {kind}, which has no definition in C")]
    NoDefinition {
        /// The type.
        id: TypeId,
        /// Its kind, by name.
        kind: &'static str,
    },
}

/// Prints types of one BTF. One printer for many types remembers the alignments that it found out.
pub struct CPrinter<'a> {
    btf: &'a Btf,
    alignments: Alignments<'a>,
    /// Bytes that may still be written for the present type.
    budget: usize,
}

impl<'a> CPrinter<'a> {
    /// A printer.
    #[must_use]
    pub fn new(btf: &'a Btf) -> Self {
        CPrinter { btf, alignments: Alignments::new(btf), budget: MAX_TEXT }
    }

    /// Appends a declaration: `struct list_head *next`, `char cb[48]`, `void (*destructor)(struct sk_buff *)`.
    /// An empty name gives the type alone, as in a cast. Anonymous structs, unions and enumerations are
    /// spelled out.
    ///
    /// # Errors
    /// The type does not exist, has no end, or is too large; what was appended so far stays.
    pub fn declaration(&mut self, out: &mut String, id: TypeId, name: &str) -> Result<(), CError> {
        self.budget = MAX_TEXT;
        self.declare(out, id, name, 0, 0)
    }

    /// Appends the definition of a type, without the semicolon that ends it: members of a struct or union
    /// with the padding and attributes that make a compiler lay it out the same way, constants of an
    /// enumeration, `typedef` with what it stands for, prototype of a function, declaration of a variable.
    ///
    /// # Errors
    /// As [`CPrinter::declaration`]; and for kinds that are not defined by name.
    pub fn definition(&mut self, out: &mut String, id: TypeId) -> Result<(), CError> {
        self.budget = MAX_TEXT;
        self.define(out, id)
    }

    /// Appends text within the budget.
    fn put(&mut self, out: &mut String, text: &str, at: TypeId) -> Result<(), CError> {
        self.spend(text.len(), at)?;
        out.push_str(text);
        Ok(())
    }

    /// Appends formatted text within the budget.
    fn print(&mut self, out: &mut String, text: std::fmt::Arguments<'_>, at: TypeId) -> Result<(), CError> {
        let before = out.len();
        out.write_fmt(text).map_err(|_| CError::TooComplex(at))?;
        self.spend(out.len() - before, at)
    }

    fn spend(&mut self, bytes: usize, at: TypeId) -> Result<(), CError> {
        self.budget = self.budget.checked_sub(bytes.max(1)).ok_or(CError::TooComplex(at))?;
        Ok(())
    }
}

impl Btf {
    /// A declaration of a name with a type: see [`CPrinter::declaration`].
    ///
    /// # Errors
    /// The type does not exist, has no end, or is too large.
    pub fn c_decl(&self, id: TypeId, name: &str) -> Result<String, CError> {
        let mut out = String::new();
        CPrinter::new(self).declaration(&mut out, id, name)?;
        Ok(out)
    }

    /// A type as in a cast: `struct task_struct *`, `char[16]`, `void (*)(int)`.
    ///
    /// # Errors
    /// The type does not exist, has no end, or is too large.
    pub fn c_type(&self, id: TypeId) -> Result<String, CError> {
        self.c_decl(id, "")
    }

    /// The definition of a type with the semicolon that ends it and no newline after it.
    ///
    /// # Errors
    /// As [`Btf::c_decl`]; and for kinds that are not defined by name.
    pub fn c_definition(&self, id: TypeId) -> Result<String, CError> {
        let mut out = String::new();
        CPrinter::new(self).definition(&mut out, id)?;
        out.push(';');
        Ok(out)
    }
}

//! What could not be loaded, told to the user.

use skep_ir::diag::Diagnostic;
use skep_ir::module::MapId;
use skep_sys::SysError;
use skep_sys::bpf::Log;
use std::fmt;

/// What was being made when the kernel refused.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The collection's type information.
    Btf,
    /// A map.
    Map(MapId),
    /// A program, by its index in the collection.
    Program(usize),
}

/// A part of a collection that could not be loaded.
#[derive(Clone, Debug)]
pub struct LoadFailure {
    /// The part.
    pub stage: Stage,
    /// The call and its errno. What was refused before the kernel was asked (a name that the kernel does not
    /// have) has `ENOENT`.
    pub error: SysError,
    /// The kernel's whole log; empty if it refused without looking.
    pub log: Log,
    /// The message for the user: cause, place in the source and remedy.
    pub diagnostic: Box<Diagnostic>,
}

impl fmt::Display for LoadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.diagnostic.message, self.error)
    }
}

impl std::error::Error for LoadFailure {}

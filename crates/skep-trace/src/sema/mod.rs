//! Semantic analysis: names are resolved, attach points looked up, types inferred, conversions written out.
//!
//! ```text
//! ast (macros expanded) ─ config ─ attach ─ check, again until no type changes ─► hir::Program
//! ```
//!
//! The walk over the bodies builds the analysed program and collects messages each time; types of variables and
//! maps are kept from one walk to the next. Types only ever widen, so a walk that changed none of them has seen
//! final types, and its result is the result.

mod arch;
mod attach;
mod calls;
mod check;
mod diags;
pub mod dump;
mod events;
mod format;
pub mod list;
mod params;
mod program;
mod settings;
mod structs;
mod ty;
mod uses;

pub use calls::{Function, functions};
pub use params::{help, split};

use crate::env::Env;
use crate::hir;
use crate::syntax::ast;
use skep_ir::{Diagnostic, SourceMap};
use std::rc::Rc;

/// What a script is compiled for.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// To run; probes of tests and benchmarks are left out.
    #[default]
    Run,
    /// To run its tests.
    Test,
    /// To run its benchmarks.
    Bench,
    /// To list what it would attach to.
    List,
}

/// Picks probes by their full names.
pub type ProbeFilter = Rc<dyn Fn(&str) -> bool>;

/// What the command line says about a script.
#[derive(Clone, Default)]
pub struct Options {
    /// Positional parameters: `$1` is the first.
    pub params: Vec<String>,
    /// Options behind `--`, as name and value; see [`split`].
    pub named: Vec<(String, Option<String>)>,
    /// Only this process is traced.
    pub pid: Option<u32>,
    /// Process id of the command that was started for the script.
    pub child: Option<u32>,
    /// Functions that change the system are allowed, as are probes that may harm a program.
    pub unsafe_allowed: bool,
    /// What it is compiled for.
    pub mode: Mode,
    /// Only probes whose names it accepts; begin and end are always there.
    pub probe_filter: Option<ProbeFilter>,
    /// No warnings are wanted.
    pub no_warnings: bool,
}

/// Analyses a script whose macros were expanded.
///
/// The program is complete only if none of the messages is an error. Errors come first.
pub fn analyse(
    script: &ast::Script,
    sources: &SourceMap,
    env: &dyn Env,
    options: &Options,
) -> (hir::Program, Vec<Diagnostic>) {
    program::analyse(script, sources, env, options)
}

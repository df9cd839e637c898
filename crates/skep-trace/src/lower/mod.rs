//! Lowering: from an analysed script to IR and the plan for its output.
//!
//! Code is made for a destination: what does not fit a register is written straight to where it belongs (a
//! record, a key, a map's value, a variable) and never passes through a temporary of its own. Scalars are
//! `i64` values extended by their own sign, truth values `i1`, and pointers keep their provenance as long as
//! they are not stored.
//!
//! | module | concern |
//! |---|---|
//! | `unit`, `resources`, `memory_types` | one compilation: maps, rings, constants, types of memory |
//! | `locals`, `visit` | questions about a body, asked before code is made |
//! | `function`, `closure` | one function: variables, scopes, captures, leaving |
//! | `stmt`, `loops` | statements |
//! | `scalar`, `arith`, `condition` | expressions that fit a register |
//! | `place`, `object`, `store` | where values lie, and writing them to a destination |
//! | `maps`, `update`, `collect`, `series`, `sums` | elements of maps |
//! | `events`, `packet` | records |
//! | `program`, `context`, `builtins`, `stacks`, `arch` | programs and what the kernel tells them |
//! | `calls`, `strings`, `concat`, `tables` | functions |

mod arch;
mod arith;
mod builtins;
mod calls;
mod closure;
mod collect;
mod concat;
mod condition;
mod context;
mod events;
mod function;
mod helper;
mod locals;
mod loops;
mod maps;
mod memory_types;
mod object;
mod packet;
mod place;
mod program;
mod resources;
mod scalar;
mod series;
mod stacks;
mod stmt;
mod store;
mod strings;
mod sums;
mod tables;
#[cfg(test)]
mod tests;
mod unit;
mod update;
mod visit;

use crate::env::Env;
use crate::hir;
use crate::plan::Plan;
use skep_ir::{Diagnostic, Module, SourceMap};

/// When the reader of the data ring is woken up. Control records always wake it.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Wake {
    /// At once by probes that fire rarely (`begin`, `interval`...), never by the others: the reader looks at the
    /// ring on its own every so often.
    #[default]
    ByProbe,
    /// At every record.
    Always,
    /// Never.
    Never,
    /// Once an eighth of the ring is waiting to be read; costs a helper call for each record.
    Watermark,
}

/// Settings of lowering that do not come from the script.
#[derive(Clone, Debug, Default)]
pub struct LowerOptions {
    /// Report reads and lookups that fail, too (`-k`).
    pub report_failures: bool,
    /// Make no code for warnings, neither those of the run time nor `warnf`.
    pub no_warnings: bool,
    /// Count events that were decided upon, submitted and filtered in the ledger; losses always are.
    pub full_ledger: bool,
    /// Bytes of the data ring; rounded up to a power of two of whole pages.
    pub data_ring_bytes: Option<u32>,
    /// Bytes of the control ring, likewise.
    pub control_ring_bytes: Option<u32>,
    /// When data records wake the reader.
    pub wake: Wake,
    /// Only this process is traced (`-p`), by its id in the script's own PID namespace.
    pub pid: Option<u32>,
}

/// Makes code and an output plan for a script.
///
/// The module is complete only if none of the diagnostics is an error; errors name kernel features that the
/// script needs and the kernel has not.
#[must_use]
pub fn lower(
    program: &hir::Program,
    sources: &SourceMap,
    env: &dyn Env,
    options: &LowerOptions,
) -> (Module, Plan, Vec<Diagnostic>) {
    let mut unit = unit::Unit::new(program, sources, env, options);
    for probe in &program.probes {
        unit.probe(probe);
    }
    unit.finish()
}

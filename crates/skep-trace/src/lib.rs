//! The tracing language: from script text to IR and a plan for its output, and from records to output.
//!
//! ```text
//! text ─ syntax ─► ast ─ expand ─► ast ─ sema ─► hir ─ lower ─► skep_ir::Module + plan
//!                                                        records, maps + plan ─ output ─► text or JSON
//! ```
//!
//! Nothing here does I/O: what must be asked of the system goes through [`env::Env`], and output goes
//! through the traits of the output module.
#![forbid(unsafe_code)]

pub mod btf_types;
pub mod config;
pub mod env;
pub mod expand;
pub mod hir;
pub mod lower;
pub mod output;
pub mod plan;
pub mod sema;
pub mod stdlib;
pub mod syntax;
pub mod types;

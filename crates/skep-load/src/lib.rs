//! Turns specs into kernel objects: probes, maps, programs, links, events.
//!
//! - [`LiveKernel`] answers the compiler's questions about the running kernel: features by probing, types by
//!   its BTF, each when it is first asked; [`PROBES`] is the table behind it.
//! - [`load`] makes the maps and programs of a [`Collection`](skep_ir::spec::Collection). What the kernel
//!   refuses comes back as a [`LoadFailure`] that says where in the source and what to do.
//! - [`LiveMap`] reads and clears maps for printing.
//! - [`elf::write`] writes a collection as an object file for other loaders.
//! - [`attach`] hooks loaded programs to events, [`events`] reads what they report.
#![forbid(unsafe_code)]

pub mod attach;
pub mod elf;
pub mod events;
mod failure;
mod kernel;
mod live;
mod load;
pub mod verifier;

pub use failure::{LoadFailure, Stage};
pub use kernel::{Answer, LiveKernel, PROBES, Probe};
pub use live::{LiveMap, Snapshot};
pub use load::{LoadOptions, Loaded, LoadedProgram, load};

//! System calls and kernel files for skep: the only crate with unsafe code.
//!
//! Owned file descriptors go in, plain values and [`SysError`] come out; the public surface is entirely
//! safe. The crate knows no BTF contents, no ELF and no specs: what it loads is bytes.
//!
//! - [`bpf`]: the bpf(2) commands;
//! - [`perf`]: perf events, the probes made of them, and their buffers;
//! - [`ring`]: the consumer side of the BPF ring buffer; [`shared`]: array maps as shared memory;
//! - [`cpu`]: the CPU lists of sysfs.
#![allow(unsafe_code, reason = "this crate is where the workspace keeps its unsafe code")]

pub mod bpf;
pub mod cpu;
mod error;
mod mapping;
pub mod perf;
pub mod ring;
pub mod shared;

pub use error::{Errno, Result, SysError};

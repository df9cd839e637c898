//! System calls and kernel files for skep: the only crate with unsafe code.
//!
//! Owned file descriptors go in, plain values and [`SysError`] come out; the public surface is entirely
//! safe. The crate knows no BTF contents, no ELF and no specs: what it loads is bytes.
//!
//! - [`bpf`]: the bpf(2) commands;
//! - [`perf`]: perf events, the probes made of them, and their buffers;
//! - [`ring`]: the consumer side of the BPF ring buffer; [`shared`]: array maps as shared memory;
//! - [`poll`]: waiting for rings, signals, timers and processes; [`process`]: commands that wait, namespaces;
//! - [`net`]: network interfaces, and XDP and tc by netlink;
//! - [`fs`]: tracefs, bpffs and cgroup2, mounted or not;
//! - [`proc`]: what the kernel tells as text; [`cpu`]: its CPU lists; [`clock`]: its clocks.
#![allow(unsafe_code, reason = "this crate is where the workspace keeps its unsafe code")]

pub mod bpf;
pub mod clock;
pub mod cpu;
mod error;
pub mod fs;
mod mapping;
pub mod net;
pub mod perf;
pub mod poll;
pub mod proc;
pub mod process;
pub mod ring;
pub mod shared;

pub use error::{Errno, Result, SysError};
pub use mapping::page_size;

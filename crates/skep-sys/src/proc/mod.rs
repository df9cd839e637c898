//! /proc and its like: what the kernel tells as text.
//!
//! Every parser is a function over bytes that takes any input: what is not of the documented form is left out
//! or yields `None`, never a panic.

mod caps;
mod kallsyms;
mod maps;
mod mounts;
mod ns;
mod process;
mod symbols;
mod system;
mod users;

pub use caps::{Capability, Caps};
pub use kallsyms::{Found, Symbol, Visited, find_symbols, parse_symbol, visit_symbols, visit_symbols_in};
pub use maps::{MemoryMap, Perms, parse_maps};
pub use mounts::{Mount, MountTable};
pub use ns::{Namespace, NsId};
pub use process::{
    ProcStat, ProcStatus, argv, cgroup, cmdline, exe, maps, namespace, open_file, parse_cgroup, pids, root,
    stat, status, threads,
};
pub use symbols::{Resolved, SymbolTable};
pub use system::{
    Lockdown, kernel_release, kernel_version, lockdown, security_modules, sysctl, sysctl_number, version_code,
};
pub use users::Users;

//! Symbols: what addresses of the kernel and of processes are called, and where programs keep their names.

pub(crate) mod addresses;
pub(crate) mod archive;
pub(crate) mod cgroups;
pub(crate) mod debug_file;
pub(crate) mod demangle;
pub(crate) mod dwarf;
pub(crate) mod elf;
pub(crate) mod jit;
pub(crate) mod kernel;
pub(crate) mod names;
pub(crate) mod open;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod source;
pub(crate) mod symtab;
pub(crate) mod usdt;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

//! Symbols of the kernel, its modules and the BPF programs that it runs.

use skep_sys::proc::{Resolved, SymbolTable};
use std::time::{Duration, Instant};

/// The list is read again for BPF programs that were loaded since, but not more often.
const PAUSE: Duration = Duration::from_secs(1);
/// No BPF program is larger: an address further behind one is of another that is not known yet.
const LARGEST_PROGRAM: u64 = 4 << 20;

/// The kernel's symbols, read when the first is asked for: that takes the kernel 60 ms and more.
#[derive(Default)]
pub(crate) struct KernelSymbols {
    table: SymbolTable,
    read: Option<Instant>,
}

impl KernelSymbols {
    /// The symbol at or before an address; `None` if there is none or the kernel hides its addresses.
    pub(crate) fn resolve(&mut self, address: u64) -> Option<Resolved<'_>> {
        let known = self.table.resolve(address);
        let doubtful = known.is_none_or(|s| s.module == Some("bpf") && s.offset > LARGEST_PROGRAM);
        if doubtful && is_kernel(address) && self.read.is_none_or(|at| at.elapsed() > PAUSE) {
            self.table = SymbolTable::all().unwrap_or_default();
            self.read = Some(Instant::now());
        }
        self.table.resolve(address)
    }
}

/// Addresses of the kernel are in the upper half.
fn is_kernel(address: u64) -> bool {
    address >> 63 == 1
}

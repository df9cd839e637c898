//! Names and times for output. Nothing is read before it is printed.

use super::clock;
use skep_ir::KernelInfo;
use skep_load::LiveKernel;
use skep_sys::clock::Clock as SysClock;
use skep_sys::proc::{SymbolTable, Users};
use skep_trace::output::{KernelSymbol, Resolver, UserSymbol, Zone};
use skep_trace::plan::Clock;
use std::borrow::Cow;

/// Answers of the running system.
pub(crate) struct Names<'k> {
    kernel: &'k LiveKernel,
    symbols: Option<SymbolTable>,
    users: Option<Users>,
    zone: Option<Zone>,
    offsets: [Option<i64>; 3],
}

impl<'k> Names<'k> {
    pub(crate) fn new(kernel: &'k LiveKernel) -> Self {
        Names { kernel, symbols: None, users: None, zone: None, offsets: [None; 3] }
    }
}

impl Resolver for Names<'_> {
    fn kernel_symbol(&mut self, address: u64) -> Option<KernelSymbol<'_>> {
        let table = self.symbols.get_or_insert_with(|| SymbolTable::all().unwrap_or_default());
        let found = table.resolve(address)?;
        Some(KernelSymbol { name: Cow::Borrowed(found.name), offset: found.offset })
    }

    fn user_symbol(&mut self, _pid: u32, _address: u64) -> Option<&UserSymbol> {
        None
    }

    fn user_name(&mut self, uid: u64) -> Option<String> {
        let users = self.users.get_or_insert_with(|| Users::read().unwrap_or_default());
        u32::try_from(uid).ok().and_then(|uid| users.name(uid)).map(str::to_owned)
    }

    fn cgroup_path(&mut self, _id: u64, _filter: &str) -> Option<String> {
        None
    }

    fn now(&mut self) -> i64 {
        SysClock::Real.now()
    }

    fn clock_offset(&mut self, clock: Clock) -> i64 {
        let from = match clock {
            Clock::Boot => SysClock::Boot,
            Clock::Tai => SysClock::Tai,
            Clock::Monotonic => SysClock::Monotonic,
        };
        *self.offsets[clock as usize].get_or_insert_with(|| from.offset_to(SysClock::Real))
    }

    fn zone(&mut self) -> Zone {
        self.zone.get_or_insert_with(clock::zone).clone()
    }

    fn gfp_bit(&mut self, name: &str) -> Option<u32> {
        let value = self.kernel.btf()?.enum_value(&format!("___GFP_{name}_BIT"))?;
        u32::try_from(value.value).ok()
    }
}

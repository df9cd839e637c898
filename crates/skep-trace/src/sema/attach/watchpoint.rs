//! Breakpoints on memory.

use super::timer::plain;
use super::{Attacher, Facts, Target, part};
use crate::hir::Provider;
use crate::syntax::ast::AttachPoint;
use skep_ir::kernel::Arch;
use skep_ir::spec::{Attach, Cpus, PerfEvent, Sample};
use skep_ir::{Diagnostic, ProgKind};

/// `PERF_TYPE_BREAKPOINT` of `linux/perf_event.h`.
const BREAKPOINT: u32 = 5;

/// `HW_BREAKPOINT_*` of `linux/hw_breakpoint.h`.
const MODES: &[(char, u32)] = &[('r', 1), ('w', 2), ('x', 4)];

pub(super) fn resolve(a: &mut Attacher<'_, '_>, point: &AttachPoint) -> Vec<Target> {
    let mut number = |index: usize, what: &str| match plain(part(point, index)) {
        Ok(n) => Some(n),
        Err(e) => {
            a.error(point.loc, format!("Invalid {what} argument: {e}"));
            None
        }
    };
    let (Some(address), Some(len)) = (number(0, "function/address"), number(1, "length")) else {
        return Vec::new();
    };
    let mode = part(point, 2);
    let (Ok(address), true) = (u64::try_from(address), address != 0) else {
        a.error(point.loc, "watchpoint must be attached to a non-zero address");
        return Vec::new();
    };
    if ![1, 2, 4, 8].contains(&len) {
        a.error(point.loc, "watchpoint length must be one of (1,2,4,8)");
        return Vec::new();
    }
    let mut bits = 0;
    for c in mode.chars() {
        match MODES.iter().find(|(m, _)| *m == c) {
            None => {
                a.error(point.loc, "watchpoint mode must be combination of (r,w,x)");
                return Vec::new();
            }
            Some((_, bit)) if bits & bit != 0 => {
                a.error(point.loc, "watchpoint modes may not be duplicated");
                return Vec::new();
            }
            Some((_, bit)) => bits |= bit,
        }
    }
    // x86 cannot tell reads alone, nor execution together with data (`arch/x86/kernel/hw_breakpoint.c`,
    // `arch_build_bp_info`).
    let supported: &[u32] = match a.env.arch() {
        Arch::X86_64 => &[4, 2, 3],
        Arch::Aarch64 => &[4, 1, 2, 3],
    };
    if !supported.contains(&bits) {
        let names = match a.env.arch() {
            Arch::X86_64 => "x,w,rw",
            Arch::Aarch64 => "x,r,w,rw",
        };
        let note = Diagnostic::error(point.loc, format!("invalid watchpoint mode: {mode}"));
        a.failed = true;
        a.diags.push(crate::sema::diags::Stage::Attach, note.hint(format!("supported modes: {names}")));
        return Vec::new();
    }
    let sorted: String = MODES.iter().filter(|(_, bit)| bits & bit != 0).map(|(c, _)| *c).collect();
    let event = PerfEvent {
        perf_type: BREAKPOINT,
        config: address,
        sample: Sample::Period(1),
        bp_len: len as u32,
        bp_type: bits,
        cpus: Cpus::Online,
        pid: a.options.pid,
    };
    vec![Target {
        name: format!("watchpoint:{address:#x}:{len}:{sorted}"),
        provider: Provider::Watchpoint,
        kind: ProgKind::PerfEvent,
        attach: Attach::Perf(event),
        facts: Facts::None,
    }]
}

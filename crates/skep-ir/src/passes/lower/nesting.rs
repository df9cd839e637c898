//! Whether one program can interrupt another between reading a per-CPU value and writing it back.
//!
//! The kernel keeps programs of some kinds from running inside each other on one CPU:
//!
//! - tracepoints, kprobes and perf events share one counter per CPU (`bpf_prog_active`, kernel/trace/bpf_trace.c,
//!   kernel/events/core.c); what comes second does not run. Probes in user code do not take part.
//! - raw tracepoints and trampolines have one counter for each program (`prog->active`, kernel/bpf/trampoline.c):
//!   a program does not interrupt itself.
//! - XDP and traffic control run with softirqs disabled, one after the other.

use crate::call_graph::callees;
use crate::inst::InstKind;
use crate::kinds::ProgKind;
use crate::module::{FuncId, MapId, Module, Prog};
use crate::spec::Attach;
use crate::types::PtrClass;
use cranelift_entity::SecondaryMap;

/// Programs that keep each other out.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Guard {
    /// One at a time of all of them.
    Shared(u8),
    /// One at a time of each.
    Own,
    /// Nothing.
    None,
}

/// What aggregates in a map's values.
#[derive(Clone, Copy, Default)]
struct Users {
    last: Option<(u32, Guard)>,
    /// Two programs that can interrupt each other, or one that can interrupt itself.
    nest: bool,
}

/// See the module's description.
pub(super) struct Nesting {
    maps: SecondaryMap<MapId, bool>,
    per_cpu: SecondaryMap<MapId, bool>,
}

impl Nesting {
    pub(super) fn new(module: &Module) -> Self {
        let aggregates: SecondaryMap<FuncId, Vec<MapId>> = {
            let mut all = SecondaryMap::new();
            for (id, func) in &module.funcs {
                all[id] = cells(func);
            }
            all
        };
        let mut users: SecondaryMap<MapId, Users> = SecondaryMap::new();
        let mut seen: SecondaryMap<FuncId, u32> = SecondaryMap::new();
        for (number, prog) in (1..).zip(&module.progs) {
            let mut todo = vec![prog.func];
            while let Some(id) = todo.pop() {
                if std::mem::replace(&mut seen[id], number) == number {
                    continue;
                }
                todo.extend(callees(&module.funcs[id]));
                for &map in &aggregates[id] {
                    users[map].add(number, guard(prog));
                }
            }
        }
        let mut nesting = Nesting { maps: SecondaryMap::new(), per_cpu: SecondaryMap::new() };
        for (id, map) in &module.maps {
            nesting.maps[id] = users[id].nest;
            nesting.per_cpu[id] = map.kind.is_per_cpu();
        }
        nesting
    }

    /// Whether an addition that is not atomic may be lost.
    pub(super) fn may_lose(&self, class: PtrClass) -> bool {
        match class {
            PtrClass::MapValue(map) => !self.per_cpu[map] || self.maps[map],
            _ => true,
        }
    }
}

/// Maps in whose values a function aggregates.
fn cells(func: &crate::func::Func) -> Vec<MapId> {
    let mut maps = Vec::new();
    for &inst in func.layout.iter().flat_map(|&b| &func.blocks[b].insts) {
        if let InstKind::Agg { cell, .. } = func.insts[inst].kind
            && let Some(PtrClass::MapValue(map)) = func.ty(cell).as_ptr().map(|p| p.class)
            && !maps.contains(&map)
        {
            maps.push(map);
        }
    }
    maps
}

impl Users {
    fn add(&mut self, prog: u32, guard: Option<Guard>) {
        // Programs that run alone, before or after all others, interrupt nobody.
        let Some(guard) = guard else { return };
        self.nest |= guard == Guard::None;
        if let Some((last, other)) = self.last
            && last != prog
        {
            self.nest |= guard != other || guard == Guard::Own;
        }
        self.last = Some((prog, guard));
    }
}

/// How a program is guarded; `None` for one that runs while no other does.
fn guard(prog: &Prog) -> Option<Guard> {
    let once = |a: &Attach| matches!(a, Attach::Once(crate::spec::When::Begin | crate::spec::When::End));
    if !prog.attach.is_empty() && prog.attach.iter().all(once) {
        return None;
    }
    let in_user_code = |a: &Attach| matches!(a, Attach::Uprobe { .. } | Attach::UprobeMulti { .. });
    Some(match prog.kind {
        ProgKind::Kprobe if prog.attach.iter().any(in_user_code) => Guard::None,
        ProgKind::Kprobe | ProgKind::Tracepoint | ProgKind::PerfEvent => Guard::Shared(0),
        ProgKind::Xdp | ProgKind::SchedCls => Guard::Shared(1),
        ProgKind::RawTracepoint
        | ProgKind::TpBtf
        | ProgKind::Fentry
        | ProgKind::Fexit
        | ProgKind::FmodRet => Guard::Own,
        kind if kind.info().nests => Guard::None,
        _ => Guard::Own,
    })
}

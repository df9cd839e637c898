//! Names of sections and symbols.

use skep_ir::kinds::ProgKind;
use skep_ir::spec::{Attach, ProgramSpec};
use std::collections::HashSet;

/// Names that were given out.
#[derive(Default)]
pub(super) struct Unique(HashSet<String>);

impl Unique {
    /// The name, with a number if it is taken.
    pub(super) fn take(&mut self, name: &str) -> String {
        let mut candidate = name.to_owned();
        let mut number = 1;
        while !self.0.insert(candidate.clone()) {
            number += 1;
            candidate = format!("{name}_{number}");
        }
        candidate
    }
}

/// A name as C identifiers are: other loaders refuse or misread others.
pub(super) fn identifier(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let mut out: String = name.chars().map(safe).collect();
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

/// The section of a map that is memory: loaders know them by their first part, and name the map after it.
pub(super) fn memory_section(map: &str, frozen: bool, names: &mut Unique) -> String {
    if [".rodata", ".data", ".bss"].contains(&map) {
        return names.take(map);
    }
    let prefix = if frozen { ".rodata." } else { ".data." };
    names.take(&format!("{prefix}{}", identifier(map)))
}

/// The section of a program, after the convention that libbpf set (tools/lib/bpf/libbpf.c, `section_defs`).
/// `None`: there is none for its kind.
pub(super) fn section(spec: &ProgramSpec) -> Option<String> {
    let kind = spec.kind?;
    let sleeps = if spec.sleepable { ".s" } else { "" };
    let place = |prefix: &str, name: &str| format!("{prefix}{sleeps}/{name}");
    Some(match (kind, spec.attach.first()) {
        (ProgKind::Kprobe, Some(Attach::Kprobe { symbol, offset, ret })) => {
            let prefix = if *ret { "kretprobe" } else { "kprobe" };
            match (symbol.is_empty(), offset) {
                (true, _) => prefix.to_owned(),
                (false, 0) => format!("{prefix}/{symbol}"),
                (false, offset) => format!("{prefix}/{symbol}+{offset:#x}"),
            }
        }
        (ProgKind::Kprobe, Some(Attach::KprobeMulti { ret, .. })) => {
            if *ret { "kretprobe.multi" } else { "kprobe.multi" }.to_owned()
        }
        (ProgKind::Kprobe, Some(Attach::Uprobe { path, offset, ret, .. })) => {
            let prefix = if *ret { "uretprobe" } else { "uprobe" };
            format!("{prefix}{sleeps}/{path}:{offset:#x}")
        }
        (ProgKind::Kprobe, Some(Attach::UprobeMulti { ret, .. })) => {
            let prefix = if *ret { "uretprobe.multi" } else { "uprobe.multi" };
            format!("{prefix}{sleeps}")
        }
        (ProgKind::Kprobe, _) => "kprobe".into(),
        (ProgKind::Tracepoint, Some(Attach::Tracepoint { category, event })) => {
            format!("tracepoint/{category}/{event}")
        }
        (ProgKind::Tracepoint, _) => "tracepoint".into(),
        (ProgKind::RawTracepoint, Some(Attach::RawTracepoint { event })) => format!("raw_tp/{event}"),
        (ProgKind::RawTracepoint, _) => "raw_tp".into(),
        (ProgKind::TpBtf, Some(Attach::RawTracepoint { event })) => format!("tp_btf/{event}"),
        (ProgKind::Fentry, Some(Attach::Trampoline { function, .. })) => place("fentry", function),
        (ProgKind::Fexit, Some(Attach::Trampoline { function, .. })) => place("fexit", function),
        (ProgKind::FmodRet, Some(Attach::Trampoline { function, .. })) => place("fmod_ret", function),
        (ProgKind::Lsm, Some(Attach::Trampoline { function, .. })) => {
            place("lsm", function.strip_prefix("bpf_lsm_").unwrap_or(function))
        }
        (ProgKind::Iter, Some(Attach::Iter { target, .. })) => place("iter", target),
        (ProgKind::PerfEvent, _) => "perf_event".into(),
        (ProgKind::Xdp, _) => "xdp".into(),
        (ProgKind::SchedCls, _) => "tc".into(),
        (ProgKind::CgroupSkb, _) => "cgroup/skb".into(),
        (ProgKind::CgroupSock, _) => "cgroup/sock".into(),
        (ProgKind::SockOps, _) => "sockops".into(),
        (ProgKind::SkLookup, _) => "sk_lookup".into(),
        (ProgKind::Netfilter, _) => "netfilter".into(),
        (ProgKind::Syscall, _) => "syscall".into(),
        _ => return None,
    })
}

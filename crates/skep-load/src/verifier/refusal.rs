//! Refusals without a log: the kernel looked at nothing, so the cause is outside of the program.

use crate::kernel::LiveKernel;
use skep_btf::KindMask;
use skep_ir::ProgKind;
use skep_ir::diag::{Diagnostic, Severity};
use skep_ir::kernel::KernelInfo;
use skep_ir::module::MapKind;
use skep_ir::spec::MapSpec;
use skep_sys::proc::{Capability, Lockdown, lockdown};
use skep_sys::{Errno, SysError};

/// Capabilities that a load of a program of this kind needs (kernel/bpf/syscall.c, `bpf_prog_load`); without a
/// kind, those of maps and type information.
fn capabilities(kind: Option<ProgKind>) -> &'static [Capability] {
    use ProgKind as K;
    match kind {
        None | Some(K::Syscall) => &[Capability::BPF],
        Some(
            K::Kprobe
            | K::Tracepoint
            | K::RawTracepoint
            | K::TpBtf
            | K::Fentry
            | K::Fexit
            | K::FmodRet
            | K::Lsm
            | K::Iter
            | K::PerfEvent,
        ) => &[Capability::BPF, Capability::PERFMON],
        Some(
            K::Xdp
            | K::SchedCls
            | K::CgroupSkb
            | K::CgroupSockAddr
            | K::CgroupSock
            | K::SockOps
            | K::SkLookup
            | K::Netfilter
            | K::StructOps,
        ) => &[Capability::BPF, Capability::NET_ADMIN],
    }
}

/// The message for an errno without a log.
pub(super) fn diagnostic(
    kernel: &LiveKernel,
    kind: Option<ProgKind>,
    what: &str,
    error: &SysError,
) -> Diagnostic {
    let new = |message: String| Diagnostic::new(Severity::Error, None, message);
    let name = kind.map_or("", |k| k.info().name);
    match error.errno {
        Errno::EPERM | Errno::EACCES => {
            let missing = kernel.missing_capabilities(capabilities(kind));
            if !missing.is_empty() {
                let list: Vec<&str> = missing.iter().map(|c| c.name()).collect();
                return new(format!("loading {what} needs {}", list.join(" and ")))
                    .hint("run as root, or give skep these capabilities");
            }
            forbidden(kind, what, name)
        }
        Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOTSUPP if kind.is_some() => new(format!(
            "the kernel refuses {what} without a reason: it may not know programs of kind {name}"
        ))
        .hint("`skep feature` lists what this kernel offers"),
        Errno::ENOMEM => new(format!("the kernel has no memory for {what}"))
            .hint("the limit of the memory cgroup counts too"),
        Errno::E2BIG => {
            new(format!("{what} is larger than the kernel takes")).hint("split it over several probes")
        }
        Errno::EMFILE | Errno::ENFILE => new(format!("too many open files to load {what}"))
            .hint("raise the limit of open files (ulimit -n), or trace less at once"),
        _ => new(format!("{what} cannot be loaded: {}", error.errno)),
    }
}

/// Permitted to this process, and refused all the same: by something that forbids it to everybody.
fn forbidden(kind: Option<ProgKind>, what: &str, name: &str) -> Diagnostic {
    let locked = lockdown().filter(|&l| l != Lockdown::None);
    let mut causes = Vec::new();
    if locked == Some(Lockdown::Confidentiality) {
        causes.push("lockdown is in force (confidentiality)");
    }
    causes.push("a security module or the machine's provider may forbid it");
    let Some(kind) = kind else {
        return Diagnostic::new(Severity::Error, None, format!("this kernel forbids {what}"))
            .hint(causes.join("; "));
    };
    let message =
        format!("this kernel forbids programs of kind {name} to everybody, so {what} cannot be loaded");
    let diagnostic = Diagnostic::new(Severity::Error, None, message).hint(causes.join("; "));
    match kind {
        ProgKind::Fentry | ProgKind::Fexit => diagnostic
            .hint("use a kprobe, or a tracepoint of the same event (`skep trace -l 'tracepoint:*'`)"),
        ProgKind::FmodRet => diagnostic.hint("results of functions cannot be replaced here"),
        ProgKind::Lsm => diagnostic.hint("observe by tracepoints instead; nothing can be forbidden here"),
        _ => diagnostic,
    }
}

/// A map that could not be made or filled.
pub(super) fn map(kernel: &LiveKernel, spec: &MapSpec, error: &SysError) -> Diagnostic {
    let map = &spec.map;
    let what = format!("map {}", map.name);
    let new = |message: String| Diagnostic::new(Severity::Error, None, message);
    let bytes = memory(kernel, spec);
    match error.errno {
        Errno::EPERM | Errno::EACCES => diagnostic(kernel, None, &what, error),
        Errno::ENOMEM => new(format!("the kernel has no memory for {what}, which needs about {bytes} bytes"))
            .hint("make the map smaller; the limit of the memory cgroup counts too"),
        Errno::E2BIG => new(format!(
            "{what} is larger than a map can be: {} entries, keys of {} and values of {} bytes",
            map.max_entries, map.key_size, map.value_size
        ))
        .hint("make it smaller"),
        Errno::EINVAL if matches!(map.kind, MapKind::RingBuf | MapKind::UserRingBuf) => {
            new(format!("{what}: the kernel takes no ring of {} bytes, or has no rings", map.max_entries))
        }
        _ => new(format!("{what} cannot be made: {error}")),
    }
}

/// Bytes that the elements of a map take, without what the kernel keeps beside them.
fn memory(kernel: &LiveKernel, spec: &MapSpec) -> u64 {
    let map = &spec.map;
    if matches!(map.kind, MapKind::RingBuf | MapKind::UserRingBuf) {
        return u64::from(map.max_entries);
    }
    let copies = if map.kind.is_per_cpu() { u64::from(kernel.possible_cpus()) } else { 1 };
    let value = u64::from(map.value_size).next_multiple_of(8).saturating_mul(copies);
    value.saturating_add(map.key_size.into()).saturating_mul(map.max_entries.into())
}

/// What is to be attached to when a program loads, and is not described by the kernel.
pub(crate) fn unbound(kernel: &LiveKernel, kind: ProgKind, name: &str, module: &str) -> Diagnostic {
    let new = |message: String| Diagnostic::new(Severity::Error, None, message);
    let btf = match kernel.open_btf() {
        Ok(btf) => btf,
        Err(why) => {
            let name = kind.info().name;
            return new(format!("programs of kind {name} need the kernel's type information: {why}"))
                .hint("use a kernel built with CONFIG_DEBUG_INFO_BTF, or another kind of probe");
        }
    };
    let (prefix, mask, noun) = match kind {
        ProgKind::TpBtf => ("btf_trace_", KindMask::TYPEDEF, "tracepoint"),
        ProgKind::Iter => ("bpf_iter_", KindMask::FUNC, "iterator"),
        ProgKind::Lsm => ("bpf_lsm_", KindMask::FUNC, "security hook"),
        _ => ("", KindMask::FUNC, "function"),
    };
    let short = name.strip_prefix(prefix).unwrap_or(name);
    let whose = if module.is_empty() { "the kernel".to_owned() } else { format!("module {module}") };
    let diagnostic = new(format!("{whose} describes no {noun} {short}"));
    let near = btf.similar_types(name, mask, 3);
    let near: Vec<&str> = near.into_iter().filter_map(|n| n.strip_prefix(prefix)).collect();
    if near.is_empty() { diagnostic } else { diagnostic.hint(format!("did you mean {}?", near.join(", "))) }
}

//! What the running kernel can do, as far as cases ask for it.
//!
//! Deliberately not skep's own probes: the cases test those. Here the kernel is asked in the cheapest way
//! that is right on the kernels of the matrix.

use anyhow::{Result, bail};
use std::collections::HashSet;
use std::sync::LazyLock;

/// A name for `REQUIRES_FEATURE`.
pub(crate) struct Feature {
    pub(crate) name: &'static str,
    what: &'static str,
    signs: &'static [Sign],
}

/// A feature is there when all its signs are.
enum Sign {
    /// A file or folder exists.
    Exists(&'static str),
    /// A file can be read and holds this text; the empty text stands for any.
    Holds(&'static str, &'static str),
    /// The kernel has a function of this name.
    Symbol(&'static str),
    /// The kernel's BTF has this name: constants of the UAPI show what the kernel was built to know.
    Btf(&'static str),
    /// Neither of the stricter lockdown modes is on.
    NotLocked,
    /// More than one CPU.
    Smp,
    /// A unified cgroup hierarchy is mounted.
    Cgroup2,
}

use Sign::{Btf, Cgroup2, Exists, Holds, NotLocked, Smp, Symbol};

const VMLINUX: Sign = Exists("/sys/kernel/btf/vmlinux");
const KPROBE: Sign = Exists("/sys/bus/event_source/devices/kprobe/type");
const UPROBE: Sign = Exists("/sys/bus/event_source/devices/uprobe/type");
/// Hardened kernels have the file and refuse to open it; they refuse fentry as well.
const FTRACE: Sign = Holds("/sys/kernel/tracing/available_filter_functions", "");

const FEATURES: &[Feature] = &[
    Feature { name: "btf", what: "types of the kernel", signs: &[VMLINUX] },
    Feature { name: "kprobe", what: "kprobes by perf events", signs: &[KPROBE] },
    Feature {
        name: "kprobe_multi",
        what: "one link to many kprobes",
        signs: &[KPROBE, Symbol("register_fprobe_ips"), Btf("BPF_TRACE_KPROBE_MULTI")],
    },
    Feature {
        name: "kprobe_session",
        what: "entry and return in one program",
        signs: &[KPROBE, Symbol("register_fprobe_ips"), Btf("BPF_TRACE_KPROBE_SESSION")],
    },
    Feature { name: "fentry", what: "fentry, fexit, fmod_ret", signs: &[VMLINUX, FTRACE] },
    Feature {
        name: "lsm",
        what: "programs at security hooks",
        signs: &[VMLINUX, FTRACE, Holds("/sys/kernel/security/lsm", "bpf")],
    },
    Feature { name: "uprobe", what: "uprobes by perf events", signs: &[UPROBE] },
    Feature {
        name: "uprobe_multi",
        what: "one link to many uprobes",
        signs: &[UPROBE, Btf("BPF_TRACE_UPROBE_MULTI")],
    },
    Feature {
        name: "tracefs",
        what: "tracefs is mounted",
        signs: &[Exists("/sys/kernel/tracing/events/syscalls")],
    },
    Feature { name: "iter", what: "iterators", signs: &[VMLINUX, Symbol("bpf_iter_run_prog")] },
    Feature {
        name: "struct_ops",
        what: "kernel interfaces by programs",
        signs: &[Symbol("bpf_struct_ops_map_update_elem")],
    },
    Feature { name: "sched_ext", what: "schedulers by programs", signs: &[Exists("/sys/kernel/sched_ext")] },
    Feature {
        name: "tcx",
        what: "links to the traffic control of a device",
        signs: &[Btf("BPF_TCX_INGRESS")],
    },
    Feature { name: "netkit", what: "netkit devices", signs: &[Symbol("netkit_prog_attach")] },
    Feature {
        name: "netfilter",
        what: "programs at netfilter hooks",
        signs: &[Symbol("bpf_nf_link_attach")],
    },
    Feature { name: "arena", what: "arena maps", signs: &[Btf("BPF_MAP_TYPE_ARENA")] },
    Feature {
        name: "hw_perf",
        what: "hardware counters",
        signs: &[Exists("/sys/bus/event_source/devices/cpu")],
    },
    Feature { name: "write_user", what: "writing to user memory", signs: &[NotLocked] },
    Feature { name: "cgroup2", what: "a unified cgroup hierarchy", signs: &[Cgroup2] },
    Feature { name: "smp", what: "more than one CPU", signs: &[Smp] },
];

/// Looks a feature up by its name.
pub(crate) fn find(name: &str) -> Result<&'static Feature> {
    match FEATURES.iter().find(|f| f.name == name) {
        Some(feature) => Ok(feature),
        None => {
            let names: Vec<_> = FEATURES.iter().map(|f| f.name).collect();
            bail!("there is no feature {name}, but {}", names.join(", "))
        }
    }
}

/// All features with their state here, one a line.
pub(crate) fn list() -> String {
    let rows: Vec<Vec<String>> = FEATURES
        .iter()
        .map(|f| {
            vec![f.name.to_owned(), if f.is_here() { "yes" } else { "no" }.to_owned(), f.what.to_owned()]
        })
        .collect();
    crate::ui::table(&rows, &[])
}

impl Feature {
    /// Whether the running kernel has it.
    pub(crate) fn is_here(&self) -> bool {
        self.signs.iter().all(Sign::is_here)
    }
}

impl Sign {
    fn is_here(&self) -> bool {
        match *self {
            Exists(path) => std::path::Path::new(path).exists(),
            Holds(path, text) => {
                read(path).is_some_and(|content| !content.is_empty() && content.contains(text))
            }
            Symbol(name) => symbols().contains(name),
            Btf(name) => btf_names().contains(name),
            NotLocked => read("/sys/kernel/security/lockdown").is_none_or(|text| text.contains("[none]")),
            Smp => std::thread::available_parallelism().is_ok_and(|n| n.get() > 1),
            Cgroup2 => read("/proc/self/mountinfo").is_some_and(|text| text.contains(" - cgroup2 ")),
        }
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The names among those of the table that the kernel's symbol table holds.
fn symbols() -> &'static HashSet<&'static str> {
    static FOUND: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
        let wanted = FEATURES.iter().flat_map(|f| f.signs);
        let wanted: HashSet<_> =
            wanted.filter_map(|s| if let Symbol(name) = s { Some(*name) } else { None }).collect();
        let text = read("/proc/kallsyms").unwrap_or_default();
        let names = text.lines().filter_map(|line| line.split_ascii_whitespace().nth(2));
        names.filter_map(|name| wanted.get(name).copied()).collect()
    });
    &FOUND
}

/// The same for the strings of the kernel's BTF, which end with a zero each.
fn btf_names() -> &'static HashSet<&'static str> {
    static FOUND: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
        let wanted = FEATURES.iter().flat_map(|f| f.signs);
        let wanted: HashSet<_> =
            wanted.filter_map(|s| if let Btf(name) = s { Some(*name) } else { None }).collect();
        let bytes = std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
        let names = bytes.split(|b| *b == 0).filter_map(|name| std::str::from_utf8(name).ok());
        names.filter_map(|name| wanted.get(name).copied()).collect()
    });
    &FOUND
}

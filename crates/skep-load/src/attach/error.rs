//! Why an attachment failed, in words, and what can be done.

use skep_ir::spec::{Attach, PerfEvent, When};
use skep_sys::{Errno, SysError};
use std::fmt;

/// A place that a program could not be attached to.
///
/// Prints as one line: the place, why not, and the kernel's own answer. [`AttachError::help`] says what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub struct AttachError {
    /// The place, see [`describe`].
    pub place: String,
    /// Why not, as a sentence without a full stop.
    pub why: String,
    /// What can be done, as a sentence; `None` if there is nothing to say.
    pub help: Option<String>,
    /// The call that failed and the kernel's answer.
    #[source]
    pub source: SysError,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SysError { call, errno, .. } = &self.source;
        write!(f, "cannot attach to {}: {} ({call}: {errno})", self.place, self.why)
    }
}

impl AttachError {
    /// The error of a call that was made to attach to a place.
    #[must_use]
    pub fn new(attach: &Attach, source: SysError) -> AttachError {
        let (why, help) = explain(attach, &source);
        AttachError { place: describe(attach), why, help, source }
    }

    /// What can be done about it, if anything.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Whether the place is not there, in contrast to one that could not be used.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.source.is_not_found() && !super::perf::is_missing_pmu(&self.source)
    }
}

/// A place in the notation of scripts: `tracepoint:sched:sched_switch`, `kretprobe:vfs_read`.
#[must_use]
pub fn describe(attach: &Attach) -> String {
    let back = |ret: bool| if ret { "ret" } else { "" };
    match attach {
        Attach::Once(When::Begin) => "begin".to_owned(),
        Attach::Once(When::End) => "end".to_owned(),
        Attach::Once(When::Manual) => "a test or benchmark".to_owned(),
        Attach::Signal(signal) => format!("self:signal:{}", skep_sys::poll::Signal(*signal)),
        Attach::Tracepoint { category, event } => format!("tracepoint:{category}:{event}"),
        Attach::RawTracepoint { event } => format!("rawtracepoint:{event}"),
        Attach::Kprobe { symbol, offset, ret } if symbol.is_empty() => {
            format!("k{}probe:{offset:#x}", back(*ret))
        }
        Attach::Kprobe { symbol, offset: 0, ret } => format!("k{}probe:{symbol}", back(*ret)),
        Attach::Kprobe { symbol, offset, ret } => format!("k{}probe:{symbol}+{offset}", back(*ret)),
        Attach::KprobeMulti { symbols, ret } => match symbols.as_slice() {
            [symbol] => format!("k{}probe:{symbol}", back(*ret)),
            symbols => format!("k{}probes at {} functions", back(*ret), symbols.len()),
        },
        Attach::Trampoline { function, module } if module.is_empty() => format!("function {function}"),
        Attach::Trampoline { function, module } => format!("function {function} of module {module}"),
        Attach::Uprobe { path, offset, ret, .. } => format!("u{}probe:{path}:{offset:#x}", back(*ret)),
        Attach::UprobeMulti { path, offsets, ret, .. } => {
            format!("u{}probes at {} places of {path}", back(*ret), offsets.len())
        }
        Attach::Perf(event) => describe_event(event),
        Attach::Iter { target, pin: None } => format!("iter:{target}"),
        Attach::Iter { target, pin: Some(pin) } => format!("iter:{target}:{pin}"),
    }
}

fn describe_event(event: &PerfEvent) -> String {
    let config = event.config;
    match event.perf_type {
        0 => format!("hardware event {config}"),
        // PERF_COUNT_SW_CPU_CLOCK, PERF_COUNT_SW_TASK_CLOCK
        1 if config <= 1 => "a timer".to_owned(),
        1 => format!("software event {config}"),
        BREAKPOINT => format!("watchpoint:{config:#x}:{}", event.bp_len),
        pmu => format!("event {config:#x} of PMU {pmu}"),
    }
}

const HARDWARE: u32 = 0;
const BREAKPOINT: u32 = 5;

/// The cause and, where there is one, the way out.
fn explain(attach: &Attach, e: &SysError) -> (String, Option<String>) {
    let (why, help) = by_place(attach, e).unwrap_or_else(|| by_answer(e));
    (why.into_owned(), help.map(std::borrow::Cow::into_owned))
}

type Text = std::borrow::Cow<'static, str>;
type Explanation = (Text, Option<Text>);

fn told(why: impl Into<Text>, help: impl Into<Text>) -> Option<Explanation> {
    Some((why.into(), Some(help.into())))
}

fn only(why: impl Into<Text>) -> Option<Explanation> {
    Some((why.into(), None))
}

/// What an answer means at a certain kind of place.
fn by_place(attach: &Attach, e: &SysError) -> Option<Explanation> {
    match attach {
        Attach::Once(_) | Attach::Signal(_) if e.is_unsupported() => {
            told("this kernel cannot run a program on request", "Kernels can since 5.10.")
        }
        Attach::Once(_) | Attach::Signal(_) => None,
        Attach::Tracepoint { category, .. } => match e.errno {
            Errno::ENOENT if e.call == "perf_event_open" => {
                told("this kernel has no perf events for tracepoints", "Use rawtracepoint instead.")
            }
            Errno::ENOENT => told(
                "the kernel has no such tracepoint",
                format!("List what there is: skep trace -l 'tracepoint:{category}:*'"),
            ),
            Errno::EACCES | Errno::EPERM if e.call.starts_with("open") => told(
                "tracefs cannot be read",
                "Run as root; without tracefs, rawtracepoint works with the kernel's type information.",
            ),
            _ => None,
        },
        Attach::RawTracepoint { .. } => match e.errno {
            Errno::ENOENT => told(
                "the kernel has no such tracepoint",
                "List what there is: skep trace -l 'rawtracepoint:*'",
            ),
            _ => None,
        },
        Attach::Kprobe { symbol, offset, ret } => kprobe(symbol, *offset, *ret, e),
        Attach::KprobeMulti { .. } if e.call.starts_with("bpf(") && e.is_unsupported() => {
            only("this kernel does not attach to many functions at once")
        }
        Attach::KprobeMulti { .. } => kprobe("", 0, false, e),
        Attach::Trampoline { .. } => match e.errno {
            Errno::EBUSY => only("something else has replaced or patched the function"),
            Errno::E2BIG => told(
                "as many programs as possible are attached to the function already",
                "Combine the probes for it into one.",
            ),
            Errno::ENOENT | Errno::ENODEV => only("the function's module was unloaded"),
            Errno::ENOTSUPP | Errno::EOPNOTSUPP => told(
                "this kernel cannot patch the entry of functions",
                "Use kprobe, or a tracepoint near it.",
            ),
            _ => None,
        },
        Attach::Uprobe { path, pid, .. } | Attach::UprobeMulti { path, pid, .. } => uprobe(path, *pid, e),
        Attach::Perf(event) => event_reason(event, e),
        Attach::Iter { pin, .. } => match (e.call, e.errno, pin) {
            ("bpf(BPF_OBJ_PIN)", Errno::EEXIST, Some(pin)) => {
                told(format!("{pin} is there already"), "Remove it, or choose another name.")
            }
            ("bpf(BPF_OBJ_PIN)", Errno::EPERM, Some(_)) => told(
                "an iterator can be pinned in a bpffs only",
                "Use a relative name, or a path below /sys/fs/bpf.",
            ),
            ("bpf(BPF_OBJ_PIN)", Errno::ENOENT, Some(pin)) => {
                only(format!("the folder of {pin} does not exist"))
            }
            ("open", _, Some(_)) => only(e.detail.clone()),
            _ => None,
        },
    }
}

fn kprobe(symbol: &str, offset: u64, ret: bool, e: &SysError) -> Option<Explanation> {
    let elsewhere = "Use a tracepoint near it: skep trace -l 'tracepoint:*'";
    if super::perf::is_missing_pmu(e) {
        return told("this kernel was built without kprobes (CONFIG_KPROBES)", elsewhere);
    }
    match e.errno {
        Errno::ENOENT if symbol.is_empty() => only("the kernel has no function that can be probed there"),
        Errno::ENOENT | Errno::ESRCH => told(
            "the kernel has no such function",
            format!("It may be inlined, or called differently: skep trace -l 'kprobe:*{symbol}*'"),
        ),
        Errno::EADDRNOTAVAIL => told(
            "several functions of the kernel have this name",
            "Probe one of them by its address (with --unsafe).",
        ),
        Errno::EINVAL if ret && offset != 0 => only("a return probe belongs at the start of a function"),
        // tracefs tells the two apart in a file of its own alone.
        Errno::EINVAL if e.call == "write" => {
            told("the kernel has no such function, or forbids probes there", elsewhere)
        }
        Errno::EINVAL => told("the kernel forbids probes there", elsewhere),
        Errno::EILSEQ => only("no instruction begins there"),
        Errno::EOPNOTSUPP => told("the instruction cannot be probed", "Probe another one of the function."),
        _ => None,
    }
}

fn uprobe(path: &str, pid: Option<u32>, e: &SysError) -> Option<Explanation> {
    if super::perf::is_missing_pmu(e) {
        return told(
            "this kernel was built without uprobes (CONFIG_UPROBES)",
            "Use tracepoints of the system calls that the program makes.",
        );
    }
    match (e.errno, pid) {
        (Errno::ENOENT, _) => only(format!("{path} does not exist")),
        (Errno::ESRCH, Some(pid)) => only(format!("there is no process {pid}")),
        (Errno::EINVAL, _) => told(
            format!("the kernel cannot probe this place of {path}"),
            "It must be an instruction of a regular file that is on a real file system.",
        ),
        (Errno::EIO | Errno::ENOTSUPP | Errno::EOPNOTSUPP | Errno::ENOEXEC, _) => {
            told("the instruction cannot be read or probed", "Probe another one of the function.")
        }
        (Errno::EBUSY, _) => only(format!("{path} is open for writing")),
        (Errno::EACCES, _) => only(format!("{path} may not be executed or read")),
        _ => None,
    }
}

fn event_reason(event: &PerfEvent, e: &SysError) -> Option<Explanation> {
    match (e.errno, event.perf_type) {
        (Errno::ESRCH, _) => only(match event.pid {
            Some(pid) => format!("there is no process {pid}"),
            None => "there is no such process".to_owned(),
        }),
        (Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP, HARDWARE) => told(
            "this machine does not count the event (virtual machines seldom do)",
            "Sample by time instead: profile:hz:99",
        ),
        (Errno::ENOSPC, BREAKPOINT) => {
            told("all breakpoint registers are in use", "Processors have four or so; watch fewer places.")
        }
        (Errno::EINVAL, BREAKPOINT) => {
            told("the processor cannot watch this place", "Its address must be a multiple of its length.")
        }
        (Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP, BREAKPOINT) => {
            only("this machine has no breakpoint registers")
        }
        (Errno::EINVAL, _) => told(
            "the kernel does not sample this event, or not so often",
            "The limit is the sysctl kernel.perf_event_max_sample_rate.",
        ),
        _ => None,
    }
}

/// What an answer means anywhere.
fn by_answer(e: &SysError) -> Explanation {
    match e.errno {
        Errno::EPERM | Errno::EACCES if e.call == "perf_event_open" => (
            "perf events are not allowed".into(),
            Some("Run as root or with CAP_PERFMON; see the sysctl kernel.perf_event_paranoid.".into()),
        ),
        Errno::EPERM | Errno::EACCES => (
            "the kernel does not allow it".into(),
            Some("Run as root, or with CAP_BPF and CAP_PERFMON (before 5.8: CAP_SYS_ADMIN).".into()),
        ),
        Errno::EMFILE | Errno::ENFILE => {
            ("too many open files: each attachment is one".into(), Some("Raise the limit: ulimit -n".into()))
        }
        Errno::ENOMEM => ("the kernel has no memory for it".into(), None),
        Errno::EBUSY => ("something else uses it".into(), None),
        Errno::E2BIG => (
            "as many programs as possible are attached there already".into(),
            Some("Combine the probes for it into one.".into()),
        ),
        _ if e.is_unsupported() => ("this kernel does not know this kind of attachment".into(), None),
        _ => ("the kernel refuses".into(), None),
    }
}

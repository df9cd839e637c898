//! What perf_event_open(2) is asked for, and `struct perf_event_attr`.

use super::pmu::Pmu;
use crate::error::{Errno, Result, SysError};
use std::ffi::CString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `struct perf_event_attr` as of 6.18 (`PERF_ATTR_SIZE_VER8`). Older kernels take the larger struct as long as
/// what they do not know is zero (kernel/events/core.c, `perf_copy_attr`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct RawAttr {
    pub(super) kind: u32,
    pub(super) size: u32,
    pub(super) config: u64,
    pub(super) sample_period: u64,
    pub(super) sample_type: u64,
    pub(super) read_format: u64,
    pub(super) flags: u64,
    pub(super) wakeup: u32,
    pub(super) bp_type: u32,
    pub(super) config1: u64,
    pub(super) config2: u64,
    pub(super) branch_sample_type: u64,
    pub(super) sample_regs_user: u64,
    pub(super) sample_stack_user: u32,
    pub(super) clockid: i32,
    pub(super) sample_regs_intr: u64,
    pub(super) aux_watermark: u32,
    pub(super) sample_max_stack: u16,
    pub(super) reserved_2: u16,
    pub(super) aux_sample_size: u32,
    pub(super) aux_action: u32,
    pub(super) sig_data: u64,
    pub(super) config3: u64,
}

const _: () = assert!(size_of::<RawAttr>() == 136, "perf_event_attr as of PERF_ATTR_SIZE_VER8");

// Bits of the flag word, in declaration order of `struct perf_event_attr`.
const DISABLED: u64 = 1 << 0;
const INHERIT: u64 = 1 << 1;
const PINNED: u64 = 1 << 2;
const EXCLUDE_USER: u64 = 1 << 4;
const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HV: u64 = 1 << 6;
const EXCLUDE_IDLE: u64 = 1 << 7;
const FREQ: u64 = 1 << 10;
const ENABLE_ON_EXEC: u64 = 1 << 12;
const WATERMARK: u64 = 1 << 14;

/// Parts of a sample (`enum perf_event_sample_format`).
pub mod sample {
    /// Instruction pointer.
    pub const IP: u64 = 1 << 0;
    /// Process and thread id.
    pub const TID: u64 = 1 << 1;
    /// Time.
    pub const TIME: u64 = 1 << 2;
    /// Address.
    pub const ADDR: u64 = 1 << 3;
    /// Call chain.
    pub const CALLCHAIN: u64 = 1 << 5;
    /// CPU.
    pub const CPU: u64 = 1 << 7;
    /// Period.
    pub const PERIOD: u64 = 1 << 8;
    /// Bytes of the event's own: tracepoint record, or output of a BPF program.
    pub const RAW: u64 = 1 << 10;
}

macro_rules! counters {
    ($(#[$doc:meta])* $type:ident; $($ident:ident = $config:literal, $($name:literal)|+;)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names of the UAPI")]
        pub enum $type { $($ident,)* }

        impl $type {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [$type] = &[$($type::$ident),*];

            /// The event with this name or alias.
            pub fn from_name(name: &str) -> Option<$type> {
                match name {
                    $($($name)|+ => Some($type::$ident),)*
                    _ => None,
                }
            }

            /// The name, then its aliases.
            pub fn names(self) -> &'static [&'static str] {
                match self { $($type::$ident => &[$($name),+],)* }
            }

            fn config(self) -> u64 {
                match self { $($type::$ident => $config,)* }
            }
        }
    };
}

counters! {
    /// Events that the kernel counts itself (`enum perf_sw_ids`).
    Software;
    CpuClock = 0, "cpu-clock" | "cpu";
    TaskClock = 1, "task-clock";
    PageFaults = 2, "page-faults" | "faults";
    ContextSwitches = 3, "context-switches" | "cs";
    CpuMigrations = 4, "cpu-migrations";
    MinorFaults = 5, "minor-faults";
    MajorFaults = 6, "major-faults";
    AlignmentFaults = 7, "alignment-faults";
    EmulationFaults = 8, "emulation-faults";
    Dummy = 9, "dummy";
    BpfOutput = 10, "bpf-output";
    CgroupSwitches = 11, "cgroup-switches";
}

counters! {
    /// Events that the processor counts (`enum perf_hw_id`).
    Hardware;
    CpuCycles = 0, "cpu-cycles" | "cycles";
    Instructions = 1, "instructions";
    CacheReferences = 2, "cache-references";
    CacheMisses = 3, "cache-misses";
    BranchInstructions = 4, "branch-instructions" | "branches";
    BranchMisses = 5, "branch-misses";
    BusCycles = 6, "bus-cycles";
    FrontendStalls = 7, "frontend-stalls";
    BackendStalls = 8, "backend-stalls";
    RefCycles = 9, "ref-cycles";
}

/// Access that a breakpoint waits for (`HW_BREAKPOINT_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchMode {
    /// On reads. x86 has no read-only breakpoint: it also stops on writes there.
    pub read: bool,
    /// On writes.
    pub write: bool,
    /// On execution.
    pub execute: bool,
}

/// A breakpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// Address, in the address space of the thread, or of the kernel.
    pub addr: u64,
    /// Bytes watched: 1, 2, 4 or 8; execution wants `size_of::<long>()`.
    pub len: u64,
    /// What stops.
    pub mode: WatchMode,
}

/// A probe made by the `kprobe` or `uprobe` PMU.
#[derive(Debug, Clone, Copy)]
pub enum Probe<'a> {
    /// An offset in a file.
    Uprobe {
        /// The file.
        path: &'a Path,
        /// Offset of the instruction in the file.
        offset: u64,
        /// Offset in the file of the semaphore to raise while the probe is there; 0 for none. Below 2³².
        ref_ctr_offset: u64,
    },
    /// A kernel function.
    KprobeSymbol {
        /// Its name.
        function: &'a str,
        /// Offset of the instruction in it.
        offset: u64,
    },
    /// A kernel address.
    KprobeAddress(u64),
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub enum Counter<'a> {
    /// An event of the kernel.
    Software(Software),
    /// An event of the processor.
    Hardware(Hardware),
    /// A tracepoint, by the number in its `id` file.
    Tracepoint(u64),
    /// A breakpoint.
    Breakpoint(Watch),
    /// A probe; `on_return` fires when the function returns.
    Probe {
        /// Where.
        probe: Probe<'a>,
        /// At return instead of entry.
        on_return: bool,
    },
    /// Any event of any PMU.
    Raw {
        /// Type of the PMU.
        pmu: u32,
        /// `config` field.
        config: u64,
        /// `config1` field.
        config1: u64,
        /// `config2` field.
        config2: u64,
    },
}

/// How often an event overflows: takes a sample and runs its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sampling {
    /// Never; it is only counted. Tracepoints and probes fire at each hit regardless.
    #[default]
    None,
    /// Each time after this many (nanoseconds, for clocks).
    Period(u64),
    /// About this often per second.
    Frequency(u64),
}

/// An event to open.
#[derive(Debug, Clone, Copy)]
pub struct EventAttr<'a> {
    /// What is counted.
    pub counter: Counter<'a>,
    /// How often it overflows.
    pub sampling: Sampling,
    /// Parts of a sample ([`sample`]) for the event's buffer.
    pub sample_type: u64,
    /// Wake the reader of the buffer every so many samples, or, with `watermark`, bytes.
    pub wakeup: u32,
    /// `wakeup` is in bytes.
    pub watermark: bool,
    /// Start disabled.
    pub disabled: bool,
    /// Children of the thread are counted too.
    pub inherit: bool,
    /// Always on the counter.
    pub pinned: bool,
    /// Do not count user space.
    pub exclude_user: bool,
    /// Do not count the kernel.
    pub exclude_kernel: bool,
    /// Do not count the hypervisor.
    pub exclude_hv: bool,
    /// Do not count the idle task.
    pub exclude_idle: bool,
    /// Start when the thread calls exec.
    pub enable_on_exec: bool,
}

impl<'a> EventAttr<'a> {
    /// An event with everything else off.
    pub fn new(counter: Counter<'a>) -> Self {
        EventAttr {
            counter,
            sampling: Sampling::None,
            sample_type: 0,
            wakeup: 0,
            watermark: false,
            disabled: false,
            inherit: false,
            pinned: false,
            exclude_user: false,
            exclude_kernel: false,
            exclude_hv: false,
            exclude_idle: false,
            enable_on_exec: false,
        }
    }

    /// `text` receives the string that the result points at; it has to live until the call.
    pub(super) fn encode(&self, text: &mut Option<CString>) -> Result<RawAttr> {
        let flags = [
            (self.disabled, DISABLED),
            (self.inherit, INHERIT),
            (self.pinned, PINNED),
            (self.exclude_user, EXCLUDE_USER),
            (self.exclude_kernel, EXCLUDE_KERNEL),
            (self.exclude_hv, EXCLUDE_HV),
            (self.exclude_idle, EXCLUDE_IDLE),
            (self.enable_on_exec, ENABLE_ON_EXEC),
            (self.watermark, WATERMARK),
            (matches!(self.sampling, Sampling::Frequency(_)), FREQ),
        ];
        let mut attr = RawAttr {
            size: size_of::<RawAttr>() as u32,
            sample_type: self.sample_type,
            wakeup: self.wakeup,
            flags: flags.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum(),
            sample_period: match self.sampling {
                Sampling::None => 0,
                Sampling::Period(n) | Sampling::Frequency(n) => n,
            },
            ..RawAttr::default()
        };
        // `enum perf_type_id`
        match self.counter {
            Counter::Hardware(event) => (attr.kind, attr.config) = (0, event.config()),
            Counter::Software(event) => (attr.kind, attr.config) = (1, event.config()),
            Counter::Tracepoint(id) => (attr.kind, attr.config) = (2, id),
            Counter::Breakpoint(watch) => {
                attr.kind = 5;
                let WatchMode { read, write, execute } = watch.mode;
                attr.bp_type = u32::from(read) | u32::from(write) << 1 | u32::from(execute) << 2;
                (attr.config1, attr.config2) = (watch.addr, watch.len);
            }
            Counter::Raw { pmu, config, config1, config2 } => {
                attr.kind = pmu;
                (attr.config, attr.config1, attr.config2) = (config, config1, config2);
            }
            Counter::Probe { probe, on_return } => probe.encode(on_return, &mut attr, text)?,
        }
        Ok(attr)
    }
}

impl Probe<'_> {
    fn encode(self, on_return: bool, attr: &mut RawAttr, text: &mut Option<CString>) -> Result<()> {
        let mut string = |bytes: &[u8]| -> Result<u64> {
            let string = CString::new(bytes)
                .map_err(|_| SysError::new("perf_event_open", Errno::EINVAL).about("NUL in the name"))?;
            let address = string.as_ptr().expose_provenance() as u64;
            *text = Some(string);
            Ok(address)
        };
        let pmu = match self {
            Probe::Uprobe { path, offset, ref_ctr_offset } => {
                let pmu = Pmu::find("uprobe")?;
                if ref_ctr_offset != 0 {
                    let place = pmu.field("ref_ctr_offset")?;
                    attr.config |= place.encode(ref_ctr_offset).ok_or_else(|| {
                        SysError::new("perf_event_open", Errno::EINVAL)
                            .about(format!("semaphore at {ref_ctr_offset:#x} is out of reach"))
                    })?;
                }
                (attr.config1, attr.config2) = (string(path.as_os_str().as_bytes())?, offset);
                pmu
            }
            Probe::KprobeSymbol { function, offset } => {
                (attr.config1, attr.config2) = (string(function.as_bytes())?, offset);
                Pmu::find("kprobe")?
            }
            Probe::KprobeAddress(addr) => {
                (attr.config1, attr.config2) = (0, addr);
                Pmu::find("kprobe")?
            }
        };
        if on_return {
            attr.config |= pmu.field("retprobe")?.encode(1).unwrap_or(1);
        }
        attr.kind = pmu.kind();
        Ok(())
    }
}

impl fmt::Display for EventAttr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.counter {
            Counter::Software(event) => write!(f, "software event {}", event.names()[0]),
            Counter::Hardware(event) => write!(f, "hardware event {}", event.names()[0]),
            Counter::Tracepoint(id) => write!(f, "tracepoint {id}"),
            Counter::Breakpoint(watch) => write!(f, "breakpoint at {:#x}, {} bytes", watch.addr, watch.len),
            Counter::Raw { pmu, config, .. } => write!(f, "event {config:#x} of PMU {pmu}"),
            Counter::Probe { probe: Probe::Uprobe { path, offset, .. }, .. } => {
                write!(f, "uprobe at {}+{offset:#x}", path.display())
            }
            Counter::Probe { probe: Probe::KprobeSymbol { function, offset }, .. } => {
                write!(f, "kprobe at {function}+{offset:#x}")
            }
            Counter::Probe { probe: Probe::KprobeAddress(addr), .. } => write!(f, "kprobe at {addr:#x}"),
        }
    }
}

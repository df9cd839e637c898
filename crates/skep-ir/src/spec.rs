//! What a compilation comes out as: plain values, equal for equal input, that become kernel objects when the
//! loader loads them. The reader of object files yields the same.

use crate::kinds::ProgKind;
use crate::module::{Map, MapId};
use crate::source::{Loc, SourceMap};
use cranelift_entity::PrimaryMap;
use skep_asm::Insn;
use skep_btf::info::{FuncInfo, LineInfo};

/// Programs, maps and type information that belong together.
#[derive(Clone, Debug, Default)]
pub struct Collection {
    /// Programs.
    pub programs: Vec<ProgramSpec>,
    /// Maps, those of globals included.
    pub maps: PrimaryMap<MapId, MapSpec>,
    /// Encoded BTF of the programs and maps; empty if there is none.
    pub btf: Vec<u8>,
    /// Licence.
    pub license: String,
    /// Texts for messages about rejected programs.
    pub sources: SourceMap,
    /// The ledger's map.
    pub ledger: Option<MapId>,
    /// Kernel functions that programs call, by the index in [`RefKind::Kfunc`].
    pub kfuncs: Vec<String>,
    /// Kernel variables that programs refer to, by the index in [`RefKind::Ksym`].
    pub ksyms: Vec<String>,
}

/// A map and its types in the collection's BTF.
#[derive(Clone, Debug, PartialEq)]
pub struct MapSpec {
    /// The map.
    pub map: Map,
    /// Type id of the key, 0 if unknown.
    pub btf_key: u32,
    /// Type id of the value, 0 if unknown.
    pub btf_value: u32,
    /// Set read-only from user space after its contents are written.
    pub frozen: bool,
}

/// A program ready to be loaded once its references are replaced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProgramSpec {
    /// Name; the kernel shows the first 15 bytes.
    pub name: String,
    /// What the kernel runs it as.
    pub kind: Option<ProgKind>,
    /// Where it is attached.
    pub attach: Vec<Attach>,
    /// Whether it may sleep.
    pub sleepable: bool,
    /// Instructions, subprograms after the main one.
    pub insns: Vec<Insn>,
    /// References into the collection and the kernel.
    pub refs: Vec<Ref>,
    /// Start of each function (instruction) and the id of its FUNC in the collection's BTF.
    pub func_info: Vec<FuncInfo>,
    /// Source lines by instruction, ascending.
    pub line_info: Vec<LineInfo>,
    /// Source locations by instruction, ascending; not loaded, for messages.
    pub locs: Vec<(u32, Loc)>,
    /// Row of the ledger.
    pub slot: u32,
}

/// An instruction that needs something that exists only when the collection is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ref {
    /// The instruction; for 64-bit constants the first of the two.
    pub insn: u32,
    /// What it needs.
    pub kind: RefKind,
}

/// See [`Ref`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefKind {
    /// A map's descriptor.
    Map(MapId),
    /// The address of an array map's value plus an offset.
    MapValue(MapId, u32),
    /// The BTF id of a kernel function.
    Kfunc(u32),
    /// The address of a kernel variable.
    Ksym(u32),
}

/// Where a program is attached. Names were checked by the front end; the loader resolves them again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attach {
    /// Run once before the others are attached (`begin`) or after they are detached (`end`), in order.
    Once(When),
    /// Run when this process gets a signal.
    Signal(i32),
    /// A tracepoint by category and event.
    Tracepoint {
        /// e.g. `syscalls`
        category: String,
        /// e.g. `sys_enter_execve`
        event: String,
    },
    /// A raw or typed tracepoint.
    RawTracepoint {
        /// Event.
        event: String,
    },
    /// A kernel function.
    Kprobe {
        /// Symbol; empty if the address is absolute.
        symbol: String,
        /// Bytes after it, or the address.
        offset: u64,
        /// At its return.
        ret: bool,
    },
    /// Many kernel functions by one link.
    KprobeMulti {
        /// Symbols.
        symbols: Vec<String>,
        /// At their returns.
        ret: bool,
    },
    /// Entry or exit of a kernel function by trampoline; the program's kind says which.
    Trampoline {
        /// Function.
        function: String,
        /// Module; empty for the kernel itself.
        module: String,
    },
    /// A function or instruction of a file that processes run.
    Uprobe {
        /// File.
        path: String,
        /// Offset in the file.
        offset: u64,
        /// Offset of the semaphore that counts users, 0 if none.
        semaphore: u64,
        /// At the function's return.
        ret: bool,
        /// Only in this process.
        pid: Option<u32>,
        /// Value that the program gets by `get_attach_cookie`.
        cookie: u64,
    },
    /// Many functions of one file by one link.
    UprobeMulti {
        /// File.
        path: String,
        /// Offsets in the file.
        offsets: Vec<u64>,
        /// Semaphores, empty or one for each.
        semaphores: Vec<u64>,
        /// Cookies, empty or one for each.
        cookies: Vec<u64>,
        /// At the functions' returns.
        ret: bool,
        /// Only in this process.
        pid: Option<u32>,
    },
    /// A perf event.
    Perf(PerfEvent),
    /// An iterator of a kind (`task`, `bpf_map`...).
    Iter {
        /// Kind.
        target: String,
        /// Where it is pinned instead of read once.
        pin: Option<String>,
    },
}

/// See [`Attach::Once`].
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// Before anything is attached.
    Begin,
    /// After everything is detached.
    End,
    /// On request: tests and benchmarks.
    Manual,
}

/// A perf event to sample.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PerfEvent {
    /// `PERF_TYPE_*` of `linux/perf_event.h`.
    pub perf_type: u32,
    /// `PERF_COUNT_*`, or the address of a breakpoint.
    pub config: u64,
    /// How often.
    pub sample: Sample,
    /// Length of a breakpoint in bytes, else 0.
    pub bp_len: u32,
    /// `HW_BREAKPOINT_*`, else 0.
    pub bp_type: u32,
    /// Where.
    pub cpus: Cpus,
    /// Only in this process.
    pub pid: Option<u32>,
}

/// How often a perf event is sampled.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sample {
    /// Every so many events (nanoseconds for clocks).
    Period(u64),
    /// So many times a second.
    Frequency(u64),
}

/// CPUs on which a perf event is opened.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cpus {
    /// One of them.
    One,
    /// Every one that is online.
    Online,
}

//! Kinds of programs: what the kernel runs them as, and what follows from that.

/// What the kernel runs a program as.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProgKind {
    /// Entry, return or any instruction of a kernel or user function: registers as context.
    Kprobe,
    /// A tracepoint by its record.
    Tracepoint,
    /// A tracepoint by its raw arguments.
    RawTracepoint,
    /// A tracepoint by its typed arguments.
    TpBtf,
    /// Entry of a kernel function.
    Fentry,
    /// Exit of a kernel function.
    Fexit,
    /// Replacement of a kernel function's result.
    FmodRet,
    /// Security hook.
    Lsm,
    /// Iterator over kernel objects.
    Iter,
    /// Sample of a perf event: timers, counters, breakpoints.
    PerfEvent,
    /// Packets at the driver.
    Xdp,
    /// Packets at the traffic-control layer.
    SchedCls,
    /// Packets of a cgroup.
    CgroupSkb,
    /// Addresses that a cgroup's sockets bind or connect to.
    CgroupSockAddr,
    /// Creation of a cgroup's sockets.
    CgroupSock,
    /// Events of a cgroup's TCP sockets.
    SockOps,
    /// Choice of the socket that receives a packet.
    SkLookup,
    /// Netfilter hook.
    Netfilter,
    /// Member of a table of functions that the kernel calls.
    StructOps,
    /// Run by request.
    Syscall,
}

/// Facts about a kind of program.
#[derive(Copy, Clone, Debug)]
pub struct KindInfo {
    /// Name in the IR's text form and in messages.
    pub name: &'static str,
    /// `enum bpf_prog_type` of `linux/bpf.h`.
    pub prog_type: u32,
    /// `enum bpf_attach_type` given at load, where the kernel wants one that is always the same.
    pub expected_attach: u32,
    /// Whether the program needs the BTF id of what it attaches to when it is loaded.
    pub attach_btf: bool,
    /// Whether another program of this kind, or this one, can interrupt it on the same CPU between two of its
    /// instructions, so that a plain read-modify-write of a per-CPU value can lose an update.
    pub nests: bool,
    /// Whether typed kernel pointers may be loaded from directly.
    pub direct_kernel_loads: bool,
}

const TRACING: u32 = 26;

impl ProgKind {
    /// Every kind.
    pub const ALL: &'static [ProgKind] = &[
        ProgKind::Kprobe,
        ProgKind::Tracepoint,
        ProgKind::RawTracepoint,
        ProgKind::TpBtf,
        ProgKind::Fentry,
        ProgKind::Fexit,
        ProgKind::FmodRet,
        ProgKind::Lsm,
        ProgKind::Iter,
        ProgKind::PerfEvent,
        ProgKind::Xdp,
        ProgKind::SchedCls,
        ProgKind::CgroupSkb,
        ProgKind::CgroupSockAddr,
        ProgKind::CgroupSock,
        ProgKind::SockOps,
        ProgKind::SkLookup,
        ProgKind::Netfilter,
        ProgKind::StructOps,
        ProgKind::Syscall,
    ];

    /// The result with which a program lets happen what it was asked about, or leaves it to others: for those
    /// that cannot do their work.
    #[must_use]
    pub fn neutral_result(self) -> i64 {
        match self {
            // XDP_PASS
            ProgKind::Xdp => 2,
            // TCX_NEXT, which is TC_ACT_UNSPEC
            ProgKind::SchedCls => -1,
            // What these return is whether to go on.
            ProgKind::CgroupSkb
            | ProgKind::CgroupSockAddr
            | ProgKind::CgroupSock
            | ProgKind::SockOps
            | ProgKind::SkLookup
            | ProgKind::Netfilter => 1,
            _ => 0,
        }
    }

    /// Facts about the kind.
    #[must_use]
    pub fn info(self) -> KindInfo {
        let row = |name, prog_type, expected_attach, attach_btf, nests| KindInfo {
            name,
            prog_type,
            expected_attach,
            attach_btf,
            nests,
            direct_kernel_loads: true,
        };
        match self {
            ProgKind::Kprobe => row("kprobe", 2, 0, false, true),
            ProgKind::Tracepoint => row("tracepoint", 5, 0, false, true),
            ProgKind::RawTracepoint => row("raw_tp", 17, 0, false, true),
            ProgKind::TpBtf => row("tp_btf", TRACING, 23, true, true),
            ProgKind::Fentry => row("fentry", TRACING, 24, true, true),
            ProgKind::Fexit => row("fexit", TRACING, 25, true, true),
            ProgKind::FmodRet => row("fmod_ret", TRACING, 26, true, true),
            ProgKind::Lsm => row("lsm", 29, 27, true, true),
            ProgKind::Iter => row("iter", TRACING, 28, true, false),
            ProgKind::PerfEvent => row("perf_event", 7, 0, false, true),
            ProgKind::Xdp => row("xdp", 6, 37, false, false),
            ProgKind::SchedCls => row("tc", 3, 0, false, false),
            ProgKind::CgroupSkb => row("cgroup_skb", 8, 0, false, true),
            ProgKind::CgroupSockAddr => row("cgroup_sock_addr", 18, 0, false, true),
            ProgKind::CgroupSock => row("cgroup_sock", 9, 0, false, true),
            ProgKind::SockOps => row("sockops", 13, 3, false, true),
            ProgKind::SkLookup => row("sk_lookup", 30, 36, false, true),
            ProgKind::Netfilter => row("netfilter", 32, 45, false, true),
            ProgKind::StructOps => row("struct_ops", 27, 0, true, true),
            ProgKind::Syscall => row("syscall", 31, 0, false, true),
        }
    }
}

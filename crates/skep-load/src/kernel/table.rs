//! The table of probes: every feature, what its absence means, how it is found out.

use super::probe::{self, Answer, Probing};
use skep_ir::kernel::Feature;
use skep_sys::bpf::{AttachType, MapFlags, MapType, ProgType};

/// A feature and how to find out about it.
#[derive(Debug)]
pub struct Probe {
    /// The feature.
    pub feature: Feature,
    /// What users notice where it is missing.
    pub consequence: &'static str,
    pub(super) how: How,
}

/// See `probe::probe`.
#[derive(Debug)]
pub(super) enum How {
    /// A program that uses it loads.
    Instructions,
    /// BTF that uses it loads.
    BtfKind,
    /// Programs of this type may call the helper.
    Helper(u32, ProgType),
    /// The kernel's BTF has this constant: for helpers of programs whose load needs more than a probe has.
    BtfConstant(&'static str),
    /// The kernel's BTF has this struct.
    BtfStruct(&'static str),
    /// The kernel's BTF has this function.
    BtfFunc(&'static str),
    /// Tracing programs may call this kernel function.
    Kfunc(&'static str),
    /// A program of this type for this attachment, to this function or type, loads.
    Attached(ProgType, AttachType, &'static str),
    /// A map of this kind can be made.
    Map(MapType, MapFlags),
    /// Something else.
    Other(fn(&Probing<'_>) -> Answer),
}

macro_rules! probes {
    ($($feature:ident: $how:expr, $consequence:literal;)*) => {
        /// A row for every feature, in the order of [`Feature::ALL`].
        pub const PROBES: &[Probe] = &[$(Probe {
            feature: Feature::$feature,
            consequence: $consequence,
            how: $how,
        },)*];
    };
}

use How::{Attached, BtfConstant, BtfFunc, BtfKind, BtfStruct, Helper, Instructions, Kfunc, Map, Other};
use ProgType as P;

probes! {
    Jmp32: Instructions, "longer code for 32-bit comparisons";
    AtomicFetch: Instructions, "no atomic exchange: maxima and minima may lose an update";
    CpuV4: Instructions, "longer code for signed division and loads";
    MayGoto: Instructions, "unbounded loops need a callback helper";
    BoundedLoops: Instructions, "loops are unrolled, so that few and short ones fit";
    Subprograms: Instructions, "functions are copied to where they are called";
    GlobalData: Other(probe::global_data), "no global variables";
    MmapableArray: Map(MapType::ARRAY, MapFlags::MMAPABLE), "variables are read and set by system calls";
    RingBuffer: Map(MapType::RINGBUF, MapFlags::NONE), "events go through a buffer for each CPU and are sorted by time";
    ForEachMapElem: Helper(164, P::KPROBE), "no loops over maps in programs";
    LookupPercpuElem: Helper(195, P::KPROBE), "sums over all CPUs are not available in programs";
    MapSumElemCount: Kfunc("bpf_map_sum_elem_count"), "`len` of a map counts in user space or not at all";
    SafeNoPrealloc: Other(probe::safe_no_prealloc), "maps take all their memory when they are made";
    ProbeReadKernel: Helper(113, P::KPROBE), "no reads of kernel memory, where lockdown forbids them; else user and kernel addresses are not told apart";
    CopyFromUser: Helper(148, P::SYSCALL), "user memory that is paged out reads as empty";
    ProbeWriteUser: Helper(36, P::KPROBE), "no writes to user memory; lockdown and kernel configuration forbid them";
    BpfLoop: Helper(181, P::KPROBE), "long loops are refused";
    IterNum: Kfunc("bpf_iter_num_new"), "long loops go through a callback";
    Strncmp: Helper(182, P::KPROBE), "longer code for string comparison";
    GetCurrentTaskBtf: Helper(158, P::KPROBE), "fields of the current task are read through a helper";
    GetNsCurrentPidTgid: Helper(120, P::KPROBE), "process ids are those of the initial namespace";
    KtimeGetBootNs: Helper(125, P::KPROBE), "clocks stop while the machine is suspended";
    KtimeGetTaiNs: Helper(208, P::KPROBE), "no TAI clock";
    Jiffies64: Helper(118, P::KPROBE), "no `jiffies`";
    GetFuncIp: Helper(173, P::KPROBE), "`func` comes from the registers, and is wrong at returns";
    AttachCookie: Helper(174, P::KPROBE), "a program is loaded for each place it is attached to";
    TracingCookie: BtfFunc("bpf_get_attach_cookie_tracing"), "a program is loaded for each function it traces";
    GetStack: Helper(67, P::KPROBE), "stacks are kept by hash, and can collide";
    SendSignal: Helper(109, P::KPROBE), "no signals from programs";
    SendSignalThread: Helper(117, P::KPROBE), "signals go to the process, never to one thread";
    DPath: BtfConstant("BPF_FUNC_d_path"), "no full paths of open files";
    SkbOutput: BtfConstant("BPF_FUNC_skb_output"), "packets cannot be written to files";
    OverrideReturn: Helper(58, P::KPROBE), "results of functions cannot be replaced; the kernel is built without error injection";
    Kfuncs: BtfFunc("register_btf_kfunc_id_set"), "no calls of kernel functions";
    TaskFromPid: Kfunc("bpf_task_from_pid"), "other tasks cannot be looked up by their id";
    RdonlyCast: Kfunc("bpf_rdonly_cast"), "fields behind untyped addresses are read one by one";
    Dynptr: Helper(198, P::KPROBE), "records of varying size are copied once more";
    Kprobe: Other(probe::kprobe), "no probes on kernel functions by this way";
    KprobeMulti: Other(probe::kprobe_multi), "probes on many kernel functions are attached one by one";
    KprobeSession: Other(probe::kprobe_session), "entry and return of a function are two probes";
    Uprobe: Other(probe::uprobe), "no probes on functions of programs and libraries";
    UprobeRefCtr: Other(probe::uprobe_ref_ctr), "static probes with a semaphore cannot be switched on";
    UprobeMulti: Other(probe::uprobe_multi), "probes on many functions of a file are attached one by one";
    Fentry: Attached(P::TRACING, AttachType::TRACE_FENTRY, "bpf_fentry_test1"), "no entry and exit probes by trampoline; kprobes or tracepoints instead";
    FmodRet: Attached(P::TRACING, AttachType::MODIFY_RETURN, "security_file_open"), "results of functions cannot be replaced by trampoline";
    TpBtf: Attached(P::TRACING, AttachType::TRACE_RAW_TP, "btf_trace_sched_switch"), "tracepoint arguments have no types";
    Iter: Attached(P::TRACING, AttachType::TRACE_ITER, "bpf_iter_task"), "no iterators over kernel objects";
    PerfLink: Other(probe::perf_link), "no attach cookies; probes are attached in the older way";
    RawTpTestRun: Other(probe::raw_tp_test_run), "`begin` and `end` run through a probe on skep itself";
    Lsm: Other(probe::lsm), "no security hooks: rules cannot forbid, only report";
    LsmCgroup: Attached(P::LSM, AttachType::LSM_CGROUP, "bpf_lsm_socket_bind"), "no security hooks for single cgroups";
    XdpLink: BtfStruct("bpf_xdp_link"), "XDP programs stay attached when skep dies";
    Tcx: Other(probe::tcx), "tc programs are attached through a clsact qdisc";
    Netfilter: Other(probe::netfilter), "no netfilter programs";
    StructOps: BtfStruct("bpf_struct_ops_tcp_congestion_ops"), "no replacement of kernel function tables";
    SchedExt: BtfStruct("bpf_struct_ops_sched_ext_ops"), "no schedulers";
    Arena: Map(MapType::ARENA, MapFlags::MMAPABLE), "no memory shared by address with user space";
    BtfLoad: BtfKind, "the verifier's messages name no source lines";
    BtfFuncGlobal: BtfKind, "functions are verified again at every call";
    BtfDatasec: BtfKind, "global variables have no names in dumps";
    BtfFloat: BtfKind, "floating point types show as bytes";
    BtfDeclTag: BtfKind, "no tags on declarations";
    BtfTypeTag: BtfKind, "no tags on types";
    BtfEnum64: BtfKind, "large enumerations show as numbers";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_has_its_row_and_helpers_their_numbers() {
        let features: Vec<Feature> = PROBES.iter().map(|p| p.feature).collect();
        assert_eq!(features, Feature::ALL);
        for probe in PROBES {
            if let Helper(id, _) = probe.how {
                let name = format!("bpf_{}", skep_asm::helpers::name(id).expect("the helper exists"));
                let similar = probe.feature.name();
                let exempt = ["dynptr", "attach_cookie", "get_ns_current_pid_tgid"];
                assert!(name.contains(similar) || exempt.contains(&similar), "{id} is {name}, not {similar}");
            }
        }
    }
}

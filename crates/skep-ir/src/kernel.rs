//! What a compilation may know about the kernel that it compiles for.
//!
//! Features are facts that the loader probed (or that a test wrote down); nothing is ever inferred from a
//! version number, because distributions backport and switch off.

use skep_btf::Btf;

macro_rules! features {
    ($($(#[doc = $doc:literal])* $variant:ident, $name:literal, $since:literal;)*) => {
        /// Something that kernels differ in.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Feature { $($(#[doc = $doc])* $variant,)* }

        impl Feature {
            /// Every feature, in the order of the table.
            pub const ALL: &'static [Feature] = &[$(Feature::$variant),*];

            /// The name that `skep feature` and recorded kernels use.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Feature::$variant => $name,)* }
            }

            /// First mainline version, for messages only.
            #[must_use]
            pub fn since(self) -> &'static str {
                match self { $(Feature::$variant => $since,)* }
            }
        }
    };
}

features! {
    // Instruction set.
    /// 32-bit compare-and-jump.
    Jmp32, "jmp32", "5.1";
    /// Atomic operations that return the old value, exchange, compare-and-exchange.
    AtomicFetch, "atomic_fetch", "5.12";
    /// Signed division, sign-extending loads and moves, unconditional byte swap, long jumps.
    CpuV4, "cpu_v4", "6.6";
    /// `may_goto`: a jump that the kernel takes when a program has looped for too long.
    MayGoto, "may_goto", "6.9";

    // Limits of the verifier.
    /// One million instructions, bounded loops.
    BoundedLoops, "bounded_loops", "5.3";
    /// Calls between BPF functions.
    Subprograms, "subprograms", "4.16";

    // Maps.
    /// Global data: direct addresses into array values, frozen maps.
    GlobalData, "global_data", "5.2";
    /// Arrays that user space may map.
    MmapableArray, "mmapable_array", "5.5";
    /// Ring buffer.
    RingBuffer, "ring_buffer", "5.8";
    /// Helper that visits every element of a map.
    ForEachMapElem, "for_each_map_elem", "5.13";
    /// Helper that looks up another CPU's value.
    LookupPercpuElem, "lookup_percpu_elem", "5.19";
    /// kfunc that counts the elements of a map.
    MapSumElemCount, "map_sum_elem_count", "6.6";
    /// Hash maps without preallocation that are safe in tracing programs.
    SafeNoPrealloc, "safe_no_prealloc", "6.1";

    // Helpers.
    /// Reads that tell kernel from user memory.
    ProbeReadKernel, "probe_read_kernel", "5.5";
    /// Reads of user memory that may sleep.
    CopyFromUser, "copy_from_user", "5.10";
    /// Writing user memory; refused under lockdown.
    ProbeWriteUser, "probe_write_user", "4.8";
    /// Loops through a callback.
    BpfLoop, "bpf_loop", "5.17";
    /// Open-coded counting loops.
    IterNum, "iter_num", "6.4";
    /// String comparison helper.
    Strncmp, "strncmp", "5.17";
    /// The current task as a typed pointer.
    GetCurrentTaskBtf, "get_current_task_btf", "5.11";
    /// Process ids in a PID namespace.
    GetNsCurrentPidTgid, "get_ns_current_pid_tgid", "5.7";
    /// Boot clock.
    KtimeGetBootNs, "ktime_get_boot_ns", "5.8";
    /// TAI clock.
    KtimeGetTaiNs, "ktime_get_tai_ns", "6.1";
    /// Jiffies.
    Jiffies64, "jiffies64", "5.9";
    /// Address of the traced function.
    GetFuncIp, "get_func_ip", "5.15";
    /// Per-attachment cookies in perf links.
    AttachCookie, "attach_cookie", "5.15";
    /// Per-attachment cookies in tracing links.
    TracingCookie, "tracing_cookie", "5.19";
    /// Stack of the current context into memory.
    GetStack, "get_stack", "4.18";
    /// Signals to the current process.
    SendSignal, "send_signal", "5.3";
    /// Signals to the current thread.
    SendSignalThread, "send_signal_thread", "5.5";
    /// Path of a file object.
    DPath, "d_path", "5.10";
    /// Packet data to a perf buffer.
    SkbOutput, "skb_output", "5.5";
    /// Changing the result of a probed function.
    OverrideReturn, "override_return", "4.16";
    /// Calls of kernel functions.
    Kfuncs, "kfuncs", "5.13";
    /// kfunc that finds a task by its id.
    TaskFromPid, "task_from_pid", "6.2";
    /// kfunc that types an address.
    RdonlyCast, "rdonly_cast", "6.2";
    /// Dynamic pointers, variable-size ring records.
    Dynptr, "dynptr", "5.19";

    // Program kinds and attachments.
    /// kprobes through perf events.
    Kprobe, "kprobe", "4.1";
    /// One link for many kprobes.
    KprobeMulti, "kprobe_multi", "5.18";
    /// One program for entry and return.
    KprobeSession, "kprobe_session", "6.10";
    /// uprobes through perf events.
    Uprobe, "uprobe", "4.3";
    /// Semaphores counted by the kernel.
    UprobeRefCtr, "uprobe_ref_ctr", "4.20";
    /// One link for many uprobes.
    UprobeMulti, "uprobe_multi", "6.6";
    /// Entry and exit of kernel functions by trampoline.
    Fentry, "fentry", "5.5";
    /// Replacing results of kernel functions by trampoline.
    FmodRet, "fmod_ret", "5.7";
    /// Tracepoints with typed arguments.
    TpBtf, "tp_btf", "5.5";
    /// Iterators over kernel objects.
    Iter, "iter", "5.8";
    /// Perf events and tracepoints through links.
    PerfLink, "perf_link", "5.15";
    /// Running a raw tracepoint program once.
    RawTpTestRun, "raw_tp_test_run", "5.10";
    /// Security hooks.
    Lsm, "lsm", "5.7";
    /// Security hooks per cgroup.
    LsmCgroup, "lsm_cgroup", "6.0";
    /// XDP programs through links.
    XdpLink, "xdp_link", "5.9";
    /// Ordered programs on a device's ingress and egress.
    Tcx, "tcx", "6.6";
    /// Netfilter programs.
    Netfilter, "netfilter", "6.4";
    /// Tables of BPF functions that the kernel calls.
    StructOps, "struct_ops", "5.6";
    /// Schedulers.
    SchedExt, "sched_ext", "6.12";
    /// Memory shared with user space at one address.
    Arena, "arena", "6.9";

    // Type information.
    /// Type information for programs and maps.
    BtfLoad, "btf_load", "4.18";
    /// Global functions in type information.
    BtfFuncGlobal, "btf_func_global", "5.6";
    /// Variables and sections in type information.
    BtfDatasec, "btf_datasec", "5.2";
    /// Floats in type information.
    BtfFloat, "btf_float", "5.13";
    /// Tags on declarations.
    BtfDeclTag, "btf_decl_tag", "5.16";
    /// Tags on types.
    BtfTypeTag, "btf_type_tag", "5.17";
    /// 64-bit enumerations.
    BtfEnum64, "btf_enum64", "6.0";
}

/// A set of features.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureSet(u128);

const _: () = assert!(Feature::ALL.len() <= 128);

impl FeatureSet {
    /// Everything that the table knows.
    #[must_use]
    pub fn all() -> Self {
        Feature::ALL.iter().copied().collect()
    }

    /// Whether a feature is in the set.
    #[must_use]
    pub fn has(self, feature: Feature) -> bool {
        self.0 & (1 << feature as u8) != 0
    }

    /// The set with a feature.
    #[must_use]
    pub fn with(self, feature: Feature) -> Self {
        FeatureSet(self.0 | 1 << feature as u8)
    }

    /// The set without a feature.
    #[must_use]
    pub fn without(self, feature: Feature) -> Self {
        FeatureSet(self.0 & !(1 << feature as u8))
    }

    /// The features, in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.iter().copied().filter(move |&f| self.has(f))
    }
}

impl FromIterator<Feature> for FeatureSet {
    fn from_iter<I: IntoIterator<Item = Feature>>(features: I) -> Self {
        features.into_iter().fold(FeatureSet::default(), FeatureSet::with)
    }
}

/// Processor architecture of the target.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

/// The kernel that is compiled for. Answers must not change during one compilation.
///
/// Methods may find things out when they are first asked: a script that names no kernel type never causes
/// the kernel's type information to be opened.
pub trait KernelInfo {
    /// Processor architecture.
    fn arch(&self) -> Arch;
    /// Bytes of a page.
    fn page_size(&self) -> u32;
    /// CPUs that may ever come online; per-CPU values have this many slots.
    fn possible_cpus(&self) -> u32;
    /// Whether the kernel has a feature.
    fn has(&self, feature: Feature) -> bool;
    /// The kernel's own type information, if it has any.
    fn btf(&self) -> Option<&Btf>;
}

//! How a feature is found out: the smallest thing that needs it is tried, and the errno judged.

use super::LiveKernel;
use super::images;
use super::table::{How, PROBES};
use skep_btf::{KindMask, TypeId};
use skep_ir::kernel::{Feature, KernelInfo};
use skep_sys::bpf::{
    AttachType, Btf, Link, LinkTarget, Map, MapCreate, MapFlags, MapType, Position, Prog, ProgFlags,
    ProgLoad, ProgType, TestRun, log_level,
};
use skep_sys::fs::TraceFs;
use skep_sys::perf::Pmu;
use skep_sys::proc::Capability;
use skep_sys::{Errno, SysError};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

/// What a probe found.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel has it.
    Yes,
    /// It does not, or does not let even the privileged use it.
    No,
    /// This process lacks the capability to find out.
    Unknown,
}

impl Answer {
    pub(super) fn code(self) -> u8 {
        match self {
            Answer::Yes => 1,
            Answer::No => 2,
            Answer::Unknown => 3,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Answer> {
        match code {
            1 => Some(Answer::Yes),
            2 => Some(Answer::No),
            3 => Some(Answer::Unknown),
            _ => None,
        }
    }
}

impl From<bool> for Answer {
    fn from(yes: bool) -> Answer {
        if yes { Answer::Yes } else { Answer::No }
    }
}

/// Features that one object shows together. They are asked together so often, and had together by so many
/// kernels, that one load instead of one for each saves time at every start.
const INSTRUCTIONS: &[Feature] =
    &[Feature::Jmp32, Feature::AtomicFetch, Feature::CpuV4, Feature::BoundedLoops, Feature::Subprograms];
const BTF_KINDS: &[Feature] = &[
    Feature::BtfLoad,
    Feature::BtfFuncGlobal,
    Feature::BtfDatasec,
    Feature::BtfFloat,
    Feature::BtfDeclTag,
    Feature::BtfTypeTag,
    Feature::BtfEnum64,
];

pub(super) fn probe(kernel: &LiveKernel, feature: Feature) -> Answer {
    let Some(row) = PROBES.iter().find(|p| p.feature == feature) else { return Answer::No };
    let probing = Probing { kernel };
    match row.how {
        How::Instructions => probing.together(feature, INSTRUCTIONS, |f| {
            probing.loads(ProgType::SOCKET_FILTER, &images::instructions(f))
        }),
        How::BtfKind => probing.together(feature, BTF_KINDS, |f| probing.btf(f)),
        How::Helper(id, prog_type) => probing.helper(id, prog_type),
        How::BtfConstant(name) => probing.in_btf(|btf| btf.enum_value(name).is_some()),
        How::BtfStruct(name) => probing.in_btf(|btf| btf.find(name, KindMask::STRUCT).is_some()),
        How::BtfFunc(name) => probing.in_btf(|btf| btf.func(name).is_some()),
        How::Kfunc(name) => probing.kfunc(name),
        How::Attached(prog_type, attach, target) => probing.attached(prog_type, attach, target),
        How::Map(map_type, flags) => probing.map(map_type, flags),
        How::Other(how) => how(&probing),
    }
}

/// One probe at work.
pub(super) struct Probing<'k> {
    kernel: &'k LiveKernel,
}

impl Probing<'_> {
    /// The verdict of an errno that means "no" unless this process may not ask.
    fn refused(&self, error: &SysError) -> Answer {
        let wanted = [Capability::BPF, Capability::PERFMON, Capability::NET_ADMIN];
        if error.errno == Errno::EPERM && !self.kernel.missing_capabilities(&wanted).is_empty() {
            return Answer::Unknown;
        }
        Answer::No
    }

    fn verdict<T>(&self, result: Result<T, impl Into<SysError>>) -> Answer {
        match result {
            Ok(_) => Answer::Yes,
            Err(e) => self.refused(&e.into()),
        }
    }

    fn loads(&self, prog_type: ProgType, insns: &[u8]) -> Answer {
        self.verdict(Prog::load_plain(&ProgLoad { prog_type, insns, ..base() }))
    }

    /// Tries all features of a group at once; if that fails, the one asked for.
    fn together(&self, feature: Feature, group: &[Feature], shows: impl Fn(&[Feature]) -> Answer) -> Answer {
        let fresh = group.iter().all(|&f| self.kernel.known(f).is_none());
        if fresh && shows(group) == Answer::Yes {
            group.iter().for_each(|&f| self.kernel.remember(f, Answer::Yes));
            return Answer::Yes;
        }
        shows(&[feature])
    }

    fn btf(&self, kinds: &[Feature]) -> Answer {
        let Some(bytes) = images::btf(kinds) else { return Answer::No };
        self.verdict(Btf::load_plain(&bytes))
    }

    /// The verifier looks the helper up (EINVAL if the kernel, or this kind of program, has none) before it
    /// looks at the arguments (EACCES for the registers that were never set): kernel/bpf/verifier.c,
    /// `check_helper_call`.
    fn helper(&self, id: u32, prog_type: ProgType) -> Answer {
        let sleepable = prog_type == ProgType::SYSCALL;
        let flags = if sleepable { ProgFlags::SLEEPABLE } else { ProgFlags::NONE };
        match Prog::load_plain(&ProgLoad { prog_type, insns: &images::helper(id), flags, ..base() }) {
            Ok(_) => Answer::Yes,
            Err(e) if e.errno == Errno::EACCES => Answer::Yes,
            Err(e) => self.refused(&e),
        }
    }

    fn in_btf(&self, holds: impl FnOnce(&skep_btf::Btf) -> bool) -> Answer {
        self.kernel.btf().is_some_and(holds).into()
    }

    /// Whether programs of tracepoints may call a kernel function. Kinds of programs differ in what they may
    /// call, and which one a front end will choose is not known here; the load says it where it matters.
    fn kfunc(&self, name: &str) -> Answer {
        let Some(id) = self.kernel.btf().and_then(|btf| btf.find(name, KindMask::FUNC)) else {
            return Answer::No;
        };
        let load = ProgLoad { prog_type: ProgType::TRACEPOINT, insns: &images::kfunc(id), ..base() };
        match Prog::load_logged(&load, log_level::BRANCHES) {
            Ok(_) => Answer::Yes,
            Err(e) if e.log.text.is_empty() => self.refused(&e.error),
            // If it may be called, the registers are complained about, in as many ways as there are types.
            Err(e) => (!DENIALS.iter().any(|denial| e.log.text.contains(denial))).into(),
        }
    }

    fn target(&self, kind: KindMask, name: &str) -> Option<TypeId> {
        self.kernel.btf()?.find(name, kind)
    }

    /// Loads a program that is bound to something of the kernel.
    fn attached(&self, prog_type: ProgType, attach: AttachType, target: &str) -> Answer {
        let kind = if attach == AttachType::TRACE_RAW_TP { KindMask::TYPEDEF } else { KindMask::FUNC };
        let Some(id) = self.target(kind, target) else { return Answer::No };
        let insns = images::nothing();
        let load = ProgLoad {
            prog_type,
            insns: &insns,
            expected_attach_type: attach,
            attach_btf_id: id.0,
            ..base()
        };
        let prog = match Prog::load_plain(&load) {
            Ok(prog) => prog,
            Err(e) => return self.refused(&e),
        };
        // Without direct calls of trampolines such programs load and do not attach. The function is one of the
        // kernel's own tests, which nobody calls.
        match attach {
            AttachType::TRACE_FENTRY => self.verdict(Link::tracing_legacy(prog.as_fd())),
            _ => Answer::Yes,
        }
    }

    fn map(&self, map_type: MapType, flags: MapFlags) -> Answer {
        self.verdict(create(map_type, flags))
    }

    /// Links a program to something that does not exist: kernels with this kind of link say that it does not,
    /// others that they do not know the link.
    fn link(
        &self,
        prog_type: ProgType,
        attach: AttachType,
        target: &LinkTarget<'_>,
        known_by: &[Errno],
    ) -> Answer {
        let insns = images::nothing();
        let prog = match Prog::load_plain(&ProgLoad {
            prog_type,
            insns: &insns,
            expected_attach_type: attach,
            ..base()
        }) {
            Ok(prog) => prog,
            Err(e) => return self.refused(&e),
        };
        match Link::create(prog.as_fd(), attach, target) {
            Ok(_) => Answer::Yes,
            Err(e) if known_by.contains(&e.errno) => Answer::Yes,
            Err(e) => self.refused(&e),
        }
    }

    /// A name that no symbol has is looked up only if the link is there (ESRCH; kernel/trace/bpf_trace.c,
    /// `bpf_kprobe_multi_link_attach`, which is a stub without CONFIG_FPROBE: EOPNOTSUPP).
    fn kprobe_multi_as(&self, attach: AttachType) -> Answer {
        let symbols = [c"skep no such symbol"];
        let target =
            LinkTarget::KprobeMulti { symbols: &symbols, addrs: &[], cookies: &[], on_return: false };
        self.link(ProgType::KPROBE, attach, &target, &[Errno::ESRCH, Errno::ENOENT])
    }
}

/// Parts of the verifier's messages about kernel functions that cannot be called (kernel/bpf/verifier.c,
/// `add_kfunc_call` and `check_kfunc_call`); errnos are the same for those and for wrong arguments.
const DENIALS: &[&str] =
    &["is not allowed", "not support", "cannot call kernel function", "is not a function"];

fn base<'a>() -> ProgLoad<'a> {
    ProgLoad { license: "GPL", name: "skep_probe", ..ProgLoad::default() }
}

fn create(map_type: MapType, flags: MapFlags) -> Result<Map, SysError> {
    let (key_size, value_size, max_entries) = match map_type {
        MapType::RINGBUF => (0, 0, skep_sys::page_size() as u32),
        MapType::ARENA => (0, 0, 1),
        _ => (4, 4, 1),
    };
    let name = "skep_probe";
    Map::create(&MapCreate {
        map_type,
        key_size,
        value_size,
        max_entries,
        flags,
        name,
        ..MapCreate::default()
    })
}

// The probes that are unlike any other. Each is named in the table.

pub(super) fn global_data(p: &Probing<'_>) -> Answer {
    match create(MapType::ARRAY, MapFlags::NONE) {
        Ok(map) => {
            let insns = images::store_to_value(map.as_fd().as_raw_fd());
            match p.loads(ProgType::SOCKET_FILTER, &insns) {
                Answer::Yes => p.verdict(map.freeze()),
                other => other,
            }
        }
        Err(e) => p.refused(&e),
    }
}

/// Programs of perf events may be refused maps that allocate (kernel/bpf/verifier.c,
/// `check_map_prog_compatibility` before 6.1).
pub(super) fn safe_no_prealloc(p: &Probing<'_>) -> Answer {
    match create(MapType::HASH, MapFlags::NO_PREALLOC) {
        Ok(map) => p.loads(ProgType::PERF_EVENT, &images::lookup(map.as_fd().as_raw_fd())),
        Err(e) => p.refused(&e),
    }
}

/// Perf has a unit for them since 4.17; before, and where it does not, they are made in tracefs.
pub(super) fn kprobe(_: &Probing<'_>) -> Answer {
    let in_tracefs = || TraceFs::open().is_ok_and(|fs| fs.read(Path::new("kprobe_events")).is_ok());
    (Pmu::find("kprobe").is_ok() || in_tracefs()).into()
}

pub(super) fn uprobe(_: &Probing<'_>) -> Answer {
    Pmu::find("uprobe").is_ok().into()
}

pub(super) fn uprobe_ref_ctr(_: &Probing<'_>) -> Answer {
    Pmu::find("uprobe").is_ok_and(|pmu| pmu.field("ref_ctr_offset").is_ok()).into()
}

pub(super) fn kprobe_multi(p: &Probing<'_>) -> Answer {
    p.kprobe_multi_as(AttachType::TRACE_KPROBE_MULTI)
}

pub(super) fn kprobe_session(p: &Probing<'_>) -> Answer {
    p.kprobe_multi_as(AttachType::TRACE_KPROBE_SESSION)
}

/// A directory is not a file to probe: EBADF, if the link is there at all (kernel/trace/bpf_trace.c,
/// `bpf_uprobe_multi_link_attach`).
pub(super) fn uprobe_multi(p: &Probing<'_>) -> Answer {
    let target = LinkTarget::UprobeMulti {
        path: c"/",
        offsets: &[0],
        ref_ctr_offsets: &[],
        cookies: &[],
        pid: 0,
        on_return: false,
    };
    p.link(ProgType::KPROBE, AttachType::TRACE_UPROBE_MULTI, &target, &[Errno::EBADF])
}

/// What is no perf event: EINVAL too, where it is looked at, but for an fd of something else the kernel says
/// EBADF (kernel/events/core.c, `perf_event_get`).
pub(super) fn perf_link(p: &Probing<'_>) -> Answer {
    match create(MapType::ARRAY, MapFlags::NONE) {
        Ok(map) => {
            let insns = images::nothing();
            let prog = match Prog::load_plain(&ProgLoad {
                prog_type: ProgType::TRACEPOINT,
                insns: &insns,
                ..base()
            }) {
                Ok(prog) => prog,
                Err(e) => return p.refused(&e),
            };
            let target = LinkTarget::PerfEvent { event: map.as_fd(), cookie: 0 };
            match Link::create(prog.as_fd(), AttachType::PERF_EVENT, &target) {
                Err(e) if e.errno == Errno::EBADF => Answer::Yes,
                other => p.verdict(other),
            }
        }
        Err(e) => p.refused(&e),
    }
}

pub(super) fn raw_tp_test_run(p: &Probing<'_>) -> Answer {
    let insns = images::nothing();
    match Prog::load_plain(&ProgLoad { prog_type: ProgType::RAW_TRACEPOINT, insns: &insns, ..base() }) {
        Ok(prog) => p.verdict(prog.test_run(&TestRun::default())),
        Err(e) => p.refused(&e),
    }
}

/// No device has this index: ENODEV, if the link is there (kernel/bpf/tcx.c, `tcx_link_attach`).
pub(super) fn tcx(p: &Probing<'_>) -> Answer {
    let target =
        LinkTarget::Net { ifindex: i32::MAX as u32, position: Position::default(), expected_revision: 0 };
    p.link(ProgType::SCHED_CLS, AttachType::TCX_INGRESS, &target, &[Errno::ENODEV])
}

pub(super) fn netfilter(p: &Probing<'_>) -> Answer {
    let insns = images::nothing();
    p.verdict(Prog::load_plain(&ProgLoad {
        prog_type: ProgType::NETFILTER,
        insns: &insns,
        expected_attach_type: AttachType::NETFILTER,
        ..base()
    }))
}

/// Where `bpf` is not among the active security modules, programs load and attach, and are never run.
pub(super) fn lsm(p: &Probing<'_>) -> Answer {
    if skep_sys::proc::security_modules().is_some_and(|list| !list.iter().any(|m| m == "bpf")) {
        return Answer::No;
    }
    p.attached(ProgType::LSM, AttachType::LSM_MAC, "bpf_lsm_file_open")
}

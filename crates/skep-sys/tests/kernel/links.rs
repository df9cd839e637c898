//! Links of kinds that need a target of their own: kernel BTF, a cgroup, a file, netfilter.

use crate::harness::{Needs, Outcome, Stop, Test, ensure, ensure_eq, unless_unsupported};
use crate::insn::*;
use crate::perf::{counter_array, counting, file_offset, probed};
use crate::progs::load;
use skep_sys::bpf::{
    self, AttachMode, AttachType, Hook, IterScope, IterTarget, Link, LinkTarget, LinkTargetInfo, LoadTarget,
    ObjectKind, Prog, ProgLoad, ProgType,
};
use skep_sys::fs::{CgroupFs, KernelBtf, kernel_btf_names};
use skep_sys::perf::{Counter, EventAttr, PerfEvent, Probe, Scope};
use skep_sys::shared::SharedArray;
use std::ffi::CString;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

pub(crate) const TESTS: &[Test] = &[
    ("kernel_btf_is_the_object_of_the_same_name", Needs::Root, kernel_btf),
    ("iter_link_writes_for_the_process_asked_for", Needs::Root, iter),
    ("tracing_link_carries_a_cookie", Needs::Root, tp_btf),
    ("fentry_link_carries_a_cookie", Needs::Root, fentry),
    ("kprobe_event_carries_a_cookie", Needs::Root, kprobe),
    ("kprobe_multi_link_carries_cookies", Needs::Root, kprobe_multi),
    ("cgroup_programs_attach_with_and_without_link", Needs::Root, cgroup),
    ("netfilter_link_tells_its_hook", Needs::Root, netfilter),
    ("uprobe_multi_link_lists_its_locations", Needs::Root, uprobe_multi),
    ("kprobe_multi_wants_lists_of_one_length", Needs::Root, lists),
];

/// Id of the type of this kind and name in the kernel's BTF: the walk of Documentation/bpf/btf.rst.
fn type_id(btf: &[u8], kind: u32, name: &str) -> Result<u32, Stop> {
    let word = |at: usize| btf.get(at..at + 4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
    let walk = || -> Option<Option<u32>> {
        let header = word(4)? as usize;
        let (mut at, end) = (header + word(8)? as usize, header + (word(8)? + word(12)?) as usize);
        let strings = header + word(16)? as usize;
        let mut id = 1;
        while at < end {
            let (info, text) = (word(at + 4)?, btf.get(strings + word(at)? as usize..)?);
            let this = info >> 24 & 31;
            if this == kind && text.starts_with(name.as_bytes()) && text.get(name.len()) == Some(&0) {
                return Some(Some(id));
            }
            let n = (info & 0xffff) as usize;
            at += 12
                + match this {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    4 | 5 | 15 | 19 => 12 * n,
                    6 | 13 => 8 * n,
                    _ => 0,
                };
            id += 1;
        }
        Some(None)
    };
    walk().ok_or("damaged BTF")?.ok_or_else(|| Stop::Skip(format!("the kernel has no {name}")))
}

const FUNC: u32 = 12;
const TYPEDEF: u32 = 8;

fn vmlinux() -> Result<KernelBtf, Stop> {
    match KernelBtf::open("vmlinux") {
        Err(e) if e.is_not_found() => Err(Stop::Skip(e.to_string())),
        other => Ok(other?),
    }
}

fn load_tracing(insns: &[Insn], attach_type: AttachType, btf_id: u32) -> Result<Prog, bpf::LoadError> {
    Prog::load(&ProgLoad {
        prog_type: ProgType::TRACING,
        insns: &insns.concat(),
        license: "GPL",
        name: "skep_test",
        expected_attach_type: attach_type,
        attach_btf_id: btf_id,
        target: LoadTarget::Kernel,
        ..ProgLoad::default()
    })
}

fn kernel_btf() -> Outcome {
    let btf = vmlinux()?;
    ensure_eq!(btf[..2], 0xeb9fu16.to_ne_bytes());
    ensure!(kernel_btf_names()?.iter().any(|name| name == "vmlinux"), "not listed");
    // The kernel hands out the same bytes by bpf(2).
    let id = ObjectKind::Btf.ids().next().ok_or("no BTF objects")??;
    ensure!(bpf::Btf::from_id(id)?.data()? == btf[..], "{} bytes differ", btf.len());
    ensure!(std::fs::read("/sys/kernel/btf/vmlinux")? == btf[..], "the file differs");
    for name in ["no_such_module", "../btf/vmlinux", ""] {
        ensure!(KernelBtf::open(name).expect_err("no BTF").is_not_found(), "{name}");
    }
    Ok(())
}

fn iter() -> Outcome {
    let id = type_id(&vmlinux()?, FUNC, "bpf_iter_task")?;
    // Writes 8 bytes to the sequence file of its context for each task: *ctx->meta, then meta->seq.
    let insns = [
        load64(R2, R1, 8),
        raw(0x15, R2, 0, 8, 0),
        load64(R1, R1, 0),
        load64(R1, R1, 0),
        raw(0x7a, R10, 0, -8, 7),
        mov(R2, R10),
        add_imm(R2, -8),
        mov_imm(R3, 8),
        // bpf_seq_write
        call(127),
        mov_imm(R0, 0),
        mov_imm(R0, 0),
        exit(),
    ];
    let prog = load_tracing(&insns, AttachType::TRACE_ITER, id)
        .map_err(|e| Stop::Fail(format!("{e}\n{}", e.log.text)))?;
    let run = |target: IterTarget<'_>| -> Result<(usize, LinkTargetInfo), Stop> {
        let link = Link::create(prog.as_fd(), AttachType::TRACE_ITER, &LinkTarget::Iter(target))?;
        let mut out = Vec::new();
        std::fs::File::from(link.iter_create()?).read_to_end(&mut out)?;
        ensure_eq!(out.len() % 8, 0);
        Ok((out.len() / 8, link.info()?.target))
    };
    let (all, info) = run(IterTarget::All)?;
    ensure!(all > 5, "{all} tasks on the machine");
    ensure_eq!(info, LinkTargetInfo::Iter { target: "task".into(), scope: IterScope::All });
    // The first thread of this process alone.
    let tid = std::process::id();
    let (one, info) = match run(IterTarget::Thread(tid)) {
        Err(Stop::Fail(text)) if text.contains("EINVAL") || text.contains("E2BIG") => {
            return Err(Stop::Skip(format!("iterators of one task: {text}")));
        }
        other => other?,
    };
    ensure_eq!(one, 1);
    ensure_eq!(info, LinkTargetInfo::Iter { target: "task".into(), scope: IterScope::Task { tid, pid: 0 } });
    let threads = skep_sys::proc::threads(tid)?.len();
    let (some, _) = run(IterTarget::Process(tid))?;
    ensure!(some >= 1 && some <= threads + 16, "{some} of {threads} threads");
    Ok(())
}

fn tp_btf() -> Outcome {
    let id = type_id(&vmlinux()?, TYPEDEF, "btf_trace_sys_enter")?;
    let array = counter_array()?;
    let prog = match load_tracing(&counting(&array, true), AttachType::TRACE_RAW_TP, id) {
        // Cookies of tracing programs came with 5.19, those of tp_btf with 6.10.
        Err(e) if e.log.text.contains("unknown func bpf_get_attach_cookie") => {
            return Err(Stop::Skip(format!("cookies of tp_btf: {e}")));
        }
        other => other.map_err(|e| Stop::Fail(format!("{e}\n{}", e.log.text)))?,
    };
    let memory = SharedArray::new(&array)?;
    let target = LinkTarget::Tracing { cookie: 1 << 40 };
    let link =
        unless_unsupported("tracing cookies", Link::create(prog.as_fd(), AttachType::TRACE_RAW_TP, &target))?;
    for _ in 0..100 {
        let _ = rustix::process::getppid();
    }
    // Of this attach type the kernel makes links of raw tracepoints (kernel/bpf/syscall.c,
    // `bpf_raw_tp_link_attach`); it tells their cookie since 6.15.
    match link.info()?.target {
        LinkTargetInfo::RawTracepoint { name, cookie } => {
            ensure!(name == "sys_enter" && [0, 1 << 40].contains(&cookie), "{name} {cookie:#x}");
        }
        other => ensure!(false, "{other:?}"),
    }
    let count = memory.load_u64(0).unwrap_or(0);
    ensure!(count >= 100, "{count} system calls");
    ensure!(memory.load_u64(8).unwrap_or(0) >= 100 << 40, "cookies");
    drop(link);
    Link::tracing_legacy(prog.as_fd())?;
    let info = prog.info()?;
    ensure_eq!(info.attach_btf_id, id);
    Ok(())
}

/// The kernel's function behind getppid(2), whatever this machine calls it.
fn getppid_function() -> Result<CString, Stop> {
    let names = ["__x64_sys_getppid", "__arm64_sys_getppid", "sys_getppid"];
    let (found, _) = skep_sys::proc::find_symbols(&names)?;
    let name = names.iter().zip(found).find(|(_, found)| !found.is_empty()).map(|(name, _)| *name);
    Ok(CString::new(name.ok_or_else(|| Stop::Skip("getppid is called otherwise here".into()))?)?)
}

fn fentry() -> Outcome {
    // Entry points of system calls are not in BTF.
    let id = type_id(&vmlinux()?, FUNC, "vfs_read")?;
    let array = counter_array()?;
    let prog = match load_tracing(&counting(&array, true), AttachType::TRACE_FENTRY, id) {
        // A kernel without direct calls of ftrace refuses before it looks at the program.
        Err(e) if e.is_refused_unchecked() || e.error.is_unsupported() => {
            return Err(Stop::Skip(format!("fentry: {e}")));
        }
        other => other.map_err(|e| Stop::Fail(format!("{e}\n{}", e.log.text)))?,
    };
    ensure_eq!(prog.info()?.attach_btf_id, id);
    let target = LinkTarget::Tracing { cookie: 9 };
    let link = unless_unsupported("fentry", Link::create(prog.as_fd(), AttachType::TRACE_FENTRY, &target))?;
    match link.info()?.target {
        LinkTargetInfo::Tracing { attach_type, target_btf_id, .. } => {
            ensure_eq!((attach_type, target_btf_id), (AttachType::TRACE_FENTRY, id));
        }
        other => ensure!(false, "{other:?}"),
    }
    let mut zeroes = std::fs::File::open("/dev/zero")?;
    for _ in 0..100 {
        zeroes.read_exact(&mut [0; 8])?;
    }
    counted_with_cookie(&array, 9)
}

/// 100 calls of getppid(2) are counted, each with this cookie.
fn called_with_cookie(array: &bpf::Map, cookie: u64) -> Outcome {
    for _ in 0..100 {
        let _ = rustix::process::getppid();
    }
    counted_with_cookie(array, cookie)
}

/// At least 100 calls, since other processes call as well.
fn counted_with_cookie(array: &bpf::Map, cookie: u64) -> Outcome {
    let memory = SharedArray::new(array)?;
    let (count, cookies) = (memory.load_u64(0).unwrap_or(0), memory.load_u64(8).unwrap_or(0));
    ensure!(count >= 100 && cookies >= 100 * cookie, "{count} calls, cookies {cookies}");
    Ok(())
}

fn kprobe() -> Outcome {
    let name = getppid_function()?;
    let probe = Probe::KprobeSymbol { function: name.to_str()?, offset: 0 };
    for on_return in [false, true] {
        let array = counter_array()?;
        let prog = load(ProgType::KPROBE, &counting(&array, true))?;
        let event = PerfEvent::open(&EventAttr::new(Counter::Probe { probe, on_return }), Scope::Cpu(0));
        let event = match event {
            Err(e) if e.is_not_found() || e.is_unsupported() => {
                return Err(Stop::Skip(format!("kprobes: {e}")));
            }
            other => other?,
        };
        let target = LinkTarget::PerfEvent { event: event.as_fd(), cookie: 5 };
        // A kprobe fires on every CPU, whichever its event was opened on.
        let link = Link::create(prog.as_fd(), AttachType::PERF_EVENT, &target)?;
        called_with_cookie(&array, 5)?;
        match link.info()?.target {
            LinkTargetInfo::Kprobe { function, is_return, .. } => {
                ensure_eq!((function.as_bytes(), is_return), (name.to_bytes(), on_return));
            }
            LinkTargetInfo::Other => {}
            other => ensure!(false, "{other:?}"),
        }
    }
    let probe = Probe::KprobeSymbol { function: "no_such_function", offset: 0 };
    let attr = EventAttr::new(Counter::Probe { probe, on_return: false });
    let e = PerfEvent::open(&attr, Scope::Cpu(0)).expect_err("no such function");
    ensure!(e.is_not_found() && e.detail.contains("no_such_function"), "{e}");
    Ok(())
}

fn kprobe_multi() -> Outcome {
    let name = getppid_function()?;
    let array = counter_array()?;
    let insns = counting(&array, true).concat();
    let load = ProgLoad {
        prog_type: ProgType::KPROBE,
        insns: &insns,
        license: "GPL",
        expected_attach_type: AttachType::TRACE_KPROBE_MULTI,
        ..ProgLoad::default()
    };
    let prog = Prog::load(&load)?;
    let target = LinkTarget::KprobeMulti {
        symbols: &[name.as_c_str(), c"do_exit"],
        addrs: &[],
        cookies: &[3, 4],
        on_return: false,
    };
    let link = Link::create(prog.as_fd(), AttachType::TRACE_KPROBE_MULTI, &target);
    let link = unless_unsupported("kprobe_multi", link)?;
    called_with_cookie(&array, 3)?;
    match link.info()?.target {
        LinkTargetInfo::KprobeMulti { addrs, .. } => ensure_eq!(addrs.len(), 2),
        LinkTargetInfo::Other => {}
        other => ensure!(false, "{other:?}"),
    }
    Ok(())
}

fn cgroup() -> Outcome {
    let cgroups = match CgroupFs::open() {
        Err(e) if e.is_not_found() => return Err(Stop::Skip(e.to_string())),
        other => other?,
    };
    let name = format!("skep-sys-link-{}", std::process::id());
    let dir = cgroups.mount_point().join(&name);
    std::fs::create_dir(&dir)?;
    let outcome = in_cgroup(&cgroups, Path::new(&name));
    std::fs::remove_dir(&dir)?;
    outcome
}

fn in_cgroup(cgroups: &CgroupFs, path: &Path) -> Outcome {
    // Allows all packets. No process is in this cgroup.
    let allow = || load(ProgType::CGROUP_SKB, &[mov_imm(R0, 1), exit()]);
    let (a, b, c) = (allow()?, allow()?, allow()?);
    let dir = cgroups.open_cgroup(path)?;
    let attach_type = AttachType::CGROUP_INET_EGRESS;
    let hook = Hook::Fd(dir.as_fd());
    let id = |prog: &Prog| prog.info().map(|info| info.id);
    let attached = || -> Result<Vec<u32>, Stop> {
        Ok(bpf::prog_query(hook, attach_type, false)?.progs.iter().map(|p| p.prog_id).collect())
    };
    bpf::prog_attach(a.as_fd(), hook, attach_type, AttachMode::Multi)?;
    let target =
        LinkTarget::Cgroup { cgroup: dir.as_fd(), position: bpf::Position::Last, expected_revision: 0 };
    let link = Link::create(b.as_fd(), attach_type, &target)?;
    ensure_eq!(attached()?, [id(&a)?, id(&b)?]);
    let cgroup_id = cgroups.id(path)?;
    ensure_eq!(link.info()?.target, LinkTargetInfo::Cgroup { cgroup_id, attach_type });
    bpf::prog_attach(c.as_fd(), hook, attach_type, AttachMode::MultiReplace(a.as_fd()))?;
    ensure_eq!(attached()?, [id(&c)?, id(&b)?]);
    link.detach()?;
    ensure_eq!(attached()?, [id(&c)?]);
    ensure!(
        bpf::prog_query(hook, attach_type, true)?.progs.iter().any(|p| Ok(p.prog_id) == id(&c)),
        "effective"
    );
    let absent = bpf::prog_detach(a.as_fd(), hook, attach_type).expect_err("replaced");
    ensure!(absent.is_not_found(), "{absent}");
    bpf::prog_detach(c.as_fd(), hook, attach_type)?;
    ensure!(attached()?.is_empty(), "still attached");
    Ok(())
}

fn netfilter() -> Outcome {
    let insns = [mov_imm(R0, 1), exit()].concat();
    let load = ProgLoad {
        prog_type: ProgType::NETFILTER,
        insns: &insns,
        license: "GPL",
        expected_attach_type: AttachType::NETFILTER,
        ..ProgLoad::default()
    };
    let prog = unless_unsupported("netfilter programs", Prog::load(&load).map_err(Into::into))?;
    // The namespace of this thread is left when it ends; nothing passes there.
    let body = || -> Outcome {
        let target = LinkTarget::Netfilter { pf: 2, hooknum: 1, priority: -128, flags: 0 };
        let link = Link::create(prog.as_fd(), AttachType::NETFILTER, &target)?;
        let told = LinkTargetInfo::Netfilter { pf: 2, hooknum: 1, priority: -128, flags: 0 };
        ensure_eq!(link.info()?.target, told);
        Ok(())
    };
    crate::network::in_netns(body)
}

fn uprobe_multi() -> Outcome {
    let array = counter_array()?;
    let insns = counting(&array, true).concat();
    let load = ProgLoad {
        prog_type: ProgType::KPROBE,
        insns: &insns,
        license: "GPL",
        expected_attach_type: AttachType::TRACE_UPROBE_MULTI,
        ..ProgLoad::default()
    };
    let prog = unless_unsupported("uprobe_multi", Prog::load(&load).map_err(Into::into))?;
    let path = std::env::current_exe()?;
    let file = CString::new(path.clone().into_os_string().into_vec())?;
    let offsets = [file_offset(probed as *const () as u64)?];
    let target = |offsets, cookies| LinkTarget::UprobeMulti {
        path: &file,
        offsets,
        ref_ctr_offsets: &[],
        cookies,
        pid: std::process::id(),
        on_return: false,
    };
    let attach_type = AttachType::TRACE_UPROBE_MULTI;
    let link = Link::create(prog.as_fd(), attach_type, &target(&offsets, &[21]));
    let link = unless_unsupported("uprobe_multi", link)?;
    probed(1);
    probed(2);
    let memory = SharedArray::new(&array)?;
    let (count, cookies) = (memory.load_u64(0).unwrap_or(0), memory.load_u64(8).unwrap_or(0));
    // Another test probes and calls the same function at the same time.
    ensure!(count >= 2 && cookies == 21 * count, "{count} calls, cookies {cookies}");
    match link.info()?.target {
        LinkTargetInfo::UprobeMulti(info) => {
            ensure_eq!((info.path, info.offsets), (path.display().to_string(), offsets.to_vec()));
            ensure_eq!((info.cookies, info.pid), (vec![21], std::process::id()));
        }
        other => ensure!(false, "{other:?}"),
    }
    let odd = Link::create(prog.as_fd(), attach_type, &target(&offsets, &[1, 2])).expect_err("two for one");
    ensure_eq!(odd.errno, skep_sys::Errno::EMSGSIZE);
    Ok(())
}

fn lists() -> Outcome {
    let prog = load(ProgType::KPROBE, &[mov_imm(R0, 0), exit()])?;
    let target =
        LinkTarget::KprobeMulti { symbols: &[c"do_exit"], addrs: &[], cookies: &[1, 2], on_return: false };
    let odd = Link::create(prog.as_fd(), AttachType::TRACE_KPROBE_MULTI, &target).expect_err("two for one");
    ensure_eq!(odd.errno, skep_sys::Errno::EMSGSIZE);
    Ok(())
}

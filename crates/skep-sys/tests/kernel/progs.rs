//! Programs: load, refusal with log, test run, info, links.

use crate::harness::{Needs, Outcome, Stop, Test, ensure, ensure_eq};
use crate::insn::*;
use skep_sys::bpf::{
    self, AttachType, Btf, Link, LinkTargetInfo, LinkType, ObjectKind, Prog, ProgLoad, ProgType, TestRun,
    log_level,
};
use skep_sys::{Errno, cpu};
use std::os::fd::{AsFd, AsRawFd};

pub(crate) const TESTS: &[Test] = &[
    ("prog_of_two_instructions_loads_and_runs", Needs::Root, two_instructions),
    ("prog_rejected_comes_with_its_log", Needs::Root, rejected),
    ("prog_log_of_every_state_grows_to_fit", Needs::Root, long_log),
    ("prog_accepted_yields_statistics", Needs::Root, accepted_log),
    ("prog_packet_run_returns_data", Needs::Root, packet_run),
    ("prog_syscall_context_comes_back", Needs::Root, syscall_context),
    ("prog_info_tells_code_and_times", Needs::Root, info),
    ("prog_stats_count_runs", Needs::Root, stats),
    ("btf_loads_and_reads_back", Needs::Root, btf),
    ("btf_rejected_comes_with_its_log", Needs::Root, bad_btf),
    ("link_raw_tracepoint_is_listed_and_goes", Needs::Root, raw_tracepoint_link),
    ("link_to_a_missing_tracepoint_names_it", Needs::Root, missing_tracepoint),
    ("task_fd_query_finds_the_program", Needs::Root, task_fd),
];

pub(crate) fn load(prog_type: ProgType, insns: &[Insn]) -> Result<Prog, Stop> {
    let load = ProgLoad {
        prog_type,
        insns: &insns.concat(),
        license: "GPL",
        name: "skep_test",
        ..ProgLoad::default()
    };
    Prog::load(&load).map_err(|e| Stop::Fail(format!("{e}\n{}", e.log.text)))
}

fn two_instructions() -> Outcome {
    let prog = load(ProgType::RAW_TRACEPOINT, &[mov_imm(R0, 7), exit()])?;
    let cpu = cpu::online()?.iter().last();
    let out = prog.test_run(&TestRun { cpu, ..TestRun::default() })?;
    ensure_eq!(out.retval, 7);
    let far = prog.test_run(&TestRun { cpu: Some(60_000), ..TestRun::default() });
    ensure_eq!(far.expect_err("no such CPU").errno, Errno::ENXIO);
    Ok(())
}

fn rejected() -> Outcome {
    // Reads a register that was never written.
    let insns = [mov(R0, R6), exit()].concat();
    let load = ProgLoad {
        prog_type: ProgType::RAW_TRACEPOINT,
        insns: &insns,
        license: "GPL",
        name: "bad",
        ..ProgLoad::default()
    };
    let refused = Prog::load(&load).expect_err("R6 is not readable");
    ensure_eq!(refused.error.errno, Errno::EACCES);
    ensure!(refused.log.text.contains("R6 !read_ok"), "log: {}", refused.log.text);
    ensure!(!refused.log.truncated && !refused.is_refused_unchecked(), "whole log");
    ensure!(refused.to_string().contains("raw_tracepoint program \"bad\""), "{refused}");
    let odd = Prog::load(&ProgLoad { insns: &[0; 12], ..load }).expect_err("one and a half instructions");
    ensure_eq!(odd.error.errno, Errno::EMSGSIZE);
    Ok(())
}

fn long_log() -> Outcome {
    // 20,000 instructions with the state of each are more than the first buffer holds.
    let mut insns = vec![mov_imm(R0, 0); 20_000];
    insns.push(exit());
    let insns = insns.concat();
    let load = ProgLoad {
        prog_type: ProgType::RAW_TRACEPOINT,
        insns: &insns,
        license: "GPL",
        ..ProgLoad::default()
    };
    let (_, log) = Prog::load_logged(&load, log_level::STATES)?;
    ensure!(log.text.len() > 64 << 10, "log of {} bytes", log.text.len());
    ensure!(!log.truncated && log.text.contains("\n19999: (b7) r0 = 0"), "the end is missing");
    ensure!(
        log.text.starts_with("0: R1=ctx") || log.text.contains("0: (b7) r0 = 0"),
        "the beginning is missing"
    );
    Ok(())
}

fn accepted_log() -> Outcome {
    let insns = [mov_imm(R0, 0), exit()].concat();
    let load = ProgLoad {
        prog_type: ProgType::RAW_TRACEPOINT,
        insns: &insns,
        license: "GPL",
        ..ProgLoad::default()
    };
    let (prog, log) = Prog::load_logged(&load, log_level::STATS)?;
    ensure!(log.text.contains("processed 2 insns"), "{}", log.text);
    ensure_eq!(prog.info()?.verified_insns, 2);
    Ok(())
}

fn packet_run() -> Outcome {
    // XDP_PASS
    let prog = load(ProgType::XDP, &[mov_imm(R0, 2), exit()])?;
    let packet: Vec<u8> = (0..64).collect();
    let run = TestRun { data_in: &packet, data_out_size: 64, repeat: 1000, ..TestRun::default() };
    let out = prog.test_run(&run)?;
    ensure_eq!((out.retval, out.data), (2, packet.clone()));
    let short = prog.test_run(&TestRun { data_out_size: 10, ..run }).expect_err("no room");
    ensure_eq!(short.errno, Errno::ENOSPC);
    ensure!(short.detail.contains("64 bytes of data"), "{short}");
    let none = prog.test_run(&TestRun { data_out_size: 0, ..run })?;
    ensure!(none.data.is_empty(), "no room asked for, none filled");
    Ok(())
}

fn syscall_context() -> Outcome {
    use bpf::ProgFlags;
    let insns = [load64(R2, R1, 0), add_imm(R2, 5), store64(R1, 8, R2), mov_imm(R0, 3), exit()].concat();
    let load = ProgLoad {
        prog_type: ProgType::SYSCALL,
        insns: &insns,
        license: "GPL",
        flags: ProgFlags::SLEEPABLE,
        ..ProgLoad::default()
    };
    let prog = Prog::load(&load)?;
    let ctx_in = [37u64.to_ne_bytes(), [0; 8]].concat();
    let out = prog.test_run(&TestRun { ctx_in: &ctx_in, ..TestRun::default() })?;
    ensure_eq!(out.retval, 3);
    ensure_eq!(out.ctx, [37u64.to_ne_bytes(), 42u64.to_ne_bytes()].concat());
    ensure_eq!(ctx_in[8..], [0; 8]);
    Ok(())
}

fn info() -> Outcome {
    let array = bpf::Map::create(&bpf::MapCreate {
        map_type: bpf::MapType::ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        ..Default::default()
    })?;
    let [lo, hi] = map_fd(R1, &array);
    let prog = load(ProgType::RAW_TRACEPOINT, &[lo, hi, mov_imm(R0, 0), exit()])?;
    let info = prog.info()?;
    ensure_eq!(info.prog_type, ProgType::RAW_TRACEPOINT);
    ensure_eq!(info.name, "skep_test");
    ensure_eq!(info.map_ids, [array.info()?.id]);
    ensure!(info.gpl_compatible, "licence");
    ensure!(!info.load_time.is_zero() && info.tag != [0; 8], "{info:?}");
    let code = prog.code()?;
    ensure_eq!(code.xlated.len(), info.xlated_len as usize);
    ensure_eq!(code.jited.len(), info.jited_len as usize);
    ensure_eq!(code.xlated[code.xlated.len() - 8..], exit());
    ensure!(ObjectKind::Prog.ids().any(|id| matches!(id, Ok(id) if id == info.id)), "not listed");
    ensure_eq!(ObjectKind::of(prog.as_fd()), Some(ObjectKind::Prog));
    let wrong = bpf::Map::from_fd(prog.into()).expect_err("a program is no map");
    ensure!(wrong.to_string().contains("the fd is a Prog, not a Map"), "{wrong}");
    Ok(())
}

fn stats() -> Outcome {
    let prog = load(ProgType::XDP, &[mov_imm(R0, 2), exit()])?;
    let link_free = load(ProgType::RAW_TRACEPOINT, &[mov_imm(R0, 0), exit()])?;
    let enabled = bpf::enable_run_time_stats()?;
    let _link = Link::raw_tracepoint(link_free.as_fd(), "sys_enter", 0)?;
    for _ in 0..100 {
        let _ = rustix::process::getppid();
    }
    drop(enabled);
    let info = link_free.info()?;
    ensure!(info.run_cnt >= 100 && !info.run_time.is_zero(), "{} runs in {:?}", info.run_cnt, info.run_time);
    ensure_eq!(prog.info()?.run_cnt, 0);
    Ok(())
}

/// The smallest BTF with a type: a header, `int` of 4 bytes, and its name.
fn int_btf(kind: u32) -> Vec<u8> {
    let mut btf = Vec::new();
    btf.extend(0xeb9fu16.to_ne_bytes());
    btf.extend([1, 0]);
    for word in [24u32, 0, 16, 16, 5] {
        btf.extend(word.to_ne_bytes());
    }
    for word in [1u32, kind << 24, 4, 32] {
        btf.extend(word.to_ne_bytes());
    }
    btf.extend(b"\0int\0");
    btf
}

fn btf() -> Outcome {
    let data = int_btf(1);
    let btf = Btf::load(&data, None)?;
    let info = btf.info()?;
    ensure_eq!((info.size as usize, info.is_kernel, info.name.as_str()), (data.len(), false, ""));
    ensure_eq!(btf.data()?, data);
    let vmlinux = ObjectKind::Btf.ids().next().expect("a kernel with BTF")?;
    let vmlinux = Btf::from_id(vmlinux)?.info()?;
    ensure_eq!((vmlinux.is_kernel, vmlinux.name.as_str()), (true, "vmlinux"));
    Ok(())
}

fn bad_btf() -> Outcome {
    let refused = Btf::load(&int_btf(31), None).expect_err("no kind 31");
    ensure_eq!(refused.error.errno, Errno::EINVAL);
    ensure!(refused.log.text.contains("Invalid kind:31"), "{}", refused.log.text);
    Ok(())
}

fn raw_tracepoint_link() -> Outcome {
    let prog = load(ProgType::RAW_TRACEPOINT, &[mov_imm(R0, 0), exit()])?;
    let link = Link::raw_tracepoint(prog.as_fd(), "sys_exit", 0)?;
    let info = link.info()?;
    ensure_eq!(info.link_type, LinkType::RAW_TRACEPOINT);
    ensure_eq!(info.prog_id, prog.info()?.id);
    ensure_eq!(info.target, LinkTargetInfo::RawTracepoint { name: "sys_exit".into(), cookie: 0 });
    drop(link);
    // The link is freed after a grace period.
    for _ in 0..200 {
        match ObjectKind::Link.open_id(info.id, bpf::Access::ReadWrite) {
            Err(e) if e.is_not_found() => return Ok(()),
            _ => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
    Err(Stop::Fail("the link outlives its fd".into()))
}

fn missing_tracepoint() -> Outcome {
    let prog = load(ProgType::RAW_TRACEPOINT, &[mov_imm(R0, 0), exit()])?;
    let e = Link::raw_tracepoint(prog.as_fd(), "no_such_tp", 0).expect_err("no such tracepoint");
    ensure_eq!(e.errno, Errno::ENOENT);
    ensure!(e.to_string().contains("no_such_tp"), "{e}");
    // An attach type that the program was not loaded for.
    let target = bpf::LinkTarget::Tracing { cookie: 0 };
    let e = Link::create(prog.as_fd(), AttachType::TRACE_FENTRY, &target).expect_err("not a tracing program");
    ensure!(e.is_unsupported(), "{e}");
    Ok(())
}

fn task_fd() -> Outcome {
    let prog = load(ProgType::RAW_TRACEPOINT, &[mov_imm(R0, 0), exit()])?;
    let link = Link::raw_tracepoint(prog.as_fd(), "sys_enter", 0)?;
    let found = bpf::task_fd_query(std::process::id(), link.as_fd().as_raw_fd() as u32)?;
    ensure_eq!(found.prog_id, prog.info()?.id);
    ensure_eq!(found.kind, bpf::TaskFdKind::RawTracepoint);
    ensure_eq!(found.name, "sys_enter");
    Ok(())
}

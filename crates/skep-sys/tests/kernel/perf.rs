//! Perf events: counting, programs on them, and their buffers.

use crate::harness::{Needs, Outcome, Stop, Test, ensure, ensure_eq, unless_unsupported};
use crate::insn::*;
use crate::progs::load;
use skep_sys::bpf::{
    AttachType, ElemFlags, Link, LinkTarget, LinkTargetInfo, Map, MapCreate, MapFlags, MapType, ProgType,
    TestRun,
};
use skep_sys::fs::TraceFs;
use skep_sys::perf::{
    Counter, EventAttr, PerfBuffer, PerfEvent, Pmu, Probe, Record, Sampling, Scope, Software, Watch,
    WatchMode,
};
use skep_sys::shared::SharedArray;
use skep_sys::{Errno, cpu};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const TESTS: &[Test] = &[
    ("perf_software_event_counts", Needs::Root, counts),
    ("perf_pmu_types_are_found", Needs::Nothing, pmus),
    ("perf_unknown_event_is_named", Needs::Root, unknown),
    ("perf_clock_runs_a_program", Needs::Root, clock),
    ("perf_tracepoint_link_counts_calls", Needs::Root, tracepoint),
    ("perf_uprobe_carries_a_cookie", Needs::Root, uprobe),
    ("perf_breakpoint_sees_writes", Needs::Root, breakpoint),
    ("perf_buffer_receives_program_output", Needs::Root, output),
];

fn counts() -> Outcome {
    let attr = EventAttr { disabled: true, ..EventAttr::new(Counter::Software(Software::PageFaults)) };
    let event = PerfEvent::open(&attr, Scope::Thread(0))?;
    ensure_eq!(event.count()?, 0);
    event.enable()?;
    // More than the allocator ever keeps, so fresh memory.
    let mut touched = vec![0u8; 64 << 20];
    touched[1 << 20] = 1;
    event.disable()?;
    let count = event.count()?;
    ensure!(count > 0 && std::hint::black_box(&touched)[1 << 20] == 1, "no page faults in fresh memory");
    event.reset()?;
    ensure_eq!(event.count()?, 0);
    Ok(())
}

fn pmus() -> Outcome {
    let names = Pmu::names()?;
    ensure!(names.iter().any(|n| n == "software"), "{names:?}");
    ensure_eq!(Pmu::find("software")?.kind(), 1);
    let absent = Pmu::find("no_such_pmu").expect_err("absent");
    ensure!(absent.is_not_found() && absent.detail.contains("no_such_pmu"), "{absent}");
    Ok(())
}

fn unknown() -> Outcome {
    let attr = EventAttr::new(Counter::Tracepoint(u64::from(u32::MAX)));
    let e = PerfEvent::open(&attr, Scope::Cpu(0)).expect_err("no such tracepoint");
    ensure!(e.is_unsupported() || e.is_not_found(), "{e}");
    ensure!(e.to_string().contains("tracepoint 4294967295"), "{e}");
    Ok(())
}

pub(crate) fn counter_array() -> Result<Map, skep_sys::SysError> {
    Map::create(&MapCreate {
        map_type: MapType::ARRAY,
        key_size: 4,
        value_size: 16,
        max_entries: 1,
        flags: MapFlags::MMAPABLE,
        ..MapCreate::default()
    })
}

/// Adds 1 to the first word and, with `cookie`, the attach cookie to the second.
pub(crate) fn counting(array: &Map, cookie: bool) -> Vec<Insn> {
    let mut insns = Vec::new();
    if cookie {
        insns.extend([call(helper::GET_ATTACH_COOKIE), mov(R6, R0)]);
    } else {
        insns.push(mov_imm(R6, 0));
    }
    insns.extend(map_value(R2, array, 0));
    insns.extend([mov_imm(R1, 1), atomic_add64(R2, 0, R1), atomic_add64(R2, 8, R6), mov_imm(R0, 0), exit()]);
    insns
}

fn clock() -> Outcome {
    let array = counter_array()?;
    let prog = load(ProgType::PERF_EVENT, &counting(&array, false))?;
    let attr = EventAttr {
        sampling: Sampling::Period(1_000_000),
        ..EventAttr::new(Counter::Software(Software::CpuClock))
    };
    let cpu = cpu::online()?.iter().next().expect("a CPU is online");
    let event = PerfEvent::open(&attr, Scope::Cpu(cpu))?;
    event.set_bpf(prog.as_fd())?;
    event.set_period(500_000)?;
    let memory = SharedArray::new(&array)?;
    for _ in 0..500 {
        std::thread::sleep(std::time::Duration::from_millis(10));
        if memory.load_u64(0) > Some(10) {
            break;
        }
    }
    event.disable()?;
    ensure!(memory.load_u64(0) > Some(10), "the clock ticked {:?} times", memory.load_u64(0));
    let twice = event.set_bpf(prog.as_fd()).expect_err("already has one");
    ensure_eq!(twice.errno, Errno::EEXIST);
    Ok(())
}

fn tracepoint() -> Outcome {
    let tracefs = TraceFs::open()?;
    let id = tracefs.event_id("syscalls", "sys_enter_getppid")?;
    let array = counter_array()?;
    let prog = load(ProgType::TRACEPOINT, &counting(&array, true))?;
    let memory = SharedArray::new(&array)?;
    // One thread on whichever CPU: calls of other tests do not count.
    let event = PerfEvent::open(&EventAttr::new(Counter::Tracepoint(id)), Scope::Thread(0))?;
    let target = LinkTarget::PerfEvent { event: event.as_fd(), cookie: 3 };
    let link = Link::create(prog.as_fd(), AttachType::PERF_EVENT, &target)?;
    for _ in 0..1000 {
        let _ = rustix::process::getppid();
    }
    match link.info()?.target {
        LinkTargetInfo::Tracepoint { name, .. } => ensure_eq!(name, "sys_enter_getppid"),
        // Kernels before 6.6 tell nothing of these links.
        LinkTargetInfo::Other => {}
        other => ensure!(false, "{other:?}"),
    }
    drop((link, event));
    let _ = rustix::process::getppid();
    ensure_eq!((memory.load_u64(0), memory.load_u64(8)), (Some(1000), Some(3000)));
    Ok(())
}

/// The function that is probed: never inlined, so that its address is called.
#[inline(never)]
pub(crate) extern "C" fn probed(n: u64) -> u64 {
    std::hint::black_box(n) + 1
}

/// File offset of an address of this program, from its memory map.
pub(crate) fn file_offset(address: u64) -> Result<u64, String> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|e| e.to_string())?;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let range = words.next().and_then(|r| r.split_once('-')).ok_or("range")?;
        let number = |text: &str| u64::from_str_radix(text, 16).map_err(|e| e.to_string());
        let (start, end) = (number(range.0)?, number(range.1)?);
        if (start..end).contains(&address) {
            let offset = words.nth(1).ok_or("offset")?;
            return Ok(address - start + number(offset)?);
        }
    }
    Err(format!("{address:#x} is not mapped"))
}

fn uprobe() -> Outcome {
    unless_unsupported("uprobes", Pmu::find("uprobe"))?;
    let array = counter_array()?;
    let prog = load(ProgType::KPROBE, &counting(&array, true))?;
    let path = std::env::current_exe()?;
    let offset = file_offset(probed as *const () as u64)?;
    let probe = Probe::Uprobe { path: &path, offset, ref_ctr_offset: 0 };
    let memory = SharedArray::new(&array)?;
    for on_return in [false, true] {
        let event = PerfEvent::open(&EventAttr::new(Counter::Probe { probe, on_return }), Scope::Thread(0))?;
        let target = LinkTarget::PerfEvent { event: event.as_fd(), cookie: 1000 };
        let link = Link::create(prog.as_fd(), AttachType::PERF_EVENT, &target)?;
        for n in 0..5 {
            probed(n);
        }
        match link.info()?.target {
            LinkTargetInfo::Uprobe { path: told, offset: at, is_return, .. } => {
                ensure_eq!((told, u64::from(at), is_return), (path.display().to_string(), offset, on_return));
            }
            // Kernels before 6.6 tell nothing of these links.
            LinkTargetInfo::Other => {}
            other => ensure!(false, "{other:?}"),
        }
    }
    ensure_eq!((memory.load_u64(0), memory.load_u64(8)), (Some(10), Some(10_000)));
    probed(5);
    ensure_eq!(memory.load_u64(0), Some(10));
    let missing = std::path::Path::new("/no/such/file");
    let probe = Probe::Uprobe { path: missing, offset: 0, ref_ctr_offset: 0 };
    let attr = EventAttr::new(Counter::Probe { probe, on_return: false });
    let e = PerfEvent::open(&attr, Scope::Thread(0)).expect_err("no file");
    ensure!(e.is_not_found() && e.to_string().contains("/no/such/file"), "{e}");
    Ok(())
}

fn breakpoint() -> Outcome {
    let watched = Box::new(AtomicU64::new(0));
    let watch = Watch {
        addr: (&raw const *watched).addr() as u64,
        len: 8,
        mode: WatchMode { write: true, ..WatchMode::default() },
    };
    let attr = EventAttr {
        exclude_kernel: true,
        exclude_hv: true,
        sampling: Sampling::Period(1),
        ..EventAttr::new(Counter::Breakpoint(watch))
    };
    let event = match PerfEvent::open(&attr, Scope::Thread(0)) {
        Err(e) if e.is_unsupported() || e.is_not_found() || e.errno == Errno::ENOSPC => {
            return Err(Stop::Skip(format!("breakpoints: {e}")));
        }
        other => other?,
    };
    for n in 0..7 {
        watched.store(n, Ordering::SeqCst);
    }
    event.disable()?;
    watched.store(8, Ordering::SeqCst);
    let count = event.count()?;
    if count == 0 {
        return Err(Stop::Skip("this machine opens breakpoints that never hit".into()));
    }
    ensure_eq!(count, 7);
    Ok(())
}

fn output() -> Outcome {
    let cpus = cpu::possible_count()? as u32;
    let events = Map::create(&MapCreate {
        map_type: MapType::PERF_EVENT_ARRAY,
        key_size: 4,
        value_size: 4,
        max_entries: cpus,
        ..MapCreate::default()
    })?;
    let cpu = cpu::online()?.iter().last().expect("a CPU is online");
    let mut buffer = PerfBuffer::for_bpf_output(cpu, 1, 1)?;
    events.update_fd(&cpu.to_ne_bytes(), buffer.event().as_fd(), ElemFlags::NONE)?;
    // Writes 52 bytes, of which the first 8 are the first argument; returns what the helper returned. A
    // record takes 8 (header) + 4 (size) + 52 = 64 bytes.
    let mut insns = vec![mov(R6, R1), load64(R2, R1, 0), store64(R10, -56, R2)];
    insns.extend((1..7).map(|i| store64(R10, -56 + 8 * i, R2)));
    insns.extend(map_fd(R2, &events));
    insns.extend([
        // BPF_F_CURRENT_CPU
        raw(0x18, R3, 0, 0, -1),
        raw(0, 0, 0, 0, 0),
        mov(R4, R10),
        add_imm(R4, -56),
        mov_imm(R5, 52),
        mov(R1, R6),
        call(helper::PERF_EVENT_OUTPUT),
        exit(),
    ]);
    let prog = load(ProgType::RAW_TRACEPOINT, &insns)?;
    let write = |n: u64| -> Result<i32, skep_sys::SysError> {
        let run = TestRun { ctx_in: &n.to_ne_bytes(), cpu: Some(cpu), ..TestRun::default() };
        Ok(prog.test_run(&run)?.retval as i32)
    };
    let (mut sent, mut received, mut lost) = (0u64, 0u64, 0u64);
    for round in 0..5 {
        for _ in 0..100 {
            if write(sent)? == 0 {
                sent += 1;
            }
        }
        let mut wrong = None;
        buffer.drain(|record| {
            match record {
                Record::Sample(data) if data.len() == 52 && data[..8] == received.to_ne_bytes() => {
                    received += 1;
                }
                Record::Lost(n) => lost += n,
                other => wrong = Some(format!("{other:?}")),
            }
            ControlFlow::Continue(())
        })?;
        ensure!(wrong.is_none(), "round {round}, record {received}: {wrong:?}");
    }
    // Records wrap around the page in each round, since losses make their number odd.
    ensure_eq!(received, sent);
    ensure!(sent < 500 && lost > 0, "{sent} records fit in 5 pages, {lost} reported lost");
    Ok(())
}

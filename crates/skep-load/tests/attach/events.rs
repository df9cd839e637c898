//! The event path under floods: every event is received in order or counted as lost.

use crate::harness::{Needs, Outcome, Stop, Test, ensure, ensure_eq};
use crate::progs::{self, GETPPID, alone, fd, load};
use rustix::thread::{CpuSet, sched_setaffinity};
use skep_ir::ProgKind;
use skep_ir::inst::Ledger;
use skep_ir::spec::Attach;
use skep_load::attach::Attacher;
use skep_load::events::{BufferPages, Events, ExitState, LedgerReader, Source, set_word};
use skep_sys::bpf::{Map, Prog, ProgType, TestRun};
use skep_sys::{Errno, cpu};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[
    ("events_of_the_last_cpu_are_received_or_counted", Needs::Root, last_cpu),
    ("events_of_every_cpu_are_received_or_counted", Needs::Root, every_cpu),
    ("events_through_perf_buffers_are_received_or_counted", Needs::Root, perf_buffers),
    ("events_of_perf_buffers_are_in_order_of_time", Needs::Root, perf_order),
    ("control_record_waits_for_the_data_before_it", Needs::Root, control_waits),
    ("control_record_gets_through_when_data_is_full", Needs::Root, full_data),
    ("control_record_of_nonsense_is_handed_over", Needs::Root, control_nonsense),
    ("exit_state_is_seen_in_shared_and_other_arrays", Needs::Root, exit_state),
    ("drain_ends_at_its_limit_and_at_a_break", Needs::Root, limits),
    ("events_of_other_maps_are_refused", Needs::Root, other_maps),
    ("ledger_of_another_shape_is_refused", Needs::Root, other_ledger),
];

/// What the programs of a flood write to.
struct Stage {
    data: Map,
    control: Map,
    ledger: Map,
}

/// Rows of the ledger: data records, control records.
const DATA: usize = 0;
const CONTROL: usize = 1;

/// After so many events of a CPU its program sends a control record.
const EVERY: u64 = 64;

/// A record: number, 0 or the data position, CPU, number of the event on that CPU.
struct Record {
    cpu: u64,
    sequence: u64,
}

fn parse(bytes: &[u8]) -> Result<Record, Stop> {
    let word = |at: usize| -> Result<u64, Stop> {
        let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
        Ok(u64::from_ne_bytes(word.ok_or("a short record")?))
    };
    Ok(Record { cpu: word(16)?, sequence: word(24)? })
}

impl Stage {
    fn rings(data: u32, control: u32) -> Result<Stage, Stop> {
        Ok(Stage { data: progs::ring(data)?, control: progs::ring(control)?, ledger: progs::ledger(2)? })
    }

    fn buffers() -> Result<Stage, Stop> {
        Ok(Stage { data: progs::perf_array()?, control: progs::perf_array()?, ledger: progs::ledger(2)? })
    }

    /// Sends a data record for each getppid(2) of this process, and a control record behind every 64th of a CPU.
    fn flood(&self) -> Result<Prog, Stop> {
        let rings = self.data.shape().map_type == skep_sys::bpf::MapType::RINGBUF;
        let (own, ledger) = (std::process::id(), fd(&self.ledger));
        let row = |row: usize, to: &str| {
            format!(
                "*(u32 *)(r10 -4) = {row}
                 r1 = map[fd:{ledger}]
                 r2 = r10
                 r2 += -4
                 call bpf_map_lookup_elem
                 if r0 == 0 goto out
                 {to} = r0
                 "
            )
        };
        let send = |map: &Map, at: i32, name: &str| match rings {
            true => format!(
                "r1 = map[fd:{}]
                 r2 = 32
                 r3 = 0
                 call bpf_ringbuf_reserve
                 if r0 != 0 goto room_{name}
                 r1 = 1
                 lock *(u64 *)(r9 +16) += r1
                 goto sent_{name}
               room_{name}:
                 *(u64 *)(r0 +0) = {at}
                 r1 = *(u64 *)(r10 -32)
                 *(u64 *)(r0 +8) = r1
                 *(u64 *)(r0 +16) = r7
                 *(u64 *)(r0 +24) = r8
                 r1 = r0
                 r2 = 1
                 call bpf_ringbuf_submit
                 r1 = 1
                 lock *(u64 *)(r9 +8) += r1
               sent_{name}:
                 ",
                fd(map)
            ),
            false => format!(
                "*(u64 *)(r10 -40) = {at}
                 *(u64 *)(r10 -24) = r7
                 *(u64 *)(r10 -16) = r8
                 r1 = r6
                 r2 = map[fd:{}]
                 w3 = -1
                 r4 = r10
                 r4 += -40
                 r5 = 32
                 call bpf_perf_event_output
                 r1 = 1
                 if r0 == 0 goto room_{name}
                 lock *(u64 *)(r9 +16) += r1
                 goto sent_{name}
               room_{name}:
                 lock *(u64 *)(r9 +8) += r1
               sent_{name}:
                 ",
                fd(map)
            ),
        };
        let position = match rings {
            true => format!("r1 = map[fd:{}]\nr2 = 3\ncall bpf_ringbuf_query\n", fd(&self.data)),
            false => "r0 = 0\n".to_owned(),
        };
        let text = format!(
            "r6 = r1
             r2 = *(u64 *)(r6 +8)
             if r2 != {GETPPID} goto out
             call bpf_get_current_pid_tgid
             r0 >>= 32
             if r0 != {own} goto out
             call bpf_get_smp_processor_id
             r7 = r0
             {}r8 = 1
             r8 = atomic64_fetch_add((u64 *)(r9 +0), r8)
             *(u64 *)(r10 -32) = 0
             {}r1 = r8
             r1 &= {}
             if r1 != {} goto out
             {position}*(u64 *)(r10 -32) = r0
             {}r1 = 1
             lock *(u64 *)(r9 +0) += r1
             {}out:
             r0 = 0
             exit",
            row(DATA, "r9"),
            send(&self.data, 0, "data"),
            EVERY - 1,
            EVERY - 1,
            row(CONTROL, "r9"),
            send(&self.control, 1, "control"),
        );
        load(ProgType::RAW_TRACEPOINT, &text)
    }

    /// Runs a flood of `calls` on each of these CPUs and accounts for every event.
    fn account(&self, cpus: &[u32], calls: u64) -> Outcome {
        let _alone = alone();
        let prog = self.flood()?;
        let pages = BufferPages { data: 2, control: 1 };
        let mut events = Events::new(Some(&self.data), Some(&self.control), pages)?;
        let mut ledger = LedgerReader::new(&self.ledger)?;
        let at = Attach::RawTracepoint { event: "sys_enter".into() };
        let attachment = Attacher::new().attach(&prog, ProgKind::RawTracepoint, &at)?;
        let mut tally = Tally::default();
        let mut failure = None;
        let mut handler = |source: Source, bytes: &[u8]| match tally.take(source, bytes) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                failure.get_or_insert(e);
                ControlFlow::Continue(())
            }
        };
        let running = AtomicUsize::new(cpus.len());
        std::thread::scope(|scope| -> Outcome {
            for cpu in cpus {
                let running = &running;
                scope.spawn(move || {
                    let mut set = CpuSet::new();
                    set.set(*cpu as usize);
                    let pinned = sched_setaffinity(None, &set).is_ok();
                    for _ in 0..calls {
                        let _ = rustix::process::getppid();
                    }
                    assert!(pinned, "a thread may run on a CPU that is online");
                    running.fetch_sub(1, Ordering::Release);
                });
            }
            while running.load(Ordering::Acquire) > 0 {
                let progress = events.drain(1000, &mut handler)?;
                if !progress.more {
                    std::thread::yield_now();
                }
            }
            Ok(())
        })?;
        drop(attachment);
        let progress = events.finish(Some(&mut ledger), &mut handler)?;
        ensure!(!progress.more && !progress.stopped, "not finished: {progress:?}");
        if let Some(Stop::Fail(text) | Stop::Skip(text)) = failure {
            return Err(Stop::Fail(text));
        }
        // The kernel does not run a program while it is running on the CPU already, in a task that was preempted.
        let missed = prog.info()?.recursion_misses;
        let made = calls * cpus.len() as u64;
        let rows = ledger.rows();
        let (data, control) = (rows[DATA], rows[CONTROL]);
        let produced = data.get(Ledger::Seen);
        ensure!(produced <= made && produced + missed >= made, "{produced} of {made}, {missed} missed");
        ensure_eq!(data.get(Ledger::Committed), tally.data);
        ensure_eq!(tally.data + data.lost(), produced);
        let controls = control.get(Ledger::Seen);
        ensure!(
            controls <= produced / EVERY && controls + cpus.len() as u64 > produced / EVERY,
            "{controls}"
        );
        ensure_eq!(tally.control + control.lost(), controls);
        ensure!(data.lost() > 0, "the flood lost nothing, so it tests nothing");
        ensure!(tally.control > 0, "no control records");
        Ok(())
    }
}

#[derive(Default)]
struct Tally {
    data: u64,
    control: u64,
    /// Last data record and last control record of each CPU.
    last: HashMap<u64, (Option<u64>, Option<u64>)>,
}

impl Tally {
    fn take(&mut self, source: Source, bytes: &[u8]) -> Outcome {
        let Record { cpu, sequence } = parse(bytes)?;
        let (data, control) = self.last.entry(cpu).or_default();
        match source {
            Source::Data => {
                self.data += 1;
                ensure!(data.is_none_or(|last| last < sequence), "cpu {cpu}: {sequence} after {data:?}");
                ensure!(
                    control.is_none_or(|last| last < sequence),
                    "cpu {cpu}: data {sequence} after control {control:?}"
                );
                *data = Some(sequence);
            }
            Source::Control => {
                self.control += 1;
                ensure!(
                    data.is_none_or(|last| last <= sequence),
                    "cpu {cpu}: control {sequence} after data {data:?}"
                );
                *control = Some(sequence);
            }
        }
        Ok(())
    }
}

fn online() -> Result<Vec<u32>, Stop> {
    Ok(cpu::online()?.iter().collect())
}

fn last_cpu() -> Outcome {
    let cpus = online()?;
    let last = cpus.last().copied().ok_or("no CPU")?;
    often(|| Stage::rings(16 << 10, 4 << 10)?.account(&[last], 700_000))
}

fn every_cpu() -> Outcome {
    let cpus = online()?;
    often(|| Stage::rings(16 << 10, 4 << 10)?.account(&cpus, 350_000))
}

/// Five times, on slow machines less often.
fn often(test: impl Fn() -> Outcome) -> Outcome {
    let begin = Instant::now();
    for _ in 0..5 {
        test()?;
        if begin.elapsed() > Duration::from_secs(10) {
            break;
        }
    }
    Ok(())
}

fn perf_buffers() -> Outcome {
    Stage::buffers()?.account(&online()?, 100_000)
}

fn perf_order() -> Outcome {
    let _alone = alone();
    let stage = Stage::buffers()?;
    let prog = stage.flood()?;
    let mut events = Events::new(Some(&stage.data), Some(&stage.control), BufferPages::default())?;
    ensure_eq!(events.fds().len(), 2 * online()?.len());
    let at = Attach::RawTracepoint { event: "sys_enter".into() };
    let attachment = Attacher::new().attach(&prog, ProgKind::RawTracepoint, &at)?;
    // Two records on each CPU in turn.
    for round in 0..3u64 {
        for cpu in online()? {
            let mut set = CpuSet::new();
            set.set(cpu as usize);
            sched_setaffinity(None, &set)?;
            let _ = (round, rustix::process::getppid(), rustix::process::getppid());
        }
    }
    drop(attachment);
    let mut seen = Vec::new();
    events.finish(None, &mut |_, bytes| {
        seen.extend(parse(bytes).ok().map(|record| (record.sequence / 2, record.cpu)));
        ControlFlow::Continue(())
    })?;
    ensure_eq!(seen.len(), 6 * online()?.len());
    ensure!(seen.is_sorted(), "{seen:?}");
    Ok(())
}

/// Writes a record of 24 bytes whose first word is the argument: to `data` if that is even, else to `control`,
/// with the data position behind it, or -1 for numbers above 1000.
fn writer(data: &Map, control: &Map) -> Result<Prog, Stop> {
    let text = format!(
        "r6 = *(u64 *)(r1 +0)
         r1 = map[fd:{}]
         r2 = 3
         call bpf_ringbuf_query
         r7 = r0
         if r6 < 1000 goto known
         r7 = -1
       known:
         r1 = map[fd:{}]
         if r6 & 1 goto control
         r1 = map[fd:{}]
       control:
         r2 = 24
         r3 = 0
         if r6 & 1 goto from_control
         call bpf_ringbuf_reserve
         if r0 == 0 goto full
         goto reserved
       from_control:
         call bpf_ringbuf_reserve
         if r0 == 0 goto full
       reserved:
         *(u64 *)(r0 +0) = r6
         *(u64 *)(r0 +8) = r7
         r1 = r0
         r2 = 0
         call bpf_ringbuf_submit
         r0 = 0
         exit
       full:
         r0 = 1
         exit",
        fd(data),
        fd(control),
        fd(data)
    );
    load(ProgType::RAW_TRACEPOINT, &text)
}

fn write(prog: &Prog, number: u64) -> Outcome {
    let out = prog.test_run(&TestRun { ctx_in: &number.to_ne_bytes(), ..TestRun::default() })?;
    ensure_eq!(out.retval, 0);
    Ok(())
}

fn numbers(events: &mut Events, limit: usize) -> Result<Vec<u64>, Stop> {
    let mut seen = Vec::new();
    events.drain(limit, &mut |source, bytes| {
        let number = bytes.first_chunk().map_or(u64::MAX, |word| u64::from_ne_bytes(*word));
        let odd = number % 2 == 1;
        seen.push(if odd == (source == Source::Control) { number } else { u64::MAX });
        ControlFlow::Continue(())
    })?;
    Ok(seen)
}

fn control_waits() -> Outcome {
    let (data, control) = (progs::ring(4096)?, progs::ring(4096)?);
    let prog = writer(&data, &control)?;
    let mut events = Events::new(Some(&data), Some(&control), BufferPages::default())?;
    for number in [1, 2, 4, 5, 7, 6, 9, 8] {
        write(&prog, number)?;
    }
    ensure_eq!(numbers(&mut events, 3)?, [1, 2, 4]);
    ensure_eq!(numbers(&mut events, 100)?, [5, 7, 6, 9, 8]);
    ensure_eq!(numbers(&mut events, 100)?, []);
    // One stream alone.
    drop(events);
    let mut events = Events::new(None, Some(&control), BufferPages::default())?;
    write(&prog, 11)?;
    ensure_eq!(numbers(&mut events, 100)?, [11]);
    Ok(())
}

fn full_data() -> Outcome {
    let (data, control) = (progs::ring(4096)?, progs::ring(4096)?);
    let prog = writer(&data, &control)?;
    let mut events = Events::new(Some(&data), Some(&control), BufferPages::default())?;
    let mut sent = 0;
    while write(&prog, 2).is_ok() {
        sent += 1;
    }
    write(&prog, 3)?;
    let seen = numbers(&mut events, 1000)?;
    ensure!(sent > 100 && seen.len() == sent + 1 && seen.last() == Some(&3), "{sent} sent, {seen:?}");
    Ok(())
}

fn control_nonsense() -> Outcome {
    let (data, control) = (progs::ring(4096)?, progs::ring(4096)?);
    let prog = writer(&data, &control)?;
    let mut events = Events::new(Some(&data), Some(&control), BufferPages::default())?;
    for number in [2, 1001, 4] {
        write(&prog, number)?;
    }
    // A position that does not exist: all that is there goes first.
    ensure_eq!(numbers(&mut events, 100)?, [2, 4, 1001]);
    Ok(())
}

fn exit_state() -> Outcome {
    for shared in [true, false] {
        let map = progs::word(shared)?;
        let state = ExitState::new(&map)?;
        ensure_eq!(state.code()?, None);
        set_word(&map, 1)?;
        ensure_eq!(state.code()?, Some(0));
        set_word(&map, (-6i64) as u64)?;
        ensure_eq!(state.code()?, Some(-7));
    }
    ensure_eq!(ExitState::new(&progs::ring(4096)?).expect_err("a ring").errno, Errno::EINVAL);
    Ok(())
}

fn limits() -> Outcome {
    let (data, control) = (progs::ring(4096)?, progs::ring(4096)?);
    let prog = writer(&data, &control)?;
    let mut events = Events::new(Some(&data), Some(&control), BufferPages::default())?;
    for number in 0..10 {
        write(&prog, 2 * number)?;
    }
    let mut count = 0;
    let mut stop_at = |events: &mut Events, limit, last| {
        events.drain(limit, &mut |_, _| {
            count += 1;
            if count == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    };
    let limited = stop_at(&mut events, 4, u64::MAX)?;
    ensure_eq!((limited.records, limited.more, limited.stopped), (4, true, false));
    let broken = stop_at(&mut events, 100, 6)?;
    ensure_eq!((broken.records, broken.more, broken.stopped), (2, true, true));
    let rest = stop_at(&mut events, 100, u64::MAX)?;
    ensure_eq!((rest.records, rest.more, rest.stopped), (4, false, false));
    Ok(())
}

fn other_maps() -> Outcome {
    let (ring, word) = (progs::ring(4096)?, progs::word(false)?);
    for (data, control) in [(&word, &word), (&ring, &word)] {
        let e = Events::new(Some(data), Some(control), BufferPages::default()).expect_err("an array");
        ensure_eq!(e.errno, Errno::EINVAL);
    }
    ensure!(
        Events::new(None, None, BufferPages::default())?.fds().is_empty(),
        "no maps, nothing to wait for"
    );
    Ok(())
}

fn other_ledger() -> Outcome {
    let e = LedgerReader::new(&progs::word(false)?).expect_err("an array");
    ensure!(e.detail.contains("values of 8 bytes"), "{e}");
    Ok(())
}

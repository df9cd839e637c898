//! The ring buffer, with a program that writes a record for each getppid(2) of this process.

use crate::harness::{Needs, Outcome, Stop, Test, ensure, ensure_eq};
use crate::insn::*;
use crate::progs::load;
use skep_sys::bpf::{Link, Map, MapCreate, MapType, Prog, ProgType, TestRun};
use skep_sys::ring::Ring;
use skep_sys::{Errno, SysError};
use std::ops::ControlFlow;
use std::os::fd::AsFd;

pub(crate) const TESTS: &[Test] = &[
    ("ring_yields_each_record_once_and_in_order", Needs::Root, in_order),
    ("ring_full_loses_and_goes_on", Needs::Root, full),
    ("ring_records_wrap_in_one_piece", Needs::Root, wraps),
    ("ring_skips_discarded_and_stops_on_break", Needs::Root, discarded),
    ("ring_is_drained_up_to_a_position", Needs::Root, up_to),
    ("ring_is_readable_while_it_holds_records", Needs::Root, readable),
    ("ring_has_one_consumer_that_goes_on_where_it_stopped", Needs::Root, one_consumer),
    ("ring_of_another_kind_is_refused", Needs::Root, wrong_kind),
    ("ring_with_a_damaged_position_is_refused", Needs::Root, damaged),
];

fn ring_map(size: u32) -> Result<Map, SysError> {
    Map::create(&MapCreate { map_type: MapType::RINGBUF, max_entries: size, ..MapCreate::default() })
}

/// A raw tracepoint program that, if its first argument is `number` and the caller is this process, writes
/// `size` bytes: the argument's successor in the context, then what reserve left there. Returns 1 if there
/// was no room.
fn writer(ring: &Map, size: i32, commit: i32, only: Option<i32>) -> Result<Prog, Stop> {
    let [lo, hi] = map_fd(R1, ring);
    let mut insns = vec![mov(R6, R1)];
    if let Some(number) = only {
        insns.extend([
            load64(R2, R6, 8),
            jne_imm(R2, number, 4),
            call(helper::GET_CURRENT_PID_TGID),
            rsh_imm(R0, 32),
            raw(0x56, R0, 0, 1, std::process::id() as i32),
            raw(0x05, 0, 0, 2, 0),
            mov_imm(R0, 0),
            exit(),
        ]);
    }
    insns.extend([
        lo,
        hi,
        mov_imm(R2, size),
        mov_imm(R3, 0),
        call(helper::RINGBUF_RESERVE),
        jne_imm(R0, 0, 2),
        mov_imm(R0, 1),
        exit(),
        load64(R2, R6, 0),
        store64(R0, 0, R2),
        store64(R0, (size - 8) as i16, R2),
        mov(R1, R0),
        mov_imm(R2, 0),
        call(commit),
        mov_imm(R0, 0),
        exit(),
    ]);
    load(ProgType::RAW_TRACEPOINT, &insns)
}

fn write(prog: &Prog, n: u64) -> Result<u32, SysError> {
    Ok(prog.test_run(&TestRun { ctx_in: &n.to_ne_bytes(), ..TestRun::default() })?.retval)
}

fn first_word(record: &[u8]) -> u64 {
    u64::from_ne_bytes(record[..8].try_into().expect("8 bytes"))
}

fn in_order() -> Outcome {
    let map = ring_map(1 << 16)?;
    // Number of getppid on the machine that runs the test: the tracepoint tells it.
    let number = if cfg!(target_arch = "x86_64") { 110 } else { 173 };
    let prog = writer(&map, 16, helper::RINGBUF_SUBMIT, Some(number))?;
    let mut ring = Ring::new(&map)?;
    let link = Link::raw_tracepoint(prog.as_fd(), "sys_enter", 0)?;
    for _ in 0..50 {
        let _ = rustix::process::getppid();
    }
    drop(link);
    let mut records = Vec::new();
    let drained = ring.drain(|record| {
        records.push(record.len());
        ControlFlow::Continue(())
    })?;
    ensure!(records.len() >= 50, "{} records of 50 calls", records.len());
    ensure!(records.iter().all(|len| *len == 16), "lengths: {records:?}");
    ensure_eq!(drained.bytes, 24 * drained.records);
    ensure_eq!(ring.consumer_pos(), ring.producer_pos());
    ensure_eq!(ring.drain(|_| ControlFlow::Continue(()))?.records, 0);
    Ok(())
}

fn full() -> Outcome {
    let map = ring_map(4096)?;
    let prog = writer(&map, 24, helper::RINGBUF_SUBMIT, None)?;
    let mut ring = Ring::new(&map)?;
    let (mut sent, mut lost, mut next) = (0, 0, 0u64);
    for round in 0..3 {
        for n in 0..200 {
            match write(&prog, round * 1000 + n)? {
                0 => sent += 1,
                _ => lost += 1,
            }
        }
        ring.drain(|record| {
            next += u64::from(first_word(record) == round * 1000 + next % 127);
            ControlFlow::Continue(())
        })?;
    }
    // 4096 bytes hold 127 records of 32, since the positions never meet when full.
    ensure_eq!((sent, lost), (3 * 127, 3 * 73));
    ensure_eq!(next, 3 * 127);
    Ok(())
}

fn wraps() -> Outcome {
    let map = ring_map(4096)?;
    // 1008 bytes take 1016, which does not divide 4096: every fourth record wraps.
    let prog = writer(&map, 1008, helper::RINGBUF_SUBMIT, None)?;
    let mut ring = Ring::new(&map)?;
    for n in 0..1000u64 {
        ensure_eq!(write(&prog, n)?, 0);
        let mut whole = false;
        ring.drain(|record| {
            let last = u64::from_ne_bytes(record[1000..].try_into().expect("8 bytes"));
            whole = record.len() == 1008 && first_word(record) == n && last == n;
            ControlFlow::Continue(())
        })?;
        ensure!(whole, "record {n} is torn");
    }
    ensure_eq!(ring.consumer_pos(), 1000 * 1016);
    Ok(())
}

fn discarded() -> Outcome {
    let map = ring_map(4096)?;
    let keep = writer(&map, 16, helper::RINGBUF_SUBMIT, None)?;
    let throw = writer(&map, 16, helper::RINGBUF_DISCARD, None)?;
    let mut ring = Ring::new(&map)?;
    for n in 0..10 {
        write(if n % 2 == 0 { &keep } else { &throw }, n)?;
    }
    let mut seen = Vec::new();
    let first = ring.drain(|record| {
        seen.push(first_word(record));
        if seen.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    ensure_eq!((first.records, first.discarded), (2, 1));
    // The record that broke the loop counts as read.
    let rest = ring.drain(|record| {
        seen.push(first_word(record));
        ControlFlow::Continue(())
    })?;
    ensure_eq!((rest.records, rest.discarded), (3, 4));
    ensure_eq!(seen, [0, 2, 4, 6, 8]);
    Ok(())
}

fn up_to() -> Outcome {
    let map = ring_map(4096)?;
    let prog = writer(&map, 16, helper::RINGBUF_SUBMIT, None)?;
    let mut ring = Ring::new(&map)?;
    let mut records = |limit: u64| -> Result<Vec<u64>, SysError> {
        let mut seen = Vec::new();
        ring.drain_to(limit, |record| {
            seen.push(first_word(record));
            ControlFlow::Continue(())
        })?;
        Ok(seen)
    };
    for n in 0..4 {
        write(&prog, n)?;
    }
    // Records take 24 bytes.
    ensure_eq!(records(0)?, []);
    ensure_eq!(records(48)?, [0, 1]);
    ensure_eq!(records(24)?, []);
    ensure_eq!(records(1 << 20)?, [2, 3]);
    Ok(())
}

fn readable() -> Outcome {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let map = ring_map(4096)?;
    let prog = writer(&map, 16, helper::RINGBUF_SUBMIT, None)?;
    let mut ring = Ring::new(&map)?;
    let ready = |ring: &Ring| poll(&mut [PollFd::new(ring, PollFlags::IN)], Some(&Timespec::default()));
    ensure_eq!(ready(&ring)?, 0);
    write(&prog, 1)?;
    ensure_eq!(ready(&ring)?, 1);
    ring.drain(|_| ControlFlow::Continue(()))?;
    ensure_eq!(ready(&ring)?, 0);
    Ok(())
}

fn one_consumer() -> Outcome {
    let map = ring_map(4096)?;
    let prog = writer(&map, 16, helper::RINGBUF_SUBMIT, None)?;
    let mut ring = Ring::new(&map)?;
    let second = Ring::new(&Map::from_id(map.info()?.id)?).expect_err("the first is there");
    ensure!(second.errno == Errno::EBUSY && second.detail.contains("has a consumer"), "{second}");
    write(&prog, 1)?;
    write(&prog, 2)?;
    ring.drain(|_| ControlFlow::Break(()))?;
    drop(ring);
    let mut seen = Vec::new();
    Ring::new(&map)?.drain(|record| {
        seen.push(first_word(record));
        ControlFlow::Continue(())
    })?;
    ensure_eq!(seen, [2]);
    Ok(())
}

fn wrong_kind() -> Outcome {
    let hash = Map::create(&MapCreate {
        map_type: MapType::HASH,
        key_size: 4,
        value_size: 4,
        max_entries: 4096,
        ..MapCreate::default()
    })?;
    ensure_eq!(Ring::new(&hash).expect_err("a hash").errno, Errno::EINVAL);
    Ok(())
}

fn damaged() -> Outcome {
    // What another process with the map's fd may write to the consumer position at any time.
    for bad in [1u64, 4096 * 100, u64::MAX - 4096 - 7, 8] {
        let map = ring_map(4096)?;
        // Read as a header, as position 8 makes it, the first word is a record of 256 MiB.
        write(&writer(&map, 16, helper::RINGBUF_SUBMIT, None)?, 0x0fff_fff0)?;
        let mut ring = Ring::new(&map)?;
        spoil_consumer_position(&map, bad)?;
        let refused = ring.drain(|_| ControlFlow::Continue(())).expect_err("damaged");
        ensure_eq!(refused.errno, Errno::EBADMSG);
    }
    Ok(())
}

/// Writes to the map's first page as another process with its fd would.
#[allow(unsafe_code, reason = "plays the hostile process that shares the map")]
fn spoil_consumer_position(map: &Map, position: u64) -> Outcome {
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
    let page = rustix::param::page_size();
    // SAFETY: a fresh mapping of one page at an address of the kernel's choice.
    let at = unsafe {
        mmap(std::ptr::null_mut(), page, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, map, 0)
    }?;
    // SAFETY: the page was mapped above, and is aligned.
    let word = unsafe { std::sync::atomic::AtomicU64::from_ptr(at.cast()) };
    word.store(position, std::sync::atomic::Ordering::Release);
    // SAFETY: the page mapped above, to which no reference is used from here on.
    unsafe { munmap(at, page) }?;
    Ok(())
}

//! Records.

use super::super::{Wake, helper};
use super::*;
use skep_ir::inst::Ledger;

#[test]
fn strings_are_read_straight_into_the_record() {
    let mut s = Script::kprobe();
    let args = vec![s.pid(), s.comm(), s.str_of(s.arg(1), AddrSpace::User, 64)];
    let stmt = s.printf(args);
    s.push(stmt);
    let out = s.lower();
    assert_eq!(out.count(|k| matches!(k, InstKind::EventReserve { size: 92, .. })), 1, "{}", out.text());
    assert_eq!(out.count(|k| matches!(k, InstKind::ProbeReadStr { cap: 64, .. })), 1);
    let copies = |k: &InstKind| {
        matches!(k, InstKind::MemCopy { .. } | InstKind::StrCopy { .. } | InstKind::MemSet { .. })
    };
    assert_eq!(out.count(copies), 0, "{}", out.text());
    assert!(out.module.funcs.values().all(|f| f.slots.is_empty()), "{}", out.text());
    let Event::Printf { args, .. } = &out.plan.events[0] else { panic!("no printf") };
    let places: Vec<_> = args.iter().map(|a| (a.offset, a.size)).collect();
    assert_eq!(places, [(8, 4), (12, 16), (28, 64)]);
}

#[test]
fn arguments_with_effects_are_evaluated_before_the_record_is_reserved() {
    let mut s = Script::begin();
    let map = s.map("", None, Type::I64);
    let target = Box::new(s.read(map, None));
    let step = s.expr(ExprKind::IncDec { target, step: 1, prefix: false }, Type::I64);
    let stmt = s.printf(vec![s.int(1), step, s.comm()]);
    s.push(stmt);
    let out = s.lower();
    let text = out.text();
    let (add, reserve) = (text.find("atomic"), text.find("event_reserve"));
    assert!(add.is_some() && add < reserve, "{text}");
}

#[test]
fn the_reader_is_woken_by_what_is_rare() {
    for (provider, kind, wakes) in [
        (Provider::Interval, ProgKind::PerfEvent, true),
        (Provider::Profile, ProgKind::PerfEvent, false),
        (Provider::Tracepoint, ProgKind::Tracepoint, false),
    ] {
        let mut s = Script::new(provider, kind);
        let stmt = s.printf(vec![s.pid()]);
        s.push(stmt);
        let woken =
            |s: &Script| s.lower().count(|k| matches!(k, InstKind::EventSubmit { wake: true, .. })) == 1;
        assert_eq!(woken(&s), wakes, "{provider:?}");
        s.options.wake = Wake::Always;
        assert!(woken(&s));
        s.options.wake = Wake::Never;
        assert!(!woken(&s));
        s.options.wake = Wake::Watermark;
        let out = s.lower();
        assert_eq!(out.calls(helper::RINGBUF_QUERY), 1);
        assert_eq!(out.count(|k| matches!(k, InstKind::EventSubmit { .. })), 2);
    }
}

#[test]
fn exit_sets_the_state_sends_a_record_and_leaves() {
    let mut s = Script::begin();
    let event = s.event(Event::Exit);
    let stmt = s.printf(vec![s.pid()]);
    s.push(StmtKind::Emit(event, vec![s.int(3)]));
    s.push(stmt);
    let out = s.lower();
    assert!(out.plan.exit_state.is_some());
    // What stands behind it is gone, and the record has a position among those of the data ring.
    assert_eq!(out.count(|k| matches!(k, InstKind::EventReserve { .. })), 1);
    assert_eq!(out.calls(helper::RINGBUF_QUERY), 1);
    let text = out.text();
    assert!(text.find("store") < text.find("event_reserve"), "{text}");
}

#[test]
fn a_probe_that_has_exited_does_nothing_more() {
    for (provider, kind, looks) in [
        (Provider::Interval, ProgKind::PerfEvent, 2),
        (Provider::Tracepoint, ProgKind::Tracepoint, 2),
        (Provider::Begin, ProgKind::RawTracepoint, 1),
    ] {
        let mut s = Script::new(provider, kind);
        let event = s.event(Event::Exit);
        s.push(StmtKind::Emit(event, vec![s.int(0)]));
        let out = s.lower();
        let state = out.plan.exit_state.expect("the script exits");
        let lookups = out.count(|k| matches!(k, InstKind::MapLookup { map, .. } if *map == state));
        assert_eq!(lookups, looks, "{provider:?}");
    }
}

#[test]
fn scripts_that_send_nothing_have_no_rings() {
    let mut s = Script::begin();
    let map = s.map("", None, Type::I64);
    s.push(StmtKind::SetMap { map, key: None, value: s.int(5) });
    let out = s.lower();
    assert_eq!((out.plan.data_ring, out.plan.control_ring, out.module.ledger), (None, None, None));
    assert_eq!(out.module.maps.len(), 1);
}

#[test]
fn the_full_ledger_counts_what_was_decided_and_what_was_sent() {
    let mut s = Script::kprobe();
    s.options.full_ledger = true;
    s.program.probes[0].predicate = Some(s.compare(CmpOp::Eq, s.pid(), s.int(1)));
    let stmt = s.printf(vec![s.pid()]);
    s.push(stmt);
    let out = s.lower();
    for column in [Ledger::Seen, Ledger::Committed, Ledger::Filtered] {
        assert_eq!(out.count(|k| matches!(k, InstKind::Count(c) if *c == column)), 1, "{column:?}");
    }
    // The process's id is asked for once.
    assert_eq!(out.calls(helper::GET_CURRENT_PID_TGID), 1);
}

#[test]
fn join_sends_strings_up_to_the_first_null_pointer() {
    let mut s = Script::kprobe();
    let event = s.event(Event::Join { offset: 0, size: 1024, separator: " ".into() });
    let pointer =
        Type::Ptr(Rc::new(Type::Ptr(Rc::new(Type::int(1, true)), AddrSpace::User)), AddrSpace::User);
    let argv = s.cast(s.arg(1), pointer);
    s.push(StmtKind::Emit(event, vec![argv]));
    let out = s.lower();
    assert_eq!(out.count(|k| matches!(k, InstKind::ProbeReadStr { cap: 1024, .. })), 16);
    assert_eq!(out.plan.events[0], Event::Join { offset: 8, size: 1024, separator: " ".into() });
}

#[test]
fn rings_have_whole_pages_and_a_power_of_two() {
    let mut s = Script::begin();
    let stmt = s.printf(vec![s.pid()]);
    s.push(stmt);
    s.options.data_ring_bytes = Some(100_000);
    let out = s.lower();
    let ring = out.plan.data_ring.expect("it prints");
    assert_eq!(out.module.maps[ring].max_entries, 131_072);
    s.options.data_ring_bytes = None;
    s.program.config.perf_rb_pages = 16;
    let out = s.lower();
    assert_eq!(out.module.maps[out.plan.data_ring.expect("it prints")].max_entries, 65_536);
}

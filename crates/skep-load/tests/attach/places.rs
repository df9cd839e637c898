//! Every kind of place that a program can be attached to.

use crate::harness::{Needs, Outcome, Stop, Test, ensure, ensure_eq, unless_unsupported};
use crate::progs::{GETPPID, call, counting, fd, load, load_for, load_tracing, word};
use skep_ir::spec::{Attach, Cpus, PerfEvent, Sample, When};
use skep_ir::{Feature, FeatureSet, ProgKind};
use skep_load::attach::{self, AttachError, Attacher, Attachment};
use skep_sys::bpf::{AttachType, ElemFlags, Map, Prog, ProgType};
use skep_sys::{Errno, cpu, fs};
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("places_are_told_as_scripts_write_them", Needs::Nothing, described),
    ("tracepoint_runs_until_dropped", Needs::Root, tracepoint),
    ("tracepoint_that_is_missing_is_explained", Needs::Root, missing_tracepoint),
    ("raw_tracepoint_runs_until_dropped", Needs::Root, raw_tracepoint),
    ("typed_tracepoint_runs_until_dropped", Needs::Root, typed_tracepoint),
    ("trampoline_runs_until_dropped", Needs::Root, trampoline),
    ("kprobe_runs_or_says_what_is_missing", Needs::Root, kprobe),
    ("kprobe_by_address_and_by_tracefs", Needs::Root, kprobe_ways),
    ("kprobes_many_by_link_or_one_each", Needs::Root, kprobe_multi),
    ("uprobe_runs_at_entry_and_return", Needs::Root, uprobe),
    ("uprobe_semaphore_is_raised_while_attached", Needs::Root, semaphore),
    ("uprobe_errors_are_explained", Needs::Root, uprobe_errors),
    ("uprobes_many_by_link_or_one_each", Needs::Root, uprobe_multi),
    ("timer_runs_on_one_cpu_and_on_each", Needs::Root, timers),
    ("timer_of_a_process_runs_in_all_its_threads", Needs::Root, timer_in_process),
    ("watchpoint_sees_writes_of_a_process", Needs::Root, watchpoint),
    ("perf_errors_are_explained", Needs::Root, perf_errors),
    ("once_and_signal_run_on_request", Needs::Root, on_request),
    ("iterator_is_read_in_a_pass", Needs::Root, iterator),
    ("iterator_pin_stays_and_is_not_replaced", Needs::Root, iterator_pin),
];

fn count(word: &Map) -> Result<u64, Stop> {
    let mut value = [0; 8];
    word.lookup_into(&[0; 4], &mut value, ElemFlags::NONE)?;
    Ok(u64::from_ne_bytes(value))
}

/// The program at `at` counts at least `times` while `act` runs, and nothing after the attachment is dropped.
fn counts(
    attacher: &Attacher,
    prog: &Prog,
    kind: ProgKind,
    at: &Attach,
    word: &Map,
    times: u64,
    mut act: impl FnMut(),
) -> Outcome {
    let attachment = attacher.attach(prog, kind, at)?;
    let before = count(word)?;
    act();
    let during = count(word)? - before;
    ensure!(during >= times, "{}: {during} of {times}", attach::describe(at));
    drop(attachment);
    skep_sys::process::wait_for_rcu();
    let before = count(word)?;
    act();
    ensure_eq!(count(word)?, before);
    Ok(())
}

fn without(feature: Feature) -> Attacher {
    Attacher::new().without(FeatureSet::default().with(feature))
}

/// The error of something that must not attach.
fn refused(result: Result<Attachment, AttachError>) -> Result<AttachError, Stop> {
    match result {
        Ok(_) => Err("attached".into()),
        Err(e) => Ok(e),
    }
}

fn described() -> Outcome {
    let uprobe = |ret| Attach::Uprobe {
        path: "/bin/sh".into(),
        offset: 4096,
        semaphore: 0,
        ret,
        pid: None,
        cookie: 0,
    };
    let kprobe = |symbol: &str, offset, ret| Attach::Kprobe { symbol: symbol.into(), offset, ret };
    let places = [
        (Attach::Once(When::Begin), "begin"),
        (Attach::Signal(10), "self:signal:SIGUSR1"),
        (kprobe("vfs_read", 0, true), "kretprobe:vfs_read"),
        (kprobe("vfs_read", 3, false), "kprobe:vfs_read+3"),
        (kprobe("", 0xff00, false), "kprobe:0xff00"),
        (uprobe(false), "uprobe:/bin/sh:0x1000"),
        (uprobe(true), "uretprobe:/bin/sh:0x1000"),
        (at_tasks(Some("tasks")), "iter:task:tasks"),
        (Attach::Perf(timer(Cpus::One, Sample::Period(1), None)), "a timer"),
    ];
    for (at, text) in places {
        ensure_eq!(attach::describe(&at), text);
    }
    Ok(())
}

fn tracepoint() -> Outcome {
    let word = word(false)?;
    let prog = load(ProgType::TRACEPOINT, &counting(&word))?;
    let at = Attach::Tracepoint { category: "syscalls".into(), event: "sys_enter_getppid".into() };
    for attacher in [Attacher::new(), without(Feature::PerfLink)] {
        counts(&attacher, &prog, ProgKind::Tracepoint, &at, &word, 100, || call(100))?;
    }
    let attachment = Attacher::new().attach(&prog, ProgKind::Tracepoint, &at)?;
    ensure_eq!((attachment.len(), attachment.is_empty(), attachment.links().count()), (1, false, 1));
    drop(attachment);
    let attachment = without(Feature::PerfLink).attach(&prog, ProgKind::Tracepoint, &at)?;
    ensure_eq!((attachment.len(), attachment.links().count()), (1, 0));
    Ok(())
}

fn missing_tracepoint() -> Outcome {
    let prog = load(ProgType::TRACEPOINT, "r0 = 0\nexit")?;
    for (category, event) in [("syscalls", "sys_enter_nothing"), ("nothing", "at_all"), ("..", "..")] {
        let at = Attach::Tracepoint { category: category.into(), event: event.into() };
        let e = refused(Attacher::new().attach(&prog, ProgKind::Tracepoint, &at))?;
        ensure!(e.is_absent() && e.to_string().contains("no such tracepoint"), "{e}");
        ensure!(e.help().is_some_and(|help| help.contains("-l")), "{e}");
    }
    Ok(())
}

/// Counts getppid(2) of this process from the arguments of `sys_enter`, which start at `ctx` or behind it.
fn counting_sys_enter(word: &Map) -> String {
    format!(
        "r2 = *(u64 *)(r1 +8)
         if r2 != {GETPPID} goto out
         call bpf_get_current_pid_tgid
         r0 >>= 32
         if r0 != {} goto out
         r2 = map[fd:{}][0]+0
         r1 = 1
         lock *(u64 *)(r2 +0) += r1
       out:
         r0 = 0
         exit",
        std::process::id(),
        fd(word)
    )
}

fn raw_tracepoint() -> Outcome {
    let word = word(false)?;
    let prog = load(ProgType::RAW_TRACEPOINT, &counting_sys_enter(&word))?;
    let at = Attach::RawTracepoint { event: "sys_enter".into() };
    counts(&Attacher::new(), &prog, ProgKind::RawTracepoint, &at, &word, 100, || call(100))?;
    let at = Attach::RawTracepoint { event: "nothing".into() };
    let e = refused(Attacher::new().attach(&prog, ProgKind::RawTracepoint, &at))?;
    ensure!(e.is_absent() && e.to_string().contains("no such tracepoint"), "{e}");
    Ok(())
}

fn typed_tracepoint() -> Outcome {
    let word = word(false)?;
    let text = counting_sys_enter(&word);
    let prog = load_tracing(AttachType::TRACE_RAW_TP, "btf_trace_sys_enter", &text)?;
    let at = Attach::RawTracepoint { event: "sys_enter".into() };
    counts(&Attacher::new(), &prog, ProgKind::TpBtf, &at, &word, 100, || call(100))
}

/// Reads from a device 100 times: calls of vfs_read.
fn read_zeroes() {
    use std::io::Read;
    if let Ok(mut file) = std::fs::File::open("/dev/zero") {
        for _ in 0..100 {
            let _ = file.read(&mut [0; 8]);
        }
    }
}

/// Counts what this process does.
fn counting_own(word: &Map) -> String {
    format!(
        "call bpf_get_current_pid_tgid
         r0 >>= 32
         if r0 != {} goto out
         r2 = map[fd:{}][0]+0
         r1 = 1
         lock *(u64 *)(r2 +0) += r1
       out:
         r0 = 0
         exit",
        std::process::id(),
        fd(word)
    )
}

fn trampoline() -> Outcome {
    let word = word(false)?;
    let at = Attach::Trampoline { function: "vfs_read".into(), module: String::new() };
    let places = [(AttachType::TRACE_FENTRY, ProgKind::Fentry), (AttachType::TRACE_FEXIT, ProgKind::Fexit)];
    for (attach_type, kind) in places {
        let prog = load_tracing(attach_type, "vfs_read", &counting_own(&word))?;
        counts(&Attacher::new(), &prog, kind, &at, &word, 100, read_zeroes)?;
    }
    Ok(())
}

fn at_vfs_read(ret: bool) -> Attach {
    Attach::Kprobe { symbol: "vfs_read".into(), offset: 0, ret }
}

/// Skips where the kernel has no kprobes, after looking at how that is said.
fn unless_no_kprobes(outcome: Outcome) -> Outcome {
    match outcome {
        Err(Stop::Fail(text)) if text.contains("CONFIG_KPROBES") => {
            ensure!(text.starts_with("cannot attach to "), "{text}");
            Err(Stop::Skip(text))
        }
        other => other,
    }
}

fn kprobe() -> Outcome {
    let word = word(false)?;
    let prog = load(ProgType::KPROBE, &counting_own(&word))?;
    for attacher in [Attacher::new(), without(Feature::PerfLink)] {
        for ret in [false, true] {
            let at = at_vfs_read(ret);
            unless_no_kprobes(counts(&attacher, &prog, ProgKind::Kprobe, &at, &word, 100, read_zeroes))?;
        }
    }
    let at = Attach::Kprobe { symbol: "no_such_function".into(), offset: 0, ret: false };
    let e = refused(Attacher::new().attach(&prog, ProgKind::Kprobe, &at))?;
    ensure!(e.is_absent() && e.to_string().contains("no such function"), "{e}");
    let at = Attach::Kprobe { symbol: "vfs_read".into(), offset: 1, ret: true };
    let e = refused(Attacher::new().attach(&prog, ProgKind::Kprobe, &at))?;
    ensure!(e.help().is_some() || e.to_string().contains("return probe"), "{e}");
    Ok(())
}

fn kprobe_ways() -> Outcome {
    let word = word(false)?;
    let prog = load(ProgType::KPROBE, &counting_own(&word))?;
    let (found, _) = skep_sys::proc::find_symbols(&["vfs_read"])?;
    let address = found.first().and_then(|found| found.first()).map_or(0, |found| found.addr);
    let at = Attach::Kprobe { symbol: String::new(), offset: address, ret: false };
    let attacher = Attacher::new();
    unless_no_kprobes(counts(&attacher, &prog, ProgKind::Kprobe, &at, &word, 100, read_zeroes))?;
    let tracefs = unless_unsupported("tracefs", fs::TraceFs::open())?;
    let own = format!("skep_{}/", std::process::id());
    let listed = || -> Result<usize, Stop> {
        let text = tracefs.read("kprobe_events".as_ref())?;
        Ok(String::from_utf8_lossy(&text).lines().filter(|line| line.contains(&own)).count())
    };
    // What a process that was killed has left; there are no processes with numbers this high.
    let stale = "skep_4194305/p0";
    let mut file = std::fs::File::from(tracefs.append("kprobe_events".as_ref())?);
    file.write_all(format!("p:{stale} vfs_read\n").as_bytes())?;
    drop(file);
    let attacher = Attacher::new().with_tracefs_kprobes();
    for ret in [false, true] {
        let at = at_vfs_read(ret);
        let attachment = attacher.attach(&prog, ProgKind::Kprobe, &at)?;
        ensure_eq!(listed()?, 1);
        drop(attachment);
        ensure_eq!(listed()?, 0);
        let text = tracefs.read("kprobe_events".as_ref())?;
        ensure!(!String::from_utf8_lossy(&text).contains(stale), "the event of a killed process is left");
        counts(&attacher, &prog, ProgKind::Kprobe, &at, &word, 100, read_zeroes)?;
        ensure_eq!(listed()?, 0);
    }
    let at = Attach::Kprobe { symbol: "no_such_function".into(), offset: 0, ret: false };
    let e = refused(attacher.attach(&prog, ProgKind::Kprobe, &at))?;
    ensure!(e.to_string().contains("no such function"), "{e:?}");
    let at = Attach::Kprobe { symbol: "vfs_read\n-:".into(), offset: 0, ret: false };
    ensure_eq!(refused(attacher.attach(&prog, ProgKind::Kprobe, &at))?.source.errno, Errno::EINVAL);
    Ok(())
}

fn kprobe_multi() -> Outcome {
    let word = word(false)?;
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let symbols = names(&["no_such_function", "vfs_read", "vfs_write", "do_exit"]);
    let at = Attach::KprobeMulti { symbols, ret: false };
    let single = load(ProgType::KPROBE, &counting_own(&word))?;
    let attacher = without(Feature::KprobeMulti);
    let check = |attacher: &Attacher, prog: &Prog| -> Outcome {
        counts(attacher, prog, ProgKind::Kprobe, &at, &word, 100, read_zeroes)?;
        let attachment = attacher.attach(prog, ProgKind::Kprobe, &at)?;
        ensure!(attachment.skipped().len() == 1, "{:?}", attachment.skipped());
        let skipped = attachment.skipped()[0].to_string();
        ensure!(skipped.contains("kprobe:no_such_function"), "{skipped}");
        let at = Attach::KprobeMulti { symbols: vec!["no_such_function".into()], ret: true };
        let e = refused(attacher.attach(prog, ProgKind::Kprobe, &at))?;
        ensure!(e.to_string().contains("kretprobe:no_such_function"), "{e}");
        Ok(())
    };
    unless_no_kprobes(check(&attacher, &single))?;
    let multi = load_for(ProgType::KPROBE, AttachType::TRACE_KPROBE_MULTI, &counting_own(&word))?;
    check(&Attacher::new(), &multi)
}

/// Probed functions: never inlined, so that their addresses are called.
#[inline(never)]
extern "C" fn probed(n: u64) -> u64 {
    std::hint::black_box(n) + 1
}

#[inline(never)]
extern "C" fn also_probed(n: u64) -> u64 {
    std::hint::black_box(n) + 2
}

fn call_probed() {
    for n in 0..100 {
        std::hint::black_box((probed(n), also_probed(n)));
    }
}

/// File offset of an address of this program.
fn file_offset(address: u64) -> Result<u64, Stop> {
    let maps = skep_sys::proc::maps(std::process::id())?;
    let map = maps.iter().find(|map| (map.start..map.end).contains(&address));
    let map = map.ok_or_else(|| format!("{address:#x} is not mapped"))?;
    Ok(address - map.start + map.offset)
}

fn own_path() -> Result<String, Stop> {
    Ok(std::env::current_exe()?.to_string_lossy().into_owned())
}

fn at_probed(ret: bool, pid: Option<u32>, cookie: u64) -> Result<Attach, Stop> {
    let offset = file_offset(probed as *const () as u64)?;
    Ok(Attach::Uprobe { path: own_path()?, offset, semaphore: 0, ret, pid, cookie })
}

/// Adds the cookie.
fn adding_cookie(word: &Map) -> String {
    format!(
        "call bpf_get_attach_cookie
         r2 = map[fd:{}][0]+0
         lock *(u64 *)(r2 +0) += r0
         r0 = 0
         exit",
        fd(word)
    )
}

fn uprobe() -> Outcome {
    let word = word(false)?;
    let prog = load(ProgType::KPROBE, &counting(&word))?;
    let own = std::process::id();
    for attacher in [Attacher::new(), without(Feature::PerfLink)] {
        for (ret, pid) in [(false, None), (true, None), (false, Some(own)), (true, Some(own))] {
            let at = at_probed(ret, pid, 0)?;
            counts(&attacher, &prog, ProgKind::Kprobe, &at, &word, 100, call_probed)?;
        }
    }
    // Another process's calls are its own, and the probe is in all threads of one.
    let attachment = Attacher::new().attach(&prog, ProgKind::Kprobe, &at_probed(false, Some(1), 0)?)?;
    let before = count(&word)?;
    call_probed();
    ensure_eq!(count(&word)?, before);
    drop(attachment);
    let at = at_probed(false, Some(own), 0)?;
    let thread = || {
        let _ = std::thread::spawn(call_probed).join();
    };
    counts(&Attacher::new(), &prog, ProgKind::Kprobe, &at, &word, 100, thread)?;
    let at = at_probed(false, None, 7)?;
    let cookies = load(ProgType::KPROBE, &adding_cookie(&word))?;
    counts(&Attacher::new(), &cookies, ProgKind::Kprobe, &at, &word, 700, call_probed)?;
    let e = refused(without(Feature::PerfLink).attach(&cookies, ProgKind::Kprobe, &at))?;
    ensure!(e.source.detail.contains("cookie"), "{e:?}");
    Ok(())
}

/// A semaphore in a part of the file that is mapped writable.
#[repr(C)]
struct Semaphore {
    /// Not zero, so that the linker keeps the pair in the file.
    marker: AtomicU64,
    users: AtomicU16,
}

/// With a semaphore, which all probes of a place have to share.
#[inline(never)]
extern "C" fn counted(n: u64) -> u64 {
    std::hint::black_box(n) + 3
}

static SEMAPHORE: Semaphore = Semaphore { marker: AtomicU64::new(0x5e4a), users: AtomicU16::new(0) };

fn semaphore() -> Outcome {
    let word = word(false)?;
    let prog = load(ProgType::KPROBE, &counting(&word))?;
    let semaphore = file_offset(std::ptr::from_ref(&SEMAPHORE.users) as u64)?;
    ensure!(SEMAPHORE.marker.load(Ordering::Relaxed) == 0x5e4a, "marker");
    let (path, offset) = (own_path()?, file_offset(counted as *const () as u64)?);
    let users = || SEMAPHORE.users.load(Ordering::SeqCst);
    ensure_eq!(users(), 0);
    let at = Attach::Uprobe { path, offset, semaphore, ret: false, pid: None, cookie: 0 };
    let attachment = Attacher::new().attach(&prog, ProgKind::Kprobe, &at)?;
    ensure_eq!((users(), counted(1)), (1, 4));
    drop(attachment);
    // The event goes when the kernel is back from the call that closed it, in work of this task.
    std::thread::sleep(Duration::from_millis(10));
    ensure_eq!(users(), 0);
    Ok(())
}

fn uprobe_errors() -> Outcome {
    let prog = load(ProgType::KPROBE, "r0 = 0\nexit")?;
    let at = |path: &str, pid| Attach::Uprobe {
        path: path.into(),
        offset: 64,
        semaphore: 0,
        ret: false,
        pid,
        cookie: 0,
    };
    let why = |at: &Attach| -> Result<String, Stop> {
        Ok(refused(Attacher::new().attach(&prog, ProgKind::Kprobe, at))?.to_string())
    };
    let text = why(&at("/no/such/file", None))?;
    ensure!(text.contains("/no/such/file does not exist"), "{text}");
    let text = why(&at("/proc", None))?;
    ensure!(text.contains("cannot probe this place of /proc"), "{text}");
    let text = why(&at("/proc/self/status", None))?;
    ensure!(text.contains("cannot be read or probed"), "{text}");
    let text = why(&at(&own_path()?, Some(0x3fff_fff0)))?;
    ensure!(text.contains("there is no process 1073741808"), "{text}");
    Ok(())
}

fn uprobe_multi() -> Outcome {
    let word = word(false)?;
    let offsets =
        vec![file_offset(probed as *const () as u64)?, file_offset(also_probed as *const () as u64)?];
    let at = |ret, cookies: &[u64], pid| Attach::UprobeMulti {
        path: own_path().unwrap_or_default(),
        offsets: offsets.clone(),
        semaphores: Vec::new(),
        cookies: cookies.to_vec(),
        ret,
        pid,
    };
    let own = Some(std::process::id());
    let multi = load_for(ProgType::KPROBE, AttachType::TRACE_UPROBE_MULTI, &counting(&word));
    let single = load(ProgType::KPROBE, &counting(&word))?;
    for (ret, pid) in [(false, None), (true, own)] {
        let at = at(ret, &[], pid);
        let attacher = without(Feature::UprobeMulti);
        counts(&attacher, &single, ProgKind::Kprobe, &at, &word, 200, call_probed)?;
        // Loaded for the other way, which the kernel of this test may not have.
        if let Ok(multi) = &multi {
            counts(&Attacher::new(), multi, ProgKind::Kprobe, &at, &word, 200, call_probed)?;
        }
    }
    // One place that cannot be probed: the others can, each by itself.
    if let Ok(multi) = &multi {
        let Attach::UprobeMulti { path, mut offsets, semaphores, cookies, ret, pid } = at(false, &[], None)
        else {
            return Ok(());
        };
        offsets.insert(0, 1 << 40);
        let at = Attach::UprobeMulti { path, offsets, semaphores, cookies, ret, pid };
        let attacher = Attacher::new();
        let attachment = attacher.attach(multi, ProgKind::Kprobe, &at)?;
        ensure_eq!((attachment.len(), attachment.skipped().len()), (2, 1));
        drop(attachment);
        counts(&attacher, multi, ProgKind::Kprobe, &at, &word, 200, call_probed)?;
        let cookies = load(ProgType::KPROBE, &adding_cookie(&word))?;
        let at = at_probed(false, None, 7)?;
        counts(&attacher, &cookies, ProgKind::Kprobe, &at, &word, 700, call_probed)?;
    }
    let cookies = load(ProgType::KPROBE, &adding_cookie(&word))?;
    let at = at(false, &[1000, 1], None);
    let attacher = without(Feature::UprobeMulti);
    counts(&attacher, &cookies, ProgKind::Kprobe, &at, &word, 100_100, call_probed)?;
    multi.map(drop).map_err(|_| Stop::Skip("links of many uprobes".into()))
}

const SOFTWARE: u32 = 1;

fn timer(cpus: Cpus, sample: Sample, pid: Option<u32>) -> PerfEvent {
    PerfEvent { perf_type: SOFTWARE, config: 0, sample, bp_len: 0, bp_type: 0, cpus, pid }
}

fn busy(time: Duration) {
    let begin = std::time::Instant::now();
    while begin.elapsed() < time {
        std::hint::black_box(begin.elapsed());
    }
}

fn timers() -> Outcome {
    let word = word(false)?;
    let prog = load(ProgType::PERF_EVENT, &counting(&word))?;
    let millisecond = Sample::Period(1_000_000);
    // A hundred or so; emulated machines are late.
    let wait = || std::thread::sleep(Duration::from_millis(100));
    for attacher in [Attacher::new(), without(Feature::PerfLink)] {
        let one = Attach::Perf(timer(Cpus::One, millisecond, None));
        counts(&attacher, &prog, ProgKind::PerfEvent, &one, &word, 5, wait)?;
        let all = Attach::Perf(timer(Cpus::Online, millisecond, None));
        let cpus = cpu::online()?.len();
        ensure_eq!(attacher.attach(&prog, ProgKind::PerfEvent, &all)?.len(), cpus);
        counts(&attacher, &prog, ProgKind::PerfEvent, &all, &word, 5 * cpus as u64, wait)?;
    }
    let often = Attach::Perf(timer(Cpus::Online, Sample::Frequency(500), None));
    counts(&Attacher::new(), &prog, ProgKind::PerfEvent, &often, &word, 5, || {
        busy(Duration::from_millis(200));
    })
}

fn timer_in_process() -> Outcome {
    let word = word(false)?;
    let prog = load(ProgType::PERF_EVENT, &counting_own(&word))?;
    let at = Attach::Perf(timer(Cpus::Online, Sample::Period(1_000_000), Some(std::process::id())));
    // In a thread that is there, and in one that comes later.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let before = std::thread::spawn(move || {
        let _ = wait.recv();
        busy(Duration::from_millis(100));
    });
    let attachment = Attacher::new().attach(&prog, ProgKind::PerfEvent, &at)?;
    ensure!(attachment.len() >= 2, "{} threads", attachment.len());
    drop(go);
    ensure!(before.join().is_ok(), "thread");
    let first = count(&word)?;
    ensure!(first >= 5, "{first} samples of a thread that was there");
    let after = std::thread::spawn(|| busy(Duration::from_millis(100)));
    ensure!(after.join().is_ok(), "thread");
    let second = count(&word)? - first;
    ensure!(second >= 5, "{second} samples of a thread that came later");
    Ok(())
}

static WATCHED: AtomicU64 = AtomicU64::new(0);

fn watchpoint() -> Outcome {
    let word = word(false)?;
    let prog = load(ProgType::PERF_EVENT, &counting(&word))?;
    let event = PerfEvent {
        perf_type: 5,
        config: std::ptr::from_ref(&WATCHED) as u64,
        sample: Sample::Period(1),
        bp_len: 8,
        bp_type: 2,
        cpus: Cpus::Online,
        pid: Some(std::process::id()),
    };
    let at = Attach::Perf(event.clone());
    let attachment = match Attacher::new().attach(&prog, ProgKind::PerfEvent, &at) {
        Err(e) if e.source.is_unsupported() || e.source.is_not_found() => {
            return Err(Stop::Skip(e.to_string()));
        }
        other => other?,
    };
    for n in 0..100 {
        WATCHED.store(n, Ordering::SeqCst);
    }
    // Slow machines are told to take fewer samples (kernel/events/core.c, `perf_sample_event_took`).
    let seen = count(&word)?;
    ensure!((50..=100).contains(&seen), "{seen} of 100 writes");
    drop(attachment);
    let odd = Attach::Perf(PerfEvent { config: event.config + 1, ..event });
    let e = refused(Attacher::new().attach(&prog, ProgKind::PerfEvent, &odd))?;
    ensure!(e.to_string().contains("watchpoint:0x"), "{e}");
    Ok(())
}

fn perf_errors() -> Outcome {
    let prog = load(ProgType::PERF_EVENT, "r0 = 0\nexit")?;
    let why = |event: PerfEvent| -> Result<AttachError, Stop> {
        refused(Attacher::new().attach(&prog, ProgKind::PerfEvent, &Attach::Perf(event)))
    };
    let e = why(timer(Cpus::Online, Sample::Period(1_000_000), Some(0x3fff_fff0)))?;
    ensure!(e.to_string().contains("there is no process 1073741808"), "{e}");
    let e = why(timer(Cpus::Online, Sample::Frequency(1 << 40), None))?;
    ensure!(e.help().is_some_and(|help| help.contains("perf_event_max_sample_rate")), "{e}");
    let none = PerfEvent { perf_type: 4000, ..timer(Cpus::One, Sample::Period(1), None) };
    ensure!(why(none)?.to_string().contains("PMU 4000"), "name");
    Ok(())
}

fn on_request() -> Outcome {
    let word = word(false)?;
    let prog = load(ProgType::RAW_TRACEPOINT, &counting(&word).replace("r0 = 0", "r0 = 3"))?;
    let attacher = Attacher::new();
    for at in [Attach::Once(When::Begin), Attach::Signal(10)] {
        let attachment = attacher.attach(&prog, ProgKind::RawTracepoint, &at)?;
        ensure!(attachment.is_empty() && attachment.links().count() == 0, "{attachment:?}");
        let before = count(&word)?;
        ensure_eq!(attach::run(&prog, &at)?, 3);
        ensure_eq!(count(&word)?, before + 1);
    }
    Ok(())
}

/// Counts tasks, and writes 8 bytes for each.
fn iterating(word: &Map) -> String {
    format!(
        "r2 = *(u64 *)(r1 +8)
         if r2 == 0 goto out
         r3 = map[fd:{}][0]+0
         r4 = 1
         lock *(u64 *)(r3 +0) += r4
         r1 = *(u64 *)(r1 +0)
         r1 = *(u64 *)(r1 +0)
         *(u64 *)(r10 -8) = 7
         r2 = r10
         r2 += -8
         r3 = 8
         call bpf_seq_write
       out:
         r0 = 0
         exit",
        fd(word)
    )
}

fn at_tasks(pin: Option<&str>) -> Attach {
    Attach::Iter { target: "task".into(), pin: pin.map(str::to_owned) }
}

fn iterator() -> Outcome {
    let word = word(false)?;
    let prog = load_tracing(AttachType::TRACE_ITER, "bpf_iter_task", &iterating(&word))?;
    let at = at_tasks(None);
    let attachment = Attacher::new().attach(&prog, ProgKind::Iter, &at)?;
    ensure_eq!((attachment.len(), attachment.pinned(), count(&word)?), (1, None, 0));
    for _ in 0..2 {
        let pass = attachment.pass(&at)?.ok_or("no pass")?;
        let (mut bytes, mut looks) = (0, 0);
        pass.run::<Stop>(|part| {
            (bytes, looks) = (bytes + part.len(), looks + 1);
            Ok(ControlFlow::Continue(()))
        })?;
        ensure!(bytes >= 8 * 5 && looks > 0, "{bytes} bytes, {looks}");
    }
    let pass = attachment.pass(&at)?.ok_or("no pass")?;
    pass.run::<Stop>(|_| Ok(ControlFlow::Break(())))?;
    let pass = attachment.pass(&at)?.ok_or("no pass")?;
    ensure!(pass.run(|_| Err(Stop::Skip("no".into()))).is_err(), "an error is handed on");
    let tasks = count(&word)?;
    ensure!(tasks >= 10, "{tasks} tasks");
    Ok(())
}

fn iterator_pin() -> Outcome {
    let word = word(false)?;
    let prog = load_tracing(AttachType::TRACE_ITER, "bpf_iter_task", &iterating(&word))?;
    let dir = match fs::bpffs_dir() {
        Err(e) if e.is_not_found() => return Err(Stop::Skip(e.to_string())),
        other => other?,
    };
    let name = format!("skep_attach_test_{}", std::process::id());
    let path = dir.join(&name);
    let at = at_tasks(Some(&name));
    let attachment = Attacher::new().attach(&prog, ProgKind::Iter, &at)?;
    let outcome = (|| -> Outcome {
        ensure_eq!(attachment.pinned(), Some(path.as_path()));
        ensure!(attachment.pass(&at)?.is_none(), "a pass of a pinned iterator");
        let e = refused(Attacher::new().attach(&prog, ProgKind::Iter, &at))?;
        ensure!(e.to_string().contains("is there already"), "{e}");
        drop(attachment);
        ensure!(std::fs::read(&path)?.len() >= 40, "nothing to read");
        Ok(())
    })();
    std::fs::remove_file(&path)?;
    outcome?;
    for (path, why) in [("/tmp/skep_no_bpffs", "bpffs only"), ("no/such/folder", "does not exist")] {
        let e = refused(Attacher::new().attach(&prog, ProgKind::Iter, &at_tasks(Some(path))))?;
        ensure!(e.to_string().contains(why), "{e}");
    }
    Ok(())
}

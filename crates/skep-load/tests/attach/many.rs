//! Many attachments at once.

use crate::harness::{Needs, Outcome, Stop, Test, ensure, ensure_eq};
use crate::progs::{call, counting, fd, load, word};
use skep_ir::ProgKind;
use skep_ir::spec::Attach;
use skep_load::attach::{AttachError, Attacher, Attachment, Job, detach_all};
use skep_sys::bpf::{ElemFlags, Map, Prog, ProgType};
use skep_sys::fs::TraceFs;

pub(crate) const TESTS: &[Test] = &[
    ("many_tracepoints_attach_and_detach", Needs::Root, tracepoints),
    ("many_uprobes_attach_and_detach", Needs::Root, uprobes),
    ("many_attachments_keep_the_order_of_one_place", Needs::Root, order),
    ("many_attachments_come_with_the_errors_of_some", Needs::Root, errors),
];

fn value(word: &Map) -> Result<u64, Stop> {
    let mut value = [0; 8];
    word.lookup_into(&[0; 4], &mut value, ElemFlags::NONE)?;
    Ok(u64::from_ne_bytes(value))
}

fn at_getppid() -> Attach {
    Attach::Tracepoint { category: "syscalls".into(), event: "sys_enter_getppid".into() }
}

fn attach_all(prog: &Prog, kind: ProgKind, places: &[Attach]) -> Vec<Result<Attachment, AttachError>> {
    let jobs: Vec<Job<'_>> = places.iter().map(|attach| Job { prog, kind, attach }).collect();
    Attacher::new().attach_all(&jobs)
}

fn tracepoints() -> Outcome {
    let word = word(false)?;
    let prog = load(ProgType::TRACEPOINT, &counting(&word))?;
    let events = TraceFs::open()?.available_events()?;
    let mut places: Vec<Attach> = events
        .into_iter()
        .filter(|(category, _)| category == "syscalls")
        .take(100)
        .map(|(category, event)| Attach::Tracepoint { category, event })
        .collect();
    places.push(at_getppid());
    let wanted = places.len();
    let attachments: Vec<Attachment> =
        attach_all(&prog, ProgKind::Tracepoint, &places).into_iter().flatten().collect();
    ensure!(attachments.len() + 1 >= wanted, "{} of {wanted}", attachments.len());
    call(100);
    ensure!(value(&word)? >= 100, "{} calls", value(&word)?);
    detach_all(attachments);
    skep_sys::process::wait_for_rcu();
    let before = value(&word)?;
    call(100);
    ensure_eq!(value(&word)?, before);
    Ok(())
}

fn uprobes() -> Outcome {
    let prog = load(ProgType::KPROBE, "r0 = 0\nexit")?;
    // A file that no process runs: nothing has to be changed in anybody's memory.
    let path = std::env::temp_dir().join(format!("skep_many_{}", std::process::id()));
    std::fs::write(&path, vec![0x90; 64 << 10])?;
    let at = |n: u64| Attach::Uprobe {
        path: path.to_string_lossy().into_owned(),
        offset: 16 * n,
        semaphore: 0,
        ret: false,
        pid: None,
        cookie: n,
    };
    let places: Vec<Attach> = (1..500).map(at).collect();
    let results = attach_all(&prog, ProgKind::Kprobe, &places);
    std::fs::remove_file(&path)?;
    let attachments = results.into_iter().collect::<Result<Vec<_>, _>>()?;
    detach_all(attachments);
    Ok(())
}

fn order() -> Outcome {
    let word = word(false)?;
    // Appends a digit, in the thread that calls.
    let digit = |digit: u64| {
        let text = format!(
            "call bpf_get_current_pid_tgid
             if w0 != {} goto out
             r2 = map[fd:{}][0]+0
             r1 = *(u64 *)(r2 +0)
             r1 *= 10
             r1 += {digit}
             *(u64 *)(r2 +0) = r1
           out:
             r0 = 0
             exit",
            rustix::thread::gettid().as_raw_nonzero(),
            fd(&word)
        );
        load(ProgType::TRACEPOINT, &text)
    };
    let progs = (1..=9).map(digit).collect::<Result<Vec<_>, _>>()?;
    let other = load(ProgType::TRACEPOINT, "r0 = 0\nexit")?;
    let at = at_getppid();
    let elsewhere: Vec<Attach> = TraceFs::open()?
        .available_events()?
        .into_iter()
        .filter(|(category, _)| category == "sched")
        .map(|(category, event)| Attach::Tracepoint { category, event })
        .collect();
    let kind = ProgKind::Tracepoint;
    let mut jobs: Vec<Job<'_>> = elsewhere.iter().map(|attach| Job { prog: &other, kind, attach }).collect();
    for (number, prog) in progs.iter().enumerate() {
        jobs.insert((number * 3).min(jobs.len()), Job { prog, kind, attach: &at });
    }
    ensure!(jobs.len() >= 24, "{} jobs go to one thread", jobs.len());
    let attachments: Vec<Attachment> = Attacher::new().attach_all(&jobs).into_iter().flatten().collect();
    call(1);
    ensure_eq!(value(&word)?, 123_456_789);
    detach_all(attachments);
    Ok(())
}

fn errors() -> Outcome {
    let places: Vec<Attach> = (0..30)
        .map(|n| Attach::RawTracepoint {
            event: if n % 3 == 0 { format!("nothing_{n}") } else { "sched_process_exit".into() },
        })
        .collect();
    // Kernels before 6.10 take a program once at a tracepoint.
    let one = || load(ProgType::RAW_TRACEPOINT, "r0 = 0\nexit");
    let progs = places.iter().map(|_| one()).collect::<Result<Vec<_>, _>>()?;
    let kind = ProgKind::RawTracepoint;
    let jobs: Vec<Job<'_>> =
        places.iter().zip(&progs).map(|(attach, prog)| Job { prog, kind, attach }).collect();
    for (n, result) in Attacher::new().attach_all(&jobs).into_iter().enumerate() {
        match result {
            Ok(_) => ensure!(n % 3 != 0, "{n} attached"),
            Err(e) => ensure!(e.place == format!("rawtracepoint:nothing_{n}"), "{n}: {e}"),
        }
    }
    Ok(())
}

//! The kernel's answers to attachments: `place` and `answer` in, the `message` that users read out.

use skep_ir::spec::{Attach, Cpus, PerfEvent, Sample, When};
use skep_load::attach::AttachError;
use skep_sys::{Errno, SysError};
use testkit::{Case, Outcome};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/attach", run)
}

fn run(case: &Case) -> Outcome {
    let place = place(case.required("place")?.trim())?;
    let mut message = String::new();
    for line in case.required("answer")?.lines() {
        let e = AttachError::new(&place, answer(line)?);
        message += &format!("{e}\n");
        if let Some(help) = e.help() {
            message += &format!("help: {help}\n");
        }
    }
    Ok(vec![("message", message)])
}

/// `CALL ERRNO [DETAIL]`
fn answer(line: &str) -> Result<SysError, String> {
    const CALLS: &[&str] = &[
        "open",
        "openat2",
        "write",
        "perf_event_open",
        "bpf(BPF_LINK_CREATE)",
        "bpf(BPF_RAW_TRACEPOINT_OPEN)",
        "bpf(BPF_PROG_TEST_RUN)",
        "bpf(BPF_OBJ_PIN)",
    ];
    let mut words = line.splitn(3, ' ');
    let (call, errno) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let call = CALLS.iter().find(|known| **known == call).ok_or_else(|| format!("call {call:?}"))?;
    let errno = (1..600).map(Errno).find(|e| e.name() == Some(errno));
    let errno = errno.ok_or_else(|| format!("errno in {line:?}"))?;
    Ok(SysError::new(call, errno).about(words.next().unwrap_or_default()))
}

/// A place in few words: its kind, then what it needs.
fn place(text: &str) -> Result<Attach, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
    let event = |perf_type, config, pid| {
        Attach::Perf(PerfEvent {
            perf_type,
            config,
            sample: Sample::Period(1),
            bp_len: 8,
            bp_type: 2,
            cpus: Cpus::Online,
            pid,
        })
    };
    Ok(match *words.as_slice() {
        ["begin"] => Attach::Once(When::Begin),
        ["tracepoint", category, event] => {
            Attach::Tracepoint { category: category.into(), event: event.into() }
        }
        ["rawtracepoint", event] => Attach::RawTracepoint { event: event.into() },
        [kind @ ("kprobe" | "kretprobe"), symbol, offset] => {
            Attach::Kprobe { symbol: symbol.into(), offset: number(offset)?, ret: kind == "kretprobe" }
        }
        ["kprobe", address] => Attach::Kprobe { symbol: String::new(), offset: number(address)?, ret: false },
        ["kprobes", ref symbols @ ..] => {
            let symbols = symbols.iter().map(|&symbol| symbol.to_owned()).collect();
            Attach::KprobeMulti { symbols, ret: false }
        }
        ["trampoline", function] => Attach::Trampoline { function: function.into(), module: String::new() },
        ["trampoline", module, function] => {
            Attach::Trampoline { function: function.into(), module: module.into() }
        }
        ["uprobe", path, offset, ref pid @ ..] => Attach::Uprobe {
            path: path.into(),
            offset: number(offset)?,
            semaphore: 0,
            ret: false,
            pid: pid.first().map(|pid| number(pid)).transpose()?.map(|pid| pid as u32),
            cookie: 0,
        },
        ["uprobes", path, count] => Attach::UprobeMulti {
            path: path.into(),
            offsets: (0..number(count)?).collect(),
            semaphores: Vec::new(),
            cookies: Vec::new(),
            ret: true,
            pid: None,
        },
        ["hardware"] => event(0, 3, None),
        ["timer"] => event(1, 0, None),
        ["timer", pid] => event(1, 0, Some(number(pid)? as u32)),
        ["software", config] => event(1, number(config)?, None),
        ["watchpoint", address] => event(5, number(address)?, Some(12)),
        ["iter", target] => Attach::Iter { target: target.into(), pin: None },
        ["iter", target, pin] => Attach::Iter { target: target.into(), pin: Some(pin.into()) },
        _ => return Err(format!("no place: {text}")),
    })
}

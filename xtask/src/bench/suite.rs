//! What is measured.

use super::measure::{Running, Spread, once};
use super::{Cell, Folder, Settings, Subject};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// Set in the environment, it makes a tracer print a line of the same name when its probes are attached.
const NOTICE: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";

/// Rounds of scripts with many probes, which the peer takes half a minute for.
const PROBE_RUNS: u32 = 2;

/// For anything that should take a second or two.
const LIMIT: Duration = Duration::from_secs(120);

/// Scripts that end at once: what remains is starting, compiling, attaching and cleaning up.
const STARTUP: &[(&str, &str)] = &[
    ("empty", "BEGIN { exit(); }"),
    ("one tracepoint", "BEGIN { exit(); } tracepoint:syscalls:sys_enter_getppid { @[comm] = count(); }"),
    ("kernel types", "BEGIN { printf(\"%d\\n\", ((struct task_struct *)curtask)->parent->pid); exit(); }"),
    (
        "three histograms",
        "BEGIN { exit(); } \
         tracepoint:syscalls:sys_exit_read /args.ret > 0/ { @read = hist(args.ret); } \
         tracepoint:syscalls:sys_exit_write /args.ret > 0/ { @written[comm] = hist(args.ret); } \
         tracepoint:syscalls:sys_exit_openat { @opened = lhist(args.ret, 0, 100, 10); }",
    ),
    ("all system calls", "BEGIN { exit(); } tracepoint:syscalls:sys_enter_* { @[probe] = count(); }"),
];

/// How many probes stand in one script, each with code of its own: costs must grow no faster than these.
const PROBES: &[usize] = &[125, 250, 500, 1000];

/// A script of about a hundred lines with something of everything, for the compiler's stages.
fn long_script() -> String {
    let mut script = String::from("BEGIN { printf(\"%s\\n\", \"start\"); exit(); }\n");
    for (n, call) in ["openat", "read", "write", "close", "mmap", "futex"].iter().enumerate() {
        let lines = format!(
            "tracepoint:syscalls:sys_enter_{call}\n/pid != {n}/\n{{\n    $now = nsecs;\n    @start{n}[tid] = $now;\n    \
             @calls[comm, {n}] = count();\n}}\n\
             tracepoint:syscalls:sys_exit_{call}\n/@start{n}[tid]/\n{{\n    $took = nsecs - @start{n}[tid];\n    \
             if ($took > 1000000) {{\n        printf(\"%s %d %d\\n\", comm, pid, $took / 1000);\n    }}\n    \
             @us[probe] = hist($took / 1000);\n    @total += $took;\n    delete(@start{n}, tid);\n}}\n"
        );
        script += &lines;
    }
    script
}

/// The body of a probe that does nothing.
const EMPTY: &str = "{ }";

/// What a probe does with each event.
const EVENTS: &[(&str, &str)] = &[
    ("empty", EMPTY),
    ("count", "{ @ = count(); }"),
    ("count by comm", "{ @[comm] = count(); }"),
    ("hist", "{ @ = hist(nsecs); }"),
    ("printf", "{ printf(\"%d %s\\n\", pid, comm); }"),
];

/// A benchmark: its name, and how to run it against some subjects. Results are rows of cells, one for each
/// subject.
pub(crate) struct Benchmark {
    pub(crate) name: String,
    kind: Kind,
}

enum Kind {
    Startup(&'static str),
    Compile(String),
    Event(&'static str),
    Probes(usize),
}

/// One line of the table: what, in which unit, and the cells.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) cells: Vec<Cell>,
}

/// Everything there is.
pub(crate) fn all() -> Vec<Benchmark> {
    let startup =
        STARTUP.iter().map(|(n, s)| Benchmark { name: format!("startup/{n}"), kind: Kind::Startup(s) });
    let hundred = std::iter::once(("hundred lines", long_script()));
    let compile = STARTUP.iter().map(|(n, s)| (*n, (*s).to_owned())).chain(hundred);
    let compile = compile.map(|(n, s)| Benchmark { name: format!("compile/{n}"), kind: Kind::Compile(s) });
    let probes = PROBES.iter().map(|n| Benchmark { name: format!("probes/{n}"), kind: Kind::Probes(*n) });
    let events = EVENTS.iter().map(|(n, s)| Benchmark { name: format!("event/{n}"), kind: Kind::Event(s) });
    startup.chain(compile).chain(probes).chain(events).collect()
}

impl Benchmark {
    pub(crate) fn run(&self, subjects: &[Subject], settings: &Settings) -> Result<Vec<Row>> {
        let folder = Folder::new()?;
        let rows = match &self.kind {
            Kind::Startup(script) => self.startup(&["-e", script], settings.runs, subjects, &folder),
            Kind::Compile(script) => self.compile(script, subjects, settings, &folder),
            Kind::Event(action) => self.event(action, subjects, settings, &folder)?,
            Kind::Probes(number) => self.probes(*number, subjects, &folder)?,
        };
        Ok(rows)
    }

    fn row(&self, what: &str, unit: &'static str, cells: Vec<Cell>) -> Row {
        let what = if what.is_empty() { self.name.clone() } else { format!("{} {what}", self.name) };
        Row { what, unit, cells }
    }

    fn is_empty_probe(&self) -> bool {
        matches!(self.kind, Kind::Event(EMPTY))
    }

    /// The subjects take turns, so that a machine that gets slower or faster meanwhile does so for all.
    fn startup(&self, words: &[&str], runs: u32, subjects: &[Subject], folder: &Folder) -> Vec<Row> {
        let mut samples: Vec<Result<Vec<_>>> = subjects.iter().map(|_| Ok(Vec::new())).collect();
        // The first round fills caches and is thrown away.
        for round in 0..=runs {
            for (subject, samples) in subjects.iter().zip(&mut samples) {
                let Ok(taken) = samples else { continue };
                match once(subject.command().args(words), &folder.0, LIMIT) {
                    Ok(sample) if round > 0 => taken.push(sample),
                    Ok(_) => {}
                    Err(e) => *samples = Err(e),
                }
            }
        }
        let cells = |value: fn(&super::measure::Sample) -> f64| {
            let cell = |taken: &Result<Vec<_>>| match taken {
                Ok(taken) => Cell::of(Spread::of(taken.iter().map(value))),
                Err(e) => Cell::Failed(format!("{e:#}")),
            };
            samples.iter().map(cell).collect()
        };
        vec![
            self.row("wall", "ms", cells(|s| s.wall.as_secs_f64() * 1e3)),
            self.row("CPU", "ms", cells(|s| s.cpu.as_secs_f64() * 1e3)),
            self.row("memory", "MiB", cells(|s| s.peak_memory as f64 / f64::from(1 << 20))),
        ]
    }

    /// From the start of a script with many probes to its end, attaching and detaching included.
    fn probes(&self, number: usize, subjects: &[Subject], folder: &Folder) -> Result<Vec<Row>> {
        let listed = crate::process::output(subjects[0].command().args(["-l", "tracepoint:*"]))?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let names: Vec<&str> = listed.lines().take(number).collect();
        if names.len() < number {
            bail!("this kernel has {} tracepoints", names.len());
        }
        let mut script = String::from("BEGIN { exit(); }\n");
        for (n, name) in names.iter().enumerate() {
            script += &format!("{name} {{ @calls[{n}, comm] = count(); }}\n");
        }
        let file = folder.0.join("probes.bt");
        std::fs::write(&file, script).context("cannot write the script")?;
        let file = file.display().to_string();
        Ok(self.startup(&[file.as_str()], PROBE_RUNS, subjects, folder))
    }

    /// A subject that knows `--timing FILE` writes `{"stages": [{"name": "parse", "ns": 1}, ...]}` there.
    fn compile(&self, script: &str, subjects: &[Subject], settings: &Settings, folder: &Folder) -> Vec<Row> {
        let file = folder.0.join("timing");
        let mut rows: Vec<Row> = Vec::new();
        for (column, subject) in subjects.iter().enumerate() {
            let mut stages: Vec<(String, Vec<f64>)> = Vec::new();
            for _ in 0..settings.runs {
                let _ = std::fs::remove_file(&file);
                let mut command = subject.command();
                command.arg("--timing").arg(&file).args(["-e", script]);
                // Not knowing the option is no fault.
                let told = once(&mut command, &folder.0, LIMIT).ok().and_then(|_| std::fs::read(&file).ok());
                let Some(told) = told else { break };
                let timing: Value = serde_json::from_slice(&told).unwrap_or_default();
                for stage in timing["stages"].as_array().into_iter().flatten() {
                    let (Some(name), Some(ns)) = (stage["name"].as_str(), stage["ns"].as_f64()) else {
                        continue;
                    };
                    match stages.iter_mut().find(|(known, _)| known == name) {
                        Some((_, values)) => values.push(ns / 1e3),
                        None => stages.push((name.to_owned(), vec![ns / 1e3])),
                    }
                }
            }
            for (name, values) in stages {
                let what = format!("{} {name}", self.name);
                let place = rows.iter().position(|r| r.what == what).unwrap_or_else(|| {
                    let cells = subjects.iter().map(|_| Cell::Absent).collect();
                    rows.push(Row { what, unit: "µs", cells });
                    rows.len() - 1
                });
                rows[place].cells[column] = Cell::of(Spread::of(values));
            }
        }
        rows
    }

    /// How much longer a system call takes while it is traced.
    fn event(
        &self,
        action: &str,
        subjects: &[Subject],
        settings: &Settings,
        folder: &Folder,
    ) -> Result<Vec<Row>> {
        let script = |action: &str| format!("tracepoint:syscalls:sys_enter_getppid {action}");
        let mut traced: Vec<Result<Vec<Traced>>> = subjects.iter().map(|_| Ok(Vec::new())).collect();
        let mut empty: Vec<Result<Vec<Traced>>> = subjects.iter().map(|_| Ok(Vec::new())).collect();
        let mut untraced = Vec::new();
        for _ in 0..settings.runs {
            untraced.push(load(settings)?);
            for (column, subject) in subjects.iter().enumerate() {
                // What an empty probe costs is measured beside each of the others, except itself.
                let beside = (!self.is_empty_probe()).then_some((&mut empty[column], EMPTY));
                for (taken, action) in beside.into_iter().chain([(&mut traced[column], action)]) {
                    let Ok(list) = taken else { continue };
                    match trace(subject, &script(action), settings, folder) {
                        Ok(sample) => list.push(sample),
                        Err(e) => *taken = Err(e),
                    }
                }
            }
        }
        let base = Spread::of(untraced).context("there is at least one round")?;
        let cells = |value: &dyn Fn(&Traced) -> f64| {
            let cell = |taken: &Result<Vec<Traced>>| match taken {
                Ok(taken) => Cell::of(Spread::of(taken.iter().map(value))),
                Err(e) => Cell::Failed(format!("{e:#}")),
            };
            traced.iter().map(cell).collect::<Vec<_>>()
        };
        // Of the quickest calls each: noise only ever adds.
        let mut rows = vec![self.row("", "ns", cells(&|t| t.ns - base.min))];
        if !self.is_empty_probe() {
            let over = |(traced, empty): (&Result<Vec<Traced>>, &Result<Vec<Traced>>)| match (traced, empty) {
                (Ok(traced), Ok(empty)) => match Spread::of(empty.iter().map(|t| t.ns)) {
                    Some(empty) => Cell::of(Spread::of(traced.iter().map(|t| t.ns - empty.min))),
                    None => Cell::Absent,
                },
                (Err(e), _) | (_, Err(e)) => Cell::Failed(format!("{e:#}")),
            };
            rows.push(self.row("over an empty probe", "ns", traced.iter().zip(&empty).map(over).collect()));
        }
        rows.push(self.row("tracer CPU", "ms", cells(&|t| t.cpu.as_secs_f64() * 1e3)));
        if action.contains("printf") {
            let share = |t: &Traced| 100.0 * (1.0 - t.lines as f64 / f64::from(settings.calls()));
            rows.push(self.row("not printed", "%", cells(&|t| share(t).max(0.0))));
        }
        Ok(rows)
    }
}

/// One load under one tracer.
struct Traced {
    /// Per call.
    ns: f64,
    /// Of the tracer, from its start to its end: subtract what startup/one tracepoint takes.
    cpu: Duration,
    /// Lines of the tracer's output that stem from events.
    lines: usize,
}

fn trace(subject: &Subject, script: &str, settings: &Settings, folder: &Folder) -> Result<Traced> {
    let mut command = subject.command();
    command.args(["-e", script]).env(NOTICE, "1");
    let mut running = Running::start(&mut settings.elsewhere(&command), &folder.0)?;
    running.wait_for(NOTICE, LIMIT)?;
    let ns = load(settings)?;
    running.interrupt()?;
    let (status, sample) = running.finish(LIMIT)?;
    let output = running.output()?;
    if !status.success() {
        bail!("{status}: {}", crate::process::tail(&output, 5));
    }
    let lines =
        output.lines().filter(|line| line.split_once(' ').is_some_and(|(_, comm)| comm == "xtask")).count();
    Ok(Traced { ns, cpu: sample.cpu, lines })
}

/// Nanoseconds per call of a load in a process of its own, whose `comm` is the same for all.
fn load(settings: &Settings) -> Result<f64> {
    let mut command = Command::new(&settings.xtask);
    command.args(["bench-load", "getppid", &settings.events.to_string(), "--cpu", &settings.cpu.to_string()]);
    let output = crate::process::output(&mut command)?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("the load says {text:?} instead of a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_of_the_compiler_are_read_from_who_tells_them() {
        let folder = Folder::new().expect("a temporary folder can be made");
        let tells = folder.0.join("tells.sh");
        let told = r#"{"stages":[{"name":"parse","ns":2000},{"name":"load","ns":5500}]}"#;
        std::fs::write(&tells, format!("[ \"$1\" = --timing ] && echo '{told}' > \"$2\"")).expect("written");
        let subject =
            |words: &[&str]| Subject { name: "x", words: words.iter().map(|w| (*w).to_owned()).collect() };
        let subjects = [subject(&["sh", &tells.display().to_string()]), subject(&["false"])];
        let settings = Settings { runs: 2, events: 1, cpu: 0, xtask: "xtask".into() };
        let benchmark = Benchmark { name: "compile/x".into(), kind: Kind::Compile("BEGIN { }".into()) };
        let rows = benchmark.run(&subjects, &settings).expect("it runs");
        let shown: Vec<_> =
            rows.iter().map(|r| (r.what.as_str(), r.cells[0].text(), r.cells[1].text())).collect();
        let expected = [
            ("compile/x parse", "2.00 (2.00)".to_owned(), "-".to_owned()),
            ("compile/x load", "5.50 (5.50)".to_owned(), "-".to_owned()),
        ];
        assert_eq!(shown, expected);
    }
}

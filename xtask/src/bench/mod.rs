//! `cargo xtask bench`: what skep costs, beside its peer.

mod load;
mod measure;
mod suite;

pub(crate) use load::main as load_main;

use crate::{cargo, process, ui};
use anyhow::{Context, Result, bail};
use measure::Spread;
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use suite::Row;

const HELP: &str = "\
usage: cargo xtask bench [OPTION...] [NAME...]

Runs the benchmarks whose names contain one of the NAMEs, or all, and prints least (median) values. Needs root.

  --bin COMMAND     what to measure (skep trace, built for release)
  --peer COMMAND    what to compare with (bpftrace, if it is in PATH)
  --runs N          rounds (7)
  --events N        system calls in a round of event benchmarks (500000)
  --cpu K           CPU that they are made on (the last)
  --json FILE       write the values, too
  --list            only print the names

startup/*  scripts that end at once: wall time, CPU time and peak memory with children
compile/*  time of each stage of the compiler, of commands that know --timing FILE
probes/*   scripts with many probes, from start to end
event/*    what a traced getppid(2) costs more than an untraced one and than one with an empty probe, and the CPU
           time of the whole tracer

Exit code: 1 when a benchmark of COMMAND failed.";

/// How to measure.
pub(crate) struct Settings {
    runs: u32,
    events: u32,
    cpu: usize,
    xtask: PathBuf,
}

impl Settings {
    /// Calls that a load really makes: see `load::getppid`.
    fn calls(&self) -> u32 {
        self.events + self.events / 10
    }

    /// The command on all CPUs but the one that is measured, where there are others.
    fn elsewhere(&self, command: &Command) -> Command {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let others: Vec<String> = (0..cpus).filter(|c| *c != self.cpu).map(|c| c.to_string()).collect();
        let mut moved = match others.is_empty() {
            true => Command::new(command.get_program()),
            false => {
                let mut taskset = Command::new("taskset");
                taskset.args(["--cpu-list", &others.join(",")]).arg(command.get_program());
                taskset
            }
        };
        moved.args(command.get_args());
        moved.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        moved
    }
}

/// A column of the table.
pub(crate) struct Subject {
    name: &'static str,
    words: Vec<String>,
}

impl Subject {
    fn new(name: &'static str, command: &str) -> Result<Subject> {
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let Some(program) = words.first() else { bail!("no command is given for {name}") };
        let there = if program.contains('/') {
            process::is_executable(program.as_ref())
        } else {
            process::find_program(program).is_some()
        };
        if !there {
            bail!("{program} cannot be run");
        }
        Ok(Subject { name, words })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }
}

/// What one subject got.
#[derive(Debug)]
pub(crate) enum Cell {
    Value(Spread),
    /// It does not take part.
    Absent,
    /// Why there is no value.
    Failed(String),
}

impl Cell {
    fn of(spread: Option<Spread>) -> Cell {
        spread.map_or(Cell::Absent, Cell::Value)
    }

    fn text(&self) -> String {
        match self {
            Cell::Value(spread) => format!("{} ({})", number(spread.min), number(spread.median)),
            Cell::Absent => "-".to_owned(),
            Cell::Failed(_) => "failed".to_owned(),
        }
    }
}

/// Three digits where they mean something.
fn number(value: f64) -> String {
    let decimals = if value.abs() < 10.0 { 2 } else { usize::from(value.abs() < 100.0) };
    format!("{value:.decimals$}")
}

/// The subcommand. Returns the exit code.
pub(crate) fn main(mut parser: lexopt::Parser) -> Result<u8> {
    use lexopt::prelude::*;
    let last_cpu = std::thread::available_parallelism().map_or(0, |n| n.get() - 1);
    let xtask = std::env::current_exe().context("cannot tell where xtask is")?;
    let mut settings = Settings { runs: 7, events: 500_000, cpu: last_cpu, xtask };
    let (mut bin, mut peer, mut json, mut list, mut names) = (None, None, None, false, Vec::new());
    while let Some(argument) = parser.next()? {
        match argument {
            Long("bin") => bin = Some(parser.value()?.string()?),
            Long("peer") => peer = Some(parser.value()?.string()?),
            Long("runs") => settings.runs = parser.value()?.parse()?,
            Long("events") => settings.events = parser.value()?.parse()?,
            Long("cpu") => settings.cpu = parser.value()?.parse()?,
            Long("json") => json = Some(parser.value()?.string()?),
            Long("list") => list = true,
            Long("help") | Short('h') => {
                ui::out(HELP);
                return Ok(0);
            }
            Value(name) => names.push(name.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let mut benchmarks = suite::all();
    benchmarks.retain(|b| names.is_empty() || names.iter().any(|name| b.name.contains(name.as_str())));
    if list {
        benchmarks.iter().for_each(|b| ui::out(&b.name));
        return Ok(0);
    }
    if benchmarks.is_empty() || settings.runs == 0 || settings.events == 0 {
        bail!(crate::Usage("nothing to run: cargo xtask bench --list shows what there is".into()));
    }
    if !process::is_root() {
        bail!("tracing needs root");
    }
    let mut subjects = vec![Subject::new("skep", &bin.map_or_else(build, Ok)?)?];
    let in_path = || process::find_program("bpftrace").map(|path| path.display().to_string());
    match peer.or_else(in_path) {
        Some(command) => subjects.push(Subject::new("peer", &command)?),
        None => ui::note("bench: no peer: bpftrace is not in PATH, and --peer names none"),
    }
    let mut rows = Vec::new();
    for benchmark in &benchmarks {
        ui::note(&format!("bench: {}", benchmark.name));
        rows.extend(benchmark.run(&subjects, &settings)?);
    }
    ui::out(&table(&rows, &subjects));
    if let Some(path) = json {
        std::fs::write(&path, values(&rows, &subjects)).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(u8::from(rows.iter().any(|row| matches!(row.cells[0], Cell::Failed(_)))))
}

/// Builds what users get, and tells how to call it.
fn build() -> Result<String> {
    ui::note("bench: building skep");
    process::output(cargo::cargo().args(["build", "--quiet", "--release", "--package", "skep"]))?;
    Ok(format!("{} trace", cargo::target_dir()?.join("release/skep").display()))
}

/// `what | skep | peer | ratio`, and below it why cells are empty.
fn table(rows: &[Row], subjects: &[Subject]) -> String {
    let mut header = vec!["what".to_owned(), "unit".to_owned()];
    header.extend(subjects.iter().map(|s| s.name.to_owned()));
    header.push("ratio".to_owned());
    let mut lines = vec![header];
    let mut faults = String::new();
    for row in rows {
        let mut line = vec![row.what.clone(), row.unit.to_owned()];
        line.extend(row.cells.iter().map(Cell::text));
        line.push(match row.cells.as_slice() {
            [Cell::Value(own), Cell::Value(peer)] if peer.min > 0.0 => format!("{:.2}", own.min / peer.min),
            _ => String::new(),
        });
        lines.push(line);
        for (cell, subject) in row.cells.iter().zip(subjects) {
            if let Cell::Failed(why) = cell {
                faults += &format!("{} of {} failed: {why}\n", row.what, subject.name);
            }
        }
    }
    let right: Vec<usize> = (2..subjects.len() + 3).collect();
    (ui::table(&lines, &right) + &faults).trim_end().to_owned()
}

fn values(rows: &[Row], subjects: &[Subject]) -> String {
    let mut text = String::new();
    for row in rows {
        let mut line = json!({ "what": row.what, "unit": row.unit });
        for (cell, subject) in row.cells.iter().zip(subjects) {
            line[subject.name] = match cell {
                Cell::Value(spread) => json!({ "min": spread.min, "median": spread.median }),
                Cell::Absent => json!(null),
                Cell::Failed(why) => json!({ "failed": why }),
            };
        }
        text += &format!("{line}\n");
    }
    text
}

/// A temporary folder; removed on drop.
pub(crate) struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("xtask-bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_ratios_where_both_have_values() {
        let spread = |min: f64, median: f64| Cell::Value(Spread { min, median });
        let row = |what: &str, cells| Row { what: what.into(), unit: "ms", cells };
        let rows = [
            row("a", vec![spread(5.0, 6.0), spread(20.0, 123.4)]),
            row("b", vec![Cell::Failed("why".into()), Cell::Absent]),
        ];
        let subject = |name| Subject { name, words: vec![] };
        let expected = "what  unit         skep        peer  ratio\n\
                        a     ms    5.00 (6.00)  20.0 (123)   0.25\n\
                        b     ms         failed           -\n\
                        b of skep failed: why";
        assert_eq!(table(&rows, &[subject("skep"), subject("peer")]), expected);
    }
}

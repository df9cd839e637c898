//! `cargo xtask test`: everything that has to hold, in one command.

mod cargo_test;
mod run_cases;

use crate::cases::parse::Case;
use crate::{cargo, cases, deps, fuzz, process, ui, vm};
use anyhow::{Context, Result, bail};
use run_cases::Selection;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const HELP: &str = "\
usage: cargo xtask test [--no-vm|--host-only|--vm-only] [--verbose] [FILTER]

Runs, in this order:
  lint   formatting, clippy
  deps   the rules for dependencies
  unit   cargo test of the whole workspace
  fuzz   inputs that once failed a fuzz target
  host   run cases on this machine's kernel
  vm     run cases under the kernels of the matrix
and shows what passed and failed, and everything that was skipped with the reason.

  --no-vm      all but vm
  --host-only  host alone
  --vm-only    vm alone
  --verbose    show the names of passing tests too
  FILTER       only tests whose name contains it; lint, deps and fuzz are left out

Exit code: 0 when nothing failed.";

/// For one machine: boot and all its cases.
const MACHINE_TIME: Duration = Duration::from_secs(40 * 60);

/// An emulated machine beside others is this much slower than the time limits of cases assume.
const MACHINE_FACTOR: &str = "6";

/// What became of one stage.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    /// What failed; a name, or a line that tells what went wrong.
    pub(crate) failed: Vec<String>,
    /// Name and reason.
    pub(crate) skipped: Vec<(String, String)>,
}

impl Tally {
    fn pass(&mut self, name: &str, settings: &Settings) {
        self.passed += 1;
        if settings.verbose {
            ui::out(&format!("pass  {name}"));
        }
    }

    fn fail(&mut self, name: String, details: &str) {
        ui::out(&format!("fail  {name}"));
        for line in details.lines() {
            ui::out(&format!("      {line}"));
        }
        self.failed.push(name);
    }

    fn skip(&mut self, name: String, reason: String) {
        ui::out(&format!("skip  {name}  ({reason})"));
        self.skipped.push((name, reason));
    }
}

struct Settings {
    verbose: bool,
    filter: Option<String>,
    machines: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Lint,
    Deps,
    Unit,
    Fuzz,
    Host,
    Vm,
}

use Stage::{Deps, Fuzz, Host, Lint, Unit, Vm};

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Lint => "lint",
            Deps => "deps",
            Unit => "unit",
            Fuzz => "fuzz",
            Host => "host",
            Vm => "vm",
        }
    }
}

/// The subcommand. Returns the exit code.
pub(crate) fn main(mut parser: lexopt::Parser) -> Result<u8> {
    use lexopt::prelude::*;
    let mut settings = Settings { verbose: false, filter: None, machines: true };
    let mut stages = vec![Lint, Deps, Unit, Fuzz, Host, Vm];
    while let Some(argument) = parser.next()? {
        match argument {
            Long("no-vm") => stages.retain(|s| *s != Vm),
            Long("host-only") => stages.retain(|s| *s == Host),
            Long("vm-only") => stages.retain(|s| *s == Vm),
            Long("verbose") => settings.verbose = true,
            Long("help") | Short('h') => {
                ui::out(HELP);
                return Ok(0);
            }
            Value(text) if settings.filter.is_none() => settings.filter = Some(text.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    if stages.is_empty() {
        bail!(crate::Usage("--host-only and --vm-only leave nothing to run".into()));
    }
    if settings.filter.is_some() {
        stages.retain(|s| matches!(s, Unit | Host | Vm));
    }
    settings.machines = stages.contains(&Vm);
    let mut results = Vec::new();
    for stage in stages {
        ui::out(&format!("== {}", stage.name()));
        let started = Instant::now();
        let tallies = run(stage, &settings);
        let time = started.elapsed();
        let names = tallies.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(", ");
        ui::out(&format!("== {names}: {:.0} s\n", time.as_secs_f64()));
        results.extend(tallies.into_iter().map(|(name, tally)| (name, tally, time)));
    }
    ui::out(&summary(&results));
    Ok(u8::from(results.iter().any(|(_, tally, _)| !tally.failed.is_empty())))
}

/// Runs a stage; one that goes wrong as a whole has failed.
fn run(stage: Stage, settings: &Settings) -> Vec<(String, Tally)> {
    let named = |tally: Result<Tally>| {
        let tally = tally.unwrap_or_else(|e| {
            let mut tally = Tally::default();
            tally.fail(format!("{}: {e:#}", stage.name()), "");
            tally
        });
        vec![(stage.name().to_owned(), tally)]
    };
    match stage {
        Lint => named(Ok(lint(settings))),
        Deps => named(dependencies(settings)),
        Unit => named(cargo_test::run(settings)),
        Fuzz => named(regressions(settings)),
        Host => named(host(settings)),
        Vm => machines(settings).unwrap_or_else(|e| named(Err(e))),
    }
}

fn lint(settings: &Settings) -> Tally {
    let mut tally = Tally::default();
    let checks: [(&str, &[&str]); 2] = [
        ("fmt", &["fmt", "--all", "--check"]),
        ("clippy", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    ];
    for (name, arguments) in checks {
        if process::output(cargo::cargo().args([name, "--version"])).is_err() {
            tally.skip(name.to_owned(), format!("cargo {name} is not installed"));
            continue;
        }
        match cargo::cargo().args(arguments).output() {
            Ok(output) if output.status.success() => tally.pass(name, settings),
            Ok(output) => {
                let text = [output.stdout, output.stderr].concat();
                tally.fail(name.to_owned(), &process::tail(&String::from_utf8_lossy(&text), 100));
            }
            Err(e) => tally.fail(format!("{name}: {e}"), ""),
        }
    }
    tally
}

fn dependencies(settings: &Settings) -> Result<Tally> {
    let mut tally = Tally::default();
    let (members, breaches) = deps::run()?;
    for breach in breaches {
        tally.fail(breach, "");
    }
    if tally.failed.is_empty() {
        tally.pass(&format!("{members} crates"), settings);
    }
    Ok(tally)
}

fn regressions(settings: &Settings) -> Result<Tally> {
    let mut tally = Tally::default();
    if fuzz::has_regressions() {
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
        if process::find_program(&compiler).is_none() {
            tally.skip("regressions".into(), format!("no C++ compiler: {compiler}"));
            return Ok(tally);
        }
        for (target, fault) in fuzz::replay()? {
            match fault {
                None => tally.pass(&target, settings),
                Some(text) => tally.fail(target, &text),
            }
        }
    }
    Ok(tally)
}

/// The run cases of the workspace.
fn run_cases(settings: &Settings) -> Result<Vec<Case>> {
    let mut cases = cases::load(&[crate::root().join("tests/run")])?;
    cases.retain(|case| settings.filter.as_ref().is_none_or(|f| case.id.contains(f)));
    Ok(cases)
}

/// The binary under test and the runner, out of reach of builds that go on meanwhile: cargo replaces xtask
/// itself when it builds the workspace's tests.
struct Programs {
    folder: PathBuf,
    skep: PathBuf,
    xtask: PathBuf,
}

impl Programs {
    fn gather() -> Result<Programs> {
        process::output(cargo::cargo().args(["build", "--quiet", "--package", "skep"]))?;
        let target = cargo::target_dir()?;
        let folder = target.join("xtask").join(std::process::id().to_string());
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let (skep, xtask) = (folder.join("skep"), folder.join("xtask"));
        let programs = Programs { folder, skep, xtask };
        // The own file may have been replaced, but is still there for those who run it.
        for (from, to) in
            [(target.join("debug/skep"), &programs.skep), ("/proc/self/exe".into(), &programs.xtask)]
        {
            std::fs::copy(&from, to)
                .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        }
        Ok(programs)
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn host(settings: &Settings) -> Result<Tally> {
    let selection = Selection::of("host", &run_cases(settings)?);
    if selection.is_empty() {
        return Ok(Tally::default());
    }
    if settings.machines {
        // Some cases are about the machines themselves. What is wrong is told by the stage that is about them.
        let _ = vm::Lab::prepare(&vm::kernel_names());
    }
    let programs = Programs::gather()?;
    let mut command = Command::new(&programs.xtask);
    command.args(selection.arguments(&programs.skep, "1"));
    if !settings.machines {
        command.env(vm::SWITCHED_OFF, "1");
    }
    selection.run_here(&mut command, settings)
}

/// One tally for each kernel.
fn machines(settings: &Settings) -> Result<Vec<(String, Tally)>> {
    let cases = run_cases(settings)?;
    let names = vm::kernel_names();
    let selections = names.iter().map(|name| Selection::of(name, &cases)).filter(|s| !s.is_empty());
    let selections: Vec<Selection> = selections.collect();
    let chosen: Vec<&str> = selections.iter().map(Selection::kernel).collect();
    let lab = match vm::Lab::prepare(&chosen) {
        Ok(lab) => lab,
        Err(e) => {
            let missing = vm::missing_packages();
            if missing.is_empty() {
                return Err(e);
            }
            let reason = format!("no machines: {} missing", missing.join(", "));
            return Ok(selections.iter().map(|s| (s.title(), s.skip_all(&reason))).collect());
        }
    };
    let programs = Programs::gather()?;
    let folder = crate::root().canonicalize().context("cannot tell the workspace's folder")?;
    // From here on nothing is started but machines.
    crate::interrupt::catch()?;
    let vm_settings = vm::Settings { timeout: MACHINE_TIME, ..vm::Settings::default() };
    let run = |selection: &Selection| {
        let mut command = vec![programs.xtask.clone().into_os_string()];
        command.extend(selection.arguments(&programs.skep, MACHINE_FACTOR));
        selection.run_in(&lab, &folder, &command, &vm_settings, settings)
    };
    let run = &run;
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = selections.iter().map(|s| (s.title(), scope.spawn(move || run(s)))).collect();
        threads.into_iter().map(|(title, thread)| (title, thread.join())).collect::<Vec<_>>()
    });
    let tally = |(title, joined): (String, std::thread::Result<Tally>)| match joined {
        Ok(tally) => Ok((title, tally)),
        Err(_) => bail!("the thread of {title} panicked"),
    };
    results.into_iter().map(tally).collect()
}

/// The table, then everything that was skipped or failed, by name.
fn summary(results: &[(String, Tally, Duration)]) -> String {
    let header = ["stage", "passed", "failed", "skipped", "seconds"].map(str::to_owned).to_vec();
    let mut rows = vec![header];
    for (name, tally, time) in results {
        let (failed, skipped) = (tally.failed.len(), tally.skipped.len());
        let cells = [name.clone(), tally.passed.to_string(), failed.to_string(), skipped.to_string()];
        rows.push([cells.to_vec(), vec![format!("{:.0}", time.as_secs_f64())]].concat());
    }
    let mut text = ui::table(&rows, &[1, 2, 3, 4]);
    for (name, tally, _) in results {
        for (case, reason) in &tally.skipped {
            text += &format!("skipped  {name}: {case}  ({reason})\n");
        }
    }
    for (name, tally, _) in results {
        for case in &tally.failed {
            text += &format!("FAILED   {name}: {case}\n");
        }
    }
    text.trim_end().to_owned()
}

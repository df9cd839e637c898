//! `cargo xtask fuzz`: the fuzz targets, with the compiler that builds everything else.
//!
//! cargo-fuzz and a nightly compiler add the address sanitizer, which finds little in code without `unsafe`;
//! coverage, which makes a fuzzer more than a random generator, is to be had from the stable compiler.

use crate::cargo::{cargo, metadata, target_dir};
use crate::{process, ui};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const HELP: &str = "\
usage: cargo xtask fuzz [--minutes N] [--replay] [TARGET...]

Runs each fuzz target, or those named, for N minutes (1). What it learns goes to fuzz/corpus, inputs that fail
to fuzz/artifacts: once the fault is mended, put them into fuzz/regressions/TARGET, whence they are replayed
by cargo xtask test. Needs a C++ compiler.

  --replay    only replay fuzz/regressions, without instrumentation

Exit code: 0 when nothing failed.";

/// What libFuzzer needs to see where an input leads: a counter for each edge, and a table of their places.
const COVERAGE: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Ccodegen-units=1",
];

/// Arithmetic that wraps is a fault here, in optimised code too.
const CHECKS: &[&str] = &["-Cdebug-assertions", "-Coverflow-checks"];

/// The subcommand. Returns the exit code.
pub(crate) fn main(mut parser: lexopt::Parser) -> Result<u8> {
    use lexopt::prelude::*;
    let (mut minutes, mut replay_only, mut wanted) = (1.0, false, Vec::new());
    while let Some(argument) = parser.next()? {
        match argument {
            Long("minutes") => minutes = parser.value()?.parse::<f64>()?,
            Long("replay") => replay_only = true,
            Long("help") | Short('h') => {
                ui::out(HELP);
                return Ok(0);
            }
            Value(target) => wanted.push(target.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    if replay_only {
        let faults =
            replay()?.into_iter().filter_map(|(target, fault)| Some(format!("{target}: {}", fault?)));
        let faults: Vec<String> = faults.collect();
        faults.iter().for_each(|fault| ui::out(fault));
        return Ok(u8::from(!faults.is_empty()));
    }
    let targets = targets()?;
    if let Some(unknown) = wanted.iter().find(|w| !targets.contains(w)) {
        bail!(crate::Usage(format!("there is no fuzz target {unknown}, but {}", targets.join(", "))));
    }
    let chosen = targets.into_iter().filter(|t| wanted.is_empty() || wanted.contains(t));
    let chosen: Vec<String> = chosen.collect();
    let folder = build(&chosen, true)?;
    let mut failed = false;
    for target in chosen {
        ui::note(&format!("fuzz: {target} for {minutes} min"));
        failed |= !fuzz(&folder.join(&target), &target, minutes)?;
    }
    Ok(u8::from(failed))
}

/// One target for some time. Whether it found nothing.
fn fuzz(binary: &Path, target: &str, minutes: f64) -> Result<bool> {
    let home = home();
    let (corpus, artifacts) = (home.join("corpus").join(target), home.join("artifacts").join(target));
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let mut command = Command::new(binary);
    command.arg(&corpus).args(regressions(target).first().and_then(|f| f.parent()));
    command.arg(format!("-max_total_time={}", (minutes * 60.0).max(1.0) as u64));
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args(["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"]);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {target}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        let runs = text
            .lines()
            .find_map(|l| l.strip_prefix("stat::number_of_executed_units:"))
            .unwrap_or("?")
            .trim();
        ui::out(&format!("{target}: {runs} inputs, nothing found"));
    } else {
        ui::out(&format!("{target}: {}\n{}", output.status, process::tail(&text, 30)));
    }
    Ok(output.status.success())
}

/// Runs every input of fuzz/regressions once: `(target, what went wrong)`. Empty when there are none.
pub(crate) fn replay() -> Result<Vec<(String, Option<String>)>> {
    let targets: Vec<String> = targets()?.into_iter().filter(|t| !regressions(t).is_empty()).collect();
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let folder = build(&targets, false)?;
    let mut results = Vec::new();
    for target in targets {
        let mut command = Command::new(folder.join(&target));
        let output = command.args(regressions(&target)).args(["-timeout=20", "-rss_limit_mb=2048"]).output();
        let output = output.with_context(|| format!("cannot start {target}"))?;
        let fault = || process::tail(&String::from_utf8_lossy(&output.stderr), 30);
        results.push((target, (!output.status.success()).then(fault)));
    }
    Ok(results)
}

/// Whether there is anything to replay.
pub(crate) fn has_regressions() -> bool {
    targets().is_ok_and(|targets| targets.iter().any(|t| !regressions(t).is_empty()))
}

fn home() -> PathBuf {
    crate::root().join("fuzz")
}

/// The inputs of a target that failed once.
fn regressions(target: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(home().join("regressions").join(target)).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.is_file()).collect();
    files.sort();
    files
}

/// The binaries of the fuzz package.
fn targets() -> Result<Vec<String>> {
    let manifest = home().join("Cargo.toml");
    if !manifest.exists() {
        bail!("there are no fuzz targets: {} does not exist", manifest.display());
    }
    let metadata = metadata(&["--no-deps", "--manifest-path", &manifest.to_string_lossy()])?;
    let targets = metadata["packages"][0]["targets"].as_array().cloned().unwrap_or_default();
    let bins = targets.iter().filter(|t| t["kind"][0] == "bin");
    Ok(bins.filter_map(|t| t["name"].as_str().map(str::to_owned)).collect())
}

/// Builds targets and returns the folder where they are.
fn build(targets: &[String], coverage: bool) -> Result<PathBuf> {
    let version = process::output(Command::new("rustc").arg("-vV"))?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host =
        version.lines().find_map(|l| l.strip_prefix("host: ")).context("rustc does not tell its host")?;
    // A folder of its own, since other flags would make cargo build everything anew at each change.
    let folder = target_dir()?.join(if coverage { "fuzz" } else { "fuzz-replay" });
    let mut command = cargo();
    command.args(["build", "--release", "--manifest-path"]).arg(home().join("Cargo.toml"));
    // With a target named, the flags do not reach build scripts.
    command.args(["--target", host, "--target-dir"]).arg(&folder);
    for target in targets {
        command.args(["--bin", target]);
    }
    let flags = if coverage { [COVERAGE, CHECKS].concat() } else { CHECKS.to_vec() };
    command.env("RUSTFLAGS", flags.join(" "));
    ui::note("fuzz: building");
    process::output(&mut command).context("the fuzz targets do not build")?;
    Ok(folder.join(host).join("release"))
}

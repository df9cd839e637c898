//! The unit stage: `cargo test`, its output read for names.

use super::{Settings, Tally};
use crate::cargo::cargo;
use crate::ui;
use anyhow::{Context, Result};
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

pub(crate) fn run(settings: &Settings) -> Result<Tally> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).args(&settings.filter);
    // Tests of the standard harness that skip themselves say so on stdout, which it hides otherwise.
    command.args(["--", "--show-output"]);
    // One pipe for both streams: cargo names the target on stderr, its tests report on stdout.
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let second = writer.try_clone().context("cannot make a pipe")?;
    let mut child =
        command.stdin(Stdio::null()).stdout(writer).stderr(second).spawn().context("cannot start cargo")?;
    drop(command);
    let mut reading = Reading::default();
    for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if reading.line(line.trim_end()) || settings.verbose {
            ui::out(line.trim_end());
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    let mut tally = reading.finish();
    if !status.success() && tally.failed.is_empty() {
        tally.fail(format!("cargo test: {status}"), "");
    }
    Ok(tally)
}

/// What the lines so far have told.
#[derive(Default)]
struct Reading {
    tally: Tally,
    target: String,
    /// Names that were told to be skipped; their tests count as passed for their harness.
    skipped: HashSet<String>,
}

impl Reading {
    /// Takes a line; whether it is worth showing.
    fn line(&mut self, line: &str) -> bool {
        let trimmed = line.trim_start();
        if let Some(rest) = trimmed.strip_prefix("Running ") {
            self.target = target(rest);
            return true;
        }
        if let Some(name) = trimmed.strip_prefix("Doc-tests ") {
            self.target = format!("{name} (documentation)");
            return true;
        }
        if let Some((name, reason)) = trimmed.strip_prefix("skipped: ").and_then(|r| r.split_once(": ")) {
            let name = format!("{}: {name}", self.target);
            if self.skipped.insert(name.clone()) {
                self.tally.passed = self.tally.passed.saturating_sub(1);
                self.tally.skipped.push((name, reason.to_owned()));
            }
            return true;
        }
        let Some((name, verdict)) = line.strip_prefix("test ").and_then(|r| r.split_once(" ... ")) else {
            return !is_noise(line);
        };
        let name = format!("{}: {}", self.target, name.trim_end());
        match verdict.split_once(", ").unwrap_or((verdict, "ignored")) {
            ("ok", _) => self.tally.passed += 1,
            ("ignored", reason) => self.tally.skipped.push((name, reason.to_owned())),
            _ => self.tally.failed.push(name),
        }
        !verdict.starts_with("ok")
    }

    fn finish(self) -> Tally {
        self.tally
    }
}

/// `unittests src/lib.rs (/.../deps/skep_sys-0123)` as the name of the crate and the file.
fn target(rest: &str) -> String {
    let (file, binary) = rest.split_once(" (").unwrap_or((rest, ""));
    let binary = binary.trim_end_matches(')').rsplit('/').next().unwrap_or("");
    let name = binary.rsplit_once('-').map_or(binary, |(name, _)| name);
    if file.starts_with("unittests") { name.to_owned() } else { format!("{name} ({file})") }
}

/// Lines of the harness that only frame others.
fn is_noise(line: &str) -> bool {
    line.is_empty()
        || line == "successes:"
        || line.starts_with("running ")
        || line.starts_with("test result: ok. 0 passed; 0 failed; 0 ignored")
        || (line.starts_with("    ") && !line.contains("panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_verdicts_and_reasons_are_read() {
        let mut reading = Reading::default();
        for line in [
            "     Running unittests src/lib.rs (target/debug/deps/skep_sys-0123abc)",
            "running 4 tests",
            "test a::one ... ok",
            "test a::two ... FAILED",
            "test a::three ... ignored, takes an hour",
            "test a::four ... ignored",
            "     Running tests/kernel/main.rs (target/debug/deps/kernel-77)",
            "test maps::create   ... ok",
            "test maps::arena    ... ok",
            "skipped: maps::arena: needs a newer kernel: 6.9",
            "skipped: maps::arena: needs a newer kernel: 6.9",
            "   Doc-tests skep_btf",
            "test crates/skep-btf/src/lib.rs - (line 5) ... ok",
        ] {
            reading.line(line);
        }
        let tally = reading.finish();
        assert_eq!(tally.passed, 3);
        assert_eq!(tally.failed, ["skep_sys: a::two"]);
        let skipped: Vec<_> = tally.skipped.iter().map(|(n, r)| format!("{n}|{r}")).collect();
        let expected = [
            "skep_sys: a::three|takes an hour",
            "skep_sys: a::four|ignored",
            "kernel (tests/kernel/main.rs): maps::arena|needs a newer kernel: 6.9",
        ];
        assert_eq!(skipped, expected);
    }
}

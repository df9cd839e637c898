//! The stages of run cases: the runner's events, from this machine or out of a virtual one.

use super::{Settings, Tally};
use crate::cases::parse::Case;
use crate::vm::{Ending, Lab, Sink};
use anyhow::{Context, Result};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// The cases that belong to one kernel.
pub(crate) struct Selection {
    kernel: String,
    ids: Vec<String>,
}

impl Selection {
    pub(crate) fn of(kernel: &str, cases: &[Case]) -> Selection {
        let ids = cases.iter().filter(|c| c.kernels.iter().any(|k| k == kernel)).map(|c| c.id.clone());
        Selection { kernel: kernel.to_owned(), ids: ids.collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(crate) fn kernel(&self) -> &str {
        &self.kernel
    }

    /// The stage's name in the table.
    pub(crate) fn title(&self) -> String {
        format!("vm {}", self.kernel)
    }

    /// None of them can run.
    pub(crate) fn skip_all(&self, reason: &str) -> Tally {
        let mut tally = Tally::default();
        for id in &self.ids {
            tally.skip(id.clone(), reason.to_owned());
        }
        tally
    }

    /// Arguments of xtask that run exactly these cases.
    pub(crate) fn arguments(&self, binary: &Path, factor: &str) -> Vec<OsString> {
        let ids: Vec<String> = self.ids.iter().map(|id| regex::escape(id)).collect();
        let mut arguments: Vec<OsString> =
            ["run-cases", "--json", "-", "--kernel", &self.kernel, "--factor", factor]
                .map(OsString::from)
                .to_vec();
        arguments.extend(["--bin".into(), binary.as_os_str().to_owned()]);
        arguments.extend(["--filter".into(), format!("^(?:{})$", ids.join("|")).into()]);
        arguments.push(crate::root().join("tests/run").into());
        arguments
    }

    /// Runs the command, which prints events, on this machine.
    pub(crate) fn run_here(&self, command: &mut Command, settings: &Settings) -> Result<Tally> {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start the runner")?;
        let events = Events::new(self, settings, "");
        let stdout = child.stdout.take().context("stdout was asked for as a pipe")?;
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            events.line(&line);
        }
        let status = child.wait().context("cannot wait for the runner")?;
        Ok(events.finish(&format!("the runner ended early: {status}")))
    }

    /// The same in a machine.
    pub(crate) fn run_in(
        &self,
        lab: &Lab,
        folder: &Path,
        command: &[OsString],
        machine: &crate::vm::Settings,
        settings: &Settings,
    ) -> Tally {
        let prefix = format!("{}: ", self.kernel);
        let events = Events::new(self, settings, &prefix);
        let why = match lab.run(&self.kernel, folder, command, machine, &events) {
            Ok(report) => match report.ending {
                Ending::Exit(code) => format!("the runner ended early: exit code {code}"),
                Ending::Timeout(console) => format!("the machine took too long; its console:\n{console}"),
                Ending::Lost(console) => format!("the machine crashed; its console:\n{console}"),
                Ending::Interrupted => "interrupted".to_owned(),
            },
            Err(e) => format!("{e:#}"),
        };
        events.finish(&why)
    }
}

/// Events as they come in, from whichever stream.
struct Events<'a> {
    prefix: &'a str,
    settings: &'a Settings,
    state: Mutex<State>,
}

struct State {
    tally: Tally,
    /// Cases of which nothing has been heard yet, or only that they began.
    open: Vec<(String, bool)>,
    complete: bool,
    /// The beginning of a line, and what the runner had to say otherwise.
    begun: Vec<u8>,
    said: Vec<u8>,
}

impl<'a> Events<'a> {
    fn new(selection: &Selection, settings: &'a Settings, prefix: &'a str) -> Self {
        let open = selection.ids.iter().map(|id| (id.clone(), false)).collect();
        let state =
            State { tally: Tally::default(), open, complete: false, begun: Vec::new(), said: Vec::new() };
        Events { prefix, settings, state: Mutex::new(state) }
    }

    fn line(&self, line: &[u8]) {
        let mut state = self.state.lock().expect("taking events does not panic");
        match serde_json::from_slice::<Value>(line) {
            Ok(event) if event.is_object() => self.event(&mut state, &event),
            _ => state.said.extend([line, b"\n"].concat()),
        }
    }

    fn event(&self, state: &mut State, event: &Value) {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let id = text("id");
        let name = format!("{}{id}", self.prefix);
        match (text("event"), text("status")) {
            ("start", _) => {
                if let Some(entry) = state.open.iter_mut().find(|(open, _)| open == id) {
                    entry.1 = true;
                }
                return;
            }
            ("total", _) => {
                state.complete = true;
                return;
            }
            ("end", "pass") => state.tally.pass(&name, self.settings),
            ("end", "skip") => state.tally.skip(name, text("reason").to_owned()),
            ("end" | "left", _) => {
                let output = |stream: &str| {
                    let lines = text(stream).lines().map(|line| format!("{stream}| {line}\n"));
                    lines.collect::<String>()
                };
                state
                    .tally
                    .fail(format!("{name}  ({})", text("reason")), &(output("stdout") + &output("stderr")));
            }
            _ => return,
        }
        state.open.retain(|(open, _)| open != id);
    }

    /// `why`: what went wrong, if the runner did not get to its end.
    fn finish(self, why: &str) -> Tally {
        let state = self.state.into_inner().expect("taking events does not panic");
        let mut tally = state.tally;
        if !state.complete {
            let said = String::from_utf8_lossy(&state.said).into_owned();
            tally.fail(format!("{}{why}", self.prefix), &said);
            for (id, began) in state.open {
                let reason = if began { "it was running" } else { "not run" };
                tally.fail(format!("{}{id}  ({reason})", self.prefix), "");
            }
        }
        tally
    }
}

impl Sink for Events<'_> {
    fn stdout(&self, bytes: &[u8]) {
        let mut whole = {
            let mut state = self.state.lock().expect("taking events does not panic");
            state.begun.extend_from_slice(bytes);
            let end = state.begun.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
            state.begun.drain(..end).collect::<Vec<u8>>()
        };
        whole.truncate(whole.len().saturating_sub(1));
        for line in whole.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            self.line(line);
        }
    }

    fn stderr(&self, bytes: &[u8]) {
        self.state.lock().expect("taking events does not panic").said.extend_from_slice(bytes);
    }

    fn console(&self, _: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(events: &[&str]) -> Tally {
        let selection =
            Selection { kernel: "6.1".into(), ids: vec!["f.a".into(), "f.b".into(), "f.c".into()] };
        let settings = Settings { verbose: false, filter: None, machines: false };
        let taken = Events::new(&selection, &settings, "6.1: ");
        let stream = events.join("\n") + "\n";
        // In pieces that end anywhere.
        stream.as_bytes().chunks(7).for_each(|piece| taken.stdout(piece));
        taken.finish("crashed")
    }

    const START: &str = r#"{"event":"start","id":"f.a"}"#;
    const PASS: &str = r#"{"event":"end","id":"f.a","status":"pass","ms":1}"#;
    const FAIL: &str = r#"{"event":"end","id":"f.b","status":"fail","reason":"why","stdout":"x"}"#;
    const SKIP: &str = r#"{"event":"end","id":"f.c","status":"skip","reason":"because"}"#;
    const LEFT: &str = r#"{"event":"left","id":"f.a","reason":"left behind map 1"}"#;

    #[test]
    fn a_complete_run_is_counted() {
        let tally = tally(&[START, PASS, FAIL, "noise", SKIP, LEFT, r#"{"event":"total"}"#]);
        assert_eq!(tally.passed, 1);
        assert_eq!(tally.failed, ["6.1: f.b  (why)", "6.1: f.a  (left behind map 1)"]);
        assert_eq!(tally.skipped, [("6.1: f.c".to_owned(), "because".to_owned())]);
    }

    #[test]
    fn what_a_crash_kept_from_running_has_failed() {
        let begun = START.replace("f.a", "f.b");
        let tally = tally(&[START, PASS, &begun]);
        assert_eq!(tally.passed, 1);
        assert_eq!(tally.failed, ["6.1: crashed", "6.1: f.b  (it was running)", "6.1: f.c  (not run)"]);
    }
}

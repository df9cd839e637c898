//! What is told about a run: probes, losses, tests, benchmarks.

use super::host::Host;
use super::json;
use super::printer::{Printer, TestResult};
use std::time::Duration;

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";

/// Width of the name of a benchmark and of its time.
const NAME: usize = 41;
const TIME: usize = 15;

impl Printer<'_> {
    /// Tells how many probes are attached.
    pub fn attached(&mut self, probes: usize, host: &mut Host<'_>) {
        if self.settings.quiet {
            return;
        }
        if self.is_json() {
            let count = probes;
            self.put(
                format_args!(
                    "{{\"type\": \"attached_probes\", \"count\": {count}, \"data\": {{\"probes\": {count}}}}}\n"
                ),
                host,
            );
        } else {
            let plural = if probes == 1 { "" } else { "s" };
            host.sink.message(format!("Attached {probes} probe{plural}\n").as_bytes());
        }
    }

    /// Tells that events were lost since this was last told.
    pub fn lost(&mut self, events: u64, host: &mut Host<'_>) {
        if events == 0 || self.settings.quiet {
            return;
        }
        if self.is_json() {
            self.put(
                format_args!(
                    "{{\"type\": \"lost_events\", \"count\": {events}, \"data\": {{\"events\": {events}}}}}\n"
                ),
                host,
            );
        } else {
            host.sink.message(format!("Lost {events} events\n").as_bytes());
        }
    }

    /// Tells how many events were lost in all, if any were.
    pub fn total_lost(&mut self, events: u64, host: &mut Host<'_>) {
        if events > 0 {
            let (on, off) = if self.settings.color { ("\x1b[33m", "\x1b[0m") } else { ("", "") };
            let message = format!("{on}WARNING: {off}Total lost event count: {events}\n");
            host.sink.message(message.as_bytes());
        }
    }

    /// A line of a run of tests: a sign in colour and text.
    fn test_line(&mut self, color: &str, sign: &str, text: std::fmt::Arguments<'_>, host: &mut Host<'_>) {
        let (on, off) = if self.settings.color { (color, "\x1b[0m") } else { ("", "") };
        self.put(format_args!("{on}[{sign}]{off} {text}\n"), host);
    }

    /// The head of a run of tests.
    pub fn tests_begin(&mut self, count: usize, host: &mut Host<'_>) {
        if !self.is_json() {
            self.test_line(GREEN, "==========", format_args!("Running {}.", tests(count)), host);
        }
    }

    /// A test begins.
    pub fn test_begin(&mut self, name: &str, host: &mut Host<'_>) {
        if !self.is_json() {
            self.test_line(GREEN, " RUN      ", format_args!("{name}"), host);
        }
    }

    /// A test has ended. What it printed is shown if it failed.
    pub fn test_end(&mut self, result: &TestResult<'_>, host: &mut Host<'_>) {
        let TestResult { name, duration, passed, output } = *result;
        if self.is_json() {
            self.out_string("{\"type\": \"test_result\", \"data\": {", name);
            let nanoseconds = duration.as_nanos();
            self.append(format_args!(": {{\"duration\": {nanoseconds}, \"passed\": {passed}, \"output\": "));
            self.out_json(output);
            self.put(format_args!("}}}}}}\n"), host);
            return;
        }
        let took = Took(duration);
        if passed {
            self.test_line(GREEN, "       OK ", format_args!("{name} ({took})"), host);
            return;
        }
        if !output.is_empty() {
            host.sink.output(output);
            if !output.ends_with(b"\n") {
                host.sink.output(b"\n");
            }
        }
        self.test_line(RED, "  FAILED  ", format_args!("{name} ({took})"), host);
    }

    /// The end of a run of tests, with the names of those that failed.
    pub fn tests_end(&mut self, count: usize, failed: &[&str], host: &mut Host<'_>) {
        if self.is_json() {
            return;
        }
        self.test_line(GREEN, "==========", format_args!("{} ran.", tests(count)), host);
        let passed = count.saturating_sub(failed.len());
        self.test_line(GREEN, "  PASSED  ", format_args!("{}.", tests(passed)), host);
        if failed.is_empty() {
            return;
        }
        self.test_line(RED, "  FAILED  ", format_args!("{}, listed below:", tests(failed.len())), host);
        for name in failed {
            self.test_line(RED, "  FAILED  ", format_args!("{name}"), host);
        }
    }

    /// The head of a run of benchmarks.
    pub fn benchmarks_begin(&mut self, host: &mut Host<'_>) {
        if !self.is_json() {
            let line = "-".repeat(NAME + TIME + "Iterations".len());
            self.put(format_args!("{:NAME$}{:TIME$}Iterations\n{line}\n", "Benchmark", "Time(ns)"), host);
        }
    }

    /// What a benchmark measured: nanoseconds of one call, and calls.
    pub fn benchmark(&mut self, name: &str, average: u64, calls: u64, host: &mut Host<'_>) {
        if self.is_json() {
            self.out_string("{\"type\": \"benchmark_result\", \"data\": {", name);
            self.put(format_args!(": {{\"average\": {average}, \"iters\": {calls}}}}}}}\n"), host);
        } else {
            self.put(format_args!("{name:NAME$}{average:<TIME$}{calls}\n"), host);
        }
    }

    fn out_string(&mut self, before: &str, name: &str) {
        self.append(format_args!("{before}"));
        self.out_json(name.as_bytes());
    }

    fn out_json(&mut self, text: &[u8]) {
        json::string(self.out(), text);
    }
}

fn tests(count: usize) -> String {
    format!("{count} test{}", if count == 1 { "" } else { "s" })
}

/// A duration in the largest unit that it has one of.
struct Took(Duration);

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let n = self.0.as_nanos();
        match n {
            0..1_000 => write!(f, "{n} ns"),
            1_000..1_000_000 => write!(f, "{} µs", n / 1_000),
            1_000_000..1_000_000_000 => write!(f, "{} ms", n / 1_000_000),
            _ => write!(f, "{} s", n / 1_000_000_000),
        }
    }
}

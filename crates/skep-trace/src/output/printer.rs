//! The printer: records in, output out.

use super::host::Host;
use crate::config::Config;
use crate::plan::Plan;
use skep_ir::SourceMap;
use std::time::Duration;

/// Form of the output.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// As a person reads it.
    #[default]
    Text,
    /// One object in a line.
    Json,
}

/// How output looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its form.
    pub format: OutputFormat,
    /// Neither the number of attached probes nor lost events are told.
    pub quiet: bool,
    /// Messages and results of tests are coloured.
    pub color: bool,
    /// Maps are printed at the end.
    pub maps_at_end: bool,
    /// Capacity of strings that are read.
    pub max_strlen: u64,
    /// What follows a string that was cut to its capacity.
    pub trailer: String,
    /// Source lines stand behind user symbols.
    pub source_lines: bool,
}

impl Settings {
    /// What a script's settings say.
    #[must_use]
    pub fn new(config: &Config, format: OutputFormat) -> Settings {
        Settings {
            format,
            quiet: false,
            color: false,
            maps_at_end: config.print_maps_on_exit,
            max_strlen: config.max_strlen,
            trailer: config.str_trunc_trailer.clone(),
            source_lines: config.show_debug_info,
        }
    }
}

/// What a record asks of whoever runs the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// Nothing more.
    None,
    /// End the run with this code (of which the low 8 bits are the exit status).
    Exit(i64),
    /// Run this in a shell, and give what it writes to [`Printer::command_output`].
    Run(Vec<u8>),
    /// Read at most `max_cat_bytes` of this file, and give them to [`Printer::file`].
    Cat(Vec<u8>),
    /// Remove all elements of this map of the plan; for maps of one element, and of buckets without key, set
    /// all bytes to zero.
    Clear(usize),
    /// Set all values of this map of the plan to zero. Of maps of one element only the value: the word behind
    /// it stays, see [`Storage::Single`](crate::plan::Storage::Single).
    Zero(usize),
    /// Append to a pcap file.
    Packet {
        /// The file.
        path: &'a str,
        /// Nanoseconds of the boot clock.
        time: u64,
        /// The packet, from its network header.
        bytes: &'a [u8],
    },
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult<'a> {
    /// Its name.
    pub name: &'a str,
    /// How long it took.
    pub duration: Duration,
    /// Whether it passed.
    pub passed: bool,
    /// What it printed.
    pub output: &'a [u8],
}

/// Turns records and maps into output.
pub struct Printer<'p> {
    plan: &'p Plan,
    sources: &'p SourceMap,
    settings: Settings,
    errors: u64,
    malformed: u64,
}

impl<'p> Printer<'p> {
    /// A printer for the records of a plan. `sources` are the texts that the plan's positions point into.
    #[must_use]
    pub fn new(plan: &'p Plan, sources: &'p SourceMap, settings: Settings) -> Printer<'p> {
        Printer { plan, sources, settings, errors: 0, malformed: 0 }
    }

    /// Errors that the script reported with `errorf` and failed assertions.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Records that were too short or of an unknown number, and were not printed.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Prints what a record asks for. It may come from either ring. One that the plan does not describe is
    /// counted as malformed.
    pub fn record<'r>(&mut self, record: &'r [u8], host: &mut Host<'_>) -> Effect<'r>
    where
        'p: 'r,
    {
        let _ = (record, host, self.plan, self.sources);
        Effect::None
    }

    /// Prints what a command of [`Effect::Run`] wrote.
    pub fn command_output(&mut self, output: &[u8], host: &mut Host<'_>) {
        host.sink.output(output);
    }

    /// Prints a file of [`Effect::Cat`].
    pub fn file(&mut self, content: &[u8], host: &mut Host<'_>) {
        host.sink.output(content);
    }

    /// Prints a map of the plan: only the `top` highest elements if that is not 0, integer values divided by
    /// `div` if that is not 0.
    pub fn map(&mut self, map: usize, top: u64, div: u64, host: &mut Host<'_>) {
        let _ = (map, top, div, host);
    }

    /// Tells how many probes are attached.
    pub fn attached(&mut self, probes: usize, host: &mut Host<'_>) {
        let _ = (probes, host, &self.settings);
    }

    /// Tells that events were lost since this was last told.
    pub fn lost(&mut self, events: u64, host: &mut Host<'_>) {
        let _ = (events, host);
    }

    /// The end of the run: all maps that are not empty.
    pub fn finish(&mut self, host: &mut Host<'_>) {
        let _ = host;
    }

    /// Tells how many events were lost in all, if any were.
    pub fn total_lost(&mut self, events: u64, host: &mut Host<'_>) {
        let _ = (events, host);
    }

    /// The head of a run of tests.
    pub fn tests_begin(&mut self, count: usize, host: &mut Host<'_>) {
        let _ = (count, host);
    }

    /// A test begins.
    pub fn test_begin(&mut self, name: &str, host: &mut Host<'_>) {
        let _ = (name, host);
    }

    /// A test has ended.
    pub fn test_end(&mut self, result: &TestResult<'_>, host: &mut Host<'_>) {
        let _ = (result, host);
    }

    /// The end of a run of tests, with the names of those that failed.
    pub fn tests_end(&mut self, count: usize, failed: &[&str], host: &mut Host<'_>) {
        let _ = (count, failed, host);
    }

    /// The head of a run of benchmarks.
    pub fn benchmarks_begin(&mut self, host: &mut Host<'_>) {
        let _ = host;
    }

    /// What a benchmark measured: nanoseconds of one call, and calls.
    pub fn benchmark(&mut self, name: &str, average: u64, calls: u64, host: &mut Host<'_>) {
        let _ = (name, average, calls, host);
    }
}

//! The printer: records in, output out.

use super::convert::holds;
use super::elements::Table;
use super::host::{Host, Sink};
use super::map::Selection;
use super::values::{Cache, Values};
use super::{json, messages, number};
use crate::config::Config;
use crate::plan::{Arg, Event, Piece, Plan};
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
    pub(super) settings: Settings,
    cache: Cache,
    /// What is being written; handed to the sink when it is whole.
    out: Vec<u8>,
    /// Memory for what is written before it is put between quotes.
    spare: Vec<u8>,
    errors: u64,
    malformed: u64,
}

/// Bytes that are kept for what is written next.
const LARGE: usize = 1 << 20;

/// Where a control record's own data begin.
const CONTROL_DATA: usize = 16;

impl<'p> Printer<'p> {
    /// A printer for the records of a plan. `sources` are the texts that the plan's positions point into.
    #[must_use]
    pub fn new(plan: &'p Plan, sources: &'p SourceMap, settings: Settings) -> Printer<'p> {
        Printer {
            plan,
            sources,
            settings,
            cache: Cache::default(),
            out: Vec::new(),
            spare: Vec::new(),
            errors: 0,
            malformed: 0,
        }
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

    pub(super) fn is_json(&self) -> bool {
        self.settings.format == OutputFormat::Json
    }

    /// Prints what a record asks for. It may come from either ring. One that the plan does not describe is
    /// counted as malformed.
    pub fn record<'r>(&mut self, record: &'r [u8], host: &mut Host<'_>) -> Effect<'r>
    where
        'p: 'r,
    {
        let effect = self.handle(record, host);
        if effect.is_none() {
            self.malformed += 1;
        }
        effect.unwrap_or(Effect::None)
    }

    fn handle<'r>(&mut self, record: &'r [u8], host: &mut Host<'_>) -> Option<Effect<'r>>
    where
        'p: 'r,
    {
        let plan = self.plan;
        let event = plan.events.get(usize::try_from(word(record, 0)?).ok()?)?;
        match event {
            Event::Printf { format, args } => {
                self.formatted(format, args, record, host)?;
                self.quoted("printf");
                self.flush(host.sink);
            }
            Event::Value(arg) => self.value(arg, record, host)?,
            Event::PrintMap { map, top, div } => {
                let (mut top, mut div) = (*top, *div);
                if record.len() >= CONTROL_DATA + 16 {
                    (top, div) = (word(record, CONTROL_DATA)?, word(record, CONTROL_DATA + 8)?);
                }
                self.map(*map, top, div, host);
            }
            Event::Clear(map) => return Some(Effect::Clear(*map)),
            Event::Zero(map) => return Some(Effect::Zero(*map)),
            Event::Exit => return Some(Effect::Exit(word(record, CONTROL_DATA)? as i64)),
            Event::Time(format) => {
                let (mut values, out, _) = self.split(host);
                values.time(out, format);
                self.quoted("time");
                self.flush(host.sink);
            }
            Event::System { format, args } => {
                self.formatted(format, args, record, host)?;
                return Some(Effect::Run(std::mem::take(&mut self.out)));
            }
            Event::Cat { format, args } => {
                self.formatted(format, args, record, host)?;
                return Some(Effect::Cat(std::mem::take(&mut self.out)));
            }
            Event::Join { offset, size, separator } => self.join(record, *offset, *size, separator, host)?,
            Event::Message { error, format, args, loc } => {
                self.formatted(format, args, record, host)?;
                self.errors += u64::from(*error);
                let text = std::mem::replace(&mut self.out, std::mem::take(&mut self.spare));
                self.out.clear();
                if self.is_json() {
                    messages::message_json(&mut self.out, *error, &text, *loc, self.sources);
                    self.flush(host.sink);
                } else {
                    let color = self.settings.color;
                    messages::message_text(&mut self.out, *error, &text, *loc, self.sources, color);
                    host.sink.message(&self.out);
                    self.out.clear();
                }
                self.spare = text;
            }
            Event::Runtime { what, loc } => {
                let code = word(record, CONTROL_DATA)? as i64;
                if self.is_json() {
                    messages::warning_json(&mut self.out, what, code, *loc, self.sources);
                    self.flush(host.sink);
                } else {
                    let text = messages::warning_text(what, code, *loc, self.sources, self.settings.color);
                    host.sink.message(text.as_bytes());
                }
            }
            Event::Packet { path, offset } => {
                let offset = *offset as usize;
                let time = word(record, offset)?;
                let len = word(record, offset + 8)? as u32 as usize;
                let bytes = record.get(offset + 16..)?.get(..len)?;
                return Some(Effect::Packet { path, time, bytes });
            }
        }
        Some(Effect::None)
    }

    /// What writes values, where to, and where that goes.
    pub(super) fn split<'c>(
        &'c mut self,
        host: &'c mut Host<'_>,
    ) -> (Values<'c>, &'c mut Vec<u8>, &'c mut dyn Sink) {
        let values = Values {
            plan: self.plan,
            settings: &self.settings,
            maps: &mut *host.maps,
            names: &mut *host.names,
            cache: &mut self.cache,
        };
        (values, &mut self.out, &mut *host.sink)
    }

    /// Writes a format and its arguments; `None` if the record does not hold them.
    fn formatted(
        &mut self,
        format: &[Piece],
        args: &[Arg],
        record: &[u8],
        host: &mut Host<'_>,
    ) -> Option<()> {
        if !holds(record, args) {
            return None;
        }
        self.out.clear();
        let (mut values, out, _) = self.split(host);
        values.format(out, format, args, record);
        Some(())
    }

    /// What was written becomes the data of an object, if that is the form of the output.
    pub(super) fn quoted(&mut self, kind: &str) {
        if !self.is_json() {
            return;
        }
        std::mem::swap(&mut self.out, &mut self.spare);
        self.out.clear();
        number::write(&mut self.out, format_args!("{{\"type\": \"{kind}\", \"data\": "));
        json::string(&mut self.out, &self.spare);
        self.out.extend_from_slice(b"}\n");
    }

    /// What was written becomes the data of an object, or a line.
    fn quoted_or_line(&mut self, kind: &str) {
        self.quoted(kind);
        if !self.is_json() {
            self.out.push(b'\n');
        }
    }

    /// Hands on what was written.
    pub(super) fn flush(&mut self, sink: &mut dyn Sink) {
        if !self.out.is_empty() {
            sink.output(&self.out);
        }
        self.out.clear();
        // The object of a large map is not worth keeping its memory.
        self.out.shrink_to(LARGE);
    }

    /// What is being written.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Adds to what is being written.
    pub(super) fn append(&mut self, text: std::fmt::Arguments<'_>) {
        number::write(&mut self.out, text);
    }

    /// Writes to the output and hands it on.
    pub(super) fn put(&mut self, text: std::fmt::Arguments<'_>, host: &mut Host<'_>) {
        number::write(&mut self.out, text);
        self.flush(host.sink);
    }

    fn value(&mut self, arg: &Arg, record: &[u8], host: &mut Host<'_>) -> Option<()> {
        if !holds(record, std::slice::from_ref(arg)) {
            return None;
        }
        let start = arg.offset as usize;
        let bytes = record.get(start..start + arg.size as usize)?;
        let json = self.is_json();
        let (mut values, out, sink) = self.split(host);
        if json {
            out.extend_from_slice(b"{\"type\": \"value\", \"data\": ");
            values.json(out, &arg.layout, bytes);
            out.push(b'}');
        } else {
            values.text(out, &arg.layout, bytes);
        }
        out.push(b'\n');
        sink.output(out);
        out.clear();
        Some(())
    }

    fn join(
        &mut self,
        record: &[u8],
        offset: u32,
        size: u32,
        separator: &str,
        host: &mut Host<'_>,
    ) -> Option<()> {
        let offset = offset as usize;
        let count = word(record, offset)? as u32 as usize;
        let strings = record.get(offset + 8..)?;
        if size == 0 || strings.len() / (size as usize) < count {
            return None;
        }
        for (n, string) in strings.chunks(size as usize).take(count).enumerate() {
            if n > 0 {
                self.out.extend_from_slice(separator.as_bytes());
            }
            let len = string.iter().position(|b| *b == 0).unwrap_or(string.len());
            self.out.extend_from_slice(&string[..len]);
        }
        self.quoted_or_line("join");
        self.flush(host.sink);
        Some(())
    }

    /// Prints what a command of [`Effect::Run`] wrote.
    pub fn command_output(&mut self, output: &[u8], host: &mut Host<'_>) {
        self.out.extend_from_slice(output);
        self.quoted_or_line("syscall");
        self.flush(host.sink);
    }

    /// Prints a file of [`Effect::Cat`].
    pub fn file(&mut self, content: &[u8], host: &mut Host<'_>) {
        self.out.extend_from_slice(content);
        self.quoted("cat");
        self.flush(host.sink);
    }

    /// Prints a map of the plan: only the `top` highest elements if that is not 0, integer values divided by
    /// `div` if that is not 0. A map that cannot be read is a message.
    pub fn map(&mut self, map: usize, top: u64, div: u64, host: &mut Host<'_>) {
        self.print_map(map, Selection { top, div }, false, host);
    }

    fn print_map(&mut self, map: usize, selection: Selection, only_written: bool, host: &mut Host<'_>) {
        let Some(plan) = self.plan.maps.get(map) else { return };
        match Table::read(plan, &mut *host.maps) {
            Ok(table) if only_written && !table.written => {}
            Ok(table) => {
                let (mut values, out, sink) = self.split(host);
                values.table(out, plan, &table, selection, sink);
                self.flush(host.sink);
            }
            Err(error) => {
                let message = format!("WARNING: Cannot read map {}: {error}\n", plan.name);
                host.sink.message(message.as_bytes());
            }
        }
    }

    /// The end of the run: all maps that are not empty.
    pub fn finish(&mut self, host: &mut Host<'_>) {
        if !self.is_json() {
            self.put(format_args!("\n\n"), host);
        }
        if self.settings.maps_at_end {
            for map in 0..self.plan.maps.len() {
                self.print_map(map, Selection { top: 0, div: 0 }, true, host);
            }
        }
    }
}

/// A word of a record.
fn word(record: &[u8], offset: usize) -> Option<u64> {
    let bytes = record.get(offset..offset.checked_add(8)?)?;
    Some(number::read(bytes, 0, 8))
}

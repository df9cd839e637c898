//! A script that runs.
//!
//! ```text
//! load ─ begin probes ─ attach ─ records until the end ─ detach ─ drain ─ end probes ─ drain ─ losses, maps
//! ```
//!
//! Signals wait to be read from before the first thread starts, so that Ctrl-C never leaves anything half done;
//! the second one ends at once, and the kernel takes away what was attached.

mod attach;
pub(crate) mod child;
mod effects;
mod maps;
mod names;
mod out;
mod probes;
mod runner;
mod stop;

use crate::cli::trace::{Action, Stage, TraceArgs};
use crate::console::{self, Failure, NOT_LOADED};
use crate::trace::Compiled;
use attach::{Held, Placed};
use child::Command;
use maps::LiveMaps;
use names::Watch;
use out::Out;
use runner::Runner;
use skep_ir::spec::{Attach, When};
use skep_ir::{MapId, SourceMap};
use skep_load::attach::{Attacher, Attachment};
use skep_load::events::{BufferPages, Events, ExitState, LedgerReader, set_word};
use skep_load::{LiveKernel, LoadOptions, Loaded, load};
use skep_sys::bpf::Map;
use skep_sys::clock::Clock;
use skep_sys::poll::{PidFd, Poller, Signal, Signals};
use skep_sys::process::{raise_memlock, raise_open_files};
use skep_trace::output::{OutputFormat, Printer, Settings, Sink};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use stop::Stop;

/// In the environment, it asks for a line of the same name on stdout once everything is attached.
const NOTICE: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";
/// Exit code of a run that the user ended in the middle of its end.
const INTERRUPTED: u8 = 130;
/// Records handled before signals and processes are looked at.
const BATCH: usize = 4096;
/// How long records of probes that wake nobody may wait at most.
const IDLE: Duration = Duration::from_millis(100);
/// The same while there are many.
const BUSY: Duration = Duration::from_millis(2);
/// Between two reports of losses.
const LOSSES: Duration = Duration::from_secs(1);

/// A compiled script with what it runs on.
pub(crate) struct Script<'s> {
    pub(crate) args: &'s TraceArgs,
    pub(crate) kernel: &'s LiveKernel,
    pub(crate) sources: &'s SourceMap,
    pub(crate) compiled: &'s Compiled,
    /// The process of `-p`.
    pub(crate) target: Option<PidFd>,
    /// The command of `-c`.
    pub(crate) command: Option<Command>,
}

/// Opens the process of `-p`.
///
/// # Errors
/// There is none.
pub(crate) fn open_target(pid: u32) -> Result<PidFd, Failure> {
    PidFd::open(pid).map_err(|e| {
        let cause = console::reason(&std::io::Error::from_raw_os_error(e.errno.0));
        Failure::new(format!("Failed to attach to pid: Unable to open pidfd ({cause})"))
    })
}

/// Runs a script to its end; the result is the exit code.
///
/// # Errors
/// It could not be loaded or attached, or its output could not be written.
pub(crate) fn run(mut script: Script<'_>) -> Result<u8, Failure> {
    let Script { args, kernel, sources, compiled, .. } = script;
    let (plan, collection) = (&compiled.plan, &compiled.collection);
    raise_memlock();
    raise_open_files();
    let own_signals: BTreeSet<i32> =
        collection.programs.iter().flat_map(|p| &p.attach).filter_map(signal).collect();
    let mut wanted = vec![Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    wanted.extend(own_signals.iter().map(|n| Signal(*n)));
    let stop = Stop::new(Signals::block(&wanted)?);
    let loaded = load_all(&script)?;

    let format = if args.json { OutputFormat::Json } else { OutputFormat::Text };
    let mut settings = Settings::new(&compiled.program.config, format);
    settings.quiet = args.quiet;
    settings.color = console::wants_color();
    let printer = Printer::new(plan, sources, settings);
    let max_cat_bytes = compiled.program.config.max_cat_bytes;
    let (maps, names) = (LiveMaps::new(&loaded), names::of(&script));
    let mut runner = Runner::new(printer, plan, Out::open(args, &stop)?, maps, names, &stop, max_cat_bytes);
    let map = |id: Option<MapId>| -> Option<&Map> { id.and_then(|id| loaded.maps.get(id)) };
    let events = Events::new(map(plan.data_ring), map(plan.control_ring), BufferPages::default())?;
    let ledger = map(collection.ledger).map(LedgerReader::new).transpose()?;
    let exit_state = map(plan.exit_state).map(ExitState::new).transpose()?;
    let mut records = Records { events, ledger, exit_state, told: Instant::now() };
    if let Some(start) = map(plan.start_time) {
        set_word(start, Clock::Boot.now() as u64)?;
    }

    let places = attach::places(collection, &loaded);
    for place in attach::at(&places, When::Begin) {
        run_once(&place)?;
    }
    let attacher = Attacher::new().without(kernel.switched_off());
    let attached = attach::attach(collection, &places, &attacher, compiled.program.config.missing_probes)?;
    console::report(&attached.warnings, sources);
    let mut attachments = attached.attachments;
    if args.action == Action::DryRun {
        return Ok(0);
    }
    if let Some(command) = &mut script.command {
        command.resume()?;
    }
    runner.print(|printer, host| printer.attached(attached.probes, host));
    if std::env::var_os(NOTICE).is_some() {
        runner.out.output(format!("{NOTICE}\n").as_bytes());
        runner.out.flush();
    }

    let result = match args.action {
        Action::Test => probes::test(&mut runner, &mut records, compiled, &places),
        Action::Bench => probes::bench(&mut runner, &mut records, compiled, &places),
        _ => {
            let waits = read_iterators(&mut runner, &mut records, &mut attachments.0)?;
            if waits || !own_signals.is_empty() || script.command.is_some() {
                wait(&script, &mut runner, &mut records, &places)?;
            }
            Ok(0)
        }
    };
    runner.stop.set_ending(true);
    finish(&mut script, &mut runner, &mut records, attachments, &places)?;
    runner.out.close()?;
    if runner.stop.is_hurried() {
        return Ok(INTERRUPTED);
    }
    let code = result?;
    Ok(runner.exit.map_or(code, |exit| exit as u8))
}

fn signal(attach: &Attach) -> Option<i32> {
    match attach {
        Attach::Signal(number) => Some(*number),
        _ => None,
    }
}

fn load_all(script: &Script<'_>) -> Result<Loaded, Failure> {
    let wants_log = script.args.dump.contains(&Stage::Verifier);
    let options = LoadOptions {
        log_level: if wants_log { skep_sys::bpf::log_level::BRANCHES } else { 0 },
        ..LoadOptions::default()
    };
    let collection = &script.compiled.collection;
    let loaded = load(collection, script.kernel, &options).map_err(|failure| {
        console::report(std::slice::from_ref(&failure.diagnostic), script.sources);
        if script.args.verbose && !failure.log.text.is_empty() {
            console::say(&format!("\n{}\n", failure.log.text.trim_end()));
        }
        Failure::silent(NOT_LOADED)
    })?;
    if wants_log {
        for program in &loaded.programs {
            let name = collection.programs.get(program.spec).map_or("", |p| p.name.as_str());
            let text = program.log.as_ref().map_or("", |log| log.text.as_str());
            console::print(&crate::trace::section(&format!("verifier {name}"), text))?;
        }
    }
    Ok(loaded)
}

/// Runs a program that we run ourselves.
fn run_once(place: &Placed<'_>) -> Result<u32, Failure> {
    skep_load::attach::run(&place.program.prog, place.attach).map_err(|e| {
        let failure = Failure::new(e.to_string()).code(NOT_LOADED);
        match e.help() {
            Some(help) => failure.hint(help),
            None => failure,
        }
    })
}

/// The streams of a run and its counts.
pub(crate) struct Records {
    events: Events,
    ledger: Option<LedgerReader>,
    exit_state: Option<ExitState>,
    /// When losses were last told.
    told: Instant,
}

impl Records {
    /// Handles a batch; returns whether there were many and whether there are more.
    fn batch(&mut self, runner: &mut Runner<'_>) -> Result<(u64, bool), Failure> {
        let progress = self.events.drain(BATCH, &mut |_, record| runner.record(record))?;
        runner.out.rest();
        // The record of an exit may have found no room.
        if let Some(state) = &self.exit_state
            && !progress.more
            && !runner.stop.is_ending()
            && let Some(code) = state.code()?
        {
            runner.exit.get_or_insert(code);
            runner.stop.set_ending(true);
        }
        Ok((progress.records, progress.more))
    }

    /// Handles everything that programs that have ended left behind.
    fn all(&mut self, runner: &mut Runner<'_>) -> Result<(), Failure> {
        while !runner.stop.is_hurried() && self.batch(runner)?.1 {}
        Ok(())
    }

    /// Tells of new losses, from time to time.
    fn tell_losses(&mut self, runner: &mut Runner<'_>) -> Result<(), Failure> {
        let Some(ledger) = &mut self.ledger else { return Ok(()) };
        if self.told.elapsed() >= LOSSES {
            self.told = Instant::now();
            let lost = ledger.newly_lost()?;
            if lost > 0 {
                runner.print(|printer, host| printer.lost(lost, host));
            }
        }
        Ok(())
    }
}

/// Reads iterators to their end. Returns whether something else is attached that is to be waited for.
fn read_iterators(
    runner: &mut Runner<'_>,
    records: &mut Records,
    attachments: &mut [(Placed<'_>, Attachment)],
) -> Result<bool, Failure> {
    let mut others = false;
    for (place, attachment) in attachments {
        if let Some(path) = attachment.pinned() {
            let text = format!("Program pinned to {}\n", path.display());
            runner.out.output(text.as_bytes());
            continue;
        }
        let pass = attachment.pass(place.attach).map_err(|e| Failure::new(e.to_string()).code(NOT_LOADED))?;
        let Some(pass) = pass else {
            others |= !attachment.is_empty();
            continue;
        };
        pass.run(|bytes| -> Result<_, Failure> {
            runner.out.output(bytes);
            records.all(runner)?;
            runner.look();
            Ok(if runner.stop.is_ending() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        records.all(runner)?;
    }
    Ok(others && !runner.stop.is_ending())
}

const SIGNALS: u64 = 0;
const TARGET: u64 = 1;
const COMMAND: u64 = 2;
const EVENTS: u64 = 3;

/// Handles records until something ends the run.
fn wait(
    script: &Script<'_>,
    runner: &mut Runner<'_>,
    records: &mut Records,
    places: &[Placed<'_>],
) -> Result<(), Failure> {
    let mut poller = Poller::new()?;
    poller.add(runner.stop.as_fd(), SIGNALS)?;
    if let Some(target) = &script.target {
        poller.add(target.as_fd(), TARGET)?;
    }
    if let Some(command) = &script.command {
        poller.add(command.child().pidfd().as_fd(), COMMAND)?;
    }
    for fd in records.events.fds() {
        poller.add(fd, EVENTS)?;
    }
    let mut pause = BUSY;
    let mut watch = Watch::new(script);
    loop {
        watch.look(&mut runner.names);
        let (count, more) = records.batch(runner)?;
        records.tell_losses(runner)?;
        if runner.stop.is_ending() || runner.out.is_closed() {
            return Ok(());
        }
        pause = if count > 0 { BUSY } else { (pause * 2).min(IDLE) };
        let timeout = if more { Duration::ZERO } else { pause };
        let mut ended = false;
        let ready = poller.wait(Some(timeout))?;
        let signalled = ready.iter().any(|r| r.token == SIGNALS);
        ended |= ready.iter().any(|r| matches!(r.token, TARGET | COMMAND));
        if signalled {
            runner.look();
            for received in runner.stop.received() {
                for place in places.iter().filter(|p| signal(p.attach) == Some(received.0)) {
                    run_once(place)?;
                }
            }
        }
        if ended || runner.stop.is_ending() {
            return Ok(());
        }
    }
}

/// Detaches, runs the end probes, and prints what is left: records, losses, maps.
fn finish(
    script: &mut Script<'_>,
    runner: &mut Runner<'_>,
    records: &mut Records,
    attachments: Held<'_>,
    places: &[Placed<'_>],
) -> Result<(), Failure> {
    let was_attached = attachments.any();
    drop(attachments);
    if let Some(command) = &mut script.command {
        command.end();
    }
    runner.look();
    if was_attached && !runner.stop.is_hurried() {
        records.events.finish(records.ledger.as_mut(), &mut |_, record| runner.record(record))?;
    } else {
        records.all(runner)?;
    }
    if runner.stop.is_hurried() {
        return Ok(());
    }
    for place in attach::at(places, When::End) {
        run_once(&place)?;
    }
    records.all(runner)?;
    let lost = match &mut records.ledger {
        Some(ledger) => {
            ledger.read()?;
            ledger.total().lost()
        }
        None => 0,
    };
    runner.print(|printer, host| printer.total_lost(lost, host));
    if script.args.action == Action::Run {
        runner.print(Printer::finish);
    }
    let malformed = runner.printer.malformed();
    if malformed > 0 {
        runner.complain(&format!("{malformed} records could not be understood; this is a defect of skep"));
    }
    Ok(())
}

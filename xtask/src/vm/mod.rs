//! `cargo xtask vm`: a command under other kernels, in virtual machines that need no hardware support.
//!
//! A machine's root is this machine's root, read-only, under an overlay in the guest's memory: whatever is
//! installed or built here can be run there, and what it writes vanishes. Only the current folder is shared
//! read-write, at the same path.

mod apt;
mod cpio;
mod guest;
mod kernels;
mod machine;
mod state;
mod tools;
mod unpack;

pub(crate) use kernels::names as kernel_names;
pub(crate) use machine::{Ending, Report, Sink};
pub(crate) use tools::missing as missing_packages;

use crate::ui;
use anyhow::{Context, Result, bail};
use kernels::Kernel;
use machine::Machine;
use state::State;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use tools::Tools;
use unpack::Ready;

pub(crate) const HELP: &str = "\
usage: cargo xtask vm KERNEL... [OPTION...] -- COMMAND [ARGUMENT...]

Boots each KERNEL (6.1, 6.12, 7.3, or all) under QEMU and runs COMMAND in it as root, in parallel where
there are several. The guest sees this machine's files; what it writes vanishes, except below the current
folder. Kernels are fetched once, into $XDG_CACHE_HOME/skep-vm; remove a folder of kernels/ there to have a
newer one fetched.

  --smp N        CPUs (1)
  --mem MB       memory (1024)
  --timeout S    seconds for boot and command (120)
  --verbose      show the console and the time used
  --fetch-only   only make the kernels ready
  --check        only tell by the exit code whether they are ready

Exit code: the command's, the first that is not 0 where there are several kernels; 124 out of time; 125 the
guest ended without an exit code; 130 interrupted, or nobody
reads the output any more.

example: cargo xtask vm 6.1 7.3 -- uname -r";

/// In the environment, it makes `--check` say no: machines are not wanted.
pub(crate) const SWITCHED_OFF: &str = "XTASK_NO_VM";

/// Below this, unpacking the initial RAM disk fails before there is a console to say so.
const MIN_MEMORY: u32 = 256;

/// What all machines of one call have in common.
pub(crate) struct Settings {
    pub(crate) cpus: u32,
    /// MiB.
    pub(crate) memory: u32,
    pub(crate) timeout: Duration,
    pub(crate) verbose: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { cpus: 1, memory: 1024, timeout: Duration::from_secs(120), verbose: false }
    }
}

/// Kernels and programs, made ready.
pub(crate) struct Lab {
    state: State,
    tools: Tools,
    kernels: Vec<(&'static Kernel, Ready)>,
}

impl Lab {
    /// Makes the named kernels ready: nothing to do after the first time.
    pub(crate) fn prepare(names: &[&str]) -> Result<Lab> {
        let wanted = names.iter().map(|name| kernels::find(name)).collect::<Result<Vec<_>>>()?;
        let tools = Tools::ensure()?;
        let state = State::open()?;
        let mut ready = Vec::new();
        if wanted.iter().any(|k| unpack::open(&state.kernel(k.name)).is_none()) {
            let _lock = state.lock_setup()?;
            fetch(&state, &wanted)?;
        }
        for kernel in wanted {
            let opened = unpack::open(&state.kernel(kernel.name));
            ready.push((
                kernel,
                opened.with_context(|| format!("kernel {} vanished while it was opened", kernel.name))?,
            ));
        }
        Ok(Lab { state, tools, kernels: ready })
    }

    /// Runs a command in one of the kernels that [`prepare`](Lab::prepare) was called with.
    pub(crate) fn run(
        &self,
        name: &str,
        folder: &Path,
        command: &[OsString],
        settings: &Settings,
        sink: &dyn Sink,
    ) -> Result<Report> {
        let Some((kernel, ready)) = self.kernels.iter().find(|(k, _)| k.name == name) else {
            bail!("kernel {name} was not made ready");
        };
        let machine = Machine {
            kernel,
            ready,
            tools: &self.tools,
            folder,
            command,
            cpus: settings.cpus,
            memory: settings.memory,
            timeout: settings.timeout,
            verbose: settings.verbose,
        };
        machine.run(&self.state, sink)
    }
}

/// Fetches and unpacks what is missing or broken. Called with the set-up lock held.
fn fetch(state: &State, wanted: &[&'static Kernel]) -> Result<()> {
    let missing: Vec<_> = wanted.iter().filter(|k| unpack::open(&state.kernel(k.name)).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    ui::note("vm: reading package lists");
    let apt = apt::Apt::prepare(state)?;
    let names = apt.package_names("linux-")?;
    let downloads = state.path("deb");
    std::fs::create_dir_all(&downloads).with_context(|| format!("cannot create {}", downloads.display()))?;
    std::fs::create_dir_all(state.path("kernels")).context("cannot create the kernels' folder")?;
    for kernel in missing {
        let mut files: Vec<PathBuf> = Vec::new();
        for package in kernel.pick(&names)? {
            ui::note(&format!("vm: fetching {package}"));
            files.push(apt.download(&package, &downloads)?);
        }
        ui::note(&format!("vm: unpacking kernel {}", kernel.name));
        unpack::unpack(&files, &state.kernel(kernel.name))
            .with_context(|| format!("cannot make kernel {} ready", kernel.name))?;
        for file in files {
            let _ = std::fs::remove_file(file);
        }
    }
    Ok(())
}

/// Whether machines with these kernels could be started without fetching or installing anything.
fn is_ready(names: &[&str]) -> Result<bool> {
    let kernels = names.iter().map(|name| kernels::find(name)).collect::<Result<Vec<_>>>()?;
    let state = State::open()?;
    let fetched = kernels.iter().all(|k| unpack::open(&state.kernel(k.name)).is_some());
    Ok(fetched && missing_packages().is_empty() && std::env::var_os(SWITCHED_OFF).is_none())
}

/// The subcommand. Returns the exit code.
pub(crate) fn main(mut parser: lexopt::Parser) -> Result<u8> {
    use lexopt::prelude::*;
    let mut settings = Settings::default();
    let (mut names, mut command): (Vec<String>, Vec<OsString>) = (Vec::new(), Vec::new());
    let (mut fetch_only, mut check) = (false, false);
    // What follows -- is the command's, options included.
    while let Some(rest) = parser.try_raw_args() {
        if rest.as_slice().first().is_some_and(|a| a == "--") {
            command = rest.skip(1).collect();
            break;
        }
        match parser.next()? {
            None => break,
            Some(Long("smp")) => settings.cpus = parser.value()?.parse()?,
            Some(Long("mem")) => settings.memory = parser.value()?.parse()?,
            Some(Long("timeout")) => settings.timeout = Duration::from_secs(parser.value()?.parse()?),
            Some(Long("verbose")) => settings.verbose = true,
            Some(Long("fetch-only")) => fetch_only = true,
            Some(Long("check")) => check = true,
            Some(Long("help") | Short('h')) => {
                ui::out(HELP);
                return Ok(0);
            }
            Some(Value(name)) if name == "all" => {
                names.extend(kernel_names().iter().map(|n| (*n).to_owned()));
            }
            Some(Value(name)) => names.push(name.string()?),
            Some(other) => return Err(other.unexpected().into()),
        }
    }
    if names.is_empty() || (command.is_empty() && !fetch_only && !check) {
        bail!(crate::Usage(HELP.to_owned()));
    }
    if settings.cpus == 0 || settings.memory < MIN_MEMORY {
        bail!(crate::Usage(format!("a machine needs a CPU and {MIN_MEMORY} MB of memory")));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if check {
        return Ok(u8::from(!is_ready(&names)?));
    }
    let lab = Lab::prepare(&names)?;
    if fetch_only {
        return Ok(0);
    }
    // Not before: a set-up may be killed at any point, and the next one goes on from there.
    crate::interrupt::catch()?;
    let folder =
        std::env::current_dir().and_then(|d| d.canonicalize()).context("cannot tell the current folder")?;
    let codes = std::thread::scope(|scope| {
        let run = |name| {
            let lines = Printer::new(
                if names.len() > 1 { format!("{name}| ") } else { String::new() },
                settings.verbose,
            );
            let result = lab.run(name, &folder, &command, &settings, &lines);
            lines.finish();
            explain(name, result, &settings)
        };
        let threads: Vec<_> = names.iter().map(|name| scope.spawn(move || run(name))).collect();
        threads.into_iter().map(|t| t.join().unwrap_or(125)).collect::<Vec<_>>()
    });
    Ok(codes.into_iter().find(|code| *code != 0).unwrap_or(0))
}

/// Tells what is to be told about a machine's end, and turns it into an exit code.
fn explain(name: &str, result: Result<Report>, settings: &Settings) -> u8 {
    let report = match result {
        Ok(report) => report,
        Err(e) => {
            ui::note(&format!("vm: {name}: {e:#}"));
            return 125;
        }
    };
    if settings.verbose {
        let boot = report.boot.map_or("never".into(), |b| format!("after {:.1} s", b.as_secs_f64()));
        let (wall, cpu) = (report.wall.as_secs_f64(), report.cpu.as_secs_f64());
        ui::note(&format!("vm: {name}: up {boot}, {wall:.1} s in all, {cpu:.1} s of CPU"));
    }
    match report.ending {
        Ending::Exit(code) => code,
        Ending::Interrupted => 130,
        Ending::Timeout(console) => {
            ui::note(&format!("vm: {name}: out of time after {} s\n{console}", settings.timeout.as_secs()));
            124
        }
        Ending::Lost(console) => {
            ui::note(&format!("vm: {name}: no exit code from the guest; its console:\n{console}"));
            125
        }
    }
}

/// Passes a machine's output on: as it is for a single one, line by line behind a prefix for several.
struct Printer {
    prefix: String,
    console: bool,
    /// Lines begun on stdout, stderr and the console.
    begun: [Mutex<Vec<u8>>; 3],
}

impl Printer {
    fn new(prefix: String, console: bool) -> Self {
        Printer { prefix, console, begun: Default::default() }
    }

    fn pass(&self, stream: usize, bytes: &[u8]) {
        if self.prefix.is_empty() && stream < 2 {
            write(stream, bytes);
            return;
        }
        let mut begun = self.begun[stream].lock().expect("adding bytes does not panic");
        begun.extend_from_slice(bytes);
        if let Some(end) = begun.iter().rposition(|b| *b == b'\n') {
            let whole: Vec<u8> = begun.drain(..=end).collect();
            self.lines(stream, &whole);
        }
    }

    fn lines(&self, stream: usize, whole: &[u8]) {
        let label = if stream == 2 { "console: " } else { "" };
        let mut text = Vec::with_capacity(whole.len() * 2);
        for line in whole.split_inclusive(|b| *b == b'\n') {
            text.extend_from_slice(self.prefix.as_bytes());
            text.extend_from_slice(label.as_bytes());
            text.extend_from_slice(line);
        }
        write(stream, &text);
    }

    /// The last lines may have no end.
    fn finish(&self) {
        for stream in 0..3 {
            let mut rest =
                std::mem::take(&mut *self.begun[stream].lock().expect("adding bytes does not panic"));
            if !rest.is_empty() {
                rest.push(b'\n');
                self.lines(stream, &rest);
            }
        }
    }
}

impl Sink for Printer {
    fn stdout(&self, bytes: &[u8]) {
        self.pass(0, bytes);
    }

    fn stderr(&self, bytes: &[u8]) {
        self.pass(1, bytes);
    }

    fn console(&self, bytes: &[u8]) {
        if self.console {
            self.pass(2, bytes);
        }
    }
}

fn write(stream: usize, bytes: &[u8]) {
    let written = if stream == 0 {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush())
    } else {
        std::io::stderr().lock().write_all(bytes)
    };
    if written.is_err() {
        crate::interrupt::raise();
    }
}

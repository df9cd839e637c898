//! `skep trace`: what is done with a script.

mod dump;
mod front;
mod list;
mod source;

use crate::cli::trace::{Action, TraceArgs};
use crate::console::{self, FAILED, Failure};
use crate::env::LiveEnv;
use crate::session::child::Command;
use crate::session::{self, Script};
pub(crate) use dump::section;
pub(crate) use front::Compiled;
use front::Front;
use skep_ir::{Feature, FeatureSet, SourceMap};
use skep_load::LiveKernel;
use skep_sys::process::StopAt;
use skep_trace::syntax::{self, ast};
use source::Source;
use std::path::Path;
use std::time::{Duration, Instant};

/// Does what the command line says; the result is the exit code.
///
/// # Errors
/// What keeps it from being done.
pub(crate) fn run(args: &TraceArgs) -> Result<u8, Failure> {
    if args.action == Action::Format {
        return format(&source::read(args)?);
    }
    let kernel = LiveKernel::without(switched_off(&args.no_features)?);
    let mut env = LiveEnv::new(&kernel);
    if !args.debug_dirs.is_empty() {
        env = env.with_debug_folders(args.debug_dirs.clone());
    }
    if let Some(file) = &args.functions {
        env = env.with_traceable_functions(file.clone());
    }
    match args.action {
        Action::List => list::run(args, &env),
        Action::Compile => compile(args, &env),
        Action::CompileBench => compile_bench(args, &env),
        Action::Run | Action::DryRun | Action::Test | Action::Bench | Action::Format => {
            start(args, &kernel, &env)
        }
    }
}

/// Compiles a script and runs it.
fn start(args: &TraceArgs, kernel: &LiveKernel, env: &LiveEnv<'_>) -> Result<u8, Failure> {
    let source = source::read(args)?;
    let target = args.pid.map(session::open_target).transpose()?;
    let mut front = Front::new(args, &source, env);
    let tree = front.tree(&source)?;
    let command = args.command.as_deref().map(|words| Command::start(words, stop_at(&tree))).transpose()?;
    let program = front.analyse(&tree, command.as_ref().map(|c| c.child().pid()))?;
    if program.probes.is_empty() {
        front.report();
        return Err(nothing_to_attach(&tree));
    }
    let compiled = front.compile(program)?;
    front.report();
    front.write_timing()?;
    if let Some(path) = &args.emit_elf {
        return emit_elf(&compiled, path);
    }
    session::run(Script { args, kernel, sources: &front.sources, compiled: &compiled, target, command })
}

/// Writes the programs to an object file.
fn emit_elf(compiled: &Compiled, path: &Path) -> Result<u8, Failure> {
    let object = skep_load::elf::write(&compiled.collection).map_err(|e| Failure::new(e.to_string()))?;
    std::fs::write(path, object).map_err(|e| {
        Failure::new(format!("failed to write object file '{}': {}", path.display(), console::reason(&e)))
    })?;
    Ok(0)
}

/// The features of `--no-feature`.
fn switched_off(names: &[String]) -> Result<FeatureSet, Failure> {
    let mut off = FeatureSet::default();
    for name in names {
        let feature = Feature::ALL.iter().find(|f| f.name() == name);
        let feature = feature.ok_or_else(|| {
            Failure::new(format!("unknown feature: {name}")).hint("skep feature lists all features")
        })?;
        off = off.with(*feature);
    }
    Ok(off)
}

/// Where a command waits: static probes need its program to be mapped.
fn stop_at(tree: &ast::Script) -> StopAt {
    let mapped = |name: &str| name.eq_ignore_ascii_case("usdt") || name == "U";
    match providers(tree).any(|p| mapped(&p)) {
        true => StopAt::AfterExec,
        false => StopAt::BeforeExec,
    }
}

fn providers(tree: &ast::Script) -> impl Iterator<Item = String> + '_ {
    let probes = tree.items.iter().filter_map(|item| match item {
        ast::Item::Probe(probe) => Some(probe),
        _ => None,
    });
    probes.flat_map(|probe| &probe.attach).map(|point| point.provider.name.to_ascii_lowercase())
}

fn nothing_to_attach(tree: &ast::Script) -> Failure {
    let has = |name: &str| providers(tree).any(|p| p == name);
    Failure::new(match (has("test"), has("bench")) {
        (true, _) => "No probes attached; use --test to run test probes.",
        (_, true) => "No probes attached; use --bench to run bench probes.",
        _ => "No probes to attach.",
    })
}

fn format(source: &Source) -> Result<u8, Failure> {
    let mut sources = SourceMap::default();
    let file = sources.add_file(source.name.as_str(), source.text.as_str());
    match syntax::fmt::format(&sources, file) {
        Ok(text) => console::print(&text).map(|()| 0),
        Err(messages) => {
            console::report(&messages, &sources);
            Err(Failure::silent(FAILED))
        }
    }
}

/// Compiles and does nothing with the result.
fn compile(args: &TraceArgs, env: &LiveEnv<'_>) -> Result<u8, Failure> {
    let source = source::read(args)?;
    let mut front = Front::new(args, &source, env);
    let script = front.tree(&source)?;
    let program = front.analyse(&script, None)?;
    front.compile(program)?;
    front.report();
    front.write_timing()?;
    Ok(0)
}

/// Compiles until a second has passed, and prints what one time takes. What the first time reads of the system
/// is known to the others.
fn compile_bench(args: &TraceArgs, env: &LiveEnv<'_>) -> Result<u8, Failure> {
    const ENOUGH: Duration = Duration::from_secs(1);
    let source = source::read(args)?;
    let once = || {
        let mut front = Front::new(args, &source, env);
        let started = Instant::now();
        let script = front.tree(&source)?;
        let program = front.analyse(&script, None)?;
        front.compile(program)?;
        Ok::<_, Failure>(started.elapsed())
    };
    let first = once()?;
    let mut times = vec![first];
    let started = Instant::now();
    while started.elapsed() < ENOUGH {
        times.push(once()?);
    }
    times.sort_unstable();
    let (best, median) = (times[0], times[times.len() / 2]);
    console::print(&format!(
        "first {} us, best {} us, median {} us of {} compilations\n",
        first.as_micros(),
        best.as_micros(),
        median.as_micros(),
        times.len()
    ))?;
    Ok(0)
}

//! `skep trace`: what is done with a script.

mod dump;
mod front;
mod list;
mod source;

use crate::cli::trace::{Action, TraceArgs};
use crate::console::{self, FAILED, Failure};
use crate::env::LiveEnv;
use front::Front;
use skep_ir::SourceMap;
use skep_load::LiveKernel;
use skep_trace::syntax;
use source::Source;
use std::time::{Duration, Instant};

/// Does what the command line says; the result is the exit code.
///
/// # Errors
/// What keeps it from being done.
pub(crate) fn run(args: &TraceArgs) -> Result<u8, Failure> {
    if args.action == Action::Format {
        return format(&source::read(args)?);
    }
    let kernel = LiveKernel::new();
    let env = LiveEnv::new(&kernel);
    match args.action {
        Action::List => list::run(args, &env),
        Action::Compile => compile(args, &env),
        Action::CompileBench => compile_bench(args, &env),
        _ => Err(Failure::new("programs cannot be loaded yet")),
    }
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
    let median = times[times.len() / 2];
    console::print(&format!(
        "first {} us, median {} us of {} compilations\n",
        first.as_micros(),
        median.as_micros(),
        times.len()
    ))?;
    Ok(0)
}

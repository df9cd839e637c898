//! `-l`: probes that there are, or that a script would attach to.

use super::front::Front;
use super::source::{self, Source};
use crate::cli::trace::TraceArgs;
use crate::console::{self, Failure};
use skep_trace::env::Env;
use skep_trace::sema;
use std::path::Path;

/// Prints the list that the command line asks for.
pub(crate) fn run(args: &TraceArgs, env: &dyn Env) -> Result<u8, Failure> {
    let of_script = args.program.is_some() || args.words.first().is_some_and(|w| is_file(w));
    let text = if of_script {
        probes(args, env)?
    } else {
        let nothing = Source { name: String::new(), text: String::new(), params: Vec::new() };
        let options = Front::new(args, &nothing, env).options(None)?;
        sema::list::list(args.words.first().map(String::as_str), args.verbose, env, &options)
    };
    console::print(&text).map(|()| 0)
}

fn is_file(word: &str) -> bool {
    word == "-" || Path::new(word).is_file()
}

/// The probes of a script, each once.
fn probes(args: &TraceArgs, env: &dyn Env) -> Result<String, Failure> {
    let source = source::read(args)?;
    let mut front = Front::new(args, &source, env);
    let script = front.tree(&source)?;
    let program = front.analyse(&script, None)?;
    front.report();
    let options = front.options(None)?;
    let mut seen = std::collections::HashSet::new();
    let names = program.probes.iter().flat_map(|p| &p.targets).map(|(name, _)| name.as_str());
    let mut out = String::new();
    for name in names.filter(|n| seen.insert(*n)) {
        let listed = match args.verbose {
            true => sema::list::list(Some(name), true, env, &options),
            false => String::new(),
        };
        if listed.is_empty() {
            out += name;
            out.push('\n');
        } else {
            out += &listed;
        }
    }
    Ok(out)
}

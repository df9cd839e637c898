//! Cases of semantic analysis.
//!
//! `program` gives `messages`, as users see them, and (if there is no error) `types`: the analysed program.
//! `programs` has one program a line and gives `found`: the messages of each, with their places. `list` gives
//! `listing`: each line of it is a pattern, `-v` before it for arguments.
//!
//! Scripts without errors are compiled, too; the code must keep the rules of the IR after every pass.
//!
//! The system is that of `kernel.env` with what the section `env` adds. Attributes: `params: 1 two`,
//! `named: --a=1 --b`, `pid: 5`, `child: 6`, `unsafe: yes`, `mode: test`, `filter: text`, `warnings: no`,
//! `file: name`.

mod support;

use skep_ir::verify::{self, Level};
use skep_ir::{CompileOptions, Diagnostic, Severity, SourceMap, diag};
use skep_trace::env::Env;
use skep_trace::expand::{Library, expand};
use skep_trace::lower::{LowerOptions, lower};
use skep_trace::sema::{self, Mode, Options, dump};
use skep_trace::stdlib;
use skep_trace::syntax::{NoFiles, ParseOptions, parse};
use std::fmt::Write as _;
use std::rc::Rc;
use support::env::RecordedEnv;
use testkit::{Case, Outcome};

const KERNEL: &str = include_str!("cases/sema/kernel.env");

fn options(case: &Case) -> Options {
    let words = |name: &str| -> Vec<String> {
        case.attribute(name).unwrap_or("").split_whitespace().map(str::to_owned).collect()
    };
    let (named, more) = sema::split(&words("named"));
    let mut params = words("params");
    params.extend(more);
    let number = |name: &str| case.attribute(name).and_then(|n| n.parse().ok());
    let filter = case.attribute("filter").map(str::to_owned);
    Options {
        params,
        named,
        pid: number("pid"),
        child: number("child"),
        unsafe_allowed: case.attribute("unsafe") == Some("yes"),
        mode: match case.attribute("mode") {
            Some("test") => Mode::Test,
            Some("bench") => Mode::Bench,
            _ => Mode::Run,
        },
        probe_filter: filter.map(|f| -> sema::ProbeFilter { Rc::new(move |name: &str| name.contains(&f)) }),
        no_warnings: case.attribute("warnings") == Some("no"),
    }
}

/// The messages and the analysed program of a script.
fn analysed(
    source: &str,
    name: &str,
    options: &Options,
    env: &dyn Env,
) -> (SourceMap, Vec<Diagnostic>, String) {
    let mut sources = SourceMap::default();
    let file = sources.add_file(name, source);
    let parsing = ParseOptions {
        params: options.params.clone(),
        have_btf: env.btf().is_some(),
        ..ParseOptions::default()
    };
    let (mut script, mut messages) = parse(&mut sources, file, &parsing, &mut NoFiles);
    let mut dumped = String::new();
    if !diag::has_errors(&messages) {
        let library: Vec<_> = stdlib::FILES.iter().map(|f| (f.name, f.text)).collect();
        let (expanded, more) = expand(script, &Library::new(&library), &mut sources);
        script = expanded;
        messages.extend(more);
    }
    if !diag::has_errors(&messages) {
        let (program, more) = sema::analyse(&script, &sources, env, options);
        messages.extend(more);
        dumped = dump::dump(&program);
        if !diag::has_errors(&messages) {
            let lowering = LowerOptions { pid: options.pid, ..LowerOptions::default() };
            let (module, _, more) = lower(&program, &sources, env, &lowering);
            let broken = verify::check(&module, Level::Normal, Some(env)).into_iter();
            messages.extend(broken.map(|v| Diagnostic::new(Severity::Error, None, format!("bad IR: {v}"))));
            messages.extend(more);
            if !diag::has_errors(&messages)
                && let Err(more) = skep_ir::compile::compile(module, env, CompileOptions::default())
            {
                messages.extend(more);
            }
        }
    }
    (sources, messages, dumped)
}

fn run(case: &Case) -> Outcome {
    let env = RecordedEnv::read(KERNEL, case.section("env").unwrap_or(""))?;
    let options = options(case);
    if let Some(patterns) = case.section("list") {
        let mut listing = String::new();
        for line in patterns.lines() {
            let (verbose, pattern) = match line.strip_prefix("-v") {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let _ = writeln!(listing, "> {line}");
            listing += &sema::list::list(Some(pattern), verbose, &env, &options);
        }
        return Ok(vec![("listing", listing)]);
    }
    if let Some(programs) = case.section("programs") {
        let mut found = String::new();
        for program in programs.lines().filter(|l| !l.is_empty()) {
            let (sources, messages, _) = analysed(program, "stdin", &options, &env);
            let _ = writeln!(found, "{program}");
            for message in &messages {
                found += &brief(message, &sources);
            }
        }
        return Ok(vec![("found", found)]);
    }
    let (sources, messages, dumped) = analysed(
        case.required("program")?.trim_end(),
        case.attribute("file").unwrap_or("case.bt"),
        &options,
        &env,
    );
    let mut out = Vec::new();
    if !messages.is_empty() || case.section("messages").is_some() {
        out.push(("messages", diag::render_all(&messages, &sources, false)));
    }
    if !diag::has_errors(&messages) {
        out.push(("types", dumped));
    }
    Ok(out)
}

/// A message in a line or few, without the text that it is about.
fn brief(message: &Diagnostic, sources: &SourceMap) -> String {
    let place = |loc| diag::position(sources, loc).trim_start_matches("stdin:").to_owned();
    let label = if message.severity == Severity::Error { "ERROR" } else { "WARNING" };
    let mut out = String::new();
    let at = message.loc.map_or_else(|| "-".to_owned(), place);
    let _ = writeln!(out, "    {at}: {label}: {}", message.message);
    for call in message.loc.iter().flat_map(|loc| sources.call_chain(*loc)) {
        let _ = writeln!(out, "      {}: expanded from", place(call));
    }
    for (loc, text) in &message.contexts {
        let _ = writeln!(out, "      {}: {text}", place(*loc));
    }
    for hint in &message.hints {
        let _ = writeln!(out, "      HINT: {hint}");
    }
    out
}

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/sema", run)
}

//! Commands: which there are, and what `skep WORD` means.

mod demo;
mod feature;
mod flags;
pub(crate) mod trace;

use crate::console::{self, Failure};
use crate::trace as tracing;
use skep_ir::SourceMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

/// Version of the tracing language's other implementation that scripts may count on.
const LANGUAGE: &str = "0.27.0";

/// One command.
struct Command {
    name: &'static str,
    doc: &'static str,
    /// Runs it with what stands behind its name; the result is the exit code.
    run: fn(&[OsString]) -> Result<u8, Failure>,
}

/// Every command, as help lists them.
const COMMANDS: &[Command] = &[
    Command {
        name: "trace",
        doc: "Trace the system with a script.",
        run: |args| trace_command(args, "skep trace"),
    },
    Command { name: "demo", doc: "Show a trace of programs that are started.", run: demo::run },
    Command { name: "feature", doc: "Show what the kernel can do.", run: feature::run },
    Command { name: "help", doc: "Print help for a command.", run: help },
];

/// Runs what the command line says. Called by the name of a program that it replaces, skep behaves like it.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    let name = args.first().map(|a| Path::new(a).file_name().unwrap_or(OsStr::new("skep")).to_owned());
    let rest = args.get(1..).unwrap_or_default();
    let dropped_in = name.as_deref() == Some(OsStr::new("bpftrace"));
    let result = if dropped_in { trace_command(rest, "bpftrace") } else { command(rest) };
    let code = match result {
        Ok(code) => code,
        Err(failure) => {
            console::report(&failure.messages, &SourceMap::default());
            // The program of that name has one code for everything that is wrong before it starts.
            if dropped_in && failure.code == console::USAGE { console::FAILED } else { failure.code }
        }
    };
    ExitCode::from(code)
}

fn command(args: &[OsString]) -> Result<u8, Failure> {
    let Some(word) = args.first() else {
        console::say(&overview());
        return Ok(console::USAGE);
    };
    match word.to_str() {
        Some("-h" | "--help") => console::print(&overview()).map(|()| 0),
        Some("-V" | "--version") => console::print(&version("skep")).map(|()| 0),
        Some(name) => match COMMANDS.iter().find(|c| c.name == name) {
            Some(command) => (command.run)(&args[1..]),
            None => {
                Err(flags::wrong(&format!("unknown command: {name}")).hint("skep help lists all commands"))
            }
        },
        None => Err(flags::wrong("unknown command").hint("skep help lists all commands")),
    }
}

fn overview() -> String {
    let mut out =
        "USAGE: skep COMMAND [ARGUMENT...]\n\nAsks a Linux host, through eBPF.\n\nCOMMANDS:\n".to_owned();
    for command in COMMANDS {
        out += &format!("  {:<12} {}\n", command.name, command.doc);
    }
    out + "\nEXAMPLES:
    skep trace -e 'tracepoint:syscalls:sys_enter_openat { printf(\"%s %s\\n\", comm, str(args.filename)); }'
    skep help trace

A link to skep with the name bpftrace takes that program's arguments.
"
}

fn help(args: &[OsString]) -> Result<u8, Failure> {
    let Some(name) = args.first() else { return console::print(&overview()).map(|()| 0) };
    match COMMANDS.iter().find(|c| name == c.name) {
        Some(command) if command.name != "help" => (command.run)(&["--help".into()]),
        Some(_) => console::print(&overview()).map(|()| 0),
        None => Err(flags::wrong(&format!("unknown command: {}", name.to_string_lossy()))),
    }
}

/// The version in the form that scripts look for.
fn version(name: &str) -> String {
    let own = env!("CARGO_PKG_VERSION");
    match name {
        "bpftrace" => format!("bpftrace v{LANGUAGE} (skep {own})\n"),
        _ => format!("skep v{own}\n"),
    }
}

fn trace_command(args: &[OsString], name: &str) -> Result<u8, Failure> {
    let args = trace::read(args).inspect_err(|failure| {
        if failure.code == console::USAGE {
            console::report(&failure.messages, &SourceMap::default());
            console::say(&trace::synopsis(name));
        }
    });
    let args = match args {
        Err(failure) if failure.code == console::USAGE => return Err(Failure::silent(failure.code)),
        other => other?,
    };
    if args.help {
        return console::print(&trace::help(name)).map(|()| 0);
    }
    if args.version {
        return console::print(&version(name)).map(|()| 0);
    }
    if args.info {
        return console::print(&feature::info()).map(|()| 0);
    }
    tracing::run(&args)
}

//! Arguments of `skep trace`.

use super::flags::{Flag, Words, parse, text, wrong};
use crate::console::{FAILED, Failure};
use skep_ir::{Diagnostic, Severity};
use std::ffi::OsString;
use std::path::PathBuf;

/// How output is passed on.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Buffering {
    /// Once there is nothing more to add for now.
    #[default]
    Line,
    /// Once there is much of it.
    Full,
    /// Piece by piece.
    None,
}

/// What is done with a script.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Action {
    /// It runs.
    #[default]
    Run,
    /// It is attached, and that is all.
    DryRun,
    /// Its tests run.
    Test,
    /// Its benchmarks run.
    Bench,
    /// It is compiled.
    Compile,
    /// It is compiled again and again, and the time is printed.
    CompileBench,
    /// It is printed in the standard format.
    Format,
    /// Probes are listed.
    List,
}

/// A stage of compilation whose result can be printed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The tree.
    Ast,
    /// The analysed script.
    Types,
    /// IR as lowered from the script.
    Codegen,
    /// IR after all passes.
    CodegenOpt,
    /// Instructions, maps and types as they are loaded.
    Libbpf,
    /// What the verifier said.
    Verifier,
}

const STAGES: &[(&str, Stage)] = &[
    ("ast", Stage::Ast),
    ("types", Stage::Types),
    ("codegen", Stage::Codegen),
    ("codegen-opt", Stage::CodegenOpt),
    ("libbpf", Stage::Libbpf),
    ("verifier", Stage::Verifier),
];

/// What the command line says.
#[derive(Debug, Default)]
pub(crate) struct TraceArgs {
    pub(crate) program: Option<String>,
    /// Words that are no options: the file, then parameters.
    pub(crate) words: Vec<String>,
    /// Words behind `--`.
    pub(crate) rest: Vec<String>,
    pub(crate) action: Action,
    pub(crate) json: bool,
    pub(crate) buffering: Buffering,
    pub(crate) output: Option<PathBuf>,
    pub(crate) pid: Option<u32>,
    pub(crate) command: Option<Vec<OsString>>,
    pub(crate) verbose: bool,
    pub(crate) quiet: bool,
    pub(crate) report_failures: bool,
    pub(crate) no_warnings: bool,
    pub(crate) unsafe_allowed: bool,
    pub(crate) probe_filter: Option<String>,
    pub(crate) no_features: Vec<String>,
    pub(crate) functions: Option<PathBuf>,
    pub(crate) include_dirs: Vec<String>,
    pub(crate) include_files: Vec<String>,
    pub(crate) debug_dirs: Vec<PathBuf>,
    pub(crate) dwarf_pids: Vec<u32>,
    pub(crate) dump: Vec<Stage>,
    pub(crate) emit_elf: Option<PathBuf>,
    pub(crate) timing: Option<PathBuf>,
    pub(crate) info: bool,
    pub(crate) help: bool,
    pub(crate) version: bool,
}

/// A flag that sets a field to true.
macro_rules! switch {
    ($short:expr, $long:literal, $field:ident, $doc:literal) => {
        Flag {
            short: $short,
            long: $long,
            value: None,
            doc: $doc,
            set: |a, _| {
                a.$field = true;
                Ok(())
            },
        }
    };
}

/// Every option. Those without a description are accepted and mean nothing here.
pub(crate) const FLAGS: &[Flag<TraceArgs>] = &[
    Flag {
        short: Some('e'),
        long: "",
        value: Some("PROGRAM"),
        doc: "Run this text.",
        set: |a, v| {
            a.program = Some(text(v)?);
            Ok(())
        },
    },
    Flag {
        short: Some('l'),
        long: "list",
        value: None,
        doc: "List probes that match a pattern (*, ?, [...]), or those of a script; with -v\n\
              also their arguments. 'struct NAME', 'union NAME' and 'enum NAME' are types.",
        set: |a, _| {
            a.action = Action::List;
            Ok(())
        },
    },
    Flag {
        short: Some('p'),
        long: "pid",
        value: Some("PID"),
        doc: "Trace this process only, and end with it.",
        set: |a, v| {
            a.pid = Some(pid(&text(v)?)?);
            Ok(())
        },
    },
    Flag {
        short: Some('c'),
        long: "cmd",
        value: Some("COMMAND"),
        doc: "Start a command, and end with it. Words are parted at blanks; there is no shell.",
        set: |a, v| {
            a.command = Some(text(v)?.split_whitespace().map(OsString::from).collect());
            Ok(())
        },
    },
    Flag {
        short: Some('o'),
        long: "output",
        value: Some("FILE"),
        doc: "Write output to a file.",
        set: |a, v| {
            a.output = Some(v.into());
            Ok(())
        },
    },
    Flag {
        short: Some('f'),
        long: "format",
        value: Some("text|json"),
        doc: "Form of output; json is one object a line.",
        set: |a, v| {
            a.json = match text(v)?.as_str() {
                "text" => false,
                "json" => true,
                other => {
                    let message = format!("Invalid output format \"{other}\"\nValid formats: 'text', 'json'");
                    return Err(Failure::new(message));
                }
            };
            Ok(())
        },
    },
    Flag {
        short: Some('B'),
        long: "buffering",
        value: Some("line|full|none"),
        doc: "When output is passed on: as it comes (line), in large pieces (full), in every\n\
              single piece (none).",
        set: |a, v| {
            a.buffering = match text(v)?.as_str() {
                "line" => Buffering::Line,
                "full" => Buffering::Full,
                "none" => Buffering::None,
                _ => return Err(usage("-B must be either 'line', 'full', or 'none'.")),
            };
            Ok(())
        },
    },
    switch!(Some('q'), "quiet", quiet, "Say nothing of attached probes and lost events."),
    switch!(Some('v'), "verbose", verbose, "Say more: the kernel's log of a program that it refuses, ..."),
    switch!(Some('k'), "", report_failures, "Warn of reads and lookups that fail while it runs, too."),
    switch!(None, "no-warnings", no_warnings, "No warnings."),
    switch!(
        None,
        "unsafe",
        unsafe_allowed,
        "Allow functions that change the system, and probes at raw addresses."
    ),
    action(None, "dry-run", Action::DryRun, "Stop once everything is attached."),
    action(None, "test", Action::Test, "Run the script's test probes."),
    action(None, "bench", Action::Bench, "Run the script's bench probes."),
    Flag {
        short: None,
        long: "mode",
        value: Some("MODE"),
        doc: "codegen, compiler-bench, bench, test or format.",
        set: |a, v| {
            a.action = match text(v)?.as_str() {
                "codegen" => Action::Compile,
                "compiler-bench" => Action::CompileBench,
                "bench" => Action::Bench,
                "test" => Action::Test,
                "format" => Action::Format,
                other => return Err(usage(&format!("invalid option for --mode: {other}"))),
            };
            Ok(())
        },
    },
    action(None, "fmt", Action::Format, "Print the script in the standard format."),
    Flag {
        short: None,
        long: "probe-filter",
        value: Some("REGEX"),
        doc: "Only probes whose full name matches; begin and end are always there.",
        set: |a, v| {
            a.probe_filter = Some(text(v)?);
            Ok(())
        },
    },
    Flag {
        short: None,
        long: "no-feature",
        value: Some("NAME,..."),
        doc: "Do without features of the kernel (skep feature lists them).",
        set: |a, v| {
            a.no_features.extend(text(v)?.split(',').filter(|n| !n.is_empty()).map(str::to_owned));
            Ok(())
        },
    },
    Flag {
        short: None,
        long: "traceable-functions",
        value: Some("FILE"),
        doc: "List of kernel functions that can be traced.",
        set: |a, v| {
            a.functions = Some(v.into());
            Ok(())
        },
    },
    Flag {
        short: Some('I'),
        long: "",
        value: Some("FOLDER"),
        doc: "Look for included files there.",
        set: |a, v| {
            a.include_dirs.push(text(v)?);
            Ok(())
        },
    },
    Flag {
        short: None,
        long: "include",
        value: Some("FILE"),
        doc: "Include a file before the script.",
        set: |a, v| {
            a.include_files.push(text(v)?);
            Ok(())
        },
    },
    Flag {
        short: None,
        long: "debuginfo",
        value: Some("FOLDER:..."),
        doc: "Look for debug files there.",
        set: |a, v| {
            a.debug_dirs.extend(std::env::split_paths(&v));
            Ok(())
        },
    },
    Flag {
        short: None,
        long: "dwarf-pid",
        value: Some("PID"),
        doc: "Another process whose stacks dw_ustack unwinds.",
        set: |a, v| {
            a.dwarf_pids.push(pid(&text(v)?)?);
            Ok(())
        },
    },
    Flag { short: None, long: "usdt-file-activation", value: None, doc: "", set: |_, _| Ok(()) },
    Flag {
        short: Some('d'),
        long: "debug",
        value: Some("STAGE,..."),
        doc: "Print what a stage of compilation makes: ast, types, codegen, codegen-opt,\n\
              libbpf, verifier, all.",
        set: |a, v| {
            for name in text(v)?.split(',') {
                match STAGES.iter().find(|(n, _)| *n == name) {
                    Some((_, stage)) => a.dump.push(*stage),
                    None if name == "all" => a.dump.extend(STAGES.iter().map(|(_, stage)| *stage)),
                    None => return Err(usage(&format!("invalid option for -d: {name}"))),
                }
            }
            Ok(())
        },
    },
    Flag {
        short: None,
        long: "emit-elf",
        value: Some("FILE"),
        doc: "Write the programs to a BPF object file.",
        set: |a, v| {
            a.emit_elf = Some(v.into());
            Ok(())
        },
    },
    Flag {
        short: None,
        long: "timing",
        value: Some("FILE"),
        doc: "Write to FILE, as JSON, how many nanoseconds each stage of the compiler took.",
        set: |a, v| {
            a.timing = Some(v.into());
            Ok(())
        },
    },
    switch!(None, "info", info, "Print what this system can do."),
    switch!(Some('V'), "version", version, "Print the version."),
    switch!(Some('h'), "help", help, "Print this."),
];

const fn action(short: Option<char>, long: &'static str, to: Action, doc: &'static str) -> Flag<TraceArgs> {
    // A function pointer cannot capture: one for each action.
    let set: fn(&mut TraceArgs, OsString) -> Result<(), Failure> = match to {
        Action::DryRun => |a, _| act(a, Action::DryRun),
        Action::Test => |a, _| act(a, Action::Test),
        Action::Bench => |a, _| act(a, Action::Bench),
        Action::Format => |a, _| act(a, Action::Format),
        Action::Run | Action::Compile | Action::CompileBench | Action::List => |_, _| Ok(()),
    };
    Flag { short, long, value: None, doc, set }
}

#[expect(clippy::unnecessary_wraps, reason = "what flags call can fail")]
fn act(args: &mut TraceArgs, to: Action) -> Result<(), Failure> {
    args.action = to;
    Ok(())
}

/// Wrong usage whose text and exit code are those of the language's other implementation.
fn usage(text: &str) -> Failure {
    Failure::new(format!("USAGE: {text}"))
}

/// Highest pid that Linux has, `PID_MAX_LIMIT` of `include/linux/threads.h`.
const MAX_PID: u64 = 1 << 22;

fn pid(text: &str) -> Result<u32, Failure> {
    let number: Option<u64> = text.parse().ok();
    match number {
        None => Err(Failure::new(format!("Failed to parse pid: invalid integer: {text}"))),
        Some(n) if n == 0 || n > MAX_PID => Err(Failure::new(format!("Pid out of range: {text}"))),
        Some(n) => Ok(n as u32),
    }
}

/// Reads the command line.
///
/// # Errors
/// Wrong usage.
pub(crate) fn read(args: &[OsString]) -> Result<TraceArgs, Failure> {
    let mut into = TraceArgs::default();
    let Words { words, rest } = parse(args, FLAGS, &mut into)?;
    let texts = |words: Vec<OsString>| words.into_iter().map(text).collect::<Result<Vec<_>, _>>();
    (into.words, into.rest) = (texts(words)?, texts(rest)?);
    if into.command.is_some() && into.pid.is_some() {
        return Err(wrong("-c and -p cannot go together"));
    }
    Ok(into)
}

/// The answer to a script that is missing.
pub(crate) fn no_program() -> Failure {
    let message = Diagnostic::new(Severity::Error, None, "USAGE: filename or -e 'program' required.");
    Failure { code: FAILED, messages: vec![message.hint("-h prints help and examples")] }
}

/// The first part of `--help`.
pub(crate) fn synopsis(name: &str) -> String {
    format!(
        "USAGE:
    {name} [OPTION...] FILE | - [PARAMETER...] [-- OPTION...]
    {name} [OPTION...] -e PROGRAM [PARAMETER...] [-- OPTION...]
    {name} -l [-v] [PATTERN | FILE | -e PROGRAM]
"
    )
}

/// Text of `--help`, `name` being the command.
pub(crate) fn help(name: &str) -> String {
    format!(
        "{}
Traces the system with a script.

OPTIONS:
{}
EXAMPLES:
    {name} -e 'tracepoint:syscalls:sys_enter_execve {{ printf(\"%d %s\\n\", pid, str(args.filename)); }}'
        programs that are started
    {name} -e 'rawtracepoint:sys_enter {{ @[comm] = count(); }}'
        system calls by process name, until Ctrl-C
    {name} -e 'profile:hz:99 {{ @[kstack] = count(); }}'
        where the kernel spends its time
    {name} -c 'ls /' -e 'uprobe:libc:malloc {{ @ = hist(arg0); }}'
        sizes that a command allocates
    {name} -l 'tracepoint:syscalls:*open*'
        probes by name; -lv shows their arguments

Settings of scripts are variables of the environment, too: BPFTRACE_MAX_STRLEN=200 or SKEP_MAX_STRLEN=200.
",
        synopsis(name),
        super::flags::help(FLAGS)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<TraceArgs, (u8, String)> {
        let args: Vec<OsString> = args.iter().map(Into::into).collect();
        read(&args).map_err(|f| (f.code, f.messages[0].message.clone()))
    }

    #[test]
    fn the_grammar_of_scripts() {
        let args =
            parsed(&["-lv", "a.bt", "-d", "ast,types", "x", "--", "--n=1", "y"]).expect("all is known");
        assert_eq!((args.action, args.verbose), (Action::List, true));
        assert_eq!(args.words, ["a.bt", "x"]);
        assert_eq!(args.rest, ["--n=1", "y"]);
        assert_eq!(args.dump, [Stage::Ast, Stage::Types]);
        assert_eq!(parsed(&["--mode", "format"]).expect("a mode").action, Action::Format);
        assert!(parsed(&["-kk", "-q"]).expect("twice is once").report_failures);
    }

    #[test]
    fn wrong_values_have_their_texts_and_codes() {
        for (args, code, text) in [
            (["-p", "abc"], 1, "Failed to parse pid: invalid integer: abc"),
            (["-p", "99999999"], 1, "Pid out of range: 99999999"),
            (["-p", "-1"], 1, "Failed to parse pid: invalid integer: -1"),
            (["-d", "nope"], 1, "USAGE: invalid option for -d: nope"),
            (["-f", "xml"], 1, "Invalid output format \"xml\"\nValid formats: 'text', 'json'"),
            (["-x", "1"], 2, "unknown option -x"),
        ] {
            assert_eq!(parsed(&args).map(drop), Err((code, text.to_owned())), "{args:?}");
        }
    }

    #[test]
    fn every_option_is_in_the_help_once() {
        let text = help("skep trace");
        for flag in FLAGS.iter().filter(|f| !f.doc.is_empty() && !f.long.is_empty()) {
            assert_eq!(
                text.matches(&format!("--{} ", flag.long)).count()
                    + text.matches(&format!("--{}\n", flag.long)).count(),
                1,
                "{}",
                flag.long
            );
        }
    }
}

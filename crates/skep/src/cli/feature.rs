//! `skep feature`: what the running kernel can do.

use super::flags::{self, Flag};
use crate::console::{self, Failure};
use skep_ir::kernel::KernelInfo;
use skep_load::{Answer, LiveKernel, PROBES};
use std::ffi::OsString;
use std::fmt::Write as _;

#[derive(Default)]
struct Args {
    json: bool,
    missing: bool,
    help: bool,
}

const FLAGS: &[Flag<Args>] = &[
    Flag {
        short: Some('o'),
        long: "output",
        value: Some("text|json"),
        doc: "Form; json is one object a line.",
        set: |a, v| {
            a.json = match flags::text(v)?.as_str() {
                "json" => true,
                "text" => false,
                other => return Err(flags::wrong(&format!("-o takes text or json, not {other}"))),
            };
            Ok(())
        },
    },
    Flag {
        short: None,
        long: "missing",
        value: None,
        doc: "Only what the kernel lacks.",
        set: |a, _| {
            a.missing = true;
            Ok(())
        },
    },
    Flag {
        short: Some('h'),
        long: "help",
        value: None,
        doc: "Print this.",
        set: |a, _| {
            a.help = true;
            Ok(())
        },
    },
];

fn help() -> String {
    format!(
        "USAGE: skep feature [OPTION...] [NAME...]

Tries what the running kernel can do for skep, and says what its absence means. Nothing is
told from the kernel's version. The names go to skep trace --no-feature, too.

OPTIONS:
{}
EXAMPLES:
    skep feature --missing
    skep feature -o json kprobe fentry
",
        flags::help(FLAGS)
    )
}

/// Runs the command.
pub(super) fn run(args: &[OsString]) -> Result<u8, Failure> {
    let mut options = Args::default();
    let words = flags::parse(args, FLAGS, &mut options)?;
    if options.help {
        return console::print(&help()).map(|()| 0);
    }
    let mut names = Vec::new();
    for word in words.words.into_iter().chain(words.rest) {
        let name = flags::text(word)?;
        if !PROBES.iter().any(|p| p.feature.name() == name) {
            return Err(flags::wrong(&format!("unknown feature: {name}")));
        }
        names.push(name);
    }
    console::print(&table(&options, &names, &LiveKernel::new())).map(|()| 0)
}

/// What this system is and can do, for reports of defects.
pub(super) fn info() -> String {
    let kernel = LiveKernel::new();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let (release, version) = (read("/proc/sys/kernel/osrelease"), read("/proc/sys/kernel/version"));
    let mut out = format!("System\n  OS: Linux {release} {version}\n  Arch: {}\n", std::env::consts::ARCH);
    let _ = writeln!(out, "\nBuild\n  version: skep v{}", env!("CARGO_PKG_VERSION"));
    let btf = if kernel.btf().is_some() { "yes" } else { "no" };
    let _ = writeln!(out, "\nKernel\n  btf: {btf}\n  possible cpus: {}", kernel.possible_cpus());
    for probe in PROBES {
        let _ = writeln!(out, "  {}: {}", probe.feature.name(), word(kernel.answer(probe.feature)));
    }
    out
}

fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::Unknown => "unknown",
    }
}

fn table(options: &Args, names: &[String], kernel: &LiveKernel) -> String {
    let mut out = String::new();
    if !options.json {
        let _ = writeln!(out, "{:<22} {:<8} {:<6} WITHOUT IT", "FEATURE", "HERE", "SINCE");
    }
    for probe in PROBES {
        let name = probe.feature.name();
        if !names.is_empty() && !names.iter().any(|n| n == name) {
            continue;
        }
        let answer = kernel.answer(probe.feature);
        if options.missing && answer == Answer::Yes {
            continue;
        }
        let (word, since) = (word(answer), probe.feature.since());
        let line = match options.json {
            // The words are those of tables in the source: none needs escapes.
            true => format!(
                "{{\"feature\": \"{name}\", \"here\": \"{word}\", \"since\": \"{since}\", \"without\": \"{}\"}}",
                probe.consequence
            ),
            false => format!("{name:<22} {word:<8} {since:<6} {}", probe.consequence),
        };
        out += &line;
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_table_need_no_escapes() {
        for probe in PROBES {
            let plain = |text: &str| !text.contains(['"', '\\', '\n']);
            assert!(plain(probe.consequence) && plain(probe.feature.since()), "{:?}", probe.feature);
        }
    }
}

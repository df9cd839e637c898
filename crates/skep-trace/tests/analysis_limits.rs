//! Scripts that are made to exhaust analysis or lowering: each is compiled or refused with few messages, soon, on a
//! stack of the size that a program has by default.

mod support;

use skep_ir::verify::{self, Level};
use skep_ir::{SourceMap, diag};
use skep_trace::expand::{Library, expand};
use skep_trace::lower::{LowerOptions, lower};
use skep_trace::sema::{Options, analyse};
use skep_trace::stdlib;
use skep_trace::syntax::{NoFiles, ParseOptions, parse};
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use support::env::RecordedEnv;

const KERNEL: &str = include_str!("cases/sema/kernel.env");

/// The messages about a script that are errors.
fn errors(text: String) -> Vec<String> {
    let run = move || {
        let env = RecordedEnv::read(KERNEL, "").expect("the recorded system is well-formed");
        let mut sources = SourceMap::default();
        let file = sources.add_file("stdin", text);
        let started = Instant::now();
        let parsing = ParseOptions { have_btf: true, ..ParseOptions::default() };
        let (script, mut messages) = parse(&mut sources, file, &parsing, &mut NoFiles);
        if !diag::has_errors(&messages) {
            let library: Vec<_> = stdlib::FILES.iter().map(|f| (f.name, f.text)).collect();
            let (script, more) = expand(script, &Library::new(&library), &mut sources);
            messages.extend(more);
            if !diag::has_errors(&messages) {
                let (program, more) = analyse(&script, &sources, &env, &Options::default());
                messages.extend(more);
                if !diag::has_errors(&messages) {
                    let (module, _, more) = lower(&program, &sources, &env, &LowerOptions::default());
                    messages.extend(more);
                    assert!(verify::check(&module, Level::Normal, Some(&env)).is_empty());
                }
            }
        }
        assert!(diag::render_all(&messages, &sources, false).len() < 64 << 20);
        let errors = messages.into_iter().filter(|m| m.severity == skep_ir::Severity::Error);
        (errors.map(|m| m.message).collect(), started.elapsed())
    };
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(run).expect("threads can be made");
    let (found, took): (Vec<String>, Duration) = thread.join().expect("compilation does not panic");
    assert!(took < Duration::from_secs(60), "took {took:?}");
    found
}

/// What `write` makes of the numbers below a limit, one after the other.
fn many(count: usize, write: impl Fn(&mut String, usize)) -> String {
    let mut out = String::new();
    (0..count).for_each(|i| write(&mut out, i));
    out
}

fn is_fine(text: String) {
    let head: String = text.chars().take(60).collect();
    let found = errors(text);
    assert!(found.is_empty(), "{head}: {:?}", &found[..found.len().min(3)]);
}

fn is_refused(text: String, with: &str) {
    let head: String = text.chars().take(60).collect();
    let found = errors(text);
    assert!(found.len() <= 50 && found.iter().any(|m| m.contains(with)), "{head}: {:?}", found.first());
}

#[test]
fn many_of_everything() {
    is_fine(many(1000, |out, i| {
        let _ = writeln!(
            out,
            "tracepoint:sched:sched_switch /args.prev_pid == {i}/ {{ @a[{i}, args.prev_comm] = count(); }}"
        );
    }));
    let maps = many(1000, |out, i| {
        let _ = write!(out, "@m{i}[{i}] = {i}; $v{i} = @m{i}[{i}] + 1; delete(@m{i}, 1);");
    });
    is_fine(format!("begin {{ {maps} }}"));
    let chain = many(2000, |out, i| {
        let _ = write!(out, "$v{} = $v{i} + 1;", i + 1);
    });
    is_fine(format!("begin {{ $v0 = 1; {chain} }}"));
    let prints = "printf(\"%d %s\\n\", pid, comm);".repeat(3000);
    is_fine(format!("begin {{ {prints} }}"));
    let fields = "print(curtask.real_parent.se.load.weight);".repeat(1000);
    is_fine(format!("begin {{ {fields} }}"));
    is_refused(
        many(3000, |out, i| {
            let _ = write!(out, "interval:s:{} {{ @a = count(); }}", i + 1);
        }),
        "exceeds the current limit",
    );
    let formats = "printf(\"%d\", pid);".repeat(10_100);
    is_refused(format!("begin {{ {formats} }}"), "at most 10000");
}

#[test]
fn deep_code() {
    let deep = 180;
    is_fine(format!("begin {{ {}$x = 1;{} }}", "if (pid) {".repeat(deep), "}".repeat(deep)));
    is_fine(format!("begin {{ $x = pid; $y = {}$x{}; }}", "(".repeat(deep), " + 1)".repeat(deep)));
    is_fine(format!("begin {{ $x = pid; $y = {}5; }}", "$x == 1 ? 1 : ".repeat(deep)));
    is_fine(format!("begin {{ $x = pid; $y = {}; }}", vec!["$x"; 400].join(" / ")));
    is_fine(format!("begin {{ $x = {}5; }}", "(uint8)".repeat(deep)));
    is_fine(format!("begin {{ $x = {}; }}", vec!["pid"; 400].join(" || ")));
    is_fine(
        "begin { for ($i : 0..2) { for ($j : 0..2) { for ($k : 0..2) { @x[$i, $j, $k] = 1; } } } }".into(),
    );
    let tuple = format!("{}1{}", "(".repeat(100), ", 2)".repeat(100));
    is_fine(format!("begin {{ @x = {tuple}; print(@x); }}"));
}

#[test]
fn growth() {
    let pairs = many(40, |out, i| {
        let _ = write!(out, "$a{} = ($a{i}, $a{i});", i + 1);
    });
    is_refused(format!("begin {{ $a0 = 1; {pairs} }}"), "too many elements");
    let macros = many(40, |out, i| {
        let _ = write!(out, "macro m{}(x) {{ m{i}(x) + m{i}(x) }} ", i + 1);
    });
    is_refused(format!("macro m0(x) {{ x + x }} {macros} begin {{ $x = m40(pid); }}"), "too large");
    is_refused("begin { unroll (100) { unroll (100) { unroll (100) { $x = 1; } } } }".into(), "copies");
    is_refused("begin { $x = 0; while (1) { $x = ($x, 1); } }".into(), "");
    is_fine(format!("begin {{ $x = \"{}\"; print($x); }}", "a".repeat(100_000)));
    is_refused(format!("begin {{ @[{}] = 1; }}", vec!["1"; 5000].join(", ")), "too many elements");
    is_refused(format!("begin {{ printf(\"{}\"); }}", "%d".repeat(100_000)), "not enough arguments");
    is_refused("begin { let $x: string[1000000000]; $x = \"a\"; }".into(), "");
}

//! Texts that are made to exhaust something: each must be refused with one clear message, soon, on a small stack.

use skep_ir::{Diagnostic, SourceMap};
use skep_trace::syntax::{LoadError, Loader, NoFiles, ParseOptions, parse};
use std::time::{Duration, Instant};

/// Messages about a text, found on a thread with the stack that threads have by default.
fn messages(text: String) -> Vec<String> {
    let run = move || {
        let mut sources = SourceMap::default();
        let file = sources.add_file("stdin", text);
        let started = Instant::now();
        let (script, errors) = parse(&mut sources, file, &ParseOptions::default(), &mut NoFiles);
        drop(script);
        (errors.into_iter().map(|e: Diagnostic| e.message).collect(), started.elapsed())
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("threads can be made");
    let (found, took): (Vec<String>, Duration) = thread.join().expect("reading a text does not panic");
    assert!(took < Duration::from_secs(20), "took {took:?}");
    found
}

const LONG: usize = 10 << 20;

fn is_refused_once(text: String, with: &str) {
    let head: String = text.chars().take(30).collect();
    let found = messages(text);
    assert!(found.len() == 1 && found[0].contains(with), "{head}: {:?}", &found[..found.len().min(5)]);
}

#[test]
fn nesting_is_bounded() {
    for open in [
        "(",
        "!",
        "{",
        "@a[",
        "f(",
        "(int8)",
        "*",
        "- ",
        "1?",
        "1?:",
        "$x[",
        "1*-",
        "if ",
        "sizeof(",
        "typeof(",
        "(typeof(",
        "comptime ",
        "(1,",
        "(a=",
        "if 1 {",
        "1 || 2 && ",
    ] {
        is_refused_once(format!("begin {{ $x = {}", open.repeat(LONG / open.len())), "too ");
    }
    for open in ["{", "if 1 { ", "while (1) {", "for $x : 1..2 {", "unroll 1 {"] {
        is_refused_once(format!("begin {{ {}", open.repeat(LONG / open.len())), "too deep");
    }
    is_refused_once(format!("begin {{ let $x: {}", "(".repeat(LONG)), "too deep");
}

#[test]
fn chains_are_bounded() {
    for link in ["1 + ", "$x || ", "1 == ", "1 ? 2 : 3 + "] {
        is_refused_once(format!("begin {{ $x = {}1; }}", link.repeat(LONG / link.len())), "too ");
    }
    is_refused_once(format!("begin {{ $x = $y{}; }}", ".a".repeat(LONG / 2)), "too long");
    is_refused_once(format!("begin {{ $x = $y{}; }}", "[1]".repeat(LONG / 3)), "too long");
    is_refused_once(format!("begin {{ {} }}", "if 1 {} else ".repeat(LONG / 13) + "{}"), "too long");
}

#[test]
fn what_people_write_is_not_refused() {
    let sum = vec!["$x"; 400].join(" + ");
    let chain = "if $x == 1 { print(1); } else ".repeat(200) + "{ }";
    let nested = format!("{}1{}", "(".repeat(150), ")".repeat(150));
    let many = "  $x = f(1, @a[2, \"b\"]);\n".repeat(20_000);
    for body in [format!("$y = {sum};"), chain, format!("$y = {nested};"), many] {
        assert_eq!(messages(format!("begin {{ {body} }}")), [""; 0]);
    }
}

#[test]
fn long_texts_take_time_in_proportion() {
    for piece in
        ["/* c */", "// c\n", "\"", "'", "#", "$", "@", "\\", "(a", "(a*", "kprobe:f,", "{}", "1_", "0x", "/"]
    {
        messages(format!("begin {{ $x = {}", piece.repeat(LONG / piece.len())));
        let found = messages(piece.repeat(LONG / piece.len()));
        assert!(found.len() <= 50, "{piece}");
    }
    is_refused_once(" ".repeat(20 << 20), "too long");
}

#[test]
fn the_c_part_is_bounded() {
    let doubling =
        |n: u32| -> String { (0..n).map(|i| format!("#define A{i} A{} A{}\n", i + 1, i + 1)).collect() };
    is_refused_once(format!("{}struct s {{ A0 }};", doubling(60)), "too long when its macros");
    is_refused_once(format!("{}#define A60\nstruct s {{ A0 }};", doubling(60)), "too long when its macros");
    let chain: String = (0..1000).map(|i| format!("#define A{i} A{}\n", i + 1)).collect();
    is_refused_once(format!("{chain}struct s {{ A0 a; }};"), "nested too deeply");
    is_refused_once(format!("#if {}\n#endif", "(".repeat(100_000)), "nested too deeply");
    is_refused_once(format!("struct s {{ int {}", "(*".repeat(100_000)), "too deep");
    is_refused_once(format!("struct s {{ int {}a; }};", "*".repeat(1_000_000)), "nested too deeply");
    is_refused_once(format!("struct s {{ {}", "struct {".repeat(100_000)), "too deep");
    is_refused_once(format!("struct s {{ int a{}; }};", "[1]".repeat(100_000)), "nested too deeply");
    let call = format!("#define F(x) x\nstruct s {{ {}", "F(".repeat(100_000));
    assert_eq!(messages(call).len(), 1);
}

/// A loader whose every file includes and imports two more.
struct Endless;

impl Loader for Endless {
    fn read(&mut self, path: &str) -> Result<String, LoadError> {
        let (name, kind) = path.rsplit_once('.').unwrap_or((path, "h"));
        Ok(match kind {
            "bt" => format!("import \"{name}0.bt\"; import \"{name}1.bt\";"),
            _ => format!("#include \"{name}0.h\"\n#include \"{name}1.h\"\n"),
        })
    }

    fn list(&mut self, _path: &str) -> Result<Option<Vec<String>>, LoadError> {
        Ok(None)
    }
}

#[test]
fn files_that_name_ever_more_files_are_bounded() {
    for text in ["#include \"a.h\"\nbegin { }", "import \"a.bt\"; begin { }"] {
        let mut sources = SourceMap::default();
        let file = sources.add_file("script.bt", text);
        let (_, errors) = parse(&mut sources, file, &ParseOptions::default(), &mut Endless);
        assert!(!errors.is_empty());
        assert!(sources.files().count() < 10_000);
    }
}

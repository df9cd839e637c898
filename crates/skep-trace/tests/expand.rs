//! Cases of macro expansion: `source` with the macros of `library` gives `tree`, or `errors` as users see them.
//! `programs` has one program a line and gives `found`: the tree or the messages of each.

use skep_ir::{SourceMap, diag};
use skep_trace::expand::{Library, expand};
use skep_trace::syntax::{NoFiles, ParseOptions, dump, parse};
use testkit::{Case, Outcome};

/// The tree of an expanded script, or the messages about it.
fn expanded(text: &str, name: &str, library: &Library) -> Result<String, String> {
    let mut sources = SourceMap::default();
    let file = sources.add_file(name, text);
    let (script, mut messages) = parse(&mut sources, file, &ParseOptions::default(), &mut NoFiles);
    if messages.is_empty() {
        let (script, found) = expand(script, library, &mut sources);
        if found.is_empty() {
            return Ok(dump::dump(&script, None));
        }
        messages = found;
    }
    Err(diag::render_all(&messages, &sources, false))
}

fn run(case: &Case) -> Outcome {
    // The library lives as long as the program, like one that is compiled in.
    let library: &'static str = case.section("library").unwrap_or("").to_owned().leak();
    let library = Library::new(&[("library.bt", library)]);
    if let Some(programs) = case.section("programs") {
        let mut found = String::new();
        for program in programs.lines().filter(|l| !l.is_empty()) {
            found += &format!("{program}\n");
            let (Ok(text) | Err(text)) = expanded(program, "stdin", &library);
            found.extend(text.lines().map(|l| format!("    {l}\n")));
        }
        return Ok(vec![("found", found)]);
    }
    Ok(vec![match expanded(case.required("source")?.trim_end(), "case.bt", &library) {
        Ok(tree) => ("tree", tree),
        Err(errors) => ("errors", errors),
    }])
}

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/expand", run)
}

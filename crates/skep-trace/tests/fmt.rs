//! Cases of the standard format: `source` gives `formatted`, or `errors`. What was formatted must stay as it is
//! when it is formatted again, and must be the same script.

mod common;

use skep_ir::{SourceMap, diag};
use skep_trace::syntax::fmt;
use testkit::{Case, Outcome};

fn run(case: &Case) -> Outcome {
    let source = case.required("source")?;
    let mut sources = SourceMap::default();
    let file = sources.add_file("case.bt", source);
    match fmt::format(&sources, file) {
        Ok(formatted) => {
            common::is_same_script(source, &formatted)?;
            Ok(vec![("formatted", formatted)])
        }
        Err(errors) => Ok(vec![("errors", diag::render_all(&errors, &sources, false))]),
    }
}

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/fmt", run)
}

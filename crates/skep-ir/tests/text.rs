//! Cases of the text form: `input` parses and prints as `output`, or fails with `error`.

use skep_ir::text::{Locations, parse, print};
use testkit::{Case, Outcome};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/text", run)
}

fn run(case: &Case) -> Outcome {
    match parse(case.required("input")?) {
        Err(e) => Ok(vec![("error", e.to_string())]),
        Ok(module) => {
            let output = print(&module, Locations::Hide);
            let again = parse(&output).map(|m| print(&m, Locations::Hide));
            if again.as_ref() != Ok(&output) {
                return Err(format!("the output reads back as {again:?}").into());
            }
            Ok(vec![("output", output)])
        }
    }
}

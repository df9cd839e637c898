//! Text that is no program: `text` in, `error` out.

use skep_asm::text::parse;
use testkit::{Case, Outcome, Stop};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/text", run)
}

/// Every line of the section is a text of its own, unless the case has the attribute `whole`.
fn run(case: &Case) -> Outcome {
    let text = case.required("text")?;
    let texts = if case.attribute("whole").is_some() { vec![text] } else { text.lines().collect() };
    let mut out = String::new();
    for text in texts {
        match parse(text) {
            Ok(parsed) => return Err(Stop::Fail(format!("{text} is a program: {parsed:?}"))),
            Err(error) => out += &format!("{error}\n"),
        }
    }
    Ok(vec![("error", out)])
}

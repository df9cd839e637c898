//! Cases of the checker: `input` breaks the rules that `violations` lists.

mod support;

use skep_ir::verify::{Level, check};
use skep_ir::{KernelInfo, text};
use support::kernel::TestKernel;
use testkit::{Case, Outcome};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/verify", run)
}

fn run(case: &Case) -> Outcome {
    let module = text::parse(case.required("input")?).map_err(|e| e.to_string())?;
    let level = match case.attribute("level") {
        None => Level::Normal,
        Some("strict") => Level::Strict,
        Some(other) => return Err(format!("there is no level {other}").into()),
    };
    let kernel = case.attribute("features").map(TestKernel::with_features).transpose()?;
    let found = check(&module, level, kernel.as_ref().map(|k| k as &dyn KernelInfo));
    let lines = found.iter().map(|v| format!("{v}\n")).collect::<String>();
    Ok(vec![("violations", if lines.is_empty() { "none\n".to_owned() } else { lines })])
}

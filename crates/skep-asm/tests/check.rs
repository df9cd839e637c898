//! Structural checks: `text` in, `findings` out.

use skep_asm::check;
use skep_asm::text::parse;
use testkit::{Case, Outcome};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/check", run)
}

fn run(case: &Case) -> Outcome {
    let parsed = parse(case.required("text")?).map_err(|e| e.to_string())?;
    let findings: String = check(&parsed.code.insns).iter().map(|f| format!("{f}\n")).collect();
    Ok(vec![("findings", if findings.is_empty() { "none\n".to_owned() } else { findings })])
}

//! Cases of the passes: `input` goes through the passes that the case names, or that its file is named after,
//! and comes out as `output`, perhaps with `messages`.
//!
//! Attributes: `pass` (names, or `all`), `features` (see `support/kernel.rs`; everything unless given), `cpus`,
//! `stack_object_limit`, `stack_budget`, `fold_rodata: no`. A section `btf` is the kernel's type information.
//! The output must keep the checker's rules.

mod support;

use skep_btf::{Btf, Builder};
use skep_ir::passes::{Context, Options, Pipeline, pass};
use skep_ir::text::{Locations, parse, print};
use skep_ir::verify::{Level, check};
use skep_ir::{Module, diag};
use support::kernel::TestKernel;
use testkit::{Case, Outcome};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/passes", run)
}

fn run(case: &Case) -> Outcome {
    let mut module = parse(case.required("input")?).map_err(|e| format!("input: {e}"))?;
    let mut kernel = TestKernel::with_features(case.attribute("features").unwrap_or("all"))?;
    if let Some(text) = case.section("btf") {
        kernel.btf = Some(btf(text)?);
    }
    let mut options = Options::default();
    number(case, "cpus", &mut kernel.cpus)?;
    number(case, "stack_object_limit", &mut options.stack_object_limit)?;
    number(case, "stack_budget", &mut options.stack_budget)?;
    options.fold_rodata = case.attribute("fold_rodata") != Some("no");
    rules(&module, "the input", Level::Normal, &kernel)?;
    let mut context = Context::new(&kernel, options);
    let names = case.attribute("pass").ok_or("the case names no pass")?;
    let mut level = Level::Normal;
    if names == "all" {
        context.diagnostics = Pipeline::default().run(&mut module, &mut context);
        level = Level::Strict;
    } else {
        for name in names.split_whitespace() {
            pass(name).ok_or_else(|| format!("there is no pass {name}"))?.run(&mut module, &mut context);
            if name == "lower" {
                level = Level::Strict;
            }
        }
    }
    if !context.diagnostics.is_empty() {
        return Ok(vec![("messages", diag::render_all(&context.diagnostics, &module.sources, false))]);
    }
    let output = print(&module, Locations::Hide);
    rules(&module, "the output", level, &kernel).map_err(|e| format!("{e}\n{output}"))?;
    Ok(vec![("output", output)])
}

fn number(case: &Case, name: &str, to: &mut u32) -> Result<(), String> {
    if let Some(text) = case.attribute(name) {
        *to = text.parse().map_err(|_| format!("{name} is no number"))?;
    }
    Ok(())
}

fn btf(text: &str) -> Result<Btf, String> {
    let builder = Builder::from_text(text).map_err(|e| e.to_string())?;
    let encoded = builder.encode(skep_btf::Supported::ALL).map_err(|e| e.to_string())?;
    Btf::parse(encoded.bytes).map_err(|e| e.to_string())
}

fn rules(module: &Module, what: &str, level: Level, kernel: &TestKernel) -> Result<(), String> {
    let violations = check(module, level, Some(kernel));
    if violations.is_empty() {
        return Ok(());
    }
    Err(format!("{what} breaks rules:\n{}", violations.iter().map(|v| format!("{v}\n")).collect::<String>()))
}

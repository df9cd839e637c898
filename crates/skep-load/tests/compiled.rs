//! Modules that are compiled for the running kernel and run by it: `input` is IR with one `raw_tp` program, whose
//! context are the words of the attribute `args`; `result` is what it returns.
//!
//! Attributes: `without`, features that are taken for missing; `runs`, how often it runs, of which the last time
//! counts; `stack_object_limit` and `stack_budget`, limits of the compiler.

use skep_ir::kernel::{Feature, FeatureSet, KernelInfo};
use skep_ir::{CompileOptions, compile, diag, text};
use skep_load::{LiveKernel, LoadOptions, load};
use skep_sys::bpf::TestRun;
use testkit::{Case, Outcome, Stop};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/compiled", run)
}

fn run(case: &Case) -> Outcome {
    if !rustix::process::geteuid().is_root() {
        return Err(Stop::Skip("needs root".to_owned()));
    }
    let module = text::parse(case.required("input")?).map_err(|e| e.to_string())?;
    let kernel = LiveKernel::without(features(case.attribute("without").unwrap_or(""))?);
    if !kernel.has(Feature::RawTpTestRun) {
        return Err(Stop::Skip("the kernel does not run raw tracepoint programs on request".to_owned()));
    }
    let mut options = CompileOptions::default();
    options.passes.stack_object_limit =
        number(case, "stack_object_limit", options.passes.stack_object_limit)?;
    options.passes.stack_budget = number(case, "stack_budget", options.passes.stack_budget)?;
    let sources = module.sources.clone();
    let compiled = compile(module, &kernel, options).map_err(|e| diag::render_all(&e, &sources, false))?;
    let loaded = load(&compiled.collection, &kernel, &LoadOptions::default())
        .map_err(|failure| format!("{failure}\n{}", failure.log.text))?;
    let words: Vec<u8> = case
        .attribute("args")
        .unwrap_or("0")
        .split_whitespace()
        .map(|w| w.parse::<i64>().map(i64::to_le_bytes).map_err(|e| format!("{w}: {e}")))
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    let prog = &loaded.programs.first().ok_or("the module has no program")?.prog;
    let mut result = String::new();
    for _ in 0..number(case, "runs", 1)? {
        let output = prog.test_run(&TestRun { ctx_in: &words, ..TestRun::default() });
        result = format!("{}\n", output.map_err(|e| e.to_string())?.retval.cast_signed());
    }
    Ok(vec![("result", result)])
}

fn features(names: &str) -> Result<FeatureSet, String> {
    let mut set = FeatureSet::default();
    for name in names.split_whitespace() {
        let feature = Feature::ALL.iter().copied().find(|f| f.name() == name);
        set = set.with(feature.ok_or_else(|| format!("there is no feature {name}"))?);
    }
    Ok(set)
}

fn number(case: &Case, name: &str, default: u32) -> Result<u32, String> {
    let Some(text) = case.attribute(name) else { return Ok(default) };
    text.parse().map_err(|_| format!("{name} is no number"))
}

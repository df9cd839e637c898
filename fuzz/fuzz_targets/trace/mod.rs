//! What the targets of the tracing language share: a recorded system, and the way from a text to a module.

#[path = "../../../crates/skep-trace/tests/support/mod.rs"]
mod support;

use skep_ir::verify::{self, Level};
use skep_ir::{SourceMap, diag};
use skep_trace::expand::{Library, expand};
use skep_trace::lower::{LowerOptions, lower};
use skep_trace::sema::{Options, analyse, dump};
use skep_trace::syntax::{NoFiles, ParseOptions, parse};
use skep_trace::stdlib;
use std::cell::OnceCell;
use support::env::RecordedEnv;

const KERNEL: &str = include_str!("../../../crates/skep-trace/tests/cases/sema/kernel.env");

thread_local! {
    static ENV: OnceCell<RecordedEnv> = const { OnceCell::new() };
}

/// Takes a script as far as it goes. Messages must have places inside of their texts, and code must keep the
/// rules of the IR.
pub fn compile(text: &str) {
    ENV.with(|env| {
        let env = env.get_or_init(|| RecordedEnv::read(KERNEL, "").expect("the recorded system is well-formed"));
        let mut sources = SourceMap::default();
        let file = sources.add_file("fuzz.bt", text);
        let parsing =
            ParseOptions { params: vec!["5".into(), "two".into()], have_btf: true, ..ParseOptions::default() };
        let (script, mut messages) = parse(&mut sources, file, &parsing, &mut NoFiles);
        if !diag::has_errors(&messages) {
            let library: Vec<_> = stdlib::FILES.iter().map(|f| (f.name, f.text)).collect();
            let (script, more) = expand(script, &Library::new(&library), &mut sources);
            let failed = diag::has_errors(&more);
            messages.extend(more);
            if !failed {
                let options =
                    Options { params: parsing.params.clone(), unsafe_allowed: true, ..Options::default() };
                let (program, more) = analyse(&script, &sources, env, &options);
                let failed = diag::has_errors(&more);
                messages.extend(more);
                let _ = dump::dump(&program);
                if !failed {
                    let (module, _, more) = lower(&program, &sources, env, &LowerOptions::default());
                    let broken = verify::check(&module, Level::Normal, Some(env));
                    assert!(broken.is_empty(), "{}", broken[0]);
                    messages.extend(more);
                }
            }
        }
        let _ = diag::render_all(&messages, &sources, true);
    });
}

//! The tracing language's syntax: any text is a tree or has messages; both can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_ir::{SourceMap, diag};
use skep_trace::syntax::{NoFiles, ParseOptions, dump, parse};

fuzz_target!(|text: &str| {
    let mut sources = SourceMap::default();
    let file = sources.add_file("fuzz.bt", text);
    let options = ParseOptions { have_btf: text.len() % 2 == 0, ..ParseOptions::default() };
    let (script, messages) = parse(&mut sources, file, &options, &mut NoFiles);
    let _ = dump::dump(&script, Some(&sources));
    let _ = diag::render_all(&messages, &sources, false);
});

//! The formatter: what it prints is the same script, and is in the standard format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_ir::SourceMap;
use skep_trace::syntax::fmt::format;
use skep_trace::syntax::{NoFiles, ParseOptions, dump, parse};

fn formatted(text: &str) -> Option<String> {
    let mut sources = SourceMap::default();
    let file = sources.add_file("fuzz.bt", text);
    format(&sources, file).ok()
}

fn tree(text: &str) -> Option<String> {
    let mut sources = SourceMap::default();
    let file = sources.add_file("fuzz.bt", text);
    let options = ParseOptions { have_btf: true, ..ParseOptions::default() };
    let (script, errors) = parse(&mut sources, file, &options, &mut NoFiles);
    errors.is_empty().then(|| dump::dump(&script, None))
}

fuzz_target!(|text: &str| {
    let Some(once) = formatted(text) else { return };
    assert_eq!(formatted(&once).as_deref(), Some(&*once), "formatting again changes it");
    if let Some(before) = tree(text) {
        assert_eq!(tree(&once), Some(before), "{once}");
    }
});

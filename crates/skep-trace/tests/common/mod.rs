//! What must hold for every formatted script.

use skep_ir::SourceMap;
use skep_trace::syntax::{NoFiles, ParseOptions, dump, fmt, parse};

/// The tree of a text without places; `None` if it has mistakes.
pub(crate) fn tree(text: &str) -> Option<String> {
    let mut sources = SourceMap::default();
    let file = sources.add_file("text.bt", text);
    let options = ParseOptions { have_btf: true, ..ParseOptions::default() };
    let (script, errors) = parse(&mut sources, file, &options, &mut NoFiles);
    errors.is_empty().then(|| dump::dump(&script, None))
}

/// Words of a text that stand in comments and code; formatting moves and parts them but loses none.
fn words(text: &str) -> Vec<&str> {
    let mut words: Vec<_> = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    words.sort_unstable();
    words
}

/// Whether `formatted` is `source` in the standard format.
pub(crate) fn is_same_script(source: &str, formatted: &str) -> Result<(), String> {
    let mut sources = SourceMap::default();
    let file = sources.add_file("formatted.bt", formatted);
    let again = fmt::format(&sources, file).map_err(|e| format!("cannot be read: {e:?}\n{formatted}"))?;
    if again != formatted {
        return Err(format!("changes when formatted again:\n{formatted}\n---\n{again}"));
    }
    if tree(source) != tree(formatted) {
        return Err(format!("is another script:\n{source}\n---\n{formatted}"));
    }
    if words(source) != words(formatted) {
        return Err(format!("lost or made words:\n{source}\n---\n{formatted}"));
    }
    Ok(())
}

//! The built-in library: functions and builtins that are written in the language itself.
//!
//! Scripts may replace a macro by one of their own with the same name and number of arguments. Names that begin
//! with `__` belong to the compiler; the library is the only one to use them.

/// Before the names of library files in messages.
pub const PREFIX: &str = "stdlib/";

/// A file of the library: the name that messages show, and its text.
pub struct File {
    /// Name with [`PREFIX`].
    pub name: &'static str,
    /// Text.
    pub text: &'static str,
}

macro_rules! files {
    ($($name:literal),*) => {
        /// Every file, in the order in which they are read.
        pub const FILES: &[File] =
            &[$(File { name: concat!("stdlib/", $name), text: include_str!($name) }),*];
    };
}

files!("base.bt", "context.bt", "maps.bt", "meta.bt", "strings.bt", "system.bt");

/// A macro of the library, as its comment describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name.
    pub name: &'static str,
    /// Name with its parameters: `find(@map, key, $var)`.
    pub signature: &'static str,
    /// The comment above it.
    pub doc: String,
    /// File that it is in.
    pub file: &'static str,
    /// Bytes of the file from `macro` to the closing brace.
    pub range: std::ops::Range<usize>,
}

/// Every macro of the library. The files keep to a form that makes this a scan over lines: `macro` and the
/// closing brace stand at the start of a line, comments above the macro describe it.
#[must_use]
pub fn entries() -> Vec<Entry> {
    FILES.iter().flat_map(in_file).collect()
}

/// Names of all macros.
pub fn macro_names() -> impl Iterator<Item = &'static str> {
    FILES.iter().flat_map(|f| f.text.lines()).filter_map(signature).map(name_of)
}

/// The macro's name and parameters, if a line begins one.
fn signature(line: &'static str) -> Option<&'static str> {
    Some(line.strip_prefix("macro ")?.trim_end_matches('{').trim_end())
}

fn name_of(signature: &'static str) -> &'static str {
    signature.split('(').next().unwrap_or(signature)
}

fn in_file(file: &'static File) -> Vec<Entry> {
    let mut out = Vec::new();
    let mut doc = String::new();
    let mut at = 0;
    for line in file.text.split_inclusive('\n') {
        if let Some(comment) = line.strip_prefix("//") {
            doc.push_str(comment.strip_prefix(' ').unwrap_or(comment));
        } else if let Some(signature) = signature(line) {
            let rest = &file.text[at..];
            let len = rest.find("\n}").map_or(rest.len(), |end| end + 2);
            out.push(Entry {
                name: name_of(signature),
                signature,
                doc: std::mem::take(&mut doc).trim_end().to_owned(),
                file: file.name,
                range: at..at + len,
            });
        } else {
            doc.clear();
        }
        at += line.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_macro_is_found_and_described() {
        let entries = entries();
        assert!(entries.len() > 60, "{}", entries.len());
        let mut seen = HashSet::new();
        for e in &entries {
            assert!(seen.insert(e.signature), "{} is there twice", e.signature);
            assert!(!e.doc.is_empty(), "{} is not described", e.signature);
            let file = FILES.iter().find(|f| f.name == e.file).expect("files are those of the list");
            let text = &file.text[e.range.clone()];
            assert!(text.starts_with("macro ") && text.ends_with('}'), "{text}");
        }
    }

    /// Tests of scripts match on the place of the message that a failed assertion prints.
    #[test]
    fn assert_stands_where_it_is_documented() {
        let line = FILES[0].text.lines().nth(5).expect("the file has six lines");
        assert_eq!(line, "    errorf(\"assert failed: %s\", msg);");
    }
}

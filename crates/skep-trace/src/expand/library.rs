//! Macros that every script can use, read only when a script uses them.

use std::collections::HashMap;

/// Where a macro stands: the number of its file and its range there.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct MacroSource {
    pub(super) file: usize,
    pub(super) lo: u32,
    pub(super) hi: u32,
}

/// Texts of library macros and where in them each macro stands.
///
/// Making one looks through the texts for `macro NAME` outside of braces and nothing more, so that a library of
/// any size costs a script only what it calls.
#[derive(Debug, Default)]
pub struct Library {
    files: Vec<(&'static str, &'static str)>,
    index: HashMap<&'static str, Vec<MacroSource>>,
}

impl Library {
    /// A library of files: name in messages and text.
    #[must_use]
    pub fn new(files: &[(&'static str, &'static str)]) -> Self {
        let mut library = Library { files: files.to_vec(), index: HashMap::new() };
        for (file, (_, text)) in files.iter().enumerate() {
            for (name, lo, hi) in (Scan { text, at: 0 }) {
                library.index.entry(name).or_default().push(MacroSource { file, lo, hi });
            }
        }
        library
    }

    /// A file by its number.
    pub(super) fn file(&self, number: usize) -> Option<(&'static str, &'static str)> {
        self.files.get(number).copied()
    }

    /// Where the macros of a name stand, in their order.
    pub(super) fn find(&self, name: &str) -> &[MacroSource] {
        self.index.get(name).map_or(&[], Vec::as_slice)
    }

    /// Names of all macros, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.index.keys().copied().collect();
        names.sort_unstable();
        names
    }
}

/// Finds macros in a text: name and extent.
struct Scan {
    text: &'static str,
    at: usize,
}

impl Scan {
    /// Behind a string, a comment or one byte.
    fn pass(&self, at: usize) -> usize {
        let bytes = self.text.as_bytes();
        let until = |at: usize, sign: &str| {
            self.text.get(at..).and_then(|t| t.find(sign)).map_or(bytes.len(), |n| at + n)
        };
        match (bytes[at], bytes.get(at + 1)) {
            (b'"', _) => {
                let mut at = at + 1;
                while at < bytes.len() && bytes[at] != b'"' && bytes[at] != b'\n' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                (at + 1).min(bytes.len())
            }
            (b'/', Some(b'/')) => until(at + 2, "\n"),
            (b'/', Some(b'*')) => (until(at + 2, "*/") + 2).min(bytes.len()),
            _ => at + 1,
        }
    }

    /// Behind the brace that closes the first one from here on.
    fn body_end(&self, mut at: usize) -> usize {
        let bytes = self.text.as_bytes();
        let mut depth = 0usize;
        while at < bytes.len() {
            match bytes[at] {
                b'{' => depth += 1,
                b'}' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return at + 1;
                    }
                }
                _ => {
                    at = self.pass(at);
                    continue;
                }
            }
            at += 1;
        }
        at
    }
}

impl Iterator for Scan {
    type Item = (&'static str, u32, u32);

    fn next(&mut self) -> Option<Self::Item> {
        const WORD: &str = "macro";
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() {
            let at = self.at;
            if bytes[at] != b'm'
                || !bytes[at..].starts_with(WORD.as_bytes())
                || (at > 0 && is_word(bytes[at - 1]))
            {
                self.at = self.pass(at);
                continue;
            }
            let behind = &self.text[at + WORD.len()..];
            let name = behind.trim_start();
            let length = name.bytes().take_while(|&b| is_word(b)).count();
            if length == 0 || name.len() == behind.len() {
                self.at += WORD.len();
                continue;
            }
            self.at = self.body_end(at);
            return Some((&name[..length], at as u32, self.at as u32));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_found_without_reading_them() {
        const TEXT: &str = r#"
            // macro not_this() { }
            /* macro nor_this() { } */
            macro one(x) { if x { "}" } else { '}' } }
            macro  two
            { macro_like(1) } // }
            macro one($x) { 1 }
            macro three() { broken
        "#;
        let library = Library::new(&[("a.bt", TEXT)]);
        assert_eq!(library.names(), ["one", "three", "two"]);
        let texts: Vec<_> = library.find("one").iter().map(|m| &TEXT[m.lo as usize..m.hi as usize]).collect();
        assert_eq!(texts.len(), 2);
        assert!(texts[0].starts_with("macro one(x) {"));
        assert_eq!(texts[1], "macro one($x) { 1 }");
        assert!(library.find("three")[0].hi as usize == TEXT.len());
        assert!(library.find("not_this").is_empty());
    }
}

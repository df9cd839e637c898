//! From bytes that may be anything to a text.

use skep_ir::{Diagnostic, FileId, Severity, SourceMap, Span};

/// Adds a script that was read as bytes. What is no UTF-8 text is refused at its place, and what is no text at
/// all is named as what it seems to be.
///
/// # Errors
/// The message, whose place lies in a readable copy of the text that was added to `sources`.
pub fn add_bytes(sources: &mut SourceMap, name: &str, bytes: &[u8]) -> Result<FileId, Box<Diagnostic>> {
    if let Some(kind) = binary_kind(bytes) {
        let message = format!("{name} is {kind}, not a script");
        return Err(Box::new(Diagnostic::new(Severity::Error, None, message)));
    }
    // A byte order mark says nothing about UTF-8.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(sources.add_file(name, text)),
        Err(e) => {
            let start = e.valid_up_to();
            let file = sources.add_file(name, String::from_utf8_lossy(bytes));
            // The replacement character takes three bytes in the copy.
            let span = Span { file, lo: start as u32, hi: start as u32 + 3 };
            let byte = bytes.get(start).copied().unwrap_or_default();
            let message = format!("syntax: byte 0x{byte:02x} is not part of UTF-8 text");
            let hint = "scripts are UTF-8; convert the file, or write the byte in a string as \\xHH";
            Err(Box::new(Diagnostic::error(span.into(), message).hint(hint)))
        }
    }
}

fn binary_kind(bytes: &[u8]) -> Option<&'static str> {
    // NUL is valid UTF-8, but no editor writes it; text encoded in 16 bits is full of them.
    const LOOKED_AT: usize = 8192;
    let head = &bytes[..bytes.len().min(LOOKED_AT)];
    if head.starts_with(b"\x7fELF") {
        Some("an ELF file")
    } else if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        Some("UTF-16 text")
    } else if head.starts_with(b"\x1f\x8b") {
        Some("a gzip archive")
    } else if head.contains(&0) {
        Some("a binary file")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        let mut sources = SourceMap::default();
        let error = add_bytes(&mut sources, "a.bt", bytes).expect_err("it is no script");
        error.render(&sources, false)
    }

    #[test]
    fn text_is_taken_as_it_is() {
        let mut sources = SourceMap::default();
        let file = add_bytes(&mut sources, "a.bt", "\u{feff}begin { } // \u{e9}".as_bytes())
            .expect("it is a script");
        assert_eq!(&*sources.file(file).text, "begin { } // \u{e9}");
    }

    #[test]
    fn other_bytes_have_a_place_or_a_kind() {
        assert_eq!(refusal(b"\x7fELF\x02\x01\x01\0"), "ERROR: a.bt is an ELF file, not a script\n");
        assert_eq!(refusal(b"begin { \0 }"), "ERROR: a.bt is a binary file, not a script\n");
        assert_eq!(refusal(b"\xff\xfeb\0"), "ERROR: a.bt is UTF-16 text, not a script\n");
        let latin = refusal(b"begin {\n  print(\"\xe9\");\n}");
        assert!(
            latin.starts_with("a.bt:2:10-11: ERROR: syntax: byte 0xe9 is not part of UTF-8 text\n"),
            "{latin}"
        );
        let cut = refusal(b"begin { } // \xe2\x82");
        assert!(cut.starts_with("a.bt:1:14-15: ERROR: "), "{cut}");
    }
}

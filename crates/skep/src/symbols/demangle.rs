//! Names as programmers write them.

use cpp_demangle::{DemangleOptions, ParseOptions};
use std::fmt::Write;

/// Names that are longer are left as they are: reading one takes time and memory in no proportion.
const LONGEST: usize = 16 << 10;
/// Result that is cut off: nested substitutions can make short names endless.
const LONGEST_RESULT: usize = 64 << 10;
/// Of the reader, which calls itself: enough for all names of real programs.
const DEEPEST: u32 = 96;

/// The name of a C++ or Rust function as it was written, with parameters for C++ and without the hash for Rust.
/// `None` if the name is not mangled.
pub(crate) fn demangle(name: &str) -> Option<String> {
    if !is_mangled(name) || name.len() > LONGEST {
        return None;
    }
    rust(name).or_else(|| cpp(name))
}

/// Whether a name looks mangled; cheap.
pub(crate) fn is_mangled(name: &str) -> bool {
    name.starts_with("_Z") || name.starts_with("_R")
}

fn rust(name: &str) -> Option<String> {
    let demangled = rustc_demangle::try_demangle(name).ok()?;
    // Names of C++ have the form of old Rust names but for the hash at the end.
    if name.starts_with("_Z") && !has_hash(name) {
        return None;
    }
    let mut text = Limited(String::new());
    write!(text, "{demangled:#}").ok()?;
    Some(text.0)
}

/// Whether the last part of `_ZN..E` is `17h` and 16 hexadecimal digits; suffixes such as `.llvm.1234` may follow.
fn has_hash(name: &str) -> bool {
    let name = name.split('.').next().unwrap_or_default();
    let hash = name.strip_suffix('E').and_then(|n| n.len().checked_sub(19).and_then(|at| n.get(at..)));
    hash.and_then(|h| h.strip_prefix("17h")).is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn cpp(name: &str) -> Option<String> {
    let limits = ParseOptions::default().recursion_limit(DEEPEST);
    let symbol = cpp_demangle::Symbol::new_with_options(name.as_bytes(), &limits).ok()?;
    let mut text = Limited(String::new());
    symbol.structured_demangle(&mut text, &DemangleOptions::default()).ok()?;
    Some(text.0)
}

/// Refuses to become longer than a name can be.
struct Limited(String);

impl Write for Limited {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > LONGEST_RESULT {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::demangle;

    #[test]
    fn names() {
        let cases = [
            ("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", Some("core::fmt::Write::write_fmt")),
            (
                "_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE.llvm.123",
                Some("core::fmt::Write::write_fmt"),
            ),
            ("_RNvC6_123foo3bar", Some("123foo::bar")),
            (
                "_ZNSt6vectorIiSaIiEE9push_backERKi",
                Some("std::vector<int, std::allocator<int> >::push_back(int const&)"),
            ),
            ("_ZN3foo3barEv", Some("foo::bar()")),
            ("_Z3addii", Some("add(int, int)")),
            ("_ZTV3Foo", Some("{vtable(Foo)}")),
            ("main", None),
            ("_Z", None),
            ("_R", None),
            ("_ZN", None),
            ("", None),
        ];
        for (mangled, expected) in cases {
            assert_eq!(demangle(mangled).as_deref(), expected, "{mangled}");
        }
        assert_eq!(demangle(&format!("_Z3f{}", "P".repeat(100_000))), None);
        assert_eq!(demangle(&format!("_Z1f{}i", "P".repeat(10_000))), None);
    }
}

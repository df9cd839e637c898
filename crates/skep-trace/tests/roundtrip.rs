//! Every script of the case files, formatted.

mod common;

use skep_ir::SourceMap;
use skep_trace::syntax::fmt;
use std::path::Path;

fn check(text: &str, where_from: &str) -> bool {
    let mut sources = SourceMap::default();
    let file = sources.add_file("text.bt", text);
    let Ok(formatted) = fmt::format(&sources, file) else { return false };
    if let Err(why) = common::is_same_script(text, &formatted) {
        panic!("{where_from}: {why}");
    }
    true
}

#[test]
fn formatting_keeps_scripts() {
    let mut count = 0;
    for folder in ["parse", "fmt", "expand"] {
        for entry in std::fs::read_dir(Path::new("tests/cases").join(folder)).expect("cases are there") {
            let path = entry.expect("folders can be listed").path();
            let text = std::fs::read_to_string(&path).expect("cases are text");
            for case in testkit::parse(&text).expect("cases are well formed") {
                let name = format!("{}: {}", path.display(), case.name);
                for line in case.section("programs").unwrap_or("").lines() {
                    count += usize::from(check(line, &name));
                    // The same in as many lines as it has words, with a comment behind each.
                    if !line.contains(['"', '#', ':']) {
                        let words: Vec<_> = line.split(' ').collect();
                        check(&words.join("\n"), &name);
                        check(&(words.join(" // c\n") + "\n"), &name);
                        check(&words.join(" /* c */ "), &name);
                    }
                }
                if let Some(source) = case.section("source") {
                    count += usize::from(check(source, &name));
                }
            }
        }
    }
    assert!(count > 250, "only {count} scripts were formatted");
}

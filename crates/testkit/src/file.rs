//! The format of a case file.

use std::path::PathBuf;

/// One case of a file.
#[derive(Debug, Clone)]
pub struct Case {
    /// Text after `=== `; unique within its file.
    pub name: String,
    /// Line of the `=== ` in the file, from 1.
    pub line: usize,
    attributes: Vec<(String, String)>,
    sections: Vec<(String, String)>,
}

impl Case {
    /// The value of an attribute line, if the case has it.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        find(&self.attributes, name)
    }

    /// The lines of a section, each ended by a newline, if the case has it.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&str> {
        find(&self.sections, name)
    }

    /// A section that the case must have.
    ///
    /// # Errors
    /// Names the missing section.
    pub fn required(&self, name: &str) -> Result<&str, String> {
        self.section(name).ok_or_else(|| format!("the case has no section {name}"))
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// A malformed case file.
#[derive(Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for ParseError {}

/// Reads the cases of a file.
///
/// # Errors
/// A line between a case's title and its first section that is no `attribute: value`, a section outside of
/// a case, and two cases or two sections of one name.
pub fn parse(text: &str) -> Result<Vec<Case>, ParseError> {
    let mut cases: Vec<Case> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let error = |problem: String| Err(ParseError { line: number, problem });
        if let Some(name) = line.strip_prefix("=== ") {
            let name = name.trim().to_owned();
            if cases.iter().any(|c| c.name == name) {
                return error(format!("a second case named {name}"));
            }
            cases.push(Case { name, line: number, attributes: Vec::new(), sections: Vec::new() });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(name) = line.strip_prefix("--- ") {
            let name = name.trim().to_owned();
            if case.section(&name).is_some() {
                return error(format!("a second section {name} in case {}", case.name));
            }
            case.sections.push((name, String::new()));
        } else if let Some((_, body)) = case.sections.last_mut() {
            body.push_str(line.strip_prefix('\\').filter(|l| is_marker(l)).unwrap_or(line));
            body.push('\n');
        } else if let Some((name, value)) = line.split_once(':') {
            case.attributes.push((name.trim().to_owned(), value.trim().to_owned()));
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            return error(format!("expected `attribute: value` or `--- section`, found {line:?}"));
        }
    }
    // The blank lines that part a case from the next one do not belong to its last section.
    for case in &mut cases {
        for (_, body) in &mut case.sections {
            let kept = body.trim_end_matches('\n').len();
            body.truncate(kept);
            if kept > 0 {
                body.push('\n');
            }
        }
    }
    Ok(cases)
}

fn is_marker(line: &str) -> bool {
    line.starts_with("=== ") || line.starts_with("--- ")
}

/// Replaces sections of a file by what the runner produced, case by case.
pub(crate) struct Rewriter {
    path: PathBuf,
    text: String,
}

impl Rewriter {
    pub(crate) fn new(path: PathBuf, text: String) -> Self {
        Rewriter { path, text }
    }

    pub(crate) fn bless(&mut self, case: &Case, produced: &[(&str, String)]) -> std::io::Result<()> {
        self.text = replace(&self.text, &case.name, produced);
        std::fs::write(&self.path, &self.text)
    }
}

fn replace(text: &str, name: &str, produced: &[(&str, String)]) -> String {
    let title = |line: &str| line.strip_prefix("=== ").map(|n| n.trim().to_owned());
    let lines: Vec<&str> = text.lines().collect();
    let Some(start) = lines.iter().position(|l| title(l).as_deref() == Some(name)) else {
        return text.to_owned();
    };
    let end =
        lines[start + 1..].iter().position(|l| l.starts_with("=== ")).map_or(lines.len(), |n| start + 1 + n);
    let mut out: Vec<String> = lines[..=start].iter().map(|&l| l.to_owned()).collect();
    let mut skipping = false;
    for line in &lines[start + 1..end] {
        if let Some(section) = line.strip_prefix("--- ") {
            skipping = produced.iter().any(|(s, _)| *s == section.trim());
        }
        if !skipping {
            out.push((*line).to_owned());
        }
    }
    while out.last().is_some_and(|l| l.trim().is_empty()) {
        out.pop();
    }
    for (section, body) in produced {
        out.push(format!("--- {section}"));
        let escape = |l: &str| if is_marker(l) { format!("\\{l}") } else { l.to_owned() };
        out.extend(body.trim_end().lines().map(escape));
    }
    if end < lines.len() {
        out.push(String::new());
    }
    out.extend(lines[end..].iter().map(|&l| l.to_owned()));
    out.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "comment\n=== one\nkey: a: b\n--- in\nx\n\\--- y\n\n--- out\n1\n\n=== two\n--- in\nz\n";

    #[test]
    fn cases_attributes_and_sections_are_found() {
        let cases = parse(FILE).expect("well formed");
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[0].attribute("key"), Some("a: b"));
        assert_eq!(cases[0].section("in"), Some("x\n--- y\n"));
        assert_eq!(cases[0].section("out"), Some("1\n"));
        assert_eq!(cases[1].required("out"), Err("the case has no section out".to_owned()));
    }

    #[test]
    fn blessing_replaces_one_section_of_one_case() {
        let blessed = replace(FILE, "one", &[("out", "2\n--- 3\n".to_owned())]);
        let cases = parse(&blessed).expect("still well formed");
        assert_eq!(cases[0].section("in"), Some("x\n--- y\n"));
        assert_eq!(cases[0].section("out"), Some("2\n--- 3\n"));
        assert_eq!(cases[1].section("in"), Some("z\n"));
    }

    #[test]
    fn mistakes_have_a_line() {
        assert_eq!(parse("=== a\nnonsense\n").map_err(|e| e.line).err(), Some(2));
        assert_eq!(parse("=== a\n--- s\n--- s\n").map_err(|e| e.line).err(), Some(3));
        assert_eq!(parse("=== a\n=== a\n").map_err(|e| e.line).err(), Some(2));
    }
}

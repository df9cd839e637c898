//! Expected against actual output.

use super::parse::{Expect, Match};
use anyhow::{Context, Result, bail};
use regex::RegexBuilder;
use serde_json::Value;
use std::path::Path;

/// Equals anything in expected JSON.
const ANY: &str = "{{ANY}}";

/// `None` when the output is as expected, otherwise what is wrong with it. `text` is the directive's with its
/// placeholders filled in; files are looked for in `dir`.
pub(crate) fn difference(expect: &Expect, text: &str, actual: &str, dir: &Path) -> Result<Option<String>> {
    let found = match expect.kind {
        Match::Lines => has_lines(actual, text),
        Match::Regex => {
            let pattern = RegexBuilder::new(text).multi_line(true).build();
            pattern.with_context(|| format!("{} is no pattern", expect.directive))?.is_match(actual)
        }
        Match::File => {
            let path = dir.join(text);
            let wanted =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            return Ok(first_difference(wanted.trim(), actual.trim()));
        }
        Match::Json => {
            let wanted = if text.starts_with(['{', '[', '"']) {
                text.to_owned()
            } else {
                let path = dir.join(text);
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?
            };
            return json_difference(&wanted, actual);
        }
    };
    let shown = text.replace('\n', "\\n");
    Ok((found != expect.wanted).then(|| {
        let fault = if found { "is there" } else { "is not there" };
        format!("{} {shown} {fault}", expect.directive)
    }))
}

/// Whether the wanted lines stand one behind the other, blanks at both ends aside.
fn has_lines(actual: &str, wanted: &str) -> bool {
    let actual: Vec<&str> = actual.lines().map(str::trim).collect();
    let wanted: Vec<&str> = wanted.lines().map(str::trim).collect();
    actual.windows(wanted.len().max(1)).any(|window| window == wanted)
}

fn first_difference(wanted: &str, actual: &str) -> Option<String> {
    if wanted == actual {
        return None;
    }
    let (mut wanted, mut actual) = (wanted.lines(), actual.lines());
    for n in 1.. {
        let (w, a) = (wanted.next(), actual.next());
        if w != a || (w.is_none() && a.is_none()) {
            let show = |line: Option<&str>| line.map_or("the end".to_owned(), |l| format!("{l:?}"));
            return Some(format!("line {n} is {}, not {}", show(a), show(w)));
        }
    }
    None
}

fn json_difference(wanted: &str, actual: &str) -> Result<Option<String>> {
    let values =
        |text: &str| serde_json::Deserializer::from_str(text).into_iter().collect::<Result<Vec<Value>, _>>();
    let wanted = values(wanted).context("EXPECT_JSON is no JSON")?;
    if wanted.is_empty() {
        bail!("EXPECT_JSON holds no value");
    }
    let actual = match values(actual) {
        Ok(actual) => actual,
        Err(e) => return Ok(Some(format!("stdout is no JSON: {e}"))),
    };
    for (n, (w, a)) in wanted.iter().zip(&actual).enumerate() {
        if !equal(w, a) {
            return Ok(Some(format!("JSON value {} is {a}, not {w}", n + 1)));
        }
    }
    let (w, a) = (wanted.len(), actual.len());
    Ok((w != a).then(|| format!("there are {a} JSON values, not {w}")))
}

fn equal(wanted: &Value, actual: &Value) -> bool {
    match (wanted, actual) {
        (Value::String(any), _) if any == ANY => true,
        (Value::Array(w), Value::Array(a)) => w.len() == a.len() && w.iter().zip(a).all(|(w, a)| equal(w, a)),
        (Value::Object(w), Value::Object(a)) => {
            w.len() == a.len() && w.iter().all(|(key, w)| a.get(key).is_some_and(|a| equal(w, a)))
        }
        _ => wanted == actual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_match_whole_and_in_a_row() {
        let actual = "  first \nsecond\nthird\n";
        assert!(has_lines(actual, "first") && has_lines(actual, "second\n third"));
        assert!(!has_lines(actual, "firs") && !has_lines(actual, "first\nthird") && !has_lines("", "x"));
    }

    #[test]
    fn json_is_compared_value_by_value() {
        let differs = |wanted, actual| json_difference(wanted, actual).expect("the wanted side is JSON");
        assert_eq!(differs(r#"{"a":1,"b":[2]}"#, "{\"b\": [2],\n \"a\": 1}\n"), None);
        assert_eq!(differs(r#"{"a":"{{ANY}}"}"#, r#"{"a":{"b":1}}"#), None);
        assert!(differs(r#"{"a":1}"#, r#"{"a":1,"b":2}"#).is_some());
        assert!(differs("{} []", "{}").is_some());
        assert!(differs("{}", "{} oops").is_some_and(|d| d.contains("no JSON")));
        assert!(json_difference("", "").is_err());
    }

    #[test]
    fn the_first_different_line_is_shown() {
        assert_eq!(first_difference("a\nb", "a\nb"), None);
        assert_eq!(first_difference("a\nb", "a\nc"), Some("line 2 is \"c\", not \"b\"".into()));
        assert_eq!(first_difference("a", "a\nc"), Some("line 2 is \"c\", not the end".into()));
    }
}

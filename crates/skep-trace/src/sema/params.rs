//! Parameters of a script: positional ones and options behind `--`.

use super::attach::number::integer;
use crate::plan::ScriptOption;

/// A parameter's value: a number if it reads as one, else text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    Int(i128),
    Text(String),
}

/// The value of a positional parameter. An empty one is text.
pub(crate) fn value(text: &str) -> Param {
    match integer(text) {
        Ok(n) => Param::Int(n),
        Err(_) => Param::Text(text.to_owned()),
    }
}

/// Parts what stands behind `--` into options (`--name`, `--name=value`) and further positional parameters.
#[must_use]
pub fn split(args: &[String]) -> (Vec<(String, Option<String>)>, Vec<String>) {
    let (mut named, mut positional) = (Vec::new(), Vec::new());
    for arg in args {
        match arg.strip_prefix("--") {
            Some(option) => named.push(match option.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (option.to_owned(), None),
            }),
            None => positional.push(arg.clone()),
        }
    }
    (named, positional)
}

/// What `--help` behind `--` prints.
#[must_use]
pub fn help(options: &[ScriptOption]) -> String {
    if options.is_empty() {
        return "HINT: no custom program options defined\n".to_owned();
    }
    let lines = options.iter().map(|o| match o.help.as_str() {
        "" => format!("--{}\n", o.name),
        text => format!("--{}: {text}\n", o.name),
    });
    std::iter::once("HINT: expected program options:\n".to_owned()).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_parameters_are_told_apart() {
        let args: Vec<String> = ["--aa=20", "x", "--dd", "--e="].map(Into::into).to_vec();
        let (named, positional) = split(&args);
        assert_eq!(positional, ["x"]);
        let expected = [("aa", Some("20")), ("dd", None), ("e", Some(""))];
        assert_eq!(named, expected.map(|(n, v)| (n.to_owned(), v.map(str::to_owned))));
        assert_eq!(value("0x10"), Param::Int(16));
        assert_eq!(value("1x"), Param::Text("1x".into()));
        let option = |name: &str, help: &str| ScriptOption { name: name.into(), help: help.into() };
        let text = help(&[option("a", "first"), option("b", "")]);
        assert_eq!(text, "HINT: expected program options:\n--a: first\n--b\n");
    }
}

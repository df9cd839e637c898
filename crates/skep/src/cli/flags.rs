//! Options as a table: parsing and help come from it.

use crate::console::{Failure, USAGE};
use lexopt::Arg;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

/// One option of a command whose arguments are a `T`.
pub(crate) struct Flag<T> {
    /// Letter behind `-`.
    pub(crate) short: Option<char>,
    /// Name behind `--`; empty if there is none.
    pub(crate) long: &'static str,
    /// What its value is called, if it takes one.
    pub(crate) value: Option<&'static str>,
    /// What it does, in a line or few.
    pub(crate) doc: &'static str,
    /// Takes note of it; the value is empty where it takes none.
    pub(crate) set: fn(&mut T, OsString) -> Result<(), Failure>,
}

/// What stands between and behind options.
#[derive(Debug, Default)]
pub(crate) struct Words {
    /// Before `--`.
    pub(crate) words: Vec<OsString>,
    /// Behind `--`.
    pub(crate) rest: Vec<OsString>,
}

/// Takes options and other words apart; they may be mixed.
///
/// # Errors
/// An unknown option, a missing value, or one that its option refuses. Wrong usage says where help is.
pub(crate) fn parse<T>(args: &[OsString], flags: &[Flag<T>], into: &mut T) -> Result<Words, Failure> {
    let mut parser = lexopt::Parser::from_args(args.iter().cloned());
    let mut found = Words::default();
    loop {
        if let Some(raw) = parser.try_raw_args()
            && raw.peek() == Some(OsStr::new("--"))
        {
            found.rest = raw.skip(1).collect();
            return Ok(found);
        }
        let flag = match parser.next().map_err(|e| wrong(&e.to_string()))? {
            None => return Ok(found),
            Some(Arg::Value(word)) => {
                found.words.push(word);
                continue;
            }
            Some(Arg::Short(letter)) => flags
                .iter()
                .find(|f| f.short == Some(letter))
                .ok_or_else(|| wrong(&format!("unknown option -{letter}")))?,
            Some(Arg::Long(name)) => find(name, flags)?,
        };
        let value = match flag.value {
            Some(name) => parser.value().map_err(|_| {
                let option = shown(flag);
                wrong(&format!("option {option} needs a value: {name}"))
            })?,
            None => OsString::new(),
        };
        (flag.set)(into, value)?;
    }
}

/// The option of a name, or of the beginning of one if it is the only one.
fn find<'f, T>(name: &str, flags: &'f [Flag<T>]) -> Result<&'f Flag<T>, Failure> {
    if let Some(exact) = flags.iter().find(|f| f.long == name) {
        return Ok(exact);
    }
    let mut similar = flags.iter().filter(|f| f.long.starts_with(name));
    match (similar.next(), similar.next()) {
        (Some(only), None) => Ok(only),
        (Some(one), Some(other)) => {
            Err(wrong(&format!("option --{name} could be --{} or --{}", one.long, other.long)))
        }
        (None, _) => Err(wrong(&format!("unknown option --{name}"))),
    }
}

fn shown<T>(flag: &Flag<T>) -> String {
    match flag.short {
        Some(letter) => format!("-{letter}"),
        None => format!("--{}", flag.long),
    }
}

/// Wrong usage.
pub(crate) fn wrong(text: &str) -> Failure {
    Failure::new(text).code(USAGE)
}

/// A value as text.
///
/// # Errors
/// It is not UTF-8.
pub(crate) fn text(value: OsString) -> Result<String, Failure> {
    value.into_string().map_err(|v| wrong(&format!("not UTF-8 text: {}", v.to_string_lossy())))
}

/// Columns before the description of an option.
const INDENT: usize = 29;

/// The options as help shows them.
pub(crate) fn help<T>(flags: &[Flag<T>]) -> String {
    let mut out = String::new();
    for flag in flags.iter().filter(|f| !f.doc.is_empty()) {
        let letter = flag.short.map(|c| format!("-{c}"));
        let long = (!flag.long.is_empty()).then(|| format!("--{}", flag.long));
        let mut names = match (letter, long) {
            (Some(letter), Some(long)) => format!("{letter}, {long}"),
            (Some(letter), None) => letter,
            (None, long) => format!("    {}", long.unwrap_or_default()),
        };
        if let Some(value) = flag.value {
            names.push(' ');
            names.push_str(value);
        }
        let mut lines = flag.doc.lines();
        let first = lines.next().unwrap_or_default();
        if names.len() + 4 > INDENT {
            let _ = writeln!(out, "  {names}\n{:INDENT$}{first}", "");
        } else {
            let _ = writeln!(out, "  {names:<width$}{first}", width = INDENT - 2);
        }
        for line in lines {
            let _ = writeln!(out, "{:INDENT$}{line}", "");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug, PartialEq)]
    struct Args {
        quiet: bool,
        program: String,
    }

    const FLAGS: &[Flag<Args>] = &[
        Flag {
            short: Some('q'),
            long: "quiet",
            value: None,
            doc: "Says less.",
            set: |a, _| {
                a.quiet = true;
                Ok(())
            },
        },
        Flag {
            short: Some('e'),
            long: "",
            value: Some("PROGRAM"),
            doc: "Runs it.\nAt once.",
            set: |a, v| {
                a.program = text(v)?;
                Ok(())
            },
        },
    ];

    fn parsed(args: &[&str]) -> Result<(Args, Words), String> {
        let args: Vec<OsString> = args.iter().map(Into::into).collect();
        let mut into = Args::default();
        let words = parse(&args, FLAGS, &mut into).map_err(|f| f.messages[0].message.clone())?;
        Ok((into, words))
    }

    #[test]
    fn options_words_and_what_is_behind_the_dashes() {
        let (args, words) = parsed(&["a", "-qe", "x", "b", "--", "-q", "--"]).expect("all is known");
        assert_eq!(args, Args { quiet: true, program: "x".into() });
        assert_eq!((words.words, words.rest), (vec!["a".into(), "b".into()], vec!["-q".into(), "--".into()]));
        assert!(parsed(&["--qui"]).expect("the only one").0.quiet);
        assert_eq!(parsed(&["-e", "--"]).expect("a value").0.program, "--");
        assert_eq!(parsed(&["-z"]).map(drop), Err("unknown option -z".into()));
        assert_eq!(parsed(&["--zz=1"]).map(drop), Err("unknown option --zz".into()));
        assert_eq!(parsed(&["-e"]).map(drop), Err("option -e needs a value: PROGRAM".into()));
        assert!(parsed(&["--quiet=1"]).is_err());
    }

    #[test]
    fn help_has_columns() {
        let expected = "  -q, --quiet                Says less.\n  -e PROGRAM                 Runs it.\n                             At once.\n";
        assert_eq!(help(FLAGS), expected);
    }
}

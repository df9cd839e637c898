//! Runs the tests, and reports those that could not.

use libtest_mimic::{Arguments, Failed, Trial};
use skep_sys::SysError;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

/// Why a test did not pass.
pub(crate) enum Stop {
    /// It cannot run here.
    Skip(String),
    /// It failed.
    Fail(String),
}

/// An unexpected error fails a test with its text.
impl<E: std::fmt::Display> From<E> for Stop {
    fn from(e: E) -> Self {
        Stop::Fail(e.to_string())
    }
}

pub(crate) type Outcome = Result<(), Stop>;

/// Name, whether it needs root, and the test.
pub(crate) type Test = (&'static str, Needs, fn() -> Outcome);

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Needs {
    Nothing,
    Root,
}

/// A kernel without the feature skips the test; any other error fails it.
pub(crate) fn unless_unsupported<T>(what: &str, result: Result<T, SysError>) -> Result<T, Stop> {
    result.map_err(|e| if e.is_unsupported() { Stop::Skip(format!("{what}: {e}")) } else { e.into() })
}

/// Fails with the text unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::harness::Stop::Fail(format!($($text)+)));
        }
    };
}
pub(crate) use ensure;

/// Fails with both values unless they are equal.
macro_rules! ensure_eq {
    ($left:expr, $right:expr) => {
        // A match keeps the temporaries of both sides until its end.
        match (&$left, &$right) {
            (left, right) if left == right => {}
            (left, right) => {
                let text = format!("{} = {left:?}, expected {right:?}", stringify!($left));
                return Err($crate::harness::Stop::Fail(text));
            }
        }
    };
}
pub(crate) use ensure_eq;

pub(crate) fn run(tests: &[Test]) -> ExitCode {
    let args = Arguments::from_args();
    let is_root = rustix::process::geteuid().is_root();
    let skipped = Arc::new(Mutex::new(Vec::new()));
    let trials = tests.iter().map(|&(name, needs, test)| {
        let skipped = Arc::clone(&skipped);
        Trial::test(name, move || {
            let outcome =
                if needs == Needs::Root && !is_root { Err(Stop::Skip("needs root".into())) } else { test() };
            match outcome {
                Ok(()) => Ok(()),
                Err(Stop::Fail(text)) => Err(Failed::from(text)),
                Err(Stop::Skip(why)) => {
                    skipped.lock().expect("no test panics while it holds the list").push((name, why));
                    Ok(())
                }
            }
        })
    });
    let conclusion = libtest_mimic::run(&args, trials.collect());
    report(&skipped.lock().expect("all tests have ended"));
    conclusion.exit_code()
}

#[allow(clippy::print_stdout, reason = "a test harness reports on stdout")]
fn report(skipped: &[(&str, String)]) {
    for (name, why) in skipped {
        println!("skipped: {name}: {why}");
    }
    if !skipped.is_empty() {
        println!("{} skipped", skipped.len());
    }
}

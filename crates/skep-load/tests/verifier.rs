//! Cases of rejected programs: `program` is in the notation of the verifier's log, of the kind that the
//! attributes say; `log` is what a kernel said about it, `message` what the user reads.
//!
//! With `SKEP_RECORD=1`, as root, the logs of the cases for the running kernel (attribute `kernel`) are what it
//! says now; with `SKEP_BLESS=1` too they are written into the files.

#[allow(dead_code, reason = "shared by several test targets")]
mod support;

use skep_load::verifier::explain;
use skep_load::{LiveKernel, LoadOptions, load};
use skep_sys::proc::{kernel_release, kernel_version};
use testkit::{Case, Outcome};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/verifier", run)
}

fn run(case: &Case) -> Outcome {
    let kind = case.attribute("kind").unwrap_or("raw_tp");
    let attach: Vec<&str> = case.attribute("attach").into_iter().collect();
    let mut collection = support::collection(kind, &attach, case.required("program")?)?;
    if let Some(license) = case.attribute("license") {
        collection.license = license.into();
    }
    if let Some(times) = case.attribute("repeat") {
        // The last instruction but one, so many times: programs that are too long to write down.
        let times: usize = times.parse().map_err(|_| "repeat is no number")?;
        let insns = &mut collection.programs[0].insns;
        let at = insns.len().saturating_sub(2);
        let again = insns[at];
        insns.splice(at..at, std::iter::repeat_n(again, times));
    }
    let mut out = Vec::new();
    let log = if std::env::var_os("SKEP_RECORD").is_some() && is_running(case) {
        match load(&collection, &LiveKernel::new(), &LoadOptions::default()) {
            Ok(_) => return Err("the kernel takes the program".into()),
            Err(failure) if failure.log.text.is_empty() => {
                return Err(format!("the kernel says nothing: {failure}").into());
            }
            Err(failure) => {
                let log = shortened(&failure.log.text);
                out.push(("log", log.clone()));
                log
            }
        }
    } else {
        case.required("log")?.to_owned()
    };
    let message = explain(&collection.programs[0], &log).render(&collection.sources, false);
    out.push(("message", message));
    Ok(out)
}

/// Whether a case is about the running kernel.
fn is_running(case: &Case) -> bool {
    let (major, minor, _) = kernel_version(&kernel_release());
    case.attribute("kernel").unwrap_or("6.18") == format!("{major}.{minor}")
}

/// Long logs without their middle, and none with addresses of the machine that they are from.
fn shortened(log: &str) -> String {
    const KEPT: usize = 30;
    let lines: Vec<String> = log.lines().map(without_addresses).collect();
    if lines.len() <= 2 * KEPT {
        return format!("{}\n", lines.join("\n"));
    }
    let tail = &lines[lines.len() - KEPT..];
    format!("{}\n{}\n", lines[..KEPT].join("\n"), tail.join("\n"))
}

fn without_addresses(line: &str) -> String {
    const ADDRESS: &str = "0xffff";
    let mut parts = line.split(ADDRESS);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_hexdigit()).len();
        out.push_str(ADDRESS);
        out.push_str(if digits == 12 { "888000000000" } else { &part[..digits] });
        out.push_str(&part[digits..]);
    }
    out
}

//! From refusals of the kernel to messages for the user.
//!
//! The compiler keeps where each instruction comes from; the verifier's log ends with the instruction that it
//! stopped at and the reason. Together they give a place in the source and a cause in words that do not need
//! knowledge of the verifier.

mod log;
mod refusal;
mod table;

pub use log::{Summary, summarise};
pub(crate) use refusal::unbound;
pub use table::{Blame, MEANINGS, Meaning};

use crate::failure::{LoadFailure, Stage};
use crate::kernel::LiveKernel;
use skep_asm::{Callee, Kind};
use skep_ir::diag::{Diagnostic, Severity};
use skep_ir::module::MapId;
use skep_ir::source::Loc;
use skep_ir::spec::{Collection, MapSpec, ProgramSpec};
use skep_sys::SysError;
use skep_sys::bpf::{LoadError, Log};

/// A failure that needs no more than its text.
pub(crate) fn plain_failure(stage: Stage, error: SysError, message: String) -> LoadFailure {
    let diagnostic = Box::new(Diagnostic::new(Severity::Error, None, message));
    LoadFailure { stage, error, log: Log::default(), diagnostic }
}

/// A program that was not given to the kernel at all.
pub(crate) fn not_tried(
    collection: &Collection,
    index: usize,
    error: SysError,
    mut diagnostic: Diagnostic,
) -> LoadFailure {
    if diagnostic.loc.is_none() {
        diagnostic.loc = collection.programs.get(index).and_then(first_loc);
    }
    let stage = Stage::Program(index);
    LoadFailure { stage, error, log: Log::default(), diagnostic: Box::new(diagnostic) }
}

/// Type information that the kernel refused.
pub(crate) fn btf_failure(kernel: &LiveKernel, refused: LoadError) -> LoadFailure {
    let LoadError { error, log } = refused;
    let diagnostic = if log.text.is_empty() {
        refusal::diagnostic(kernel, None, "type information", &error)
    } else {
        let summary = summarise(&log.text);
        let message = "the kernel refuses the type information of the programs";
        let mut diagnostic = Diagnostic::new(Severity::Error, None, message);
        diagnostic.detail = summary.tail.last().map(|line| format!("kernel: {line}"));
        diagnostic.hint(DEFECT)
    };
    LoadFailure { stage: Stage::Btf, error, log, diagnostic: Box::new(diagnostic) }
}

/// A map that the kernel refused.
pub(crate) fn map_failure(kernel: &LiveKernel, id: MapId, spec: &MapSpec, error: SysError) -> LoadFailure {
    let diagnostic = Box::new(refusal::map(kernel, spec, &error));
    LoadFailure { stage: Stage::Map(id), error, log: Log::default(), diagnostic }
}

/// A program that the kernel refused.
pub(crate) fn program_failure(
    kernel: &LiveKernel,
    collection: &Collection,
    index: usize,
    refused: LoadError,
) -> LoadFailure {
    let LoadError { error, log } = refused;
    let stage = Stage::Program(index);
    let Some(spec) = collection.programs.get(index) else {
        return plain_failure(stage, error, "a program was refused".into());
    };
    let diagnostic = if log.text.is_empty() {
        let mut diagnostic =
            refusal::diagnostic(kernel, spec.kind, &format!("program {}", spec.name), &error);
        diagnostic.loc = first_loc(spec);
        diagnostic
    } else {
        explain(spec, &log.text)
    };
    LoadFailure { stage, error, log, diagnostic: Box::new(diagnostic) }
}

const DEFECT: &str = "this is a defect of skep, not of the program: please report it with the output of -v";

/// A verifier's log as a message: cause and remedy by the table, the place by the instruction.
#[must_use]
pub fn explain(spec: &ProgramSpec, log: &str) -> Diagnostic {
    let summary = summarise(log);
    let meaning = MEANINGS.iter().find_map(|m| {
        let cause = summary.reasons.iter().rev().find_map(|line| m.of(line));
        Some((m, cause?))
    });
    let loc = summary.insn.and_then(|insn| loc_of(spec, insn)).or_else(|| first_loc(spec));
    let cause = match (&meaning, &summary.report) {
        (Some((_, cause)), _) => cause.clone(),
        (None, Some(report)) => format!("the kernel's verifier refuses the program: {report}"),
        (None, None) => "the kernel's verifier refuses the program".to_owned(),
    };
    let mut diagnostic = Diagnostic::new(Severity::Error, loc, format!("{}: {cause}", spec.name));
    diagnostic.detail = detail(&summary);
    if let Some((meaning, _)) = &meaning
        && !meaning.remedy.is_empty()
    {
        diagnostic = diagnostic.hint(meaning.remedy);
    }
    if meaning.as_ref().is_none_or(|(m, _)| m.blame == Blame::Compiler) {
        diagnostic = diagnostic.hint(DEFECT);
    }
    for place in other_calls(spec, &summary, loc) {
        diagnostic = diagnostic.context(place, "called here too");
    }
    diagnostic
}

/// The last lines of the log that matter, and how many others there are.
fn detail(summary: &Summary<'_>) -> Option<String> {
    let mut lines: Vec<String> = summary.tail.iter().map(|line| format!("verifier: {line}")).collect();
    match summary.omitted {
        0 => {}
        1 => lines.push("(1 more line, -v shows it)".into()),
        n => lines.push(format!("({n} more lines, -v shows them)")),
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn first_loc(spec: &ProgramSpec) -> Option<Loc> {
    spec.locs.first().map(|&(_, loc)| loc)
}

fn loc_of(spec: &ProgramSpec, insn: u32) -> Option<Loc> {
    let after = spec.locs.partition_point(|&(at, _)| at <= insn);
    spec.locs.get(after.checked_sub(1)?).map(|&(_, loc)| loc)
}

/// Further places of a helper that the kernel does not offer: all must go, not only the first.
fn other_calls(spec: &ProgramSpec, summary: &Summary<'_>, first: Option<Loc>) -> Vec<Loc> {
    let offered = ["cannot use helper ", "unknown func ", "invalid func "];
    let helper = summary.reasons.iter().find_map(|line| {
        let name = offered.iter().find_map(|p| line.split_once(p))?.1;
        name.split_once('#')?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse::<i32>().ok()
    });
    let Some(helper) = helper else { return Vec::new() };
    let mut places: Vec<Loc> = Vec::new();
    for (insn, at) in spec.insns.iter().zip(0u32..) {
        if insn.kind() == Ok(Kind::Call(Callee::Helper(helper)))
            && let Some(loc) = loc_of(spec, at)
            && first.is_none_or(|f| f.span != loc.span)
            && !places.iter().any(|p| p.span == loc.span)
        {
            places.push(loc);
        }
    }
    places
}

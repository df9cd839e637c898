//! Text to bytes and back, and what queries say about each instruction.
//!
//! Sections: `text` in; `bytes` (the slots in little-endian order) and `facts` (feature, registers, access,
//! targets) out; `printed` out if printing does not give the text again.

use skep_asm::text::{Style, parse, print, print_code};
use skep_asm::{Code, Endian, Insn, RegSet, decode, encode};
use testkit::{Case, Outcome, Stop};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/insn", run)
}

fn run(case: &Case) -> Outcome {
    let text = case.required("text")?;
    let parsed = parse(text).map_err(|e| format!("the text does not parse: {e}"))?;
    let insns = &parsed.code.insns;
    for endian in [Endian::Little, Endian::Big] {
        let decoded = decode(&encode(insns, endian), endian).map_err(|e| e.to_string())?;
        if decoded != *insns {
            return Err(Stop::Fail(format!("{endian:?}: decoding gives {decoded:?}")));
        }
    }
    let printed = match case.attribute("style") {
        None => print(insns, &Style::default()),
        Some("dump") => {
            print(insns, &Style { numbers: true, opcodes: true, map_ids: true, ..Style::default() })
        }
        Some("symbols") => print_code(&parsed.code, &parsed.symbols),
        Some(other) => return Err(Stop::Fail(format!("no style {other}"))),
    };
    let again = parse(&printed).map_err(|e| format!("the printed text does not parse: {e}\n{printed}"))?;
    if again != parsed {
        return Err(Stop::Fail(format!("printing and parsing changes the program:\n{printed}{again:#?}")));
    }
    let bytes: String = insns.iter().map(|insn| hex(&insn.to_bytes(Endian::Little)) + "\n").collect();
    let mut sections = vec![("bytes", bytes), ("facts", facts(&parsed.code))];
    if printed.trim_end() != text.trim_end() {
        sections.push(("printed", printed));
    } else if case.section("printed").is_some() {
        return Err(Stop::Fail("printing gives the text again: the section printed is not needed".into()));
    }
    Ok(sections)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn facts(code: &Code) -> String {
    let mut out = String::new();
    let mut at = 0;
    while let Some(&insn) = code.insns.get(at) {
        out += &format!("{at}: {}\n", describe(insn, at));
        let half = insn.is_wide() && !code.insns.get(at + 1).is_some_and(|second| second.is_wide_tail());
        at += if half { 1 } else { insn.slots() };
    }
    code.refs.iter().for_each(|r| out += &format!("ref {}: {:?}\n", r.insn, r.kind));
    if code.subprogs.len() > 1 {
        let starts: Vec<_> = code.subprogs.iter().map(|s| s.insn).collect();
        out += &format!("functions {starts:?}\n");
    }
    out
}

fn describe(insn: Insn, at: usize) -> String {
    let mut out = match (insn.kind(), insn.feature()) {
        (Err(invalid), _) => return format!("invalid: {invalid}"),
        (_, Some(feature)) => format!("{} {}", feature.name(), feature.since()),
        (_, None) => "no feature".to_owned(),
    };
    let set = |set: RegSet| set.iter().map(|r| format!(" {r}")).collect::<String>();
    for (verb, regs) in [("reads", insn.reads()), ("writes", insn.writes())] {
        if !regs.is_empty() {
            out += &format!("; {verb}{}", set(regs));
        }
    }
    if let Some(a) = insn.access() {
        let verbs = [(a.reads, " load"), (a.writes, " store"), (a.atomic, " atomic")];
        let verbs: String = verbs.into_iter().filter(|v| v.0).map(|v| v.1).collect();
        out += &format!(";{verbs} {} bytes at {}{:+}", a.size.bytes(), a.base, a.off);
    }
    if insn.is_wide() {
        out += "; wide";
    }
    if insn.is_jump() {
        let target = insn.jump_target(at).map_or_else(|| "unknown".to_owned(), |t| t.to_string());
        out += if insn.is_branch() { "; branch to " } else { "; jump to " };
        out += &target;
    }
    if let Some(target) = insn.subprog_target(at) {
        out += &format!("; function at {target}");
    }
    if let Some(callee) = insn.callee() {
        out += &format!("; calls {callee:?}");
    }
    if insn.is_terminator() {
        out += "; ends";
    }
    out
}

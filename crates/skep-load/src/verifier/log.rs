//! What in a verifier log matters: the reason, the instruction, and how much is left out.

/// A log read from its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary<'l> {
    /// Lines after the last instruction that the verifier looked at: why it stopped. Usually one or two.
    pub reasons: Vec<&'l str>,
    /// Number of the instruction that it stopped at.
    pub insn: Option<u32>,
    /// The last lines worth showing: the instruction and the reasons.
    pub tail: Vec<&'l str>,
    /// Lines of the log that are not among them.
    pub omitted: usize,
    /// What a kernel that explains itself (since 7.x) gives as the reason, in its words.
    pub report: Option<String>,
}

/// Most lines of reasons that are shown.
const MOST_REASONS: usize = 4;

/// Reads a log. Damaged or cut ones give what can be had.
#[must_use]
pub fn summarise(log: &str) -> Summary<'_> {
    let all: Vec<&str> = log.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    // The explanation follows what other kernels say too.
    let explained = all.iter().position(|line| line.starts_with(REPORT));
    let lines = &all[..explained.unwrap_or(all.len())];
    let report = explained.and_then(|at| Report::read(&all[at..]));
    let end = lines.iter().rposition(|l| !is_statistics(l)).map_or(0, |last| last + 1);
    let mut reasons = Vec::new();
    let mut at = end;
    let mut instruction = None;
    while at > 0 {
        at -= 1;
        let line = lines[at];
        if let Some(insn) = instruction_number(line) {
            instruction = Some((at, insn));
            break;
        }
        if is_state(line) {
            // Before the first instruction stands the state that the program starts with.
            if !reasons.is_empty() {
                break;
            }
            continue;
        }
        if reasons.len() < MOST_REASONS {
            reasons.push((at, line));
        }
    }
    reasons.reverse();
    let mut tail: Vec<&str> = instruction.map(|(at, _)| lines[at]).into_iter().collect();
    tail.extend(reasons.iter().map(|(_, line)| *line));
    let reasons: Vec<&str> = reasons.into_iter().map(|(_, line)| line).collect();
    let named = reasons.iter().rev().find_map(|line| named_instruction(line));
    let insn = named.or(instruction.map(|(_, insn)| insn)).or(report.as_ref().and_then(|r| r.insn));
    let omitted = all.len() - tail.len();
    Summary { reasons, insn, tail, omitted, report: report.map(|r| r.text) }
}

/// First words of the explanation that kernels since 7.x give.
const REPORT: &str = "Verification failed: ";

/// An explanation: a title, then parts with a heading of their own (`Reason:`, `At:`...) and indented text.
struct Report {
    text: String,
    insn: Option<u32>,
}

impl Report {
    fn read(lines: &[&str]) -> Option<Report> {
        let title = lines.first()?.strip_prefix(REPORT)?;
        let part = |heading: &str| {
            let after = lines.iter().skip_while(|line| **line != heading).skip(1);
            after.take_while(|line| line.starts_with(' ')).map(|line| line.trim()).collect::<Vec<_>>()
        };
        let reason = part("Reason:").join(" ");
        let text = if reason.is_empty() { title.to_owned() } else { format!("{title}. {reason}") };
        let insn = part("At:").first().and_then(|line| line.strip_prefix("insn ")?.parse().ok());
        Some(Report { text, insn })
    }
}

/// `7: (79) r1 = ...`, and since 6.1 `7: R0=... (79) ...` never occurs alone: the state has no parenthesis right
/// after the number.
fn instruction_number(line: &str) -> Option<u32> {
    let (number, rest) = line.split_once(':')?;
    let number = number.parse().ok()?;
    rest.trim_start().starts_with('(').then_some(number)
}

/// Lines that show where the verifier is, not what it found.
fn is_state(line: &str) -> bool {
    let numbered = line.split_once(':').is_some_and(|(n, rest)| {
        n.bytes().all(|b| b.is_ascii_digit())
            && !n.is_empty()
            && rest.trim_start().starts_with(['R', 'f', 's', 'r'])
    });
    numbered
        || line.starts_with(';')
        || line.starts_with("from ")
        || line.starts_with("func#")
        || line.starts_with("Validating ")
        || line.starts_with("Live regs before insn")
        || line.starts_with("mark_precise")
        || line.starts_with("regs=")
        || line.starts_with("parent ")
        || line.starts_with("last_idx ")
        || line.starts_with("caller:")
        || line.starts_with("callee:")
        || line.starts_with("returning from callee:")
        || line.starts_with("to caller at ")
        || (line.starts_with("func '") && line.contains(" has btf_id "))
        || line.starts_with(" R")
        || line.starts_with(" frame")
}

fn is_statistics(line: &str) -> bool {
    line.starts_with("processed ")
        || line.starts_with("verification time ")
        || line.starts_with("stack depth ")
}

/// The instruction that a reason names itself: `unreachable insn 5`, `infinite loop detected at insn 3`,
/// `back-edge from insn 2 to 1`.
fn named_instruction(reason: &str) -> Option<u32> {
    let by_itself = ["unreachable insn ", "infinite loop detected at insn ", "back-edge from insn "];
    let start = by_itself.iter().find_map(|p| reason.find(p).map(|at| at + p.len()))?;
    let digits = reason[start..].split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

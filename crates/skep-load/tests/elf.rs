//! Cases of object files: `program` becomes a file, of which `readelf` shows sections, symbols and relocations.
//! Without readelf they are skipped.

#[allow(dead_code, reason = "shared by several test targets")]
mod support;

use skep_load::elf;
use std::process::Command;
use testkit::{Case, Outcome, Stop};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/elf", run)
}

fn run(case: &Case) -> Outcome {
    let kind = case.attribute("kind").unwrap_or("raw_tp");
    let attach: Vec<&str> = case.attribute("attach").into_iter().collect();
    let mut collection = support::collection(kind, &attach, case.required("program")?)?;
    for section in ["second", "third"] {
        if let Some(text) = case.section(section) {
            support::add_program(&mut collection, section, kind, &attach, text)?;
        }
    }
    for name in case.attribute("frozen").unwrap_or_default().split_whitespace() {
        for spec in collection.maps.values_mut().filter(|m| m.map.name == name) {
            spec.frozen = true;
            spec.map.contents = vec![(vec![0; 4], 7u64.to_le_bytes().to_vec())];
        }
    }
    let bytes = match elf::write(&collection) {
        Ok(bytes) => bytes,
        Err(error) => return Ok(vec![("error", format!("{error}\n"))]),
    };
    let path = std::env::temp_dir().join(format!("skep-elf-{}-{}.o", std::process::id(), case.line));
    std::fs::write(&path, &bytes).map_err(|e| e.to_string())?;
    let shown = Command::new("readelf").args(["-W", "-S", "-s", "-r"]).arg(&path).output();
    std::fs::remove_file(&path).map_err(|e| e.to_string())?;
    let shown = shown.map_err(|e| Stop::Skip(format!("readelf: {e}")))?;
    if !shown.status.success() || !shown.stderr.is_empty() {
        return Err(String::from_utf8_lossy(&shown.stderr).into_owned().into());
    }
    Ok(vec![("file", tidy(&String::from_utf8_lossy(&shown.stdout)))])
}

/// What matters of the tables: columns one blank apart, without addresses, offsets in the file, the names of
/// relocations (which differ between versions of readelf) and legends.
fn tidy(text: &str) -> String {
    const LEGEND: [&str; 6] =
        ["There are", "Key to", "(write),", "(link order)", "(exclude)", "processor specific"];
    let mut out = String::new();
    for line in text.lines().filter(|l| !LEGEND.iter().any(|part| l.contains(part))) {
        let line = line.split(" at offset ").next().unwrap_or(line);
        let mut words: Vec<&str> = line.split_whitespace().collect();
        words.retain(|w| !w.starts_with("R_BPF"));
        if line.trim_start().starts_with('[')
            && let Some(address) = words.iter().position(|w| *w == "0000000000000000")
        {
            words.drain(address..words.len().min(address + 2));
        }
        if !words.is_empty() {
            out.push_str(&words.join(" "));
            out.push('\n');
        }
    }
    out
}

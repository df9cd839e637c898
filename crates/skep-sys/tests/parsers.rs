//! The parsers of kernel text, as case files: the attribute `parser` names one, `input` is its text. With
//! `escapes: yes` the input may hold `\0`, `\t` and `\xNN`; a last line of `\c` takes away the newline before it.

use skep_sys::cpu::CpuList;
use skep_sys::perf::BitRange;
use skep_sys::proc::{self, Lockdown, MountTable, Perms, ProcStat, ProcStatus, Symbol, SymbolTable, Users};
use std::fmt::Debug;
use std::ops::ControlFlow;
use testkit::{Case, Outcome};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/parsers", run)
}

fn run(case: &Case) -> Outcome {
    let parser = case.attribute("parser").ok_or("the case names no parser")?;
    let input = case.required("input")?;
    let bytes =
        if case.attribute("escapes") == Some("yes") { unescape(input)? } else { input.as_bytes().to_vec() };
    let text = || String::from_utf8(bytes.clone()).map_err(|e| e.to_string());
    let out = match parser {
        "cpulist" => {
            let mut out = String::new();
            for line in text()?.lines() {
                out += &match CpuList::parse(line) {
                    Some(list) => format!("{} {:?}\n", list.len(), list.iter().collect::<Vec<_>>()),
                    None => "refused\n".to_owned(),
                };
            }
            out
        }
        "kallsyms" => {
            let mut out = String::new();
            let visited = proc::visit_symbols_in(&bytes[..], |symbol| {
                let Symbol { addr, kind, name, module } = symbol;
                out += &format!("{addr:#x} {} {name} {module:?}\n", char::from(kind));
                ControlFlow::Continue(())
            });
            out += &format!("{:?}\n", visited.map_err(|e| e.to_string())?);
            out
        }
        "symbols" => {
            let functions = case.attribute("functions") == Some("yes");
            let table = SymbolTable::read(&bytes[..], functions).map_err(|e| e.to_string())?;
            let mut out = format!("{} symbols, hidden {}\n", table.len(), table.is_hidden());
            for addr in case.attribute("resolve").unwrap_or("").split_ascii_whitespace() {
                let number = u64::from_str_radix(addr, 16).map_err(|e| e.to_string())?;
                out += &match table.resolve(number) {
                    Some(r) => format!("{addr} {}+{:#x} {:?}\n", r.name, r.offset, r.module),
                    None => format!("{addr} -\n"),
                };
            }
            out
        }
        "maps" => texts(proc::parse_maps(&bytes).map(|m| {
            let Perms { read, write, execute, shared } = m.perms;
            let letters = [(read, 'r'), (write, 'w'), (execute, 'x'), (shared, 's')];
            let perms: String = letters.iter().filter(|(on, _)| *on).map(|(_, letter)| letter).collect();
            let file = (m.device, m.inode, &m.path, m.deleted, m.is_file());
            format!("{:#x}-{:#x} {perms} {:#x} {file:?}", m.start, m.end, m.offset)
        })),
        "mountinfo" => lines(MountTable::parse(&bytes).iter()),
        "stat" => format!("{:#?}\n", ProcStat::parse(&bytes)),
        "status" => format!("{:#?}\n", ProcStatus::parse(&text()?)),
        "argv" => format!("{:?}\n", proc::argv(&bytes)),
        "cgroup" => format!("{:?}\n", proc::parse_cgroup(&bytes)),
        "passwd" => lines(Users::parse(&bytes).iter()),
        "lockdown" => lines(text()?.lines().map(Lockdown::parse)),
        "release" => texts(text()?.lines().map(|line| {
            let version = proc::kernel_version(line);
            format!("{version:?} {:#x}", proc::version_code(version))
        })),
        "pmu" => lines(text()?.lines().map(BitRange::parse)),
        other => return Err(format!("no parser {other}").into()),
    };
    Ok(vec![("expected", out)])
}

/// One line for each.
fn lines<T: Debug>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| format!("{item:?}\n")).collect::<Vec<_>>().concat()
}

/// One line for each, as it is.
fn texts(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().map(|item| item + "\n").collect::<Vec<_>>().concat()
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let text = text.strip_suffix("\n\\c\n").unwrap_or(text);
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'0') => out.push(0),
            Some(b't') => out.push(b'\t'),
            Some(b'x') => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&digits, 16).map_err(|e| e.to_string())?);
            }
            other => return Err(format!("unknown escape {other:?}")),
        }
    }
    Ok(out)
}

//! Symbols of processes that run, have ended, or lost their file.

use super::process::{UserOptions, UserSymbols};
use super::program::Program;
use super::source::Source;
use super::testing::{Folder, PROGRAM, TYPED, line_of};
use skep_trace::config::UserSymbolCache;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The test program while it sleeps, and the address of its function `twice`.
struct Running {
    child: Child,
    twice: u64,
}

impl Running {
    fn start(program: &Path) -> Running {
        let mut child =
            Command::new(program).arg("wait").stdout(Stdio::piped()).spawn().expect("it was just compiled");
        let mut line = String::new();
        let output = child.stdout.as_mut().expect("it was piped");
        BufReader::new(output).read_line(&mut line).expect("it prints a line");
        let address = line.trim().split_once(" 0x").expect("a number and an address").1;
        Running { child, twice: u64::from_str_radix(address, 16).expect("an address") }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

fn symbols(cache: UserSymbolCache) -> UserSymbols {
    UserSymbols::new(UserOptions { cache, ..UserOptions::default() })
}

fn name(symbols: &mut UserSymbols, pid: u32, address: u64) -> Option<String> {
    let found = symbols.resolve(pid, address, false)?;
    Some(format!("{}+{}", found.name.as_deref()?, found.offset))
}

#[test]
fn running_and_ended() {
    let folder = Folder::new("processes");
    for (file, flags) in [("pie", &["-pie", "-fPIE"][..]), ("fixed", &["-no-pie", "-fno-PIE"])] {
        let Some(program) = folder.compile(file, PROGRAM, flags) else { return };
        let mut process = Running::start(&program);
        let (pid, twice) = (process.pid(), process.twice);
        let mut all =
            [UserSymbolCache::PerPid, UserSymbolCache::PerProgram, UserSymbolCache::None].map(symbols);
        for symbols in &mut all {
            assert_eq!(name(symbols, pid, twice).as_deref(), Some("twice+0"));
            assert_eq!(name(symbols, pid, twice + 3).as_deref(), Some("twice+3"));
            let found = symbols.resolve(pid, twice, false).expect("just found");
            assert_eq!(found.path.as_deref(), program.to_str());
            let before = symbols.resolve(pid, twice, true).and_then(|s| s.name.clone());
            assert_ne!(
                before.as_deref(),
                Some("twice"),
                "a call that ends the function before it returns there"
            );
            let inside = symbols.resolve(pid, twice + 1, true).expect("inside");
            assert_eq!((inside.name.as_deref(), inside.offset), (Some("twice"), 1));
            assert_eq!(name(symbols, pid, 1), None);
            assert_eq!(name(symbols, pid, u64::MAX), None);
        }
        process.stop();
        for symbols in &mut all[..2] {
            assert_eq!(name(symbols, pid, twice + 5).as_deref(), Some("twice+5"), "known before its end");
        }
        assert_eq!(name(&mut symbols(UserSymbolCache::PerPid), pid, twice), None, "never seen alive");
    }
}

#[test]
fn removed_file() {
    let folder = Folder::new("removed");
    let Some(program) = folder.compile("removed", PROGRAM, &[]) else { return };
    let process = Running::start(&program);
    std::fs::remove_file(&program).expect("it was just made");
    std::fs::write(&program, "another file").expect("the test's folder");
    let mut symbols = symbols(UserSymbolCache::PerPid);
    assert_eq!(name(&mut symbols, process.pid(), process.twice).as_deref(), Some("twice+0"));
}

#[test]
fn remembered_for_those_that_follow() {
    let folder = Folder::new("remembered");
    let Some(program) = folder.compile("again", PROGRAM, &["-no-pie", "-fno-PIE"]) else { return };
    let mut first = Running::start(&program);
    let options =
        |chosen| UserOptions { cache: UserSymbolCache::PerProgram, chosen, ..UserOptions::default() };
    let (mut symbols, mut unsure) = (UserSymbols::new(options(true)), UserSymbols::new(options(false)));
    symbols.remember(first.pid());
    unsure.remember(first.pid());
    let second = Running::start(&program);
    let (pid, twice) = (second.pid(), second.twice);
    first.stop();
    drop(second);
    assert_eq!(name(&mut symbols, pid, twice).as_deref(), Some("twice+0"));
    assert_eq!(name(&mut unsure, pid, twice), None, "any program could have been there");
}

#[test]
fn own_code() {
    let mut symbols = symbols(UserSymbolCache::PerPid);
    let pid = std::process::id();
    let address = own_code as fn() as usize as u64;
    let found = name(&mut symbols, pid, address).expect("this program has symbols");
    assert_eq!(found, "skep::symbols::tests::own_code+0");
    let vdso = skep_sys::proc::maps(pid).expect("own mappings");
    let vdso = vdso.into_iter().find(|m| m.path.as_deref() == Some(Path::new("[vdso]")));
    if let Some(vdso) = vdso {
        let mut inside = (vdso.start..vdso.end).step_by(16);
        assert!(inside.any(|at| name(&mut symbols, pid, at).is_some_and(|n| n.starts_with("clock_gettime"))));
    }
}

#[test]
fn kernel() {
    let mut symbols = super::kernel::KernelSymbols::default();
    assert_eq!(symbols.resolve(1), None);
    let (found, visited) = skep_sys::proc::find_symbols(&["vfs_read"]).expect("kallsyms can be read");
    if visited.hidden {
        return;
    }
    let address = found[0][0].addr;
    let symbol = symbols.resolve(address + 4).expect("it was found");
    assert_eq!((symbol.name, symbol.offset), ("vfs_read", 4));
}

#[test]
fn damaged_files() {
    let folder = Folder::new("damaged");
    let Some(program) = folder.compile("whole", PROGRAM, &["-g", "-O1"]) else { return };
    let whole = std::fs::read(program).expect("it was just made");
    let folders: std::rc::Rc<[std::path::PathBuf]> = [].into();
    let ask = |bytes: Vec<u8>| {
        let len = bytes.len() as u64;
        let Ok(program) = Program::open(Source::Bytes(bytes), Path::new("x"), &folders) else {
            return;
        };
        let _ = (program.is_stripped(), super::usdt::probes(program.elf()), program.elf().build_id());
        for address in [0, 0x1139, 0x401136, len, u64::MAX] {
            let _ = program.addresses().resolve(address);
            let _ = (program.elf().file_offset(address), program.elf().address_of(address));
            let _ = (program.elf().address_of_mapped(address), program.elf().bytes_at(address, 100));
        }
    };
    for len in (0..whole.len()).step_by(97) {
        ask(whole[..len].to_vec());
    }
    // Numbers at the ends of the file, where the headers are, changed to extremes.
    let head = (0..whole.len().min(1024)).chain(whole.len().saturating_sub(2600)..whole.len());
    for at in head {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            ask(bytes);
        }
    }
}

#[test]
fn lines_and_inlined_functions() {
    let folder = Folder::new("lines");
    let Some(path) = folder.compile("lines", TYPED, &["-O1", "-g"]) else { return };
    let folders: std::rc::Rc<[std::path::PathBuf]> = [].into();
    let source = Source::file(std::fs::File::open(&path).expect("it was just made")).expect("a file");
    let program = Program::open(source, &path, &folders).expect("a program");
    let lines = program.lines().expect("debug data");
    let file = path.with_extension("c").to_string_lossy().into_owned();
    let symbols: Vec<_> = program
        .tables()
        .flat_map(|t| t.iter().map(|s| (s.name.to_owned(), s.address, s.size)).collect::<Vec<_>>())
        .collect();
    let (_, start, size) = symbols.iter().find(|(name, ..)| name == "measure").expect("a function").clone();
    let first = lines.at(start, true);
    let at = first.line.expect("a line");
    assert_eq!(at.file, file);
    // Without a prologue the first line of the body begins there as well.
    let begins = line_of(TYPED, "size measure(");
    assert!((begins..=begins + 1).contains(&at.line), "{}", at.line);
    let inlined = (start..start + size).map(|a| lines.at(a, true)).find(|p| !p.inlined.is_empty());
    let inlined = inlined.expect("a function was inlined");
    assert_eq!(inlined.inlined.len(), 1);
    let (name, inside) = &inlined.inlined[0];
    assert_eq!(name, "inner");
    assert_eq!(inside.as_ref().map(|l| l.line), Some(line_of(TYPED, "in inner")));
    assert_eq!(inlined.line.map(|l| l.line), Some(line_of(TYPED, "call of inner")));
    assert_eq!(lines.at(1, true), Default::default());
}

#[test]
fn damaged_debug_data() {
    let folder = Folder::new("damaged-debug");
    let Some(path) = folder.compile("typed", TYPED, &["-O1", "-g"]) else { return };
    let whole = std::fs::read(&path).expect("it was just made");
    let folders: std::rc::Rc<[std::path::PathBuf]> = [].into();
    let open = |bytes: Vec<u8>| Program::open(Source::Bytes(bytes), Path::new("x"), &folders).ok();
    let program = open(whole.clone()).expect("a program");
    let debug = program.elf().sections.iter().filter(|s| s.name.starts_with(".debug_"));
    let places: Vec<usize> = debug.flat_map(|s| s.offset as usize..(s.offset + s.size) as usize).collect();
    for (i, at) in places.into_iter().enumerate().step_by(11) {
        let mut bytes = whole.clone();
        bytes[at] = [0xff, 0, 0x80, 0x7f][i % 4];
        let Some(program) = open(bytes) else { continue };
        let _ = super::dwarf::btf(program.elf());
        let _ = super::dwarf::addresses(program.elf(), "typed.c", 20, None);
        if let Some(lines) = program.lines() {
            for address in (0x1100..0x1300).step_by(16) {
                let _ = lines.at(address, true);
            }
        }
    }
}

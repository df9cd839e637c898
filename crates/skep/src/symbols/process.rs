//! Symbols of processes.
//!
//! What a process has mapped is read when one of its addresses is first asked for, or earlier on request: of a
//! process that has ended only what is known by then can be told. Files are opened along with it, since a file that
//! was removed can only be reached through a process that has mapped it; their symbols are read when they are
//! needed.

use super::demangle::demangle;
use super::jit::JitNames;
use super::program::Program;
use super::source::Source;
use super::{debug_file, open};
use skep_sys::proc::{self, MemoryMap};
use skep_trace::config::UserSymbolCache;
use skep_trace::output::UserSymbol;
use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// More are not kept open at a time.
const MOST_FILES: usize = 512;
/// Processes that are remembered.
const MOST_PROCESSES: usize = 4096;
/// Addresses of a process that are remembered.
const MOST_ADDRESSES: usize = 1 << 16;
/// Mappings are read again for addresses that are in none, but not more often.
const PAUSE: Duration = Duration::from_millis(10);

/// How symbols of processes are told.
#[derive(Debug, Clone)]
pub(crate) struct UserOptions {
    /// What is remembered of processes.
    pub(crate) cache: UserSymbolCache,
    /// Whether the user chose what is remembered, and so vouches that all processes run one program.
    pub(crate) chosen: bool,
    /// Whether names are written as programmers do.
    pub(crate) demangle: bool,
    /// Whether source lines and inlined functions are looked up.
    pub(crate) lines: bool,
    /// Where separate debug files are.
    pub(crate) debug_folders: Vec<PathBuf>,
}

impl Default for UserOptions {
    fn default() -> Self {
        UserOptions {
            cache: UserSymbolCache::PerPid,
            chosen: false,
            demangle: true,
            lines: true,
            debug_folders: vec![debug_file::USUAL.into()],
        }
    }
}

/// Device and inode as the mapping shows them; those of files on some file systems differ from what stat(2) says.
type FileId = ((u32, u32), u64);

/// The processes that were asked about.
pub(crate) struct UserSymbols {
    options: UserOptions,
    debug_folders: Rc<[PathBuf]>,
    processes: HashMap<u32, Process>,
    files: HashMap<FileId, Option<Rc<Program>>>,
    vdso: Option<Option<Rc<Program>>>,
    /// The process that was read last on request: what addresses of unknown processes are taken for when
    /// all run the same program at the same place.
    last: Option<u32>,
}

struct Process {
    /// The program that it ran, by device and inode.
    program: Option<(u64, u64)>,
    read: Instant,
    mappings: Vec<Mapping>,
    /// Addresses, and whether a call returns there.
    known: HashMap<(u64, bool), Option<UserSymbol>>,
    made: JitNames,
}

struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
    path: Option<String>,
    program: Option<Rc<Program>>,
}

impl UserSymbols {
    /// Reads nothing yet.
    pub(crate) fn new(options: UserOptions) -> UserSymbols {
        UserSymbols {
            debug_folders: options.debug_folders.clone().into(),
            options,
            processes: HashMap::new(),
            files: HashMap::new(),
            vdso: None,
            last: None,
        }
    }

    /// Reads what a process has mapped, so that its addresses can be told after its end.
    pub(crate) fn remember(&mut self, pid: u32) {
        self.last = Some(pid);
        self.read(pid);
    }

    /// What an address in a process is; `None` if neither function nor file is known. An address that a call returns
    /// to is of the function and line of the call: what follows may be another's.
    pub(crate) fn resolve(&mut self, pid: u32, address: u64, returned_to: bool) -> Option<&UserSymbol> {
        let now = self.up_to_date(pid, address, returned_to);
        let pid = if self.processes.contains_key(&pid) { pid } else { self.substitute(address)? };
        let process = self.processes.get_mut(&pid)?;
        if process.known.len() >= MOST_ADDRESSES {
            process.known.clear();
        }
        let key = (address, returned_to);
        if !process.known.contains_key(&key) {
            let found = process.find(pid, address, returned_to, &self.options);
            if found.is_none() && !now {
                return None;
            }
            process.known.insert(key, found);
        }
        self.processes.get(&pid)?.known.get(&key)?.as_ref()
    }

    /// Reads the mappings of a process if they are not known, belong to another program, or do not hold the address.
    /// False if they could be older than the address.
    fn up_to_date(&mut self, pid: u32, address: u64, returned_to: bool) -> bool {
        if self.options.cache == UserSymbolCache::None {
            self.read(pid);
            return true;
        }
        let Some(process) = self.processes.get(&pid) else {
            self.read(pid);
            return true;
        };
        let same = match program(pid) {
            // It has ended.
            None => return true,
            now => now == process.program,
        };
        if same && (process.known.contains_key(&(address, returned_to)) || process.mapping(address).is_some())
        {
            return true;
        }
        if same && process.read.elapsed() < PAUSE {
            return false;
        }
        self.read(pid);
        true
    }

    /// Whom addresses of a process are taken for that ended before anything was known of it: children of a command
    /// have its layout. Below 4 GiB are programs that all lie at the same addresses, so that nothing tells one from
    /// another there.
    fn substitute(&self, address: u64) -> Option<u32> {
        let last = self.last.filter(|_| self.options.cache == UserSymbolCache::PerProgram)?;
        let telling = self.options.chosen || address > u64::from(u32::MAX);
        (telling && self.processes.contains_key(&last)).then_some(last)
    }

    fn read(&mut self, pid: u32) {
        let Ok(maps) = proc::maps(pid) else { return };
        if maps.is_empty() {
            // A kernel thread, or it is ending: what was known stays.
            return;
        }
        if self.processes.len() >= MOST_PROCESSES {
            self.processes.clear();
        }
        if self.files.len() >= MOST_FILES {
            self.files.clear();
        }
        let code = maps.into_iter().filter(|m| m.perms.execute);
        let mappings = code.map(|map| self.mapping(pid, map)).collect();
        let process = Process {
            program: program(pid),
            read: Instant::now(),
            mappings,
            known: HashMap::new(),
            made: JitNames::default(),
        };
        self.processes.insert(pid, process);
    }

    fn mapping(&mut self, pid: u32, map: MemoryMap) -> Mapping {
        let program = match &map.path {
            Some(path) if map.is_file() => {
                let folders = &self.debug_folders;
                let open = || open_mapped(pid, &map, path, folders).map(Rc::new);
                self.files.entry((map.device, map.inode)).or_insert_with(open).clone()
            }
            Some(path) if path.as_os_str() == "[vdso]" => {
                let folders = &self.debug_folders;
                self.vdso.get_or_insert_with(|| vdso(folders).map(Rc::new)).clone()
            }
            _ => None,
        };
        let path = map.path.map(|p| p.to_string_lossy().into_owned());
        Mapping { start: map.start, end: map.end, offset: map.offset, path, program }
    }
}

impl Process {
    fn mapping(&self, address: u64) -> Option<&Mapping> {
        let after = self.mappings.partition_point(|m| m.start <= address);
        let mapping = self.mappings.get(after.checked_sub(1)?)?;
        (address < mapping.end).then_some(mapping)
    }

    fn find(
        &mut self,
        pid: u32,
        address: u64,
        returned_to: bool,
        options: &UserOptions,
    ) -> Option<UserSymbol> {
        // The last byte of the call, rather than whatever stands behind it.
        let back = u64::from(returned_to && address > 0);
        let looked_at = address - back;
        if self.mapping(looked_at)?.program.is_none()
            && let Some((name, offset)) = self.made.resolve(pid, looked_at)
        {
            return Some(UserSymbol {
                name: Some(name.to_owned()),
                offset: offset + back,
                ..UserSymbol::default()
            });
        }
        let mapping = self.mapping(looked_at)?;
        let path = mapping.path.clone();
        let unnamed = || path.clone().map(|path| UserSymbol { path: Some(path), ..UserSymbol::default() });
        let Some(program) = &mapping.program else { return unnamed() };
        let in_file = mapping.offset.checked_add(looked_at - mapping.start)?;
        let Some(linked) = program.elf().address_of_mapped(in_file) else { return unnamed() };
        let Some(place) = program.addresses().resolve(linked) else { return unnamed() };
        let demangled = if options.demangle { demangle(place.name) } else { None };
        let lines = if options.lines { program.lines() } else { None };
        let source = lines.map(|lines| lines.at(linked, options.demangle)).unwrap_or_default();
        Some(UserSymbol {
            name: Some(demangled.unwrap_or_else(|| place.name.to_owned())),
            offset: linked - place.start + back,
            path,
            line: source.line,
            inlined: source.inlined,
        })
    }
}

/// The program that a process runs, by device and inode; `None` if the process has ended.
fn program(pid: u32) -> Option<(u64, u64)> {
    let meta = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// Opens a mapped file: as the kernel has it, which needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE and reaches
/// removed files as well, else by its path.
fn open_mapped(pid: u32, map: &MemoryMap, path: &Path, folders: &Rc<[PathBuf]>) -> Option<Program> {
    let link = format!("/proc/{pid}/map_files/{:x}-{:x}", map.start, map.end);
    let (file, place) = match File::open(link) {
        Ok(file) => (file, path.to_owned()),
        Err(_) => open::open(path, Some(pid)).ok()?,
    };
    Program::open(Source::file(file).ok()?, &place, folders).ok()
}

/// The code that the kernel maps into every process, taken from this one.
fn vdso(folders: &Rc<[PathBuf]>) -> Option<Program> {
    const LARGEST: u64 = 1 << 20;
    let maps = proc::maps(std::process::id()).ok()?;
    let map = maps.iter().find(|m| m.path.as_deref().is_some_and(|p| p.as_os_str() == "[vdso]"))?;
    let mut bytes = vec![0; (map.end - map.start).min(LARGEST) as usize];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut bytes, map.start).ok()?;
    Program::open(Source::Bytes(bytes), Path::new("[vdso]"), folders).ok()
}

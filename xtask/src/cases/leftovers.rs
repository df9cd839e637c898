//! What a case leaves behind that it should not: kernel objects, pins, trace events, processes.
//!
//! The kernel frees BPF objects some time after their last user is gone, so what is new behind a case is
//! only written down then, and judged when all cases are through. Objects that a process outside of the
//! run still uses are its own.

use skep_sys::bpf::{Link, Map, MapCreate, MapInfo, MapType, ObjectKind, Prog};
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long the kernel may take to free what nobody uses any more.
const PATIENCE: Duration = Duration::from_secs(3);

/// Something that should go away by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Thing {
    Prog(u32),
    Map(u32),
    Link(u32),
    /// A file below the BPF file system.
    Pin(PathBuf),
    /// A line of `kprobe_events` or `uprobe_events`.
    Event(String),
    /// A file or folder of skep's in the folder for temporary files.
    Temporary(PathBuf),
}

/// Sees what appears during a run.
pub(crate) struct Watch {
    seen: Mutex<State>,
}

struct State {
    known: BTreeSet<Thing>,
    /// What appeared, with the case behind which it was first seen.
    suspects: Vec<(String, Thing)>,
}

impl Watch {
    /// What is there now belongs to others.
    pub(crate) fn start() -> Watch {
        Watch { seen: Mutex::new(State { known: now(), suspects: Vec::new() }) }
    }

    /// Looks around behind a case.
    pub(crate) fn after(&self, case: &str) {
        let mut state = self.seen.lock().expect("looking around does not panic");
        for thing in now() {
            if state.known.insert(thing.clone()) {
                state.suspects.push((case.to_owned(), thing));
            }
        }
    }

    /// What is still there when all cases are through: `(case, what)`.
    pub(crate) fn finish(self) -> Vec<(String, String)> {
        let state = self.seen.into_inner().expect("looking around does not panic");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let there = now();
            let left: Vec<_> = state.suspects.iter().filter(|(_, thing)| there.contains(thing)).collect();
            if left.is_empty() || Instant::now() > deadline {
                let used = if left.is_empty() { HashSet::new() } else { used_by_processes() };
                let left = left.into_iter().filter(|(_, thing)| !used.contains(thing));
                return left.map(|(case, thing)| (case.clone(), thing.describe())).collect();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Thing {
    fn describe(&self) -> String {
        let named = |name: Option<String>| name.map_or(String::new(), |n| format!(" ({n})"));
        match self {
            Thing::Prog(id) => {
                let info = Prog::from_id(*id).and_then(|p| p.info());
                format!("program {id}{}", named(info.ok().map(|i| i.name)))
            }
            Thing::Map(id) => {
                let fd = ObjectKind::Map.open_id(*id, Default::default());
                format!("map {id}{}", named(fd.and_then(|fd| MapInfo::of(fd.as_fd())).ok().map(|i| i.name)))
            }
            Thing::Link(id) => format!("link {id}"),
            Thing::Pin(path) => format!("pin {}", path.display()),
            Thing::Event(line) => format!("trace event {line}"),
            Thing::Temporary(path) => format!("file {}", path.display()),
        }
    }
}

/// Everything of the watched kinds. Kinds that xtask may not look at are empty.
fn now() -> BTreeSet<Thing> {
    let mut things = BTreeSet::new();
    things.extend(ObjectKind::Prog.ids().map_while(Result::ok).map(Thing::Prog));
    things.extend(ObjectKind::Map.ids().map_while(Result::ok).map(Thing::Map));
    things.extend(ObjectKind::Link.ids().map_while(Result::ok).map(Thing::Link));
    let mut folders = vec![PathBuf::from("/sys/fs/bpf")];
    while let Some(folder) = folders.pop() {
        for entry in list(&folder) {
            if entry.is_dir() {
                folders.push(entry.clone());
            }
            things.insert(Thing::Pin(entry));
        }
    }
    for file in ["kprobe_events", "uprobe_events"] {
        let text = fs::read_to_string(Path::new("/sys/kernel/tracing").join(file)).unwrap_or_default();
        things.extend(text.lines().map(|line| Thing::Event(line.to_owned())));
    }
    let ours = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("skep-tmp"));
    things.extend(list(&std::env::temp_dir()).into_iter().filter(ours).map(Thing::Temporary));
    things
}

fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect()
}

/// Objects that any process holds open, and what those objects use in turn.
fn used_by_processes() -> HashSet<Thing> {
    let mut used = HashSet::new();
    for (pid, _) in processes() {
        for file in list(Path::new(&format!("/proc/{pid}/fdinfo"))) {
            let text = fs::read_to_string(file).unwrap_or_default();
            for (name, id) in text.lines().filter_map(|l| l.split_once(':')) {
                match (name, id.trim().parse()) {
                    ("prog_id", Ok(id)) => used.insert(Thing::Prog(id)),
                    ("map_id", Ok(id)) => used.insert(Thing::Map(id)),
                    ("link_id", Ok(id)) => used.insert(Thing::Link(id)),
                    _ => false,
                };
            }
        }
    }
    let ids = |used: &HashSet<Thing>, pick: fn(&Thing) -> Option<u32>| {
        used.iter().filter_map(pick).collect::<Vec<_>>()
    };
    for id in ids(&used, |t| if let Thing::Link(id) = t { Some(*id) } else { None }) {
        used.extend(Link::from_id(id).and_then(|l| l.info()).ok().map(|i| Thing::Prog(i.prog_id)));
    }
    for id in ids(&used, |t| if let Thing::Prog(id) = t { Some(*id) } else { None }) {
        let maps = Prog::from_id(id).and_then(|p| p.info()).map(|i| i.map_ids).unwrap_or_default();
        used.extend(maps.into_iter().map(Thing::Map));
    }
    used
}

/// All processes but this one: process id, parent's process id.
pub(crate) fn processes() -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for entry in list(Path::new("/proc")) {
        let Some(pid) = entry.file_name().and_then(|n| n.to_str()?.parse().ok()) else { continue };
        let stat = fs::read_to_string(entry.join("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut fields = fields.split_ascii_whitespace();
        let (state, parent) = (fields.next(), fields.next().and_then(|p| p.parse().ok()));
        if let (Some(parent), true) = (parent, state != Some("Z") && pid != std::process::id()) {
            found.push((pid, parent));
        }
    }
    found
}

/// Processes that carry `variable` in the environment that they were started with.
pub(crate) fn processes_with(variable: &str) -> Vec<u32> {
    let has = |pid: &u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|b| *b == 0).any(|entry| entry == variable.as_bytes())
    };
    processes().into_iter().map(|(pid, _)| pid).filter(has).collect()
}

/// `xtask leave-map PATH` pins a map, `xtask leave-map --hold SECONDS` keeps one open: for the tests of this
/// module.
pub(crate) fn leave_map(mut parser: lexopt::Parser) -> anyhow::Result<u8> {
    use lexopt::prelude::*;
    let create = MapCreate {
        map_type: MapType::ARRAY,
        name: "skep_left",
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        ..MapCreate::default()
    };
    let map = Map::create(&create)?;
    match parser.next()? {
        Some(Value(path)) => skep_sys::bpf::pin(map.as_fd(), Path::new(&path))?,
        Some(Long("hold")) => std::thread::sleep(Duration::from_secs(parser.value()?.parse()?)),
        Some(other) => return Err(other.unexpected().into()),
        None => anyhow::bail!("leave-map needs a path, or --hold"),
    }
    Ok(0)
}

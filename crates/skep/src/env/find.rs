//! Which files a target of a user probe names.

use super::{glob, ld_cache};
use skep_sys::proc;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Where libraries lie on systems whose linker keeps no cache.
const LIBRARIES: [&str; 6] =
    ["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib", "/lib/x86_64-linux-gnu"];

/// Absolute paths of the files that a target names, as a process sees them if one is given.
pub(super) fn binaries(target: &str, pid: Option<u32>) -> Vec<String> {
    let view = View { pid };
    // A library inside an archive is named by the archive.
    let (file, member) = match target.split_once("!/") {
        Some((file, member)) => (file, Some(member)),
        None => (target, None),
    };
    let mut found = match pid {
        Some(pid) if file == "*" => mapped(pid),
        _ if file.is_empty() || file == "*" => Vec::new(),
        _ if glob::is_pattern(file) => view.matching(file),
        _ => view.named(file),
    };
    if let Some(member) = member {
        found.iter_mut().for_each(|path| *path = format!("{path}!/{member}"));
    }
    found
}

/// The files that a process has mapped executable, in the order of the addresses.
fn mapped(pid: u32) -> Vec<String> {
    let maps = proc::maps(pid).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let files = maps.iter().filter(|m| m.is_file() && m.perms.execute && !m.deleted);
    let paths = files.filter_map(|m| Some(m.path.as_ref()?.to_str()?.to_owned()));
    paths.filter(|path| seen.insert(path.clone())).collect()
}

/// The file system as one process sees it.
struct View {
    pid: Option<u32>,
}

impl View {
    /// The same place as this process sees it. Good for looking at; symbolic links to absolute paths lead out of
    /// the other's root, see [`super::super::symbols`] for opening.
    fn here(&self, path: &Path) -> PathBuf {
        match self.pid {
            Some(pid) => {
                let mut place = PathBuf::from(format!("/proc/{pid}/root"));
                place.extend(
                    path.components().filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir)),
                );
                place
            }
            None => path.to_owned(),
        }
    }

    /// Whether there is a file. Links are followed within the root of the other.
    fn is_file(&self, path: &Path) -> bool {
        if fs::metadata(self.here(path)).is_ok_and(|m| m.is_file()) {
            return true;
        }
        match self.pid {
            Some(pid) => proc::open_file(pid, path)
                .is_ok_and(|fd| fs::File::from(fd).metadata().is_ok_and(|m| m.is_file())),
            None => false,
        }
    }

    fn named(&self, target: &str) -> Vec<String> {
        if target.contains('/') {
            return self.existing(&absolute(Path::new(target))).into_iter().collect();
        }
        let in_path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        let programs =
            std::env::split_paths(&in_path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(target));
        if let Some(found) = programs.into_iter().find_map(|p| self.existing(&p)) {
            return vec![found];
        }
        if let libraries @ [_, ..] = &self.libraries(target)[..] {
            return libraries.to_vec();
        }
        self.existing(&absolute(Path::new(target))).into_iter().collect()
    }

    fn existing(&self, path: &Path) -> Option<String> {
        if self.is_file(path) { path.to_str().map(str::to_owned) } else { None }
    }

    /// A library by name: of those that the process has loaded, else of those that the linker knows.
    fn libraries(&self, name: &str) -> Vec<String> {
        if !name.starts_with("lib") && !name.contains(".so") {
            return Vec::new();
        }
        let is_meant =
            |file: &str| file == name || file.strip_prefix(name).is_some_and(|rest| rest.starts_with(".so"));
        if let Some(pid) = self.pid {
            let loaded = mapped(pid).into_iter().find(|path| path.rsplit('/').next().is_some_and(is_meant));
            if let Some(path) = loaded {
                return vec![path];
            }
        }
        let cache = fs::read(self.here(Path::new("/etc/ld.so.cache"))).unwrap_or_default();
        let entries = ld_cache::entries(&cache);
        let known = ld_cache::find(&entries, name);
        if !entries.is_empty() {
            return known.into_iter().filter_map(|p| self.existing(Path::new(p))).collect();
        }
        let folders = LIBRARIES.iter().map(Path::new);
        folders.filter_map(|dir| self.entry(dir, &is_meant)).take(1).collect()
    }

    /// The first file of a folder, by name, that is meant.
    fn entry(&self, dir: &Path, is_meant: &dyn Fn(&str) -> bool) -> Option<String> {
        let names =
            fs::read_dir(self.here(dir)).ok()?.flatten().filter_map(|e| e.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|n| is_meant(n)).collect();
        names.sort_unstable();
        names.iter().find_map(|name| self.existing(&dir.join(name)))
    }

    /// Files whose paths fit a pattern, sorted. `*` stays within a folder; a pattern without a slash means
    /// programs of `PATH`.
    fn matching(&self, pattern: &str) -> Vec<String> {
        let mut found = BTreeSet::new();
        if pattern.contains('/') {
            self.expand(Path::new("/"), &names(&absolute(Path::new(pattern))), &mut found);
        } else {
            let in_path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
            for dir in std::env::split_paths(&in_path).filter(|dir| dir.is_absolute()) {
                self.expand(&dir, &[pattern.as_bytes().to_vec()], &mut found);
            }
        }
        found.into_iter().collect()
    }

    fn expand(&self, dir: &Path, parts: &[Vec<u8>], found: &mut BTreeSet<String>) {
        let Some((first, rest)) = parts.split_first() else {
            found.extend(self.existing(dir));
            return;
        };
        let text = String::from_utf8_lossy(first);
        if !glob::is_pattern(&text) {
            self.expand(&dir.join(&*text), rest, found);
            return;
        }
        let Ok(entries) = fs::read_dir(self.here(dir)) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            // As in shells, names with a dot in front want to be asked for.
            let hidden = name.as_bytes().starts_with(b".") && !first.starts_with(b".");
            if !hidden && glob::matches(first, name.as_bytes()) {
                self.expand(&dir.join(name), rest, found);
            }
        }
    }
}

fn names(path: &Path) -> Vec<Vec<u8>> {
    let names = path.components().filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir));
    names.map(|c| c.as_os_str().as_bytes().to_vec()).collect()
}

/// An absolute path, without `.`; links stay.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

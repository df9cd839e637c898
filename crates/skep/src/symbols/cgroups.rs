//! Paths of cgroups by their id.

use skep_sys::fs::CgroupFs;
use skep_sys::proc::MountTable;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Ids that are remembered.
const MOST: usize = 4096;
/// Folders of one hierarchy that are gone through for an id.
const MOST_FOLDERS: usize = 1 << 16;

/// Looks for cgroups in all mounted hierarchies.
#[derive(Default)]
pub(crate) struct Paths {
    hierarchies: Option<Vec<Hierarchy>>,
    /// For an id, its path in the hierarchies that have it, by their index.
    known: HashMap<u64, Vec<(usize, String)>>,
}

struct Hierarchy {
    /// `unified`, or the controllers of a hierarchy of version 1.
    name: String,
    mount_point: PathBuf,
    unified: Option<CgroupFs>,
}

impl Paths {
    /// The paths of a cgroup as `unified:/a,cpu:/b`, of the hierarchies whose names fit a pattern; empty fits all.
    /// `None` if it is in none.
    pub(crate) fn of(&mut self, id: u64, filter: &str) -> Option<String> {
        let hierarchies = self.hierarchies.get_or_insert_with(hierarchies);
        if self.known.len() >= MOST {
            self.known.clear();
        }
        let known = self.known.entry(id).or_insert_with(|| {
            let path = |(i, h): (usize, &Hierarchy)| Some((i, h.path(id)?));
            hierarchies.iter().enumerate().filter_map(path).collect()
        });
        let fits =
            |name: &str| filter.is_empty() || crate::env::glob::matches(filter.as_bytes(), name.as_bytes());
        let mut text = String::new();
        for (index, path) in known.iter() {
            let name = hierarchies.get(*index)?.name.as_str();
            if fits(name) {
                let comma = if text.is_empty() { "" } else { "," };
                text += &format!("{comma}{name}:{path}");
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

impl Hierarchy {
    fn path(&self, id: u64) -> Option<String> {
        let path = match &self.unified {
            Some(cgroups) => cgroups.path(id).ok()??,
            None => search(&self.mount_point, id)?,
        };
        Some(path.to_string_lossy().into_owned())
    }
}

/// The unified hierarchy first, the others in the order in which they were mounted.
fn hierarchies() -> Vec<Hierarchy> {
    let mut found = Vec::new();
    if let Ok(cgroups) = CgroupFs::open() {
        let mount_point = cgroups.mount_point().to_owned();
        found.push(Hierarchy { name: "unified".into(), mount_point, unified: Some(cgroups) });
    }
    let Ok(mounts) = MountTable::read() else { return found };
    for mount in mounts.iter().filter(|m| m.fs_type == "cgroup") {
        // They are mounted in folders of the names of their controllers.
        let Some(name) = mount.mount_point.file_name().and_then(|n| n.to_str()) else { continue };
        if found.iter().all(|h| h.name != name) {
            found.push(Hierarchy {
                name: name.into(),
                mount_point: mount.mount_point.clone(),
                unified: None,
            });
        }
    }
    found
}

/// Goes through a hierarchy of version 1; the id of a cgroup is the inode number of its folder.
fn search(mount_point: &Path, id: u64) -> Option<PathBuf> {
    let mut todo = vec![mount_point.to_owned()];
    let mut seen = 0;
    while let Some(folder) = todo.pop() {
        if fs::metadata(&folder).is_ok_and(|m| m.ino() == id) {
            return Some(Path::new("/").join(folder.strip_prefix(mount_point).ok()?));
        }
        seen += 1;
        if seen > MOST_FOLDERS {
            return None;
        }
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        todo.extend(entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
    }
    None
}

//! tracefs: the tracepoints of the kernel.

use super::{append_below, detached_mount, is_fs, list_below, magic, mounted, open_dir, read_below};
use crate::error::{Errno, Result, SysError};
use crate::proc::MountTable;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// An entry to tracefs.
#[derive(Debug)]
pub struct TraceFs {
    root: OwnedFd,
    mount_point: Option<PathBuf>,
}

impl TraceFs {
    /// Finds tracefs: in the mount table, else by a mount of its own that nobody else sees, else below a
    /// mounted debugfs. The error is that of the mount, which needs CAP_SYS_ADMIN.
    pub fn open() -> Result<TraceFs> {
        if let Some((root, place)) = mounted("tracefs", magic::TRACEFS)? {
            return Ok(TraceFs { root, mount_point: Some(place) });
        }
        let error = match Self::detached() {
            Ok(tracefs) => return Ok(tracefs),
            Err(e) => e,
        };
        // Entering this directory makes the kernel mount tracefs on it, so it comes last.
        for debugfs in MountTable::read()?.places_of("debugfs") {
            let place = debugfs.join("tracing");
            if let Ok(root) = open_dir(&place)
                && is_fs(root.as_fd(), magic::TRACEFS)
            {
                return Ok(TraceFs { root, mount_point: Some(place) });
            }
        }
        let detail =
            format!("tracefs is not mounted, and could not be reached without a mount: {}", error.detail);
        Err(error.about(detail))
    }

    /// A mount of its own, whether tracefs is in the mount table or not.
    pub fn detached() -> Result<TraceFs> {
        Ok(TraceFs { root: detached_mount("tracefs")?, mount_point: None })
    }

    /// Where it is mounted; `None` for a mount that nobody else sees.
    pub fn mount_point(&self) -> Option<&Path> {
        self.mount_point.as_deref()
    }

    /// The root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The contents of a file; `path` is relative to the root.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>> {
        read_below(self.root(), path)
    }

    /// Opens a file that takes definitions (`kprobe_events`) for appending; a write adds to what is there.
    pub fn append(&self, path: &Path) -> Result<OwnedFd> {
        append_below(self.root(), path)
    }

    /// The categories of events, sorted.
    pub fn categories(&self) -> Result<Vec<String>> {
        self.directories(Path::new("events"))
    }

    /// The events of a category, sorted. `ENOENT`: no such category.
    pub fn events(&self, category: &str) -> Result<Vec<String>> {
        self.directories(&Path::new("events").join(component(category)?))
    }

    /// Every event with its category, sorted. Events that only tracers use (category `ftrace`) are not among
    /// them: nothing can be attached to those.
    pub fn available_events(&self) -> Result<Vec<(String, String)>> {
        let text = self.read(Path::new("available_events"))?;
        let text = String::from_utf8_lossy(&text);
        let mut events: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(category, event)| (category.to_owned(), event.trim_end().to_owned()))
            .collect();
        events.sort_unstable();
        events.dedup();
        Ok(events)
    }

    /// The number of an event, for perf_event_open(2). `ENOENT`: no such event, or one without a number.
    pub fn event_id(&self, category: &str, event: &str) -> Result<u64> {
        let path = event_path(category, event)?.join("id");
        let text = self.read(&path)?;
        std::str::from_utf8(&text).ok().and_then(|t| t.trim().parse().ok()).ok_or_else(|| {
            let text = String::from_utf8_lossy(&text).into_owned();
            SysError::new("read", Errno::EINVAL).about(format!("{}: no number: {text:?}", path.display()))
        })
    }

    /// The text that describes the record of an event.
    pub fn event_format(&self, category: &str, event: &str) -> Result<String> {
        let text = self.read(&event_path(category, event)?.join("format"))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn directories(&self, path: &Path) -> Result<Vec<String>> {
        let entries = list_below(self.root(), path)?;
        Ok(entries.into_iter().filter(|(_, is_dir)| *is_dir).map(|(name, _)| name).collect())
    }
}

fn event_path(category: &str, event: &str) -> Result<PathBuf> {
    Ok(Path::new("events").join(component(category)?).join(component(event)?))
}

/// A name that is one component of a path: names come from users.
fn component(name: &str) -> Result<&str> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(SysError::new("openat2", Errno::ENOENT).about(format!("no name of an event: {name:?}")));
    }
    Ok(name)
}

//! The folder in which kernels, package lists and running machines live, and who may touch it when.

use anyhow::{Context, Result, bail};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Longest path a Unix socket may have: `sun_path` of `sockaddr_un`, less its closing zero.
const SOCKET_PATH_MAX: usize = 107;

/// `$XDG_CACHE_HOME/skep-vm`:
///
/// - `setup.lock` is held while kernels are fetched and unpacked;
/// - `apt/` is the private apt configuration, `deb/` holds downloads until they are unpacked;
/// - `kernels/NAME/` is a finished kernel, renamed into place when complete;
/// - `run/` has one folder for each running machine.
pub(crate) struct State {
    root: PathBuf,
}

impl State {
    /// Opens the folder below the user's cache folder and creates it where it is missing.
    pub(crate) fn open() -> Result<State> {
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let cache = match (set("XDG_CACHE_HOME").filter(|p| p.is_absolute()), set("HOME")) {
            (Some(cache), _) => cache,
            (None, Some(home)) => home.join(".cache"),
            (None, None) => bail!("no place for kernels: neither XDG_CACHE_HOME nor HOME is set"),
        };
        State::at(&cache.join("skep-vm"))
    }

    fn at(root: &Path) -> Result<State> {
        fs::create_dir_all(root.join("run")).with_context(|| format!("cannot create {}", root.display()))?;
        // Guests see the state through their root share, by its real path.
        let root = root.canonicalize().with_context(|| format!("cannot resolve {}", root.display()))?;
        Ok(State { root })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where a kernel of the table lies once it is complete.
    pub(crate) fn kernel(&self, name: &str) -> PathBuf {
        self.root.join("kernels").join(name)
    }

    /// Waits for the right to change kernels and package lists; released when the file is dropped.
    pub(crate) fn lock_setup(&self) -> Result<File> {
        let file = self.lock_file("setup.lock")?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => crate::ui::note("vm: waiting for another set-up to finish"),
            Err(TryLockError::Error(e)) => return Err(e).context("cannot lock setup.lock"),
        }
        file.lock().context("cannot lock setup.lock")?;
        Ok(file)
    }

    /// A fresh folder for one machine. Folders whose owners died without removing them go first.
    pub(crate) fn run_dir(&self) -> Result<RunDir> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Without this lock a sweep could meet a folder between its creation and its locking.
        let _sweeping = {
            let file = self.lock_file("run.lock")?;
            file.lock().context("cannot lock run.lock")?;
            file
        };
        self.sweep();
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = self.root.join("run").join(name);
        if path.as_os_str().len() + "/console.sock".len() > SOCKET_PATH_MAX {
            bail!("{} is too long a path for sockets: set XDG_CACHE_HOME to a shorter one", path.display());
        }
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let owner = File::create(path.join("owner")).context("cannot create a machine's lock file")?;
        owner.lock().context("cannot lock a machine's folder")?;
        Ok(RunDir { path, _owner: owner })
    }

    fn sweep(&self) {
        for entry in fs::read_dir(self.root.join("run")).into_iter().flatten().flatten() {
            // A folder without a lock file was left half made or half removed.
            let abandoned = match File::open(entry.path().join("owner")) {
                Ok(file) => file.try_lock().is_ok(),
                Err(e) => e.kind() == std::io::ErrorKind::NotFound,
            };
            if abandoned {
                forget(&entry.path());
            }
        }
    }

    fn lock_file(&self, name: &str) -> Result<File> {
        let path = self.root.join(name);
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))
    }
}

/// The folder of one running machine; removed on drop.
pub(crate) struct RunDir {
    path: PathBuf,
    _owner: File,
}

impl RunDir {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The socket of a file server, relative to the folder.
    pub(crate) fn file_socket(&self, tag: &str) -> String {
        file_socket(&self.path, tag)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        forget(&self.path);
    }
}

/// What the two file servers of a machine are called.
pub(crate) const FILE_TAGS: [&str; 2] = ["root", "folder"];

/// QEMU's virtiofsd locks a file that it names after the socket, as it stands on its command line, and leaves
/// it behind: so the names differ from machine to machine.
fn file_socket(run: &Path, tag: &str) -> String {
    format!("skep-{}-{tag}.fs", run.file_name().unwrap_or_default().to_string_lossy())
}

fn forget(run: &Path) {
    for tag in FILE_TAGS {
        let _ = fs::remove_file(format!("/var/run/virtiofsd/{}.pid", file_socket(run, tag)));
    }
    let _ = fs::remove_dir_all(run);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_folders_of_the_dead_are_swept_and_those_of_the_living_kept() {
        let root = std::env::temp_dir().join(format!("skep-vm-state-{}", std::process::id()));
        let state = State::at(&root).expect("a temporary folder can be made");
        let dead = root.join("run/999999-0");
        fs::create_dir(&dead).expect("created");
        fs::write(dead.join("owner"), "").expect("written");
        let first = state.run_dir().expect("made");
        assert!(!dead.exists());
        let second = state.run_dir().expect("made");
        assert!(first.path().exists() && second.path().exists() && first.path() != second.path());
        let gone = first.path().to_owned();
        drop(first);
        assert!(!gone.exists() && second.path().exists());
        drop(second);
        fs::remove_dir_all(root).expect("removed");
    }
}

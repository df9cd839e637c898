//! Running code in the namespaces of another process.

use crate::error::{Result, SysError, failed};
use crate::proc::Namespace;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

fn link_type(namespace: Namespace) -> LinkNameSpaceType {
    match namespace {
        Namespace::Cgroup => LinkNameSpaceType::ControlGroup,
        Namespace::Ipc => LinkNameSpaceType::InterProcessCommunication,
        Namespace::Mnt => LinkNameSpaceType::Mount,
        Namespace::Net => LinkNameSpaceType::Network,
        Namespace::Pid => LinkNameSpaceType::ProcessID,
        Namespace::Time => LinkNameSpaceType::Time,
        Namespace::User => LinkNameSpaceType::User,
        Namespace::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
    }
}

/// Runs `body` in a thread of its own that has entered these namespaces of a process, in this order, and waits
/// for it. In a pid namespace it is not the thread but what it starts that is there (setns(2)).
///
/// Needs CAP_SYS_ADMIN in the namespaces; entering a mount namespace also CAP_SYS_CHROOT.
pub fn in_namespaces<T: Send>(
    pid: u32,
    namespaces: &[Namespace],
    body: impl FnOnce() -> T + Send,
) -> Result<T> {
    let mut links = Vec::new();
    for namespace in namespaces {
        let path = PathBuf::from(format!("/proc/{pid}/ns/{}", namespace.file()));
        links.push((*namespace, open(&path)?));
    }
    enter(links, body)
}

/// As [`in_namespaces`], with one namespace by the path that holds it: one of `/run/netns`, say.
pub fn in_namespace_at<T: Send>(
    namespace: Namespace,
    path: &Path,
    body: impl FnOnce() -> T + Send,
) -> Result<T> {
    enter(vec![(namespace, open(path)?)], body)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| SysError::io("open", &e).about(path.display().to_string()))
}

fn enter<T: Send>(links: Vec<(Namespace, File)>, body: impl FnOnce() -> T + Send) -> Result<T> {
    let in_thread = move || -> Result<T> {
        if links.iter().any(|(namespace, _)| *namespace == Namespace::Mnt) {
            // A thread that shares its root and working directory with others may not leave their mount
            // namespace (fs/namespace.c, `mntns_install`).
            // SAFETY: of what threads share only root, working directory and umask become the thread's own,
            // and it ends with `body`; its file descriptors stay shared.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }.map_err(failed("unshare"))?;
        }
        for (namespace, link) in links {
            move_into_link_name_space(link.as_fd(), Some(link_type(namespace)))
                .map_err(|e| failed("setns")(e).about(format!("{namespace:?} namespace")))?;
        }
        Ok(body())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("setns".into());
        let thread = thread.spawn_scoped(scope, in_thread).map_err(|e| SysError::io("clone", &e))?;
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

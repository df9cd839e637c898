//! Running code in the namespaces of another process.

use crate::error::{Errno, Result, SysError, failed};
use crate::proc::Namespace;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;

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
        let path = format!("/proc/{pid}/ns/{}", namespace.file());
        let link = File::open(&path).map_err(|e| SysError::io("open", &e).about(path))?;
        links.push((*namespace, link));
    }
    let enter = move || -> Result<T> {
        if namespaces.contains(&Namespace::Mnt) {
            // A thread that shares its root and working directory with others may not leave their mount
            // namespace (fs/namespace.c, `mntns_install`).
            // SAFETY: this thread shares no file descriptors less than before, only fs_struct; nothing of
            // the process relies on its threads having the same working directory.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }.map_err(failed("unshare"))?;
        }
        for (namespace, link) in links {
            move_into_link_name_space(link.as_fd(), Some(link_type(namespace)))
                .map_err(|e| failed("setns")(e).about(format!("{namespace:?} of process {pid}")))?;
        }
        Ok(body())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("setns".into());
        let thread = thread.spawn_scoped(scope, enter).map_err(|e| SysError::io("clone", &e))?;
        match thread.join() {
            Ok(result) => result,
            Err(_) => Err(SysError::new("setns", Errno::ECANCELED).about("the thread panicked")),
        }
    })
}

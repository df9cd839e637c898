//! The machine: release, settings, lockdown.

use crate::error::{Result, SysError};
use crate::fs::{detached_mount, read_below, read_text};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Release of the running kernel: `6.12.41+deb13-amd64`.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Version numbers at the start of a release; missing ones are 0. For display and for
/// [`version_code`]: what a kernel can do is found out by trying.
pub fn kernel_version(release: &str) -> (u32, u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

/// `LINUX_VERSION_CODE`, which kprobe programs had to carry before 5.0.
pub fn version_code(version: (u32, u32, u32)) -> u32 {
    let (major, minor, patch) = version;
    (major & 0xffff) << 16 | minor.min(255) << 8 | patch.min(255)
}

/// A setting below `/proc/sys`, by its name with dots: `kernel.kptr_restrict`. `ENOENT`: this kernel has none of
/// that name.
pub fn sysctl(name: &str) -> Result<String> {
    let mut path = PathBuf::from("/proc/sys");
    for part in name.split('.') {
        if part.is_empty() || part.contains('/') {
            return Err(SysError::new("open", crate::Errno::ENOENT).about(format!("no setting {name:?}")));
        }
        path.push(part);
    }
    Ok(read_text(&path)?.trim_end().to_owned())
}

/// A setting that is a number; `None` if this kernel has none of that name, or it cannot be read or is none.
pub fn sysctl_number(name: &str) -> Option<i64> {
    sysctl(name).ok()?.trim().parse().ok()
}

/// The kernel's lockdown (kernel_lockdown(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lockdown {
    /// Off, or not in this kernel.
    None,
    /// User space cannot change the kernel: `bpf_probe_write_user` is refused.
    Integrity,
    /// Nor read it: tracing programs cannot read kernel memory.
    Confidentiality,
}

impl Lockdown {
    /// Reads `none [integrity] confidentiality`.
    pub fn parse(text: &str) -> Option<Lockdown> {
        let (_, rest) = text.split_once('[')?;
        match rest.split_once(']')?.0 {
            "none" => Some(Lockdown::None),
            "integrity" => Some(Lockdown::Integrity),
            "confidentiality" => Some(Lockdown::Confidentiality),
            _ => None,
        }
    }
}

/// The lockdown in force; read from securityfs where it is mounted, else through a mount that nobody else sees.
/// `None`: it cannot be told, for want of permission.
pub fn lockdown() -> Option<Lockdown> {
    match securityfs("lockdown") {
        Ok(text) => Lockdown::parse(&text),
        // A kernel without the lockdown module has no such file.
        Err(e) if e.is_not_found() => Some(Lockdown::None),
        Err(_) => None,
    }
}

/// The security modules that the kernel runs, in their order; `None`: they cannot be told, for want of permission.
pub fn security_modules() -> Option<Vec<String>> {
    securityfs("lsm").ok().map(|text| text.trim().split(',').map(str::to_owned).collect())
}

/// A file of securityfs, where it is mounted or through a mount that nobody else sees.
fn securityfs(file: &str) -> Result<String> {
    match read_text(&Path::new("/sys/kernel/security").join(file)) {
        Ok(text) => Ok(text),
        Err(_) => {
            let root = detached_mount("securityfs")?;
            let bytes = read_below(root.as_fd(), Path::new(file))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
    }
}

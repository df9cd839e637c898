//! The programs a machine is made of, and where Debian has them.

use crate::process;
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// The host's programs, all found.
pub(crate) struct Tools {
    pub(crate) qemu: PathBuf,
    pub(crate) virtiofsd: PathBuf,
    /// Statically linked: it is the whole user space of the initial RAM disk.
    pub(crate) busybox: PathBuf,
}

/// Programs looked up in PATH, and their packages.
const IN_PATH: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("setpriv", "util-linux"),
    ("dpkg-deb", "dpkg"),
    ("apt-get", "apt"),
];

/// The daemon is not in PATH: part of QEMU's package up to Debian 12, a package of its own afterwards.
const VIRTIOFSD: &[(&str, &str)] =
    &[("/usr/lib/qemu/virtiofsd", "qemu-system-common"), ("/usr/libexec/virtiofsd", "virtiofsd")];

impl Tools {
    /// Finds the programs. What is missing is installed when xtask is root, and named otherwise.
    pub(crate) fn ensure() -> Result<Tools> {
        let missing = missing();
        if !missing.is_empty() {
            let list = missing.join(" ");
            if !process::is_root() {
                bail!(
                    "the kernel matrix needs packages that are missing: {list}\ninstall them: apt-get install {list}"
                );
            }
            crate::ui::note(&format!("vm: installing {list}"));
            install(&missing)?;
            let still = self::missing();
            if !still.is_empty() {
                bail!(
                    "apt-get installed the packages, but their programs are not there: {}",
                    still.join(" ")
                );
            }
        }
        let tools = || {
            Some(Tools {
                qemu: process::find_program("qemu-system-x86_64")?,
                virtiofsd: virtiofsd()?,
                busybox: process::find_program("busybox")?,
            })
        };
        match tools() {
            Some(tools) => Ok(tools),
            None => bail!("the programs of the kernel matrix vanished while they were looked up"),
        }
    }
}

/// The packages of the programs that are not there; empty when machines can be started.
pub(crate) fn missing() -> Vec<String> {
    let mut packages: Vec<String> = IN_PATH
        .iter()
        .filter(|(program, _)| process::find_program(program).is_none())
        .map(|(_, package)| (*package).to_owned())
        .collect();
    if virtiofsd().is_none() {
        packages.push(virtiofsd_package().to_owned());
    }
    packages
}

fn virtiofsd() -> Option<PathBuf> {
    VIRTIOFSD.iter().map(|(path, _)| PathBuf::from(path)).find(|p| process::is_executable(p))
}

/// Where apt knows the package of its own, it is that one.
fn virtiofsd_package() -> &'static str {
    let known = Command::new("apt-cache").args(["show", "--no-all-versions", "virtiofsd"]).output();
    if known.is_ok_and(|o| o.status.success() && !o.stdout.is_empty()) {
        VIRTIOFSD[1].1
    } else {
        VIRTIOFSD[0].1
    }
}

/// With the system's own apt: these become part of the system. Fresh lists only when the first try fails.
fn install(packages: &[String]) -> Result<()> {
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(["-qq", "-o", "DPkg::Lock::Timeout=300"])
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let attempt = || process::output(apt(&["install", "-y", "--no-install-recommends"]).args(packages));
    if attempt().is_err() {
        process::output(&mut apt(&["update"]))?;
        attempt()?;
    }
    Ok(())
}

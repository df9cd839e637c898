//! From Debian packages to what a machine boots: an ELF kernel and plain modules.

use crate::process;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel that is ready to boot.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) vmlinux: PathBuf,
    /// The folder named after the release: `modules.dep`, `kernel/...`.
    pub(crate) modules: PathBuf,
    /// Its build configuration.
    pub(crate) config: PathBuf,
    pub(crate) release: String,
}

/// Goes up when the layout of a kernel's folder changes: older ones are then made anew.
const LAYOUT: &str = "1";

/// Opens a kernel's folder; `None` when it is not there, incomplete or of another layout.
pub(crate) fn open(dir: &Path) -> Option<Ready> {
    let ready = Ready {
        vmlinux: dir.join("vmlinux"),
        config: dir.join("config"),
        release: fs::read_to_string(dir.join("release")).ok()?,
        modules: PathBuf::new(),
    };
    let ready = Ready { modules: dir.join("modules").join(&ready.release), ..ready };
    let recorded = fs::read_to_string(dir.join("complete")).ok()?;
    (recorded == record(&ready).ok()?).then_some(ready)
}

/// What must be as it was when the folder was finished.
fn record(ready: &Ready) -> Result<String> {
    let mut text = format!("layout {LAYOUT}\n");
    for path in [&ready.vmlinux, &ready.config, &ready.modules.join("modules.dep")] {
        let size = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?.len();
        text += &format!("{size}\n");
    }
    Ok(text)
}

/// Makes a kernel's folder from its packages. It appears under its name only when it is complete.
pub(crate) fn unpack(packages: &[PathBuf], dir: &Path) -> Result<Ready> {
    let name = dir.file_name().context("a kernel's folder has a name")?.to_string_lossy();
    let making = dir.with_file_name(format!("{name}.making"));
    let tree = making.join("tree");
    remove(&making)?;
    remove(dir)?;
    fs::create_dir_all(&tree).with_context(|| format!("cannot create {}", tree.display()))?;
    for package in packages {
        process::output(Command::new("dpkg-deb").arg("-x").arg(package).arg(&tree))?;
    }
    let modules = modules_of(&tree).context("the packages hold no modules")?;
    let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // Beside the modules from Debian 13 on, in /boot before.
    let part = |name: &str| {
        let places = [modules.join(name), tree.join(format!("boot/{name}-{release}"))];
        places.into_iter().find(|p| p.is_file()).with_context(|| format!("the packages hold no {name}"))
    };
    let (image, config) = (part("vmlinuz")?, part("config")?);
    let compressed = fs::read(&image).with_context(|| format!("cannot read {}", image.display()))?;
    fs::write(making.join("vmlinux"), vmlinux(&compressed)?).context("cannot write vmlinux")?;
    fs::rename(config, making.join("config")).context("cannot move the configuration")?;
    fs::create_dir(making.join("modules")).context("cannot create the modules' folder")?;
    fs::rename(&modules, making.join("modules").join(&release)).context("cannot move the modules")?;
    plain_modules(&making, &release)?;
    fs::write(making.join("release"), &release).context("cannot write the release")?;
    remove(&tree)?;
    let made = Ready {
        vmlinux: making.join("vmlinux"),
        modules: making.join("modules").join(&release),
        config: making.join("config"),
        release,
    };
    fs::write(making.join("complete"), record(&made)?).context("cannot write the record")?;
    fs::rename(&making, dir).with_context(|| format!("cannot move a kernel to {}", dir.display()))?;
    open(dir).context("a kernel that was just made does not open")
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// The one folder of modules in an unpacked tree; its name is the release.
fn modules_of(tree: &Path) -> Option<PathBuf> {
    let folders = ["usr/lib/modules", "lib/modules"].map(|lib| fs::read_dir(tree.join(lib)));
    let mut entries = folders.into_iter().flatten().flatten().flatten().map(|e| e.path());
    entries.find(|p| p.join("kernel").is_dir())
}

/// busybox, which loads modules in the guest, reads neither their compressed form nor kmod's binary index.
fn plain_modules(base: &Path, release: &str) -> Result<()> {
    let dir = base.join("modules").join(release);
    let (mut xz, mut zst) = (Vec::new(), Vec::new());
    let mut folders = vec![dir.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
            let path = entry.path();
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "xz") {
                xz.push(path);
            } else if path.extension().is_some_and(|e| e == "zst") {
                zst.push(path);
            }
        }
    }
    for batch in xz.chunks(500) {
        process::output(Command::new("xz").args(["-d", "-q", "-T0", "--"]).args(batch))?;
    }
    for batch in zst.chunks(500) {
        process::output(Command::new("zstd").args(["-d", "-q", "--rm", "--"]).args(batch))?;
    }
    // depmod looks for BASE/lib/modules/RELEASE.
    let lib = base.join("lib");
    fs::create_dir(&lib).context("cannot create a folder for depmod")?;
    std::os::unix::fs::symlink("../modules", lib.join("modules")).context("cannot link the modules")?;
    process::output(Command::new("busybox").arg("depmod").arg("-b").arg(base).arg(release))?;
    remove(&lib)?;
    let dep = dir.join("modules.dep");
    let listed = fs::read_to_string(&dep).unwrap_or_default();
    if !listed.contains(".ko:") {
        bail!("busybox depmod wrote no modules into {}", dep.display());
    }
    Ok(())
}

/// How kernels are compressed (kernel: scripts/extract-vmlinux), and what undoes it.
const COMPRESSIONS: &[(&[u8], &[&str])] = &[
    (b"\xfd7zXZ\0", &["xz", "-dcq", "--single-stream"]),
    (b"\x28\xb5\x2f\xfd", &["zstd", "-dcq"]),
    (b"\x1f\x8b\x08", &["gzip", "-dcq"]),
];

/// The ELF kernel in a compressed boot image. It boots by its PVH entry, which saves the guest the
/// decompression: minutes of emulation for what takes the host seconds.
fn vmlinux(image: &[u8]) -> Result<Vec<u8>> {
    if is_whole_elf(image) {
        return Ok(image.to_vec());
    }
    for (magic, command) in COMPRESSIONS {
        // The magic may also stand in code or data before the payload.
        for start in (0..image.len()).filter(|&i| image[i..].starts_with(magic)) {
            let output =
                process::filter(Command::new(command[0]).args(&command[1..]), &image[start..])?.stdout;
            if is_whole_elf(&output) {
                return Ok(output);
            }
        }
    }
    bail!("no ELF kernel found in the boot image: its compression is none of xz, zstd, gzip")
}

/// Whether the bytes are a 64-bit ELF file up to the end of its section headers, which linkers write last.
fn is_whole_elf(bytes: &[u8]) -> bool {
    let short = |at: usize| bytes.get(at..at + 2).map(|b| u64::from(b[0]) | u64::from(b[1]) << 8);
    let long = bytes.get(0x28..0x30).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let (Some(offset), Some(size), Some(count)) = (long, short(0x3a), short(0x3c)) else { return false };
    let end = offset.checked_add(size * count);
    bytes.starts_with(b"\x7fELF\x02\x01") && offset > 0 && end.is_some_and(|end| end <= bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(payload: usize) -> Vec<u8> {
        let mut bytes = vec![0; 64 + payload + 128];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[0x28..0x30].copy_from_slice(&(64 + payload as u64).to_le_bytes());
        (bytes[0x3a], bytes[0x3c]) = (64, 2);
        bytes
    }

    #[test]
    fn the_kernel_is_cut_out_behind_a_false_magic_and_before_trailing_bytes() {
        let kernel = elf(5000);
        let packed = process::filter(Command::new("gzip").arg("-c"), &kernel).expect("gzip is there").stdout;
        let image = [b"boot code \x1f\x8b\x08 more code".as_slice(), &packed, b"appended signature"].concat();
        assert_eq!(vmlinux(&image).expect("it is there"), kernel);
        assert!(vmlinux(&image[..image.len() / 2]).is_err());
        assert_eq!(vmlinux(&kernel).expect("it is plain"), kernel);
    }

    #[test]
    fn a_cut_elf_file_is_not_whole() {
        let kernel = elf(10);
        assert!(
            is_whole_elf(&kernel) && !is_whole_elf(&kernel[..kernel.len() - 1]) && !is_whole_elf(b"\x7fELF")
        );
    }

    #[test]
    fn an_incomplete_folder_does_not_open() {
        let dir = std::env::temp_dir().join(format!("skep-vm-unpack-{}", std::process::id()));
        let modules = dir.join("modules/6.0");
        fs::create_dir_all(&modules).expect("created");
        for (name, content) in
            [("vmlinux", "elf"), ("config", "c"), ("release", "6.0"), ("modules/6.0/modules.dep", "x")]
        {
            fs::write(dir.join(name), content).expect("written");
        }
        assert!(open(&dir).is_none(), "nothing says that it is complete");
        fs::write(dir.join("complete"), "layout 1\n3\n1\n1\n").expect("written");
        assert_eq!(open(&dir).expect("complete").release, "6.0");
        fs::write(dir.join("vmlinux"), "el").expect("written");
        assert!(open(&dir).is_none(), "the kernel was cut short");
        fs::remove_dir_all(dir).expect("removed");
    }
}

//! What a guest boots into: the initial RAM disk of one run, made anew each time from parts on the host.

use crate::vm::cpio::Cpio;
use crate::vm::kernels::Kernel;
use crate::vm::unpack::Ready;
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const INIT: &str = include_str!("init.sh");
const STAGE2: &str = include_str!("stage2.sh");

/// The archive for one run of `command` in `folder`.
pub(crate) fn initrd(
    kernel: &Kernel,
    ready: &Ready,
    busybox: &Path,
    folder: &Path,
    command: &[OsString],
) -> Result<Vec<u8>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let mut archive = Cpio::default();
    for dir in ["bin", "control", "dev", "host", "modules", "proc", "root", "sys", "upper"] {
        archive.dir(dir);
    }
    archive.char_device("dev/console", 5, 1);
    archive.file("bin/busybox", 0o755, &read(busybox)?);
    archive.file("init", 0o755, INIT.as_bytes());
    for (n, module) in load_order(kernel, ready)?.iter().enumerate() {
        let name = module.rsplit('/').next().unwrap_or(module);
        archive.file(&format!("modules/{n:02}-{name}"), 0o644, &read(&ready.modules.join(module))?);
    }
    archive.file("control/stage2.sh", 0o644, STAGE2.as_bytes());
    archive.file("control/parameters", 0o644, &parameters(ready, folder));
    archive.file("control/command", 0o644, &script(std::env::vars_os(), command));
    Ok(archive.finish())
}

fn parameters(ready: &Ready, folder: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, path) in [("FOLDER", folder), ("MODULES", &ready.modules), ("CONFIG", &ready.config)] {
        text.extend_from_slice(format!("{name}=").as_bytes());
        text.extend(quote(path.as_os_str()));
        text.push(b'\n');
    }
    text
}

/// The modules that the initial RAM disk loads, each behind those that it needs.
fn load_order(kernel: &Kernel, ready: &Ready) -> Result<Vec<String>> {
    let list = |name: &str| fs::read_to_string(ready.modules.join(name)).unwrap_or_default();
    let (dep, builtin) = (list("modules.dep"), list("modules.builtin"));
    let needs: HashMap<&str, (&str, &str)> = dep
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, needs)| (module_name(path), (path, needs)))
        .collect();
    let mut order = Vec::new();
    for &wanted in kernel.modules {
        if !needs.contains_key(wanted) && !builtin.lines().any(|l| module_name(l) == wanted) {
            bail!("kernel {} has no {wanted}, neither as a module nor built in", ready.release);
        }
        visit(wanted, &needs, &mut Vec::new(), &mut order);
    }
    Ok(order)
}

fn visit<'a>(
    name: &'a str,
    needs: &HashMap<&'a str, (&'a str, &'a str)>,
    parents: &mut Vec<&'a str>,
    order: &mut Vec<String>,
) {
    let Some(&(path, list)) = needs.get(name) else { return };
    if parents.contains(&name) || order.iter().any(|p| p == path) {
        return;
    }
    parents.push(name);
    for need in list.split_ascii_whitespace() {
        visit(module_name(need), needs, parents, order);
    }
    parents.pop();
    order.push(path.to_owned());
}

fn module_name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".ko").unwrap_or(file)
}

/// A shell script that becomes the command, in the caller's environment less what belongs to the caller's
/// session and what looks like a secret.
fn script(environment: impl Iterator<Item = (OsString, OsString)>, command: &[OsString]) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in environment {
        if let Some(name) = name.to_str().filter(|n| travels(n)) {
            text.extend_from_slice(format!("export {name}=").as_bytes());
            text.extend(quote(&value));
            text.push(b'\n');
        }
    }
    text.extend_from_slice(b"exec");
    for word in command {
        text.push(b' ');
        text.extend(quote(word));
    }
    text.push(b'\n');
    text
}

fn travels(name: &str) -> bool {
    const SESSION: &[&str] = &["PWD", "OLDPWD", "SHLVL", "_", "TMPDIR", "DISPLAY", "XDG_RUNTIME_DIR"];
    const SESSION_PREFIXES: &[&str] = &["SSH_", "DBUS_", "WAYLAND_"];
    const SECRET: &[&str] = &["TOKEN", "SECRET", "KEY", "PASSW", "CREDENTIAL", "AUTH", "COOKIE"];
    let upper = name.to_ascii_uppercase();
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty();
    is_name
        && !SESSION.contains(&name)
        && !SESSION_PREFIXES.iter().any(|p| name.starts_with(p))
        && !SECRET.iter().any(|s| upper.contains(s))
}

/// A word as any POSIX shell reads it back unchanged.
fn quote(word: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in word.as_bytes() {
        if byte == b'\'' { quoted.extend_from_slice(b"'\\''") } else { quoted.push(byte) }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;
    use std::process::Command;

    #[test]
    fn words_and_values_survive_the_shell() {
        let odd = OsString::from_vec(b"it's \"$HOME\" `x` \\ \n\xff".to_vec());
        let environment = vec![
            ("ODD".into(), odd.clone()),
            ("not a name".into(), "x".into()),
            ("A_TOKEN".into(), "s".into()),
        ];
        let command = ["printf".into(), "%s|%s|%s".into(), odd.clone(), OsString::new(), "*".into()];
        let script = script(environment.into_iter(), &command);
        let output =
            Command::new("sh").arg("-c").arg(OsString::from_vec(script.clone())).output().expect("sh runs");
        assert_eq!(output.stdout, [odd.as_bytes(), b"||*"].concat());
        assert!(!String::from_utf8_lossy(&script).contains("A_TOKEN"));
    }

    #[test]
    fn modules_come_behind_those_they_need() {
        let dir = std::env::temp_dir().join(format!("skep-vm-guest-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("created");
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).expect("written");
        write(
            "modules.dep",
            "k/fs/virtiofs.ko: k/virtio.ko k/fuse.ko\nk/fuse.ko:\nk/virtio.ko: k/ring.ko\nk/ring.ko: k/virtio.ko\nk/overlay.ko:\n",
        );
        write("modules.builtin", "kernel/virtio_pci.ko\nkernel/virtio_console.ko\n");
        let ready =
            Ready { vmlinux: dir.clone(), modules: dir.clone(), config: dir.clone(), release: "6.0".into() };
        let kernel = crate::vm::kernels::find("6.1").expect("in the table");
        let order = load_order(kernel, &ready).expect("all are there");
        assert_eq!(order, ["k/fuse.ko", "k/ring.ko", "k/virtio.ko", "k/fs/virtiofs.ko", "k/overlay.ko"]);
        write("modules.builtin", "kernel/virtio_pci.ko\n");
        let error = load_order(kernel, &ready).expect_err("one is missing");
        assert!(error.to_string().contains("virtio_console"), "{error}");
        fs::remove_dir_all(dir).expect("removed");
    }
}

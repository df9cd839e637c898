//! Source files that scripts import and include.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Nobody writes scripts of this size; a file that is larger was not meant.
const LARGEST: u64 = 16 << 20;
const WRITABLE_BY_ALL: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Reads a source file. The error is a sentence.
pub(super) fn read(path: &str) -> Result<String, String> {
    let failed = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => format!("{path}: no such file"),
        _ => format!("{path}: {}", reason(&e)),
    };
    let place = Path::new(path);
    // Asked before it is opened: opening a pipe waits for its writer.
    let meta = fs::metadata(place).map_err(failed)?;
    if meta.is_dir() {
        return Err(match meta.permissions().mode() & WRITABLE_BY_ALL {
            0 => format!("{path} is a folder"),
            _ => format!("{path} can be written to by everyone, so nothing is imported from it"),
        });
    }
    if !meta.is_file() {
        return Err(format!("{path} is not a regular file"));
    }
    // In a sticky folder such as /tmp nobody can replace somebody else's file.
    if let Some(folder) = place.parent().filter(|p| !p.as_os_str().is_empty())
        && let Ok(meta) = fs::metadata(folder)
        && meta.permissions().mode() & (WRITABLE_BY_ALL | STICKY) == WRITABLE_BY_ALL
    {
        let folder = folder.display();
        return Err(format!("{folder} can be written to by everyone, so nothing is imported from it"));
    }
    let mut bytes = Vec::new();
    let file = File::open(place).map_err(failed)?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("{path} is larger than {} MiB", LARGEST >> 20));
    }
    String::from_utf8(bytes)
        .map_err(|e| format!("{path} is no UTF-8 text (byte {})", e.utf8_error().valid_up_to()))
}

/// The files of a folder, sorted, as paths. `None`: it is no folder, or one that everyone can add files to, which
/// [`read`] then explains.
pub(super) fn list(path: &str) -> Option<Vec<String>> {
    let meta = fs::metadata(path).ok()?;
    if !meta.is_dir() || meta.permissions().mode() & WRITABLE_BY_ALL != 0 {
        return None;
    }
    let entries = fs::read_dir(path).ok()?.flatten();
    // Links count as what they lead to.
    let files = entries.map(|e| e.path()).filter(|p| p.is_file());
    let mut names: Vec<String> = files.filter_map(|p| p.into_os_string().into_string().ok()).collect();
    names.sort_unstable();
    Some(names)
}

/// The reason alone: the standard library appends "(os error N)".
fn reason(e: &std::io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

//! What records ask for beyond output: commands, files, packets.

use crate::console::reason;
use skep_sys::clock::Clock;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

/// Runs a command in a shell and returns what it prints. Its messages go where ours go.
///
/// # Errors
/// There is no shell; the text says so.
pub(crate) fn run(command: &[u8]) -> Result<Vec<u8>, String> {
    let shell = Command::new("/bin/sh")
        .arg("-c")
        .arg(OsStr::from_bytes(command))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output();
    shell.map(|done| done.stdout).map_err(|e| format!("system(): cannot run /bin/sh: {}", reason(&e)))
}

/// The beginning of a file.
///
/// # Errors
/// It cannot be read; the text says why.
pub(crate) fn cat(path: &[u8], limit: u64) -> Result<Vec<u8>, String> {
    let name = OsStr::from_bytes(path);
    let mut content = Vec::new();
    File::open(name)
        .and_then(|file| file.take(limit).read_to_end(&mut content))
        .map_err(|e| format!("failed to open file '{}': {}", name.to_string_lossy(), reason(&e)))?;
    Ok(content)
}

/// Files of packets, by path.
#[derive(Default)]
pub(crate) struct Packets {
    files: HashMap<String, Option<File>>,
    /// From the boot clock to time of day.
    offset: Option<i64>,
}

/// Head of a pcap file with times in nanoseconds and packets that begin with their network header
/// (draft-ietf-opsawg-pcap): magic number, version 2.4, zone and accuracy 0, longest packet, LINKTYPE_RAW.
fn head() -> Vec<u8> {
    const MAGIC: u32 = 0xa1b2_3c4d;
    const VERSION: u32 = 2 | 4 << 16;
    const LONGEST: u32 = 65535;
    const RAW: u32 = 101;
    [MAGIC, VERSION, 0, 0, LONGEST, RAW].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

impl Packets {
    /// Appends a packet with its time on the boot clock. The first error about a file ends it.
    ///
    /// # Errors
    /// The file cannot be made or written; the text says why.
    pub(crate) fn add(&mut self, path: &str, time: u64, bytes: &[u8]) -> Result<(), String> {
        let failed = |e: &std::io::Error| format!("skboutput(): {path}: {}", reason(e));
        if !self.files.contains_key(path) {
            let made = File::create(path).and_then(|mut file| file.write_all(&head()).map(|()| file));
            let made = made.map_err(|e| failed(&e));
            let (file, result) = match made {
                Ok(file) => (Some(file), Ok(())),
                Err(e) => (None, Err(e)),
            };
            self.files.insert(path.to_owned(), file);
            result?;
        }
        let offset = *self.offset.get_or_insert_with(|| Clock::Boot.offset_to(Clock::Real));
        let Some(entry) = self.files.get_mut(path) else { return Ok(()) };
        let Some(file) = entry else { return Ok(()) };
        let time = time.wrapping_add_signed(offset);
        let (seconds, nanoseconds) = ((time / 1_000_000_000) as u32, (time % 1_000_000_000) as u32);
        let length = bytes.len() as u32;
        let words = [seconds, nanoseconds, length, length];
        let mut record: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        record.extend_from_slice(bytes);
        file.write_all(&record).map_err(|e| {
            *entry = None;
            failed(&e)
        })
    }
}

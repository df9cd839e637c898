//! The cache of the dynamic linker: names of libraries to their paths.

use std::collections::BTreeMap;

/// `cachemagic` and `cache version` of the format that glibc 2.2 and later write; a cache of the older format may
/// stand before it (sysdeps/generic/dl-cache.h of glibc, `struct cache_file_new`).
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0\0";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// Kind of library: glibc 2, and the architecture in the upper byte (`FLAG_ELF_LIBC6`, `FLAG_X8664_LIB64`,
/// `FLAG_AARCH64_LIB64`).
#[cfg(target_arch = "x86_64")]
const FLAGS: u32 = 0x0303;
#[cfg(target_arch = "aarch64")]
const FLAGS: u32 = 0x0a03;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const FLAGS: u32 = 0x0003;

/// Libraries for this machine with their paths, those for better processors first, as the file has them. What is
/// out of range is left out; a file of another form is empty.
pub(super) fn entries(file: &[u8]) -> Vec<(&str, &str)> {
    let cache = match file {
        _ if file.starts_with(MAGIC) => file,
        // Entries of 12 bytes, then the new cache at the next multiple of its alignment.
        _ if file.starts_with(OLD_MAGIC) => {
            let behind = word(file, 12).and_then(|n| (n as usize).checked_mul(12)?.checked_add(16));
            let at = behind.and_then(|at| at.checked_next_multiple_of(8)).unwrap_or(usize::MAX);
            file.get(at..).filter(|f| f.starts_with(MAGIC)).unwrap_or_default()
        }
        _ => &[],
    };
    let count = word(cache, 20).unwrap_or(0) as usize;
    let table = cache.get(HEADER..).unwrap_or_default();
    let entry = |entry: &[u8]| {
        let (flags, key, value) = (word(entry, 0)?, word(entry, 4)?, word(entry, 8)?);
        (flags == FLAGS).then_some(())?;
        // Offsets count from the header of the new cache.
        Some((string(cache, key)?, string(cache, value)?))
    };
    table.chunks_exact(ENTRY).take(count).filter_map(entry).collect()
}

/// Paths of a library by its name: the whole (`libc.so.6`) or what stands before `.so` (`libc`). One for each
/// name of a library, the newest version first.
pub(super) fn find<'c>(entries: &[(&'c str, &'c str)], name: &str) -> Vec<&'c str> {
    if let Some((_, path)) = entries.iter().find(|(library, _)| *library == name) {
        return vec![path];
    }
    let mut found: BTreeMap<&str, &str> = BTreeMap::new();
    for (library, path) in entries {
        if library.strip_prefix(name).is_some_and(|rest| rest == ".so" || rest.starts_with(".so.")) {
            found.entry(library).or_insert(path);
        }
    }
    found.into_values().rev().collect()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

fn string(bytes: &[u8], at: u32) -> Option<&str> {
    let rest = bytes.get(at as usize..)?;
    let end = rest.iter().position(|b| *b == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

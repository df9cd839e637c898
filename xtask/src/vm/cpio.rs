//! The "newc" cpio format of initial RAM disks (kernel: Documentation/driver-api/early-userspace/buffer-format.rst).

/// File types as in stat(2).
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFCHR: u32 = 0o020_000;

/// An archive under construction. Parents must be added before what they hold.
#[derive(Default)]
pub(crate) struct Cpio {
    bytes: Vec<u8>,
    inode: u32,
}

impl Cpio {
    pub(crate) fn dir(&mut self, name: &str) {
        self.entry(name, S_IFDIR | 0o755, (0, 0), &[]);
    }

    pub(crate) fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, S_IFREG | mode, (0, 0), content);
    }

    pub(crate) fn char_device(&mut self, name: &str, major: u32, minor: u32) {
        self.entry(name, S_IFCHR | 0o600, (major, minor), &[]);
    }

    /// Closes the archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.inode += 1;
        let size = u32::try_from(content.len()).expect("nothing of 4 GiB goes into an initial RAM disk");
        let name_size = u32::try_from(name.len() + 1).expect("names are short constants");
        // inode, mode, uid, gid, links, mtime, size, device, device the node stands for, name size, checksum
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an archive by the format's document: name, mode, content of each entry.
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            let field = |n: usize| {
                let digits = std::str::from_utf8(&bytes[6 + 8 * n..14 + 8 * n]).expect("hexadecimal digits");
                usize::from_str_radix(digits, 16).expect("hexadecimal digits")
            };
            assert_eq!(&bytes[..6], b"070701");
            let (mode, size, name_size) = (field(1), field(6), field(11));
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).expect("a name");
            let start = (110 + name_size).next_multiple_of(4);
            let content = bytes[start..start + size].to_vec();
            bytes = &bytes[(start + size).next_multiple_of(4)..];
            if name == "TRAILER!!!" {
                assert!(bytes.is_empty());
                return entries;
            }
            entries.push((name, u32::try_from(mode).expect("32 bits"), content));
        }
    }

    #[test]
    fn what_was_written_can_be_read_at_any_alignment() {
        let mut archive = Cpio::default();
        archive.dir("bin");
        archive.file("bin/tool", 0o755, b"12345");
        archive.file("empty", 0o644, b"");
        archive.char_device("console", 5, 1);
        let expected = [
            ("bin".to_owned(), 0o040_755, vec![]),
            ("bin/tool".to_owned(), 0o100_755, b"12345".to_vec()),
            ("empty".to_owned(), 0o100_644, vec![]),
            ("console".to_owned(), 0o020_600, vec![]),
        ];
        assert_eq!(read(&archive.finish()), expected);
    }
}

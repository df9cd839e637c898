//! Iterators: read once, or pinned for others to read.

use super::{Attachment, error::AttachError};
use skep_ir::spec::Attach;
use skep_sys::bpf::{self, AttachType, IterTarget, Link, LinkTarget, Prog};
use skep_sys::fs::bpffs_dir;
use skep_sys::{Errno, Result, SysError};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// An iterator's link and where it is pinned.
#[derive(Debug)]
pub(super) struct IterPlace {
    link: Link,
    pin: Option<PathBuf>,
}

impl IterPlace {
    /// Relative paths are below the bpffs. A path that is taken is left alone.
    pub(super) fn new(prog: &Prog, pin: Option<&str>) -> Result<IterPlace> {
        let target = LinkTarget::Iter(IterTarget::All);
        let link = Link::create(prog.as_fd(), AttachType::TRACE_ITER, &target)?;
        let pin = match pin {
            None => None,
            Some(pin) => {
                let pin = Path::new(pin);
                let path = if pin.is_absolute() { pin.to_owned() } else { bpffs_dir()?.join(pin) };
                bpf::pin(link.as_fd(), &path)?;
                Some(path)
            }
        };
        Ok(IterPlace { link, pin })
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }
}

/// One pass of an iterator. Reading makes the program run.
#[derive(Debug)]
pub struct Pass {
    file: File,
    buffer: Vec<u8>,
}

/// The kernel fills at most this much at a time (kernel/bpf/bpf_iter.c, `bpf_seq_read`: 8 pages).
const READ: usize = 32 << 10;

impl Pass {
    /// Runs the program for some more objects and hands over what it wrote to its file, which may be nothing.
    /// Breaks when all objects have been seen.
    pub fn step(&mut self, write: &mut dyn FnMut(&[u8])) -> Result<ControlFlow<()>> {
        loop {
            match self.file.read(&mut self.buffer) {
                Ok(0) => return Ok(ControlFlow::Break(())),
                Ok(n) => {
                    write(self.buffer.get(..n).unwrap_or_default());
                    return Ok(ControlFlow::Continue(()));
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // The kernel has looked at as many objects as it does at once and found none to show.
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(ControlFlow::Continue(())),
                Err(e) => {
                    let errno = e.raw_os_error().map_or(Errno::EIO, Errno);
                    return Err(SysError::new("read", errno).about("iterator"));
                }
            }
        }
    }
}

impl Attachment {
    /// Where an iterator was pinned; it stays when the attachment is dropped.
    #[must_use]
    pub fn pinned(&self) -> Option<&Path> {
        self.iter.as_ref().and_then(|place| place.pin.as_deref())
    }

    /// Begins a pass over the objects of an iterator that is not pinned; `None` for any other attachment.
    pub fn pass(&self, attach: &Attach) -> Result<Option<Pass>, AttachError> {
        let Some(place) = self.iter.as_ref().filter(|place| place.pin.is_none()) else { return Ok(None) };
        let fd = place.link.iter_create().map_err(|e| AttachError::new(attach, e))?;
        Ok(Some(Pass { file: File::from(fd), buffer: vec![0; READ] }))
    }
}

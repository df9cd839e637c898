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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

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

/// One pass of an iterator over all objects.
#[derive(Debug)]
pub struct Pass {
    file: File,
}

/// The kernel fills at most this much at a time (kernel/bpf/bpf_iter.c, `bpf_seq_read`: 8 pages).
const READ: usize = 32 << 10;
/// Between two looks at what happens besides.
const TICK: Duration = Duration::from_millis(1);

impl Pass {
    /// Makes the pass in a thread of its own and calls `each` in this one, with what the program has written to
    /// its file since, which is often nothing.
    ///
    /// `each` is called every millisecond or so and once after the last object: one read can look at a million
    /// objects and send a record for each, which somebody has to take out of the ring meanwhile. Breaking ends
    /// the pass when the kernel is through with what it is at.
    ///
    /// # Errors
    /// Those of `each`, and of reading.
    pub fn run<E: From<SysError>>(
        self,
        mut each: impl FnMut(&[u8]) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let Pass { file } = self;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let (send, parts) = mpsc::sync_channel(4);
            let stopped = &stop;
            let reader = move || read(file, stopped, &send);
            thread::Builder::new().spawn_scoped(scope, reader).map_err(|e| error("clone", &e))?;
            let result = loop {
                let (flow, ended) = match parts.recv_timeout(TICK) {
                    Ok(Ok(bytes)) => (each(&bytes), false),
                    Ok(Err(e)) => break Err(E::from(e)),
                    Err(RecvTimeoutError::Timeout) => (each(&[]), false),
                    Err(RecvTimeoutError::Disconnected) => (each(&[]), true),
                };
                match flow {
                    Ok(ControlFlow::Continue(())) if !ended => {}
                    other => break other.map(drop),
                }
            };
            stop.store(true, Ordering::Relaxed);
            result
        })
    }
}

/// Reads to the end, or until nobody wants to know any more.
fn read(mut file: File, stop: &AtomicBool, send: &SyncSender<Result<Vec<u8>>>) {
    let mut buffer = vec![0; READ];
    while !stop.load(Ordering::Relaxed) {
        let part = match file.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => Ok(buffer.get(..n).unwrap_or_default().to_vec()),
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            // The kernel has looked at as many objects as it does at once and found none to show.
            Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
            Err(e) => Err(error("read", &e).about("iterator")),
        };
        let failed = part.is_err();
        if send.send(part).is_err() || failed {
            return;
        }
    }
}

fn error(call: &'static str, e: &std::io::Error) -> SysError {
    SysError::new(call, e.raw_os_error().map_or(Errno::EIO, Errno))
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
        Ok(Some(Pass { file: File::from(fd) }))
    }
}

//! The consumer side of `BPF_MAP_TYPE_RINGBUF` (kernel/bpf/ringbuf.c).
//!
//! The map's fd gives three areas: one page with the consumer position, which is ours to write; one page with
//! the producer position; and the data, which is mapped twice in a row so that a record that wraps around
//! the end is still one run of bytes. A record is a header of 8 bytes (length with two flag bits, page
//! offset) and its data, padded to 8 bytes.
//!
//! Order: the producer position is read with acquire, so that the headers below it are there; a header is
//! read with acquire, so that the data of a record that is no longer busy are there; the consumer position is
//! published with release, so that the kernel reuses space only after it was read.

use crate::bpf::{Map, MapType};
use crate::error::{Errno, Result, SysError};
use crate::mapping::{Mapping, page_size};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;
const HEADER: usize = 8;

/// A ring buffer being consumed. Its fd is readable, for poll(2) and epoll, while there are records.
///
/// One consumer at a time: a second one on the same map would take records away from the first while it reads
/// them.
#[derive(Debug)]
pub struct Ring {
    fd: OwnedFd,
    claim: Claim,
    consumer: Mapping,
    producer: Mapping,
    size: usize,
}

/// Ids of the ring buffers that this process consumes.
static CLAIMED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn claimed() -> MutexGuard<'static, BTreeSet<u32>> {
    // Nothing panics while it holds the set.
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to consume the ring buffer with this id, given to one at a time.
#[derive(Debug)]
struct Claim(u32);

impl Claim {
    fn new(id: u32) -> Option<Claim> {
        let free = claimed().insert(id);
        // Made only if it is ours: dropping it gives the ring buffer up.
        if free { Some(Claim(id)) } else { None }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        claimed().remove(&self.0);
    }
}

/// What one [`Ring::drain`] went over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// Records handed to the caller.
    pub records: u64,
    /// Records that the program had discarded.
    pub discarded: u64,
    /// Ring space freed, in bytes, with headers and padding.
    pub bytes: u64,
}

impl Ring {
    /// Maps a ring buffer. Starts where its last consumer stopped. `EBUSY`: this process is consuming it
    /// already.
    pub fn new(map: &Map) -> Result<Ring> {
        let shape = map.shape();
        if shape.map_type != MapType::RINGBUF {
            let kind = shape.map_type;
            return Err(SysError::new("mmap", Errno::EINVAL).about(format!("a {kind} map is no ring buffer")));
        }
        let (page, size) = (page_size(), shape.max_entries as usize);
        // The kernel creates no other sizes; the offsets below rely on them.
        if !size.is_power_of_two() || !size.is_multiple_of(page) {
            return Err(SysError::new("mmap", Errno::EINVAL).about(format!("ring buffer of {size} bytes")));
        }
        let id = map.info()?.id;
        let claim = Claim::new(id).ok_or_else(|| {
            SysError::new("mmap", Errno::EBUSY)
                .about(format!("ring buffer {id} has a consumer in this process"))
        })?;
        let consumer = Mapping::new(map.as_fd(), 0, page, true)?;
        let producer = Mapping::new(map.as_fd(), page, page + 2 * size, false)?;
        let fd = map.as_fd().try_clone_to_owned().map_err(|e| SysError::io("fcntl(F_DUPFD_CLOEXEC)", &e))?;
        Ok(Ring { fd, claim, consumer, producer, size })
    }

    /// Capacity in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Bytes consumed since the map was created.
    pub fn consumer_pos(&self) -> u64 {
        self.consumer.acquire_word(0) as u64
    }

    /// Bytes reserved by programs since the map was created, with records that are still being written.
    pub fn producer_pos(&self) -> u64 {
        self.producer.acquire_word(0) as u64
    }

    /// Hands over the records that are complete, oldest first, and frees the space of each when `record`
    /// returns. Ends at the first one that is still being written, after those that were there when the
    /// call began (so that a fast producer cannot keep it busy forever), or when `record` breaks.
    ///
    /// `EBADMSG`: positions or lengths that no kernel writes; another process with access to the map has
    /// damaged it. Nothing is handed over from there on.
    ///
    /// A slice is valid during the call of `record` alone. The kernel does not write to a committed record
    /// until the consumer position has passed it.
    pub fn drain(&mut self, record: impl FnMut(&[u8]) -> ControlFlow<()>) -> Result<Drained> {
        self.drain_to(self.producer_pos(), record)
    }

    /// As [`Ring::drain`], but no record that begins at this position ([`Ring::producer_pos`]) or behind it:
    /// for what has to happen between two records.
    pub fn drain_to(
        &mut self,
        limit: u64,
        mut record: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Drained> {
        let mut drained = Drained::default();
        let page = page_size();
        let mut position = self.consumer.acquire_word(0);
        let end = self.producer.acquire_word(0);
        if !position.is_multiple_of(HEADER) || !end.is_multiple_of(HEADER) {
            return Err(self.damaged(position, end, "unaligned position"));
        }
        while position != end {
            let available = end.wrapping_sub(position);
            if available > self.size {
                return Err(self.damaged(position, end, "positions further apart than the ring is large"));
            }
            // Compared as a distance: positions wrap.
            if (limit as usize).wrapping_sub(position) as isize <= 0 {
                break;
            }
            let at = page + (position & (self.size - 1));
            let header = self.producer.acquire_u32(at);
            if header & BUSY != 0 {
                break;
            }
            let len = (header & !(BUSY | DISCARD)) as usize;
            let total = HEADER + len.next_multiple_of(8);
            if total > available {
                return Err(self.damaged(position, end, "record longer than what was produced"));
            }
            let mut flow = ControlFlow::Continue(());
            if header & DISCARD != 0 {
                drained.discarded += 1;
            } else {
                // SAFETY: the record is committed, and the kernel and the programs (who may not write to
                // a committed record: kernel/bpf/verifier.c releases the reference) keep off it until the
                // consumer position is past it, which in this process only this object moves (its claim),
                // below. Another process would have to be privileged to reach the map, and is trusted with
                // our memory as it is.
                let data = unsafe { self.producer.stable(at + HEADER, len) };
                let Some(data) = data else {
                    return Err(self.damaged(position, end, "record outside of the ring"));
                };
                drained.records += 1;
                flow = record(data);
            }
            drained.bytes += total as u64;
            position = position.wrapping_add(total);
            self.consumer.release_word(0, position);
            if flow.is_break() {
                break;
            }
        }
        Ok(drained)
    }

    fn damaged(&self, consumer: usize, producer: usize, what: &str) -> SysError {
        let (id, size) = (self.claim.0, self.size);
        SysError::new("ring buffer", Errno::EBADMSG)
            .about(format!("{what}: map {id}, consumer {consumer}, producer {producer}, size {size}"))
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

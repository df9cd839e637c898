//! The buffer of a perf event: samples and output of BPF programs, per CPU
//! (kernel/events/ring_buffer.c; layout in `struct perf_event_mmap_page`).

use super::attr::{Counter, EventAttr, Sampling, Software, sample};
use super::{PerfEvent, Scope};
use crate::error::{Errno, Result, SysError};
use crate::mapping::{Mapping, page_size};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

// Offsets in `struct perf_event_mmap_page`.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

const HEADER: usize = 8;
const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;

/// One record of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// A sample; its parts one after the other, as the event's `sample_type` says. For buffers of
    /// [`PerfBuffer::for_bpf_output`]: what the program wrote, followed by up to 7 bytes of padding.
    Sample(&'a [u8]),
    /// So many records were lost because the buffer was full. Only a hint: programs count their losses
    /// themselves.
    Lost(u64),
    /// Another kind of record, `PERF_RECORD_*`.
    Other(u32, &'a [u8]),
}

/// What one [`PerfBuffer::drain`] went over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BufferDrained {
    /// Records handed to the caller, of any kind.
    pub records: u64,
    /// Bytes freed.
    pub bytes: u64,
}

/// An event with its buffer.
#[derive(Debug)]
pub struct PerfBuffer {
    event: PerfEvent,
    mapping: Mapping,
    size: usize,
    raw_only: bool,
    /// A record that wraps around the end of the buffer is put together here.
    joined: Vec<u8>,
}

impl PerfBuffer {
    /// Maps the buffer of an event: `pages` data pages, a power of two.
    ///
    /// `EPERM`: more memory than perf_event_mlock_kb allows.
    pub fn new(event: PerfEvent, pages: usize) -> Result<PerfBuffer> {
        let page = page_size();
        let size = pages.checked_mul(page).filter(|_| pages.is_power_of_two()).ok_or_else(|| {
            SysError::new("mmap", Errno::EINVAL).about(format!("perf buffer of {pages} pages"))
        })?;
        let len = size.checked_add(page).ok_or_else(|| SysError::new("mmap", Errno::EMSGSIZE))?;
        let mapping = Mapping::new(event.as_fd(), 0, len, true)?;
        Ok(PerfBuffer { event, mapping, size, raw_only: false, joined: Vec::new() })
    }

    /// Opens what `bpf_perf_event_output` of programs on `cpu` writes to once the event is stored at that index
    /// of a perf event array. Readable when `wakeup` records are there.
    pub fn for_bpf_output(cpu: u32, pages: usize, wakeup: u32) -> Result<PerfBuffer> {
        let attr = EventAttr {
            sampling: Sampling::Period(1),
            sample_type: sample::RAW,
            wakeup,
            ..EventAttr::new(Counter::Software(Software::BpfOutput))
        };
        let mut buffer = PerfBuffer::new(PerfEvent::open(&attr, Scope::Cpu(cpu))?, pages)?;
        buffer.raw_only = true;
        Ok(buffer)
    }

    /// The event.
    pub fn event(&self) -> &PerfEvent {
        &self.event
    }

    /// Capacity in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Hands over the records that were there when the call began, oldest first, and frees their space; ends
    /// early when `record` breaks.
    ///
    /// `EBADMSG`: positions or lengths that no kernel writes.
    pub fn drain(&mut self, mut record: impl FnMut(Record<'_>) -> ControlFlow<()>) -> Result<BufferDrained> {
        let mut drained = BufferDrained::default();
        let head = self.mapping.acquire_u64(DATA_HEAD);
        let mut tail = self.mapping.acquire_u64(DATA_TAIL);
        while tail != head {
            let available = head.wrapping_sub(tail);
            if available > self.size as u64 || available < HEADER as u64 {
                return Err(self.damaged(tail, head));
            }
            let at = (tail as usize) & (self.size - 1);
            // `struct perf_event_header`: u32 type, u16 misc, u16 size. Records are padded to 8 bytes, so
            // that a header never wraps.
            let mut header = [0; HEADER];
            if !self.mapping.read(page_size() + at, &mut header) {
                return Err(self.damaged(tail, head));
            }
            let kind = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
            let len = u16::from_ne_bytes([header[6], header[7]]);
            if usize::from(len) < HEADER || u64::from(len) > available || !at.is_multiple_of(HEADER) {
                return Err(self.damaged(tail, head));
            }
            let Some(body) = body(&self.mapping, self.size, at, usize::from(len), &mut self.joined) else {
                return Err(self.damaged(tail, head));
            };
            let flow = record(decode(kind, body, self.raw_only));
            drained.records += 1;
            drained.bytes += u64::from(len);
            tail = tail.wrapping_add(u64::from(len));
            // After the reads of the record: the kernel may overwrite it from here on.
            self.mapping.release_u64(DATA_TAIL, tail);
            if flow.is_break() {
                break;
            }
        }
        Ok(drained)
    }

    fn damaged(&self, tail: u64, head: u64) -> SysError {
        let size = self.size;
        SysError::new("perf buffer", Errno::EBADMSG)
            .about(format!("record out of bounds: tail {tail}, head {head}, size {size}"))
    }
}

/// The body of the record at offset `at` of the data, from the mapping itself or joined from its two ends.
fn body<'a>(
    mapping: &'a Mapping,
    size: usize,
    at: usize,
    len: usize,
    joined: &'a mut Vec<u8>,
) -> Option<&'a [u8]> {
    let first = page_size() + at + HEADER;
    let len = len - HEADER;
    let straight = size.checked_sub(at + HEADER)?;
    if len <= straight {
        // SAFETY: the record lies between tail and head, where the kernel does not write until the tail
        // has moved (the buffer is not in overwrite mode), and only `drain` moves it.
        return unsafe { mapping.stable(first, len) };
    }
    joined.resize(len, 0);
    let (front, back) = joined.split_at_mut(straight);
    (mapping.read(first, front) && mapping.read(page_size(), back)).then_some(joined)
}

fn decode(kind: u32, body: &[u8], raw_only: bool) -> Record<'_> {
    match kind {
        // u64 id, u64 lost
        RECORD_LOST => match body.get(8..16).and_then(|b| <[u8; 8]>::try_from(b).ok()) {
            Some(lost) => Record::Lost(u64::from_ne_bytes(lost)),
            None => Record::Other(kind, body),
        },
        // PERF_SAMPLE_RAW alone: u32 size, then the bytes, padded.
        RECORD_SAMPLE if raw_only => {
            let size = body.get(..4).and_then(|b| <[u8; 4]>::try_from(b).ok()).map(u32::from_ne_bytes);
            match size.and_then(|size| body.get(4..4usize.checked_add(size as usize)?)) {
                Some(data) => Record::Sample(data),
                None => Record::Other(kind, body),
            }
        }
        RECORD_SAMPLE => Record::Sample(body),
        _ => Record::Other(kind, body),
    }
}

impl AsFd for PerfBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_records_are_told_apart_from_samples() {
        assert_eq!(decode(RECORD_SAMPLE, &[3, 0, 0, 0, 1, 2, 3, 0], true), Record::Sample(&[1, 2, 3]));
        assert_eq!(
            decode(RECORD_SAMPLE, &[9, 0, 0, 0, 1], true),
            Record::Other(RECORD_SAMPLE, &[9, 0, 0, 0, 1])
        );
        assert_eq!(decode(RECORD_SAMPLE, &[0xff; 4], true), Record::Other(RECORD_SAMPLE, &[0xff; 4]));
        assert_eq!(decode(RECORD_LOST, &[1; 8], true), Record::Other(RECORD_LOST, &[1; 8]));
        let lost = [7u64.to_ne_bytes(), 42u64.to_ne_bytes()].concat();
        assert_eq!(decode(RECORD_LOST, &lost, false), Record::Lost(42));
    }
}

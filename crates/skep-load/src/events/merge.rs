//! Records from perf buffers, one for each CPU and stream, put in the order of their time.
//!
//! Buffers cannot be read at one instant, so a record that is older than one already seen may turn up in the next
//! round. What is handed over is therefore what is not younger than the youngest of the round before: all that
//! is as old as that was in its buffer when this round began.

use super::{BufferPages, Handler, Progress, Source};
use skep_sys::bpf::{ElemFlags, Map};
use skep_sys::perf::{Counter, EventAttr, PerfBuffer, PerfEvent, Record, Sampling, Scope, Software, sample};
use skep_sys::{Errno, Result, SysError, cpu};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

#[derive(Debug)]
pub(super) struct Merged {
    buffers: Vec<(Source, PerfBuffer)>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// Records taken from buffers so far: their order where times are equal.
    taken: u64,
    /// Time of the youngest record taken.
    youngest: u64,
    /// Time of the youngest record taken before the last round began: what is not younger is in order.
    settled: u64,
}

/// Ordered by time, then by when it was taken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    time: u64,
    number: u64,
    control: bool,
    bytes: Box<[u8]>,
}

impl Merged {
    pub(super) fn new(data: Option<&Map>, control: Option<&Map>, pages: BufferPages) -> Result<Merged> {
        let online = cpu::online()?;
        let mut buffers = Vec::new();
        let streams = [(Source::Data, data, pages.data), (Source::Control, control, pages.control)];
        for (source, map, pages) in streams {
            let Some(map) = map else { continue };
            for cpu in online.iter() {
                match open(cpu, pages) {
                    Ok(buffer) => {
                        map.update_fd(&cpu.to_ne_bytes(), buffer.as_fd(), ElemFlags::NONE)?;
                        buffers.push((source, buffer));
                    }
                    // Taken away since the list was read.
                    Err(e) if e.errno == Errno::ENODEV => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(Merged { buffers, waiting: BinaryHeap::new(), taken: 0, youngest: 0, settled: 0 })
    }

    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.buffers.iter().map(|(_, buffer)| buffer.as_fd()).collect()
    }

    /// With `all`, what is there is handed over whatever may still come.
    pub(super) fn drain(&mut self, limit: usize, all: bool, handler: &mut Handler<'_>) -> Result<Progress> {
        let mut progress = Progress::default();
        // What is in order already goes first; buffers hold what is not taken from them.
        if all || !self.is_due() {
            self.settled = if all { u64::MAX } else { self.youngest };
            self.youngest = self.collect()?.max(self.youngest);
        }
        while self.is_due() {
            if progress.records >= limit as u64 {
                progress.more = true;
                return Ok(progress);
            }
            let Some(Reverse(next)) = self.waiting.pop() else { break };
            let source = if next.control { Source::Control } else { Source::Data };
            progress.records += 1;
            if handler(source, &next.bytes).is_break() {
                (progress.stopped, progress.more) = (true, true);
                return Ok(progress);
            }
        }
        progress.more = !self.waiting.is_empty();
        Ok(progress)
    }

    /// Whether the oldest record that waits may be handed over.
    fn is_due(&self) -> bool {
        self.waiting.peek().is_some_and(|Reverse(first)| first.time <= self.settled)
    }

    /// Takes what is in the buffers; returns the time of the youngest record.
    fn collect(&mut self) -> Result<u64> {
        let mut youngest = 0;
        for (source, buffer) in &mut self.buffers {
            let (mut damaged, control) = (false, *source == Source::Control);
            buffer.drain(|record| {
                // Programs count what is lost themselves.
                let Record::Sample(body) = record else { return ControlFlow::Continue(()) };
                let Some((time, bytes)) = decode(body) else {
                    damaged = true;
                    return ControlFlow::Break(());
                };
                self.taken += 1;
                youngest = youngest.max(time);
                self.waiting.push(Reverse(Waiting {
                    time,
                    number: self.taken,
                    control,
                    bytes: bytes.into(),
                }));
                ControlFlow::Continue(())
            })?;
            if damaged {
                return Err(SysError::new("perf buffer", Errno::EBADMSG).about("a sample of the wrong shape"));
            }
        }
        Ok(youngest)
    }
}

/// Opens the buffer of a CPU for output of programs with its time.
fn open(cpu: u32, pages: usize) -> Result<PerfBuffer> {
    let attr = EventAttr {
        sampling: Sampling::Period(1),
        sample_type: sample::RAW | sample::TIME,
        // Output of a perf buffer cannot choose whether to wake its reader, so each record does.
        wakeup: 1,
        ..EventAttr::new(Counter::Software(Software::BpfOutput))
    };
    PerfBuffer::new(PerfEvent::open(&attr, Scope::Cpu(cpu))?, pages)
}

/// A sample: `u64` time, `u32` size, then what the program wrote, with padding behind it
/// (kernel/events/core.c, `perf_output_sample`).
fn decode(body: &[u8]) -> Option<(u64, &[u8])> {
    let (time, rest) = body.split_first_chunk::<8>()?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    let bytes = rest.get(..u32::from_ne_bytes(*size) as usize)?;
    Some((u64::from_ne_bytes(*time), bytes))
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn samples_are_time_size_and_bytes() {
        let mut sample = 7u64.to_ne_bytes().to_vec();
        sample.extend(3u32.to_ne_bytes());
        sample.extend([1, 2, 3, 0]);
        assert_eq!(decode(&sample), Some((7, &[1, 2, 3][..])));
        assert_eq!(decode(&sample[..14]), None);
        assert_eq!(decode(&sample[..10]), None);
    }
}

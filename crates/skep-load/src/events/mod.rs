//! The event path: records from programs, in order, and what was lost.
//!
//! [`Events`] reads the data and the control stream of a run, which are ring buffers, or perf buffers on kernels
//! without. A control record carries how much of the data stream was reserved before it (bytes 8 to 16); it is
//! handed over when that much data has been. So order is kept, and a flood of data, which loses records where
//! there is no room, cannot lose an `exit()`.
//!
//! [`LedgerReader`] reads the counts that programs keep themselves. At the end, when everything is detached,
//! [`Events::finish`] goes on until nothing is left and the ledger stands still: then every event has been handed
//! over or is counted as lost.

mod ledger;
mod merge;
mod rings;

pub use ledger::{ExitState, LedgerReader, Row, set_word};

use merge::Merged;
use rings::Rings;
use skep_sys::bpf::{Map, MapType};
use skep_sys::{Errno, Result, SysError, process};
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Which stream a record came through.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Output of the script.
    Data,
    /// What steers the run: exit, printing and clearing of maps, warnings.
    Control,
}

/// Takes a record; its bytes are valid during the call alone. Breaking ends the call that hands records over.
pub type Handler<'a> = dyn FnMut(Source, &[u8]) -> ControlFlow<()> + 'a;

/// What one [`Events::drain`] has done.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records handed over.
    pub records: u64,
    /// There is more: the limit was reached, or records wait for others to be completed or to arrive. The file
    /// descriptors may not say so.
    pub more: bool,
    /// The handler broke.
    pub stopped: bool,
}

/// The records of a run.
#[derive(Debug)]
pub struct Events {
    streams: Streams,
}

#[derive(Debug)]
enum Streams {
    Rings(Rings),
    Buffers(Merged),
}

/// Data pages of each perf buffer, where the kernel has no ring buffers: one for each stream and CPU.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct BufferPages {
    /// For data; a power of two.
    pub data: usize,
    /// For control records; a power of two.
    pub control: usize,
}

impl Default for BufferPages {
    fn default() -> Self {
        BufferPages { data: 64, control: 8 }
    }
}

impl Events {
    /// Reads from the maps that programs write to; both are ring buffers, or both arrays of perf events, which
    /// are filled here with a buffer for each CPU that is online.
    ///
    /// To be made before programs run, where the maps are arrays of perf events: without a buffer a program
    /// counts its record as lost.
    pub fn new(data: Option<&Map>, control: Option<&Map>, pages: BufferPages) -> Result<Events> {
        let kind = |map: Option<&Map>| map.map(|map| map.shape().map_type);
        let kinds = [kind(data), kind(control)];
        let all = |wanted: MapType| kinds.iter().flatten().all(|kind| *kind == wanted);
        let streams = if all(MapType::RINGBUF) {
            Streams::Rings(Rings::new(data, control)?)
        } else if all(MapType::PERF_EVENT_ARRAY) {
            Streams::Buffers(Merged::new(data, control, pages)?)
        } else {
            return Err(SysError::new("mmap", Errno::EINVAL).about("maps that records cannot be read from"));
        };
        Ok(Events { streams })
    }

    /// What to wait for: readable while there are records, if programs wake their reader up. A reader that has
    /// to see the others as well calls [`Events::drain`] from time to time.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match &self.streams {
            Streams::Rings(rings) => rings.fds(),
            Streams::Buffers(buffers) => buffers.fds(),
        }
    }

    /// Hands over records in order, about `limit` of them at most, so that the caller can see to other things.
    ///
    /// `EBADMSG`: another process has damaged a buffer.
    pub fn drain(&mut self, limit: usize, handler: &mut Handler<'_>) -> Result<Progress> {
        match &mut self.streams {
            Streams::Rings(rings) => rings.drain(limit, handler),
            Streams::Buffers(buffers) => buffers.drain(limit, false, handler),
        }
    }

    /// Hands over all that is left once nothing runs the programs any more.
    ///
    /// Waits until programs that were running are through, and until two reads of the ledger agree with nothing
    /// handed over between them. The ledger's last counts are final then. Gives up after some seconds if
    /// something keeps producing, which only happens while something is attached.
    pub fn finish(
        &mut self,
        mut ledger: Option<&mut LedgerReader>,
        handler: &mut Handler<'_>,
    ) -> Result<Progress> {
        let mut total = Progress::default();
        // Programs run in RCU read sections. If the kernel does not let us wait for their end, time has to do.
        let pause = if process::wait_for_rcu() { Duration::ZERO } else { SETTLE };
        let begin = Instant::now();
        let mut before = None;
        loop {
            let part = match &mut self.streams {
                Streams::Rings(rings) => rings.drain(BATCH, handler)?,
                Streams::Buffers(buffers) => buffers.drain(usize::MAX, true, handler)?,
            };
            total.records += part.records;
            if part.stopped {
                return Ok(Progress { stopped: true, ..total });
            }
            let now = match ledger.as_deref_mut() {
                Some(ledger) => Some(ledger.read()?.to_vec()),
                None => None,
            };
            if part.records == 0 && !part.more && before.as_ref() == Some(&now) {
                return Ok(total);
            }
            if begin.elapsed() > PATIENCE {
                return Ok(Progress { more: part.more || part.records > 0, ..total });
            }
            if part.records == 0 {
                // Something is left that is not complete yet, or this was the first of two reads.
                std::thread::sleep(if part.more { SHORT } else { pause });
            }
            before = Some(now);
        }
    }
}

/// Records between two looks at the ledger while finishing.
const BATCH: usize = 1 << 16;
/// Between two reads of the ledger that have to agree, if nothing better is known.
const SETTLE: Duration = Duration::from_millis(10);
/// For a program to complete its record.
const SHORT: Duration = Duration::from_micros(100);
/// For programs that do not stop.
const PATIENCE: Duration = Duration::from_secs(5);

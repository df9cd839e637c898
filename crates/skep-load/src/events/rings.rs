//! Data and control records from two ring buffers, in order.

use super::{Handler, Progress, Source};
use skep_sys::Result;
use skep_sys::bpf::Map;
use skep_sys::ring::Ring;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

#[derive(Debug)]
pub(super) struct Rings {
    data: Option<Ring>,
    control: Option<Ring>,
    /// The oldest control record that waits for data, empty if there is none, and how much data it waits for.
    held: Vec<u8>,
    position: u64,
}

impl Rings {
    pub(super) fn new(data: Option<&Map>, control: Option<&Map>) -> Result<Rings> {
        let data = data.map(Ring::new).transpose()?;
        let control = control.map(Ring::new).transpose()?;
        Ok(Rings { data, control, held: Vec::new(), position: 0 })
    }

    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.data.iter().chain(&self.control).map(AsFd::as_fd).collect()
    }

    /// Order comes from when things are looked at. A program takes the data position and then reserves its
    /// control record, so a control record that is not there yet will name a position that is not below what
    /// was produced before we looked: that much data can be handed over. A control record that is there but not
    /// complete may name any, and everything has to wait for it.
    pub(super) fn drain(&mut self, limit: usize, handler: &mut Handler<'_>) -> Result<Progress> {
        let mut progress = Progress::default();
        loop {
            let left = (limit as u64).saturating_sub(progress.records);
            if left == 0 {
                progress.more = true;
                return Ok(progress);
            }
            let produced = self.data.as_ref().map_or(0, Ring::producer_pos);
            if self.held.is_empty() && !self.take_control()? {
                progress.more = true;
                return Ok(progress);
            }
            let waits = !self.held.is_empty();
            let upto = if waits { self.position } else { produced };
            let reached = self.drain_data(upto, left, &mut progress, handler)?;
            if progress.stopped || !reached {
                progress.more = true;
                return Ok(progress);
            }
            if !waits {
                return Ok(progress);
            }
            if progress.records >= limit as u64 {
                progress.more = true;
                return Ok(progress);
            }
            let flow = handler(Source::Control, &self.held);
            self.held.clear();
            progress.records += 1;
            if flow.is_break() {
                (progress.stopped, progress.more) = (true, true);
                return Ok(progress);
            }
        }
    }

    /// Takes the oldest control record, if there is one. `false`: there is one that is not complete.
    fn take_control(&mut self) -> Result<bool> {
        let Some(ring) = &mut self.control else { return Ok(true) };
        let held = &mut self.held;
        ring.drain(|record| {
            held.extend_from_slice(record);
            ControlFlow::Break(())
        })?;
        if self.held.is_empty() {
            return Ok(ring.consumer_pos() == ring.producer_pos());
        }
        let word = self.held.get(8..16).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        // No more than was produced, whatever the record says: waiting for it would never end.
        let produced = self.data.as_ref().map_or(0, Ring::producer_pos);
        self.position = word.map_or(0, u64::from_ne_bytes).min(produced);
        Ok(true)
    }

    /// Hands over the data below a position, `left` records at most. Returns whether it was reached.
    fn drain_data(
        &mut self,
        upto: u64,
        left: u64,
        progress: &mut Progress,
        handler: &mut Handler<'_>,
    ) -> Result<bool> {
        let Some(ring) = &mut self.data else { return Ok(true) };
        let (mut count, mut stopped) = (0, false);
        let result = ring.drain_to(upto, |record| {
            count += 1;
            let flow = handler(Source::Data, record);
            stopped = flow.is_break();
            if count == left { ControlFlow::Break(()) } else { flow }
        });
        progress.records += count;
        progress.stopped |= stopped;
        result?;
        Ok(ring.consumer_pos() >= upto)
    }
}

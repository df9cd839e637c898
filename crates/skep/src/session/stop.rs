//! What ends a run before its time: signals, and `exit()`.

use skep_sys::poll::{Received, Signal, Signals};
use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// A signal that follows another within this time is the same wish once more: who ends a run may send one to the
/// process and one to its group, as timeout(1) does.
const SAME_WISH: Duration = Duration::from_millis(100);

/// Whether the run is to end. Shared by whoever may have to wait.
pub(crate) struct Stop {
    signals: Signals,
    ending: Cell<bool>,
    /// When the first signal came that asks for an end.
    asked: Cell<Option<Instant>>,
    hurry: Cell<bool>,
    received: RefCell<Vec<Signal>>,
}

impl Stop {
    pub(crate) fn new(signals: Signals) -> Stop {
        Stop {
            signals,
            ending: Cell::new(false),
            asked: Cell::new(None),
            hurry: Cell::new(false),
            received: RefCell::default(),
        }
    }

    /// Reads signals: the first that asks for an end gets it, the second at once.
    pub(crate) fn look(&self) {
        // Nothing to be read is as good as an error here: the next look may find more.
        while let Ok(Some(Received { signal, .. })) = self.signals.read() {
            match signal {
                Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP => {
                    if self.asked.get().is_some_and(|first| first.elapsed() < SAME_WISH) {
                        continue;
                    }
                    self.asked.set(self.asked.get().or_else(|| Some(Instant::now())));
                    self.hurry.set(self.ending.get());
                    self.ending.set(true);
                }
                other => self.received.borrow_mut().push(other),
            }
        }
    }

    /// The run is to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.get()
    }

    /// The user wants it to end at once.
    pub(crate) fn is_hurried(&self) -> bool {
        self.hurry.get()
    }

    /// Makes the run end, or go on after all.
    pub(crate) fn set_ending(&self, ending: bool) {
        self.ending.set(ending);
    }

    /// Signals for the script's own probes that came since this was last asked.
    pub(crate) fn received(&self) -> Vec<Signal> {
        self.received.take()
    }
}

/// Readable when there are signals to [`Stop::look`] at.
impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

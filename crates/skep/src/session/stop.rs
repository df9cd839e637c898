//! What ends a run before its time: signals, and `exit()`.

use skep_sys::poll::{Received, Signal, Signals};
use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd};

/// Whether the run is to end. Shared by whoever may have to wait.
pub(crate) struct Stop {
    signals: Signals,
    ending: Cell<bool>,
    hurry: Cell<bool>,
    received: RefCell<Vec<Signal>>,
}

impl Stop {
    pub(crate) fn new(signals: Signals) -> Stop {
        Stop { signals, ending: Cell::new(false), hurry: Cell::new(false), received: RefCell::default() }
    }

    /// Reads signals: the first that asks for an end gets it, the second at once.
    pub(crate) fn look(&self) {
        // Nothing to be read is as good as an error here: the next look may find more.
        while let Ok(Some(Received { signal, .. })) = self.signals.read() {
            match signal {
                Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP => {
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

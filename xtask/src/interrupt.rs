//! Ctrl-C and its relatives as something that waiting loops look at, so that destructors get to run.

use anyhow::{Context, Result};
use skep_sys::poll::{Signal, Signals};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static RAISED: AtomicBool = AtomicBool::new(false);
static SIGNALS: OnceLock<Signals> = OnceLock::new();

/// From now on SIGINT, SIGTERM and SIGHUP only show in [`raised`]. To be called before threads are started. The
/// standard library lets children inherit the mask: those of then on must be such as are ended with SIGKILL.
pub(crate) fn catch() -> Result<()> {
    let signals =
        Signals::block(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]).context("cannot catch signals")?;
    // A second call finds them caught already.
    let _ = SIGNALS.set(signals);
    Ok(())
}

/// Raises the flag from inside: nobody reads the output any more.
pub(crate) fn raise() {
    RAISED.store(true, Ordering::Relaxed);
}

/// Whether something has asked for the end.
pub(crate) fn raised() -> bool {
    let caught = SIGNALS.get().is_some_and(|signals| matches!(signals.read(), Ok(Some(_))));
    if caught {
        raise();
    }
    RAISED.load(Ordering::Relaxed)
}

//! Ctrl-C and its relatives as a flag that waiting loops look at, so that destructors get to run.

use anyhow::{Context, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGINT, SIGTERM and SIGHUP only raise the flag; a second one ends xtask at once.
pub(crate) fn catch() -> Result<()> {
    let flag = Arc::clone(FLAG.get_or_init(Arc::default));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        // In this order: at the second signal the flag is up already.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .context("cannot catch signals")?;
    }
    Ok(())
}

/// Raises the flag from inside: nobody reads the output any more.
pub(crate) fn raise() {
    FLAG.get_or_init(Arc::default).store(true, Ordering::Relaxed);
}

/// Whether a signal has asked for the end.
pub(crate) fn raised() -> bool {
    FLAG.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

//! Kernel probes as events of tracefs, for kernels without a kprobe PMU.
//!
//! Such an event outlives the process that made it. Its name carries the process's id, and whoever makes one
//! first removes those of processes that are gone.

use skep_sys::fs::TraceFs;
use skep_sys::proc;
use skep_sys::{Errno, Result, SysError};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Group of the events, followed by the process's id.
const GROUP: &str = "skep_";
const FILE: &str = "kprobe_events";

/// An event of `kprobe_events`; removed when dropped.
#[derive(Debug)]
pub(super) struct TracefsProbe {
    events: File,
    name: String,
    id: u64,
}

impl TracefsProbe {
    /// Makes an event at a function plus offset, or at an address if the symbol is empty.
    pub(super) fn kprobe(tracefs: &TraceFs, symbol: &str, offset: u64, ret: bool) -> Result<TracefsProbe> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !symbol.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$' | b':')) {
            let e = SysError::new("write", Errno::EINVAL);
            return Err(e.about(format!("no name of a function: {symbol:?}")));
        }
        let mut events = File::from(tracefs.append(Path::new(FILE))?);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            remove_stale(tracefs, &mut events);
        }
        let (group, event) = (format!("{GROUP}{}", std::process::id()), format!("p{number}"));
        let kind = if ret { 'r' } else { 'p' };
        let place = match symbol {
            "" => format!("{offset:#x}"),
            symbol => format!("{symbol}+{offset}"),
        };
        write(&mut events, &format!("{kind}:{group}/{event} {place}"))?;
        // From here on it is removed whatever happens.
        let mut probe = TracefsProbe { events, name: format!("{group}/{event}"), id: 0 };
        probe.id = tracefs.event_id(&group, &event)?;
        Ok(probe)
    }

    /// Number of the event, for perf_event_open(2).
    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for TracefsProbe {
    fn drop(&mut self) {
        // A failure leaves an event that nothing listens to; the next process removes it.
        let _ = write(&mut self.events, &format!("-:{}", self.name));
    }
}

/// One definition in one call, as the file wants it.
fn write(events: &mut File, definition: &str) -> Result<()> {
    events.write_all(format!("{definition}\n").as_bytes()).map_err(|e| {
        let errno = e.raw_os_error().map_or(Errno::EIO, Errno);
        SysError::new("write", errno).about(format!("{FILE}: {definition}"))
    })
}

/// Removes the events of processes that are gone. Failures do not matter: they are in nobody's way.
fn remove_stale(tracefs: &TraceFs, events: &mut File) {
    let Ok(text) = tracefs.read(Path::new(FILE)) else { return };
    for name in String::from_utf8_lossy(&text).lines().filter_map(stale_name) {
        let pid = name.strip_prefix(GROUP).and_then(|rest| rest.split('/').next()?.parse().ok());
        if pid.is_some_and(|pid: u32| proc::stat(pid).is_err_and(|e| e.is_not_found())) {
            let _ = write(events, &format!("-:{name}"));
        }
    }
}

/// The name in a definition of an event of ours: `p:skep_12/p0 vfs_read+0`.
fn stale_name(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(':')?;
    let name = rest.split_whitespace().next()?;
    name.starts_with(GROUP).then_some(name)
}

//! Many attachments at once: each may wait for the kernel, and waits overlap.

use super::{AttachError, Attacher, Attachment, EventPart, Part};
use skep_ir::ProgKind;
use skep_ir::spec::Attach;
use skep_sys::bpf::Prog;
use skep_sys::process::close_in_background;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::thread;

/// One thing to attach.
#[derive(Copy, Clone, Debug)]
pub struct Job<'a> {
    /// The program.
    pub prog: &'a Prog,
    /// What it was loaded as.
    pub kind: ProgKind,
    /// Where it goes.
    pub attach: &'a Attach,
}

/// Below this many one thread is as fast as more.
const ALONE: usize = 24;
/// Most threads: what they wait for is the kernel, not a CPU.
const THREADS: usize = 16;

impl Attacher {
    /// Attaches everything and returns the results in the order of the jobs.
    ///
    /// Programs for the same place are attached in the order of the jobs; different places in any order.
    pub fn attach_all(&self, jobs: &[Job<'_>]) -> Vec<Result<Attachment, AttachError>> {
        let attach = |job: &Job<'_>| self.attach(job.prog, job.kind, job.attach);
        if jobs.len() < ALONE {
            return jobs.iter().map(attach).collect();
        }
        skep_sys::process::raise_open_files();
        let workers = THREADS.min(jobs.len() / 8).max(1);
        // Equal places meet in one worker, which keeps their order.
        let mut shares: Vec<Vec<usize>> = vec![Vec::new(); workers];
        for (index, job) in jobs.iter().enumerate() {
            let mut hasher = DefaultHasher::new();
            job.attach.hash(&mut hasher);
            if let Some(share) = shares.get_mut((hasher.finish() % workers as u64) as usize) {
                share.push(index);
            }
        }
        let mut results: Vec<Option<Result<Attachment, AttachError>>> = Vec::new();
        results.resize_with(jobs.len(), || None);
        thread::scope(|scope| {
            let work = |share: Vec<usize>| {
                move || {
                    let done = share.into_iter().filter_map(|i| Some((i, attach(jobs.get(i)?))));
                    done.collect::<Vec<_>>()
                }
            };
            let mut threads = Vec::new();
            let mut left = Vec::new();
            for share in shares {
                // No thread to be had: the work is done here.
                match thread::Builder::new().spawn_scoped(scope, work(share.clone())) {
                    Ok(thread) => threads.push(thread),
                    Err(_) => left.push(share),
                }
            }
            let here = left.into_iter().flat_map(|share| work(share)());
            let there = threads.into_iter().filter_map(|thread| thread.join().ok()).flatten();
            for (index, result) in here.chain(there) {
                if let Some(slot) = results.get_mut(index) {
                    *slot = Some(result);
                }
            }
        });
        // A worker that panicked has no results; its places are attached here.
        results.into_iter().zip(jobs).map(|(done, job)| done.unwrap_or_else(|| attach(job))).collect()
    }
}

/// Detaches everything: no program runs any more when this returns, but for those that are running.
///
/// Closing the link of a perf event waits for a grace period of RCU, so many are closed in many threads. Closing
/// the event of a tracepoint or probe waits for some more, while holding a lock that is the same for all
/// (kernel/trace/trace_event_perf.c, `perf_trace_destroy`, `perf_uprobe_destroy`): a thousand take a minute or
/// two, which threads cannot help. Where there are more than a few, a process that stays behind does it.
pub fn detach_all(attachments: Vec<Attachment>) {
    let (mut waiting, mut events) = (Vec::new(), Vec::new());
    for part in attachments.into_iter().flat_map(|attachment| attachment.parts) {
        match part {
            // Dropped at once.
            Part::Link(_) => {}
            Part::Event(EventPart { link: Some(link), event: Some(event), probe: None }) => {
                waiting.push(EventPart { link: Some(link), event: None, probe: None });
                events.push(event);
            }
            Part::Event(part) => waiting.push(part),
        }
    }
    drop_in_threads(waiting);
    if events.len() > PATIENCE {
        // If there can be no process, they have been closed here.
        let _ = close_in_background(events.into_iter().map(OwnedFd::from).collect());
    }
}

/// Drops values in as many threads as there are, up to a limit.
fn drop_in_threads<T: Send>(mut values: Vec<T>) {
    let share = values.len().div_ceil(WAITERS).max(1);
    thread::scope(|scope| {
        while values.len() > share {
            let part = values.split_off(values.len() - share);
            // Without a thread the closure is dropped here and the values with it.
            let _ = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || drop(part));
        }
        drop(values);
    });
}

/// Most threads that close: all they do is wait.
const WAITERS: usize = 64;
/// Bytes of stack of such a thread.
const STACK: usize = 64 << 10;
/// Events of tracepoints and probes that are closed while the caller waits, at up to a tenth of a second each.
const PATIENCE: usize = 4;

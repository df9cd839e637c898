//! Many attachments at once: each may wait for the kernel, and waits overlap.

use super::{AttachError, Attacher, Attachment};
use skep_ir::ProgKind;
use skep_ir::spec::Attach;
use skep_sys::bpf::Prog;
use std::hash::{DefaultHasher, Hash, Hasher};
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

/// Drops attachments, many of them in several threads: closing a tracepoint's event waits until no CPU can be in
/// it any more.
pub fn detach_all(mut attachments: Vec<Attachment>) {
    if attachments.len() < ALONE {
        return;
    }
    let share = attachments.len().div_ceil(THREADS);
    thread::scope(|scope| {
        while !attachments.is_empty() {
            let part = attachments.split_off(attachments.len().saturating_sub(share));
            // Without a thread the closure is dropped here and the attachments with it.
            let _ = thread::Builder::new().spawn_scoped(scope, move || drop(part));
        }
    });
}

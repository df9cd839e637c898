//! From a collection to kernel objects.

mod maps;
mod program;
mod resolve;

use crate::failure::LoadFailure;
use crate::kernel::LiveKernel;
use crate::verifier;
use cranelift_entity::PrimaryMap;
use resolve::Resolved;
use skep_ir::module::MapId;
use skep_ir::spec::Collection;
use skep_sys::bpf::{Btf, Log, Map, Prog};
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How a collection is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions<'a> {
    /// Indexes of the programs to load; `None` loads all. Maps are made in any case.
    pub programs: Option<&'a [usize]>,
    /// Threads that load programs at the same time; 0 chooses by the number of programs and CPUs.
    pub threads: usize,
    /// Programs that fail do not end the load but are listed in [`Loaded::failed`].
    pub keep_going: bool,
    /// The verifier's log of programs that load, at this level ([`skep_sys::bpf::log_level`]); 0 for none, which
    /// is much faster.
    pub log_level: u32,
    /// Directory in a bpffs for maps that are to be pinned.
    pub pin_dir: Option<&'a Path>,
}

/// A loaded collection. What is in it goes away with it, but for what is pinned.
#[derive(Debug)]
pub struct Loaded {
    /// Maps, by their ids in the collection.
    pub maps: PrimaryMap<MapId, Map>,
    /// Programs, in the order of the collection.
    pub programs: Vec<LoadedProgram>,
    /// Programs that failed, with [`LoadOptions::keep_going`].
    pub failed: Vec<LoadFailure>,
    /// Type information; `None` if the collection has none.
    pub btf: Option<Btf>,
}

/// A program in the kernel.
#[derive(Debug)]
pub struct LoadedProgram {
    /// The program.
    pub prog: Prog,
    /// Index of its spec in the collection.
    pub spec: usize,
    /// Which of the spec's attachments this program is for: all of them, except for kinds that are bound to a
    /// function or type of the kernel when they load, which are loaded once for each, and for places of which only
    /// some are linked many at a time.
    pub attach: Range<usize>,
    /// The verifier's log, if one was asked for.
    pub log: Option<Log>,
}

/// Makes the maps and programs of a collection.
///
/// # Errors
/// The first part that the kernel refused; everything made before it is gone again.
pub fn load(
    collection: &Collection,
    kernel: &LiveKernel,
    options: &LoadOptions<'_>,
) -> Result<Loaded, LoadFailure> {
    let btf = load_btf(collection, kernel)?;
    let maps = maps::create_all(collection, kernel, btf.as_ref(), options)?;
    let resolved = Resolved::of(collection, kernel, options)?;
    let context =
        program::Context { collection, kernel, maps: &maps, btf: btf.as_ref(), resolved: &resolved, options };
    let jobs = context.jobs();
    let (programs, mut failed) = run(&context, &jobs);
    if !options.keep_going && !failed.is_empty() {
        return Err(failed.swap_remove(0));
    }
    Ok(Loaded { maps, programs, failed, btf })
}

fn load_btf(collection: &Collection, kernel: &LiveKernel) -> Result<Option<Btf>, LoadFailure> {
    if collection.btf.is_empty() {
        return Ok(None);
    }
    Btf::load(&collection.btf, None).map(Some).map_err(|e| verifier::btf_failure(kernel, e))
}

/// A program to load: its spec and the attachments that it is for.
struct Job {
    spec: usize,
    attach: Range<usize>,
}

/// Loads the programs, in several threads if there are many; failures in the order of the collection.
fn run(context: &program::Context<'_>, jobs: &[Job]) -> (Vec<LoadedProgram>, Vec<LoadFailure>) {
    /// Programs per thread below which starting a thread costs more than it saves.
    const WORTH_A_THREAD: usize = 16;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match context.options.threads {
        0 => cpus.min(jobs.len() / WORTH_A_THREAD),
        n => n.min(jobs.len()),
    };
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let results: Vec<OnceLock<Result<LoadedProgram, LoadFailure>>> =
        jobs.iter().map(|_| OnceLock::new()).collect();
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { return };
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let result = context.load(job);
            if result.is_err() && !context.options.keep_going {
                stop.store(true, Ordering::Relaxed);
            }
            // Each index is taken once, so the cell is empty.
            let _ = results[index].set(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // With fewer threads it takes longer; the work is shared in any case.
            let _ = std::thread::Builder::new().name("skep-load".into()).spawn_scoped(scope, work);
        }
        work();
    });
    let (mut loaded, mut failed) = (Vec::with_capacity(jobs.len()), Vec::new());
    for result in results.into_iter().filter_map(OnceLock::into_inner) {
        match result {
            Ok(program) => loaded.push(program),
            Err(failure) => failed.push(failure),
        }
    }
    (loaded, failed)
}

//! Attachments: programs put where they run.
//!
//! [`Attacher::attach`] takes a loaded program to one place of its spec and returns an [`Attachment`], which
//! owns what the kernel gave for it: dropping it detaches. Nothing is pinned unless the spec asks for it, so the
//! kernel undoes everything when the process ends, however it ends.
//!
//! Ways are tried from the best to the oldest and the kernel's own answer decides: a link, else the perf event
//! alone; one link for many functions, else one each; the kprobe PMU, else an event of tracefs. What was found
//! missing once is not tried again.

mod error;
pub mod iter;
mod legacy;
mod many;
mod multi;
mod once;
mod perf;

pub use error::{AttachError, describe};
pub use many::{Job, detach_all};
pub use once::run;

use iter::IterPlace;
use legacy::TracefsProbe;
use skep_ir::spec::Attach;
use skep_ir::{Feature, FeatureSet, ProgKind};
use skep_sys::bpf::{AttachType, Link, LinkTarget, Prog};
use skep_sys::cpu::{self, CpuList};
use skep_sys::fs::TraceFs;
use skep_sys::perf::PerfEvent;
use skep_sys::{Result, SysError};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Attaches programs. Keeps what is found out on the way: one for a run is enough, threads may share it.
#[derive(Debug, Default)]
pub struct Attacher {
    off: FeatureSet,
    no_kprobe_multi: AtomicBool,
    no_uprobe_multi: AtomicBool,
    no_kprobe_pmu: AtomicBool,
    tracefs: OnceLock<Result<TraceFs>>,
    online: OnceLock<Result<CpuList>>,
}

impl Attacher {
    /// An attacher that tries every way.
    #[must_use]
    pub fn new() -> Attacher {
        Attacher::default()
    }

    /// Does without these features, as if the kernel did not have them.
    #[must_use]
    pub fn without(mut self, off: FeatureSet) -> Attacher {
        self.off = off;
        self
    }

    /// Makes kprobes and kretprobes events of tracefs, as on kernels without a kprobe PMU (before 4.17).
    #[must_use]
    pub fn with_tracefs_kprobes(self) -> Attacher {
        self.no_kprobe_pmu.store(true, Ordering::Relaxed);
        self
    }

    /// Attaches `prog`, which was loaded as `kind`, to one place.
    ///
    /// [`Attach::Once`] and [`Attach::Signal`] are places that this process runs the program at itself, by
    /// [`run`]; their attachment holds nothing.
    pub fn attach(&self, prog: &Prog, kind: ProgKind, attach: &Attach) -> Result<Attachment, AttachError> {
        let explained = |e: SysError| AttachError::new(attach, e);
        match attach {
            Attach::Once(_) | Attach::Signal(_) => Ok(Attachment::default()),
            Attach::Tracepoint { category, event } => {
                self.tracepoint(prog, category, event).map(Attachment::one).map_err(explained)
            }
            Attach::RawTracepoint { event } => {
                let link = match kind {
                    ProgKind::TpBtf => Link::tracing_legacy(prog.as_fd()),
                    _ => Link::raw_tracepoint(prog.as_fd(), event, 0),
                };
                link.map(|link| Attachment::one(Part::Link(link))).map_err(explained)
            }
            Attach::Kprobe { symbol, offset, ret } => {
                self.kprobe(prog, symbol, *offset, *ret).map(Attachment::one).map_err(explained)
            }
            Attach::KprobeMulti { symbols, ret } => self.kprobe_multi(prog, symbols, *ret, attach),
            Attach::Trampoline { .. } => {
                // Older than BPF_LINK_CREATE for these programs and the same otherwise, as no cookie is asked.
                let link = Link::tracing_legacy(prog.as_fd()).map_err(explained)?;
                Ok(Attachment::one(Part::Link(link)))
            }
            Attach::Uprobe { path, offset, semaphore, ret, pid, cookie } => {
                let place =
                    perf::UprobePlace { path: Path::new(path), offset: *offset, semaphore: *semaphore };
                self.uprobe(prog, place, *ret, *pid, *cookie).map(Attachment::one).map_err(explained)
            }
            Attach::UprobeMulti { path, offsets, semaphores, cookies, ret, pid } => {
                let places = multi::UprobePlaces { path, offsets, semaphores, cookies, ret: *ret, pid: *pid };
                self.uprobe_multi(prog, &places, attach)
            }
            Attach::Perf(event) => self.perf(prog, event).map_err(explained),
            Attach::Iter { pin, .. } => {
                let place = IterPlace::new(prog, pin.as_deref()).map_err(explained)?;
                Ok(Attachment { iter: Some(place), ..Attachment::default() })
            }
        }
    }

    fn is_off(&self, feature: Feature) -> bool {
        self.off.has(feature)
    }

    fn tracefs(&self) -> Result<&TraceFs> {
        self.tracefs.get_or_init(TraceFs::open).as_ref().map_err(Clone::clone)
    }

    fn online(&self) -> Result<&CpuList> {
        self.online.get_or_init(cpu::online).as_ref().map_err(Clone::clone)
    }

    /// Makes an event run the program, by a link if possible, else by the event itself.
    ///
    /// Without a link a program gets no cookie: one other than 0 is an error there.
    fn run_at(&self, prog: &Prog, event: PerfEvent, cookie: u64) -> Result<EventPart> {
        if !self.is_off(Feature::PerfLink) {
            let target = LinkTarget::PerfEvent { event: event.as_fd(), cookie };
            match Link::create(prog.as_fd(), AttachType::PERF_EVENT, &target) {
                Ok(link) => return Ok(EventPart { link: Some(link), event: Some(event), probe: None }),
                Err(e) if !e.is_unsupported() || cookie != 0 => return Err(e),
                // Before 5.15, or a program that was loaded for a link of many, which this is not; other reasons
                // for the same answer show below.
                Err(_) => {}
            }
        } else if cookie != 0 {
            let e = SysError::new("bpf(BPF_LINK_CREATE)", skep_sys::Errno::EOPNOTSUPP);
            return Err(e.about("a cookie needs a link"));
        }
        event.set_bpf(prog.as_fd())?;
        Ok(EventPart { link: None, event: Some(event), probe: None })
    }
}

/// A program attached to one place of its spec, which may be many in the kernel. Dropping it detaches.
#[derive(Debug, Default)]
#[must_use = "dropping an attachment detaches"]
pub struct Attachment {
    parts: Vec<Part>,
    skipped: Vec<AttachError>,
    iter: Option<IterPlace>,
}

/// What the kernel gave for an attachment.
#[derive(Debug)]
enum Part {
    /// A link alone.
    Link(Link),
    /// A perf event that runs the program.
    Event(EventPart),
}

/// Dropped in this order: first what runs the program, then what it was attached to.
#[derive(Debug)]
struct EventPart {
    link: Option<Link>,
    event: Option<PerfEvent>,
    probe: Option<TracefsProbe>,
}

impl EventPart {
    /// Leaves the event to the link, if there is one: a descriptor less. For events that sample: those of probes
    /// and tracepoints take long to close, which [`detach_all`] leaves to the end.
    fn compact(mut self) -> Part {
        if self.link.is_some() {
            self.event = None;
        }
        Part::Event(self)
    }
}

impl Attachment {
    fn one(part: Part) -> Attachment {
        Attachment { parts: vec![part], ..Attachment::default() }
    }

    /// Objects in the kernel: 0 for places that the process itself runs the program at.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len() + usize::from(self.iter.is_some())
    }

    /// Whether nothing in the kernel runs the program.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Functions and locations among many that could not be attached to although others could.
    #[must_use]
    pub fn skipped(&self) -> &[AttachError] {
        &self.skipped
    }

    /// The links of the attachment, for what the kernel tells about them.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        let iter = self.iter.as_ref().map(IterPlace::link);
        let parts = self.parts.iter().filter_map(|part| match part {
            Part::Link(link) => Some(link),
            Part::Event(part) => part.link.as_ref(),
        });
        parts.chain(iter)
    }
}

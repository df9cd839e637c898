//! Attachments to perf events: tracepoints, kprobes, uprobes, timers, counters, breakpoints.
//!
//! Probes and tracepoints belong to the kernel and not to a CPU: an event on one CPU makes the program run on
//! every one (kernel/trace/bpf_trace.c, `trace_call_bpf` is called before the events of the CPU are looked at).
//! What samples has to be opened on each CPU.

use super::{Attacher, Attachment, EventPart, Part, TracefsProbe};
use skep_ir::spec::{Cpus, PerfEvent as Spec, Sample};
use skep_sys::bpf::Prog;
use skep_sys::perf::{Counter, EventAttr, PerfEvent, Probe, Sampling, Scope, Watch, WatchMode};
use skep_sys::proc;
use skep_sys::{Errno, Result, SysError};
use std::path::Path;
use std::sync::atomic::Ordering;

/// A location in a file, as a uprobe takes it.
#[derive(Copy, Clone)]
pub(super) struct UprobePlace<'a> {
    pub(super) path: &'a Path,
    pub(super) offset: u64,
    pub(super) semaphore: u64,
}

/// `PERF_TYPE_BREAKPOINT`
const BREAKPOINT: u32 = 5;

impl Attacher {
    pub(super) fn tracepoint(&self, prog: &Prog, category: &str, event: &str) -> Result<Part> {
        let id = self.tracefs()?.event_id(category, event)?;
        let event = self.open_anywhere(&EventAttr::new(Counter::Tracepoint(id)))?;
        self.run_at(prog, event, 0).map(Part::Event)
    }

    /// A symbol and an offset in it; without a symbol the offset is an address.
    pub(super) fn kprobe(&self, prog: &Prog, symbol: &str, offset: u64, ret: bool) -> Result<Part> {
        if !self.no_kprobe_pmu.load(Ordering::Relaxed) {
            let probe = match symbol {
                "" => Probe::KprobeAddress(offset),
                function => Probe::KprobeSymbol { function, offset },
            };
            let attr = EventAttr::new(Counter::Probe { probe, on_return: ret });
            match self.open_anywhere(&attr) {
                Ok(event) => return self.run_at(prog, event, 0).map(Part::Event),
                Err(e) if !is_missing_pmu(&e) => return Err(e),
                Err(pmu) => {
                    // Kernels without kprobes have neither; the first answer is the clearer one.
                    let Ok(part) = self.tracefs_kprobe(prog, symbol, offset, ret) else { return Err(pmu) };
                    self.no_kprobe_pmu.store(true, Ordering::Relaxed);
                    return Ok(part);
                }
            }
        }
        self.tracefs_kprobe(prog, symbol, offset, ret)
    }

    fn tracefs_kprobe(&self, prog: &Prog, symbol: &str, offset: u64, ret: bool) -> Result<Part> {
        let probe = TracefsProbe::kprobe(self.tracefs()?, symbol, offset, ret)?;
        let event = self.open_anywhere(&EventAttr::new(Counter::Tracepoint(probe.id())))?;
        let part = self.run_at(prog, event, 0)?;
        Ok(Part::Event(EventPart { probe: Some(probe), ..part }))
    }

    pub(super) fn uprobe(
        &self,
        prog: &Prog,
        place: UprobePlace<'_>,
        ret: bool,
        pid: Option<u32>,
        cookie: u64,
    ) -> Result<Part> {
        let probe = Probe::Uprobe { path: place.path, offset: place.offset, ref_ctr_offset: place.semaphore };
        let attr = EventAttr::new(Counter::Probe { probe, on_return: ret });
        let event = match pid {
            // One thread stands for all that share its memory (kernel/trace/trace_uprobe.c,
            // `uprobe_perf_filter`).
            Some(pid) => PerfEvent::open(&attr, Scope::Thread(pid))?,
            None => self.open_anywhere(&attr)?,
        };
        self.run_at(prog, event, cookie).map(Part::Event)
    }

    /// Opens an event that is not bound to a CPU, on whichever is there.
    fn open_anywhere(&self, attr: &EventAttr<'_>) -> Result<PerfEvent> {
        // CPU 0 is nearly always there; the list need not be read then.
        match PerfEvent::open(attr, Scope::Cpu(0)) {
            Err(e) if e.errno == Errno::ENODEV => {}
            result => return result,
        }
        let mut last = SysError::new("perf_event_open", Errno::ENODEV);
        for cpu in self.online()?.iter() {
            match PerfEvent::open(attr, Scope::Cpu(cpu)) {
                Err(e) if e.errno == Errno::ENODEV => last = e,
                result => return result,
            }
        }
        Err(last)
    }

    /// A timer, counter or breakpoint on all CPUs, on one, or in one process.
    pub(super) fn perf(&self, prog: &Prog, spec: &Spec) -> Result<Attachment> {
        let counter = match spec.perf_type {
            BREAKPOINT => Counter::Breakpoint(Watch {
                addr: spec.config,
                len: u64::from(spec.bp_len),
                mode: WatchMode {
                    read: spec.bp_type & 1 != 0,
                    write: spec.bp_type & 2 != 0,
                    execute: spec.bp_type & 4 != 0,
                },
            }),
            pmu => Counter::Raw { pmu, config: spec.config, config1: 0, config2: 0 },
        };
        let sampling = match spec.sample {
            Sample::Period(n) => Sampling::Period(n),
            Sample::Frequency(n) => Sampling::Frequency(n),
        };
        let attr = EventAttr { sampling, ..EventAttr::new(counter) };
        if let Some(pid) = spec.pid {
            return self.perf_in_process(prog, &attr, pid);
        }
        if spec.cpus == Cpus::One {
            let event = self.open_anywhere(&attr)?;
            return Ok(Attachment::one(self.run_at(prog, event, 0)?.compact()));
        }
        let mut parts = Vec::new();
        let mut gone = None;
        for cpu in self.online()?.iter() {
            match PerfEvent::open(&attr, Scope::Cpu(cpu)) {
                Ok(event) => parts.push(self.run_at(prog, event, 0)?.compact()),
                // Taken away since the list was read.
                Err(e) if e.errno == Errno::ENODEV => gone = Some(e),
                Err(e) => return Err(e),
            }
        }
        match gone {
            Some(e) if parts.is_empty() => Err(e),
            _ => Ok(Attachment { parts, ..Attachment::default() }),
        }
    }

    /// An event in every thread of a process, and in those that they start.
    fn perf_in_process(&self, prog: &Prog, attr: &EventAttr<'_>, pid: u32) -> Result<Attachment> {
        let attr = EventAttr { inherit: true, ..*attr };
        let mut parts = Vec::new();
        let mut gone = None;
        let threads = proc::threads(pid).map_err(|e| match e.is_not_found() {
            true => SysError::new(e.call, Errno::ESRCH).about(e.detail),
            false => e,
        })?;
        for thread in threads {
            match PerfEvent::open(&attr, Scope::Thread(thread)) {
                Ok(event) => parts.push(self.run_at(prog, event, 0)?.compact()),
                Err(e) if e.errno == Errno::ESRCH => gone = Some(e),
                Err(e) => return Err(e),
            }
        }
        match gone {
            Some(e) if parts.is_empty() => Err(e),
            _ => Ok(Attachment { parts, ..Attachment::default() }),
        }
    }
}

/// Whether the kernel has no such PMU at all, told by the file that names its type.
pub(super) fn is_missing_pmu(e: &SysError) -> bool {
    e.errno == Errno::ENOENT && e.call == "open" && e.detail.contains("/event_source/devices/")
}

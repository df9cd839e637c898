//! Many functions by one link, or by one event each where the kernel has no such links.

use super::perf::UprobePlace;
use super::{AttachError, Attacher, Attachment, Part};
use skep_ir::Feature;
use skep_ir::spec::Attach;
use skep_sys::bpf::{AttachType, Link, LinkTarget, Prog};
use skep_sys::{Errno, Result, SysError};
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::Ordering;

/// The parts of [`Attach::UprobeMulti`].
pub(super) struct UprobePlaces<'a> {
    pub(super) path: &'a str,
    pub(super) offsets: &'a [u64],
    pub(super) semaphores: &'a [u64],
    pub(super) cookies: &'a [u64],
    pub(super) ret: bool,
    pub(super) pid: Option<u32>,
}

impl Attacher {
    pub(super) fn kprobe_multi(
        &self,
        prog: &Prog,
        symbols: &[String],
        ret: bool,
        attach: &Attach,
    ) -> Result<Attachment, AttachError> {
        let names = symbols.iter().map(|name| c_string(name)).collect::<Result<Vec<_>>>();
        let names = names.map_err(|e| AttachError::new(attach, e))?;
        let names: Vec<&CStr> = names.iter().map(CString::as_c_str).collect();
        let mut attachment = Attachment::default();
        if !self.is_off(Feature::KprobeMulti) && !self.no_kprobe_multi.load(Ordering::Relaxed) {
            let mut link = |part: &[&CStr]| {
                let target =
                    LinkTarget::KprobeMulti { symbols: part, addrs: &[], cookies: &[], on_return: ret };
                Link::create(prog.as_fd(), AttachType::TRACE_KPROBE_MULTI, &target)
            };
            match divide(&names, &mut link, &mut attachment.parts) {
                Ok(failed) => {
                    let at = |(index, e): (usize, SysError)| {
                        let symbol = symbols.get(index).cloned().unwrap_or_default();
                        AttachError::new(&Attach::Kprobe { symbol, offset: 0, ret }, e)
                    };
                    attachment.skipped = failed.into_iter().map(at).collect();
                    return attachment.or_first_error(attach);
                }
                Err(_) => self.no_kprobe_multi.store(true, Ordering::Relaxed),
            }
        }
        for symbol in symbols {
            match self.kprobe(prog, symbol, 0, ret) {
                Ok(part) => attachment.parts.push(part),
                Err(e) => {
                    let place = Attach::Kprobe { symbol: symbol.clone(), offset: 0, ret };
                    attachment.skipped.push(AttachError::new(&place, e));
                    // What holds for all of them need not be found out for each.
                    if super::perf::is_missing_pmu(&attachment.skipped[0].source) {
                        break;
                    }
                }
            }
        }
        attachment.or_first_error(attach)
    }

    pub(super) fn uprobe_multi(
        &self,
        prog: &Prog,
        places: &UprobePlaces<'_>,
        attach: &Attach,
    ) -> Result<Attachment, AttachError> {
        let explained = |e: SysError| AttachError::new(attach, e);
        let UprobePlaces { path, offsets, semaphores, cookies, ret, pid } = *places;
        if !self.is_off(Feature::UprobeMulti) && !self.no_uprobe_multi.load(Ordering::Relaxed) {
            let path = c_string(path).map_err(explained)?;
            let target = LinkTarget::UprobeMulti {
                path: &path,
                offsets,
                ref_ctr_offsets: semaphores,
                cookies,
                pid: pid.unwrap_or(0),
                on_return: ret,
            };
            match Link::create(prog.as_fd(), AttachType::TRACE_UPROBE_MULTI, &target) {
                Ok(link) => return Ok(Attachment::one(Part::Link(link))),
                Err(e) if e.is_unsupported() => {}
                Err(e) => return Err(explained(e)),
            }
        }
        let mut attachment = Attachment::default();
        for (index, offset) in offsets.iter().enumerate() {
            let semaphore = semaphores.get(index).copied().unwrap_or(0);
            let cookie = cookies.get(index).copied().unwrap_or(0);
            let place = UprobePlace { path: Path::new(path), offset: *offset, semaphore };
            match self.uprobe(prog, place, ret, pid, cookie) {
                Ok(part) => attachment.parts.push(part),
                Err(e) => {
                    let path = path.to_owned();
                    let place = Attach::Uprobe { path, offset: *offset, semaphore, ret, pid, cookie };
                    attachment.skipped.push(AttachError::new(&place, e));
                }
            }
        }
        if !attachment.parts.is_empty() && attachment.skipped.is_empty() {
            // All of them work one by one, so it was the link that this kernel does not have.
            self.no_uprobe_multi.store(true, Ordering::Relaxed);
        }
        attachment.or_first_error(attach)
    }
}

impl Attachment {
    /// The attachment, unless nothing is attached.
    fn or_first_error(mut self, attach: &Attach) -> Result<Attachment, AttachError> {
        if !self.parts.is_empty() {
            return Ok(self);
        }
        if self.skipped.is_empty() {
            let e = SysError::new("bpf(BPF_LINK_CREATE)", Errno::ENOENT).about("nothing to attach to");
            return Err(AttachError::new(attach, e));
        }
        Err(self.skipped.swap_remove(0))
    }
}

fn c_string(text: &str) -> Result<CString> {
    let nul = |_| SysError::new("bpf(BPF_LINK_CREATE)", Errno::EINVAL).about(format!("NUL in {text:?}"));
    CString::new(text).map_err(nul)
}

/// Links all functions at once; if the kernel refuses, halves of them, until it is known which ones it refuses:
/// one function that cannot be probed makes it refuse all. Returns their indexes with the kernel's answer.
///
/// An error means that it refuses every one with an answer that stands for a missing feature.
fn divide(
    names: &[&CStr],
    link: &mut dyn FnMut(&[&CStr]) -> Result<Link>,
    parts: &mut Vec<Part>,
) -> Result<Vec<(usize, SysError)>> {
    let mut failed = Vec::new();
    let mut todo = vec![(0, names.len())];
    while let Some((start, end)) = todo.pop() {
        let Some(part) = names.get(start..end).filter(|part| !part.is_empty()) else { continue };
        match link(part) {
            Ok(link) => parts.push(Part::Link(link)),
            Err(e) if matches!(e.errno, Errno::EOPNOTSUPP | Errno::ENOTSUPP) => return Err(e),
            Err(e) if part.len() == 1 => {
                // The first single ones of many all failing in the same way: so would the rest.
                if e.is_unsupported() && parts.is_empty() && failed.len() >= GIVE_UP {
                    return Err(e);
                }
                failed.push((start, e));
            }
            Err(_) => {
                let middle = start + part.len() / 2;
                // The first half is taken next.
                todo.push((middle, end));
                todo.push((start, middle));
            }
        }
    }
    match failed.pop() {
        Some((_, e)) if parts.is_empty() && e.is_unsupported() => Err(e),
        Some(last) => {
            failed.push(last);
            Ok(failed)
        }
        None => Ok(failed),
    }
}

/// Functions refused one by one before anything was attached that make the feature count as missing.
const GIVE_UP: usize = 8;

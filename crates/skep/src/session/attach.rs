//! Putting programs in place, in the right order.

use crate::console::{Failure, NOT_LOADED};
use skep_ir::spec::{Attach, Collection, When};
use skep_ir::{Diagnostic, Severity};
use skep_load::attach::{AttachError, Attacher, Attachment, Job, detach_all};
use skep_load::{Loaded, LoadedProgram};
use skep_trace::config::MissingProbes;

/// One program and one place of it.
#[derive(Copy, Clone)]
pub(crate) struct Placed<'a> {
    pub(crate) program: &'a LoadedProgram,
    pub(crate) attach: &'a Attach,
    /// In the order of the source.
    number: usize,
}

/// Everything that was loaded, in the order of the source.
pub(crate) fn places<'a>(collection: &'a Collection, loaded: &'a Loaded) -> Vec<Placed<'a>> {
    let mut out = Vec::new();
    for program in &loaded.programs {
        let Some(spec) = collection.programs.get(program.spec) else { continue };
        for attach in spec.attach.get(program.attach.clone()).unwrap_or_default() {
            out.push(Placed { program, attach, number: out.len() });
        }
    }
    out
}

/// Those that are run by us at a moment.
pub(crate) fn at<'a>(places: &[Placed<'a>], when: When) -> Vec<Placed<'a>> {
    places.iter().filter(|p| *p.attach == Attach::Once(when)).copied().collect()
}

/// How many probes of the script a place is.
fn weight(attach: &Attach) -> usize {
    match attach {
        Attach::KprobeMulti { symbols, .. } => symbols.len(),
        Attach::UprobeMulti { offsets, .. } => offsets.len(),
        _ => 1,
    }
}

/// Whether the kernel calls programs for one event there with the last one attached first. `ret` probes of
/// kernel functions are called in the order of attaching.
fn last_is_first(attach: &Attach) -> bool {
    match attach {
        Attach::Kprobe { ret, .. } | Attach::KprobeMulti { ret, .. } => !ret,
        Attach::Uprobe { .. } | Attach::UprobeMulti { .. } | Attach::Trampoline { .. } => true,
        _ => false,
    }
}

/// What is attached.
pub(crate) struct Attached<'a> {
    /// Attachments with their places.
    pub(crate) attachments: Held<'a>,
    /// How many probes that is.
    pub(crate) probes: usize,
    /// What was not attached although that was no reason to stop.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Attachments with their places. They are detached together, also where a run ends with an error: one after the
/// other a thousand would take minutes.
#[derive(Default)]
pub(crate) struct Held<'a>(pub(crate) Vec<(Placed<'a>, Attachment)>);

impl Held<'_> {
    /// Whether the kernel runs any program for them.
    pub(crate) fn any(&self) -> bool {
        self.0.iter().any(|(_, attachment)| !attachment.is_empty())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        detach_all(self.0.drain(..).map(|(_, attachment)| attachment).collect());
    }
}

/// Attaches everything, so that bodies run in the order of the source for one event.
pub(crate) fn attach<'a>(
    collection: &Collection,
    places: &[Placed<'a>],
    attacher: &Attacher,
    missing: MissingProbes,
) -> Result<Attached<'a>, Failure> {
    let mut order: Vec<Placed<'a>> = places.to_vec();
    order.sort_by_key(|p| match last_is_first(p.attach) {
        false => (0, p.number as isize),
        true => (1, -(p.number as isize)),
    });
    let kind = |p: &Placed<'_>| collection.programs.get(p.program.spec).and_then(|spec| spec.kind);
    let order: Vec<_> = order.into_iter().filter_map(|p| kind(&p).map(|k| (p, k))).collect();
    let jobs: Vec<Job<'_>> =
        order.iter().map(|(p, kind)| Job { prog: &p.program.prog, kind: *kind, attach: p.attach }).collect();
    let mut attached = Attached { attachments: Held::default(), probes: 0, warnings: Vec::new() };
    let mut errors = Vec::new();
    for ((place, _), result) in order.iter().zip(attacher.attach_all(&jobs)) {
        match result {
            Ok(attachment) => {
                let skipped = attachment.skipped();
                attached.probes += weight(place.attach).saturating_sub(skipped.len());
                attached.warnings.extend(skipped.iter().map(|e| message(Severity::Warning, e)));
                attached.attachments.0.push((*place, attachment));
            }
            Err(e) => match missing {
                MissingProbes::Warn => attached.warnings.push(message(Severity::Warning, &e)),
                MissingProbes::Ignore => {}
                MissingProbes::Error => errors.push(message(Severity::Error, &e)),
            },
        }
    }
    if !errors.is_empty() {
        return Err(Failure { code: NOT_LOADED, messages: errors });
    }
    if attached.probes == 0 && !places.is_empty() {
        let mut failure = Failure::new("Attachment failed for all probes.").code(NOT_LOADED);
        failure.messages.extend(attached.warnings);
        return Err(failure);
    }
    Ok(attached)
}

fn message(severity: Severity, error: &AttachError) -> Diagnostic {
    let diagnostic = Diagnostic::new(severity, None, error.to_string());
    match error.help() {
        Some(help) => diagnostic.hint(help),
        None => diagnostic,
    }
}

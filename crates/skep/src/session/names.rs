//! Names for output, and what is remembered of processes that may end before their addresses are printed.

use super::Script;
use crate::symbols::names::LiveNames;
use crate::symbols::process::UserOptions;
use skep_trace::config::UserSymbolCache;
use skep_trace::plan::{Event, Layout, MapValue, Plan};
use std::time::{Duration, Instant};

/// Between the first two looks at what a process has mapped: a short command has loaded its libraries by then, and
/// may soon be gone.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Between two looks at most; each pause is twice the one before.
const PAUSE: Duration = Duration::from_millis(50);

/// Names as the settings of a script want them.
pub(crate) fn of<'k>(script: &Script<'k>) -> LiveNames<'k> {
    let config = &script.compiled.program.config;
    // One program at one place: what is known of one process holds for the others.
    let usual = if script.command.is_some() { UserSymbolCache::PerProgram } else { UserSymbolCache::PerPid };
    let mut options = UserOptions {
        cache: config.cache_user_symbols.unwrap_or(usual),
        chosen: config.cache_user_symbols.is_some(),
        demangle: config.cpp_demangle,
        lines: config.show_debug_info,
        ..UserOptions::default()
    };
    if !script.args.debug_dirs.is_empty() {
        options.debug_folders = script.args.debug_dirs.clone();
    }
    LiveNames::new(script.kernel, options)
}

/// Keeps what is known of a process up to date while it runs.
pub(crate) struct Watch {
    pid: Option<u32>,
    looked: Option<Instant>,
    pause: Duration,
}

impl Watch {
    /// The process of `-c` or `-p`, if addresses of processes are printed at all.
    pub(crate) fn new(script: &Script<'_>) -> Watch {
        let child = script.command.as_ref().map(|c| c.child().pid());
        let pid = child.or(script.args.pid);
        Watch {
            pid: pid.filter(|_| prints_addresses(&script.compiled.plan)),
            looked: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Looks at the process, from time to time.
    pub(crate) fn look(&mut self, names: &mut LiveNames<'_>) {
        let Some(pid) = self.pid else { return };
        if self.looked.is_none_or(|at| at.elapsed() >= self.pause) {
            if self.looked.is_some() {
                self.pause = (self.pause * 2).min(PAUSE);
            }
            self.looked = Some(Instant::now());
            names.remember(pid);
        }
    }
}

fn prints_addresses(plan: &Plan) -> bool {
    let in_event = |event: &Event| match event {
        Event::Printf { args, .. }
        | Event::System { args, .. }
        | Event::Cat { args, .. }
        | Event::Message { args, .. } => args.iter().any(|arg| has_address(&arg.layout)),
        Event::Value(arg) => has_address(&arg.layout),
        _ => false,
    };
    plan.events.iter().any(in_event)
        || plan.maps.iter().any(|map| {
            let in_value = matches!(&map.value, MapValue::Plain(layout) if has_address(layout));
            in_value || map.key.as_ref().is_some_and(has_address)
        })
}

/// Whether addresses of processes are in a value.
fn has_address(layout: &Layout) -> bool {
    match layout {
        Layout::USym | Layout::UStack(_) => true,
        Layout::Array { elem, .. } => has_address(elem),
        Layout::Tuple(elems) => elems.iter().any(|(_, elem)| has_address(elem)),
        Layout::Record(fields) => fields.iter().any(|field| has_address(&field.layout)),
        _ => false,
    }
}

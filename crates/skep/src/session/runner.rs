//! Handling of records.

use super::effects::{self, Packets};
use super::maps::LiveMaps;
use super::out::Out;
use super::stop::Stop;
use crate::console;
use crate::symbols::names::LiveNames;
use skep_trace::output::{Effect, Host, Printer, Sink};
use skep_trace::plan::Plan;
use std::ops::ControlFlow;

/// Records between two looks at the signals that wait.
const LOOK: u32 = 1024;

/// Takes records and does what they ask for.
pub(crate) struct Runner<'s> {
    pub(crate) printer: Printer<'s>,
    pub(crate) out: Out<'s>,
    plan: &'s Plan,
    maps: LiveMaps<'s>,
    pub(crate) names: LiveNames<'s>,
    packets: Packets,
    max_cat_bytes: u64,
    pub(crate) stop: &'s Stop,
    since_look: u32,
    /// What the script said with its first `exit()`.
    pub(crate) exit: Option<i64>,
}

impl<'s> Runner<'s> {
    pub(crate) fn new(
        printer: Printer<'s>,
        plan: &'s Plan,
        out: Out<'s>,
        maps: LiveMaps<'s>,
        names: LiveNames<'s>,
        stop: &'s Stop,
        max_cat_bytes: u64,
    ) -> Self {
        Runner {
            printer,
            out,
            plan,
            maps,
            names,
            packets: Packets::default(),
            max_cat_bytes,
            stop,
            since_look: 0,
            exit: None,
        }
    }

    /// Calls the printer with what it needs.
    pub(crate) fn print<R>(&mut self, what: impl FnOnce(&mut Printer<'s>, &mut Host<'_>) -> R) -> R {
        let mut host = Host { sink: &mut self.out, maps: &mut self.maps, names: &mut self.names };
        what(&mut self.printer, &mut host)
    }

    /// Handles a record; breaks if the reader should see to other things first.
    pub(crate) fn record(&mut self, record: &[u8]) -> ControlFlow<()> {
        let mut host = Host { sink: &mut self.out, maps: &mut self.maps, names: &mut self.names };
        match self.printer.record(record, &mut host) {
            Effect::None => {}
            Effect::Exit(code) => {
                self.exit.get_or_insert(code);
                if !self.stop.is_ending() {
                    self.stop.set_ending(true);
                    return ControlFlow::Break(());
                }
            }
            Effect::Run(command) => {
                // The command may write to the same place as we do.
                self.out.flush();
                match effects::run(&command) {
                    Ok(output) => self.print(|printer, host| printer.command_output(&output, host)),
                    Err(why) => self.complain(&why),
                }
            }
            Effect::Cat(path) => match effects::cat(&path, self.max_cat_bytes) {
                Ok(content) => self.print(|printer, host| printer.file(&content, host)),
                Err(why) => self.complain(&why),
            },
            Effect::Clear(map) => self.change(map, LiveMaps::clear),
            Effect::Zero(map) => self.change(map, LiveMaps::zero),
            Effect::Packet { path, time, bytes } => {
                if let Err(why) = self.packets.add(path, time, bytes) {
                    self.complain(&why);
                }
            }
        }
        self.since_look += 1;
        if self.since_look >= LOOK {
            self.look();
        }
        // Asked of what was seen by then, also while output waited for its reader.
        if self.stop.is_hurried() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn change(
        &mut self,
        map: usize,
        how: impl Fn(&LiveMaps<'s>, &skep_trace::plan::MapPlan) -> Result<(), skep_trace::output::MapError>,
    ) {
        let Some(plan) = self.plan.maps.get(map) else { return };
        if let Err(why) = how(&self.maps, plan) {
            self.complain(&format!("{}: {why}", plan.name));
        }
    }

    /// Looks at the signals that wait.
    pub(crate) fn look(&mut self) {
        self.since_look = 0;
        self.stop.look();
    }

    /// An error that does not end the run.
    pub(crate) fn complain(&mut self, why: &str) {
        let color = console::wants_color();
        let error = skep_ir::Diagnostic::new(skep_ir::Severity::Error, None, why);
        self.out.message(error.render(&skep_ir::SourceMap::default(), color).as_bytes());
    }
}

//! Messages of one analysis, in stages.
//!
//! A mistake has consequences: a variable of unknown type makes every use of it wrong. So checks belong to
//! stages, and only the messages of the first stage that found an error are shown; those of later stages, found
//! in the same walk over the tree, are dropped.

use skep_ir::{Diagnostic, Loc, Severity};
use std::collections::HashSet;

/// Order in which kinds of mistakes are reported.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Settings.
    Config,
    /// Form of attach points.
    Attach,
    /// Statements where they have no meaning.
    Flow,
    /// Builtins that the probe's provider does not have, when its name alone tells.
    Builtin,
    /// Targets of attach points.
    Expand,
    /// Arithmetic on literals.
    Fold,
    /// Argument lists of probes.
    Args,
    /// Aggregates outside of maps.
    Aggregate,
    /// Options of the script.
    Options,
    /// Names of variables, numbers of arguments and literal arguments.
    Calls,
    /// Types that do not go together.
    Types,
    /// Values that do not suit their use.
    Check,
    /// What one map or program is asked to be.
    Resources,
    /// Symbols and objects of the system.
    Symbols,
}

/// Messages found so far.
#[derive(Debug, Default)]
pub(crate) struct Diags {
    list: Vec<(Stage, Diagnostic)>,
    seen: HashSet<(Severity, Option<Loc>, String)>,
}

impl Diags {
    /// Adds a message unless it was there before: code that is analysed for several targets, or unrolled, makes
    /// one mistake once.
    pub(crate) fn push(&mut self, stage: Stage, diagnostic: Diagnostic) {
        let key = (diagnostic.severity, diagnostic.loc, diagnostic.message.clone());
        if self.seen.insert(key) {
            self.list.push((stage, diagnostic));
        }
    }

    /// Adds an error at a place.
    pub(crate) fn error(&mut self, stage: Stage, loc: Loc, message: impl Into<String>) {
        self.push(stage, Diagnostic::error(loc, message));
    }

    /// Adds a warning at a place.
    pub(crate) fn warn(&mut self, stage: Stage, loc: Loc, message: impl Into<String>) {
        self.push(stage, Diagnostic::warning(loc, message));
    }

    /// Number of messages, to see later whether there are new ones.
    pub(crate) fn mark(&self) -> usize {
        self.list.len()
    }

    /// The first error found after a mark.
    pub(crate) fn first_error_since(&self, mark: usize) -> Option<usize> {
        (mark..self.list.len()).find(|&i| self.list[i].1.severity == Severity::Error)
    }

    /// Changes a message.
    pub(crate) fn amend(&mut self, index: usize, change: impl FnOnce(Diagnostic) -> Diagnostic) {
        if let Some((_, d)) = self.list.get_mut(index) {
            *d = change(d.clone());
        }
    }

    /// Adds the messages of a later part of the analysis.
    pub(crate) fn extend(&mut self, later: Diags) {
        for (stage, diagnostic) in later.list {
            self.push(stage, diagnostic);
        }
    }

    /// What is shown: the messages of the first stage with an error and of those before it, in order.
    pub(crate) fn finish(mut self, warnings: bool) -> Vec<Diagnostic> {
        let errors = self.list.iter().filter(|(_, d)| d.severity == Severity::Error);
        if let Some(last) = errors.map(|(stage, _)| *stage).min() {
            self.list.retain(|(stage, _)| *stage <= last);
        }
        // Errors first; the sort keeps the order in which each kind was found.
        self.list.sort_by_key(|(_, d)| d.severity != Severity::Error);
        let shown = |d: &Diagnostic| warnings || d.severity == Severity::Error;
        self.list.into_iter().map(|(_, d)| d).filter(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_ir::{SourceMap, Span};

    #[test]
    fn the_first_stage_with_an_error_hides_later_ones_and_repeats_are_told_once() {
        let mut sources = SourceMap::default();
        let file = sources.add_file("a", "abc");
        let loc = Loc::new(Span { file, lo: 0, hi: 1 });
        let mut diags = Diags::default();
        diags.warn(Stage::Calls, loc, "early");
        diags.error(Stage::Check, loc, "late");
        diags.error(Stage::Types, loc, "wrong");
        diags.error(Stage::Types, loc, "wrong");
        diags.warn(Stage::Symbols, loc, "hidden");
        let shown: Vec<_> = diags.finish(true).into_iter().map(|d| d.message).collect();
        assert_eq!(shown, ["wrong", "early"]);
    }
}

//! Attach points: from what a script says to what the kernel attaches to.
//!
//! Resolution asks the environment for names and nothing else; types are looked into later, and only for probes
//! whose code uses them.

pub(crate) mod counter;
pub(crate) mod glob;
mod hints;
pub(crate) mod iter;
pub(crate) mod kernel;
pub(crate) mod number;
pub(crate) mod raw;
pub(crate) mod special;
pub(crate) mod suggest;
pub(crate) mod timer;
pub(crate) mod tracepoint;
pub(crate) mod usdt;
pub(crate) mod user;
pub(crate) mod watchpoint;

use super::Options;
use super::diags::{Diags, Stage};
use super::structs::{Source, TypeDb};
use crate::config::{Config, MissingProbes};
use crate::env::{Env, UserBinary};
use crate::hir::Provider;
use crate::syntax::ast::{self, AttachPoint};
use skep_btf::TypeId;
use skep_ir::spec::Attach;
use skep_ir::{Diagnostic, Loc, ProgKind, Severity};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A place to attach to, with what the code there can know.
#[derive(Clone)]
pub(crate) struct Target {
    /// Full name, as `probe` prints it.
    pub(crate) name: String,
    pub(crate) provider: Provider,
    pub(crate) kind: ProgKind,
    pub(crate) attach: Attach,
    pub(crate) facts: Facts,
}

/// Where the types and arguments of a target come from.
#[derive(Clone)]
pub(crate) enum Facts {
    /// There are none.
    None,
    /// A tracepoint: its format file has the record.
    Tracepoint { category: String, event: String },
    /// A raw tracepoint: the prototype of its `btf_trace_` typedef.
    Raw(Option<(Source, TypeId)>),
    /// A kernel function: its prototype, if there is type information of it.
    Kernel(Option<(Source, TypeId)>),
    /// A function of a user program.
    User { binary: Arc<dyn UserBinary>, function: String },
    /// Operands of a USDT location.
    Usdt(String),
    /// An iterator over kernel objects of a kind.
    Iter(String),
}

/// How a provider is written.
pub(crate) struct ProviderInfo {
    pub(crate) name: &'static str,
    /// Other names; the first one is the short one.
    pub(crate) aliases: &'static [&'static str],
    /// Numbers of parts that it may have, as messages say them.
    parts: (usize, usize, &'static str),
    /// What it is for, for the reference.
    pub(crate) doc: &'static str,
    resolve: for<'a, 'b, 'e> fn(&'a mut Attacher<'b, 'e>, &AttachPoint) -> Vec<Target>,
}

/// Every provider, in the order of the reference.
pub(crate) const PROVIDERS: &[ProviderInfo] = &[
    ProviderInfo {
        name: "begin",
        aliases: &[],
        parts: (0, 0, "0"),
        doc: "Runs once before anything is attached.",
        resolve: special::begin,
    },
    ProviderInfo {
        name: "end",
        aliases: &[],
        parts: (0, 0, "0"),
        doc: "Runs once after everything is detached.",
        resolve: special::end,
    },
    ProviderInfo {
        name: "self",
        aliases: &[],
        parts: (2, 2, "2"),
        doc: "`self:signal:SIGUSR1`: this process got the signal.",
        resolve: special::own_signal,
    },
    ProviderInfo {
        name: "test",
        aliases: &[],
        parts: (1, 1, "1"),
        doc: "`test:NAME`: a test, run with --test.",
        resolve: special::test,
    },
    ProviderInfo {
        name: "bench",
        aliases: &[],
        parts: (1, 1, "1"),
        doc: "`bench:NAME`: a benchmark, run with --bench.",
        resolve: special::bench,
    },
    ProviderInfo {
        name: "kprobe",
        aliases: &["k"],
        parts: (1, 2, "1 or 2"),
        doc: "`kprobe:[MODULE:]FUNCTION[+OFFSET]`: a kernel function is entered.",
        resolve: kernel::kprobe,
    },
    ProviderInfo {
        name: "kretprobe",
        aliases: &["kr"],
        parts: (1, 2, "1 or 2"),
        doc: "`kretprobe:[MODULE:]FUNCTION`: a kernel function returns.",
        resolve: kernel::kretprobe,
    },
    ProviderInfo {
        name: "fentry",
        aliases: &["f", "kfunc"],
        parts: (1, 3, "1 or 3"),
        doc: "`fentry:[MODULE:]FUNCTION`: a kernel function is entered; arguments have names.",
        resolve: kernel::fentry,
    },
    ProviderInfo {
        name: "fexit",
        aliases: &["fr", "kretfunc"],
        parts: (1, 3, "1 or 3"),
        doc: "`fexit:[MODULE:]FUNCTION`: a kernel function returns; arguments and result have types.",
        resolve: kernel::fexit,
    },
    ProviderInfo {
        name: "tracepoint",
        aliases: &["t"],
        parts: (2, 2, "2"),
        doc: "`tracepoint:SUBSYSTEM:EVENT`: a static tracepoint of the kernel.",
        resolve: tracepoint::resolve,
    },
    ProviderInfo {
        name: "rawtracepoint",
        aliases: &["rt"],
        parts: (1, 2, "2 or 1"),
        doc: "`rawtracepoint:[MODULE:]EVENT`: the same with the arguments of the kernel's code.",
        resolve: raw::resolve,
    },
    ProviderInfo {
        name: "uprobe",
        aliases: &["u"],
        parts: (2, 3, "2 or 3"),
        doc: "`uprobe:FILE:FUNCTION[+OFFSET]`: a function of a program or library is entered.",
        resolve: user::uprobe,
    },
    ProviderInfo {
        name: "uretprobe",
        aliases: &["ur"],
        parts: (2, 3, "2 or 3"),
        doc: "`uretprobe:FILE:FUNCTION`: a function of a program or library returns.",
        resolve: user::uretprobe,
    },
    ProviderInfo {
        name: "usdt",
        aliases: &["U"],
        parts: (2, 3, "2 or 3"),
        doc: "`usdt:FILE:[PROVIDER:]NAME`: a static probe of a program or library.",
        resolve: usdt::resolve,
    },
    ProviderInfo {
        name: "profile",
        aliases: &["p"],
        parts: (1, 2, "1 or 2"),
        doc: "`profile:hz:N`, `profile:ms:N`, `profile:10ms`: a timer on every CPU.",
        resolve: timer::profile,
    },
    ProviderInfo {
        name: "interval",
        aliases: &["i"],
        parts: (1, 2, "1 or 2"),
        doc: "`interval:s:N`, `interval:1s`: a timer on one CPU.",
        resolve: timer::interval,
    },
    ProviderInfo {
        name: "software",
        aliases: &["s"],
        parts: (1, 2, "1 or 2"),
        doc: "`software:EVENT[:COUNT]`: every so many events that the kernel counts.",
        resolve: counter::software,
    },
    ProviderInfo {
        name: "hardware",
        aliases: &["h"],
        parts: (1, 2, "1 or 2"),
        doc: "`hardware:EVENT[:COUNT]`: every so many events that the processor counts.",
        resolve: counter::hardware,
    },
    ProviderInfo {
        name: "watchpoint",
        aliases: &["w"],
        parts: (3, 3, "3"),
        doc: "`watchpoint:ADDRESS:LENGTH:MODE`: memory is read, written or executed.",
        resolve: watchpoint::resolve,
    },
    ProviderInfo {
        name: "iter",
        aliases: &["it"],
        parts: (1, 2, "2 (1 optional)"),
        doc: "`iter:KIND[:PIN]`: once for each kernel object of a kind.",
        resolve: iter::resolve,
    },
];

/// The provider of a name: short names as they are, long ones in any case.
pub(crate) fn provider(name: &str) -> Option<&'static ProviderInfo> {
    let exact = PROVIDERS.iter().find(|p| p.name == name || p.aliases.contains(&name));
    let lower = name.to_ascii_lowercase();
    exact.or_else(|| PROVIDERS.iter().find(|p| p.name == lower || p.aliases.contains(&lower.as_str())))
}

/// Resolution of attach points.
pub(crate) struct Attacher<'b, 'e> {
    pub(crate) env: &'e dyn Env,
    pub(crate) options: &'b Options,
    pub(crate) config: &'b Config,
    pub(crate) db: &'b mut TypeDb<'e>,
    pub(crate) diags: &'b mut Diags,
    /// Names of tests and benchmarks, to find those used twice.
    names: HashMap<(&'static str, String), Loc>,
    functions: Option<std::rc::Rc<[(String, String)]>>,
    /// The attach point failed with a message of its own.
    failed: bool,
}

impl<'b, 'e> Attacher<'b, 'e> {
    pub(crate) fn new(
        env: &'e dyn Env,
        options: &'b Options,
        config: &'b Config,
        db: &'b mut TypeDb<'e>,
        diags: &'b mut Diags,
    ) -> Self {
        Attacher { env, options, config, db, diags, names: HashMap::new(), functions: None, failed: false }
    }

    /// All targets of a probe; each target once. None means that the probe does not exist: a message has been
    /// given, if there is anything to say.
    pub(crate) fn resolve(&mut self, probe: &ast::Probe) -> Vec<Target> {
        self.failed = false;
        let mut targets = Vec::new();
        for point in &probe.attach {
            targets.extend(self.point(point));
        }
        let mut seen = HashSet::new();
        targets.retain(|t: &Target| seen.insert(t.name.clone()));
        let before_filter = targets.len();
        if let Some(filter) = &self.options.probe_filter {
            let always = |t: &Target| matches!(t.provider, Provider::Begin | Provider::End);
            targets.retain(|t| always(t) || filter(&t.name));
        }
        let iterators = targets.iter().filter(|t| t.provider == Provider::Iter).count();
        if let (true, Some(first)) = (iterators > 0 && targets.len() > 1, probe.attach.first()) {
            self.error(first.loc, "iter probe only supports one attach point.");
        }
        if before_filter == 0 && !self.failed {
            self.nothing_left(probe);
        }
        targets
    }

    fn nothing_left(&mut self, probe: &ast::Probe) {
        let Some(first) = probe.attach.first() else { return };
        let (severity, end) = match self.config.missing_probes {
            MissingProbes::Error => {
                (Severity::Error, "If this is expected, set the 'missing_probes' config variable to 'warn'.")
            }
            MissingProbes::Warn => {
                (Severity::Warning, "It is being removed which may cause issues with program behavior.")
            }
            MissingProbes::Ignore => return,
        };
        let message = format!("Probe has no valid attach points. {end}");
        self.diags.push(Stage::Expand, Diagnostic::new(severity, Some(first.loc), message));
    }

    fn point(&mut self, point: &AttachPoint) -> Vec<Target> {
        let Some(info) = provider(&point.provider.name) else {
            let mut note =
                Diagnostic::error(point.loc, format!("Invalid probe type: {}", point.provider.name));
            let names = PROVIDERS.iter().map(|p| p.name);
            if let Some(near) = suggest::nearest(&point.provider.name.to_ascii_lowercase(), names) {
                note = note.hint(format!("Did you mean {near}?"));
            }
            self.failed = true;
            self.diags.push(Stage::Attach, note);
            return Vec::new();
        };
        let (least, most, allowed) = info.parts;
        let found = point.parts.len();
        if found < least || found > most {
            let message = match info.name {
                "iter" => "iter probe type takes 2 arguments (1 optional)".to_owned(),
                name => format!("{name} probe type requires {allowed} arguments, found {found}"),
            };
            self.error(point.loc, message);
            return Vec::new();
        }
        (info.resolve)(self, point)
    }

    /// Whether a message tells why the present probe lacks targets.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// An error about the form of an attach point.
    pub(crate) fn error(&mut self, loc: Loc, message: impl Into<String>) {
        self.failed = true;
        self.diags.error(Stage::Attach, loc, message);
    }

    /// An error about the target of an attach point that no setting turns into a warning.
    pub(crate) fn refuse(&mut self, note: Diagnostic) {
        self.failed = true;
        self.diags.push(Stage::Expand, note);
    }

    /// A target that is not there. `what` is the provider and target as messages name them.
    pub(crate) fn missing(&mut self, loc: Loc, what: &str, hints: Vec<String>) {
        let (severity, text) = match self.config.missing_probes {
            MissingProbes::Error => (Severity::Error, format!("No matches for {what}.")),
            MissingProbes::Warn => (Severity::Warning, format!("No matches for {what}. Skipping.")),
            MissingProbes::Ignore => return,
        };
        let mut note = Diagnostic::new(severity, Some(loc), text);
        note.hints = hints;
        self.failed |= severity == Severity::Error;
        self.diags.push(Stage::Expand, note);
    }

    /// Functions of the kernel and its modules that can be probed, with their module.
    pub(crate) fn functions(&mut self) -> std::rc::Rc<[(String, String)]> {
        let env = self.env;
        self.functions.get_or_insert_with(|| env.kernel_functions().into()).clone()
    }
}

/// The text of a part.
pub(crate) fn part(point: &AttachPoint, index: usize) -> &str {
    point.parts.get(index).map_or("", |p| p.text.as_str())
}

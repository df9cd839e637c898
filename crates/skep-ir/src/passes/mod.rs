//! From what a front end builds to what code generation accepts.
//!
//! Every pass is one file with one `run`. They keep the rules of the checker between them; in tests and debug
//! builds it runs after each. The order:
//!
//! | pass | what it does |
//! |---|---|
//! | `inline` | copies functions into their callers |
//! | `promote` | makes values of slots whose address does not escape |
//! | `fold` | computes what is constant, takes branches that are decided |
//! | `dce` | drops what nobody needs |
//! | `simplify_cfg` | merges blocks, shortens jumps |
//! | `cse` | computes equal things of a block once |
//! | `expand` | gives operations that need memory or loops of their own what they need |
//! | `place` | chooses between the stack and per-CPU scratch memory for slots |
//! | `loops` | turns closures into loops or callbacks |
//! | `lower` | chooses how the kernel does everything that is not low-level |
//! | `refine` | names what comparisons have proved |
//!
//! The clean-ups (`promote` to `cse`) run again after `loops`, if there are any, and after `lower`.

pub mod cse;
pub mod dce;
mod edit;
pub mod expand;
mod field;
pub mod fold;
pub mod inline;
pub mod loops;
pub mod lower;
mod params;
pub mod place;
pub mod promote;
pub mod refine;
mod rewrite;
pub mod simplify_cfg;

use crate::diag::{Diagnostic, has_errors};
use crate::func::Func;
use crate::kernel::KernelInfo;
use crate::module::Module;
use crate::verify::{Level, Violation, check};

/// What may be chosen about a compilation.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of the largest object that may live on the stack.
    pub stack_object_limit: u32,
    /// Bytes of stack that objects of a program may take together, its callbacks' frames included. The rest
    /// of the 512 is for spilled registers.
    pub stack_budget: u32,
    /// Whether constants of `.rodata` are folded: not where somebody sets them before the program is loaded.
    pub fold_rodata: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { stack_object_limit: 128, stack_budget: 384, fold_rodata: true }
    }
}

/// What passes may know, and where they say what cannot be done.
pub struct Context<'a> {
    /// The kernel that is compiled for.
    pub kernel: &'a dyn KernelInfo,
    /// Choices.
    pub options: Options,
    /// Messages so far.
    pub diagnostics: Vec<Diagnostic>,
}

impl<'a> Context<'a> {
    /// A context without messages.
    #[must_use]
    pub fn new(kernel: &'a dyn KernelInfo, options: Options) -> Self {
        Context { kernel, options, diagnostics: Vec::new() }
    }
}

/// A pass by its name, as dumps and tests call it.
#[derive(Copy, Clone)]
pub struct Pass {
    /// Name.
    pub name: &'static str,
    run: Run,
}

#[derive(Copy, Clone)]
enum Run {
    Module(fn(&mut Module, &mut Context<'_>)),
    Func(FuncPass),
}

type FuncPass = fn(&mut Func, &Module, &Context<'_>);

impl Pass {
    /// Runs the pass over a module.
    pub fn run(&self, module: &mut Module, context: &mut Context<'_>) {
        match self.run {
            Run::Module(run) => run(module, context),
            Run::Func(run) => run_on_each(&[run], module, context),
        }
    }
}

/// Runs passes over one function after the other, so that a function stays in the caches meanwhile.
fn run_on_each(passes: &[FuncPass], module: &mut Module, context: &Context<'_>) {
    for id in module.funcs.keys() {
        // The function is out of the module while it is changed, so that the rest can be looked at.
        let mut func = std::mem::replace(&mut module.funcs[id], Func::placeholder());
        for run in passes {
            run(&mut func, module, context);
        }
        module.funcs[id] = func;
    }
}

/// Every pass, in the order of their first run.
pub const PASSES: &[Pass] = &[
    Pass { name: "inline", run: Run::Module(inline::run) },
    Pass { name: "promote", run: Run::Func(promote::run) },
    Pass { name: "fold", run: Run::Func(fold::run) },
    Pass { name: "dce", run: Run::Func(dce::run) },
    Pass { name: "simplify_cfg", run: Run::Func(simplify_cfg::run) },
    Pass { name: "cse", run: Run::Func(cse::run) },
    Pass { name: "expand", run: Run::Module(expand::run) },
    Pass { name: "place", run: Run::Module(place::run) },
    Pass { name: "loops", run: Run::Module(loops::run) },
    Pass { name: "lower", run: Run::Module(lower::run) },
    Pass { name: "refine", run: Run::Func(refine::run) },
];

/// The pass of a name.
#[must_use]
pub fn pass(name: &str) -> Option<&'static Pass> {
    PASSES.iter().find(|p| p.name == name)
}

/// Optimises a module and lowers it to what [`crate::codegen`] accepts.
///
/// The module must keep the rules of [`crate::verify`] in [`Level::Normal`]. With errors among the messages
/// it is left half done and good for nothing.
pub fn optimise_and_lower(module: &mut Module, kernel: &dyn KernelInfo, options: Options) -> Vec<Diagnostic> {
    Pipeline::default().run(module, &mut Context::new(kernel, options))
}

/// The passes in order, with somebody who watches.
#[derive(Default)]
pub struct Pipeline<'h> {
    after: Option<Watcher<'h>>,
}

/// Called with the name of a pass that has run and with what it left.
type Watcher<'h> = &'h mut dyn FnMut(&str, &Module);

/// Up to where closures are loops or callbacks.
const FIRST: &[&str] =
    &["inline", "promote", "fold", "dce", "simplify_cfg", "cse", "expand", "place", "loops"];
/// What only loops give something to do.
const AFTER_LOOPS: &[&str] = &["promote", "fold", "dce", "simplify_cfg", "cse"];
/// From where everything is low-level.
const LAST: &[&str] = &["lower", "promote", "fold", "simplify_cfg", "cse", "dce", "refine"];

impl<'h> Pipeline<'h> {
    /// Calls `f` with the name of every pass that has run and what it left.
    #[must_use]
    pub fn after_each(f: Watcher<'h>) -> Self {
        Pipeline { after: Some(f) }
    }

    /// See [`optimise_and_lower`].
    pub fn run(mut self, module: &mut Module, context: &mut Context<'_>) -> Vec<Diagnostic> {
        let mut level = Level::Normal;
        assert_rules("the front end", module, level, None);
        let mut looped = false;
        let watched = self.after.is_some();
        for (stage, only_loops) in [(FIRST, false), (AFTER_LOOPS, true), (LAST, false)] {
            if only_loops && !looped {
                continue;
            }
            let passes: Vec<&Pass> = stage.iter().filter_map(|name| pass(name)).collect();
            let both = |a: &&Pass, b: &&Pass| matches!((a.run, b.run), (Run::Func(_), Run::Func(_)));
            // Passes over functions go together, unless somebody wants to see what each of them leaves.
            for group in passes.chunk_by(|a, b| !watched && both(a, b)) {
                let Some(last) = group.last() else { continue };
                if last.name == "loops" {
                    looped = loops::any(module);
                }
                let on_functions: Vec<FuncPass> = group
                    .iter()
                    .filter_map(|p| if let Run::Func(run) = p.run { Some(run) } else { None })
                    .collect();
                if on_functions.is_empty() {
                    last.run(module, context);
                } else {
                    run_on_each(&on_functions, module, context);
                }
                if has_errors(&context.diagnostics) {
                    return std::mem::take(&mut context.diagnostics);
                }
                if let Some(after) = &mut self.after {
                    after(last.name, module);
                }
                if last.name == "lower" {
                    level = Level::Strict;
                }
                assert_rules(last.name, module, level, Some(context.kernel));
            }
        }
        std::mem::take(&mut context.diagnostics)
    }
}

/// In debug builds: a breach after a pass is a defect of that pass.
fn assert_rules(after: &str, module: &Module, level: Level, kernel: Option<&dyn KernelInfo>) {
    if cfg!(debug_assertions) {
        let violations: Vec<Violation> = check(module, level, kernel);
        let list: String = violations.iter().take(5).map(|v| format!("\n{v}")).collect();
        assert!(violations.is_empty(), "after {after} the module breaks rules of the IR:{list}");
    }
}

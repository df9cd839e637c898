//! Macro calls replaced by what they mean.
//!
//! A call becomes the macro's body: a block, or just its value if the body is nothing else. Arguments are
//! expanded where they are written and copied to where their parameter stands. Every copied node keeps its place
//! in the macro's text; its expansion leads to the call. An argument keeps the place where it was written; its
//! expansions lead through the parameter to the call.
//!
//! **Hygiene.** Variables that a body creates get names that no source can have ([`written_name`] tells what was
//! written); others are those of the caller. Maps must be parameters. Names in a library macro mean the
//! library's macros, so a script's own macros never change what the library does.
//!
//! Named constants of the C part are replaced in the same walk; what they stand for belongs to the script.

mod calls;
mod check;
mod define;
mod library;
mod types;
mod walk;

use crate::syntax::ast::{Expr, Item, Macro, Script};
pub use library::Library;
use skep_ir::source::ExpansionId;
use skep_ir::{Diagnostic, FileId, Loc, SourceMap};
use std::collections::HashMap;
use std::rc::Rc;

/// How deep the tree may become.
const MAX_DEPTH: u32 = 700;
/// How many nodes all expansions may come to.
const MAX_NODES: usize = 1 << 19;
/// Messages about one script.
const MAX_ERRORS: usize = 50;
/// Between a variable's name and the number of the expansion that made it.
const MARK: char = '#';

/// The name of a variable as it was written, without the mark of the expansion that made it.
#[must_use]
pub fn written_name(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// Replaces macro calls and named constants of a script; the result has no macros.
///
/// Library macros that are used are added to `sources`. The script is to be used only if no message is an error.
#[must_use]
pub fn expand(mut script: Script, library: &Library, sources: &mut SourceMap) -> (Script, Vec<Diagnostic>) {
    let defines = define::Defines::new(std::mem::take(&mut script.defines));
    let mut expander = Expander {
        sources,
        library,
        library_files: HashMap::new(),
        library_macros: HashMap::new(),
        macros: HashMap::new(),
        defines,
        active: Vec::new(),
        expansions: 0,
        nodes: 0,
        depth: 0,
        diagnostics: Vec::new(),
        stopped: false,
    };
    let items = std::mem::take(&mut script.items);
    let (macros, items): (Vec<_>, Vec<_>) =
        items.into_iter().partition(|item| matches!(item, Item::Macro(_)));
    for item in macros {
        if let Item::Macro(found) = item {
            expander.define_macro(found);
        }
    }
    script.items = items;
    if expander.diagnostics.is_empty() {
        for item in &mut script.items {
            match item {
                Item::Probe(probe) => {
                    if let Some(predicate) = &mut probe.predicate {
                        expander.expr(predicate, None);
                    }
                    expander.block(&mut probe.body, None);
                }
                Item::Subprog(subprog) => expander.block(&mut subprog.body, None),
                Item::Macro(_) | Item::MapDecl(_) => {}
            }
        }
    }
    (script, expander.diagnostics)
}

/// A macro with what its calls need to know.
struct Definition {
    source: Macro,
    /// Variables that its body creates.
    creates: Vec<String>,
}

/// What a parameter stands for in one call.
enum Argument {
    /// Name of a variable.
    Variable(String),
    /// Name of a map.
    Map(String),
    /// An expression, and how much it is.
    Expr { expr: Expr, nodes: usize, height: u32 },
}

/// One call that is being expanded.
struct Frame {
    definition: Rc<Definition>,
    arguments: Vec<Argument>,
    expansion: ExpansionId,
    /// Marks the variables that this expansion creates.
    number: u32,
}

struct Expander<'a> {
    sources: &'a mut SourceMap,
    library: &'a Library,
    library_files: HashMap<usize, FileId>,
    library_macros: HashMap<String, Vec<Rc<Definition>>>,
    macros: HashMap<String, Vec<Rc<Definition>>>,
    defines: define::Defines,
    /// Macros that are being expanded, outermost first.
    active: Vec<Rc<Definition>>,
    expansions: u32,
    nodes: usize,
    depth: u32,
    diagnostics: Vec<Diagnostic>,
    stopped: bool,
}

impl Expander<'_> {
    fn error(&mut self, error: Diagnostic) {
        if self.diagnostics.len() < MAX_ERRORS {
            self.diagnostics.push(error);
        } else {
            self.stopped = true;
        }
    }

    /// Counts nodes and levels that were made; whether there are too many of them.
    fn is_spent(&mut self, nodes: usize, height: u32, loc: Loc) -> bool {
        if self.stopped {
            return true;
        }
        self.nodes = self.nodes.saturating_add(nodes);
        let message = if self.nodes > MAX_NODES {
            format!("macros are too large when expanded, at most {MAX_NODES} nodes are possible")
        } else if self.depth.saturating_add(height) > MAX_DEPTH {
            format!("macros are nested too deeply when expanded, at most {MAX_DEPTH} levels are possible")
        } else {
            return false;
        };
        self.error(Diagnostic::error(loc, message));
        self.stopped = true;
        true
    }
}

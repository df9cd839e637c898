//! From a front end's module to a collection: all passes, then code generation.

use crate::diag::{Diagnostic, Severity, has_errors};
use crate::kernel::KernelInfo;
use crate::module::Module;
use crate::passes::{Context, Pipeline};
use crate::spec::Collection;
use crate::{codegen, passes};

/// What may be chosen about a compilation.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct CompileOptions {
    /// Of the passes.
    pub passes: passes::Options,
    /// Of code generation.
    pub codegen: codegen::Options,
}

/// What a compilation comes to.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Programs, maps and type information, to be loaded.
    pub collection: Collection,
    /// What the user should know although it works.
    pub warnings: Vec<Diagnostic>,
}

/// Compiles a module for a kernel.
///
/// The module must keep the rules of [`crate::verify`] in [`crate::verify::Level::Normal`]; front ends see to
/// that. Equal modules, options and answers about the kernel give equal collections.
///
/// # Errors
/// What the kernel cannot do, what does not fit it, and the warnings that came before: at least one message is
/// an error.
pub fn compile(
    module: Module,
    kernel: &dyn KernelInfo,
    options: CompileOptions,
) -> Result<Compiled, Vec<Diagnostic>> {
    run(module, kernel, options, Pipeline::default())
}

/// Compiles as [`compile`] does and calls `dump` with the name of each pass that has run and what it left.
///
/// # Errors
/// As [`compile`].
pub fn compile_watched(
    module: Module,
    kernel: &dyn KernelInfo,
    options: CompileOptions,
    dump: &mut dyn FnMut(&str, &Module),
) -> Result<Compiled, Vec<Diagnostic>> {
    run(module, kernel, options, Pipeline::after_each(dump))
}

fn run(
    mut module: Module,
    kernel: &dyn KernelInfo,
    options: CompileOptions,
    pipeline: Pipeline<'_>,
) -> Result<Compiled, Vec<Diagnostic>> {
    let mut messages = pipeline.run(&mut module, &mut Context::new(kernel, options.passes));
    if has_errors(&messages) {
        return Err(messages);
    }
    let left = not_lowered(&module);
    if !left.is_empty() {
        messages.extend(left);
        return Err(messages);
    }
    match codegen::generate(&module, kernel, options.codegen) {
        Ok(collection) => Ok(Compiled { collection, warnings: messages }),
        Err(errors) => {
            messages.extend(errors);
            Err(messages)
        }
    }
}

/// Messages about what code generation would not accept: each is a defect of skep, not of the user's program.
fn not_lowered(module: &Module) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    for func in module.funcs.values() {
        let insts = func.layout.iter().flat_map(|&b| &func.blocks[b].insts).map(|&i| &func.insts[i]);
        for inst in insts.filter(|i| !i.kind.is_low_level()) {
            let name: String =
                format!("{:?}", inst.kind).chars().take_while(char::is_ascii_alphanumeric).collect();
            let message = format!("internal error: no way was found to do {name} in {}", func.name);
            let report = "this is a defect of skep; please report it with the program";
            out.push(Diagnostic::new(Severity::Error, inst.loc.or(func.loc), message).hint(report));
        }
    }
    out
}

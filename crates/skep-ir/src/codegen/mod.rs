//! Code generation: from low-level IR to a [`Collection`].
//!
//! ```text
//! Func ─ isel ─► machine instructions ─ live, alloc (spill) ─► registers ─ frame ─► stack ─ emit ─► Insn
//! ```
//!
//! Each function is compiled once and emitted into every program that reaches it.

mod alloc;
mod emit;
mod frame;
mod globals;
mod info;
mod isel;
mod live;
mod mir;
mod moves;
mod spill;

use crate::Severity;
use crate::diag::Diagnostic;
use crate::func::Func;
use crate::kernel::{Feature, KernelInfo};
use crate::module::{FuncId, MapId, Module, Prog};
use crate::source::Loc;
use crate::spec::{Collection, MapSpec, ProgramSpec, Ref, RefKind};
use cranelift_entity::{PrimaryMap, SecondaryMap};
use emit::{Compiled, Emitter};
use globals::Globals;
use info::{Info, supported};
use isel::Input;
use skep_asm::{AsmError, Assembler, Code, Label, LongJumps, SymKind};
use skep_btf::info::FuncInfo;
use std::rc::Rc;

/// What a compilation may leave out.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Type information, function and line records. Without it the verifier's log names no lines.
    pub debug_info: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { debug_info: true }
    }
}

/// Generates code for every program of a module that holds only low-level instructions.
///
/// # Errors
/// A function (with what it calls) needs more stack than there is, or a program is too large.
pub fn generate(
    module: &Module,
    kernel: &dyn KernelInfo,
    options: Options,
) -> Result<Collection, Vec<Diagnostic>> {
    let mut maps = module.maps.clone();
    let globals = globals::place(module, &mut maps, kernel.has(Feature::MmapableArray));
    let mut generator = Generator {
        module,
        kernel,
        globals: &globals,
        info: Info::new(module),
        compiled: SecondaryMap::new(),
        func_types: SecondaryMap::new(),
        kfuncs: Vec::new(),
        diagnostics: Vec::new(),
        options,
    };
    let mut programs = Vec::with_capacity(module.progs.len());
    for (slot, prog) in module.progs.iter().enumerate() {
        programs.extend(generator.program(prog, slot as u32));
    }
    if !generator.diagnostics.is_empty() {
        return Err(generator.diagnostics);
    }
    generator.finish(programs, maps)
}

struct Generator<'m> {
    module: &'m Module,
    kernel: &'m dyn KernelInfo,
    globals: &'m Globals,
    info: Info<'m>,
    compiled: SecondaryMap<FuncId, Option<Rc<Compiled>>>,
    func_types: SecondaryMap<FuncId, Option<skep_btf::TypeId>>,
    kfuncs: Vec<String>,
    diagnostics: Vec<Diagnostic>,
    options: Options,
}

impl Generator<'_> {
    fn compile(&mut self, id: FuncId) {
        if self.compiled[id].is_some() {
            return;
        }
        let input = Input {
            func: &self.module.funcs[id],
            globals: &self.globals.places,
            jmp32: self.kernel.has(Feature::Jmp32),
            v4: self.kernel.has(Feature::CpuV4),
        };
        let mut mf = isel::select(&input, &mut self.kfuncs);
        let (assignment, live) = alloc::allocate(&mut mf);
        let mut frame = frame::layout(&mut mf, &live);
        if emit::needs_spare_word(&mf, &assignment, &live) {
            frame.size += 8;
        }
        self.compiled[id] = Some(Rc::new(Compiled { mf, assignment, live, frame }));
    }

    /// The functions of a program in the order of emission: the main one, then callees as they are met.
    fn reach(&mut self, main: FuncId) -> Vec<FuncId> {
        let mut funcs = vec![main];
        let mut next = 0;
        while let Some(&func) = funcs.get(next) {
            next += 1;
            self.compile(func);
            let callees = self.compiled[func].as_ref().map(|c| c.mf.callees.clone()).unwrap_or_default();
            for callee in callees {
                if !funcs.contains(&callee) {
                    funcs.push(callee);
                }
            }
        }
        funcs
    }

    fn program(&mut self, prog: &Prog, slot: u32) -> Option<ProgramSpec> {
        let funcs = self.reach(prog.func);
        self.check_stack(prog, &funcs);
        let long = if self.kernel.has(Feature::CpuV4) { LongJumps::Gotol } else { LongJumps::Islands };
        let mut asm = Assembler::new(long);
        let mut labels: SecondaryMap<FuncId, Option<Label>> = SecondaryMap::new();
        for &func in &funcs {
            labels[func] = Some(asm.label());
        }
        let mut locs = Vec::new();
        for &func in &funcs {
            let (Some(label), Some(compiled)) = (labels[func], &self.compiled[func]) else { continue };
            asm.begin_subprog(label);
            Emitter { asm: &mut asm, funcs: &labels, locs: &mut locs, copied: None }.function(compiled);
        }
        let code = match asm.finish() {
            Ok(code) => code,
            Err(error) => {
                self.too_large(prog, error);
                return None;
            }
        };
        Some(self.spec(prog, slot, &funcs, &locs, code))
    }

    fn spec(&mut self, prog: &Prog, slot: u32, funcs: &[FuncId], locs: &[Loc], code: Code) -> ProgramSpec {
        let locs: Vec<(u32, Loc)> =
            code.locs.iter().filter_map(|&(insn, n)| Some((insn, *locs.get(n as usize)?))).collect();
        let refs = code.refs.iter().map(|r| Ref {
            insn: r.insn,
            kind: match r.kind {
                SymKind::Map(map) => RefKind::Map(MapId::from_u32(map)),
                SymKind::MapValue { map, offset } => RefKind::MapValue(MapId::from_u32(map), offset),
                SymKind::Kfunc(index) => RefKind::Kfunc(index),
                SymKind::Ksym(index) => RefKind::Ksym(index),
            },
        });
        let refs = refs.collect();
        let (mut func_info, mut line_info) = (Vec::new(), Vec::new());
        if self.options.debug_info {
            for (subprog, &func) in code.subprogs.iter().zip(funcs) {
                func_info.push(FuncInfo { insn_off: subprog.insn, type_id: self.func_type(func) });
            }
            let starts: Vec<u32> = code.subprogs.iter().map(|s| s.insn).collect();
            line_info = self.info.lines(&locs, &starts, &self.module.sources);
        }
        ProgramSpec {
            name: prog.name.clone(),
            kind: Some(prog.kind),
            attach: prog.attach.clone(),
            sleepable: prog.sleepable,
            insns: code.insns,
            refs,
            func_info,
            line_info,
            locs,
            slot,
        }
    }

    fn func_type(&mut self, func: FuncId) -> skep_btf::TypeId {
        if let Some(id) = self.func_types[func] {
            return id;
        }
        let id = self.info.func(&self.module.funcs[func]);
        self.func_types[func] = Some(id);
        id
    }

    /// Reports a chain of calls that needs more stack than there is, naming the largest objects in it.
    fn check_stack(&mut self, prog: &Prog, funcs: &[FuncId]) {
        let Some(chain) = self.deepest(prog.func, &mut SecondaryMap::new(), 0) else {
            let func = &self.module.funcs[prog.func];
            self.diagnostics.push(diagnostic(func, format!("program {} calls itself", prog.name)));
            return;
        };
        if chain <= frame::MAX_STACK {
            return;
        }
        let mut objects: Vec<(u32, &str)> = Vec::new();
        for &func in funcs {
            if let Some(c) = &self.compiled[func] {
                let placed = c.mf.objects.iter().filter(|(o, _)| c.frame.offsets[*o].is_some());
                objects.extend(placed.map(|(_, data)| (data.size, data.name.as_str())));
            }
        }
        objects.sort_by_key(|&(size, _)| std::cmp::Reverse(size));
        let largest: Vec<String> =
            objects.iter().take(4).map(|(size, name)| format!("{name} ({size} bytes)")).collect();
        let message = format!(
            "{} needs {chain} bytes of stack and a BPF program has {}: {}",
            prog.name,
            frame::MAX_STACK,
            largest.join(", ")
        );
        let hint = "make these values smaller, or keep them in a map";
        self.diagnostics.push(diagnostic(&self.module.funcs[prog.func], message).hint(hint));
    }

    /// Bytes of stack of a function and the deepest chain of its callees; `None` for recursion.
    fn deepest(
        &self,
        func: FuncId,
        known: &mut SecondaryMap<FuncId, Option<u32>>,
        depth: u32,
    ) -> Option<u32> {
        const FRAMES: u32 = 8;
        if let Some(done) = known[func] {
            return Some(done);
        }
        if depth > FRAMES {
            return None;
        }
        let compiled = self.compiled[func].as_ref()?;
        let mut below = 0;
        for &callee in &compiled.mf.callees {
            below = below.max(self.deepest(callee, known, depth + 1)?);
        }
        // Frames are rounded up as check_max_stack_depth of kernel/bpf/verifier.c does; one alone is not.
        let own = compiled.frame.size;
        let alone = compiled.mf.callees.is_empty() && depth == 0;
        let total = below + if alone { own } else { own.max(1).next_multiple_of(32) };
        known[func] = Some(total);
        Some(total)
    }

    fn too_large(&mut self, prog: &Prog, error: AsmError) {
        let func = &self.module.funcs[prog.func];
        self.diagnostics.push(diagnostic(func, format!("{} cannot be assembled: {error}", prog.name)));
    }

    fn finish(
        mut self,
        mut programs: Vec<ProgramSpec>,
        maps: PrimaryMap<MapId, crate::module::Map>,
    ) -> Result<Collection, Vec<Diagnostic>> {
        let mut types: SecondaryMap<MapId, (skep_btf::TypeId, skep_btf::TypeId)> =
            SecondaryMap::with_default((skep_btf::TypeId::VOID, skep_btf::TypeId::VOID));
        let mut btf = Vec::new();
        if self.options.debug_info && self.kernel.has(Feature::BtfLoad) {
            for id in self.module.maps.keys() {
                types[id] = self.info.map_types(id);
            }
            for (id, section) in self.info.sections(self.globals) {
                types[id].1 = section;
            }
            match self.info.builder.encode(supported(self.kernel)) {
                Ok(encoded) => {
                    let renumber = |id| encoded.id(id).unwrap_or(skep_btf::TypeId::VOID);
                    for map in maps.keys() {
                        types[map] = (renumber(types[map].0), renumber(types[map].1));
                    }
                    for info in programs.iter_mut().flat_map(|p| &mut p.func_info) {
                        info.type_id = renumber(info.type_id);
                    }
                    btf = encoded.bytes;
                }
                Err(error) => {
                    let message = format!("type information cannot be written: {error}");
                    return Err(vec![Diagnostic::new(Severity::Error, None, message)]);
                }
            }
        } else {
            for program in &mut programs {
                program.func_info.clear();
                program.line_info.clear();
            }
        }
        let frozen = |id| self.globals.sections.iter().any(|s| s.map == id && s.frozen);
        let maps = maps
            .into_iter()
            .map(|(id, map)| MapSpec {
                map,
                btf_key: types[id].0.0,
                btf_value: types[id].1.0,
                frozen: frozen(id),
            })
            .collect();
        Ok(Collection {
            programs,
            maps,
            btf,
            license: self.module.license.clone(),
            sources: self.module.sources.clone(),
            ledger: self.module.ledger,
            kfuncs: self.kfuncs,
            ksyms: self.globals.ksyms.clone(),
        })
    }
}

fn diagnostic(func: &Func, message: String) -> Diagnostic {
    Diagnostic::new(Severity::Error, func.loc, message)
}

//! One compilation: the module and plan that come into being, and what all functions share.

use super::maps::MapStore;
use super::resources::Resources;
use super::visit::{self, Node};
use super::{LowerOptions, memory_types};
use crate::env::Env;
use crate::hir::{EventId, Expr, ExprKind, Func, MapRef, Program, Provider, StmtKind, SubprogId};
use crate::plan::{self, Plan};
use crate::types::Type;
use cranelift_entity::{EntityRef, PrimaryMap, SecondaryMap};
use skep_ir::types::PtrClass;
use skep_ir::{Diagnostic, Feature, FuncId, Loc, Module, ProgKind, SourceMap, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;

/// One compilation.
pub(super) struct Unit<'p> {
    pub(super) program: &'p Program,
    pub(super) env: &'p dyn Env,
    pub(super) options: &'p LowerOptions,
    pub(super) module: Module,
    pub(super) plan: Plan,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) maps: PrimaryMap<MapRef, MapStore>,
    pub(super) resources: Resources,
    /// Subprograms by the kind of program that they are copied into: what a builtin is depends on it.
    pub(super) subprogs: HashMap<(SubprogId, ProgKind, Provider), FuncId>,
    /// Functions that add up an element over all CPUs.
    pub(super) sums: HashMap<(MapRef, PtrClass), FuncId>,
    /// Whether elements of a map are ever deleted one by one.
    deleted: SecondaryMap<MapRef, bool>,
    /// Features that were found missing, to be reported once for each place.
    missing: Vec<(Feature, Loc)>,
}

impl<'p> Unit<'p> {
    pub(super) fn new(
        program: &'p Program,
        sources: &SourceMap,
        env: &'p dyn Env,
        options: &'p LowerOptions,
    ) -> Self {
        let module =
            Module { license: program.config.license.clone(), sources: sources.clone(), ..Module::default() };
        let plan = Plan {
            events: program.events.values().cloned().collect(),
            time_formats: program.time_formats.clone(),
            cgroup_filters: program.cgroup_filters.clone(),
            ..Plan::default()
        };
        let mut unit = Unit {
            program,
            env,
            options,
            module,
            plan,
            diagnostics: Vec::new(),
            maps: PrimaryMap::new(),
            resources: Resources::default(),
            subprogs: HashMap::new(),
            sums: HashMap::new(),
            deleted: SecondaryMap::new(),
            missing: Vec::new(),
        };
        unit.look_through();
        for map in program.maps.keys() {
            let store = unit.make_map(map);
            unit.maps.push(store);
        }
        unit
    }

    /// Finds out what has to be known before the first function is made.
    fn look_through(&mut self) {
        let program = self.program;
        let bodies = program.probes.iter().map(|p| &p.body).chain(program.subprogs.values().map(|s| &s.body));
        let deleted = RefCell::new(&mut self.deleted);
        let note = |e: &Expr| {
            if let ExprKind::Call(Func::Delete(map), _) = &e.kind {
                deleted.borrow_mut()[*map] = true;
            }
            false
        };
        for body in bodies {
            visit::any(Node::Block(&body.stmts), &note, &|_| false);
        }
        let sends = |id: EventId| program.events.get(id).is_some_and(|e| !is_control(e));
        let sends_data = |stmts| {
            visit::any(
                Node::Block(stmts),
                &|e| matches!(&e.kind, ExprKind::Call(Func::SkbOutput(_), _) | ExprKind::Subprog(..)),
                &|s| matches!(&s.kind, StmtKind::Emit(id, _) if sends(*id)),
            )
        };
        let repeats = program.probes.iter().any(|p| !is_rare(p.provider) && sends_data(&p.body.stmts));
        if program.events.values().any(|e| !is_control(e)) {
            self.make_data_ring(repeats);
        }
    }

    /// Whether elements of a map are deleted one by one.
    pub(super) fn is_deleted(&self, map: MapRef) -> bool {
        self.deleted[map]
    }

    /// Whether an expression reads what was collected, which is a loop over all CPUs.
    pub(super) fn reads_collected(&self, e: &Expr) -> bool {
        let reads =
            |e: &Expr| matches!(&e.kind, ExprKind::Map(m, _) if self.program.maps[*m].agg().is_some());
        visit::any(Node::Expr(e), &reads, &|_| false)
    }

    /// The memory type of a type.
    pub(super) fn memory_type(&mut self, ty: &Type) -> TypeId {
        memory_types::memory_type(ty, &self.program.structs, &mut self.module.types)
    }

    /// Bytes of a value and its alignment.
    pub(super) fn layout(&self, ty: &Type) -> (u32, u32) {
        ty.layout(&self.program.structs)
    }

    /// Bytes of a value.
    pub(super) fn size(&self, ty: &Type) -> u32 {
        self.layout(ty).0
    }

    /// Whether the kernel has a feature without which a construct cannot be compiled; reports it if not.
    pub(super) fn require(&mut self, feature: Feature, loc: Loc) -> bool {
        if self.env.has(feature) {
            return true;
        }
        if !self.missing.contains(&(feature, loc)) {
            self.missing.push((feature, loc));
            self.diagnostics.push(
                Diagnostic::error(loc, format!("Missing required kernel feature: {}", feature.name()))
                    .hint(format!("Mainline kernels have it since version {}.", feature.since())),
            );
        }
        false
    }

    /// Reports something that cannot be compiled.
    pub(super) fn error(&mut self, loc: Loc, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(loc, message));
    }

    /// Hands over what was made.
    pub(super) fn finish(mut self) -> (Module, Plan, Vec<Diagnostic>) {
        self.finish_resources();
        self.plan.maps = self.program.maps.keys().map(|m| self.map_plan(m)).collect();
        (self.module, self.plan, self.diagnostics)
    }
}

/// Whether a record goes to the control ring.
pub(super) fn is_control(event: &plan::Event) -> bool {
    use plan::Event as E;
    match event {
        E::PrintMap { .. } | E::Clear(_) | E::Zero(_) | E::Exit | E::Message { .. } | E::Runtime { .. } => {
            true
        }
        E::Printf { .. }
        | E::Value(_)
        | E::Time(_)
        | E::System { .. }
        | E::Cat { .. }
        | E::Join { .. }
        | E::Packet { .. } => false,
    }
}

/// Whether a probe fires so rarely that waking the reader each time costs nothing.
pub(super) fn is_rare(provider: Provider) -> bool {
    use Provider as P;
    matches!(provider, P::Begin | P::End | P::Signal | P::Interval | P::Test)
}

/// Number of an event as records carry it.
pub(super) fn event_number(id: EventId) -> i64 {
    id.index() as i64
}

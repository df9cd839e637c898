//! The walk over bodies: expressions get types, statements become those of the analysed program.

mod access;
mod assign;
mod binary;
mod cast;
mod compare;
mod convert;
mod expr;
mod fold;
mod ident;
mod loops;
mod map;
mod scope;
mod stmt;
mod typeexpr;
mod unary;

pub(crate) use convert::cast;
pub(crate) use map::MapState;
pub(crate) use scope::Scopes;
pub(crate) use unary::in_space;

use super::Options;
use super::attach::Facts;
use super::diags::{Diags, Stage};
use super::structs::TypeDb;
use super::ty::{Traits, Ty};
use crate::config::Config;
use crate::env::Env;
use crate::hir::{self, EventId, ExprKind, LocalId, Provider, SubprogId};
use crate::plan;
use crate::syntax::ast;
use crate::types::{AddrSpace, StructId, Type};
use cranelift_entity::EntityRef;
use skep_ir::{Diagnostic, Feature, Loc, ProgKind, Severity, SourceMap};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Deepest nesting of expressions and statements.
const MAX_DEPTH: u32 = 400;

/// Walks in which the types of nearly every script settle.
const SETTLED: u32 = 3;

/// Walks after which text that still becomes longer is taken to do so for ever.
const GROWING: u32 = 8;

/// A value known at compile time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lit {
    /// A number.
    Int(i128),
    /// A truth value.
    Bool(bool),
    /// Text.
    Str(Rc<[u8]>),
}

/// An expression with what is known about it.
#[derive(Clone, Debug)]
pub(crate) struct Ex {
    /// The expression, of the type found so far.
    pub(crate) e: hir::Expr,
    /// What its type does not say.
    pub(crate) traits: Traits,
    /// Its value, if it is known now. The expression is then a constant.
    pub(crate) lit: Option<Lit>,
    /// The type is not known (yet), or it is wrong and a message says so: checks are passed over.
    pub(crate) unknown: bool,
    /// A message about it was given in the stage of checks of values; what uses it may say so too.
    pub(crate) failed: bool,
}

impl Ex {
    /// An expression of a type.
    pub(crate) fn new(kind: ExprKind, ty: Type, loc: Loc) -> Ex {
        Ex::typed(kind, ty.into(), loc)
    }

    /// An expression of a type with its traits.
    pub(crate) fn typed(kind: ExprKind, ty: Ty, loc: Loc) -> Ex {
        Ex {
            e: hir::Expr::new(kind, ty.ty, loc),
            traits: ty.traits,
            lit: None,
            unknown: false,
            failed: false,
        }
    }

    /// An expression whose type is not known.
    pub(crate) fn unknown(loc: Loc) -> Ex {
        Ex { unknown: true, ..Ex::void(loc) }
    }

    /// An expression that an error was reported for.
    pub(crate) fn failed(loc: Loc) -> Ex {
        Ex { unknown: true, failed: true, ..Ex::void(loc) }
    }

    /// No value.
    pub(crate) fn void(loc: Loc) -> Ex {
        Ex::new(ExprKind::Int(0), Type::None, loc)
    }

    /// Statements without a value.
    pub(crate) fn effect(stmts: Vec<hir::Stmt>, loc: Loc) -> Ex {
        let nothing = hir::Expr::new(ExprKind::Int(0), Type::None, loc);
        Ex::new(ExprKind::Block(stmts, Box::new(nothing)), Type::None, loc)
    }

    /// A number known now, of the smallest type.
    pub(crate) fn int(value: i128, loc: Loc) -> Ex {
        let ty = Ty::of_literal(value);
        let bits = ty.as_int().map_or(0, |int| convert::mask(value, int));
        Ex { lit: Some(Lit::Int(value)), ..Ex::typed(ExprKind::Int(bits), ty, loc) }
    }

    /// A truth value known now.
    pub(crate) fn bool(value: bool, loc: Loc) -> Ex {
        Ex { lit: Some(Lit::Bool(value)), ..Ex::new(ExprKind::Int(u64::from(value)), Type::Bool, loc) }
    }

    /// Text known now.
    pub(crate) fn str(text: impl Into<Rc<[u8]>>, loc: Loc) -> Ex {
        let text = text.into();
        let ty = Type::Str(u32::try_from(text.len() + 1).unwrap_or(u32::MAX));
        Ex { lit: Some(Lit::Str(text.clone())), ..Ex::new(ExprKind::Str(text.to_vec()), ty, loc) }
    }

    /// The type with its traits.
    pub(crate) fn ty(&self) -> Ty {
        Ty { ty: self.e.ty.clone(), traits: self.traits.clone() }
    }

    /// The place of the expression.
    pub(crate) fn loc(&self) -> Loc {
        self.e.loc
    }

    /// The number, if it is one that is known now.
    pub(crate) fn lit_int(&self) -> Option<i128> {
        if let Some(Lit::Int(n)) = self.lit { Some(n) } else { None }
    }

    /// The text, if it is some that is known now.
    pub(crate) fn lit_str(&self) -> Option<&[u8]> {
        if let Some(Lit::Str(s)) = &self.lit { Some(s) } else { None }
    }

    /// The same value as something that is not a constant to folding any more.
    pub(crate) fn settled(self) -> Ex {
        Ex { lit: None, ..self }
    }

    /// Its type and place without what it is, for messages about it after it has been used up.
    pub(crate) fn outline(&self) -> Ex {
        Ex::typed(ExprKind::Int(0), self.ty(), self.e.loc)
    }

    /// Whether it is of type void.
    pub(crate) fn is_void(&self) -> bool {
        !self.unknown && self.e.ty == Type::None
    }
}

/// What the code of one body can know about where it runs.
#[derive(Clone)]
pub(crate) struct Place {
    /// `None` in subprograms.
    pub(crate) probe: Option<ProbeCx>,
    /// Result of a subprogram.
    pub(crate) ret: Option<Type>,
}

/// See [`Place`].
#[derive(Clone)]
pub(crate) struct ProbeCx {
    pub(crate) provider: Provider,
    pub(crate) kind: ProgKind,
    /// Full name of the target; of the first one if the code is shared.
    pub(crate) name: String,
    pub(crate) facts: Facts,
    /// Argument list or record, if the code uses it.
    pub(crate) args: Option<StructId>,
    /// Type of the result where the kernel's type information has it.
    pub(crate) retval: Option<Type>,
    /// The first attach point.
    pub(crate) attach_loc: Loc,
    /// It is the entry of a system call, whose arguments are the process's.
    pub(crate) syscall: bool,
}

impl ProbeCx {
    /// The memory that addresses are of unless something says otherwise.
    pub(crate) fn space(&self) -> AddrSpace {
        match self.provider {
            Provider::Kprobe
            | Provider::Kretprobe
            | Provider::Fentry
            | Provider::Fexit
            | Provider::RawTracepoint
            | Provider::Iter => AddrSpace::Kernel,
            Provider::Tracepoint => match &self.facts {
                Facts::Tracepoint { category, .. } if category == "syscalls" => AddrSpace::User,
                _ => AddrSpace::Kernel,
            },
            Provider::Uprobe | Provider::Uretprobe | Provider::Usdt => AddrSpace::User,
            _ => AddrSpace::None,
        }
    }
}

/// A variable, the same in every walk.
#[derive(Clone, Debug, Default)]
pub(crate) struct VarState {
    /// Type so far; `None` if nothing of a known type was assigned.
    pub(crate) ty: Option<Ty>,
    /// The type was written by the user.
    pub(crate) fixed: bool,
    /// It was assigned in this walk.
    pub(crate) assigned: bool,
}

/// Identity of a variable: number of the body, and where it was declared.
pub(crate) type VarKey = (u32, Loc);

/// Everything that one walk needs and makes.
pub(crate) struct Checker<'c, 'e> {
    pub(crate) env: &'e dyn Env,
    pub(crate) options: &'c Options,
    pub(crate) sources: &'c SourceMap,
    pub(crate) config: &'c Config,
    pub(crate) db: TypeDb<'e>,
    pub(crate) diags: Diags,

    // Kept from walk to walk.
    pub(crate) vars: HashMap<VarKey, VarState>,
    pub(crate) maps: BTreeMap<String, MapState>,
    pub(crate) subprogs: HashMap<String, SubprogSig>,
    /// Something became wider or known in this walk.
    pub(crate) changed: bool,
    /// What became wider last, as it is written, and where.
    pub(crate) widened: Option<(String, Loc)>,
    /// Walks so far.
    walks: u32,

    // Made by this walk.
    pub(crate) events: Vec<plan::Event>,
    pub(crate) time_formats: Vec<String>,
    pub(crate) cgroup_filters: Vec<String>,
    pub(crate) options_asked: BTreeMap<String, params_asked::Asked>,

    // The present body.
    pub(crate) place: Place,
    pub(crate) body_number: u32,
    pub(crate) body: hir::Body,
    pub(crate) scopes: Scopes,
    pub(crate) loops: u32,
    /// How often the present statement is copied by unrolled loops around it.
    pub(crate) copies: u32,
    depth: u32,
    /// The expression is only asked for its type: nothing is collected or sent.
    pub(crate) type_only: u32,
}

/// What is known of a subprogram before its body is looked at.
#[derive(Clone)]
pub(crate) struct SubprogSig {
    pub(crate) id: SubprogId,
    pub(crate) params: Vec<Type>,
    pub(crate) ret: Type,
}

/// Options asked for by `getopt`.
pub(crate) mod params_asked {
    use super::Lit;

    /// See [`super::Checker::options_asked`].
    #[derive(Clone, Debug)]
    pub(crate) struct Asked {
        pub(crate) default: Lit,
        pub(crate) help: String,
    }
}

impl<'c, 'e> Checker<'c, 'e> {
    pub(crate) fn new(
        env: &'e dyn Env,
        options: &'c Options,
        sources: &'c SourceMap,
        config: &'c Config,
        db: TypeDb<'e>,
    ) -> Self {
        Checker {
            env,
            options,
            sources,
            config,
            db,
            diags: Diags::default(),
            vars: HashMap::new(),
            maps: BTreeMap::new(),
            subprogs: HashMap::new(),
            changed: false,
            widened: None,
            walks: 0,
            events: Vec::new(),
            time_formats: Vec::new(),
            cgroup_filters: Vec::new(),
            options_asked: BTreeMap::new(),
            place: Place { probe: None, ret: None },
            body_number: 0,
            body: hir::Body::default(),
            scopes: Scopes::default(),
            loops: 0,
            copies: 1,
            depth: 0,
            type_only: 0,
        }
    }

    /// Begins a walk.
    pub(crate) fn restart(&mut self) {
        self.changed = false;
        self.walks += 1;
        self.diags = Diags::default();
        self.events.clear();
        self.time_formats.clear();
        self.cgroup_filters.clear();
        self.options_asked.clear();
        self.vars.values_mut().for_each(|v| v.assigned = false);
        let mut next = 0;
        self.maps.values_mut().for_each(|m| m.begin_walk(&mut next));
    }

    /// Analyses one body. Parameters are declared first.
    pub(crate) fn run_body(
        &mut self,
        number: u32,
        place: Place,
        predicate: Option<&ast::Expr>,
        params: &[(ast::Ident, Type)],
        block: &ast::Block,
    ) -> (Option<hir::Expr>, hir::Body) {
        self.place = place;
        self.body_number = number;
        self.body = hir::Body::default();
        self.scopes = Scopes::default();
        self.loops = 0;
        self.copies = 1;
        self.depth = 0;
        self.type_only = 0;
        for (name, ty) in params {
            self.declare_param(name, ty);
        }
        let predicate = predicate.map(|p| {
            let value = self.expr(p);
            self.condition(value, p.loc)
        });
        let stmts = self.block_stmts(block);
        self.body.stmts = stmts;
        self.report_unassigned();
        (predicate, std::mem::take(&mut self.body))
    }

    /// Whether so many walks have changed types that text may be put together from itself.
    pub(crate) fn may_be_growing(&self) -> bool {
        self.walks > SETTLED
    }

    /// The type of something that is to become wider. Text that grows with every walk is made of itself: it gets
    /// the room that text has whose length is not known.
    pub(crate) fn wider(&self, known: Option<&Ty>, ty: Ty) -> Ty {
        match known {
            Some(known) if self.walks > GROWING => {
                Ty { ty: widened(&known.ty, &ty.ty, self.max_strlen()), traits: ty.traits }
            }
            _ => ty,
        }
    }

    /// Runs a step one level deeper, or reports that it is too deep.
    pub(crate) fn deeper<T>(&mut self, loc: Loc, otherwise: T, step: impl FnOnce(&mut Self) -> T) -> T {
        if self.depth >= MAX_DEPTH {
            self.diags.error(Stage::Calls, loc, "expressions or blocks are nested too deeply");
            return otherwise;
        }
        self.depth += 1;
        let out = step(self);
        self.depth -= 1;
        out
    }

    /// A local without a name.
    pub(crate) fn temporary(&mut self, ty: Type, loc: Loc) -> LocalId {
        self.body.locals.push(hir::Local { name: String::new(), ty, loc })
    }

    /// An event, unless only the type of the expression counts.
    pub(crate) fn event(&mut self, event: plan::Event) -> EventId {
        self.events.push(event);
        EventId::new(self.events.len() - 1)
    }

    /// Capacity of text at an address.
    pub(crate) fn max_strlen(&self) -> u32 {
        self.db.max_strlen
    }

    /// The memory that addresses are of in this body unless something says otherwise.
    pub(crate) fn default_space(&self) -> AddrSpace {
        self.place.probe.as_ref().map_or(AddrSpace::None, ProbeCx::space)
    }

    pub(crate) fn error(&mut self, stage: Stage, loc: Loc, message: impl Into<String>) -> Ex {
        self.diags.error(stage, loc, message);
        Ex::unknown(loc)
    }

    /// The type of an expression as messages show it.
    pub(crate) fn show(&self, ex: &Ex) -> String {
        self.db.show(&ex.e.ty)
    }

    /// Reads through an address of which it is not known whose it is. Told once for a script.
    pub(crate) fn unknown_space(&mut self) {
        let note = Diagnostic::new(Severity::Warning, None, "Addrspace is not set");
        self.diags.push(Stage::Check, note);
    }

    /// Refuses what the kernel cannot do; true if it can.
    pub(crate) fn needs(&mut self, feature: Feature, loc: Loc, what: &str) -> bool {
        if self.env.has(feature) {
            return true;
        }
        let note = Diagnostic::error(loc, format!("Missing required kernel feature: {}", feature.name()))
            .hint(format!("{what} needs it; it first came with kernel {}.", feature.since()));
        self.diags.push(Stage::Check, note);
        false
    }
}

/// A type with as much room for text as `most` where it has become longer than in another type.
fn widened(known: &Type, now: &Type, most: u32) -> Type {
    match (known, now) {
        (Type::Str(before), Type::Str(len)) if before < len => Type::Str(*len.max(&most)),
        (Type::Tuple(before), Type::Tuple(elems)) if before.len() == elems.len() => {
            Type::Tuple(before.iter().zip(elems.iter()).map(|(a, b)| widened(a, b, most)).collect())
        }
        (Type::Record(before), Type::Record(elems)) if before.len() == elems.len() => {
            let pairs = before.iter().zip(elems.iter());
            Type::Record(pairs.map(|((_, a), (name, b))| (name.clone(), widened(a, b, most))).collect())
        }
        _ => now.clone(),
    }
}

/// The class of a type in messages about arguments.
pub(crate) fn class(ty: &Type) -> &'static str {
    match ty {
        Type::None => "none",
        Type::Bool => "bool",
        Type::Int(_) => "int",
        Type::Str(_) => "string",
        Type::Buf(_) => "buffer",
        Type::Ptr(..) => "pointer",
        Type::Array(..) => "array",
        Type::Tuple(_) => "tuple",
        Type::Record(_) => "record",
        Type::Struct(_) => "struct",
        Type::Enum(_) => "enum",
        Type::KSym => "ksym",
        Type::USym => "usym",
        Type::KStack(_) => "kstack",
        Type::UStack(_) => "ustack",
        Type::Inet => "inet",
        Type::Mac => "mac_address",
        Type::Username => "username",
        Type::Timestamp => "timestamp",
        Type::CgroupPath => "cgroup_path",
        Type::Agg(agg) => agg.name(),
    }
}

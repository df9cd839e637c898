//! Records of rings: each is submitted or discarded once on every path.

use super::results::reserves;
use super::{Checker, Rule};
use crate::func::{Block, Inst, Value};
use crate::helpers;
use crate::inst::{CmpOp, InstKind};
use crate::types::PtrClass;
use cranelift_entity::SecondaryMap;
use std::collections::BTreeSet;

/// Records that are still to be given back, by the value that first held them: the result of the reservation,
/// or a parameter of a block.
type Open = BTreeSet<Value>;

pub(super) fn check(c: &mut Checker<'_>) {
    let has_records = c.func.values.values().any(|v| is_record(v.ty));
    if !has_records {
        return;
    }
    let mut at_start: SecondaryMap<Block, Option<Open>> = SecondaryMap::new();
    let order = c.cfg.order().to_vec();
    at_start[c.func.entry()] = Some(Open::new());
    for block in order {
        let Some(mut open) = at_start[block].clone() else { continue };
        for &inst in &c.func.blocks[block].insts {
            step(c, inst, &mut open);
        }
        let Some(end) = c.func.terminator(block) else { continue };
        let kind = &c.func.insts[end].kind;
        if matches!(kind, InstKind::Ret(_)) && !open.is_empty() {
            c.at(Rule::Record, end, "a record is neither submitted nor discarded on a path to here");
        }
        for (edge, target) in kind.targets().into_iter().enumerate() {
            let mut open = open.clone();
            if let Some(v) = null_on_edge(c, kind, edge) {
                open.remove(&v);
            }
            let mut arrived = Vec::new();
            for (&arg, &param) in target.args.iter().zip(&c.func.blocks[target.block].params) {
                if is_record(c.func.ty(arg)) && open.remove(&origin(c, arg)) {
                    arrived.push(param);
                }
            }
            open.extend(arrived);
            match &at_start[target.block] {
                None => at_start[target.block] = Some(open),
                Some(known) if *known == open => {}
                Some(_) => c.at(
                    Rule::Record,
                    end,
                    "a record is given back on one path to the block and not on another",
                ),
            }
        }
    }
}

fn is_record(ty: crate::types::Ty) -> bool {
    matches!(ty.as_ptr().map(|p| p.class), Some(PtrClass::Record(_)))
}

/// The value that first held a record, through refinements and offsets.
fn origin(c: &Checker<'_>, mut v: Value) -> Value {
    while let Some(InstKind::Refine(of, _) | InstKind::PtrAdd(of, ..)) = c.def(v) {
        v = *of;
    }
    v
}

fn step(c: &mut Checker<'_>, inst: Inst, open: &mut Open) {
    let data = &c.func.insts[inst];
    let given_back = match &data.kind {
        InstKind::EventSubmit { rec, .. } | InstKind::EventDiscard { rec } => Some(*rec),
        InstKind::Helper(helpers::RINGBUF_SUBMIT | helpers::RINGBUF_DISCARD, args) => args.first().copied(),
        _ => None,
    };
    let mut gone = false;
    data.kind.for_each_use(|v| {
        gone |= is_record(c.func.ty(v))
            && !matches!(data.kind, InstKind::IsNull(_))
            && !open.contains(&origin(c, v));
    });
    let moved = given_back.is_some_and(|v| c.unrefined(v) != origin(c, v));
    if moved {
        c.at(Rule::Record, inst, "a pointer into the middle of a record cannot be given back");
    }
    // Where a block is left, the jump itself is not a use: its edges say what becomes of the record.
    if gone && !data.kind.is_terminator() {
        c.at(Rule::Record, inst, "the record was already given back, or need not have been reserved");
    }
    if let Some(v) = given_back {
        open.remove(&origin(c, v));
    }
    if let (true, Some(result)) = (reserves(&data.kind), data.result.expand()) {
        open.insert(result);
    }
    if matches!(data.kind, InstKind::TailCall { .. }) && !open.is_empty() {
        c.at(Rule::Record, inst, "the call does not come back, and a record is open");
    }
}

/// The record that an edge shows to be null, so that there is nothing to give back.
fn null_on_edge(c: &Checker<'_>, kind: &InstKind, edge: usize) -> Option<Value> {
    let InstKind::CondBr { cond, .. } = kind else { return None };
    let (v, null_edge) = match c.def(*cond)? {
        InstKind::IsNull(v) => (*v, 0),
        InstKind::Cmp(op @ (CmpOp::Eq | CmpOp::Ne), a, b) => {
            let v = match (c.def(*a), c.def(*b)) {
                (_, Some(InstKind::Null)) => *a,
                (Some(InstKind::Null), _) => *b,
                _ => return None,
            };
            (v, usize::from(*op == CmpOp::Ne))
        }
        _ => return None,
    };
    (edge == null_edge && is_record(c.func.ty(v))).then(|| origin(c, v))
}

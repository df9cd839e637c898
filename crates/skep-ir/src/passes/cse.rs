//! Computes equal things of a block once.
//!
//! Addresses of the context and of packets are left alone: the verifier wants them as they were made. So are
//! refinements, which say where something is known.

use super::Context;
use super::edit::Aliases;
use crate::func::{Func, Value};
use crate::hash::FastMap;
use crate::inst::{BinOp, CmpOp, InstKind};
use crate::module::Module;
use crate::types::{PtrClass, Ty};

/// An instruction that always gives the same.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Const(i64),
    Null,
    Bin(BinOp, Value, Value),
    One(u8, Value),
    Cmp(CmpOp, Value, Value),
    Select(Value, Value, Value),
    Entity(u8, u32),
    PtrAdd(Value, i32, Option<Value>),
    /// The same as long as nothing writes the context.
    CtxLoad(Value, i32),
}

/// Runs the pass.
pub fn run(func: &mut Func, _: &Module, _: &Context<'_>) {
    let mut aliases = Aliases::default();
    let mut seen: FastMap<(Key, Ty), Value> = FastMap::default();
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        seen.clear();
        let mut context_read = false;
        let mut insts = std::mem::take(&mut func.blocks[block].insts);
        insts.retain(|&inst| {
            func.insts[inst].kind.map_uses(|v| aliases.get(v));
            let data = &func.insts[inst];
            if changes_context(&data.kind) && std::mem::take(&mut context_read) {
                seen.retain(|(key, _), _| !matches!(key, Key::CtxLoad(..)));
            }
            let (Some(key), Some(result)) = (key(func, &data.kind), data.result.expand()) else {
                return true;
            };
            context_read |= matches!(key, Key::CtxLoad(..));
            match seen.entry((key, func.ty(result))) {
                std::collections::hash_map::Entry::Occupied(known) => {
                    aliases.set(result, *known.get());
                    false
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(result);
                    true
                }
            }
        });
        func.blocks[block].insts = insts;
    }
    aliases.apply(func);
}

/// Whether loads from the context may give something else afterwards: packets move in helpers.
fn changes_context(kind: &InstKind) -> bool {
    matches!(
        kind,
        InstKind::CtxStore { .. } | InstKind::Helper(..) | InstKind::Kfunc(..) | InstKind::Call(..)
    )
}

fn key(func: &Func, kind: &InstKind) -> Option<Key> {
    use InstKind as I;
    Some(match kind {
        I::Const(n) => Key::Const(*n),
        I::Null => Key::Null,
        I::Bin(op, a, b) => {
            let commutes = matches!(op, BinOp::Add | BinOp::Mul | BinOp::And | BinOp::Or | BinOp::Xor);
            if commutes && b < a { Key::Bin(*op, *b, *a) } else { Key::Bin(*op, *a, *b) }
        }
        I::Neg(a) => Key::One(0, *a),
        I::Bswap(a) => Key::One(1, *a),
        I::IsNull(a) => Key::One(2, *a),
        I::Zext(a) => Key::One(3, *a),
        I::Sext(a) => Key::One(4, *a),
        I::Trunc(a) => Key::One(5, *a),
        I::PtrToInt(a) => Key::One(6, *a),
        I::IntToPtr(a) => Key::One(7, *a),
        I::Cmp(op, a, b) => Key::Cmp(*op, *a, *b),
        I::Select(c, a, b) => Key::Select(*c, *a, *b),
        I::SlotAddr(slot) => Key::Entity(0, slot.as_u32()),
        I::Capture(n) => Key::Entity(1, *n),
        I::GlobalAddr(global) => Key::Entity(2, global.as_u32()),
        I::MapRef(map) => Key::Entity(3, map.as_u32()),
        I::PtrAdd(p, off, by) => {
            let class = func.ty(*p).as_ptr()?.class;
            if matches!(class, PtrClass::Ctx | PtrClass::Packet | PtrClass::PacketMeta | PtrClass::PacketEnd)
            {
                return None;
            }
            Key::PtrAdd(*p, *off, *by)
        }
        I::CtxLoad { ctx, off } => Key::CtxLoad(*ctx, *off),
        _ => return None,
    })
}

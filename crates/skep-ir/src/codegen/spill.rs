//! Spilling: a register moves to the frame, and each of its uses gets a short-lived register of its own.

use super::mir::{Base, Cheap, Dst, MFunc, MInst, MKind, Object, ObjectData, Opd, Role, Src, VReg};
use cranelift_entity::SecondaryMap;
use skep_asm::Size;

/// Rewrites all uses and definitions of the given registers. What is cheap to make is made again at each use
/// and takes no place in the frame.
pub(super) fn rewrite(mf: &mut MFunc, spilled: &[VReg]) {
    let mut homes: SecondaryMap<VReg, Option<Home>> = SecondaryMap::new();
    let remade = single_makes(mf);
    for &v in spilled {
        homes[v] = Some(match remade[v] {
            Remade::Once(cheap) => Home::Remade(cheap),
            _ => {
                let name = "a saved register".to_owned();
                Home::Frame(mf.objects.push(ObjectData { name, size: 8 }))
            }
        });
    }
    for block in mf.order.clone() {
        let old = std::mem::take(&mut mf.blocks[block]);
        let mut new = Vec::with_capacity(old.len() * 2);
        for inst in old {
            rewrite_inst(mf, inst, &homes, &mut new);
        }
        mf.blocks[block] = new;
    }
}

#[derive(Copy, Clone)]
enum Home {
    Frame(Object),
    Remade(Cheap),
}

#[derive(Copy, Clone, Default)]
enum Remade {
    #[default]
    Never,
    Once(Cheap),
    Not,
}

/// Registers whose only definition is a [`MKind::Make`].
fn single_makes(mf: &mut MFunc) -> SecondaryMap<VReg, Remade> {
    let mut out: SecondaryMap<VReg, Remade> = SecondaryMap::new();
    for block in mf.order.clone() {
        for inst in &mut mf.blocks[block] {
            let made = if let MKind::Make(_, cheap) = inst.kind { Some(cheap) } else { None };
            inst.kind.registers(|v, role| {
                if role == Role::Def {
                    out[*v] = match (out[*v], made) {
                        (Remade::Never, Some(cheap)) => Remade::Once(cheap),
                        _ => Remade::Not,
                    };
                }
            });
        }
    }
    out
}

fn rewrite_inst(
    mf: &mut MFunc,
    mut inst: MInst,
    homes: &SecondaryMap<VReg, Option<Home>>,
    out: &mut Vec<MInst>,
) {
    let loc = inst.loc;
    if let MKind::Make(v, _) = inst.kind
        && matches!(homes[v], Some(Home::Remade(_)))
    {
        return;
    }
    // Where an operand may stay in memory or be made on the way, no register is needed at all.
    match &mut inst.kind {
        MKind::Call { args, .. } => args.iter_mut().for_each(|a| relocate(a, homes)),
        MKind::Ret(Some(value)) => relocate(value, homes),
        MKind::CmpXchg { expected, .. } => relocate(expected, homes),
        MKind::Moves(moves) => {
            for (dst, src) in moves.iter_mut() {
                relocate(src, homes);
                if let Dst::Reg(v) = dst
                    && let Some(Home::Frame(object)) = homes[*v]
                {
                    *dst = Dst::Spilled(object);
                }
            }
            break_memory_cycles(mf, moves, loc, out);
        }
        _ => {}
    }
    let mut before = Vec::new();
    let mut after = Vec::new();
    let mut renamed: Vec<(VReg, VReg)> = Vec::new();
    inst.kind.registers(|v, role| {
        let Some(home) = homes[*v] else { return };
        let old = *v;
        let known = renamed.iter().find(|(o, _)| *o == old).map(|(_, n)| *n);
        let fresh = known.unwrap_or_else(|| mf.vregs.push(true));
        if known.is_none() {
            renamed.push((old, fresh));
        }
        *v = fresh;
        let base = |object| Base::Frame(object);
        match (role, home) {
            (Role::Def, Home::Frame(object)) => {
                after.push(MKind::Store { size: Size::Dw, base: base(object), off: 0, val: Opd::Reg(fresh) });
            }
            (Role::Def, Home::Remade(_)) => {}
            (Role::Use | Role::LateUse, _) if known.is_some() => {}
            (Role::Use | Role::LateUse, Home::Frame(object)) => {
                before.push(MKind::Load {
                    size: Size::Dw,
                    signed: false,
                    dst: fresh,
                    base: base(object),
                    off: 0,
                });
            }
            (Role::Use | Role::LateUse, Home::Remade(cheap)) => before.push(MKind::Make(fresh, cheap)),
        }
    });
    out.extend(before.into_iter().map(|kind| MInst { kind, loc }));
    out.push(inst);
    out.extend(after.into_iter().map(|kind| MInst { kind, loc }));
}

fn relocate(src: &mut Src, homes: &SecondaryMap<VReg, Option<Home>>) {
    if let Src::Reg(v) = src {
        match homes[*v] {
            Some(Home::Frame(object)) => *src = Src::Spilled(object),
            Some(Home::Remade(cheap)) => *src = Src::Cheap(cheap),
            None => {}
        }
    }
}

/// Moves from memory to memory need a register each; they are made one by one before the others, through
/// copies of what they would overwrite.
fn break_memory_cycles(
    mf: &mut MFunc,
    moves: &mut Vec<(Dst, Src)>,
    loc: Option<crate::source::Loc>,
    out: &mut Vec<MInst>,
) {
    moves.retain(|(dst, src)| !matches!((dst, src), (Dst::Spilled(a), Src::Spilled(b)) if a == b));
    let written: Vec<Object> =
        moves.iter().filter_map(|(d, _)| if let Dst::Spilled(o) = d { Some(*o) } else { None }).collect();
    let mut copy = |mf: &mut MFunc, from: Object, to: Object| {
        let v = mf.vregs.push(true);
        let load = MKind::Load { size: Size::Dw, signed: false, dst: v, base: Base::Frame(from), off: 0 };
        let store = MKind::Store { size: Size::Dw, base: Base::Frame(to), off: 0, val: Opd::Reg(v) };
        out.extend([load, store].map(|kind| MInst { kind, loc }));
    };
    // A source that is also a destination is saved first, for every move that reads it.
    for (_, src) in moves.iter_mut() {
        if let Src::Spilled(o) = src
            && written.contains(o)
        {
            let name = "a saved register".to_owned();
            let saved = mf.objects.push(ObjectData { name, size: 8 });
            copy(mf, *o, saved);
            *src = Src::Spilled(saved);
        }
    }
    let mut kept = Vec::with_capacity(moves.len());
    for (dst, src) in moves.drain(..) {
        if let (Dst::Spilled(to), Src::Spilled(from)) = (dst, src) {
            copy(mf, from, to);
        } else {
            kept.push((dst, src));
        }
    }
    *moves = kept;
}

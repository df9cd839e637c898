//! Machine instructions over virtual registers: what instruction selection makes and register allocation
//! works on.

use crate::module::{FuncId, MapId};
use crate::source::Loc;
use cranelift_entity::{PrimaryMap, SecondaryMap, entity_impl};
use skep_asm::{AluOp, AtomicOp, Cond, Size, SwapBits, Width};

/// A virtual register.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct VReg(u32);
entity_impl!(VReg, "%");

/// A block of machine instructions.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct MBlock(u32);
entity_impl!(MBlock, "mb");

/// An object in the frame: a slot of the function, or a spilled register.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Object(u32);
entity_impl!(Object, "obj");

/// See [`Object`].
#[derive(Clone, Debug)]
pub(super) struct ObjectData {
    /// Name, for messages.
    pub(super) name: String,
    /// Bytes. Every object is aligned to 8.
    pub(super) size: u32,
}

/// A value that is made where it is needed and never kept: it costs one instruction and no register.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) enum Cheap {
    /// A number.
    Const(u64),
    /// A map.
    Map(MapId),
    /// An address in an array map's value.
    MapValue(MapId, u32),
    /// A kernel variable by index.
    Ksym(u32),
    /// A function for a helper to call.
    Func(FuncId),
    /// An address in the frame.
    Frame(Object, i32),
}

/// An operand that may be a constant.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) enum Opd {
    Reg(VReg),
    Imm(i32),
}

/// Where memory begins.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) enum Base {
    Reg(VReg),
    Frame(Object),
}

/// What is moved: to an argument register, to the result, into a block parameter.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) enum Src {
    Reg(VReg),
    Cheap(Cheap),
    /// Contents of a spilled register.
    Spilled(Object),
}

/// Where a block argument goes.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) enum Dst {
    Reg(VReg),
    Spilled(Object),
}

/// Whom a call calls.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) enum Callee {
    Helper(u32),
    Kfunc(u32),
    Func(FuncId),
}

/// A condition between two operands.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Test {
    pub(super) width: Width,
    pub(super) cond: Cond,
    pub(super) lhs: VReg,
    pub(super) rhs: Opd,
}

/// A machine instruction. "Tied" operands are copied into the destination first.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum MKind {
    /// Parameters arrive in r1, r2...
    Entry(Vec<VReg>),
    Make(VReg, Cheap),
    Copy(VReg, VReg),
    /// `dst = lhs op rhs`; lhs is tied.
    Alu {
        width: Width,
        op: AluOp,
        dst: VReg,
        lhs: VReg,
        rhs: Opd,
    },
    /// Tied.
    Neg {
        width: Width,
        dst: VReg,
        src: VReg,
    },
    /// Tied.
    Swap {
        bits: SwapBits,
        dst: VReg,
        src: VReg,
    },
    /// `dst = (u32)src`
    Zext32 {
        dst: VReg,
        src: VReg,
    },
    Movsx {
        width: Width,
        size: Size,
        dst: VReg,
        src: VReg,
    },
    Load {
        size: Size,
        signed: bool,
        dst: VReg,
        base: Base,
        off: i16,
    },
    Store {
        size: Size,
        base: Base,
        off: i16,
        val: Opd,
    },
    /// The value is tied to the destination where there is one.
    Atomic {
        width: Width,
        op: AtomicOp,
        base: Base,
        off: i16,
        val: VReg,
        dst: Option<VReg>,
    },
    /// Through r0.
    CmpXchg {
        width: Width,
        base: Base,
        off: i16,
        expected: Src,
        new: VReg,
        dst: VReg,
    },
    Call {
        callee: Callee,
        args: Vec<Src>,
        dst: Option<VReg>,
    },
    /// `dst = test ? 1 : 0`
    SetCond {
        dst: VReg,
        test: Test,
    },
    /// `dst = test ? then : other`; then is tied.
    Select {
        dst: VReg,
        test: Test,
        then: VReg,
        other: Opd,
    },
    /// All at once: every source is read before a destination is written.
    Moves(Vec<(Dst, Src)>),
    Jump(MBlock),
    Branch {
        test: Test,
        then: MBlock,
        other: MBlock,
    },
    Ret(Option<Src>),
}

/// A machine instruction with its place in the source.
#[derive(Clone, Debug)]
pub(super) struct MInst {
    pub(super) kind: MKind,
    pub(super) loc: Option<Loc>,
}

/// A function.
#[derive(Clone, Debug, Default)]
pub(super) struct MFunc {
    pub(super) blocks: PrimaryMap<MBlock, Vec<MInst>>,
    /// Blocks in the order in which they are emitted.
    pub(super) order: Vec<MBlock>,
    pub(super) objects: PrimaryMap<Object, ObjectData>,
    /// Whether a register was made by spilling: it lives for one instruction and must get a register.
    pub(super) vregs: PrimaryMap<VReg, bool>,
    /// Registers whose bounds the verifier has to know: the last to be spilled.
    pub(super) bounded: SecondaryMap<VReg, bool>,
    /// Functions that it calls or passes on, in order of first use.
    pub(super) callees: Vec<FuncId>,
}

/// How an instruction uses a register.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Read before anything is written.
    Use,
    /// Still read when the destination is written.
    LateUse,
    /// Written.
    Def,
}

impl MFunc {
    pub(super) fn vreg(&mut self) -> VReg {
        self.vregs.push(false)
    }

    pub(super) fn successors(&self, block: MBlock) -> impl Iterator<Item = MBlock> + '_ {
        let last = self.blocks[block].last().map(|i| &i.kind);
        let targets = match last {
            Some(MKind::Jump(to)) => [Some(*to), None],
            Some(MKind::Branch { then, other, .. }) => [Some(*then), Some(*other)],
            _ => [None, None],
        };
        targets.into_iter().flatten()
    }
}

impl MKind {
    /// Calls `f` with every register and lets it be replaced. Uses come before definitions.
    pub(super) fn registers(&mut self, mut f: impl FnMut(&mut VReg, Role)) {
        fn opd(o: &mut Opd, role: Role, f: &mut impl FnMut(&mut VReg, Role)) {
            if let Opd::Reg(r) = o {
                f(r, role);
            }
        }
        fn base(b: &mut Base, role: Role, f: &mut impl FnMut(&mut VReg, Role)) {
            if let Base::Reg(r) = b {
                f(r, role);
            }
        }
        fn src(s: &mut Src, f: &mut impl FnMut(&mut VReg, Role)) {
            if let Src::Reg(r) = s {
                f(r, Role::Use);
            }
        }
        fn test(t: &mut Test, role: Role, f: &mut impl FnMut(&mut VReg, Role)) {
            f(&mut t.lhs, role);
            opd(&mut t.rhs, role, f);
        }
        let f = &mut f;
        match self {
            MKind::Entry(params) => params.iter_mut().for_each(|p| f(p, Role::Def)),
            MKind::Make(dst, _) => f(dst, Role::Def),
            MKind::Copy(dst, s) | MKind::Zext32 { dst, src: s } | MKind::Movsx { dst, src: s, .. } => {
                f(s, Role::Use);
                f(dst, Role::Def);
            }
            MKind::Alu { dst, lhs, rhs, .. } => {
                f(lhs, Role::Use);
                opd(rhs, Role::LateUse, f);
                f(dst, Role::Def);
            }
            MKind::Neg { dst, src: s, .. } | MKind::Swap { dst, src: s, .. } => {
                f(s, Role::Use);
                f(dst, Role::Def);
            }
            MKind::Load { dst, base: b, .. } => {
                base(b, Role::Use, f);
                f(dst, Role::Def);
            }
            MKind::Store { base: b, val, .. } => {
                base(b, Role::Use, f);
                opd(val, Role::Use, f);
            }
            MKind::Atomic { base: b, val, dst, .. } => {
                base(b, Role::LateUse, f);
                f(val, Role::Use);
                if let Some(dst) = dst {
                    f(dst, Role::Def);
                }
            }
            MKind::CmpXchg { base: b, expected, new, dst, .. } => {
                src(expected, f);
                base(b, Role::LateUse, f);
                f(new, Role::LateUse);
                f(dst, Role::Def);
            }
            MKind::Call { args, dst, .. } => {
                args.iter_mut().for_each(|a| src(a, f));
                if let Some(dst) = dst {
                    f(dst, Role::Def);
                }
            }
            MKind::SetCond { dst, test: t } => {
                test(t, Role::LateUse, f);
                f(dst, Role::Def);
            }
            MKind::Select { dst, test: t, then, other } => {
                test(t, Role::LateUse, f);
                f(then, Role::Use);
                opd(other, Role::LateUse, f);
                f(dst, Role::Def);
            }
            MKind::Moves(moves) => {
                moves.iter_mut().for_each(|(_, s)| src(s, f));
                for (dst, _) in moves {
                    if let Dst::Reg(r) = dst {
                        f(r, Role::Def);
                    }
                }
            }
            MKind::Jump(_) => {}
            MKind::Branch { test: t, .. } => test(t, Role::Use, f),
            MKind::Ret(value) => {
                if let Some(value) = value {
                    src(value, f);
                }
            }
        }
    }

    /// Calls `f` with every frame object that the instruction touches, and whether the address goes where its
    /// further uses cannot be seen.
    pub(super) fn objects(&self, mut f: impl FnMut(Object)) {
        let mut src = |s: &Src| match s {
            Src::Cheap(Cheap::Frame(o, _)) | Src::Spilled(o) => f(*o),
            _ => {}
        };
        match self {
            MKind::Make(_, cheap) => src(&Src::Cheap(*cheap)),
            MKind::Load { base: Base::Frame(o), .. }
            | MKind::Store { base: Base::Frame(o), .. }
            | MKind::Atomic { base: Base::Frame(o), .. } => f(*o),
            MKind::CmpXchg { base, expected, .. } => {
                src(expected);
                if let Base::Frame(o) = base {
                    f(*o);
                }
            }
            MKind::Call { args, .. } => args.iter().for_each(src),
            MKind::Ret(Some(value)) => src(value),
            MKind::Moves(moves) => {
                for (dst, s) in moves {
                    src(s);
                    if let Dst::Spilled(o) = dst {
                        src(&Src::Spilled(*o));
                    }
                }
            }
            _ => {}
        }
    }

    /// Registers that it overwrites besides its destination.
    pub(super) fn clobbers(&self) -> skep_asm::RegSet {
        match self {
            MKind::Call { .. } => skep_asm::RegSet::CALLER_SAVED,
            MKind::CmpXchg { .. } => skep_asm::RegSet::of(skep_asm::Reg::R0),
            _ => skep_asm::RegSet::EMPTY,
        }
    }
}

//! Programs that end, call nothing and use only a buffer and their stack, so that every machine must agree on
//! r0 and on the buffer.
//!
//! r1 is the buffer of [`BUFFER`] bytes at the start and is moved to r9; r0 and r2 to r8 hold numbers. The
//! first [`STACK`] bytes of the stack are written before anything reads them. Jumps lead forwards.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use skep_asm::{AluOp, Assembler, Cond, Insn, Kind, LongJumps, Operand, Reg, Size, SwapBits, SwapOp, Width};

/// Bytes of the buffer.
pub const BUFFER: usize = 64;
/// Bytes of the stack that programs use.
pub const STACK: i16 = 64;

/// One instruction before its jump target is known.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Anything but a jump.
    Plain(Insn),
    /// A 64-bit constant.
    Constant(Reg, u64),
    /// A jump to a later piece or the end.
    Branch(Width, Cond, Reg, Operand, Index),
    /// An unconditional jump to a later piece or the end.
    Goto(Index),
}

fn number_reg() -> impl Strategy<Value = Reg> {
    select(vec![Reg::R0, Reg::R2, Reg::R3, Reg::R4, Reg::R5, Reg::R6, Reg::R7, Reg::R8])
}

fn edge64() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        any::<i32>().prop_map(|n| n as u64),
        select(vec![0, 1, u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 32, (1 << 32) - 1, 1 << 31, (1 << 31) - 1]),
        0..70u64,
    ]
}

fn edge32() -> impl Strategy<Value = i32> {
    prop_oneof![any::<i32>(), -40..70i32, select(vec![i32::MIN, i32::MAX, -1, 0, 1, 0x7f, 0x80, 0xffff])]
}

fn width() -> impl Strategy<Value = Width> {
    select(vec![Width::W32, Width::W64])
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![number_reg().prop_map(Operand::Reg), edge32().prop_map(Operand::Imm)]
}

/// A place in the buffer or on the stack that a size fits, aligned on the stack.
fn place() -> impl Strategy<Value = (Size, Reg, i16)> {
    (select(&Size::ALL[..]), any::<bool>(), any::<Index>()).prop_map(|(size, stack, index)| {
        let bytes = usize::from(size.bytes());
        if stack {
            let slot = index.index(STACK as usize / bytes) * bytes;
            (size, Reg::R10, slot as i16 - STACK)
        } else {
            (size, Reg::R9, index.index(BUFFER - bytes + 1) as i16)
        }
    })
}

/// An instruction of the first instruction sets, up to cpu v3, without atomics.
pub fn piece() -> impl Strategy<Value = Piece> {
    let ops: Vec<_> = AluOp::ALL.into_iter().filter(|op| !matches!(op, AluOp::Sdiv | AluOp::Smod)).collect();
    let alu = (width(), select(ops), number_reg(), operand()).prop_map(|(width, op, dst, rhs)| {
        let rhs = match (op, rhs) {
            // Constants that no verifier accepts.
            (AluOp::Div | AluOp::Mod, Operand::Imm(0)) => Operand::Imm(1),
            (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, Operand::Imm(by)) => {
                Operand::Imm(by & (width.bits() as i32 - 1))
            }
            (_, rhs) => rhs,
        };
        Insn::alu(width, op, dst, rhs)
    });
    let neg = (width(), number_reg()).prop_map(|(width, dst)| Insn::neg(width, dst));
    let bits = select(vec![SwapBits::B16, SwapBits::B32, SwapBits::B64]);
    let swap = (select(vec![SwapOp::Le, SwapOp::Be]), bits, number_reg())
        .prop_map(|(op, bits, dst)| Insn::swap(op, bits, dst));
    let load = (place(), number_reg()).prop_map(|((size, base, off), dst)| Insn::load(size, dst, base, off));
    let store =
        (place(), operand()).prop_map(|((size, base, off), value)| Insn::store(size, base, off, value));
    let plain = prop_oneof![6 => alu, 1 => neg, 1 => swap, 2 => load, 2 => store].prop_map(Piece::Plain);
    let branch = (width(), select(&Cond::ALL[..]), number_reg(), operand(), any::<Index>())
        .prop_map(|(width, cond, lhs, rhs, to)| Piece::Branch(width, cond, lhs, rhs, to));
    prop_oneof![
        12 => plain,
        2 => (number_reg(), edge64()).prop_map(|(dst, value)| Piece::Constant(dst, value)),
        4 => branch,
        1 => any::<Index>().prop_map(Piece::Goto),
    ]
}

/// Pieces of a program.
pub fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    vec(piece(), 0..60)
}

/// Starting values of the registers.
pub fn seeds() -> impl Strategy<Value = Vec<u64>> {
    vec(edge64(), 8)
}

/// The program of some pieces.
///
/// # Panics
/// Never: every label is bound, and the program is far shorter than the longest jump.
#[must_use]
pub fn assemble(pieces: &[Piece], seeds: &[u64]) -> Vec<Insn> {
    let mut asm = Assembler::new(LongJumps::Islands);
    let labels: Vec<_> = (0..=pieces.len()).map(|_| asm.label()).collect();
    asm.push(Insn::mov64(Reg::R9, Reg::R1));
    for (number, &seed) in [0, 2, 3, 4, 5, 6, 7, 8].into_iter().zip(seeds) {
        Insn::load_imm64(Reg::from_field(number), seed).into_iter().for_each(|insn| asm.push(insn));
    }
    for slot in 1..=STACK / 8 {
        asm.push(Insn::store(Size::Dw, Reg::R10, -8 * slot, Reg::from_field(2 + (slot % 6) as u8)));
    }
    for (number, piece) in pieces.iter().enumerate() {
        asm.bind(labels[number]);
        let later = |to: &Index| labels[number + 1 + to.index(pieces.len() - number)];
        match piece {
            Piece::Plain(insn) => asm.push(*insn),
            Piece::Constant(dst, value) => {
                Insn::load_imm64(*dst, *value).into_iter().for_each(|insn| asm.push(insn));
            }
            Piece::Branch(width, cond, lhs, rhs, to) => asm.branch(*width, *cond, *lhs, *rhs, later(to)),
            Piece::Goto(to) => asm.jump(later(to)),
        }
    }
    asm.bind(labels[pieces.len()]);
    asm.exit();
    asm.finish().expect("every label is bound and no jump is long").insns
}

/// Whether the instruction is 64-bit arithmetic or a comparison that a machine may read differently: see the
/// comparisons for what they leave out and why.
#[must_use]
pub fn any_piece(pieces: &[Piece], matches: impl Fn(Kind) -> bool) -> bool {
    pieces.iter().any(|piece| match piece {
        Piece::Plain(insn) => insn.kind().is_ok_and(&matches),
        Piece::Branch(width, cond, lhs, rhs, _) => {
            matches(Kind::Branch { width: *width, cond: *cond, lhs: *lhs, rhs: *rhs, off: 0 })
        }
        Piece::Constant(..) | Piece::Goto(_) => false,
    })
}

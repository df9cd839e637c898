//! The tiny programs and BTF that probes load.

use skep_asm::{
    AluOp, AtomicOp, Callee, Cond, Endian, Insn, Operand, Reg, Size, SwapBits, SwapOp, WideImm, Width, encode,
};
use skep_btf::{Builder, Encoded, IntEncoding, Linkage, SectionVar, Supported, TypeId};
use skep_ir::kernel::Feature;

const R0: Reg = Reg::R0;
const R1: Reg = Reg::R1;
const R2: Reg = Reg::R2;
const FP: Reg = Reg::R10;

fn finish(mut insns: Vec<Insn>) -> Vec<u8> {
    insns.push(Insn::mov64(R0, 0));
    insns.push(Insn::exit());
    encode(&insns, Endian::Little)
}

/// Returns 0.
pub(super) fn nothing() -> Vec<u8> {
    finish(Vec::new())
}

/// Calls a helper with whatever is in the registers: nothing, so that the verifier stops after it has found out
/// whether the program may call it.
pub(super) fn helper(id: u32) -> Vec<u8> {
    finish(vec![Insn::call_helper(id)])
}

/// Calls a kernel function likewise.
pub(super) fn kfunc(btf_id: TypeId) -> Vec<u8> {
    finish(vec![Insn::call(Callee::Kfunc { btf_id: btf_id.0.cast_signed(), fd_index: 0 })])
}

/// Writes the first word of an array map's value.
pub(super) fn store_to_value(fd: i32) -> Vec<u8> {
    let mut insns = Insn::load_wide(R1, WideImm::MapValue { fd, offset: 0 }).to_vec();
    insns.push(Insn::store(Size::W, R1, 0, Operand::Imm(1)));
    finish(insns)
}

/// Looks a zero key of four bytes up in a map.
pub(super) fn lookup(fd: i32) -> Vec<u8> {
    let mut insns = vec![
        Insn::store(Size::W, FP, -4, Operand::Imm(0)),
        Insn::mov64(R2, FP),
        Insn::alu64(AluOp::Add, R2, -4),
    ];
    insns.extend(Insn::load_wide(R1, WideImm::MapFd(fd)));
    insns.push(Insn::call_helper(1));
    finish(insns)
}

/// A program that uses the parts of the instruction set that `features` name, each in a way that the verifier
/// passes.
pub(super) fn instructions(features: &[Feature]) -> Vec<u8> {
    let mut insns = vec![Insn::store(Size::Dw, FP, -8, Operand::Imm(0)), Insn::mov64(R1, 0)];
    let mut subprogram = None;
    for feature in features {
        match feature {
            Feature::Jmp32 => {
                insns.push(Insn::branch(Width::W32, Cond::Eq, R1, 7, 1));
                insns.push(Insn::mov64(R1, 0));
            }
            Feature::AtomicFetch => {
                insns.push(Insn::mov64(R2, 1));
                insns.push(Insn::atomic(Width::W64, AtomicOp::FetchAdd, FP, -8, R2));
            }
            Feature::CpuV4 => {
                insns.push(Insn::mov64(R2, 100));
                insns.push(Insn::movsx(Width::W64, Size::B, R2, R2));
                insns.push(Insn::alu64(AluOp::Sdiv, R2, 3));
                insns.push(Insn::swap(SwapOp::Bswap, SwapBits::B64, R2));
                insns.push(Insn::load_sx(Size::W, R2, FP, -8));
            }
            Feature::BoundedLoops => {
                insns.push(Insn::mov64(R2, 0));
                insns.push(Insn::alu64(AluOp::Add, R2, 1));
                insns.push(Insn::branch(Width::W64, Cond::Lt, R2, 8, -2));
            }
            // A distance of 0 is refused (kernel/bpf/verifier.c, `check_cond_jmp_op` of 6.12).
            Feature::MayGoto => {
                insns.push(Insn::may_goto(1));
                insns.push(Insn::mov64(R1, 0));
            }
            Feature::Subprograms => {
                subprogram = Some(insns.len());
                insns.push(Insn::call(Callee::Subprog(0)));
            }
            _ => {}
        }
    }
    insns.push(Insn::mov64(R0, 0));
    insns.push(Insn::exit());
    if let Some(call) = subprogram {
        insns[call] = Insn::call(Callee::Subprog((insns.len() - call - 1) as i32));
        insns.push(Insn::mov64(R0, 0));
        insns.push(Insn::exit());
    }
    encode(&insns, Endian::Little)
}

/// BTF with the kinds that `features` name.
pub(super) fn btf(features: &[Feature]) -> Option<Vec<u8>> {
    let mut builder = Builder::new();
    let int = builder.int("int", 4, IntEncoding::Signed);
    for feature in features {
        match feature {
            Feature::BtfFuncGlobal => {
                let proto = builder.func_proto(int, []);
                builder.func("f", proto, Linkage::Global);
            }
            Feature::BtfDatasec => {
                let type_id = builder.var("v", int, Linkage::Static);
                builder.datasec(".data", 4, [SectionVar { type_id, offset: 0, size: 4 }]);
            }
            Feature::BtfFloat => {
                builder.float("double", 8);
            }
            Feature::BtfDeclTag => {
                let name = builder.typedef("t", int);
                builder.decl_tag("tag", name, None);
            }
            Feature::BtfTypeTag => {
                let tagged = builder.type_tag("tag", int);
                builder.ptr(tagged);
            }
            Feature::BtfEnum64 => {
                builder.enumeration("e", 8, false, [("BIG", 1 << 40)]);
            }
            _ => {}
        }
    }
    builder.encode(Supported::ALL).ok().map(|Encoded { bytes, .. }| bytes)
}

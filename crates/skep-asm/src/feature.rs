//! What a kernel must have to know an instruction.

use crate::insn::Insn;
use crate::kind::{Callee, Kind};
use crate::op::{AluOp, Cond, SwapOp, Width, code};

macro_rules! features {
    ($($(#[doc = $doc:literal])* $variant:ident, $name:literal, $since:literal;)*) => {
        /// A part of the instruction set that not every kernel has.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum CpuFeature { $($(#[doc = $doc])* $variant,)* }

        impl CpuFeature {
            /// Every feature, in the order of the table.
            pub const ALL: &'static [CpuFeature] = &[$(CpuFeature::$variant),*];

            /// Name for messages.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(CpuFeature::$variant => $name,)* }
            }

            /// First mainline version, for messages only: distributions backport.
            #[must_use]
            pub const fn since(self) -> &'static str {
                match self { $(CpuFeature::$variant => $since,)* }
            }
        }
    };
}

features! {
    /// The first instruction set, 32-bit arithmetic included.
    V1, "v1", "3.18";
    /// The four "less" conditions.
    V2, "v2", "4.14";
    /// Calls between functions of a program.
    Subprogram, "subprogram", "4.16";
    /// Jumps that compare 32 bits.
    V3, "v3", "5.1";
    /// Addresses of array map values as constants.
    MapValue, "map_value", "5.2";
    /// Addresses of kernel variables as constants.
    KernelVariable, "kernel_variable", "5.10";
    /// Atomic operations other than plain addition.
    AtomicFetch, "atomic_fetch", "5.12";
    /// Addresses of functions of the program as constants.
    FunctionAddress, "function_address", "5.13";
    /// Calls of kernel functions.
    Kfunc, "kfunc", "5.13";
    /// Maps by their index in the descriptor array.
    FdArray, "fd_array", "5.14";
    /// Signed division, sign-extending loads and moves, unconditional byte swap, long jumps.
    V4, "v4", "6.6";
    /// `may_goto`.
    MayGoto, "may_goto", "6.9";
    /// Arena pointers.
    AddrSpaceCast, "addr_space_cast", "6.9";
    /// Load-acquire and store-release.
    AcquireRelease, "acquire_release", "6.15";
    /// Jumps to an address in a register.
    IndirectJump, "indirect_jump", "6.19";
}

impl Insn {
    /// The feature that the instruction needs; none if the kernel knows no such instruction.
    ///
    /// `nospec` is nobody's to use and has no feature either.
    #[must_use]
    pub fn feature(self) -> Option<CpuFeature> {
        Some(match self.kind().ok()? {
            Kind::Alu { op: AluOp::Sdiv | AluOp::Smod, .. } | Kind::MovSx { .. } => CpuFeature::V4,
            Kind::Swap { op: SwapOp::Bswap, .. }
            | Kind::Load { signed: true, .. }
            | Kind::Goto { long: true, .. } => CpuFeature::V4,
            Kind::AddrSpaceCast { .. } => CpuFeature::AddrSpaceCast,
            Kind::Atomic { op: crate::op::AtomicOp::Add, .. } => CpuFeature::V1,
            Kind::Atomic { .. } => CpuFeature::AtomicFetch,
            Kind::LoadAcquire { .. } | Kind::StoreRelease { .. } => CpuFeature::AcquireRelease,
            Kind::LoadImm { .. } => match self.src.number() {
                code::PSEUDO_MAP_VALUE => CpuFeature::MapValue,
                code::PSEUDO_BTF_ID => CpuFeature::KernelVariable,
                code::PSEUDO_FUNC => CpuFeature::FunctionAddress,
                code::PSEUDO_MAP_IDX | code::PSEUDO_MAP_IDX_VALUE => CpuFeature::FdArray,
                _ => CpuFeature::V1,
            },
            Kind::Branch { width: Width::W32, .. } => CpuFeature::V3,
            Kind::Branch { cond: Cond::Lt | Cond::Le | Cond::Slt | Cond::Sle, .. } => CpuFeature::V2,
            Kind::MayGoto { .. } => CpuFeature::MayGoto,
            Kind::GotoX { .. } => CpuFeature::IndirectJump,
            Kind::Call(Callee::Subprog(_)) => CpuFeature::Subprogram,
            Kind::Call(Callee::Kfunc { .. }) => CpuFeature::Kfunc,
            Kind::Nospec => return None,
            _ => CpuFeature::V1,
        })
    }
}

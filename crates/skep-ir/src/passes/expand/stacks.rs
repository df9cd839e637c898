//! Stacks: the frames go into a buffer, and from there, under their hash, into a map, once for each stack.

use super::Expander;
use crate::arith::{STACK_HASH_FACTOR, STACK_HASH_START};
use crate::func::{Inst, Value};
use crate::helpers as h;
use crate::inst::{BinOp, CmpOp, InstKind, Ledger, Target};
use crate::kernel::Feature;
use crate::module::MapId;
use crate::passes::rewrite::{Fate, Rewriter};
use crate::types::{PtrClass, Ty};

const BPF_F_USER_STACK: i64 = 1 << 8;
const BPF_F_USER_BUILD_ID: i64 = 1 << 11;
const EFAULT: i64 = -14;

/// Bytes of a frame, by address and by build id (`struct bpf_stack_build_id` of linux/bpf.h).
const FRAME: u32 = 8;
const BUILD_ID_FRAME: u32 = 32;

/// What is asked for, see [`InstKind::StackId`].
pub(super) struct Stack {
    pub(super) ctx: Value,
    pub(super) map: MapId,
    pub(super) user: bool,
    pub(super) build_id: bool,
    pub(super) depth: u32,
}

impl Expander<'_> {
    pub(super) fn stack_id(&mut self, rw: &mut Rewriter<'_>, inst: Inst, stack: &Stack) -> Fate {
        for feature in [Feature::GetStack, Feature::BoundedLoops] {
            if !self.kernel.has(feature) {
                self.lacks(rw.loc, feature, "a stack");
                return Fate::Kept;
            }
        }
        let map = stack.map;
        let frame = if stack.build_id { BUILD_ID_FRAME } else { FRAME };
        let room = self.module.maps[map].value_size;
        let len = (stack.depth * frame).min(room / frame * frame);
        let slot = rw.slot("stack", room.next_multiple_of(8), 8);
        let buf = rw.slot_addr(slot);
        // The element has no rest of another stack behind its last frame.
        rw.inst(InstKind::MemSet { dst: buf, byte: 0, len: room });
        let flags = if stack.user { BPF_F_USER_STACK } else { 0 };
        let flags = rw.i64(flags | if stack.build_id { BPF_F_USER_BUILD_ID } else { 0 });
        let size = rw.i64(i64::from(len));
        let got = rw.helper(h::GET_STACK, vec![stack.ctx, buf, size, flags]);

        let join = rw.join(inst);
        let (some, none) = (rw.block(), rw.cold_block());
        let any = rw.cmp_n(CmpOp::SGe, got, i64::from(frame));
        rw.cond_br(any, some, none);
        rw.switch_to(none);
        let error = rw.i64(EFAULT);
        rw.br_join(join, error);
        rw.switch_to(some);
        let got = rw.at_most(got, len);
        let id = hash(rw, buf, got, len);

        let key = rw.slot("stack id", 8, 8);
        let key = rw.slot_addr(key);
        rw.store(key, 0, id);
        let known = rw.value(InstKind::MapLookup { map, key }, Ty::nullable(PtrClass::MapValue(map)));
        let new = rw.block();
        let is_new = rw.is_null(known);
        let args = if rw.func.blocks[join].params.is_empty() { Vec::new() } else { vec![id] };
        rw.cond_br(is_new, new, Target { block: join, args: args.clone() });
        rw.switch_to(new);
        let code = rw.fixed(InstKind::MapUpdate { map, key, val: buf, flags: 0 });
        let lost = rw.cold_block();
        let failed = rw.cmp_n(CmpOp::SLt, code, 0);
        rw.cond_br(failed, lost, Target { block: join, args });
        rw.switch_to(lost);
        self.count(rw, Ledger::LostMap);
        rw.br_join(join, id);
        rw.switch_to(join);
        Fate::Replaced
    }
}

/// What [`crate::arith::stack_hash`] computes, over the first `bytes` of a buffer of `max`.
fn hash(rw: &mut Rewriter<'_>, buf: Value, bytes: Value, max: u32) -> Value {
    let head = rw.loop_head(max / 8);
    let done = rw.block();
    let (at, hash) = (rw.param(head, Ty::I64), rw.param(head, Ty::I64));
    let result = rw.param(done, Ty::I64);
    let (zero, start) = (rw.i64(0), rw.i64(STACK_HASH_START.cast_signed()));
    rw.br(head, vec![zero, start]);
    rw.switch_to(head);
    let from = rw.ptr_by(buf, at);
    let word = rw.load(from, 0, Ty::I64);
    let mixed = rw.bin(BinOp::Xor, hash, word);
    let mixed = rw.bin_n(BinOp::Mul, mixed, STACK_HASH_FACTOR.cast_signed());
    let (up, down) = (rw.bin_n(BinOp::Shl, mixed, 32), rw.bin_n(BinOp::LShr, mixed, 32));
    let mixed = rw.bin(BinOp::Or, up, down);
    let next = rw.bin_n(BinOp::Add, at, 8);
    // Some verifiers follow ways on which a number is more than it can be: the constant ends them.
    let left = rw.block();
    let end = Target { block: done, args: vec![mixed] };
    let more = rw.cmp_n(CmpOp::ULt, next, i64::from(max / 8 * 8));
    rw.cond_br(more, left, end.clone());
    rw.switch_to(left);
    let more = rw.cmp(CmpOp::ULt, next, bytes);
    rw.cond_br(more, Target { block: head, args: vec![next, mixed] }, end);
    rw.switch_to(done);
    // Never negative, so that errors can be told from it.
    rw.bin_n(BinOp::LShr, result, 1)
}

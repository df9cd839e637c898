//! Renumbering: what passes leave behind goes, and numbers follow the layout.

use crate::func::{Block, BlockData, Def, Func, InstData, Value, ValueData};
use crate::inst::InstKind;
use crate::types::Ty;
use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{EntityRef, PrimaryMap, SecondaryMap};

impl Func {
    /// Drops values, instructions and blocks that are no longer in the layout and numbers the others in its
    /// order. Slots stay as they are.
    ///
    /// A use of a value that nothing defines (which the checker refuses) becomes a use of a number past the
    /// last value, so that it stays wrong.
    pub fn compact(&mut self) {
        let mut blocks: SecondaryMap<Block, PackedOption<Block>> = SecondaryMap::new();
        for (place, &block) in self.layout.iter().enumerate() {
            blocks[block] = Block::new(place).into();
        }
        let mut new_values: PrimaryMap<Value, ValueData> = PrimaryMap::with_capacity(self.values.len());
        let mut values: SecondaryMap<Value, PackedOption<Value>> = SecondaryMap::new();
        let mut new_blocks: PrimaryMap<Block, BlockData> = PrimaryMap::with_capacity(self.layout.len());
        let mut new_insts = PrimaryMap::with_capacity(self.insts.len());
        let mut add_value = |old: Value, ty: Ty, def: Def| {
            let new = new_values.push(ValueData { ty, def });
            values[old] = new.into();
            new
        };
        for &block in &self.layout {
            let mut data = std::mem::take(&mut self.blocks[block]);
            let new_block = Block::new(new_blocks.len());
            for (place, param) in data.params.iter_mut().enumerate() {
                *param = add_value(*param, self.values[*param].ty, Def::Param(new_block, place as u32));
            }
            for inst in &mut data.insts {
                let InstData { kind, result, loc } = &mut self.insts[*inst];
                let kind = std::mem::replace(kind, InstKind::Unreachable);
                let new = new_insts.push(InstData { kind, result: PackedOption::default(), loc: *loc });
                if let Some(old) = result.expand() {
                    new_insts[new].result = add_value(old, self.values[old].ty, Def::Inst(new)).into();
                }
                *inst = new;
            }
            new_blocks.push(data);
        }
        let lost_value = Value::new(new_values.len());
        let lost_block = Block::new(new_blocks.len());
        for data in new_insts.values_mut() {
            data.kind.map_uses(|v| values[v].expand().unwrap_or(lost_value));
            for target in data.kind.targets_mut() {
                target.block = blocks[target.block].expand().unwrap_or(lost_block);
            }
        }
        self.layout = new_blocks.keys().collect();
        self.values = new_values;
        self.blocks = new_blocks;
        self.insts = new_insts;
    }
}

#[cfg(test)]
mod tests {
    use crate::func::{Func, FuncBuilder, Linkage};
    use crate::inst::{BinOp, InstKind};
    use crate::types::Ty;

    #[test]
    fn what_is_out_of_the_layout_goes_and_the_rest_is_in_order() {
        let mut func = Func::new("f", Linkage::Static, &[("x", Ty::I64)], Some(Ty::I64));
        let x = func.params()[0];
        let mut b = FuncBuilder::new(&mut func);
        let last = b.new_block();
        let middle = b.new_block();
        let gone = b.new_block();
        b.br(middle);
        b.switch_to(gone);
        b.i64(9);
        b.ret(None);
        b.switch_to(last);
        let y = b.bin(BinOp::Add, x, x);
        b.ret(Some(y));
        b.switch_to(middle);
        b.br(last);
        func.layout = vec![func.layout[0], middle, last];
        func.compact();
        assert_eq!((func.blocks.len(), func.insts.len(), func.values.len()), (3, 4, 2));
        let kinds: Vec<&InstKind> = func.insts.values().map(|i| &i.kind).collect();
        let blocks = &func.layout;
        assert_eq!(*kinds[0], InstKind::Br(blocks[1].into()));
        assert_eq!(*kinds[1], InstKind::Br(blocks[2].into()));
        let values: Vec<_> = func.values.keys().collect();
        assert_eq!(*kinds[2], InstKind::Bin(BinOp::Add, values[0], values[0]));
        assert_eq!(*kinds[3], InstKind::Ret(Some(values[1])));
        let once = func.clone();
        func.compact();
        assert_eq!(func, once);
    }
}

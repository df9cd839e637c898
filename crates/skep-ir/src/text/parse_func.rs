//! Functions from text: frame, blocks and numbering.

use super::lex::{Cursor, Fault, Parsed, Token};
use super::parse::named;
use super::parse_inst::instruction;
use super::print::STORAGES;
use super::symbols::Names;
use super::types::TypeParser;
use crate::func::{
    Block, BlockData, Def, Func, Linkage, LoopHead, Slot, SlotData, Storage, Value, ValueData,
};
use crate::types::Ty;
use cranelift_entity::PrimaryMap;
use std::collections::HashMap;

/// A function while it is parsed: values and blocks may be used before they are described.
pub(super) struct FuncParser<'p> {
    pub(super) names: &'p Names,
    pub(super) types: &'p mut TypeParser,
    pub(super) func: Func,
    values: HashMap<u32, Named<Value>>,
    blocks: HashMap<u32, Named<Block>>,
    slots: HashMap<String, Slot>,
}

/// Something that a number stands for: where it was first mentioned, and whether it was described.
struct Named<T> {
    id: T,
    at: usize,
    defined: bool,
}

/// `linkage fn @name(...) -> type captures [...] { ... }`, the linkage already read.
pub(super) fn function(
    c: &mut Cursor<'_>,
    linkage: Linkage,
    names: &Names,
    types: &mut TypeParser,
) -> Parsed<Func> {
    c.word("fn")?;
    let func = Func {
        name: named(c, '@')?,
        linkage,
        ret: None,
        param_names: Vec::new(),
        captures: Vec::new(),
        values: PrimaryMap::new(),
        insts: PrimaryMap::new(),
        blocks: PrimaryMap::new(),
        slots: PrimaryMap::new(),
        layout: Vec::new(),
        loc: None,
    };
    let (values, blocks, slots) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut p = FuncParser { names, types, func, values, blocks, slots };
    p.parse(c)?;
    p.func.compact();
    Ok(p.func)
}

impl FuncParser<'_> {
    fn parse(&mut self, c: &mut Cursor<'_>) -> Parsed<()> {
        let params = c.list("(", ")", |c| {
            let number = number(c, 'v', "a value like `v0`")?;
            let name = match c.peek().clone() {
                Token::Str(_) => c.string()?,
                Token::Word(w) => {
                    c.next();
                    w.to_owned()
                }
                _ => String::new(),
            };
            c.sign(":")?;
            Ok((number, name, self.types.value(c, self.names)?))
        })?;
        if c.eat("->") {
            self.func.ret = Some(self.types.value(c, self.names)?);
        }
        if c.eat_word("captures") {
            self.func.captures = c.list("[", "]", |c| self.types.value(c, self.names))?;
        }
        c.sign("{")?;
        self.slots(c)?;
        let mut current = None;
        while !c.eat("}") {
            if self.is_label(c) {
                current = Some(self.label(c, &params)?);
            } else if let Some(block) = current {
                self.line(c, block)?;
            } else {
                return c.expected("a block like `b0:`");
            }
        }
        if current.is_none() {
            return c.fault("the function has no block");
        }
        let lost =
            |what: char, n: u32, at| Err(Fault { at, message: format!("`{what}{n}` is described nowhere") });
        // The first mention in the text, so that the message does not depend on the order of a hash table.
        let value = self.values.iter().filter(|(_, v)| !v.defined).min_by_key(|(_, v)| v.at);
        if let Some((&n, v)) = value {
            return lost('v', n, v.at);
        }
        let block = self.blocks.iter().filter(|(_, b)| !b.defined).min_by_key(|(_, b)| b.at);
        block.map_or(Ok(()), |(&n, b)| lost('b', n, b.at))
    }

    fn slots(&mut self, c: &mut Cursor<'_>) -> Parsed<()> {
        while c.eat_word("slot") {
            let at = c.offset();
            let symbol = c.symbol('$', "a slot like `$key`")?;
            let name = if matches!(c.peek(), Token::Str(_)) { c.string()? } else { symbol.clone() };
            c.sign(":")?;
            let size = c.uint()?;
            c.word("align")?;
            let align = c.uint()?;
            let storage =
                STORAGES.iter().find(|(word, _)| c.eat_word(word)).map_or(Storage::Auto, |(_, s)| *s);
            let ty = if c.eat_word("type") { Some(self.types.memory(c)?) } else { None };
            let slot = self.func.slots.push(SlotData { name, size, align, storage, ty });
            if self.slots.insert(symbol.clone(), slot).is_some() {
                return Err(Fault { at, message: format!("a second slot `${symbol}`") });
            }
        }
        Ok(())
    }

    /// Whether a block begins here, and not an instruction with a result.
    fn is_label(&self, c: &Cursor<'_>) -> bool {
        matches!(c.peek(), Token::Word(w) if numbered(w, 'b').is_some())
    }

    fn label(&mut self, c: &mut Cursor<'_>, params: &[(u32, String, Ty)]) -> Parsed<Block> {
        let at = c.offset();
        let n = number(c, 'b', "a block")?;
        let block = self.block(n, at);
        match self.blocks.get_mut(&n) {
            Some(named) if !named.defined => named.defined = true,
            _ => return Err(Fault { at, message: format!("a second block `b{n}`") }),
        }
        if self.func.layout.is_empty() {
            for (n, name, ty) in params {
                self.param(block, *n, *ty, at)?;
                self.func.param_names.push(name.clone());
            }
        } else if matches!(c.peek(), Token::Sign("(")) {
            let params = c.list("(", ")", |c| {
                let at = c.offset();
                let n = number(c, 'v', "a value like `v0`")?;
                c.sign(":")?;
                Ok((n, at, self.types.value(c, self.names)?))
            })?;
            for (n, at, ty) in params {
                self.param(block, n, ty, at)?;
            }
        }
        self.func.layout.push(block);
        if c.eat_word("loop") {
            let bound = if matches!(c.peek(), Token::Int(_)) { Some(c.uint()?) } else { None };
            self.func.blocks[block].loop_head = Some(LoopHead { bound });
        }
        self.func.blocks[block].cold = c.eat_word("cold");
        c.sign(":")?;
        Ok(block)
    }

    fn param(&mut self, block: Block, n: u32, ty: Ty, at: usize) -> Parsed<()> {
        let place = self.func.blocks[block].params.len() as u32;
        let value = self.define(n, ty, Def::Param(block, place), at)?;
        self.func.blocks[block].params.push(value);
        Ok(())
    }

    fn line(&mut self, c: &mut Cursor<'_>, block: Block) -> Parsed<()> {
        let result = match c.peek() {
            Token::Word(w) if numbered(w, 'v').is_some() => {
                let at = c.offset();
                let n = number(c, 'v', "a value")?;
                c.sign(":")?;
                let ty = self.types.value(c, self.names)?;
                c.sign("=")?;
                Some((n, at, ty))
            }
            _ => None,
        };
        let kind = instruction(self, c)?;
        let inst = self.func.make_inst(kind, None, None);
        if let Some((n, at, ty)) = result {
            self.func.insts[inst].result = self.define(n, ty, Def::Inst(inst), at)?.into();
        }
        self.func.blocks[block].insts.push(inst);
        Ok(())
    }

    /// The value that a number stands for, here and later.
    fn mention(&mut self, n: u32, at: usize) -> Value {
        let values = &mut self.func.values;
        let mut nowhere = || values.push(ValueData { ty: Ty::I64, def: Def::Param(Block::from_u32(0), 0) });
        self.values.entry(n).or_insert_with(|| Named { id: nowhere(), at, defined: false }).id
    }

    fn define(&mut self, n: u32, ty: Ty, def: Def, at: usize) -> Parsed<Value> {
        let value = self.mention(n, at);
        match self.values.get_mut(&n) {
            Some(named) if !named.defined => named.defined = true,
            _ => return Err(Fault { at, message: format!("a second value `v{n}`") }),
        }
        self.func.values[value] = ValueData { ty, def };
        Ok(value)
    }

    fn block(&mut self, n: u32, at: usize) -> Block {
        let blocks = &mut self.func.blocks;
        let new = || Named { id: blocks.push(BlockData::default()), at, defined: false };
        self.blocks.entry(n).or_insert_with(new).id
    }

    /// A use of a value.
    pub(super) fn value(&mut self, c: &mut Cursor<'_>) -> Parsed<Value> {
        let at = c.offset();
        let n = number(c, 'v', "a value like `v0`")?;
        Ok(self.mention(n, at))
    }

    /// A use of a block.
    pub(super) fn block_use(&mut self, c: &mut Cursor<'_>) -> Parsed<Block> {
        let at = c.offset();
        let n = number(c, 'b', "a block like `b0`")?;
        Ok(self.block(n, at))
    }

    /// A use of a slot.
    pub(super) fn slot(&self, c: &mut Cursor<'_>) -> Parsed<Slot> {
        let at = c.offset();
        let symbol = c.symbol('$', "a slot like `$key`")?;
        match self.slots.get(&symbol) {
            Some(&slot) => Ok(slot),
            None => Err(Fault { at, message: format!("there is no slot `${symbol}`") }),
        }
    }
}

/// The number of `v12` or `b12`.
fn numbered(word: &str, letter: char) -> Option<u32> {
    let digits = word.strip_prefix(letter)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if plain { digits.parse().ok() } else { None }
}

fn number(c: &mut Cursor<'_>, letter: char, what: &str) -> Parsed<u32> {
    c.one_of(what, |w| numbered(w, letter))
}

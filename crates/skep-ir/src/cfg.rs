//! Control flow of a function: edges, order, dominators.

use crate::func::{Block, Func};
use crate::inst::InstKind;
use cranelift_entity::SecondaryMap;
use std::cell::OnceCell;

/// Number of a block that no path from the entry reaches.
const UNREACHED: u32 = u32::MAX;

/// What follows from the edges between the blocks of a function. It is a picture: a change of the edges
/// makes it stale.
#[derive(Debug, Clone, Default)]
pub struct Cfg {
    /// Reachable blocks in reverse postorder; the entry is first.
    order: Vec<Block>,
    /// Predecessors, those of one block after the other, and where each block's are.
    preds: Vec<Block>,
    pred_spans: SecondaryMap<Block, (u32, u32)>,
    /// Number of a block in a depth-first walk from the entry, and the blocks by number.
    number: SecondaryMap<Block, u32>,
    blocks: Vec<Block>,
    /// The block from which the walk came to each block, number to number.
    parent: Vec<u32>,
    /// Places in `order` by number.
    places: Vec<u32>,
    /// Found when first asked for: most passes do not.
    dominators: OnceCell<Dominators>,
}

#[derive(Debug, Clone)]
struct Dominators {
    /// Immediate dominator, number to number; the entry's is itself.
    idom: Vec<u32>,
    /// Interval of a walk over the dominator tree, by number: a block dominates those inside its own.
    spans: Vec<(u32, u32)>,
}

impl Cfg {
    /// Looks at the edges of a function. A block without an end counts as leaving it; jumps to blocks that do
    /// not exist are ignored.
    #[must_use]
    pub fn new(func: &Func) -> Self {
        let mut cfg = Cfg { number: SecondaryMap::with_default(UNREACHED), ..Cfg::default() };
        let Some(&entry) = func.layout.first() else { return cfg };
        let end = |block: Block| func.terminator(block).map(|end| &func.insts[end].kind);
        let count = |block: Block| end(block).map_or(0, InstKind::target_count);
        cfg.number.resize(func.blocks.len());
        cfg.number[entry] = 0;
        cfg.blocks.push(entry);
        cfg.parent.push(0);
        // Edges as they are met: to, from.
        let mut edges: Vec<(Block, Block)> = Vec::new();
        let mut stack = vec![(entry, count(entry))];
        while let Some((block, rest)) = stack.last_mut() {
            let block = *block;
            // Successors are visited last to first, so that the first stands next to the block in the order.
            let Some(place) = rest.checked_sub(1) else {
                cfg.order.push(block);
                stack.pop();
                continue;
            };
            *rest = place;
            let Some(next) = end(block).and_then(|kind| kind.target(place)).map(|t| t.block) else {
                continue;
            };
            if !func.blocks.is_valid(next) {
                continue;
            }
            edges.push((next, block));
            if cfg.number[next] == UNREACHED {
                cfg.number[next] = cfg.blocks.len() as u32;
                cfg.blocks.push(next);
                cfg.parent.push(cfg.number[block]);
                stack.push((next, count(next)));
            }
        }
        cfg.order.reverse();
        cfg.places = vec![0; cfg.blocks.len()];
        for (place, &block) in cfg.order.iter().enumerate() {
            cfg.places[cfg.number[block] as usize] = place as u32;
        }
        cfg.sort_edges(func, &edges);
        cfg
    }

    /// Puts the predecessors of each block together, in the order in which their edges were met.
    fn sort_edges(&mut self, func: &Func, edges: &[(Block, Block)]) {
        self.pred_spans.resize(func.blocks.len());
        for &(to, _) in edges {
            self.pred_spans[to].1 += 1;
        }
        let mut sum = 0;
        for &block in &self.blocks {
            let span = &mut self.pred_spans[block];
            let many = span.1;
            *span = (sum, sum);
            sum += many;
        }
        self.preds = self.blocks.first().map_or_else(Vec::new, |&entry| vec![entry; edges.len()]);
        for &(to, from) in edges {
            let span = &mut self.pred_spans[to];
            self.preds[span.1 as usize] = from;
            span.1 += 1;
        }
    }

    fn dominators(&self) -> &Dominators {
        self.dominators.get_or_init(|| self.find_dominators())
    }

    /// Immediate dominators by semidominators (Georgiadis, "Linear-Time Algorithms for Dominators", the
    /// Semi-NCA variant): near-linear also where thousands of blocks jump to one exit.
    fn find_dominators(&self) -> Dominators {
        let n = self.parent.len();
        let mut semi: Vec<u32> = (0..n as u32).collect();
        let mut label = semi.clone();
        let mut ancestor = self.parent.clone();
        let mut path = Vec::new();
        for v in (1..n).rev() {
            let mut least = self.parent[v];
            for &pred in self.preds(self.blocks[v]) {
                let pred = self.number[pred];
                let best = evaluate(pred, v as u32 + 1, &mut ancestor, &mut label, &semi, &mut path);
                least = least.min(semi[best as usize]);
            }
            semi[v] = least;
        }
        let mut idom = self.parent.clone();
        for (v, &semi) in semi.iter().enumerate().skip(1) {
            while idom[v] > semi {
                idom[v] = idom[idom[v] as usize];
            }
        }
        // Dominators have lower numbers than what they dominate, so sizes add up from the end.
        let mut size = vec![1u32; n];
        for v in (1..n).rev() {
            size[idom[v] as usize] += size[v];
        }
        let mut next = vec![1u32; n];
        let mut spans = vec![(0, n as u32); n];
        for v in 1..n {
            let above = idom[v] as usize;
            let enter = next[above];
            next[above] += size[v];
            next[v] = enter + 1;
            spans[v] = (enter, enter + size[v]);
        }
        Dominators { idom, spans }
    }

    /// Reachable blocks in reverse postorder: a block comes after all blocks that reach it without a jump
    /// backwards.
    #[must_use]
    pub fn order(&self) -> &[Block] {
        &self.order
    }

    /// The reachable blocks that jump to a block, one entry for each edge.
    #[must_use]
    pub fn preds(&self, block: Block) -> &[Block] {
        let (from, to) = self.pred_spans[block];
        &self.preds[from as usize..to as usize]
    }

    /// Whether a path leads from the entry to the block.
    #[must_use]
    pub fn is_reachable(&self, block: Block) -> bool {
        self.number[block] != UNREACHED
    }

    /// Place of a reachable block in [`Cfg::order`].
    #[must_use]
    pub fn place(&self, block: Block) -> Option<u32> {
        self.places.get(self.number[block] as usize).copied()
    }

    /// The last block, other than itself, through which every path to a block leads. None for the entry and
    /// for blocks that are not reached.
    #[must_use]
    pub fn idom(&self, block: Block) -> Option<Block> {
        match self.number[block] {
            0 | UNREACHED => None,
            n => Some(self.blocks[self.dominators().idom[n as usize] as usize]),
        }
    }

    /// Whether every path to `b` leads through `a`; a block dominates itself. False if either is unreachable.
    #[must_use]
    pub fn dominates(&self, a: Block, b: Block) -> bool {
        if !self.is_reachable(a) || !self.is_reachable(b) {
            return false;
        }
        if a == b {
            return true;
        }
        let spans = &self.dominators().spans;
        let (enter, leave) = spans[self.number[a] as usize];
        let inner = spans[self.number[b] as usize].0;
        (enter..leave).contains(&inner)
    }
}

/// The vertex of least semidominator on the path from `v` up to the vertices that are not linked yet (those
/// below `last`), with path compression.
fn evaluate(
    v: u32,
    last: u32,
    ancestor: &mut [u32],
    label: &mut [u32],
    semi: &[u32],
    path: &mut Vec<u32>,
) -> u32 {
    if v < last {
        return v;
    }
    let mut top = v;
    while ancestor[top as usize] >= last {
        path.push(top);
        top = ancestor[top as usize];
    }
    while let Some(x) = path.pop() {
        ancestor[x as usize] = ancestor[top as usize];
        if semi[label[top as usize] as usize] < semi[label[x as usize] as usize] {
            label[x as usize] = label[top as usize];
        }
        top = x;
    }
    label[v as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::func::{FuncBuilder, Linkage};
    use crate::inst::InstKind;
    use crate::types::Ty;
    use std::collections::HashSet;

    /// A function whose block `i` jumps to the given blocks.
    fn graph(edges: &[&[usize]]) -> (Func, Vec<Block>) {
        let mut func = Func::new("f", Linkage::Static, &[("c", Ty::I64)], None);
        let mut blocks = vec![func.entry()];
        blocks.extend((1..edges.len()).map(|_| func.add_block()));
        let c = func.params()[0];
        let mut b = FuncBuilder::new(&mut func);
        for (i, to) in edges.iter().enumerate() {
            b.switch_to(blocks[i]);
            match to {
                [] => b.ret(None),
                [rest @ .., last] => {
                    let cases = rest.iter().enumerate().map(|(n, &t)| (n as i64, blocks[t].into())).collect();
                    b.inst(InstKind::Switch { val: c, cases, default: blocks[*last].into() }, None);
                }
            }
        }
        (func, blocks)
    }

    /// Dominance by its definition: `a` dominates `b` if `b` is not reached when `a` is taken out.
    fn reached_without(edges: &[&[usize]], out: Option<usize>) -> HashSet<usize> {
        let mut seen = HashSet::new();
        let mut todo = vec![0];
        while let Some(b) = todo.pop() {
            if Some(b) != out && seen.insert(b) {
                todo.extend(edges[b]);
            }
        }
        seen
    }

    fn compare(edges: &[&[usize]]) {
        let (func, blocks) = graph(edges);
        let cfg = Cfg::new(&func);
        let reached = reached_without(edges, None);
        for b in 0..edges.len() {
            assert_eq!(cfg.is_reachable(blocks[b]), reached.contains(&b));
            for a in 0..edges.len() {
                let expected = reached.contains(&a)
                    && reached.contains(&b)
                    && (a == b || !reached_without(edges, Some(a)).contains(&b));
                assert_eq!(cfg.dominates(blocks[a], blocks[b]), expected, "{a} {b} {edges:?}");
            }
        }
        assert_eq!(cfg.order().len(), reached.len());
        assert_eq!(cfg.order()[0], blocks[0]);
    }

    #[test]
    fn dominators_are_those_of_the_definition() {
        compare(&[&[]]);
        compare(&[&[1, 2], &[3], &[3], &[]]);
        compare(&[&[1, 2], &[2], &[1, 3], &[], &[3]]);
        compare(&[&[1], &[2, 4], &[3], &[1, 2], &[0]]);
        // Every graph of a pseudo-random family, irreducible ones among them.
        let mut seed = 1u32;
        for _ in 0..300 {
            let lists: Vec<Vec<usize>> = (0..9)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (0..seed >> 30).map(|k| (seed >> (4 + 6 * k)) as usize % 9).collect()
                })
                .collect();
            compare(&lists.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_thousand_jumps_to_one_exit_stay_cheap() {
        let n = 20_000;
        let lists: Vec<Vec<usize>> =
            (0..n).map(|i| if i + 2 < n { vec![n - 1, i + 1] } else { vec![] }).collect();
        let (func, blocks) = graph(&lists.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let cfg = Cfg::new(&func);
        assert_eq!(cfg.idom(blocks[n - 1]), Some(blocks[0]));
        assert_eq!(cfg.preds(blocks[n - 1]).len(), n - 2);
    }
}

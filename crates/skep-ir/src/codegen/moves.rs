//! Moves that happen at once, as a sequence.

use skep_asm::Reg;

/// A step of the sequence.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Register to register.
    Move(Reg, Reg),
    /// Register to the temporary.
    Save(Reg),
    /// Temporary to a register.
    Restore(Reg),
}

/// Orders moves `(to, from)`, each destination named once, so that no source is overwritten before it is
/// read. A cycle goes through a temporary that is neither source nor destination.
pub(super) fn sequence(moves: &[(Reg, Reg)]) -> Vec<Step> {
    let mut pending: Vec<(Reg, Reg)> = moves.iter().copied().filter(|(to, from)| to != from).collect();
    let mut out = Vec::with_capacity(pending.len());
    while !pending.is_empty() {
        let ready = pending.iter().position(|&(to, _)| !pending.iter().any(|&(_, from)| from == to));
        if let Some(ready) = ready {
            let (to, from) = pending.swap_remove(ready);
            out.push(Step::Move(to, from));
            continue;
        }
        // Only cycles are left: free one destination by saving what it holds.
        let (to, from) = pending.swap_remove(0);
        out.push(Step::Save(to));
        out.push(Step::Move(to, from));
        // Whoever wants the old contents of `to` ends that cycle; the rest of it can be ordered now.
        let mut cycle = from;
        while let Some(at) = pending.iter().position(|&(t, _)| t == cycle) {
            let (t, f) = pending.swap_remove(at);
            if f == to {
                out.push(Step::Restore(t));
            } else {
                out.push(Step::Move(t, f));
            }
            cycle = f;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(moves: &[(u8, u8)]) {
        let reg = |n: u8| Reg::new(n).expect("a register number below 11");
        let mut state: Vec<u32> = (0..11).collect();
        let mut temp = 99;
        for step in sequence(&moves.iter().map(|&(to, from)| (reg(to), reg(from))).collect::<Vec<_>>()) {
            match step {
                Step::Move(to, from) => state[to.number() as usize] = state[from.number() as usize],
                Step::Save(from) => temp = state[from.number() as usize],
                Step::Restore(to) => state[to.number() as usize] = temp,
            }
        }
        for &(to, from) in moves {
            assert_eq!(state[to as usize], u32::from(from), "{moves:?}");
        }
    }

    #[test]
    fn chains_cycles_and_fans() {
        run(&[(1, 2), (2, 3), (3, 4)]);
        run(&[(1, 2), (2, 1)]);
        run(&[(1, 2), (2, 3), (3, 1), (4, 5), (5, 4)]);
        run(&[(1, 2), (2, 1), (3, 1), (4, 3)]);
        run(&[(1, 6), (2, 6), (3, 6)]);
        run(&[(1, 1)]);
    }

    #[test]
    fn every_permutation_of_five() {
        let mut items = [1u8, 2, 3, 4, 5];
        permute(&mut items, 0);
    }

    fn permute(items: &mut [u8; 5], k: usize) {
        if k == items.len() {
            return run(&(1..).zip(items.iter().copied()).collect::<Vec<_>>());
        }
        for i in k..items.len() {
            items.swap(k, i);
            permute(items, k + 1);
            items.swap(k, i);
        }
    }
}

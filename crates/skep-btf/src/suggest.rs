//! Near names: what somebody may have meant.

use crate::{Btf, KindMask, TypeId};

/// Longest name that near names are looked for.
const MAX_LEN: usize = 64;

impl Btf {
    /// Names of types like a name, nearest first.
    #[must_use]
    pub fn similar_types(&self, name: &str, kinds: KindMask, most: usize) -> Vec<&str> {
        similar(name, self.named(kinds).map(|(_, name)| name), most)
    }

    /// Names of fields of a struct or union like a name, nearest first.
    #[must_use]
    pub fn similar_fields(&self, id: TypeId, name: &str, most: usize) -> Vec<&str> {
        similar(name, self.fields(id).map(|f| f.member.name()), most)
    }
}

/// The candidates that differ from a name by a few slips of the keyboard, nearest first, each once.
///
/// A third of the letters may be wrong, three at most; a letter too many, too few, wrong, or swapped with its
/// neighbour counts as one. Differences of case alone count nothing.
pub fn similar<'a>(name: &str, candidates: impl Iterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let mut near: Vec<(usize, &str)> = Vec::new();
    if name.is_empty() || name.len() > MAX_LEN || most == 0 {
        return Vec::new();
    }
    let mut limit = (name.len() / 3).clamp(1, 3);
    for candidate in candidates {
        let Some(distance) = distance(name.as_bytes(), candidate.as_bytes(), limit) else { continue };
        if near.iter().any(|&(_, have)| have == candidate) {
            continue;
        }
        let at = near.partition_point(|&(d, have)| (d, have) < (distance, candidate));
        near.insert(at, (distance, candidate));
        if near.len() > most {
            near.pop();
            // Nothing farther than the last one can get in any more.
            limit = near.last().map_or(limit, |&(d, _)| d);
        }
    }
    near.into_iter().map(|(_, name)| name).collect()
}

/// Edits between two names, swaps of neighbours counted as one; `None` if more than `limit`.
fn distance(a: &[u8], b: &[u8], limit: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > limit || b.is_empty() || b.len() > MAX_LEN {
        return None;
    }
    // Rows for the prefixes of `a` of i-2, i-1 and i bytes.
    let mut rows = [[0usize; MAX_LEN + 1]; 3];
    for (j, cell) in rows[0].iter_mut().enumerate().take(b.len() + 1) {
        *cell = j;
    }
    let (mut before, mut above, mut row) = (2, 0, 1);
    for i in 1..=a.len() {
        rows[row][0] = i;
        let mut least = i;
        for j in 1..=b.len() {
            let same = a[i - 1].eq_ignore_ascii_case(&b[j - 1]);
            let mut edits = rows[above][j - 1] + usize::from(!same);
            edits = edits.min(rows[above][j] + 1).min(rows[row][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                edits = edits.min(rows[before][j - 2] + 1);
            }
            rows[row][j] = edits;
            least = least.min(edits);
        }
        if least > limit {
            return None;
        }
        (before, above, row) = (above, row, before);
    }
    Some(rows[above][b.len()]).filter(|&d| d <= limit)
}

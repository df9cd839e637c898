//! Names that are nearly right.

/// The candidate nearest to a name, if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.len() / 4).clamp(1, 3);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let limit = best.map_or(most, |(d, _)| d.saturating_sub(1));
        if candidate != name
            && let Some(distance) = distance(name, candidate, limit)
        {
            best = Some((distance, candidate));
            if distance == 0 {
                break;
            }
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Number of insertions, removals, replacements and swaps of neighbours that lead from one name to the other;
/// `None` above a limit. Differences of case count as nothing.
fn distance(a: &str, b: &str, limit: usize) -> Option<usize> {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > limit || a.len() > 256 {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let same = x.eq_ignore_ascii_case(y);
            let mut cost = (last[j] + usize::from(!same)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        if row.iter().all(|&c| c > limit) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|&d| d <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["sys_enter_open", "sys_enter_openat", "sched_switch"];
        let near = |name| nearest(name, names.into_iter());
        assert_eq!(near("sys_enter_opn"), Some("sys_enter_open"));
        assert_eq!(near("sys_enter_opneat"), Some("sys_enter_openat"));
        assert_eq!(near("shced_switch"), Some("sched_switch"));
        assert_eq!(near("nonsense"), None);
        assert_eq!(nearest("x", ["y"].into_iter()), Some("y"));
        assert_eq!(nearest("Pid", ["pid"].into_iter()), Some("pid"));
    }
}

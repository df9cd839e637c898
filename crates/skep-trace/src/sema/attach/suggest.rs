//! Names that are nearly right.

/// The candidate nearest to a name, if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Every name is like a name of one or two letters.
    if name.len() < 3 {
        return None;
    }
    skep_btf::similar(name, candidates.filter(|c| *c != name), 1).pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["sys_enter_open", "sys_enter_openat", "sched_switch"];
        let near = |name| nearest(name, names.into_iter());
        assert_eq!(near("sys_enter_opn"), Some("sys_enter_open"));
        assert_eq!(near("shced_switch"), Some("sched_switch"));
        assert_eq!(near("sched_switch"), None);
        assert_eq!(near("nonsense"), None);
    }
}

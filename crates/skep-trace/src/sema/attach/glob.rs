//! Wildcards of attach points: `*`, `?` and `[...]`.

/// Whether a text holds a wildcard.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a name matches a pattern as a whole. A bracket that is never closed stands for itself.
///
/// Takes time proportional to the product of both lengths at worst: only the last `*` is ever gone back to.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => match class(&pattern[p..]) {
                Some((set, len)) => in_class(set, name[n]).then_some(len),
                None => (name[n] == b'[').then_some(1),
            },
            Some(&c) => (c == name[n]).then_some(1),
            None => None,
        };
        match (step, star) {
            (Some(len), _) => {
                p += len;
                n += 1;
            }
            (None, Some((after, at))) => {
                p = after;
                n = at + 1;
                star = Some((after, at + 1));
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

/// The inside of a bracket expression at the start of a pattern, and the length of the whole.
fn class(pattern: &[u8]) -> Option<(&[u8], usize)> {
    // A bracket right behind the opening one (or behind its negation) belongs to the set.
    let first = if matches!(pattern.get(1), Some(b'!' | b'^')) { 3 } else { 2 };
    let end = first + pattern.get(first..)?.iter().position(|&c| c == b']')?;
    Some((&pattern[1..end], end + 1))
}

fn in_class(set: &[u8], c: u8) -> bool {
    let (negated, set) = match set {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut found = false;
    let mut i = 0;
    while i < set.len() {
        match set[i..] {
            [low, b'-', high, ..] => {
                found |= (low..=high).contains(&c);
                i += 3;
            }
            [one, ..] => {
                found |= one == c;
                i += 1;
            }
            [] => break,
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("a*", "a", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("*_read*", "ksys_read", true),
            ("?b", "ab", true),
            ("?b", "b", false),
            ("[ab]c", "bc", true),
            ("[!ab]c", "bc", false),
            ("[a-d]c", "dc", true),
            ("[]]", "]", true),
            ("[x", "[x", true),
            ("a", "ab", false),
            ("", "", true),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_stay_fast() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!matches(&pattern, &"a".repeat(20_000)));
    }
}

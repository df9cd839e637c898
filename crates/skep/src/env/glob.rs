//! Shell patterns for paths.

/// Whether a name has characters of patterns.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a whole name fits a pattern of `*`, `?` and `[a-z]`, `[!a-z]`.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on after a mismatch: behind the last `*`, which then covers one byte more.
    let mut retry = None;
    loop {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
                continue;
            }
            None if n == name.len() => return true,
            Some(_) if n < name.len() => one(&pattern[p..], name[n]),
            _ => None,
        };
        match (step, retry) {
            (Some(len), _) => {
                p += len;
                n += 1;
            }
            (None, Some((behind, from))) if from < name.len() => {
                retry = Some((behind, from + 1));
                p = behind;
                n = from + 1;
            }
            _ => return false,
        }
    }
}

/// Length of the first element of a pattern if a byte fits it.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().skip(1).position(|b| *b == b']').map(|i| i + 1) else {
                return (byte == b'[').then_some(1);
            };
            let (negated, set) = match &rest[..end] {
                [b'!' | b'^', set @ ..] => (true, set),
                set => (false, set),
            };
            let mut found = false;
            let mut i = 0;
            while i < set.len() {
                let range = (set.get(i + 1) == Some(&b'-')).then(|| set.get(i + 2)).flatten();
                found |= match range {
                    Some(&to) => (set[i]..=to).contains(&byte),
                    None => set[i] == byte,
                };
                i += if range.is_some() { 3 } else { 1 };
            }
            (found != negated).then_some(end + 2)
        }
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn patterns() {
        let yes = [
            ("*", ""),
            ("a*c", "abbc"),
            ("*.so*", "libc.so.6"),
            ("l?b", "lib"),
            ("[a-c]x", "bx"),
            ("[!a]x", "bx"),
        ];
        let no = [("a*c", "ab"), ("?", ""), ("[a-c]x", "dx"), ("[!a]x", "ax"), ("lib", "libc"), ("[]", "]")];
        for (pattern, name) in yes {
            assert!(super::matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in no {
            assert!(!super::matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }
}

//! Names of arithmetic types.

use super::super::ast::CType;

fn int(bytes: u32, signed: bool) -> CType {
    CType::Int { bytes, signed }
}

/// Types that every header of the kernel or of a C library defines alike on 64-bit systems. They are known
/// here so that a struct needs no header and no kernel types.
pub(super) fn known_typedef(name: &str) -> Option<CType> {
    Some(match name {
        "u8" | "__u8" | "uint8_t" | "u_int8_t" | "unchar" | "u_char" => int(1, false),
        "u16" | "__u16" | "uint16_t" | "u_int16_t" | "ushort" | "u_short" => int(2, false),
        "u32" | "__u32" | "uint32_t" | "u_int32_t" | "uint" | "u_int" | "uid_t" | "gid_t" => int(4, false),
        "u64" | "__u64" | "uint64_t" | "u_int64_t" | "ulong" | "u_long" | "size_t" | "uintptr_t" => {
            int(8, false)
        }
        "s8" | "__s8" | "int8_t" => int(1, true),
        "s16" | "__s16" | "int16_t" => int(2, true),
        "s32" | "__s32" | "int32_t" | "pid_t" => int(4, true),
        "s64" | "__s64" | "int64_t" | "ssize_t" | "ptrdiff_t" | "intptr_t" | "loff_t" => int(8, true),
        _ => return None,
    })
}

/// Words of an arithmetic type, which may stand in any order.
#[derive(Default)]
pub(super) struct Words {
    signed: u32,
    unsigned: u32,
    short: u32,
    long: u32,
    base: Option<&'static str>,
    any: bool,
}

impl Words {
    /// Takes a word; false if it is none of these or does not fit to the others.
    pub(super) fn take(&mut self, word: &str) -> bool {
        const BASES: &[&str] = &["char", "int", "float", "double", "void", "_Bool", "bool"];
        match word {
            "signed" | "__signed__" | "__signed" => self.signed += 1,
            "unsigned" => self.unsigned += 1,
            "short" => self.short += 1,
            "long" => self.long += 1,
            _ => match BASES.iter().find(|b| **b == word) {
                Some(base) if self.base.is_none() => self.base = Some(base),
                _ => return false,
            },
        }
        self.any = true;
        true
    }

    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// The type; `None` if the words do not go together.
    pub(super) fn ty(&self) -> Option<CType> {
        let signs = self.signed + self.unsigned;
        let plain = signs == 0 && self.short == 0;
        if signs > 1 || self.short > 1 || self.long > 2 || (self.short > 0 && self.long > 0) {
            return None;
        }
        Some(match self.base {
            Some("void") if plain && self.long == 0 => CType::Void,
            Some("_Bool" | "bool") if plain && self.long == 0 => CType::Bool,
            Some("float") if plain && self.long == 0 => CType::Float(4),
            Some("double") if plain && self.long < 2 => CType::Float(if self.long == 1 { 16 } else { 8 }),
            Some("char") if self.short == 0 && self.long == 0 => int(1, self.unsigned == 0),
            Some("int") | None => {
                let bytes = match (self.short, self.long) {
                    (1, _) => 2,
                    (_, 0) => 4,
                    _ => 8,
                };
                int(bytes, self.unsigned == 0)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_any_order() {
        let ty = |text: &str| {
            let mut words = Words::default();
            text.split(' ').all(|w| words.take(w)).then(|| words.ty()).flatten()
        };
        assert_eq!(ty("long unsigned int long"), Some(int(8, false)));
        assert_eq!(ty("short"), Some(int(2, true)));
        assert_eq!(ty("unsigned"), Some(int(4, false)));
        assert_eq!(ty("char"), Some(int(1, true)));
        assert_eq!(ty("unsigned char"), Some(int(1, false)));
        assert_eq!(ty("long double"), Some(CType::Float(16)));
        assert_eq!(ty("long long long"), None);
        assert_eq!(ty("unsigned float"), None);
        assert_eq!(ty("int int"), None);
        assert_eq!(ty("short long"), None);
    }
}

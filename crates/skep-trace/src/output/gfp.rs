//! Flags of the kernel's page allocator.

use super::host::Resolver;
use super::number;

/// Names of single flags, and the bits that they had before they became an enumeration in the kernel's types
/// (`include/linux/gfp_types.h`).
const BITS: &[(&str, u32)] = &[
    ("DMA", 0),
    ("HIGHMEM", 1),
    ("DMA32", 2),
    ("MOVABLE", 3),
    ("RECLAIMABLE", 4),
    ("HIGH", 5),
    ("IO", 6),
    ("FS", 7),
    ("ZERO", 8),
    ("ATOMIC", 9),
    ("DIRECT_RECLAIM", 10),
    ("KSWAPD_RECLAIM", 11),
    ("WRITE", 12),
    ("NOWARN", 13),
    ("RETRY_MAYFAIL", 14),
    ("NOFAIL", 15),
    ("NORETRY", 16),
    ("MEMALLOC", 17),
    ("COMP", 18),
    ("NOMEMALLOC", 19),
    ("HARDWALL", 20),
    ("THISNODE", 21),
    ("ACCOUNT", 22),
    ("ZEROTAGS", 23),
];

/// Flags that only kernels with an enumeration tell the bits of.
const NEWER: &[&str] = &["SKIP_ZERO", "SKIP_KASAN", "NOLOCKDEP", "NO_OBJ_EXT"];

/// Names of combinations in the order in which they are looked for, with the names of their flags.
const COMBINED: &[(&str, &[&str])] = &[
    ("GFP_TRANSHUGE", &["#HIGHUSER_MOVABLE", "COMP", "NOMEMALLOC", "NOWARN", "-KSWAPD_RECLAIM"]),
    (
        "GFP_TRANSHUGE_LIGHT",
        &["#HIGHUSER_MOVABLE", "COMP", "NOMEMALLOC", "NOWARN", "-KSWAPD_RECLAIM", "-DIRECT_RECLAIM"],
    ),
    ("GFP_HIGHUSER_MOVABLE", &["#HIGHUSER_MOVABLE"]),
    ("GFP_HIGHUSER", &["#USER", "HIGHMEM"]),
    ("GFP_USER", &["#USER"]),
    ("GFP_KERNEL_ACCOUNT", &["#KERNEL", "ACCOUNT"]),
    ("GFP_KERNEL", &["#KERNEL"]),
    ("GFP_NOFS", &["DIRECT_RECLAIM", "KSWAPD_RECLAIM", "IO"]),
    ("GFP_ATOMIC", &["HIGH", "KSWAPD_RECLAIM", "ATOMIC"]),
    ("GFP_ATOMIC", &["HIGH", "KSWAPD_RECLAIM"]),
    ("GFP_NOIO", &["DIRECT_RECLAIM", "KSWAPD_RECLAIM"]),
    ("GFP_NOWAIT", &["KSWAPD_RECLAIM", "+NOWARN"]),
    ("GFP_DMA", &["DMA"]),
];

/// What a `#` stands for.
const SHARED: &[(&str, &[&str])] = &[
    ("KERNEL", &["DIRECT_RECLAIM", "KSWAPD_RECLAIM", "IO", "FS"]),
    ("USER", &["DIRECT_RECLAIM", "KSWAPD_RECLAIM", "IO", "FS", "HARDWALL"]),
    (
        "HIGHUSER_MOVABLE",
        &["DIRECT_RECLAIM", "KSWAPD_RECLAIM", "IO", "FS", "HARDWALL", "HIGHMEM", "MOVABLE", "?SKIP_KASAN"],
    ),
];

/// The running kernel's flags.
pub(super) struct Flags {
    /// Masks and names, combinations first.
    names: Vec<(u64, String)>,
}

impl Flags {
    /// Asks for their bits.
    pub(super) fn new(names: &mut dyn Resolver) -> Flags {
        let enumerated = names.gfp_bit("DMA").is_some();
        let mut singles: Vec<(&str, u32)> = Vec::new();
        for &(name, bit) in BITS {
            let bit = if enumerated { names.gfp_bit(name) } else { Some(bit) };
            singles.extend(bit.map(|bit| (name, bit)));
        }
        if enumerated {
            singles.extend(NEWER.iter().filter_map(|name| Some((*name, names.gfp_bit(name)?))));
        }
        singles.retain(|(_, bit)| *bit < 64);
        let mask = |name: &str| singles.iter().find(|(n, _)| *n == name).map(|(_, bit)| 1_u64 << bit);
        let mut out = Vec::new();
        for (name, parts) in COMBINED {
            out.extend(combine(parts, enumerated, &mask).map(|mask| (mask, (*name).to_owned())));
        }
        out.extend(singles.iter().map(|(name, bit)| (1 << bit, format!("__GFP_{name}"))));
        Flags { names: out }
    }

    /// Names of flags with `|` between them; what has no name is in hexadecimal.
    pub(super) fn write(&self, out: &mut Vec<u8>, mut flags: u64) {
        let start = out.len();
        let separate = |out: &mut Vec<u8>| {
            if out.len() > start {
                out.push(b'|');
            }
        };
        for (mask, name) in &self.names {
            if flags & mask == *mask {
                separate(out);
                out.extend_from_slice(name.as_bytes());
                flags &= !mask;
            }
        }
        if flags != 0 {
            separate(out);
            out.extend_from_slice(b"0x");
            number::hex(out, flags);
        } else if out.len() == start {
            out.push(b'0');
        }
    }
}

/// The mask of a combination; `None` if the kernel lacks one of its flags.
///
/// `#` stands for the flags of a shared part, `-` takes a flag away, `?` is a flag that may be missing, and `+`
/// one that belongs to the combination only where flags are an enumeration.
fn combine(parts: &[&str], enumerated: bool, mask: &impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let mut all = 0;
    for part in parts {
        let (sign, name) = part.split_at(usize::from(part.starts_with(['#', '-', '?', '+'])));
        match sign {
            "#" => {
                let (_, parts) = SHARED.iter().find(|(n, _)| *n == name)?;
                all |= combine(parts, enumerated, mask)?;
            }
            "-" => all &= !mask(name)?,
            "?" => all |= mask(name).unwrap_or(0),
            "+" => all |= mask(name).filter(|_| enumerated).unwrap_or(0),
            _ => all |= mask(name)?,
        }
    }
    Some(all)
}

//! Registers and sets of them.

use std::fmt;

/// A register field of an instruction: four bits.
///
/// The machine has the registers 0 to 10. The field can hold five more values, which only foreign bytes
/// contain ([`is_valid`](Reg::is_valid) tells them apart), and in calls and 64-bit constants it is no
/// register at all but says what the constant means.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Reg(u8);

impl Reg {
    /// Result of calls and of the program.
    pub const R0: Reg = Reg(0);
    /// First argument.
    pub const R1: Reg = Reg(1);
    /// Second argument.
    pub const R2: Reg = Reg(2);
    /// Third argument.
    pub const R3: Reg = Reg(3);
    /// Fourth argument.
    pub const R4: Reg = Reg(4);
    /// Fifth argument.
    pub const R5: Reg = Reg(5);
    /// Kept across calls; the context of legacy packet loads.
    pub const R6: Reg = Reg(6);
    /// Kept across calls.
    pub const R7: Reg = Reg(7);
    /// Kept across calls.
    pub const R8: Reg = Reg(8);
    /// Kept across calls.
    pub const R9: Reg = Reg(9);
    /// Frame pointer: the end of the frame's stack. Read-only.
    pub const R10: Reg = Reg(10);
    /// How many registers the machine has.
    pub const COUNT: usize = 11;

    /// The register of a number, if there is one.
    #[must_use]
    pub const fn new(number: u8) -> Option<Reg> {
        if number < Reg::COUNT as u8 { Some(Reg(number)) } else { None }
    }

    /// The field with the low four bits of a number, whether they name a register or not.
    #[must_use]
    pub const fn from_field(bits: u8) -> Reg {
        Reg(bits & 0xf)
    }

    /// The number in the field, 0 to 15.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Whether the field names a register.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.0 < Reg::COUNT as u8
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl fmt::Debug for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A set of registers.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Default)]
pub struct RegSet(u16);

impl RegSet {
    /// No register.
    pub const EMPTY: RegSet = RegSet(0);
    /// The arguments of a call, r1 to r5.
    pub const ARGS: RegSet = RegSet(0b11_1110);
    /// What a call leaves undefined or sets, r0 to r5.
    pub const CALLER_SAVED: RegSet = RegSet(0b11_1111);
    /// What a call keeps, r6 to r9.
    pub const CALLEE_SAVED: RegSet = RegSet(0b11_1100_0000);

    /// The set of one register.
    #[must_use]
    pub const fn of(reg: Reg) -> RegSet {
        RegSet(1 << reg.0)
    }

    /// The set with one more register.
    #[must_use]
    pub const fn with(self, reg: Reg) -> RegSet {
        RegSet(self.0 | 1 << reg.0)
    }

    /// The set without a register.
    #[must_use]
    pub const fn without(self, reg: Reg) -> RegSet {
        RegSet(self.0 & !(1 << reg.0))
    }

    /// Registers of either set.
    #[must_use]
    pub const fn union(self, other: RegSet) -> RegSet {
        RegSet(self.0 | other.0)
    }

    /// Registers of this set that are not in the other.
    #[must_use]
    pub const fn minus(self, other: RegSet) -> RegSet {
        RegSet(self.0 & !other.0)
    }

    /// Registers of both sets.
    #[must_use]
    pub const fn intersection(self, other: RegSet) -> RegSet {
        RegSet(self.0 & other.0)
    }

    /// Whether a register is in the set.
    #[must_use]
    pub const fn contains(self, reg: Reg) -> bool {
        self.0 >> reg.0 & 1 == 1
    }

    /// Whether the set has no register.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many registers are in the set.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The registers of the set, ascending.
    pub fn iter(self) -> impl Iterator<Item = Reg> {
        (0..16).map(Reg).filter(move |&r| self.contains(r))
    }
}

impl FromIterator<Reg> for RegSet {
    fn from_iter<I: IntoIterator<Item = Reg>>(regs: I) -> Self {
        regs.into_iter().fold(RegSet::EMPTY, RegSet::with)
    }
}

impl fmt::Debug for RegSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

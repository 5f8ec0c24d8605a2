//! Fields of registers and of structures in memory.

/// A field of a 64-bit word.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    low: u32,
    width: u32,
}

impl Field {
    pub(crate) const fn new(name: &'static str, low: u32, width: u32) -> Self {
        Self { name, low, width }
    }

    /// One bit.
    pub(crate) const fn bit(name: &'static str, low: u32) -> Self {
        Self::new(name, low, 1)
    }

    /// The bits of the word that it has.
    pub(crate) const fn mask(self) -> u64 {
        ((1 << self.width) - 1) << self.low
    }

    /// Its value in a word.
    pub(crate) const fn of(self, word: u64) -> u64 {
        (word & self.mask()) >> self.low
    }

    /// Whether it is not zero in a word.
    pub(crate) const fn is_set(self, word: u64) -> bool {
        word & self.mask() != 0
    }

    /// The word's part that has this value in the field.
    pub(crate) const fn is(self, value: u64) -> u64 {
        value << self.low & self.mask()
    }
}

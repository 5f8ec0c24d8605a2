//! Whose an entry is.

/// Whose an entry is: a number that a model makes of what it tells address spaces by.
///
/// Who looks up often keeps the tag: it is made with an effort that is then not repeated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag {
    number: u64,
    /// A number whose bits all depend on the tag, whichever bits tags differ in.
    spread: u64,
}

/// An odd number without a pattern.
const ODD: u64 = 0xd1b5_4a32_d192_ed03;

impl Tag {
    /// The tag with this number.
    #[inline]
    pub fn new(number: u64) -> Self {
        let (low, high) = number.carrying_mul(ODD, 0);
        let spread = low ^ high;
        Self { number, spread }
    }

    /// Its number.
    #[inline]
    pub const fn number(self) -> u64 {
        self.number
    }

    #[inline]
    pub(super) const fn spread(self) -> u64 {
        self.spread
    }
}

impl From<u64> for Tag {
    #[inline]
    fn from(number: u64) -> Self {
        Self::new(number)
    }
}

//! Positions in a pages object.

use std::fmt;

use swiommu_addr::{AddrRange, Address};

/// A position in a pages object, in bytes from its first byte, which need not be page aligned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(u64);

impl Offset {
    /// The position `bytes` after the object's first byte.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The bytes before this position.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offset({:#x})", self.0)
    }
}

impl Address for Offset {
    fn new(raw: u64) -> Self {
        Self(raw)
    }

    fn get(self) -> u64 {
        self.0
    }
}

/// A range of bytes of a pages object.
pub type OffsetRange = AddrRange<Offset>;

//! One newtype per kind of address.

use core::fmt;

use crate::PageSize;

/// What all kinds of address can do. Arithmetic is checked or explicitly wrapping; there are no operators.
pub trait Address: Copy + Eq + Ord + fmt::Debug + fmt::Display {
    /// The address with this number.
    fn new(raw: u64) -> Self;

    /// The number of this address.
    fn get(self) -> u64;

    /// The address `bytes` above, or `None` past 2^64-1.
    fn checked_add(self, bytes: u64) -> Option<Self> {
        self.get().checked_add(bytes).map(Self::new)
    }

    /// The address `bytes` below, or `None` below 0.
    fn checked_sub(self, bytes: u64) -> Option<Self> {
        self.get().checked_sub(bytes).map(Self::new)
    }

    /// The address `bytes` above, modulo 2^64: for sums already known to fit.
    #[must_use]
    fn wrapping_add(self, bytes: u64) -> Self {
        Self::new(self.get().wrapping_add(bytes))
    }

    /// How many bytes this address lies above `base`, or `None` if it lies below.
    fn offset_from(self, base: Self) -> Option<u64> {
        self.get().checked_sub(base.get())
    }

    /// Whether the address is a multiple of `size`.
    fn is_aligned(self, size: PageSize) -> bool {
        self.get() & size.mask() == 0
    }

    /// The greatest multiple of `size` not above the address.
    #[must_use]
    fn align_down(self, size: PageSize) -> Self {
        Self::new(self.get() & !size.mask())
    }

    /// The least multiple of `size` not below the address, or `None` past 2^64-1.
    fn align_up(self, size: PageSize) -> Option<Self> {
        Some(self.checked_add(size.mask())?.align_down(size))
    }

    /// The bytes between the address and the multiple of `size` below it.
    fn offset_in(self, size: PageSize) -> u64 {
        self.get() & size.mask()
    }
}

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The address with this number.
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }

            /// The number of this address.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl Address for $name {
            fn new(raw: u64) -> Self {
                Self(raw)
            }

            fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
    };
}

address! {
    /// An I/O virtual address: what a device puts on the bus.
    Iova
}

address! {
    /// A guest physical address: what a guest's stage-1 table holds under nesting.
    Gpa
}

address! {
    /// A physical address: what a stage-2 or single-stage leaf holds. swiommu assigns them; see the crate `swiommu-mem`.
    Pa
}

address! {
    /// A virtual address in a process.
    Hva
}

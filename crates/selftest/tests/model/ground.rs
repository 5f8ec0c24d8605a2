//! What both sides stand on: where the caller's memory is.

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;

/// The caller's memory: a buffer to map, and scratch pages for what calls point to. Behind each is nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground {
    /// The address of the buffer.
    pub(crate) buffer: u64,
    /// The physical address of the buffer, which is contiguous.
    pub(crate) physical: u64,
    /// The address of the scratch pages.
    pub(crate) scratch: u64,
}

impl Ground {
    /// Pages of the buffer.
    pub(crate) const PAGES: u64 = 64;
    /// Those of them that can be written, which come first.
    pub(crate) const WRITABLE: u64 = 56;
    /// Bytes of the scratch pages.
    pub(crate) const SCRATCH: u64 = 2 * PAGE;

    /// Whether a range of bytes is in the buffer.
    pub(crate) fn holds(self, start: u64, len: u64) -> bool {
        self.within(start, len, Self::PAGES)
    }

    /// Whether a range of bytes is in the part of the buffer that can be written.
    pub(crate) fn holds_writable(self, start: u64, len: u64) -> bool {
        self.within(start, len, Self::WRITABLE)
    }

    fn within(self, start: u64, len: u64, pages: u64) -> bool {
        let end = u128::from(start) + u128::from(len);
        start >= self.buffer && end <= u128::from(self.buffer) + u128::from(pages * PAGE)
    }
}

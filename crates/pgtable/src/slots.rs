//! One table in memory: its entries, and how they are read and written.

use core::sync::atomic::{AtomicU64, Ordering};

/// The entries of one table. In memory they are little-endian.
#[derive(Clone, Copy)]
pub(crate) struct Slots<'a>(pub(crate) &'a [AtomicU64]);

impl Slots<'_> {
    /// Reads an entry. What was written before the entry was published is visible to whoever follows it.
    #[inline]
    pub(crate) fn get(self, index: usize) -> u64 {
        u64::from_le(self.0[index].load(Ordering::Acquire))
    }

    /// Writes an entry and publishes what it points to.
    #[inline]
    pub(crate) fn publish(self, index: usize, entry: u64) {
        self.0[index].store(entry.to_le(), Ordering::Release);
    }

    /// Clears all entries of a table that is not published yet.
    pub(crate) fn clear_all(self) {
        write_series(self.0, || 0);
    }

    /// Writes an entry if it is still `old`; otherwise returns what it is.
    #[inline]
    pub(crate) fn replace(self, index: usize, old: u64, new: u64) -> Result<(), u64> {
        self.0[index]
            .compare_exchange(
                old.to_le(),
                new.to_le(),
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .map(|_| ())
            .map_err(u64::from_le)
    }
}

/// Reads an entry in a loop over a table.
#[inline]
pub(crate) fn read(slot: &AtomicU64) -> u64 {
    u64::from_le(slot.load(Ordering::Relaxed))
}

/// Clears an entry in a loop over a table.
#[inline]
pub(crate) fn clear(slot: &AtomicU64) {
    slot.store(0, Ordering::Relaxed);
}

/// Writes one entry after another, as `next` gives them.
///
/// The stores are ordinary ones: a leaf points to nothing that its reader would have to see.
#[inline]
pub(crate) fn write_series(slots: &[AtomicU64], mut next: impl FnMut() -> u64) {
    const UNROLLED: usize = 8;
    let (blocks, rest) = slots.as_chunks::<UNROLLED>();
    for block in blocks {
        for slot in block {
            slot.store(next().to_le(), Ordering::Relaxed);
        }
    }
    for slot in rest {
        slot.store(next().to_le(), Ordering::Relaxed);
    }
}

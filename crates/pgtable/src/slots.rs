//! One table in memory: its entries, and how they are read and written.

use crate::sync::{AtomicU64, Ordering};

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
        write_series(self.0, 0, 0, |_| 0);
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

/// Reads an entry in a loop over a table. The same as [`Slots::get`].
#[inline]
pub(crate) fn read(slot: &AtomicU64) -> u64 {
    u64::from_le(slot.load(Ordering::Acquire))
}

/// Clears an entry in a loop over a table.
#[inline]
pub(crate) fn clear(slot: &AtomicU64) {
    slot.store(0, Ordering::Relaxed);
}

/// As many entries as the loops over tables take at a time.
const UNROLLED: usize = 8;
/// As many as are looked at together first.
const SIFTED: usize = 16;

/// The index of the first entry that is as wanted.
#[inline]
pub(crate) fn position(slots: &[AtomicU64], wanted: impl Fn(u64) -> bool) -> Option<usize> {
    let (blocks, _) = slots.as_chunks::<UNROLLED>();
    let none_in = |block: &[AtomicU64; UNROLLED]| !block.iter().any(|slot| wanted(read(slot)));
    let passed = blocks.iter().take_while(|block| none_in(block)).count() * UNROLLED;
    let found = slots[passed..].iter().position(|slot| wanted(read(slot)));
    found.map(|further| passed + further)
}

/// The same, where an entry of which `sieve` makes 0 is not as wanted.
#[inline]
pub(crate) fn position_sifted(
    slots: &[AtomicU64],
    sieve: impl Fn(u64) -> u64,
    wanted: impl Fn(u64) -> bool,
) -> Option<usize> {
    let (blocks, rest) = slots.as_chunks::<SIFTED>();
    let find = |slots: &[AtomicU64]| slots.iter().position(|slot| wanted(read(slot)));
    for (place, block) in blocks.iter().enumerate() {
        let held = block.iter().fold(0, |held, slot| held | sieve(read(slot)));
        if held != 0
            && let Some(found) = find(block)
        {
            return Some(place * SIFTED + found);
        }
    }
    Some(blocks.len() * SIFTED + find(rest)?)
}

/// Clears the entries that are not absent, and says how many they were.
#[inline]
pub(crate) fn clear_present(slots: &[AtomicU64], is_absent: impl Fn(u64) -> bool) -> u64 {
    let mut present = 0;
    let mut clear_all = |slots: &[AtomicU64]| {
        for slot in slots {
            if !is_absent(read(slot)) {
                clear(slot);
                present += 1;
            }
        }
    };
    let (blocks, rest) = slots.as_chunks::<UNROLLED>();
    for block in blocks {
        clear_all(block);
    }
    clear_all(rest);
    present
}

/// Writes one entry after another: `entry(first)`, `entry(first + step)` …
///
/// Most are as far apart as the addresses in them: then the last one is where that makes it. It is not where an address is
/// held in two pieces and the upper one changes on the way.
///
/// The stores are ordinary ones: a leaf points to nothing that its reader would have to see.
#[inline]
pub(crate) fn write_series(
    slots: &[AtomicU64],
    first: u64,
    step: u64,
    entry: impl Fn(u64) -> u64 + Copy,
) {
    if let [slot] = slots {
        return slot.store(entry(first).to_le(), Ordering::Relaxed);
    }
    let begin = entry(first);
    let apart = entry(first.wrapping_add(step)).wrapping_sub(begin);
    let steps = (slots.len() as u64).wrapping_sub(1);
    let last = begin.wrapping_add(steps.wrapping_mul(apart));
    if entry(first.wrapping_add(steps.wrapping_mul(step))) == last {
        write_each(slots, begin, apart, |entry| entry);
    } else {
        write_each(slots, first, step, entry);
    }
}

#[inline]
fn write_each(slots: &[AtomicU64], first: u64, step: u64, entry: impl Fn(u64) -> u64 + Copy) {
    let mut at = first;
    let (blocks, rest) = slots.as_chunks::<UNROLLED>();
    for block in blocks {
        for slot in block {
            slot.store(entry(at).to_le(), Ordering::Relaxed);
            at = at.wrapping_add(step);
        }
    }
    for slot in rest {
        slot.store(entry(at).to_le(), Ordering::Relaxed);
        at = at.wrapping_add(step);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    /// More than two blocks of any of the loops, and a rest.
    const MOST: usize = 37;

    fn slots(entries: impl Iterator<Item = u64>) -> Vec<AtomicU64> {
        entries.map(|entry| AtomicU64::new(entry.to_le())).collect()
    }

    #[test]
    fn the_first_entry_is_found_wherever_it_is() {
        for len in 0..MOST {
            // Of the others, the sieve lets every third through.
            let others = || (0..len as u64).map(|n| n % 3 / 2 * 2);
            let wanted = |entry| entry & 1 == 1;
            assert_eq!(position(&slots(others()), wanted), None);
            assert_eq!(
                position_sifted(&slots(others()), |entry| entry, wanted),
                None
            );
            for first in 0..len {
                let slots = slots(others());
                for slot in &slots[first..] {
                    slot.store(3_u64.to_le(), Ordering::Relaxed);
                }
                assert_eq!(position(&slots, wanted), Some(first));
                assert_eq!(position_sifted(&slots, |entry| entry, wanted), Some(first));
            }
        }
    }

    #[test]
    fn a_series_is_written_and_cleared_to_its_end() {
        for len in 0..MOST {
            for step in [0, 3] {
                let slots = slots((0..len).map(|_| u64::MAX));
                write_series(&slots, 5, step, |at| at + 100);
                let expected = (0..len as u64).map(|n| 105 + n * step);
                assert!(slots.iter().map(read).eq(expected));
                // The upper piece of an address changes on the way.
                let jump = |at| if at < 50 { at } else { at + (1 << 50) };
                write_series(&slots, 5, step, jump);
                let expected = (0..len as u64).map(|n| jump(5 + n * step));
                assert!(slots.iter().map(read).eq(expected));
                write_series(&slots, 5, step, |at| at + 100);
                let count = clear_present(&slots, |entry| entry == 105);
                let cleared = if step == 0 { 0 } else { len.saturating_sub(1) };
                assert_eq!(count, cleared as u64);
                let left = slots.iter().filter(|slot| read(slot) != 0).count();
                assert_eq!(left, len - cleared);
            }
        }
    }
}

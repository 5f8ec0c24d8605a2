//! How many pages objects pin each page of the machine.

use std::ops::RangeInclusive;

use swiommu_addr::{Pa, PaRange};

use super::region::MAX_BITS;
use crate::PAGE;
use crate::extents::{ExtentMap, Value};

/// How many pages objects pin a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PinCount {
    /// The range.
    pub memory: PaRange,
    /// The pages objects that pin each page of it.
    pub objects: u32,
}

impl Value for u32 {
    fn skip(self, _numbers: u64) -> Self {
        self
    }
}

/// The pinned pages by frame, kept by extent.
#[derive(Debug, Default)]
pub(super) struct PinTable {
    counts: ExtentMap<u32, Frame>,
    /// Pages, each counted once for every object that pins it.
    total: u64,
}

impl PinTable {
    /// Adds one object to each page of a range.
    pub(super) fn add(&mut self, memory: PaRange) {
        self.counts
            .update(frames(memory), |piece| Some(piece.value.unwrap_or(0) + 1));
        self.total += pages(memory);
    }

    /// Takes one object from each page of a range.
    pub(super) fn remove(&mut self, memory: PaRange) {
        let mut removed = 0;
        self.counts.update(frames(memory), |piece| {
            let count = piece.value?;
            removed += u64::from(piece.last - piece.first) + 1;
            (count > 1).then(|| count - 1)
        });
        self.total -= removed;
        if removed != pages(memory) {
            tracing::error!(%memory, "unpinned pages that were not pinned");
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The counts of a range in address order, with its unpinned parts.
    pub(super) fn counts(&self, memory: PaRange) -> impl Iterator<Item = PinCount> {
        self.counts.cover(frames(memory)).filter_map(move |piece| {
            let (first, last) = (address(piece.first), address(piece.last) + PAGE.mask());
            Some(PinCount {
                memory: PaRange::new(Pa::new(first), Pa::new(last))?.intersection(memory)?,
                objects: piece.value.unwrap_or(0),
            })
        })
    }

    /// Whether any page of a range is pinned.
    pub(super) fn any(&self, memory: PaRange) -> bool {
        self.counts.overlapping(frames(memory)).next().is_some()
    }
}

/// The number of a page of physical memory.
type Frame = u32;

const _: () = assert!(MAX_BITS - PAGE.log2() as u32 <= Frame::BITS);

/// The pages that a range touches. There are none beyond the last frame.
fn frames(memory: PaRange) -> RangeInclusive<Frame> {
    let frame = |pa: Pa| Frame::try_from(pa.get() >> PAGE.log2()).unwrap_or(Frame::MAX);
    frame(memory.start())..=frame(memory.last())
}

fn address(frame: Frame) -> u64 {
    u64::from(frame) << PAGE.log2()
}

fn pages(memory: PaRange) -> u64 {
    (memory.len_minus_one() + 1) >> PAGE.log2()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// There is one for every pinned area whose neighbours in memory are not pinned.
    #[test]
    fn an_extent_is_small() {
        assert_eq!(size_of::<(Frame, (Frame, u32))>(), 12);
    }

    proptest! {
        #[test]
        fn counts_equal_a_map_per_page(steps in vec((0_u64..32, 1_u64..9, 0_usize..8), 1..60)) {
            let mut table = PinTable::default();
            let mut pinned: Vec<PaRange> = Vec::new();
            let mut naive = [0_u32; 40];
            for (first, count, choice) in steps {
                let (memory, up) = if choice < pinned.len() {
                    (pinned.swap_remove(choice), false)
                } else {
                    let start = Pa::new(0x4000_0000 + first * 4096);
                    (PaRange::from_len(start, count * 4096).unwrap(), true)
                };
                let index = usize::try_from((memory.start().get() - 0x4000_0000) / 4096).unwrap();
                let len = usize::try_from(pages(memory)).unwrap();
                for slot in &mut naive[index..index + len] {
                    *slot = if up { *slot + 1 } else { *slot - 1 };
                }
                if up {
                    table.add(memory);
                    pinned.push(memory);
                } else {
                    table.remove(memory);
                }
                let whole = PaRange::from_len(Pa::new(0x4000_0000), 40 * 4096).unwrap();
                let seen: Vec<u32> = table
                    .counts(whole)
                    .flat_map(|count| vec![count.objects; usize::try_from(pages(count.memory)).unwrap()])
                    .collect();
                prop_assert_eq!(&seen[..], &naive[..]);
                prop_assert_eq!(table.total(), naive.iter().map(|&count| u64::from(count)).sum::<u64>());
                prop_assert_eq!(table.any(whole), naive.iter().any(|&count| count > 0));
            }
        }
    }
}

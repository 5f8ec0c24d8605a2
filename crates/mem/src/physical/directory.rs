//! Who owns which gigabyte of the physical address space.

use std::collections::BTreeMap;
use std::ops::Range;

use super::slots::{GIB, GIB_LOG2};
use crate::{FileId, SpaceId};

/// What a gigabyte of physical addresses stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// The gigabyte of a file that starts at `offset`.
    File { id: FileId, offset: u64 },
    /// The gigabyte of private memory that starts at `hva`.
    Private { space: SpaceId, hva: u64 },
}

impl Owner {
    /// The owner of the `n`-th gigabyte of a run of gigabytes.
    fn nth(self, n: u64) -> Self {
        match self {
            Self::File { id, offset } => Self::File {
                id,
                offset: offset + n * GIB,
            },
            Self::Private { space, hva } => Self::Private {
                space,
                hva: hva + n * GIB,
            },
        }
    }
}

/// The owned gigabytes by their number.
#[derive(Debug, Default)]
pub(super) struct Directory {
    owners: BTreeMap<u64, Owner>,
}

impl Directory {
    /// Takes `len` bytes of physical addresses between `within`, all in gigabytes: directly at `preferred` if that is free,
    /// else the lowest free ones aligned to `align` gigabytes.
    pub(super) fn take(
        &mut self,
        within: Range<u64>,
        len: u64,
        align: u64,
        preferred: Option<u64>,
        owner: Owner,
    ) -> Option<u64> {
        let (low, high) = (within.start.div_ceil(GIB), within.end >> GIB_LOG2);
        let count = len.div_ceil(GIB);
        let preferred = preferred
            .map(|pa| pa >> GIB_LOG2)
            .filter(|&first| low <= first && self.is_free(first, count, high));
        let first = preferred.or_else(|| self.first_fit(low..high, count, align.max(1)))?;
        for n in 0..count {
            self.owners.insert(first + n, owner.nth(n));
        }
        Some(first << GIB_LOG2)
    }

    /// Gives `len` bytes from `pa` back.
    pub(super) fn release(&mut self, pa: u64, len: u64) {
        let first = pa >> GIB_LOG2;
        for gigabyte in first..first + len.div_ceil(GIB) {
            self.owners.remove(&gigabyte);
        }
    }

    /// How many bytes nobody owns.
    pub(super) fn free(&self, within: Range<u64>) -> u64 {
        let numbers = within.start.div_ceil(GIB)..within.end >> GIB_LOG2;
        let taken = self.owners.range(numbers.clone()).count() as u64;
        (numbers.end - numbers.start - taken) << GIB_LOG2
    }

    pub(super) fn owner(&self, pa: u64) -> Option<Owner> {
        self.owners.get(&(pa >> GIB_LOG2)).copied()
    }

    /// The lowest `count` free numbers in `within` that start at a multiple of `align`.
    fn first_fit(&self, within: Range<u64>, count: u64, align: u64) -> Option<u64> {
        let mut candidate = within.start.next_multiple_of(align);
        loop {
            let end = candidate.checked_add(count)?;
            if end > within.end {
                return None;
            }
            match self.owners.range(candidate..end).next_back() {
                None => return Some(candidate),
                Some((&taken, _)) => candidate = (taken + 1).next_multiple_of(align),
            }
        }
    }

    fn is_free(&self, first: u64, count: u64, high: u64) -> bool {
        first
            .checked_add(count)
            .is_some_and(|end| end <= high && self.owners.range(first..end).next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Range<u64> = 4 * GIB..64 * GIB;

    fn owner(offset: u64) -> Owner {
        let id = FileId {
            device: 1,
            inode: 2,
        };
        Owner::File { id, offset }
    }

    #[test]
    fn takes_the_lowest_aligned_addresses_and_knows_each_gigabyte() {
        let mut directory = Directory::default();
        assert_eq!(directory.take(ALL, 1, 1, None, owner(0)), Some(4 * GIB));
        assert_eq!(
            directory.take(ALL, 3 * GIB, 4, None, owner(GIB)),
            Some(8 * GIB)
        );
        assert_eq!(directory.take(ALL, GIB, 1, None, owner(0)), Some(5 * GIB));
        assert_eq!(directory.owner(10 * GIB + 5), Some(owner(3 * GIB)));
        assert_eq!(directory.owner(11 * GIB), None);
        directory.release(8 * GIB, 3 * GIB);
        assert_eq!(directory.owner(10 * GIB), None);
    }

    #[test]
    fn continues_where_the_caller_prefers_if_it_is_free() {
        let mut directory = Directory::default();
        directory.take(ALL, 2 * GIB, 1, None, owner(0));
        let after = Some(6 * GIB);
        assert_eq!(directory.take(ALL, GIB, 16, after, owner(0)), after);
        assert_eq!(
            directory.take(ALL, GIB, 16, after, owner(0)),
            Some(16 * GIB)
        );
        let too_high = Some(63 * GIB);
        assert_eq!(
            directory.take(ALL, 2 * GIB, 1, too_high, owner(0)),
            Some(7 * GIB)
        );
    }

    #[test]
    fn refuses_when_full() {
        let mut directory = Directory::default();
        assert_eq!(directory.take(ALL, 61 * GIB, 1, None, owner(0)), None);
        assert_eq!(
            directory.take(ALL, 60 * GIB, 1, None, owner(0)),
            Some(4 * GIB)
        );
        assert_eq!(directory.take(ALL, 1, 1, None, owner(0)), None);
        assert_eq!(directory.free(ALL), 0);
        directory.release(9 * GIB, 2 * GIB);
        assert_eq!(directory.free(ALL), 2 * GIB);
    }
}

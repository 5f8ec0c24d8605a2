//! Ranges of IOVAs.

use swiommu_abi::Errno;

/// The IOVAs from the first to the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Range {
    pub(crate) const ALL: Self = Self {
        first: 0,
        last: u64::MAX,
    };

    /// From a start and a length, with the errors that most calls give for them.
    pub(crate) fn new(start: u64, len: u64) -> Result<Self, Errno> {
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let last = start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?;
        Ok(Self { first: start, last })
    }

    /// Bytes of it. The range of all IOVAs has none that can be told.
    pub(crate) fn len(self) -> u64 {
        (self.last - self.first).wrapping_add(1)
    }

    pub(crate) fn holds(self, iova: u64) -> bool {
        self.first <= iova && iova <= self.last
    }

    pub(crate) fn holds_all(self, other: Self) -> bool {
        self.holds(other.first) && self.holds(other.last)
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    pub(crate) fn common(self, other: Self) -> Option<Self> {
        self.meets(other).then(|| Self {
            first: self.first.max(other.first),
            last: self.last.min(other.last),
        })
    }
}

/// What is left of a range without those that are used, ascending.
pub(crate) fn gaps(whole: Range, used: &[Range]) -> Vec<Range> {
    let mut left = vec![whole];
    for taken in used {
        let mut rest = Vec::new();
        for gap in left {
            if !gap.meets(*taken) {
                rest.push(gap);
                continue;
            }
            if gap.first < taken.first {
                rest.push(Range {
                    first: gap.first,
                    last: taken.first - 1,
                });
            }
            if taken.last < gap.last {
                rest.push(Range {
                    first: taken.last + 1,
                    last: gap.last,
                });
            }
        }
        left = rest;
    }
    left.sort_by_key(|gap| gap.first);
    left
}

/// Ranges without overlap or touch that hold the same IOVAs.
pub(crate) fn merged(ranges: &[Range]) -> Vec<Range> {
    gaps(Range::ALL, &gaps(Range::ALL, ranges))
}

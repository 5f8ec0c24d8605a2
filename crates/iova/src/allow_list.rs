//! The ranges to which a client restricts automatic placement (`IOMMU_IOAS_ALLOW_IOVAS`).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use swiommu_addr::{Iova, IovaRange};

use crate::PAGE;

/// A list of disjoint ranges. The empty list allows everything.
///
/// ```
/// use swiommu_addr::Iova;
/// use swiommu_iova::{AllowError, AllowList};
///
/// let mut list = AllowList::default();
/// list.push(Iova::new(0x10_0000), Iova::new(0x1f_ffff))?;
/// let overlap = list.push(Iova::new(0x1f_ffff), Iova::new(0x20_0000));
/// assert!(matches!(overlap, Err(AllowError::Overlap { .. })));
/// # Ok::<(), AllowError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AllowList {
    lasts: BTreeMap<Iova, Iova>,
}

/// Why a range cannot be in an allow-list (`EINVAL`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AllowError {
    /// The last address is not above the first; a range of one address is refused too.
    #[error("an allowed range from {start} cannot end at {last}")]
    Empty {
        /// The first address.
        start: Iova,
        /// The last address.
        last: Iova,
    },
    /// The range overlaps an earlier one.
    #[error("the allowed ranges {range} and {earlier} overlap")]
    Overlap {
        /// The refused range.
        range: IovaRange,
        /// The earlier one.
        earlier: IovaRange,
    },
}

impl AllowList {
    /// Adds `start..=last`.
    pub fn push(&mut self, start: Iova, last: Iova) -> Result<(), AllowError> {
        let range = IovaRange::new(start, last).filter(|_| start < last);
        let range = range.ok_or(AllowError::Empty { start, last })?;
        if let Some(earlier) = self.first_overlapping(range) {
            return Err(AllowError::Overlap { range, earlier });
        }
        self.lasts.insert(start, last);
        Ok(())
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = IovaRange> {
        self.lasts
            .iter()
            .filter_map(|(&start, &last)| IovaRange::new(start, last))
    }

    /// Whether the list allows everything.
    pub fn is_empty(&self) -> bool {
        self.lasts.is_empty()
    }

    /// An allowed range that shares an address with `range`.
    pub(crate) fn first_overlapping(&self, range: IovaRange) -> Option<IovaRange> {
        let (&start, &last) = self.lasts.range(..=range.last()).next_back()?;
        IovaRange::new(start, last).filter(|allowed| allowed.overlaps(range))
    }

    /// Where areas may be placed: the allowed ranges, merged where they touch, without the first and the last page of all.
    pub(crate) fn windows(&self) -> Vec<IovaRange> {
        let mut windows = Vec::new();
        if self.is_empty() {
            windows.extend(placeable());
        }
        for range in self.iter() {
            match windows.pop_if(|below: &mut IovaRange| below.end() == Some(range.start())) {
                Some(below) => windows.extend(IovaRange::new(below.start(), range.last())),
                None => windows.push(range),
            }
        }
        let clip = |window: IovaRange| window.intersection(placeable()?);
        windows.into_iter().filter_map(clip).collect()
    }
}

/// All but the first and the last page.
fn placeable() -> Option<IovaRange> {
    IovaRange::new(Iova::new(PAGE.bytes()), Iova::new(u64::MAX - PAGE.bytes()))
}

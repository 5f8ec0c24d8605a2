//! What `struct iommu_hwpt_vtd_s1_invalidate` covers, as PASID-based IOTLB invalidation descriptors say it (6.5.2.4).

use swiommu_addr::{Address, Iova, IovaRange};

/// Pages are counted in these.
const PAGE_LOG2: u32 = 12;

/// What an invalidation covers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum S1Invalidation {
    /// Everything of the domain (granularity "PASID-selective").
    All,
    /// 2^`order` pages, aligned to as many (granularity "page-selective", AM).
    Pages {
        /// Where they start.
        start: Iova,
        /// How many, as a power of two.
        order: u32,
    },
}

impl S1Invalidation {
    /// The cover of `npages` pages from `addr`, as Linux rounds it: the smallest aligned power of two that holds them.
    /// `None` for an address that is not that of a page, or a count that means everything with an address.
    pub fn of(addr: u64, npages: u64) -> Option<Self> {
        if addr & ((1 << PAGE_LOG2) - 1) != 0 {
            return None;
        }
        if npages == u64::MAX {
            return (addr == 0).then_some(Self::All);
        }
        let first = addr >> PAGE_LOG2;
        let last = first.wrapping_add(npages).wrapping_sub(1);
        let order = match first ^ last {
            0 => 0,
            differing => differing.ilog2() + 1,
        };
        if order >= u64::BITS - PAGE_LOG2 {
            return Some(Self::All);
        }
        Some(Self::Pages {
            start: Iova::new((first >> order << order) << PAGE_LOG2),
            order,
        })
    }

    /// The addresses; all of them for [`All`](Self::All).
    pub fn range(self) -> IovaRange {
        match self {
            Self::All => IovaRange::full(),
            Self::Pages { start, order } => {
                let mask = (1_u64 << (PAGE_LOG2 + order)) - 1;
                IovaRange::new(start, start.wrapping_add(mask)).unwrap_or(IovaRange::full())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// hw-formats.md D.2.
    #[test]
    fn a_cover_is_the_smallest_aligned_power_of_two() {
        let pages = |start, order| {
            Some(S1Invalidation::Pages {
                start: Iova::new(start),
                order,
            })
        };
        assert_eq!(S1Invalidation::of(0x1234_5000, 1), pages(0x1234_5000, 0));
        assert_eq!(S1Invalidation::of(0x7000, 4), pages(0, 4));
        assert_eq!(S1Invalidation::of(0, u64::MAX), Some(S1Invalidation::All));
        assert_eq!(S1Invalidation::of(0x1000, u64::MAX), None);
        assert_eq!(S1Invalidation::of(0x800, 1), None);
        assert_eq!(S1Invalidation::of(0, 0), Some(S1Invalidation::All));
        assert_eq!(S1Invalidation::of(0x5000, 0), pages(0x4000, 1));
    }

    #[test]
    fn a_cover_holds_what_was_asked_for() {
        let range = S1Invalidation::of(0x7000, 4).map(S1Invalidation::range);
        assert_eq!(range, IovaRange::new(Iova::new(0), Iova::new(0xffff)));
        assert_eq!(S1Invalidation::All.range(), IovaRange::full());
    }
}

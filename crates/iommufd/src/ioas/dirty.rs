//! Which leaves of a page table were written through (§2.13, §2.14).

use swiommu_addr::{IovaRange, PageSize};
use swiommu_iommu::{DirtyRead, DirtyTracking, DomainFeatures, PagingDomain};

use super::Ioas;
use crate::Error;

/// A part of a bitmap of dirty pages, as far as it is known: bits are numbered from the start of the range that was asked for.
pub(crate) trait DirtyBits {
    /// Sets the bits `first..=last`.
    ///
    /// # Errors
    /// `EFAULT` when the bitmap cannot be written.
    fn set(&mut self, first: u64, last: u64) -> Result<(), Error>;
}

impl Ioas {
    /// Starts or stops tracking in one of its page tables. Starting makes everything clean first, also if it was on.
    pub(crate) fn set_dirty_tracking(
        &self,
        domain: &dyn PagingDomain,
        tracking: DirtyTracking,
    ) -> Result<(), Error> {
        if !domain.features().contains(DomainFeatures::DIRTY_TRACKING) {
            return Err(Error::NoDirtyTracking);
        }
        let _topology = self.topology.read();
        let areas = self.areas.read();
        domain.set_dirty_tracking(tracking)?;
        if tracking == DirtyTracking::On {
            for (range, _) in areas.areas() {
                domain.read_dirty(range, DirtyRead::Clear, &mut |_| {})?;
            }
        }
        Ok(())
    }

    /// Reports the dirty pages of a range, one bit for each `page`, up to the first IOVA that no area covers. A dirty leaf makes
    /// all its pages in the range dirty.
    pub(crate) fn read_dirty(
        &self,
        domain: &dyn PagingDomain,
        range: IovaRange,
        page: PageSize,
        mode: DirtyRead,
        bits: &mut impl DirtyBits,
    ) -> Result<(), Error> {
        if !range.is_aligned(self.alignment()) {
            return Err(Error::DirtyRange {
                range,
                granule: self.alignment(),
            });
        }
        if !range.is_aligned(page) {
            return Err(Error::DirtyRange {
                range,
                granule: page,
            });
        }
        if !domain.features().contains(DomainFeatures::DIRTY_TRACKING) {
            return Err(Error::NoDirtyTracking);
        }
        let _topology = self.topology.read();
        let areas = self.areas.read();
        let mut next = Some(range.start());
        for (area, _) in areas.overlapping(range) {
            let Some(wanted) = next.filter(|next| area.contains(*next)) else {
                break;
            };
            let part = IovaRange::new(wanted, range.last().min(area.last())).unwrap_or(area);
            let mut result = Ok(());
            domain.read_dirty(part, mode, &mut |leaf| {
                if result.is_ok()
                    && let Some(dirty) = leaf.intersection(part)
                {
                    let bit = |iova: u64| (iova - range.start().get()) >> page.log2();
                    result = bits.set(bit(dirty.start().get()), bit(dirty.last().get()));
                }
            })?;
            result?;
            next = part.end().filter(|next| *next <= range.last());
        }
        Ok(())
    }
}

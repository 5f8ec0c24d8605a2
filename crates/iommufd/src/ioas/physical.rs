//! What lies behind an IOVA for a device without an IOMMU (§2.22).

use swiommu_addr::{Address, Iova, IovaRange, Pa};
use swiommu_iommu::DomainFeatures;
use swiommu_mem::PAGE;

use super::Ioas;
use super::area::AreaState;
use crate::Error;

impl Ioas {
    /// The physical address behind an IOVA, and how many bytes from there are contiguous: at most `len`, and no more than the area
    /// has.
    ///
    /// # Errors
    /// `ENOENT` where nothing is mapped; `EINVAL` where a dma-buf was revoked; `EOPNOTSUPP` unless the first page table is that of
    /// devices without an IOMMU.
    pub(crate) fn physical(&self, iova: Iova, len: u64) -> Result<(Pa, u64), Error> {
        let topology = self.topology.read();
        let areas = self.areas.read();
        let found = areas.get(iova);
        let (range, area) = found
            .filter(|(_, area)| area.state != AreaState::Making)
            .ok_or(Error::NotMapped(iova))?;
        if area.backing.is_revoked() {
            return Err(Error::RevokedArea(range));
        }
        let first = topology.page_tables.first();
        let no_iommu = first
            .filter(|linked| linked.domain.features().contains(DomainFeatures::NO_IOMMU))
            .ok_or(Error::HasIommu)?;
        let translate = |at| no_iommu.domain.iova_to_phys(at);
        let start = translate(iova).ok_or(Error::NotMapped(iova))?;
        let wanted = IovaRange::from_len(iova, len).map_or(range.last(), IovaRange::last);
        let last = wanted.min(range.last());
        let page_end = |at: Iova| Iova::new(at.get() | PAGE.mask());
        let mut end = page_end(iova);
        while end < last {
            let skipped = end.get().wrapping_sub(iova.get()).wrapping_add(1);
            let next = iova.wrapping_add(skipped);
            if translate(next) != Some(start.wrapping_add(skipped)) {
                break;
            }
            end = page_end(next);
        }
        let contiguous = end.min(last).get().wrapping_sub(iova.get());
        Ok((start, contiguous.wrapping_add(1)))
    }
}

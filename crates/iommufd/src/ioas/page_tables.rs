//! Keeping page tables in step with areas (§3.5, §3.6).

use std::sync::Arc;

use swiommu_addr::{Address, Iova, IovaRange, PageSize};
use swiommu_injection::{Step, step};
use swiommu_iommu::PagingDomain;
use swiommu_mem::PinError;
use swiommu_sabotage::Fault;

use super::area::{Area, Areas};
use super::import::Import;
use super::{Ioas, Linked, Owner, Topology};
use crate::Error;
use crate::object::ObjectId;

impl Topology {
    /// Pins an area's memory, if there is a page table that needs it, and maps it in all of them; or changes nothing.
    pub(super) fn fill(&self, range: IovaRange, area: &Area) -> Result<(), Error> {
        if self.page_tables.is_empty() {
            return Ok(());
        }
        let bytes = area.bytes(range);
        let memory = area.backing.pin(bytes)?;
        if memory.is_empty() {
            return Ok(());
        }
        for (n, linked) in self.page_tables.iter().enumerate() {
            if let Err(error) = linked
                .domain
                .map(&area.mapping(range, &memory, self.leaves))
            {
                for filled in &self.page_tables[..n] {
                    filled.domain.unmap(range);
                }
                area.backing.unpin(bytes);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Unmaps an area in every page table, and then unpins what they needed.
    pub(super) fn empty(&self, range: IovaRange, area: &Area) {
        if self.page_tables.is_empty() {
            return;
        }
        for linked in &self.page_tables {
            linked.domain.unmap(range);
        }
        area.backing.unpin(area.bytes(range));
    }

    /// Fills a new page table with one area. The first page table pins; the others find the memory pinned.
    fn copy_into(
        &self,
        domain: &Arc<dyn PagingDomain>,
        range: IovaRange,
        area: &Area,
    ) -> Result<(), Error> {
        let bytes = area.bytes(range);
        let first = self.page_tables.is_empty();
        let memory = if first {
            area.backing.pin(bytes)?
        } else {
            let gone = PinError::Fault(swiommu_mem::Fault::Gone);
            area.backing.memory(bytes).ok_or(gone)?
        };
        if memory.is_empty() {
            return Ok(());
        }
        if let Err(error) = domain.map(&area.mapping(range, &memory, self.leaves)) {
            if first {
                area.backing.unpin(bytes);
            }
            return Err(error.into());
        }
        Ok(())
    }
}

impl Ioas {
    /// Links a page table: its limits become the IOAS's, and it gets every area. Or nothing changes.
    ///
    /// # Errors
    /// `EINVAL` when its leaves are larger than pages; `EADDRINUSE` when an area is misaligned for it or outside its
    /// aperture; `EFAULT`, `ENOMEM` and the driver's errno from filling it.
    pub(crate) fn link(&self, hwpt: ObjectId, domain: &Arc<dyn PagingDomain>) -> Result<(), Error> {
        let mut topology = self.topology.write();
        let mut areas = self.areas.write();
        let smallest = domain.page_sizes().smallest().unwrap_or(PageSize::BYTE);
        if smallest > swiommu_mem::PAGE {
            return Err(Error::LeafLargerThanPage(smallest));
        }
        let before = topology.alignment;
        topology.raise_alignment(&areas, smallest)?;
        let linked = reserve_outside(&mut areas, hwpt, domain.aperture())
            .and_then(|()| fill_with_all(&topology, &areas, domain));
        if let Err(error) = linked {
            areas.unreserve(&Owner::PageTable(hwpt));
            topology.alignment = before;
            return Err(error);
        }
        topology.page_tables.push(Linked {
            hwpt,
            domain: domain.clone(),
        });
        Ok(())
    }

    /// Takes the areas of a dma-buf that was revoked out of every page table. The areas stay, and have no memory any more.
    pub(super) fn unmap_revoked(&self, import: &Import) {
        let topology = self.topology.write();
        let areas = self.areas.read();
        let of_it = |area: &Area| {
            let of = area.backing.import();
            of.is_some_and(|of| std::ptr::eq(Arc::as_ptr(of), import))
        };
        for (range, _) in areas.areas().filter(|(_, area)| of_it(area)) {
            for linked in &topology.page_tables {
                linked.domain.unmap(range);
            }
        }
    }

    /// Unlinks a page table, and empties it. With the last one the pins go that it needed.
    pub(crate) fn unlink(&self, hwpt: ObjectId) {
        let mut topology = self.topology.write();
        let Some(position) = topology
            .page_tables
            .iter()
            .position(|linked| linked.hwpt == hwpt)
        else {
            return;
        };
        let linked = topology.page_tables.remove(position);
        let mut areas = self.areas.write();
        linked.domain.unmap(linked.domain.aperture());
        if topology.page_tables.is_empty() {
            for (range, area) in areas.areas() {
                area.backing.unpin(area.bytes(range));
            }
        }
        areas.unreserve(&Owner::PageTable(hwpt));
        topology.alignment = topology.demanded_alignment();
    }
}

/// What a page table cannot translate is reserved as long as it is linked (§3.4).
fn reserve_outside(areas: &mut Areas, hwpt: ObjectId, aperture: IovaRange) -> Result<(), Error> {
    let below = aperture
        .start()
        .checked_sub(1)
        .map(|last| (Iova::new(0), last));
    let above = aperture.end().map(|start| (start, Iova::new(u64::MAX)));
    if Fault::IgnoreReserved.is_on() {
        return Ok(());
    }
    for (start, last) in below.into_iter().chain(above) {
        if let Some(range) = IovaRange::new(start, last) {
            step(Step::Area)?;
            areas.reserve(range, Owner::PageTable(hwpt))?;
        }
    }
    Ok(())
}

fn fill_with_all(
    topology: &Topology,
    areas: &Areas,
    domain: &Arc<dyn PagingDomain>,
) -> Result<(), Error> {
    for (range, area) in areas.areas() {
        if let Err(error) = topology.copy_into(domain, range, area) {
            domain.unmap(domain.aperture());
            if topology.page_tables.is_empty() {
                let filled = areas
                    .areas()
                    .take_while(|(done, _)| done.start() < range.start());
                for (range, area) in filled {
                    area.backing.unpin(area.bytes(range));
                }
            }
            return Err(error);
        }
    }
    Ok(())
}

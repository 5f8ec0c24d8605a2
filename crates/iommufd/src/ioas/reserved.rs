//! IOVAs that are not for mappings, and IOVAs that are preferred (§2.3, §2.4, §3.4).

use swiommu_addr::IovaRange;
use swiommu_injection::{Step, step};
use swiommu_iommu::ReservedKind;
use swiommu_iova::AllowList;
use swiommu_sabotage::Fault;

use super::{Ioas, Owner};
use crate::Error;
use crate::device::Device;
use crate::object::Headed;

impl Ioas {
    /// The largest ranges without a reserved IOVA, ascending. Mappings and allowed ranges do not matter.
    pub(crate) fn usable_ranges(&self) -> Vec<IovaRange> {
        self.areas.read().unreserved().collect()
    }

    /// Replaces the ranges that automatic placement keeps to; none means everywhere.
    pub(crate) fn allow(&self, ranges: AllowList) -> Result<(), Error> {
        step(Step::Area)?;
        if Fault::IgnoreAllowed.is_on() {
            return Ok(());
        }
        Ok(self.areas.write().set_allowed(ranges)?)
    }

    /// Reserves a range until the IOAS is destroyed.
    pub(crate) fn reserve_for_test(&self, range: IovaRange) -> Result<(), Error> {
        step(Step::Area)?;
        Ok(self.areas.write().reserve(range, Owner::Test)?)
    }

    /// Reserves what an attached device uses otherwise. All of it or, on an error, nothing.
    pub(crate) fn reserve_for(&self, device: &Device) -> Result<(), Error> {
        step(Step::Reserve)?;
        let regions = device.endpoint.reserved_regions();
        let count = |kind| regions.iter().filter(|region| region.kind == kind).count();
        let (hardware, software) = (count(ReservedKind::Msi), count(ReservedKind::SoftwareMsi));
        if software > 1 || (software > 0 && hardware > 0) {
            return Err(Error::InterruptWindows(software + hardware));
        }
        let owner = Owner::Device(device.header().id());
        let mut areas = self.areas.write();
        for region in regions
            .iter()
            .filter(|r| r.kind != ReservedKind::DirectRelaxable)
        {
            if let Err(error) = areas.reserve(region.range, owner) {
                areas.unreserve(&owner);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Gives back what was reserved for a device.
    pub(crate) fn unreserve_for(&self, device: &Device) {
        self.areas
            .write()
            .unreserve(&Owner::Device(device.header().id()));
    }
}

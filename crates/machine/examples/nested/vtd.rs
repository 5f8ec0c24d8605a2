//! Intel VT-d: the guest's table is an object by itself, and takes the invalidations.

use std::sync::Arc;

use swiommu_abi::hwpt::{IommuHwptDataType, IommuHwptVtdS1};
use swiommu_abi::invalidate::{IommuHwptInvalidateDataType, IommuHwptVtdS1Invalidate};
use swiommu_iommu::vtd::{SourceId, VtdEndpoint, VtdSettings, VtdUnit};
use swiommu_iommu::{Endpoint, Epochs, GroupId};
use swiommu_iommufd::{HwptFlags, ObjectId};
use swiommu_selftest::client::{Host, HwptData, Invalidation};
use zerocopy::IntoBytes;

use crate::guest::Guest;
use crate::{Architecture, IOVA, Result};

pub(crate) struct Vtd(Arc<VtdEndpoint>);

impl Architecture for Vtd {
    const NAME: &'static str = "Intel VT-d";

    // Present, writable, for users, accessed, dirty.
    const TABLE: u64 = 0x67;
    const PAGE: u64 = 0x67;

    fn new(host: &Host) -> Self {
        let unit = VtdUnit::new(host.memory(), &Epochs::new(), VtdSettings::default());
        Self(VtdEndpoint::new(&unit, SourceId(0x0100), GroupId(1)))
    }

    fn endpoint(&self) -> Arc<dyn Endpoint> {
        self.0.clone()
    }

    fn nest(&mut self, guest: &Guest, device: ObjectId, parent: ObjectId) -> Result<ObjectId> {
        let table = IommuHwptVtdS1 {
            pgtbl_addr: Guest::ROOT,
            addr_width: 48,
            ..Default::default()
        };
        let data = HwptData {
            data_type: IommuHwptDataType::VTD_S1.0,
            bytes: Some(table.as_bytes()),
            len: u32::try_from(size_of_val(&table))?,
        };
        let none = HwptFlags::empty();
        Ok(guest.iommu.hwpt_alloc_with(device, parent, none, data)?)
    }

    fn invalidate(&self, guest: &Guest, nested: ObjectId) -> Result<()> {
        let entry = IommuHwptVtdS1Invalidate {
            addr: IOVA.get(),
            npages: 1,
            ..Default::default()
        };
        let requests = Invalidation {
            data_type: IommuHwptInvalidateDataType::VTD_S1.0,
            bytes: Some(entry.as_bytes()),
            entry_len: u32::try_from(size_of_val(&entry))?,
            entry_num: 1,
        };
        Ok(guest.iommu.invalidate(nested, requests).0?)
    }

    /// Faults stay with the host; a guest gets page requests alone.
    fn told(&self, _guest: &Guest) -> Result<Option<String>> {
        Ok(None)
    }
}

//! The mock's nested domains (§9.5).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use swiommu_abi::mock::{
    IOMMU_HWPT_INVALIDATE_DATA_SELFTEST, IommuHwptInvalidateSelftest, MOCK_NESTED_DOMAIN_IOTLB_NUM,
};
use swiommu_iommu::{DriverError, Invalidated, NestedDomain, PagingDomain, Requests};
use zerocopy::IntoBytes;

use crate::MockViommu;
use crate::unit::DRIVER;
use crate::viommu::invalidates_all;

/// What stands for a guest's page table: an IOTLB of four entries that a client can compare.
#[derive(Debug)]
pub struct MockNestedDomain {
    parent: Arc<dyn PagingDomain>,
    viommu: Option<Arc<MockViommu>>,
    iotlb: [AtomicU32; MOCK_NESTED_DOMAIN_IOTLB_NUM as usize],
}

impl MockNestedDomain {
    /// All entries hold `iotlb` at first.
    pub(crate) fn new(
        parent: &Arc<dyn PagingDomain>,
        viommu: Option<Arc<MockViommu>>,
        iotlb: u32,
    ) -> Self {
        Self {
            parent: parent.clone(),
            viommu,
            iotlb: std::array::from_fn(|_| AtomicU32::new(iotlb)),
        }
    }

    /// What an entry of the IOTLB holds, if there is one of this number.
    pub fn iotlb(&self, entry: u32) -> Option<u32> {
        let entry = self.iotlb.get(usize::try_from(entry).ok()?)?;
        Some(entry.load(Ordering::Relaxed))
    }

    /// The virtual IOMMU that it was made on.
    pub(crate) fn viommu(&self) -> Option<&Arc<MockViommu>> {
        self.viommu.as_ref()
    }

    fn invalidate_entry(&self, request: IommuHwptInvalidateSelftest) -> Result<(), DriverError> {
        let all = invalidates_all(request.flags)?;
        let id = usize::try_from(request.iotlb_id).unwrap_or(usize::MAX);
        let entry = self.iotlb.get(id);
        let entry =
            entry.ok_or_else(|| DriverError::invalid(format!("the IOTLB has no entry {id}")))?;
        let chosen = if all {
            &self.iotlb[..]
        } else {
            std::slice::from_ref(entry)
        };
        for entry in chosen {
            entry.store(0, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl NestedDomain for MockNestedDomain {
    fn driver(&self) -> &'static str {
        DRIVER
    }

    fn parent(&self) -> &Arc<dyn PagingDomain> {
        &self.parent
    }

    fn invalidate(&self, requests: &dyn Requests) -> Invalidated {
        let data_type = requests.data_type();
        if data_type != IOMMU_HWPT_INVALIDATE_DATA_SELFTEST.0 {
            return Invalidated::refused(DriverError::invalid(format!(
                "the mock has no invalidations of type {data_type:#x}"
            )));
        }
        Invalidated::each(requests.count(), |index| {
            let mut entry = IommuHwptInvalidateSelftest::default();
            if requests.entry_len() != size_of_val(&entry) {
                let len = requests.entry_len();
                return Err(DriverError::invalid(format!(
                    "a request has 8 bytes, not {len}"
                )));
            }
            requests.read(index, 0, entry.as_mut_bytes())?;
            self.invalidate_entry(entry)
        })
    }
}

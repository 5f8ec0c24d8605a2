//! The mock's nested domains (§9.5).

use std::sync::Arc;

use swiommu_abi::mock::MOCK_NESTED_DOMAIN_IOTLB_NUM;
use swiommu_iommu::{NestedDomain, PagingDomain};

use crate::unit::DRIVER;

/// What stands for a guest's page table: an IOTLB of four entries that a client can compare.
#[derive(Debug)]
pub struct MockNestedDomain {
    parent: Arc<dyn PagingDomain>,
    iotlb: [u32; MOCK_NESTED_DOMAIN_IOTLB_NUM as usize],
}

impl MockNestedDomain {
    /// All entries hold `iotlb` at first.
    pub(crate) fn new(parent: &Arc<dyn PagingDomain>, iotlb: u32) -> Self {
        Self {
            parent: parent.clone(),
            iotlb: [iotlb; MOCK_NESTED_DOMAIN_IOTLB_NUM as usize],
        }
    }

    /// What an entry of the IOTLB holds, if there is one of this number.
    pub fn iotlb(&self, entry: u32) -> Option<u32> {
        self.iotlb.get(usize::try_from(entry).ok()?).copied()
    }
}

impl NestedDomain for MockNestedDomain {
    fn driver(&self) -> &'static str {
        DRIVER
    }

    fn parent(&self) -> &Arc<dyn PagingDomain> {
        &self.parent
    }
}

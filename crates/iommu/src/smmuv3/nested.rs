//! A guest's first stages in front of a second.

use std::sync::Arc;

use super::SmmuViommu;
use super::spec::GuestSte;
use super::unit::DRIVER;
use crate::{NestedDomain, PagingDomain};

/// A guest's stream table entry in front of a second stage of ours (`IOMMU_HWPT_DATA_ARM_SMMUV3`).
#[derive(Debug)]
pub struct SmmuNested {
    /// The viommu's, as others see it.
    parent: Arc<dyn PagingDomain>,
    pub(super) viommu: Arc<SmmuViommu>,
    pub(super) guest: GuestSte,
}

impl SmmuNested {
    pub(super) fn new(viommu: Arc<SmmuViommu>, guest: GuestSte) -> Self {
        Self {
            parent: viommu.parent.clone(),
            viommu,
            guest,
        }
    }
}

impl NestedDomain for SmmuNested {
    fn driver(&self) -> &'static str {
        DRIVER
    }

    fn parent(&self) -> &Arc<dyn PagingDomain> {
        &self.parent
    }
}

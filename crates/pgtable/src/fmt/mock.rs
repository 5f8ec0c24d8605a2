//! The format of the mock IOMMU in the kernel's IOMMUFD selftest: AMD v1 entries over a granule of 2 KiB.
//!
//! A granule smaller than the CPU's page catches code that takes one for the other. The address field holds the physical
//! address shifted left by one, so the format reaches 2^51. Three levels of nine bits make 38-bit IOVAs; default leaves are
//! 2 KiB, 1 MiB and 512 MiB; FC is never set and the root does not grow.

use swiommu_addr::{PageSize, PageSizes};

use super::Amd;
use crate::HardwareUpdate;

/// The format of the kernel's mock IOMMU.
pub type MockAmdv1 = Amd<11>;

impl MockAmdv1 {
    /// A table of three levels with every leaf size from 2 KiB to 64 GiB.
    pub const fn mock() -> Self {
        Self {
            initial_levels: 3,
            most_levels: 3,
            sizes: PageSizes::between(PageSize::SIZE_2K, PageSize::from_log2(36)),
            leaf_bits: 0,
            update: HardwareUpdate::None,
        }
    }
}

//! An IOAS with one domain.

use swiommu_abi::mock::MockIommupt;
use swiommu_iommufd::{HwptFlags, ObjectId};
use swiommu_selftest::client::{Client, Result};

/// Makes an IOAS with one page table. It is one that translates all IOVAs: the mock's default reaches 2 GiB.
pub(crate) fn ioas_with_domain(client: &Client) -> Result<ObjectId> {
    let device = client.mock_domain(client.ioas_alloc()?)?;
    let ioas = client.ioas_alloc()?;
    client.hwpt_alloc_mock(device.idev, ioas, HwptFlags::empty(), MockIommupt::HUGE)?;
    Ok(ioas)
}

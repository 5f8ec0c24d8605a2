//! What is dirty: the ioctls, and the operation of `IOMMU_TEST_CMD` that dirties.

use swiommu_abi::UapiStruct;
use swiommu_abi::dirty::{
    IOMMU_HWPT_GET_DIRTY_BITMAP, IOMMU_HWPT_SET_DIRTY_TRACKING, IommuHwptGetDirtyBitmap,
    IommuHwptSetDirtyTracking, IommufdHwptGetDirtyBitmapFlags, IommufdHwptSetDirtyTrackingFlags,
};
use swiommu_abi::test_cmd::{Dirty, IommuTestOp};
use swiommu_addr::{Hva, Iova};
use swiommu_iommu::{DirtyRead, DirtyTracking};
use swiommu_iommufd::ObjectId;

use super::{Client, Result};

/// What `DIRTY` is to mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dirtied<'a> {
    /// The IOVA of bit 0.
    pub iova: Iova,
    /// Bytes of the range.
    pub len: u64,
    /// Bytes that a bit stands for.
    pub page_size: u64,
    /// The bits.
    pub bitmap: &'a [u8],
}

/// Each method is one call; its errors are that call's.
impl Client {
    /// `IOMMU_HWPT_SET_DIRTY_TRACKING`.
    ///
    /// # Errors
    /// The call's.
    pub fn set_dirty_tracking(&self, hwpt: ObjectId, tracking: DirtyTracking) -> Result<()> {
        let mut flags = IommufdHwptSetDirtyTrackingFlags::empty();
        flags.set(
            IommufdHwptSetDirtyTrackingFlags::ENABLE,
            tracking == DirtyTracking::On,
        );
        let mut cmd = IommuHwptSetDirtyTracking {
            size: IommuHwptSetDirtyTracking::SIZE,
            flags: flags.bits(),
            hwpt_id: hwpt.0,
            ..Default::default()
        };
        self.ioctl(IOMMU_HWPT_SET_DIRTY_TRACKING, &mut cmd)
            .map(drop)
    }

    /// `IOMMU_HWPT_GET_DIRTY_BITMAP`, into the caller's memory at `bitmap`.
    ///
    /// # Errors
    /// The call's.
    pub fn get_dirty_bitmap(
        &self,
        hwpt: ObjectId,
        (iova, length): (Iova, u64),
        page_size: u64,
        bitmap: Hva,
        mode: DirtyRead,
    ) -> Result<()> {
        let mut flags = IommufdHwptGetDirtyBitmapFlags::empty();
        flags.set(
            IommufdHwptGetDirtyBitmapFlags::NO_CLEAR,
            mode == DirtyRead::Keep,
        );
        let mut cmd = IommuHwptGetDirtyBitmap {
            size: IommuHwptGetDirtyBitmap::SIZE,
            hwpt_id: hwpt.0,
            flags: flags.bits(),
            iova: iova.get(),
            length,
            page_size,
            data: bitmap.get(),
            ..Default::default()
        };
        self.ioctl(IOMMU_HWPT_GET_DIRTY_BITMAP, &mut cmd).map(drop)
    }

    /// `DIRTY`. Returns how many bits were set.
    ///
    /// # Errors
    /// The operation's.
    pub fn dirty(&self, hwpt: ObjectId, dirtied: Dirtied<'_>) -> Result<u64> {
        let bitmap = self.place(dirtied.bitmap)?;
        let body = Dirty {
            iova: dirtied.iova.get(),
            length: dirtied.len,
            page_size: dirtied.page_size,
            uptr: bitmap.at(0).get(),
            ..Default::default()
        };
        Ok(self.test(IommuTestOp::DIRTY, hwpt.0, body)?.out_nr_dirty)
    }
}

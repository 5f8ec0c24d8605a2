//! Dirty tracking of a paging domain.

use bitflags::bitflags;

use crate::layout::uapi_struct;
use crate::request;

/// `IOMMU_HWPT_SET_DIRTY_TRACKING`: starts or stops tracking, with [`IommuHwptSetDirtyTracking`].
pub const IOMMU_HWPT_SET_DIRTY_TRACKING: u32 = request(0x8b);
/// `IOMMU_HWPT_GET_DIRTY_BITMAP`: reads what was dirtied, with [`IommuHwptGetDirtyBitmap`].
pub const IOMMU_HWPT_GET_DIRTY_BITMAP: u32 = request(0x8c);

bitflags! {
    /// `enum iommufd_hwpt_set_dirty_tracking_flags`: whether to track.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct IommufdHwptSetDirtyTrackingFlags: u32 {
        /// Track; without it, stop.
        const ENABLE = 1;
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_HWPT_SET_DIRTY_TRACKING`].
    pub struct IommuHwptSetDirtyTracking = "iommu_hwpt_set_dirty_tracking" {
        /// Bytes of this struct.
        pub size: u32,
        /// [`IommufdHwptSetDirtyTrackingFlags`].
        pub flags: u32,
        /// The paging domain.
        pub hwpt_id: u32,
        /// Ignored.
        pub __reserved: u32,
    }
}

bitflags! {
    /// `enum iommufd_hwpt_get_dirty_bitmap_flags`: how to read.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct IommufdHwptGetDirtyBitmapFlags: u32 {
        /// Leave dirty what is dirty.
        const NO_CLEAR = 1;
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_HWPT_GET_DIRTY_BITMAP`].
    pub struct IommuHwptGetDirtyBitmap = "iommu_hwpt_get_dirty_bitmap" {
        /// Bytes of this struct.
        pub size: u32,
        /// The paging domain.
        pub hwpt_id: u32,
        /// [`IommufdHwptGetDirtyBitmapFlags`].
        pub flags: u32,
        /// 0.
        pub __reserved: u32,
        /// The IOVA of bit 0.
        pub iova: u64,
        /// Bytes of the range.
        pub length: u64,
        /// Bytes that one bit stands for.
        pub page_size: u64,
        /// Pointer to the bitmap, little-endian; bits are only ever set in it.
        pub data: u64,
    }
}

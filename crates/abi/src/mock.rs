//! What the mock IOMMU has in place of an architecture: types, data and numbers.

use bitflags::bitflags;

use crate::hw_info::IommuHwInfoType;
use crate::hw_queue::IommuHwQueueType;
use crate::hwpt::IommuHwptDataType;
use crate::invalidate::IommuHwptInvalidateDataType;
use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::veventq::IommuVeventqType;
use crate::viommu::IommuViommuType;

/// `MOCK_APERTURE_START`: the first IOVA of a default page table.
pub const MOCK_APERTURE_START: u64 = 1 << 24;
/// `MOCK_APERTURE_LAST`: the last IOVA of a default page table.
pub const MOCK_APERTURE_LAST: u64 = (1 << 31) - 1;
/// `MOCK_PAGE_SIZE`: bytes of the smallest leaf of a default page table.
pub const MOCK_PAGE_SIZE: u64 = 2048;
/// `MOCK_HUGE_PAGE_SIZE`: bytes of the large leaf of a huge page table.
pub const MOCK_HUGE_PAGE_SIZE: u64 = 512 * MOCK_PAGE_SIZE;
/// `MOCK_PASID_WIDTH`: bits of a PASID.
pub const MOCK_PASID_WIDTH: u8 = 20;
/// `IOMMU_TEST_PASID_RESERVED`: the PASID whose second attachment fails.
pub const IOMMU_TEST_PASID_RESERVED: u32 = 1024;

/// `MOCK_NESTED_DOMAIN_IOTLB_NUM`: entries of a nested domain's IOTLB.
pub const MOCK_NESTED_DOMAIN_IOTLB_NUM: u32 = 4;
/// `MOCK_NESTED_DOMAIN_IOTLB_ID_MAX`: the last of them.
pub const MOCK_NESTED_DOMAIN_IOTLB_ID_MAX: u32 = 3;
/// `IOMMU_TEST_IOTLB_DEFAULT`: what the tests put into them.
pub const IOMMU_TEST_IOTLB_DEFAULT: u32 = 0x0bad_beef;
/// `MOCK_DEV_CACHE_NUM`: entries of a device's cache.
pub const MOCK_DEV_CACHE_NUM: u32 = 4;
/// `MOCK_DEV_CACHE_ID_MAX`: the last of them.
pub const MOCK_DEV_CACHE_ID_MAX: u32 = 3;
/// `IOMMU_TEST_DEV_CACHE_DEFAULT`: what they hold at first.
pub const IOMMU_TEST_DEV_CACHE_DEFAULT: u32 = 0x00ba_ddad;
/// `IOMMU_TEST_HW_QUEUE_MAX`: how many hardware queues a vIOMMU has.
pub const IOMMU_TEST_HW_QUEUE_MAX: u32 = 2;

/// `IOMMU_HW_INFO_TYPE_SELFTEST`: [`IommuTestHwInfo`].
pub const IOMMU_HW_INFO_TYPE_SELFTEST: IommuHwInfoType = IommuHwInfoType(0xfeed_beef);
/// `IOMMU_HW_INFO_SELFTEST_REGVAL`: the value of the mock register.
pub const IOMMU_HW_INFO_SELFTEST_REGVAL: u32 = 0xdead_beef;
/// `IOMMU_HWPT_DATA_SELFTEST`: [`IommuHwptSelftest`].
pub const IOMMU_HWPT_DATA_SELFTEST: IommuHwptDataType = IommuHwptDataType(0xdead);
/// `IOMMU_HWPT_INVALIDATE_DATA_SELFTEST`: [`IommuHwptInvalidateSelftest`].
pub const IOMMU_HWPT_INVALIDATE_DATA_SELFTEST: IommuHwptInvalidateDataType =
    IommuHwptInvalidateDataType(0xdead_beef);
/// `IOMMU_HWPT_INVALIDATE_DATA_SELFTEST_INVALID`: no type at all.
pub const IOMMU_HWPT_INVALIDATE_DATA_SELFTEST_INVALID: IommuHwptInvalidateDataType =
    IommuHwptInvalidateDataType(0x0dad_beef);
/// `IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST`: [`IommuViommuInvalidateSelftest`].
pub const IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST: IommuHwptInvalidateDataType =
    IommuHwptInvalidateDataType(0xdead_beef);
/// `IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST_INVALID`: no type at all.
pub const IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST_INVALID: IommuHwptInvalidateDataType =
    IommuHwptInvalidateDataType(0x0dad_beef);
/// `IOMMU_VIOMMU_TYPE_SELFTEST`: [`IommuViommuSelftest`].
pub const IOMMU_VIOMMU_TYPE_SELFTEST: IommuViommuType = IommuViommuType(0xdead_beef);
/// `IOMMU_VEVENTQ_TYPE_SELFTEST`: [`IommuViommuEventSelftest`].
pub const IOMMU_VEVENTQ_TYPE_SELFTEST: IommuVeventqType = IommuVeventqType(0xbeef_beef);
/// `IOMMU_HW_QUEUE_TYPE_SELFTEST`.
pub const IOMMU_HW_QUEUE_TYPE_SELFTEST: IommuHwQueueType = IommuHwQueueType(0xdead_beef);

uapi_struct! {
    /// Hardware information.
    pub struct IommuTestHwInfo = "iommu_test_hw_info" {
        /// 0.
        pub flags: u32,
        /// [`IOMMU_HW_INFO_SELFTEST_REGVAL`].
        pub test_reg: u32,
    }
}

open_enum! {
    /// `MOCK_IOMMUPT_…`: formats of a page table.
    pub struct MockIommupt(u32) {
        /// Leaves of every power of two from 2 KiB.
        DEFAULT = 0,
        /// Leaves of 4 KiB and 1 MiB.
        HUGE = 1,
    }
}

uapi_struct! {
    /// Data for a page table. The first field alone will do.
    pub struct IommuHwptSelftest = "iommu_hwpt_selftest" {
        /// What the IOTLB of a nested domain holds at first.
        pub iotlb: u32,
        /// [`MockIommupt`], for a paging domain.
        pub pagetable_type: u32,
    }
}

bitflags! {
    /// `IOMMU_TEST_INVALIDATE_FLAG_…`: what to invalidate.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct IommuTestInvalidateFlags: u32 {
        /// Every entry.
        const ALL = 1 << 0;
    }
}

uapi_struct! {
    /// A request for a nested domain.
    pub struct IommuHwptInvalidateSelftest = "iommu_hwpt_invalidate_selftest" {
        /// [`IommuTestInvalidateFlags`].
        pub flags: u32,
        /// Which entry, without `ALL`.
        pub iotlb_id: u32,
    }
}

uapi_struct! {
    /// Data for a vIOMMU. The first two fields alone will do.
    pub struct IommuViommuSelftest = "iommu_viommu_selftest" {
        /// Any number.
        pub in_data: u32,
        /// Out: the same number.
        pub out_data: u32,
        /// Out: where to mmap.
        pub out_mmap_offset: u64,
        /// Out: bytes to mmap.
        pub out_mmap_length: u64,
    }
}

uapi_struct! {
    /// A request for a vIOMMU.
    pub struct IommuViommuInvalidateSelftest = "iommu_viommu_invalidate_selftest" {
        /// [`IommuTestInvalidateFlags`].
        pub flags: u32,
        /// The device, by its virtual ID.
        pub vdev_id: u32,
        /// Which entry, without `ALL`.
        pub cache_id: u32,
    }
}

uapi_struct! {
    /// An event of a vIOMMU.
    pub struct IommuViommuEventSelftest = "iommu_viommu_event_selftest" {
        /// The device, by its virtual ID.
        pub virt_id: u32,
    }
}

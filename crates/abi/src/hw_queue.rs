//! Queues in guest memory that the hardware reads by itself.

use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::request;

/// `IOMMU_HW_QUEUE_ALLOC`: gives the hardware a queue, with [`IommuHwQueueAlloc`].
pub const IOMMU_HW_QUEUE_ALLOC: u32 = request(0x94);

open_enum! {
    /// `enum iommu_hw_queue_type`: which queue.
    pub struct IommuHwQueueType(u32) {
        /// Not a type.
        DEFAULT = 0,
        /// A virtual command queue of a Tegra241.
        TEGRA241_CMDQV = 1,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_HW_QUEUE_ALLOC`].
    pub struct IommuHwQueueAlloc = "iommu_hw_queue_alloc" {
        /// Bytes of this struct.
        pub size: u32,
        /// 0.
        pub flags: u32,
        /// The vIOMMU.
        pub viommu_id: u32,
        /// [`IommuHwQueueType`].
        pub r#type: u32,
        /// Which of the vIOMMU's queues of the type.
        pub index: u32,
        /// Out: the new queue.
        pub out_hw_queue_id: u32,
        /// The guest physical address of the queue, as the nesting parent maps it.
        pub nesting_parent_iova: u64,
        /// Bytes of the queue.
        pub length: u64,
    }
}

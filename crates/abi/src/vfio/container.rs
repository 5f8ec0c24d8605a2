//! The container (`/dev/vfio/vfio`) and its type1 IOMMU, which a context of IOMMUFD also answers.

use bitflags::bitflags;

use super::VfioInfoCapHeader;
use super::command::{Argument, VfioCommand};
use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::request;

/// `VFIO_API_VERSION`: what [`VFIO_GET_API_VERSION`] returns.
pub const VFIO_API_VERSION: u32 = 0;

/// Tells the version of the API.
pub const VFIO_GET_API_VERSION: u32 = request(100);
/// Tells whether an [extension](VfioExtension) is there.
pub const VFIO_CHECK_EXTENSION: u32 = request(101);
/// Chooses the kind of IOMMU, itself a [`VfioExtension`].
pub const VFIO_SET_IOMMU: u32 = request(102);
/// Describes the IOMMU, with [`VfioIommuType1Info`].
pub const VFIO_IOMMU_GET_INFO: u32 = request(112);
/// Maps memory of the caller, with [`VfioIommuType1DmaMap`].
pub const VFIO_IOMMU_MAP_DMA: u32 = request(113);
/// Unmaps, with [`VfioIommuType1DmaUnmap`].
pub const VFIO_IOMMU_UNMAP_DMA: u32 = request(114);
/// Logs dirty pages, with [`VfioIommuType1DirtyBitmap`]. IOMMUFD does not have it.
pub const VFIO_IOMMU_DIRTY_PAGES: u32 = request(117);

/// The commands that IOMMUFD answers.
pub const COMMANDS: &[VfioCommand] = &[
    VfioCommand::plain(VFIO_GET_API_VERSION, "VFIO_GET_API_VERSION", Argument::None),
    VfioCommand::plain(
        VFIO_CHECK_EXTENSION,
        "VFIO_CHECK_EXTENSION",
        Argument::Number,
    ),
    VfioCommand::plain(VFIO_SET_IOMMU, "VFIO_SET_IOMMU", Argument::Number),
    VfioCommand::with::<VfioIommuType1Info>(
        VFIO_IOMMU_GET_INFO,
        "VFIO_IOMMU_GET_INFO",
        "iova_pgsizes",
    ),
    VfioCommand::with::<VfioIommuType1DmaMap>(VFIO_IOMMU_MAP_DMA, "VFIO_IOMMU_MAP_DMA", "size"),
    VfioCommand::with::<VfioIommuType1DmaUnmap>(
        VFIO_IOMMU_UNMAP_DMA,
        "VFIO_IOMMU_UNMAP_DMA",
        "size",
    ),
];

open_enum! {
    /// Kinds of IOMMU and extensions of them.
    pub struct VfioExtension(u64) {
        /// `VFIO_TYPE1_IOMMU`: mappings may be unmapped in parts.
        TYPE1_IOMMU = 1,
        /// `VFIO_SPAPR_TCE_IOMMU`: of POWER.
        SPAPR_TCE_IOMMU = 2,
        /// `VFIO_TYPE1v2_IOMMU`: mappings are unmapped whole.
        TYPE1V2_IOMMU = 3,
        /// `VFIO_DMA_CC_IOMMU`: DMA is always coherent with the caches.
        DMA_CC_IOMMU = 4,
        /// `VFIO_EEH`: error handling of POWER.
        EEH = 5,
        /// `__VFIO_RESERVED_TYPE1_NESTING_IOMMU`: once two-stage translation.
        RESERVED_TYPE1_NESTING_IOMMU = 6,
        /// `VFIO_SPAPR_TCE_v2_IOMMU`: of POWER.
        SPAPR_TCE_V2_IOMMU = 7,
        /// `VFIO_NOIOMMU_IOMMU`: no translation at all.
        NOIOMMU_IOMMU = 8,
        /// `VFIO_UNMAP_ALL`: everything can be unmapped at once.
        UNMAP_ALL = 9,
        /// `VFIO_UPDATE_VADDR`: the memory behind a mapping can move.
        UPDATE_VADDR = 10,
    }
}

bitflags! {
    /// `VFIO_IOMMU_INFO_…`: what [`VfioIommuType1Info`] holds.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioIommuInfoFlags: u32 {
        /// `iova_pgsizes` counts.
        const PGSIZES = 1 << 0;
        /// Capabilities can follow.
        const CAPS = 1 << 1;
    }
}

uapi_struct! {
    /// Argument of [`VFIO_IOMMU_GET_INFO`]; capabilities follow.
    pub struct VfioIommuType1Info = "vfio_iommu_type1_info" {
        /// In: bytes that fit. Out: bytes needed for everything.
        pub argsz: u32,
        /// Out: [`VfioIommuInfoFlags`].
        pub flags: u32,
        /// Out: the page sizes, one bit each.
        pub iova_pgsizes: u64,
        /// Out: the offset of the first capability; 0 when they did not fit.
        pub cap_offset: u32,
        /// 0.
        pub pad: u32,
    }
}

open_enum! {
    /// Capabilities of [`VfioIommuType1Info`].
    pub struct VfioIommuType1InfoCap(u16) {
        /// `VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE`: [`VfioIommuType1InfoCapIovaRange`].
        IOVA_RANGE = 1,
        /// `VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION`: [`VfioIommuType1InfoCapMigration`].
        MIGRATION = 2,
        /// `VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL`: [`VfioIommuType1InfoDmaAvail`].
        DMA_AVAIL = 3,
    }
}

uapi_struct! {
    /// A range of IOVAs in [`VfioIommuType1InfoCapIovaRange`].
    pub struct VfioIovaRange = "vfio_iova_range" {
        /// The first IOVA.
        pub start: u64,
        /// The last IOVA, inclusive.
        pub end: u64,
    }
}

uapi_struct! {
    /// The usable IOVAs; an array of [`VfioIovaRange`] follows.
    pub struct VfioIommuType1InfoCapIovaRange = "vfio_iommu_type1_info_cap_iova_range" {
        /// [`VfioIommuType1InfoCap::IOVA_RANGE`], version 1.
        pub header: VfioInfoCapHeader,
        /// Entries of the array.
        pub nr_iovas: u32,
        /// 0.
        pub reserved: u32,
    }
}

uapi_struct! {
    /// That dirty pages can be logged.
    pub struct VfioIommuType1InfoCapMigration = "vfio_iommu_type1_info_cap_migration" {
        /// [`VfioIommuType1InfoCap::MIGRATION`], version 1.
        pub header: VfioInfoCapHeader,
        /// 0.
        pub flags: u32,
        /// Inserted by the C compiler.
        pub _padding: u32,
        /// The page sizes that can be logged, one bit each.
        pub pgsize_bitmap: u64,
        /// Bytes of the largest bitmap.
        pub max_dirty_bitmap_size: u64,
    }
}

uapi_struct! {
    /// How many more mappings can be made.
    pub struct VfioIommuType1InfoDmaAvail = "vfio_iommu_type1_info_dma_avail" {
        /// [`VfioIommuType1InfoCap::DMA_AVAIL`], version 1.
        pub header: VfioInfoCapHeader,
        /// The number.
        pub avail: u32,
    }
}

bitflags! {
    /// `VFIO_DMA_MAP_FLAG_…`: how memory is mapped.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioDmaMapFlags: u32 {
        /// DMA may read.
        const READ = 1 << 0;
        /// DMA may write.
        const WRITE = 1 << 1;
        /// Only the address in the process changes.
        const VADDR = 1 << 2;
    }
}

uapi_struct! {
    /// Argument of [`VFIO_IOMMU_MAP_DMA`].
    pub struct VfioIommuType1DmaMap = "vfio_iommu_type1_dma_map" {
        /// Bytes of this struct.
        pub argsz: u32,
        /// [`VfioDmaMapFlags`].
        pub flags: u32,
        /// The first byte to map, in the caller's memory.
        pub vaddr: u64,
        /// Where to map.
        pub iova: u64,
        /// Bytes to map.
        pub size: u64,
    }
}

bitflags! {
    /// `VFIO_DMA_UNMAP_FLAG_…`: what unmapping does.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioDmaUnmapFlags: u32 {
        /// Tell the dirty pages of the range, with the [`VfioBitmap`] that follows.
        const GET_DIRTY_BITMAP = 1 << 0;
        /// Everything, whatever the range.
        const ALL = 1 << 1;
        /// Only the addresses in the process become invalid; the mappings stay.
        const VADDR = 1 << 2;
    }
}

uapi_struct! {
    /// Argument of [`VFIO_IOMMU_UNMAP_DMA`]; a [`VfioBitmap`] can follow.
    pub struct VfioIommuType1DmaUnmap = "vfio_iommu_type1_dma_unmap" {
        /// Bytes of this struct.
        pub argsz: u32,
        /// [`VfioDmaUnmapFlags`].
        pub flags: u32,
        /// The first IOVA.
        pub iova: u64,
        /// In: bytes of the range. Out: bytes that were mapped in it.
        pub size: u64,
    }
}

uapi_struct! {
    /// A bitmap of dirty pages in the caller's memory.
    pub struct VfioBitmap = "vfio_bitmap" {
        /// Bytes that one bit stands for.
        pub pgsize: u64,
        /// Bytes of the bitmap.
        pub size: u64,
        /// Pointer to the bitmap.
        pub data: u64,
    }
}

bitflags! {
    /// `VFIO_IOMMU_DIRTY_PAGES_FLAG_…`: what to do about dirty pages.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct VfioIommuDirtyPagesFlags: u32 {
        /// Start to log.
        const START = 1 << 0;
        /// Stop.
        const STOP = 1 << 1;
        /// Tell, with the [`VfioIommuType1DirtyBitmapGet`] that follows.
        const GET_BITMAP = 1 << 2;
    }
}

uapi_struct! {
    /// Argument of [`VFIO_IOMMU_DIRTY_PAGES`]; a [`VfioIommuType1DirtyBitmapGet`] can follow.
    pub struct VfioIommuType1DirtyBitmap = "vfio_iommu_type1_dirty_bitmap" {
        /// Bytes of this struct and what follows.
        pub argsz: u32,
        /// [`VfioIommuDirtyPagesFlags`].
        pub flags: u32,
    }
}

uapi_struct! {
    /// Which dirty pages to tell.
    pub struct VfioIommuType1DirtyBitmapGet = "vfio_iommu_type1_dirty_bitmap_get" {
        /// The first IOVA.
        pub iova: u64,
        /// Bytes of the range.
        pub size: u64,
        /// Where to.
        pub bitmap: VfioBitmap,
    }
}

//! I/O address spaces: allocation, ranges, mappings.

use bitflags::bitflags;

use crate::layout::uapi_struct;
use crate::request;

/// `IOMMU_IOAS_ALLOC`: makes an IOAS, with [`IommuIoasAlloc`].
pub const IOMMU_IOAS_ALLOC: u32 = request(0x81);
/// `IOMMU_IOAS_ALLOW_IOVAS`: limits automatic placement, with [`IommuIoasAllowIovas`].
pub const IOMMU_IOAS_ALLOW_IOVAS: u32 = request(0x82);
/// `IOMMU_IOAS_COPY`: maps what another range maps, with [`IommuIoasCopy`].
pub const IOMMU_IOAS_COPY: u32 = request(0x83);
/// `IOMMU_IOAS_IOVA_RANGES`: lists the usable IOVAs, with [`IommuIoasIovaRanges`].
pub const IOMMU_IOAS_IOVA_RANGES: u32 = request(0x84);
/// `IOMMU_IOAS_MAP`: maps memory of the caller, with [`IommuIoasMap`].
pub const IOMMU_IOAS_MAP: u32 = request(0x85);
/// `IOMMU_IOAS_UNMAP`: unmaps, with [`IommuIoasUnmap`].
pub const IOMMU_IOAS_UNMAP: u32 = request(0x86);
/// `IOMMU_IOAS_MAP_FILE`: maps a file, with [`IommuIoasMapFile`].
pub const IOMMU_IOAS_MAP_FILE: u32 = request(0x8f);
/// `IOMMU_IOAS_CHANGE_PROCESS`: makes the caller the owner of all mappings, with [`IommuIoasChangeProcess`].
pub const IOMMU_IOAS_CHANGE_PROCESS: u32 = request(0x92);
/// `IOMMU_IOAS_NOIOMMU_GET_PA`: tells a physical address, with [`IommuIoasNoiommuGetPa`].
pub const IOMMU_IOAS_NOIOMMU_GET_PA: u32 = request(0x95);

bitflags! {
    /// `enum iommufd_ioas_map_flags`: how a range is mapped.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct IommufdIoasMapFlags: u32 {
        /// Map at the IOVA given; without it, a free place is chosen and told.
        const FIXED_IOVA = 1 << 0;
        /// DMA may write.
        const WRITEABLE = 1 << 1;
        /// DMA may read.
        const READABLE = 1 << 2;
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_IOAS_ALLOC`].
    pub struct IommuIoasAlloc = "iommu_ioas_alloc" {
        /// Bytes of this struct.
        pub size: u32,
        /// 0.
        pub flags: u32,
        /// Out: the new IOAS.
        pub out_ioas_id: u32,
    }
}

uapi_struct! {
    /// A range of IOVAs in the arrays of [`IommuIoasIovaRanges`] and [`IommuIoasAllowIovas`].
    pub struct IommuIovaRange = "iommu_iova_range" {
        /// The first IOVA.
        pub start: u64,
        /// The last IOVA, inclusive.
        pub last: u64,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_IOAS_IOVA_RANGES`].
    pub struct IommuIoasIovaRanges = "iommu_ioas_iova_ranges" {
        /// Bytes of this struct.
        pub size: u32,
        /// The IOAS.
        pub ioas_id: u32,
        /// In: entries of the array. Out: how many ranges there are.
        pub num_iovas: u32,
        /// 0.
        pub __reserved: u32,
        /// Pointer to an array of [`IommuIovaRange`] to fill.
        pub allowed_iovas: u64,
        /// Out: what IOVAs and lengths of mappings must be multiples of, in bytes.
        pub out_iova_alignment: u64,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_IOAS_ALLOW_IOVAS`].
    pub struct IommuIoasAllowIovas = "iommu_ioas_allow_iovas" {
        /// Bytes of this struct.
        pub size: u32,
        /// The IOAS.
        pub ioas_id: u32,
        /// Entries of the array.
        pub num_iovas: u32,
        /// 0.
        pub __reserved: u32,
        /// Pointer to an array of [`IommuIovaRange`] to read.
        pub allowed_iovas: u64,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_IOAS_MAP`].
    pub struct IommuIoasMap = "iommu_ioas_map" {
        /// Bytes of this struct.
        pub size: u32,
        /// [`IommufdIoasMapFlags`].
        pub flags: u32,
        /// The IOAS.
        pub ioas_id: u32,
        /// 0.
        pub __reserved: u32,
        /// The first byte to map, in the caller's memory.
        pub user_va: u64,
        /// Bytes to map.
        pub length: u64,
        /// In: where to map, with `FIXED_IOVA`. Out: where it was mapped.
        pub iova: u64,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_IOAS_MAP_FILE`].
    pub struct IommuIoasMapFile = "iommu_ioas_map_file" {
        /// Bytes of this struct.
        pub size: u32,
        /// [`IommufdIoasMapFlags`].
        pub flags: u32,
        /// The IOAS.
        pub ioas_id: u32,
        /// The caller's descriptor of a memfd or dma-buf.
        pub fd: i32,
        /// The first byte to map, in the file.
        pub start: u64,
        /// Bytes to map.
        pub length: u64,
        /// In: where to map, with `FIXED_IOVA`. Out: where it was mapped.
        pub iova: u64,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_IOAS_COPY`].
    pub struct IommuIoasCopy = "iommu_ioas_copy" {
        /// Bytes of this struct.
        pub size: u32,
        /// [`IommufdIoasMapFlags`].
        pub flags: u32,
        /// The IOAS to map in.
        pub dst_ioas_id: u32,
        /// The IOAS that has the mapping.
        pub src_ioas_id: u32,
        /// Bytes to map.
        pub length: u64,
        /// In: where to map, with `FIXED_IOVA`. Out: where it was mapped.
        pub dst_iova: u64,
        /// The first IOVA of the range to copy.
        pub src_iova: u64,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_IOAS_UNMAP`].
    pub struct IommuIoasUnmap = "iommu_ioas_unmap" {
        /// Bytes of this struct.
        pub size: u32,
        /// The IOAS.
        pub ioas_id: u32,
        /// The first IOVA.
        pub iova: u64,
        /// In: bytes of the range; 2^64-1 at IOVA 0 means everything. Out: bytes that were mapped in it.
        pub length: u64,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_IOAS_CHANGE_PROCESS`].
    pub struct IommuIoasChangeProcess = "iommu_ioas_change_process" {
        /// Bytes of this struct.
        pub size: u32,
        /// 0.
        pub __reserved: u32,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_IOAS_NOIOMMU_GET_PA`].
    pub struct IommuIoasNoiommuGetPa = "iommu_ioas_noiommu_get_pa" {
        /// Bytes of this struct.
        pub size: u32,
        /// 0.
        pub flags: u32,
        /// The IOAS.
        pub ioas_id: u32,
        /// 0.
        pub __reserved: u32,
        /// The IOVA to look up.
        pub iova: u64,
        /// In: bytes asked about. Out: how many of them are physically contiguous.
        pub length: u64,
        /// Out: the physical address.
        pub out_phys: u64,
    }
}

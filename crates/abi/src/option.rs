//! Options of a context, and the IOAS that VFIO type1 ioctls use.

use crate::layout::uapi_struct;
use crate::open_enum::open_enum;
use crate::request;

/// `IOMMU_OPTION`: reads or sets an option, with [`IommuOption`].
pub const IOMMU_OPTION: u32 = request(0x87);
/// `IOMMU_VFIO_IOAS`: chooses the compatibility IOAS, with [`IommuVfioIoas`].
pub const IOMMU_VFIO_IOAS: u32 = request(0x88);

open_enum! {
    /// `enum iommufd_option`: which option.
    pub struct IommufdOption(u32) {
        /// Of the context: whether pinned pages are charged to the user (0) or to the process (1).
        RLIMIT_MODE = 0,
        /// Of an IOAS: whether contiguous pages may share a leaf (1) or not (0).
        HUGE_PAGES = 1,
    }
}

open_enum! {
    /// `enum iommufd_option_ops`: what to do with the option.
    pub struct IommufdOptionOps(u16) {
        /// Set it.
        SET = 0,
        /// Read it.
        GET = 1,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_OPTION`].
    pub struct IommuOption = "iommu_option" {
        /// Bytes of this struct.
        pub size: u32,
        /// [`IommufdOption`].
        pub option_id: u32,
        /// [`IommufdOptionOps`].
        pub op: u16,
        /// 0.
        pub __reserved: u16,
        /// The object that has the option; 0 for the context.
        pub object_id: u32,
        /// The value: in for a set, out for a get.
        pub val64: u64,
    }
}

open_enum! {
    /// `enum iommufd_vfio_ioas_op`: what to do with the compatibility IOAS.
    pub struct IommufdVfioIoasOp(u16) {
        /// Tell which it is.
        GET = 0,
        /// Choose it.
        SET = 1,
        /// Have none.
        CLEAR = 2,
    }
}

uapi_struct! {
    /// Argument of [`IOMMU_VFIO_IOAS`].
    pub struct IommuVfioIoas = "iommu_vfio_ioas" {
        /// Bytes of this struct.
        pub size: u32,
        /// The IOAS: in for a set, out for a get.
        pub ioas_id: u32,
        /// [`IommufdVfioIoasOp`].
        pub op: u16,
        /// 0.
        pub __reserved: u16,
    }
}

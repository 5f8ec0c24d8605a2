//! What all objects have in common.

use crate::layout::uapi_struct;
use crate::request;

/// `IOMMU_DESTROY`: destroys an object of any kind, with [`IommuDestroy`].
pub const IOMMU_DESTROY: u32 = request(0x80);

uapi_struct! {
    /// Argument of [`IOMMU_DESTROY`].
    pub struct IommuDestroy = "iommu_destroy" {
        /// Bytes of this struct.
        pub size: u32,
        /// The object.
        pub id: u32,
    }
}

//! The numbers of ioctls.

/// `IOMMUFD_TYPE` and `VFIO_TYPE`: the letter that both families of ioctls carry.
const TYPE: u8 = b';';

/// The request number of a command: no direction and no size, only the letter and `nr`.
///
/// ```
/// assert_eq!(swiommu_abi::request(0x85), swiommu_abi::ioas::IOMMU_IOAS_MAP);
/// assert_eq!(swiommu_abi::request(0x85), 0x3b85);
/// ```
pub const fn request(nr: u8) -> u32 {
    u32::from_be_bytes([0, 0, TYPE, nr])
}

/// The number of a command within its family: the low byte of the request.
pub const fn nr(request: u32) -> u8 {
    request.to_le_bytes()[0]
}

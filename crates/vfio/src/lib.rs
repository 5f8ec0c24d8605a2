//! The external driver of VFIO: a device as a file, `/dev/vfio/devices/vfioN`, that a client binds to a context of IOMMUFD.
//!
//! A [`Device`] stands for an endpoint behind some IOMMU. Every open of its [`DeviceNode`] is a [`DeviceFile`], on which the client
//! calls `VFIO_DEVICE_BIND_IOMMUFD`, and then attaches and detaches the device, per PASID. Of IOMMUFD it uses what any external
//! driver may: [`Context::bind`](swiommu_iommufd::Context::bind) and the [`BoundDevice`](swiommu_iommufd::BoundDevice) that this
//! gives.
//!
//! A device has no regions and no interrupts yet, and says so.
//!
//! Section numbers (§) are those of the written description of IOMMUFD's behaviour that the project keeps beside its
//! sources; VFIO's device files are its §4.9.

#![forbid(unsafe_code)]

mod bound;
mod copy;
mod device;
mod error;
mod features;
mod file;
mod info;
mod owners;

#[cfg(test)]
mod tests;

pub use device::{Device, DeviceNode};
pub use error::Error;
pub use file::DeviceFile;
pub use owners::Owners;

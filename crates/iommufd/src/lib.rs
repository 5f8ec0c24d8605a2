//! Linux's IOMMUFD in user space: the object model, and the ioctls on it.
//!
//! A [`Context`] is one open `/dev/iommu`. Its typed methods are the Rust API; [`Context::ioctl`] decodes the uAPI's structs and
//! calls them. Behaviour is that of Linux 7.3, to the errno; section numbers (§) in this crate refer to the written
//! description of it that the project keeps beside its sources.
//!
//! External drivers (VFIO, the selftest's mock) bind endpoints with [`Context::bind`], and attach, replace and detach them
//! through a [`BoundDevice`]; they read, write and pin in software through a [`SoftwareAccess`]. They use nothing else.

#![forbid(unsafe_code)]

mod access;
mod context;
mod copy;
mod device;
mod driver;
mod error;
mod fault;
mod file;
mod graph;
mod hwpt;
mod ioas;
mod ioctl;
mod object;
mod state;
mod vfio;
mod viommu;

pub use access::{AccessClient, AccessKind, Pinned, SoftwareAccess};
pub use context::{Context, RlimitMode};
pub use device::BoundDevice;
pub use driver::{Extension, HeldDriverObject, ReservedObject};
pub use error::Error;
pub use file::ContextFile;
pub use graph::{Node, Reference};
pub use hwpt::{HwptFlags, HwptRequest};
pub use ioas::{MapRequest, MapSource, Placement};
pub use ioctl::{Call, Outcome};
pub use object::ObjectId;

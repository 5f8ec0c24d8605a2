//! The client that `swiommu try` runs: a tour of IOMMUFD as any Rust VMM would take it.
//!
//! It is written with the upstream crates `iommufd-ioctls` and `iommufd-bindings`, and shares no type with the rest of swiommu,
//! so that what it does proves something. What upstream has no wrapper for, the list of IOVA ranges and the commands of the
//! kernel's selftest, is in [`raw`].

// UNSAFETY: ioctls that upstream does not wrap are called here, each with a struct of the layout that its number stands for.
#![expect(unsafe_code, reason = "raw ioctls that upstream does not wrap")]

mod buffer;
mod error;
pub mod guest;
pub mod raw;
mod tour;
pub mod vfio;

pub use buffer::Buffer;
pub use error::Error;
pub use tour::tour;

//! Layouts and numbers against three other sides: the crates `iommufd-bindings` and `vfio-bindings`, and the C headers of this
//! machine where there are any.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bindings;
mod header;
mod ours;

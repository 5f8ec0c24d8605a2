//! The rules of the ioctls: which error comes first, what a call that fails leaves alone, and calls at the same time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod concurrency;
mod copy;
mod dispatch;
mod fixture;
mod hwpt;
mod info;
mod map;
mod no_iommu;
mod objects;
mod option;
mod order;
mod ranges;
mod reply;
mod typed;
mod vfio;

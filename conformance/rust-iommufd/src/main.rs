//! A test of every wrapper of the crate `iommufd-ioctls`, by the wrapper as it is published.
//!
//! It needs a machine with a VFIO device behind an Intel VT-d and one behind an Arm `SMMUv3`, and a kernel with the selftest's mock
//! IOMMU: `swiommu run --iommu vtd --iommu smmuv3 -- rust-iommufd`. It knows nothing of swiommu.
//!
//! What it prints, and its options `-l` and `-r`, are those of the kernel's own selftests, so that the same harness runs it.

// UNSAFETY: ioctls that upstream does not wrap are called here, each with a struct of the layout that its number stands for.
#![expect(unsafe_code, reason = "ioctls that upstream does not wrap")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod errno;
mod harness;
mod lab;
mod tests;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::main(tests::ALL)
}

//! The mock IOMMU of the kernel's IOMMUFD selftest, and `IOMMU_TEST_CMD`, the command that drives it.
//!
//! It is an external driver: [`Selftest`] adds its command to a context with
//! [`Context::extended`](swiommu_iommufd::Context::extended) and uses what any external driver may. Its [`MockUnit`] has
//! real page tables, of the 2 KiB-granule variant of AMD v1, in the machine's memory. Whatever an operation checks comes
//! from there: mappings and dirty bits from page-table entries, pin counts from the memory's pin table, nothing from the
//! areas of an IOAS.
//!
//! # Operations
//!
//! | number | operation | |
//! |---|---|---|
//! | 1 | `ADD_RESERVED` | served |
//! | 2, 12 | `MOCK_DOMAIN`, `MOCK_DOMAIN_FLAGS` | served |
//! | 3, 4 | `MD_CHECK_MAP`, `MD_CHECK_REFS` | served |
//! | 5 to 8, 11 | the accesses | served |
//! | 9 | `SET_TEMP_MEMORY_LIMIT` | kept, and has no effect: nothing is done in batches of that size |
//! | 10 | `MOCK_DOMAIN_REPLACE` | served |
//! | 13 | `DIRTY` | served |
//! | 14, 16 | `MD_CHECK_IOTLB`, `DEV_CHECK_CACHE` | served |
//! | 15 | `TRIGGER_IOPF` | served |
//! | 17 | `TRIGGER_VEVENT` | served |
//! | 18 to 21 | `PASID_ATTACH`, `PASID_REPLACE`, `PASID_DETACH`, `PASID_CHECK_HWPT` | served |
//! | 22, 23 | `DMABUF_GET`, `DMABUF_REVOKE` | served; `DMABUF_GET` returns the descriptor, as the kernel's test expects |
//!
//! Section numbers (§) are those of the written description of IOMMUFD's behaviour that the project keeps beside its
//! sources; the mock is its chapter 9.

#![forbid(unsafe_code)]

mod access;
mod check;
pub mod client;
mod device;
mod dirty;
mod dma_buf;
mod domain;
mod endpoint;
mod error;
mod events;
mod memory;
mod nested;
mod pasid;
mod selftest;
mod unit;
mod viommu;

pub use dma_buf::MockDmaBuf;
pub use domain::MockDomain;
pub use endpoint::MockEndpoint;
pub use error::Error;
pub use nested::MockNestedDomain;
pub use selftest::Selftest;
pub use unit::MockUnit;
pub use viommu::MockViommu;

/// The examples of the document about the objects, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/objects.md")]
mod objects {}

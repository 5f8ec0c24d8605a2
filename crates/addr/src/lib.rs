//! The words for places in memory: addresses, inclusive ranges, powers of two.
//!
//! Four kinds of address pass through an IOMMU, and mixing two of them up is the classic mistake of the field. Each has a
//! type of its own here, and no public function of swiommu takes a bare `u64` for one:
//!
//! | type | what it addresses | who chooses it |
//! |---|---|---|
//! | [`Iova`] | what a device puts on the bus | the client |
//! | [`Gpa`] | a guest's memory: what a stage-1 table holds under nesting | the guest |
//! | [`Pa`] | what a stage-2 or single-stage leaf holds | swiommu |
//! | [`Hva`] | a process' virtual memory | that process |
//!
//! A range is written `start..=last` and [`AddrRange`] keeps it so, because an IOVA range may end at 2^64-1.
//!
//! ```
//! use swiommu_addr::{Iova, IovaRange, PageSize};
//!
//! let whole = IovaRange::new(Iova::new(0), Iova::new(u64::MAX)).unwrap();
//! assert_eq!(whole.len(), None); // 2^64 bytes do not fit a u64
//!
//! let page = IovaRange::from_len(Iova::new(0x1000), 0x1000).unwrap();
//! assert_eq!(page.last(), Iova::new(0x1fff));
//! assert!(page.is_aligned(PageSize::SIZE_4K));
//! ```

#![no_std]
#![forbid(unsafe_code)]

mod address;
mod page_size;
mod page_sizes;
mod range;

pub use address::{Address, Gpa, Hva, Iova, Pa};
pub use page_size::PageSize;
pub use page_sizes::PageSizes;
pub use range::{AddrRange, GpaRange, HvaRange, IovaRange, PaRange};

#[cfg(test)]
mod tests;

/// The example there.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

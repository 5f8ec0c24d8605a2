//! The IOVA space of an I/O address space (IOAS): which addresses are taken, by what, and where something new can go.
//!
//! A [`Space`] knows four things, in the words of the IOMMUFD uAPI:
//!
//! * **areas**: disjoint ranges, each with a value of the caller's (`IOMMU_IOAS_MAP`);
//! * **reserved intervals**, which have an owner and may overlap each other but no area: what a domain cannot translate, what a
//!   device uses for other purposes;
//! * the **allow-list** (`IOMMU_IOAS_ALLOW_IOVAS`), to which automatic placement keeps, and no reserved interval may
//!   overlap it;
//! * the **gaps** that are left, in which it finds the lowest place for an area of a given length and alignment.
//!
//! ```
//! use swiommu_addr::{Hva, Iova, IovaRange, PageSize};
//! use swiommu_iova::{InsertError, Origin, Request, Space};
//!
//! let mut space = Space::new();
//! // A domain that translates 32 bits reserves what lies above for as long as it is there.
//! let above = IovaRange::new(Iova::new(1 << 32), Iova::new(u64::MAX)).unwrap();
//! space.reserve(above, "domain")?;
//!
//! let fixed = IovaRange::from_len(Iova::new(0x1000), 0x2000).unwrap();
//! space.insert(fixed, "ring")?;
//! assert_eq!(space.insert(fixed, "again"), Err(InsertError::Area(fixed)));
//!
//! // 4 MiB of memory that starts on a 2 MiB boundary is placed on one, so that large leaves can map it.
//! let range = space.place(&Request {
//!     origin: Origin::address(Hva::new(0x7f00_0020_0000)),
//!     length: 4 << 20,
//!     alignment: PageSize::SIZE_4K,
//!     huge_page: PageSize::SIZE_2M,
//! })?;
//! assert_eq!(range.start(), Iova::new(0x20_0000));
//! space.insert(range, "buffer")?;
//!
//! assert_eq!(space.get(Iova::new(0x2abc)), Some((fixed, &"ring")));
//! assert_eq!(space.areas().map(|(_, name)| *name).collect::<Vec<_>>(), ["ring", "buffer"]);
//! assert_eq!(space.remove(Iova::new(0x1000)), Some((fixed, "ring")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Costs
//!
//! With n areas and reserved intervals, each call takes O(log n) steps whatever their arrangement, plus what it yields or is
//! given: iterating takes O(log n) more per 8 areas at least, removing an owner O(log n) per interval. [`Space::place`] is the one
//! with an amortised bound, and looks at allowed ranges one by one; see there.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod allow_list;
mod placement;
mod reserved;
mod space;
mod steps;
mod tree;

pub use allow_list::{AllowError, AllowList};
pub use placement::{Origin, PlaceError, Request};
pub use space::{InsertError, NotAllowed, ReserveError, Space};

use swiommu_addr::PageSize;

/// `PAGE_SIZE` of the supported hosts: the first and last of these are never placed in, and origins count modulo it.
const PAGE: PageSize = PageSize::SIZE_4K;

#[cfg(test)]
mod tests;

/// The example there.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

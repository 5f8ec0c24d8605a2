//! IOAS: an I/O address space. Areas of memory at IOVAs, and the page tables that carry them.
//!
//! Every complete area is present in every linked page table. Without one, areas are only noted: no memory is touched.
//!
//! # Locks
//!
//! `hwpts`, then `topology`, then `areas`, then the locks of a pages object. Whoever maps or unmaps holds `topology` for
//! reading; whoever adds or removes a page table or an access holds it for writing, and so alone.

mod area;
mod backing;
mod copy;
mod cut;
mod dirty;
mod import;
mod map;
mod owner;
mod page_tables;
mod pages;
mod physical;
mod reserved;
mod unmap;

use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use swiommu_addr::{Iova, IovaRange, PageSize, PageSizes};
use swiommu_iommu::PagingDomain;
use swiommu_sabotage::Fault;

use area::Areas;
pub(crate) use backing::Backing;
pub(crate) use dirty::DirtyBits;
pub use map::{MapRequest, MapSource, Placement};

use crate::Error;
use crate::access::Access;
use crate::hwpt::HwptPaging;
use crate::object::{Header, ObjectId};

/// The largest alignment of automatic placement: the huge page of the host (PMD, §3.3).
const HUGE_PAGE: PageSize = PageSize::SIZE_2M;

/// An I/O address space as an object.
#[derive(Debug)]
pub(crate) struct Ioas {
    own: Weak<Self>,
    pub(crate) header: Header,
    /// The automatic page tables in the order of their making. Held while one is searched, or any is made.
    pub(crate) hwpts: Mutex<Vec<Weak<HwptPaging>>>,
    topology: RwLock<Topology>,
    areas: RwLock<Areas>,
}

/// What the areas must be kept in step with.
#[derive(Debug)]
struct Topology {
    page_tables: Vec<Linked>,
    accesses: Vec<Arc<Access>>,
    /// The leaf sizes that may be used: all, or those up to a page (`IOMMU_OPTION_HUGE_PAGES` off).
    leaves: PageSizes,
    /// What IOVA, length and page offset of every area are multiples of (§3.2).
    alignment: PageSize,
}

/// A page table of this IOAS.
#[derive(Debug)]
struct Linked {
    hwpt: ObjectId,
    domain: Arc<dyn PagingDomain>,
}

/// Whose a reserved range is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Owner {
    /// A page table that cannot translate it.
    PageTable(ObjectId),
    /// A device that uses it otherwise.
    Device(ObjectId),
    /// The driver of a test, until the IOAS goes.
    Test,
}

impl Ioas {
    pub(crate) fn new(id: ObjectId) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            header: Header::new(id),
            hwpts: Mutex::default(),
            topology: RwLock::new(Topology {
                page_tables: Vec::new(),
                accesses: Vec::new(),
                leaves: PageSizes::ALL,
                alignment: PageSize::BYTE,
            }),
            areas: RwLock::new(Areas::new()),
        })
    }

    /// What IOVAs, lengths and page offsets must be multiples of.
    pub(crate) fn alignment(&self) -> PageSize {
        self.topology.read().alignment
    }

    /// The leaf sizes that every page table of it has; all without one.
    pub(crate) fn page_sizes(&self) -> PageSizes {
        let topology = self.topology.read();
        let sizes = topology
            .page_tables
            .iter()
            .map(|linked| linked.domain.page_sizes());
        sizes.fold(PageSizes::ALL, PageSizes::intersection)
    }

    /// How many areas there are, and how many bytes they have.
    pub(crate) fn usage(&self) -> (usize, u128) {
        let areas = self.areas.read();
        let bytes = areas
            .areas()
            .map(|(range, _)| u128::from(range.len_minus_one()) + 1)
            .sum();
        (areas.len(), bytes)
    }

    /// Whether every page table of it makes all DMA coherent.
    pub(crate) fn enforces_cache_coherency(&self) -> bool {
        let coherent = swiommu_iommu::DomainFeatures::ENFORCE_CACHE_COHERENCY;
        let topology = self.topology.read();
        topology
            .page_tables
            .iter()
            .all(|linked| linked.domain.features().contains(coherent))
    }

    /// `IOMMU_OPTION_HUGE_PAGES`: whether leaves may be larger than a page.
    pub(crate) fn has_large_pages(&self) -> bool {
        self.topology.read().has_large_pages()
    }

    /// Lets leaves be as large as they can. Mappings that exist keep theirs.
    pub(crate) fn allow_large_pages(&self) {
        let mut topology = self.topology.write();
        topology.leaves = PageSizes::ALL;
        topology.alignment = topology.demanded_alignment();
    }

    /// Limits leaves to the page of the host (§2.9).
    pub(crate) fn forbid_large_pages(&self) -> Result<(), Error> {
        let mut topology = self.topology.write();
        if !topology.has_large_pages() {
            return Ok(());
        }
        let areas = self.areas.read();
        if !topology.page_tables.is_empty() && !areas.is_empty() {
            return Err(Error::LargePagesInUse);
        }
        topology.raise_alignment(&areas, swiommu_mem::PAGE)?;
        topology.leaves = PageSizes::between(PageSize::BYTE, swiommu_mem::PAGE);
        Ok(())
    }

    /// Takes in an access, which may demand page alignment (§5.1).
    pub(crate) fn admit_access(&self, access: &Arc<Access>) -> Result<(), Error> {
        let mut topology = self.topology.write();
        topology.raise_alignment(&self.areas.read(), access.alignment())?;
        topology.accesses.push(access.clone());
        Ok(())
    }

    /// Lets an access go.
    pub(crate) fn expel_access(&self, access: &Arc<Access>) {
        let mut topology = self.topology.write();
        topology
            .accesses
            .retain(|admitted| !Arc::ptr_eq(admitted, access));
        if !Fault::KeepAlignment.is_on() {
            topology.alignment = topology.demanded_alignment();
        }
    }
}

impl Topology {
    fn has_large_pages(&self) -> bool {
        self.leaves == PageSizes::ALL
    }

    /// The alignment that page tables, accesses and the leaf limit ask for.
    fn demanded_alignment(&self) -> PageSize {
        let smallest_leaf = |linked: &Linked| {
            linked
                .domain
                .page_sizes()
                .smallest()
                .unwrap_or(PageSize::BYTE)
        };
        let page_tables = self.page_tables.iter().map(smallest_leaf);
        let accesses = self.accesses.iter().map(|access| access.alignment());
        let leaves = if self.has_large_pages() {
            PageSize::BYTE
        } else {
            swiommu_mem::PAGE
        };
        page_tables.chain(accesses).fold(leaves, Ord::max)
    }

    /// Raises the alignment to `wanted`, if every area has it already.
    fn raise_alignment(&mut self, areas: &Areas, wanted: PageSize) -> Result<(), Error> {
        if wanted <= self.alignment {
            return Ok(());
        }
        for (range, area) in areas.areas() {
            if !area.is_aligned(range, wanted) {
                return Err(Error::AreaMisaligned {
                    area: range,
                    alignment: wanted,
                });
            }
        }
        self.alignment = wanted;
        Ok(())
    }
}

/// The range from `start` of `len` bytes, or the errno of the kernel's checks: `EINVAL` for none, `EOVERFLOW` past the end.
pub(crate) fn checked_range(start: Iova, len: u64) -> Result<IovaRange, Error> {
    if len == 0 {
        return Err(Error::ZeroLength);
    }
    IovaRange::from_len(start, len).ok_or(Error::Overflow {
        start: start.get(),
        len,
    })
}

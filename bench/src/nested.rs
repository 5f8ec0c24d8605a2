//! A device behind VT-d, and a guest's tables that it reaches memory through.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use swiommu_abi::hwpt::{IommuHwptDataType, IommuHwptVtdS1};
use swiommu_abi::invalidate::{
    IommuHwptInvalidateDataType, IommuHwptVtdS1Invalidate, IommuHwptVtdS1InvalidateFlags,
};
use swiommu_addr::{Address, HvaRange, Iova, Pa, PaRange, PageSize, PageSizes};
use swiommu_iommu::vtd::{SourceId, VtdEndpoint, VtdSettings, VtdUnit};
use swiommu_iommu::{
    DmaPort, Domain, DriverError, Endpoint, Epochs, GroupId, Mapping, NestedDomain, NestedRequest,
    OwnData, OwnRequests, PagingDomain, PagingFlags, PagingRequest, Pasid, Prot, Unit,
};
use swiommu_mem::{Access, AddressSpace, Config, LocalSpace, PhysicalMemory, VolatileSlice};

use crate::random::cycle;

pub(crate) const PAGE: u64 = 0x1000;

/// Where devices have the pages: not at the start of any table.
pub(crate) const FIRST: u64 = 0x7fff_1234_5000;
/// Where the guest has its memory.
const GUEST: u64 = 0x1_0000_0000;

/// Present, writable, for users, accessed, dirty.
const ENTRY: u64 = 0x67;
const ENTRIES: u64 = 512;

const GIB: u64 = 1 << 30;

/// A device, and its pages behind one and two stages. Leaves are of 4 KiB in all tables.
pub(crate) struct Machine {
    memory: Arc<PhysicalMemory>,
    /// Whose memory the pages are.
    _guest: Guest,
    endpoint: Arc<VtdEndpoint>,
    nested: Arc<dyn NestedDomain>,
    first_memory: Pa,
    pages: u64,
}

/// How a device reaches its pages.
#[derive(Clone, Copy)]
pub(crate) enum Stages {
    /// A page table of ours.
    One,
    /// A guest's table, behind another one of ours.
    Two,
}

impl Stages {
    fn pasid(self) -> Pasid {
        match self {
            Self::One => Pasid(1),
            Self::Two => Pasid(2),
        }
    }
}

impl Machine {
    /// A device with so many pages. Page `n` of what it sees is page `order[n]` of memory, where `order` is a single cycle.
    pub(crate) fn new(pages: u64, settings: VtdSettings) -> anyhow::Result<Self> {
        let memory = PhysicalMemory::new(Config::default())?;
        let space = LocalSpace::new(&memory)?;
        let unit = VtdUnit::new(&memory, &Epochs::new(), settings);
        let endpoint = VtdEndpoint::new(&unit, SourceId(0x0100), GroupId(1));
        let mut guest = Guest::new(space, pages)?;
        let order = cycle(pages);

        let own = paging(&unit, &endpoint, PagingFlags::empty())?;
        let parent = paging(&unit, &endpoint, PagingFlags::NEST_PARENT)?;
        map(&*parent, GUEST, &guest.runs()?)?;
        for (page, target) in (0..).zip(&order) {
            let at = guest.memory_of(GUEST + target * PAGE)?;
            map(&*own, FIRST + page * PAGE, &[page_at(at)?])?;
            guest.map(FIRST + page * PAGE, GUEST + target * PAGE)?;
        }
        let table = IommuHwptVtdS1 {
            flags: 0,
            pgtbl_addr: guest.root,
            addr_width: 48,
            __reserved: 0,
        };
        let data = OwnData::new(IommuHwptDataType::VTD_S1.0, &table);
        let request = NestedRequest {
            flags: PagingFlags::PASID,
            data: &data,
        };
        let nested = unit
            .alloc_nested(&*endpoint, &parent, &request)
            .map_err(|error| refused(&error))?;
        endpoint
            .attach(Stages::One.pasid(), &Domain::Paging(own))
            .map_err(|error| refused(&error))?;
        endpoint
            .attach(Stages::Two.pasid(), &Domain::Nested(nested.clone()))
            .map_err(|error| refused(&error))?;
        Ok(Self {
            memory,
            endpoint,
            nested,
            first_memory: guest.memory_of(GUEST)?,
            pages,
            _guest: guest,
        })
    }

    /// The way to memory.
    pub(crate) fn port(&self, stages: Stages) -> DmaPort {
        self.endpoint.dma_port(stages.pasid())
    }

    /// The memory of all pages, where it is mapped in this process.
    pub(crate) fn memory(&self) -> Option<VolatileSlice<'_>> {
        let pages = PaRange::from_len(self.first_memory, self.pages * PAGE)?;
        self.memory.slice(pages)
    }

    /// Where a device has the page whose number is that of a page of memory.
    #[inline]
    pub(crate) fn page_of(&self, at: Pa) -> Iova {
        Iova::new(at.get() - self.first_memory.get() + FIRST)
    }

    /// The addresses of all pages, each the number of the memory behind the one before.
    pub(crate) fn addresses(&self) -> Vec<Iova> {
        let order = cycle(self.pages);
        let mut page = 0;
        let mut next = || {
            page = order[page as usize];
            Iova::new(FIRST + page * PAGE)
        };
        order.iter().map(|_| next()).collect()
    }

    /// Has the guest say that it has changed leaves, all of them.
    pub(crate) fn invalidate_leaves(&self) -> anyhow::Result<()> {
        let leaves = IommuHwptVtdS1Invalidate {
            addr: FIRST & !(GIB - 1),
            npages: GIB / PAGE,
            flags: IommuHwptVtdS1InvalidateFlags::LEAF.bits(),
            __reserved: 0,
        };
        let requests = [leaves];
        let requests = OwnRequests::new(IommuHwptInvalidateDataType::VTD_S1.0, &requests);
        let done = self.nested.invalidate(&requests);
        done.result.map_err(|error| refused(&error))
    }
}

/// A guest: pages for a device, and after them its tables.
struct Guest {
    space: Arc<LocalSpace>,
    memory: HvaRange,
    root: u64,
    /// The next page that is free.
    free: u64,
}

impl Guest {
    fn new(space: Arc<LocalSpace>, pages: u64) -> anyhow::Result<Self> {
        let tables = pages / ENTRIES + 8;
        let memory = space.allocate((pages + tables) * PAGE)?;
        // All of it is there when the clock runs.
        let zeroes = vec![0; (pages + tables) as usize * PAGE as usize];
        space.write(memory.start(), &zeroes)?;
        let root = GUEST + pages * PAGE;
        let free = root + PAGE;
        Ok(Self {
            space,
            memory,
            root,
            free,
        })
    }

    fn runs(&self) -> anyhow::Result<Vec<PaRange>> {
        let runs = self.space.resolve(self.memory, Access::Write)?;
        Ok(runs.iter().map(|run| run.memory).collect())
    }

    /// Where the guest has its page in the machine's memory.
    fn memory_of(&self, gpa: u64) -> anyhow::Result<Pa> {
        let at = self.memory.start().wrapping_add(gpa - GUEST);
        let page = HvaRange::from_len(at, PAGE).context("a page")?;
        let runs = self.space.resolve(page, Access::Write)?;
        Ok(runs.first().context("memory")?.memory.start())
    }

    fn map(&mut self, iova: u64, gpa: u64) -> anyhow::Result<()> {
        let mut table = self.root;
        for level in (0..4).rev() {
            let at = table + (iova >> (12 + 9 * level)) % ENTRIES * 8;
            let at = self.memory.start().wrapping_add(at - GUEST);
            if level == 0 {
                self.space.write(at, &(gpa | ENTRY).to_le_bytes())?;
                break;
            }
            let mut entry = [0; 8];
            self.space.read(at, &mut entry)?;
            let mut entry = u64::from_le_bytes(entry);
            if entry == 0 {
                entry = self.free | ENTRY;
                self.free += PAGE;
                self.space.write(at, &entry.to_le_bytes())?;
            }
            table = entry & !(PAGE - 1);
        }
        Ok(())
    }
}

fn paging(
    unit: &Arc<VtdUnit>,
    endpoint: &VtdEndpoint,
    flags: PagingFlags,
) -> anyhow::Result<Arc<dyn PagingDomain>> {
    let request = PagingRequest { flags, data: None };
    unit.alloc_paging(endpoint, &request)
        .map_err(|error| refused(&error))
}

fn map(domain: &dyn PagingDomain, iova: u64, memory: &[PaRange]) -> anyhow::Result<()> {
    let mapping = Mapping {
        iova: Iova::new(iova),
        memory,
        prot: Prot::RW,
        leaves: PageSizes::NONE.with(PageSize::SIZE_4K),
    };
    domain.map(&mapping).map_err(|error| refused(&error))
}

fn page_at(at: Pa) -> anyhow::Result<PaRange> {
    PaRange::from_len(at, PAGE).context("a page")
}

fn refused(error: &DriverError) -> anyhow::Error {
    anyhow!("{error:?}")
}

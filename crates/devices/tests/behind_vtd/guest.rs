//! A guest behind VT-d whose memory is scattered: no two pages that follow each other follow each other one stage further.

use std::sync::Arc;

use swiommu_abi::hwpt::{IommuHwptDataType, IommuHwptVtdS1};
use swiommu_abi::invalidate::{IommuHwptInvalidateDataType, IommuHwptVtdS1Invalidate};
use swiommu_addr::{Address, HvaRange, Iova, IovaRange, PageSizes};
use swiommu_iommu::vtd::{SourceId, VtdEndpoint, VtdSettings, VtdUnit};
use swiommu_iommu::{
    Domain, Endpoint, Epochs, GroupId, Mapping, NestedDomain, NestedRequest, OwnData, OwnRequests,
    PagingDomain, PagingFlags, PagingRequest, Pasid, Prot, Unit,
};
use swiommu_mem::{Access, AddressSpace, Config, LocalSpace, PhysicalMemory};

pub(crate) const PAGE: u64 = 4096;

/// The pages that the guest has, for data and tables.
pub(crate) const PAGES: u64 = 64;

/// What a guest writes into entries that users may write through.
pub(crate) const WRITABLE: u64 = 0x67;

/// Pages of IOVAs, guest pages and pages of the buffer have the same numbers, each in another order.
pub(crate) struct Guest {
    space: Arc<LocalSpace>,
    buffer: HvaRange,
    unit: Arc<VtdUnit>,
    pub(crate) endpoint: Arc<VtdEndpoint>,
    pub(crate) parent: Arc<dyn PagingDomain>,
}

/// The guest page that holds the root of its tables; the three below it follow.
const ROOT: u64 = 0;
const TABLES: u64 = 4;

impl Guest {
    pub(crate) fn new() -> Arc<Self> {
        let memory = PhysicalMemory::new(Config::default()).unwrap();
        let space = LocalSpace::new(&memory).unwrap();
        let buffer = space.allocate(PAGES * PAGE).unwrap();
        let unit = VtdUnit::new(&memory, &Epochs::new(), VtdSettings::default());
        let endpoint = VtdEndpoint::new(&unit, SourceId(0x0100), GroupId(1));
        let parent = paging(&unit, &endpoint, PagingFlags::NEST_PARENT);
        let guest = Self {
            space,
            buffer,
            unit,
            endpoint,
            parent,
        };
        for page in 0..PAGES {
            guest.map(&*guest.parent, page, page);
        }
        for level in 0..TABLES - 1 {
            let next = ((ROOT + level + 1) * PAGE) | WRITABLE;
            guest.write_gpa((ROOT + level) * PAGE, &next.to_le_bytes());
        }
        for page in TABLES..PAGES {
            guest.set_leaf(page, Self::leads_to(page, WRITABLE));
        }
        Arc::new(guest)
    }

    /// The guest page behind a page of IOVAs: one that holds no table.
    pub(crate) fn guest_page(page: u64) -> u64 {
        TABLES + (page - TABLES) * 7 % (PAGES - TABLES)
    }

    /// The entry for a page of IOVAs, with these flags.
    pub(crate) fn leads_to(page: u64, flags: u64) -> u64 {
        (Self::guest_page(page) * PAGE) | flags
    }

    /// The page of the buffer behind a guest page.
    fn buffer_page(page: u64) -> u64 {
        page * 29 % PAGES
    }

    /// A paging domain for the device.
    pub(crate) fn paging(&self, flags: PagingFlags) -> Arc<dyn PagingDomain> {
        paging(&self.unit, &self.endpoint, flags)
    }

    /// Maps the memory of a guest page at a page of a domain.
    pub(crate) fn map(&self, domain: &dyn PagingDomain, page: u64, guest_page: u64) {
        let start = self.buffer.start();
        let start = start.wrapping_add(Self::buffer_page(guest_page) * PAGE);
        let pages = HvaRange::from_len(start, PAGE).unwrap();
        let runs = self.space.resolve(pages, Access::Write).unwrap();
        domain
            .map(&Mapping {
                iova: Iova::new(page * PAGE),
                memory: &[runs[0].memory],
                prot: Prot::RW,
                leaves: PageSizes::ALL,
            })
            .unwrap();
    }

    /// Makes a page of the guest's memory unreachable for devices.
    pub(crate) fn unmap(&self, guest_page: u64) {
        let page = IovaRange::from_len(Iova::new(guest_page * PAGE), PAGE).unwrap();
        self.parent.unmap(page);
    }

    /// Changes the guest's own entry for a page of IOVAs.
    pub(crate) fn set_leaf(&self, page: u64, entry: u64) {
        let at = (ROOT + TABLES - 1) * PAGE + page * 8;
        self.write_gpa(at, &entry.to_le_bytes());
    }

    /// Attaches the device to the guest's tables in front of ours.
    pub(crate) fn attach_nested(&self, pasid: Pasid) -> Arc<dyn NestedDomain> {
        let table = IommuHwptVtdS1 {
            pgtbl_addr: ROOT * PAGE,
            addr_width: 48,
            ..Default::default()
        };
        let request = NestedRequest {
            flags: PagingFlags::empty(),
            data: &OwnData::new(IommuHwptDataType::VTD_S1.0, &table),
        };
        let nested = self
            .unit
            .alloc_nested(&*self.endpoint, &self.parent, &request)
            .unwrap();
        let domain = Domain::Nested(nested.clone());
        self.endpoint.attach(pasid, &domain).unwrap();
        nested
    }

    /// Invalidates a page of IOVAs.
    pub(crate) fn invalidate(nested: &dyn NestedDomain, page: u64) {
        let request = IommuHwptVtdS1Invalidate {
            addr: page * PAGE,
            npages: 1,
            ..Default::default()
        };
        let done = nested.invalidate(&OwnRequests::new(
            IommuHwptInvalidateDataType::VTD_S1.0,
            &[request],
        ));
        done.result.unwrap();
    }

    /// What the guest's driver writes to memory that its device sees at an IOVA.
    pub(crate) fn write(&self, iova: Iova, bytes: &[u8]) {
        for (at, byte) in (iova.get()..).zip(bytes) {
            self.write_gpa(gpa(at), &[*byte]);
        }
    }

    /// What the guest's driver reads there.
    pub(crate) fn read<const N: usize>(&self, iova: Iova) -> [u8; N] {
        let mut bytes = [0; N];
        for (at, byte) in (iova.get()..).zip(&mut bytes) {
            let mut one = [0];
            self.space.read(self.hva(gpa(at)), &mut one).unwrap();
            *byte = one[0];
        }
        bytes
    }

    fn write_gpa(&self, gpa: u64, bytes: &[u8]) {
        self.space.write(self.hva(gpa), bytes).unwrap();
    }

    fn hva(&self, gpa: u64) -> swiommu_addr::Hva {
        let page = Self::buffer_page(gpa / PAGE);
        self.buffer.start().wrapping_add(page * PAGE + gpa % PAGE)
    }
}

fn gpa(iova: u64) -> u64 {
    Guest::guest_page(iova / PAGE) * PAGE + iova % PAGE
}

fn paging(
    unit: &Arc<VtdUnit>,
    endpoint: &VtdEndpoint,
    flags: PagingFlags,
) -> Arc<dyn PagingDomain> {
    unit.alloc_paging(endpoint, &PagingRequest { flags, data: None })
        .unwrap()
}

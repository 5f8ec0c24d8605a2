//! The memory of a guest.

use std::cell::Cell;
use std::sync::Arc;

use swiommu_addr::{Address, Gpa, Hva, HvaRange, Iova, IovaRange, PageSizes};
use swiommu_iommu::{Mapping, PagingDomain, PagingFlags, PagingRequest, Prot};
use swiommu_mem::{Access, AddressSpace, Config, LocalSpace, PhysicalMemory};

use crate::model::Model;

pub(crate) const PAGE: u64 = 4096;

/// Pages for data. The one behind them is the host's.
pub(crate) const DATA: u64 = 32;

/// Pages that are always mapped where the guest sees them: for tables.
const TABLES: u64 = 96;

/// The guest page of the first of them.
const TABLES_AT: u64 = 0x4_0000;

/// What the host's page is full of. It is mapped for nobody.
pub(crate) const SECRET: u64 = 0x5ec2_e75e_c2e7_5ec2;

/// Where a page of data says which it is, and where devices may write.
const NUMBER: u64 = 0;
pub(crate) const SCRATCH: u64 = 8;

/// Memory of this process that a guest sees through a second stage.
pub(crate) struct Guest {
    pub(crate) memory: Arc<PhysicalMemory>,
    space: Arc<LocalSpace>,
    buffer: HvaRange,
    next_table: Cell<u64>,
}

impl Guest {
    pub(crate) fn new() -> Self {
        let memory = PhysicalMemory::new(Config::default()).unwrap();
        let space = LocalSpace::new(&memory).unwrap();
        let buffer = space.allocate((DATA + 1 + TABLES) * PAGE).unwrap();
        let guest = Self {
            memory,
            space,
            buffer,
            next_table: Cell::new(0),
        };
        for page in 0..DATA {
            guest.write_data(page, NUMBER, number(page));
        }
        for word in 0..PAGE / 8 {
            guest.write_data(DATA, word * 8, SECRET);
        }
        guest
    }

    /// A nesting parent that maps the pages for tables.
    pub(crate) fn parent<M: Model>(&self, model: &M) -> Arc<dyn PagingDomain> {
        let request = PagingRequest {
            flags: PagingFlags::NEST_PARENT,
            data: None,
        };
        let parent = model
            .unit()
            .alloc_paging(model.endpoint(), &request)
            .unwrap();
        for table in 0..TABLES {
            self.map_buffer(&*parent, TABLES_AT + table, DATA + 1 + table, Prot::RW);
        }
        parent
    }

    /// Maps a page of data at a page of a domain.
    pub(crate) fn map(&self, domain: &dyn PagingDomain, at: u64, data: u64, prot: Prot) {
        assert!(data < DATA, "that page is not the guest's");
        self.map_buffer(domain, at, data, prot);
    }

    fn map_buffer(&self, domain: &dyn PagingDomain, at: u64, page: u64, prot: Prot) {
        let start = self.buffer.start().wrapping_add(page * PAGE);
        let runs = HvaRange::from_len(start, PAGE)
            .map(|page| self.space.resolve(page, Access::Write).unwrap())
            .unwrap();
        domain
            .map(&Mapping {
                iova: Iova::new(at * PAGE),
                memory: &[runs[0].memory],
                prot,
                leaves: PageSizes::ALL,
            })
            .unwrap();
    }

    /// A zeroed page for a table.
    pub(crate) fn allocate(&self) -> Gpa {
        let table = self.next_table.get();
        assert!(table < TABLES, "a guest with too many tables");
        self.next_table.set(table + 1);
        Gpa::new((TABLES_AT + table) * PAGE)
    }

    /// Writes a word into a table.
    pub(crate) fn write(&self, at: Gpa, word: u64) {
        let offset = at.get() - TABLES_AT * PAGE;
        assert!(offset < TABLES * PAGE, "{at} is in no table");
        let at = (DATA + 1) * PAGE + offset;
        self.poke(at, word);
    }

    pub(crate) fn read_data(&self, page: u64, offset: u64) -> u64 {
        let mut word = [0; 8];
        let at = self.hva(page * PAGE + offset);
        self.space.read(at, &mut word).unwrap();
        u64::from_le_bytes(word)
    }

    /// Fills pages of data.
    pub(crate) fn fill(&self, first: u64, count: usize, byte: u8) {
        let bytes = vec![byte; count * 4096];
        self.space.write(self.hva(first * PAGE), &bytes).unwrap();
    }

    /// Makes a page of data as no device has written it.
    pub(crate) fn clear_scratch(&self, page: u64) {
        self.write_data(page, SCRATCH, 0);
    }

    /// The host's page.
    pub(crate) fn secret(&self) -> [u64; 512] {
        std::array::from_fn(|word| self.read_data(DATA, word as u64 * 8))
    }

    fn write_data(&self, page: u64, offset: u64, word: u64) {
        self.poke(page * PAGE + offset, word);
    }

    fn poke(&self, at: u64, word: u64) {
        self.space.write(self.hva(at), &word.to_le_bytes()).unwrap();
    }

    fn hva(&self, offset: u64) -> Hva {
        self.buffer.start().wrapping_add(offset)
    }
}

/// What is written at the start of a page of data.
pub(crate) fn number(page: u64) -> u64 {
    0xda7a_0000 + page
}

/// Pages as a range of addresses.
pub(crate) fn pages(first: u64, count: u64) -> IovaRange {
    IovaRange::from_len(Iova::new(first * PAGE), count * PAGE).unwrap()
}

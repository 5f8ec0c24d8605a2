//! `aarch64-paging`: Arm stage 1, by its `RootTable`, which invalidates nothing.

// UNSAFETY: the crate's trait for table memory has an unsafe method, and tables are cleared through pointers.
#![expect(unsafe_code, reason = "see above")]

use std::ptr::{self, NonNull};

use aarch64_paging::descriptor::{El1Attributes, PhysicalAddress};
use aarch64_paging::paging::{
    Constraints, El1And0, MemoryRegion, PageTable, RootTable, Translation, VaRange,
};

use crate::pgtable::pool::Pool;
use crate::pgtable::table::{PAGE, Table};

/// What leaves have set: normal memory, written by anyone.
const LEAF: El1Attributes = El1Attributes::VALID
    .union(El1Attributes::ATTRIBUTE_INDEX_1)
    .union(El1Attributes::INNER_SHAREABLE)
    .union(El1Attributes::USER)
    .union(El1Attributes::ACCESSED)
    .union(El1Attributes::NON_GLOBAL);

const ROOT_LEVEL: usize = 0;

pub(crate) struct Aarch64Paging(RootTable<El1And0, &'static Pool>);

impl Translation<El1Attributes> for &'static Pool {
    #[inline]
    fn allocate_table(&mut self) -> (NonNull<PageTable<El1Attributes>>, PhysicalAddress) {
        let Some(table) = self.take() else {
            panic!("the pool is empty");
        };
        let address = PhysicalAddress(table as usize);
        let table = self.physical_to_virtual(address);
        // SAFETY: It is a table of the pool that nobody else has.
        unsafe { table.write_bytes(0, 1) };
        (table, address)
    }

    #[inline]
    unsafe fn deallocate_table(&mut self, table: NonNull<PageTable<El1Attributes>>) {
        self.put(table.addr().get() as u64);
    }

    #[inline]
    fn physical_to_virtual(&self, pa: PhysicalAddress) -> NonNull<PageTable<El1Attributes>> {
        match NonNull::new(ptr::with_exposed_provenance_mut(pa.0)) {
            Some(table) => table,
            None => panic!("no table is at 0"),
        }
    }
}

fn region(iova: u64, bytes: u64) -> MemoryRegion {
    MemoryRegion::new(iova as usize, (iova + bytes) as usize)
}

impl Table for Aarch64Paging {
    fn new(pool: &'static Pool) -> Self {
        let table = RootTable::with_va_range(pool, ROOT_LEVEL, El1And0, VaRange::Lower);
        Self(table)
    }

    #[inline]
    fn map(&mut self, iova: u64, pa: u64, bytes: u64) {
        let pa = PhysicalAddress(pa as usize);
        let pages = Constraints::NO_BLOCK_MAPPINGS;
        let mapped = self.0.map_range(&region(iova, bytes), pa, LEAF, pages);
        assert_eq!(mapped, Ok(()));
    }

    #[inline]
    fn unmap(&mut self, iova: u64, bytes: u64) {
        let none = El1Attributes::empty();
        let region = region(iova, bytes);
        let unmapped = self
            .0
            .map_range(&region, PhysicalAddress(0), none, Constraints::empty());
        assert_eq!(unmapped, Ok(()));
    }

    #[inline]
    fn unmap_tables(&mut self, iova: u64, bytes: u64) {
        self.unmap(iova, bytes);
    }

    #[inline]
    fn map_page(&mut self, iova: u64, pa: u64) {
        self.map(iova, pa, PAGE);
    }

    #[inline]
    fn unmap_page(&mut self, iova: u64) {
        self.unmap(iova, PAGE);
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        let mut found = 0;
        let page = region(iova & !(PAGE - 1), PAGE);
        let walked = self.0.walk_range(&page, &mut |_, descriptor, _| {
            if !descriptor.is_valid() {
                return Err(());
            }
            found = descriptor.output_address().0 as u64 | iova & (PAGE - 1);
            Ok(())
        });
        assert_eq!(walked, Ok(()));
        found
    }
}

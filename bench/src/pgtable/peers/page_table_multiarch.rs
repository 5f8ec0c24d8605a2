//! `page_table_multiarch`: x86-64.

use std::cell::Cell;

use memory_addr::{PhysAddr, VirtAddr};
use page_table_entry::x86_64::X64PTE;
use page_table_multiarch::{MappingFlags, PageSize, PageTable64, PagingHandler, PagingMetaData};

use crate::pgtable::pool::Pool;
use crate::pgtable::table::{PAGE, Table};

pub(crate) struct PageTableMultiarch(PageTable64<Levels, X64PTE, Frames>);

/// The crate's own flushes translations of this CPU, which a program may not.
struct Levels;

impl PagingMetaData for Levels {
    const LEVELS: usize = 4;
    const PA_MAX_BITS: usize = 52;
    const VA_MAX_BITS: usize = 48;
    type VirtAddr = VirtAddr;

    #[inline]
    fn flush_tlb(_: Option<VirtAddr>) {}
}

thread_local! {
    /// The crate asks for memory without saying for which table.
    static POOL: Cell<Option<&'static Pool>> = const { Cell::new(None) };
}

struct Frames;

impl PagingHandler for Frames {
    #[inline]
    fn alloc_frames(count: usize, _: usize) -> Option<PhysAddr> {
        assert_eq!(count, 1);
        Some(PhysAddr::from(POOL.get()?.take()? as usize))
    }

    #[inline]
    fn dealloc_frames(frame: PhysAddr, _: usize) {
        if let Some(pool) = POOL.get() {
            pool.put(frame.as_usize() as u64);
        }
    }

    #[inline]
    fn phys_to_virt(frame: PhysAddr) -> VirtAddr {
        VirtAddr::from(frame.as_usize())
    }
}

const FLAGS: MappingFlags = MappingFlags::READ
    .union(MappingFlags::WRITE)
    .union(MappingFlags::EXECUTE)
    .union(MappingFlags::USER);

fn address(iova: u64) -> VirtAddr {
    VirtAddr::from(iova as usize)
}

impl Table for PageTableMultiarch {
    fn new(pool: &'static Pool) -> Self {
        POOL.set(Some(pool));
        match PageTable64::try_new() {
            Ok(table) => Self(table),
            Err(error) => panic!("{error:?}"),
        }
    }

    #[inline]
    fn map(&mut self, iova: u64, pa: u64, bytes: u64) {
        let pa = |at: VirtAddr| PhysAddr::from(at.as_usize() - iova as usize + pa as usize);
        let mut cursor = self.0.cursor();
        let mapped = cursor.map_region(address(iova), pa, bytes as usize, FLAGS, false);
        assert_eq!(mapped, Ok(()));
    }

    #[inline]
    fn unmap(&mut self, iova: u64, bytes: u64) {
        let unmapped = self.0.cursor().unmap_region(address(iova), bytes as usize);
        assert_eq!(unmapped, Ok(()));
    }

    #[inline]
    fn unmap_tables(&mut self, iova: u64, bytes: u64) {
        self.unmap(iova, bytes);
    }

    #[inline]
    fn map_page(&mut self, iova: u64, pa: u64) {
        let mut cursor = self.0.cursor();
        let page = PageSize::Size4K;
        let mapped = cursor.map(address(iova), PhysAddr::from(pa as usize), page, FLAGS);
        assert_eq!(mapped, Ok(()));
    }

    #[inline]
    fn unmap_page(&mut self, iova: u64) {
        assert!(self.0.cursor().unmap(address(iova)).is_ok());
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        match self.0.query(address(iova)) {
            Ok((pa, ..)) => pa.as_usize() as u64,
            Err(error) => panic!("{error:?}"),
        }
    }
}

const _: () = assert!(PAGE == PageSize::Size4K as u64);

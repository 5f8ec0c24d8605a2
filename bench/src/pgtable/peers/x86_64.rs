//! `x86_64`: its `MappedPageTable`, page by page, since it has no call for more.

// UNSAFETY: the crate's calls that map are unsafe, because they may change what this CPU translates.
#![expect(unsafe_code, reason = "see above")]

use std::ptr;

use x86_64::structures::paging::mapper::{CleanUp, MappedPageTable, PageTableFrameMapping};
use x86_64::structures::paging::{
    FrameAllocator, FrameDeallocator, Mapper, Page, PageTable, PageTableFlags, PhysFrame, Size4KiB,
    Translate,
};
use x86_64::{PhysAddr, VirtAddr};

use crate::pgtable::pool::Pool;
use crate::pgtable::table::{PAGE, Table};

pub(crate) struct X8664 {
    table: MappedPageTable<'static, Identity>,
    root: u64,
    frames: Frames,
}

struct Frames(&'static Pool);

const TABLE: PageTableFlags = PageTableFlags::PRESENT
    .union(PageTableFlags::WRITABLE)
    .union(PageTableFlags::USER_ACCESSIBLE);
const LEAF: PageTableFlags = TABLE
    .union(PageTableFlags::ACCESSED)
    .union(PageTableFlags::DIRTY);

// SAFETY: The pool gives every frame to one table only.
unsafe impl FrameAllocator<Size4KiB> for Frames {
    #[inline]
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let frame = PhysAddr::new_truncate(self.0.take()?);
        Some(PhysFrame::containing_address(frame))
    }
}

impl FrameDeallocator<Size4KiB> for Frames {
    #[inline]
    unsafe fn deallocate_frame(&mut self, frame: PhysFrame) {
        self.0.put(frame.start_address().as_u64());
    }
}

/// Physical addresses are virtual ones.
struct Identity;

// SAFETY: The tables are in the pool, whose addresses are virtual ones.
unsafe impl PageTableFrameMapping for Identity {
    #[inline]
    fn frame_to_pointer(&self, frame: PhysFrame) -> *mut PageTable {
        ptr::with_exposed_provenance_mut(frame.start_address().as_u64() as usize)
    }
}

fn page(iova: u64) -> Page {
    Page::containing_address(VirtAddr::new_truncate(iova))
}

impl Table for X8664 {
    fn new(pool: &'static Pool) -> Self {
        let Some(root) = pool.take() else {
            panic!("the pool is empty");
        };
        let table: *mut PageTable = ptr::with_exposed_provenance_mut(root as usize);
        // SAFETY: It is a table of the pool, which nobody else has.
        let table = unsafe {
            table.write_bytes(0, 1);
            MappedPageTable::new(&mut *table, Identity)
        };
        let frames = Frames(pool);
        Self {
            table,
            root,
            frames,
        }
    }

    #[inline]
    fn map(&mut self, iova: u64, pa: u64, bytes: u64) {
        for offset in (0..bytes).step_by(PAGE as usize) {
            self.map_page(iova + offset, pa + offset);
        }
    }

    #[inline]
    fn unmap(&mut self, iova: u64, bytes: u64) {
        for offset in (0..bytes).step_by(PAGE as usize) {
            self.unmap_page(iova + offset);
        }
    }

    #[inline]
    fn unmap_tables(&mut self, iova: u64, bytes: u64) {
        self.unmap(iova, bytes);
        let range = Page::range_inclusive(page(iova), page(iova + bytes - PAGE));
        // SAFETY: No CPU uses the table.
        unsafe { self.table.clean_up_addr_range(range, &mut self.frames) };
    }

    #[inline]
    fn map_page(&mut self, iova: u64, pa: u64) {
        let frame = PhysFrame::containing_address(PhysAddr::new_truncate(pa));
        let Self { table, frames, .. } = self;
        // SAFETY: No CPU uses the table.
        let mapped =
            unsafe { table.map_to_with_table_flags(page(iova), frame, LEAF, TABLE, frames) };
        match mapped {
            Ok(flush) => flush.ignore(),
            Err(error) => panic!("{error:?}"),
        }
    }

    #[inline]
    fn unmap_page(&mut self, iova: u64) {
        match self.table.unmap(page(iova)) {
            Ok((_, flush)) => flush.ignore(),
            Err(error) => panic!("{error:?}"),
        }
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        match self.table.translate_addr(VirtAddr::new_truncate(iova)) {
            Some(pa) => pa.as_u64(),
            None => panic!("{iova:#x} is mapped"),
        }
    }
}

impl Drop for X8664 {
    fn drop(&mut self) {
        let last = (1 << 47) - PAGE;
        let range = Page::range_inclusive(page(0), page(last));
        // SAFETY: No CPU uses the table.
        unsafe { self.table.clean_up_addr_range(range, &mut self.frames) };
        self.frames.0.put(self.root);
    }
}

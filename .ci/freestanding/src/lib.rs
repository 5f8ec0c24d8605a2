//! A program without the standard library: it has a panic handler and an allocator of its own, and with `std` in the graph of
//! its dependencies there would be two of the first, which the compiler refuses.

#![no_std]

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use swiommu_addr::{Iova, IovaRange, Pa, PaRange, PageSize, PageSizes};
use swiommu_iova::Space;
use swiommu_pgtable::fmt::X86_64;
use swiommu_pgtable::{Access, OutOfMemory, PageTable, Prot, TableMemory};

/// A heap with nothing in it.
struct Empty;

// SAFETY: an allocator may refuse, and this one always does; so nothing is ever given back to it either.
unsafe impl GlobalAlloc for Empty {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: Empty = Empty;

#[panic_handler]
fn halt(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Eight tables of 4 KiB, one after the other from address 0; none comes back.
struct Pages {
    entries: [AtomicU64; 8 * 512],
    taken: AtomicUsize,
}

impl TableMemory for Pages {
    fn alloc(&self, size: PageSize) -> Result<Pa, OutOfMemory> {
        if size != PageSize::SIZE_4K {
            return Err(OutOfMemory);
        }
        match self.taken.fetch_add(1, Ordering::Relaxed) {
            table @ 0..8 => Ok(Pa::new((table as u64) << 12)),
            _ => Err(OutOfMemory),
        }
    }

    fn free(&self, _: Pa, _: PageSize) {}

    fn entries(&self, table: Pa, count: usize) -> Option<&[AtomicU64]> {
        let first = usize::try_from(table.get() / 8).ok()?;
        self.entries.get(first..first.checked_add(count)?)
    }
}

static PAGES: Pages = Pages {
    entries: [const { AtomicU64::new(0) }; 8 * 512],
    taken: AtomicUsize::new(0),
};

/// Takes an area, maps it, and walks to it: everything that allocates, reads or writes is compiled for a program like this.
#[unsafe(no_mangle)]
pub extern "C" fn swiommu_freestanding(iova: u64, pa: u64) -> u64 {
    let walk = || {
        let area = IovaRange::from_len(Iova::new(iova), 0x1000)?;
        let mut space = Space::<(), ()>::new();
        space.insert(area, ()).ok()?;
        let table = PageTable::new(X86_64::four_level(), &PAGES).ok()?;
        let run = PaRange::from_len(Pa::new(pa), 0x1000)?;
        let mapped = table.map(area.start(), run, Prot::RW, PageSizes::ALL);
        mapped.ok()?.replaced().is_none().then_some(())?;
        let found = table.walker().walk(area.start(), Access::USER_READ).ok()?;
        let unmapped = table.unmap(area).ok()?;
        unmapped.flushed().free(&PAGES);
        Some(found.resolve(area.start()).get())
    };
    walk().unwrap_or(u64::MAX)
}

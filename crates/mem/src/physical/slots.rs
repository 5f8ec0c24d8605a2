//! What is mapped directly, by gigabyte: read without locks on every access, and by the signal handler.

use std::sync::atomic::{AtomicU64, Ordering};

use swiommu_addr::PageSize;

/// Log2 of the unit in which the physical address space is dealt out.
pub(crate) const GIB_LOG2: u32 = 30;
/// The unit in which the physical address space is dealt out.
pub(crate) const GIB: u64 = 1 << GIB_LOG2;

/// One word for each gigabyte of the physical address space: bits 30:0 the bytes mapped from its start, bits 39:32 the
/// logarithm of the page size behind them, bit 40 whether a page of it was lost to truncation.
#[derive(Debug)]
pub(crate) struct Slots(Box<[AtomicU64]>);

const LEN: u64 = 0x7fff_ffff;
const PAGE_SHIFT: u32 = 32;
const LOST: u64 = 1 << 40;

impl Slots {
    pub(crate) fn new(gigabytes: u64) -> Self {
        Self((0..gigabytes).map(|_| AtomicU64::new(0)).collect())
    }

    /// Publishes that the `len` bytes from the start of the gigabyte at `pa` are mapped.
    pub(crate) fn set(&self, pa: u64, len: u64, page: PageSize) {
        if let Some(slot) = self.slot(pa) {
            let word = len.min(GIB) | u64::from(page.log2()) << PAGE_SHIFT;
            slot.store(word, Ordering::Release);
        }
    }

    pub(crate) fn clear(&self, pa: u64) {
        if let Some(slot) = self.slot(pa) {
            slot.store(0, Ordering::Release);
        }
    }

    pub(crate) fn clear_all(&self) {
        for slot in &self.0 {
            slot.store(0, Ordering::Relaxed);
        }
    }

    /// Whether all `len` bytes at `pa` are mapped.
    #[inline]
    pub(crate) fn covers(&self, pa: u64, len: u64) -> bool {
        let slot = self.slot(pa).map_or(0, |slot| slot.load(Ordering::Acquire));
        let end = (pa & (GIB - 1)).saturating_add(len);
        // Nearly all lie in one gigabyte.
        end <= slot & LEN || self.each_covers(pa, len)
    }

    fn each_covers(&self, pa: u64, len: u64) -> bool {
        let Some(end) = pa.checked_add(len) else {
            return false;
        };
        let mut at = pa;
        while at < end {
            let start = at & !(GIB - 1);
            let here = u64::min(end, start + GIB);
            let Some(slot) = self.slot(at) else {
                return false;
            };
            if here - start > slot.load(Ordering::Acquire) & LEN {
                return false;
            }
            at = here;
        }
        true
    }

    /// The size of the pages mapped at `pa`, if any are.
    pub(crate) fn page(&self, pa: u64) -> Option<PageSize> {
        let word = self.slot(pa)?.load(Ordering::Acquire);
        if pa & (GIB - 1) >= word & LEN {
            return None;
        }
        PageSize::from_bytes(1_u64.checked_shl((word >> PAGE_SHIFT & 0xff) as u32)?)
    }

    /// Notes that a page in the gigabyte at `pa` was lost.
    pub(crate) fn set_lost(&self, pa: u64) {
        if let Some(slot) = self.slot(pa) {
            slot.fetch_or(LOST, Ordering::AcqRel);
        }
    }

    pub(crate) fn clear_lost(&self, pa: u64) {
        if let Some(slot) = self.slot(pa) {
            slot.fetch_and(!LOST, Ordering::AcqRel);
        }
    }

    pub(crate) fn has_lost(&self, pa: u64) -> bool {
        self.slot(pa)
            .is_some_and(|slot| slot.load(Ordering::Acquire) & LOST != 0)
    }

    #[inline]
    fn slot(&self, pa: u64) -> Option<&AtomicU64> {
        self.0.get(usize::try_from(pa >> GIB_LOG2).ok()?)
    }
}

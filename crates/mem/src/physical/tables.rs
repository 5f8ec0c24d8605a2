//! Memory for page tables: never unmapped, so that a reader without locks may stay in a table that is already free.

#![expect(unsafe_code, reason = "clears tables with a string instruction")]

use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use swiommu_addr::{Pa, PageSize};

use super::region::Region;

/// Page-table memory is mapped in pieces of this many bytes.
const PIECE: u64 = 64 << 20;

/// The smallest table.
const MIN: PageSize = PageSize::from_log2(6);
/// The largest table.
const MAX: PageSize = PageSize::from_log2(21);

/// No memory for a page table, or a size that tables do not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("out of memory for page tables")]
pub struct OutOfMemory;

/// The free tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pool: Mutex<Pool>,
}

/// Tables are handed out in address order at first, and the last one freed is the first one used again: both the same in
/// every run.
#[derive(Debug, Default)]
struct Pool {
    /// What has never been used: `next..end`.
    next: u64,
    end: u64,
    /// Bytes of the tables that are handed out.
    used: u64,
    /// Freed tables by the logarithm of their size.
    free: [Vec<Pa>; MAX.log2() as usize + 1],
}

impl Tables {
    pub(super) fn alloc(&self, region: &Region, size: PageSize) -> Result<Pa, OutOfMemory> {
        if !(MIN..=MAX).contains(&size) {
            return Err(OutOfMemory);
        }
        let mut pool = self.pool.lock();
        if let Some(table) = pool.free[usize::from(size.log2())].pop() {
            pool.used += size.bytes();
            drop(pool);
            if let Some(words) = region.words(table, size.bytes()) {
                clear(words);
            }
            return Ok(table);
        }
        let table = pool.take_new(region, size).ok_or(OutOfMemory)?;
        pool.used += size.bytes();
        Ok(table)
    }

    pub(super) fn used(&self) -> u64 {
        self.pool.lock().used
    }

    pub(super) fn free(&self, region: &Region, table: Pa, size: PageSize) {
        let ours = region.words(table, size.bytes()).is_some();
        let mut pool = self.pool.lock();
        match pool.free.get_mut(usize::from(size.log2())) {
            Some(free) if ours => {
                free.push(table);
                pool.used -= size.bytes();
            }
            _ => tracing::error!(%table, %size, "freed a page table that is none"),
        }
    }
}

impl Pool {
    /// Takes never used memory, which is zero.
    fn take_new(&mut self, region: &Region, size: PageSize) -> Option<Pa> {
        while self.next.checked_next_multiple_of(size.bytes())? + size.bytes() > self.end {
            let piece = region.extend_tables(PIECE)?.get();
            if self.end != piece {
                self.next = piece;
            }
            self.end = piece + PIECE;
        }
        // What lies before an aligned table is free for smaller ones.
        while self.next & size.mask() != 0 {
            let log2 = self.next.trailing_zeros();
            self.free[log2 as usize].push(Pa::new(self.next));
            self.next += 1 << log2;
        }
        let table = Pa::new(self.next);
        self.next += size.bytes();
        Some(table)
    }
}

/// Zeroes a table that readers may still look at.
fn clear(words: &[AtomicU64]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the words are writable through shared references, being atomics. `rep stosq` stores each aligned word at once,
    // so concurrent readers see each word as it was or as zero, as they would with relaxed stores. The direction flag is clear
    // by the ABI.
    unsafe {
        std::arch::asm!(
            "rep stosq",
            inout("rcx") words.len() => _,
            inout("rdi") words.as_ptr() => _,
            in("rax") 0_u64,
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    for word in words {
        word.store(0, std::sync::atomic::Ordering::Relaxed);
    }
}

//! Tables on the heap.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use swiommu_addr::{Pa, PageSize};

use crate::sync::AtomicU64;
use crate::{OutOfMemory, TableMemory};

/// Table memory on the heap, for tests, tools and models that need no particular place.
///
/// Tables get made-up physical addresses, one after the other, so that the same operations always give the same entries;
/// freed tables are used again first. Memory is held in chunks that double in size, are
/// never moved and are freed with the value.
pub struct HeapTables {
    first: Pa,
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNKS],
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    /// How far after the first table nothing was ever given out.
    fresh: u64,
    /// What came back.
    tables: Vec<(Pa, PageSize)>,
}

/// The size of the first chunk; no table is larger. Chunk n is 2^n times as large, and so starts 2^n - 1 times this size
/// after the beginning.
const FIRST_CHUNK: PageSize = PageSize::from_log2(18);
const FIRST_CHUNK_WORDS: usize = 1 << (FIRST_CHUNK.log2() - 3);
/// As many chunks as make 64 GiB.
const CHUNKS: usize = 18;

impl HeapTables {
    /// Tables from `0x1_0000_0000` on.
    pub const fn new() -> Self {
        Self::starting_at(Pa::new(0x1_0000_0000))
    }

    /// Tables from this address on, a multiple of the size of any table that will be asked for.
    pub const fn starting_at(first: Pa) -> Self {
        Self {
            first,
            chunks: [const { OnceLock::new() }; CHUNKS],
            free: Mutex::new(Free {
                fresh: 0,
                tables: Vec::new(),
            }),
        }
    }

    /// How many bytes of tables are out, with the gaps that alignment left between them.
    pub fn in_use(&self) -> u64 {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.fresh
            - free
                .tables
                .iter()
                .map(|(_, size)| size.bytes())
                .sum::<u64>()
    }

    /// The chunk that holds the byte this far after the first, and how far into the chunk it is.
    #[inline]
    fn locate(offset: u64) -> (usize, u64) {
        let chunk = ((offset >> FIRST_CHUNK.log2()) + 1).ilog2();
        (chunk as usize, offset - chunk_start(chunk))
    }
}

/// How far after the first byte a chunk starts.
#[inline]
const fn chunk_start(chunk: u32) -> u64 {
    ((1 << chunk) - 1) << FIRST_CHUNK.log2()
}

impl TableMemory for HeapTables {
    fn alloc(&self, size: PageSize) -> Result<Pa, OutOfMemory> {
        if size > FIRST_CHUNK {
            return Err(OutOfMemory);
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = free.tables.iter().rposition(|&(_, freed)| freed == size) {
            return Ok(free.tables.swap_remove(found).0);
        }
        let offset = free.fresh.next_multiple_of(size.bytes());
        let (chunk, _) = Self::locate(offset);
        let words = FIRST_CHUNK_WORDS << chunk;
        self.chunks
            .get(chunk)
            .ok_or(OutOfMemory)?
            .get_or_init(|| (0..words).map(|_| AtomicU64::new(0)).collect());
        free.fresh = offset + size.bytes();
        Ok(Pa::new(self.first.get() + offset))
    }

    fn free(&self, table: Pa, size: PageSize) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.tables.push((table, size));
    }

    #[inline]
    fn entries(&self, table: Pa, count: usize) -> Option<&[AtomicU64]> {
        let (chunk, inside) = Self::locate(table.get().checked_sub(self.first.get())?);
        let first = usize::try_from(inside / 8).ok()?;
        self.chunks.get(chunk)?.get()?.get(first..first + count)
    }
}

impl Default for HeapTables {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HeapTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapTables")
            .field("in_use", &self.in_use())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn tables_follow_each_other_and_come_back_first() {
        let tables = HeapTables::new();
        let (small, large) = (PageSize::SIZE_4K, PageSize::from_log2(16));
        let first = tables.alloc(small).unwrap();
        assert_eq!(first, Pa::new(0x1_0000_0000));
        assert_eq!(tables.alloc(small), Ok(Pa::new(0x1_0000_1000)));
        // A table is aligned to its size; the gap is not used.
        assert_eq!(tables.alloc(large), Ok(Pa::new(0x1_0001_0000)));
        assert_eq!(tables.in_use(), 0x2_0000);
        tables.free(first, small);
        assert_eq!(tables.alloc(large), Ok(Pa::new(0x1_0002_0000)));
        assert_eq!(tables.alloc(small), Ok(first));
    }

    #[test]
    fn only_memory_that_exists_has_entries() {
        let tables = HeapTables::starting_at(Pa::new(0x10_0000));
        let first = tables.alloc(PageSize::SIZE_4K).unwrap();
        tables.entries(first, 512).unwrap()[511].store(7, Ordering::Relaxed);
        assert_eq!(
            tables.entries(Pa::new(0x10_0ff8), 1).unwrap()[0].load(Ordering::Relaxed),
            7
        );
        for nowhere in [
            0,
            0xf_f000,
            0x10_0000 + FIRST_CHUNK.bytes(),
            u64::MAX,
            u64::MAX << 12,
        ] {
            assert!(
                tables.entries(Pa::new(nowhere), 512).is_none(),
                "{nowhere:#x}"
            );
        }
        assert!(tables.entries(first, usize::MAX).is_none());
        let end = Pa::new(0x10_0000 + FIRST_CHUNK.bytes() - 8);
        assert!(tables.entries(end, 1).is_some() && tables.entries(end, 2).is_none());
        // Beyond the first chunk, in the second, and to its end.
        let table = (0..FIRST_CHUNK.bytes() >> 12)
            .map(|_| tables.alloc(PageSize::SIZE_4K).unwrap())
            .last()
            .unwrap();
        assert_eq!(table, Pa::new(0x10_0000 + FIRST_CHUNK.bytes()));
        assert!(tables.entries(table, 512).is_some());
        for _ in 1..(2 * FIRST_CHUNK.bytes()) >> 12 {
            let table = tables.alloc(PageSize::SIZE_4K).unwrap();
            assert!(tables.entries(table, 512).is_some());
        }
        assert_eq!(tables.in_use(), 3 * FIRST_CHUNK.bytes());
        assert!(tables.alloc(FIRST_CHUNK).is_ok());
        assert_eq!(tables.alloc(PageSize::from_log2(19)), Err(OutOfMemory));
    }
}

//! Tables on the heap.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock, PoisonError};

use swiommu_addr::{Pa, PageSize};

use crate::{OutOfMemory, TableMemory};

/// Table memory on the heap, for tests, tools and models that need no particular place.
///
/// Tables get made-up physical addresses, one after the other from [`HeapTables::FIRST`] on, so that the same operations
/// always give the same entries; freed tables are used again first. Memory is held in chunks that double in size, are
/// never moved and are freed with the value.
pub struct HeapTables {
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNKS],
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    /// The first byte, counted from [`HeapTables::FIRST`], that was never given out.
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
    /// The physical address of the first table.
    pub const FIRST: Pa = Pa::new(0x1_0000_0000);

    /// No tables yet.
    pub const fn new() -> Self {
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
            free: Mutex::new(Free {
                fresh: 0,
                tables: Vec::new(),
            }),
        }
    }

    /// How many bytes of tables are out.
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
        Ok(Pa::new(Self::FIRST.get() + offset))
    }

    fn free(&self, table: Pa, size: PageSize) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.tables.push((table, size));
    }

    #[inline]
    fn entries(&self, table: Pa, count: usize) -> Option<&[AtomicU64]> {
        let (chunk, inside) = Self::locate(table.get().checked_sub(Self::FIRST.get())?);
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

//! Short ways to say what the tests do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use swiommu_addr::{Iova, IovaRange, Pa, PaRange, PageSize, PageSizes};
use swiommu_pgtable::{
    Error, Format, HeapTables, OutOfMemory, PageTable, Prot, TableMemory, Translation, Unmapped,
    UpperBits,
};

pub(crate) type Table<F> = PageTable<F, Arc<HeapTables>>;

pub(crate) fn table<F: Format>(format: F) -> Table<F> {
    PageTable::new(format, Arc::new(HeapTables::new())).unwrap()
}

pub(crate) fn iova(start: u64, len: u64) -> IovaRange {
    IovaRange::from_len(Iova::new(start), len).unwrap()
}

pub(crate) fn memory(start: u64, len: u64) -> PaRange {
    PaRange::from_len(Pa::new(start), len).unwrap()
}

/// Maps with every leaf size, and frees at once what gave way.
#[track_caller]
pub(crate) fn map<F: Format, M: TableMemory>(
    table: &PageTable<F, M>,
    start: u64,
    pa: u64,
    len: u64,
) {
    let mapped = table
        .map(Iova::new(start), memory(pa, len), Prot::RW, PageSizes::ALL)
        .unwrap();
    if let Some(replaced) = mapped.replaced() {
        replaced.flushed().free(table.memory());
    }
}

/// Unmaps, frees at once, and returns what the unmap said.
#[track_caller]
pub(crate) fn unmap<F: Format, M: TableMemory>(
    table: &PageTable<F, M>,
    start: u64,
    len: u64,
) -> (IovaRange, u64) {
    free(table, table.unmap(iova(start, len)).unwrap())
}

pub(crate) fn free<F: Format, M: TableMemory>(
    table: &PageTable<F, M>,
    unmapped: Unmapped<F>,
) -> (IovaRange, u64) {
    let said = (unmapped.range(), unmapped.bytes(table.memory()));
    unmapped.flushed().free(table.memory());
    said
}

/// All IOVAs of the format: two ranges when it is sign-extended.
pub(crate) fn halves<F: Format>(format: &F) -> Vec<IovaRange> {
    let bits = format.input_bits(*format.levels().end());
    let top = u64::MAX >> (64 - bits);
    match format.upper_bits() {
        UpperBits::Zero => vec![IovaRange::new(Iova::new(0), Iova::new(top)).unwrap()],
        UpperBits::SignExtended => vec![
            IovaRange::new(Iova::new(0), Iova::new(top >> 1)).unwrap(),
            IovaRange::new(Iova::new(!(top >> 1)), Iova::new(u64::MAX)).unwrap(),
        ],
    }
}

/// Every leaf of the table.
pub(crate) fn leaves<F: Format, M: TableMemory>(table: &PageTable<F, M>) -> Vec<Translation> {
    let all = halves(&table.format());
    all.into_iter()
        .flat_map(|half| table.leaves(half).unwrap())
        .collect()
}

/// IOVAs at which something in the format changes: the ends of its ranges, and the boundary between two entries of each
/// level, on both sides of which there is room for a few of its items.
pub(crate) fn landmarks<F: Format>(format: &F) -> Vec<u64> {
    let granule = F::GRANULE.bytes();
    let mut landmarks = Vec::new();
    for half in halves(format) {
        landmarks.push(half.start().get());
        landmarks.push(half.last().get() - granule + 1);
        let boundaries = boundaries(format).into_iter();
        landmarks.extend(boundaries.map(|boundary| half.start().get() + boundary));
    }
    landmarks
}

/// A smallest leaf with this permission, without its address.
fn fresh_leaf<F: Format>(format: &F, prot: Prot) -> u64 {
    format.leaf(F::GRANULE, 0, format.attributes(prot).unwrap())
}

/// Whether a format of which hardware has nothing to update marks new leaves as dirty where they are writable.
pub(crate) fn born_dirty<F: Format>(format: &F, prot: Prot) -> bool {
    format.is_dirty(fresh_leaf(format, prot))
}

/// Whether this configuration of the format has a mark for a leaf that was written.
pub(crate) fn tracks_dirty<F: Format>(format: &F) -> bool {
    format.is_dirty(format.dirtied(fresh_leaf(format, Prot::RW)))
}

/// For each level but the lowest, a boundary between two of its entries that have others around them. A root of few entries
/// may not have it.
pub(crate) fn boundaries<F: Format>(format: &F) -> Vec<u64> {
    let half = halves(format)[0];
    (1..*format.levels().end())
        .map(|level| F::item_size(level).bytes())
        .filter(|item| half.len_minus_one() / 4 >= item - 1)
        .map(|item| 3 * item)
        .collect()
}

/// The size of a table below the root.
pub(crate) fn table_size<F: Format>() -> PageSize {
    PageSize::from_log2(F::INDEX_BITS + 3)
}

/// Checks that `start..start+len` leads to `pa`, at its ends and in its middle, and that nothing beside it is mapped.
#[track_caller]
pub(crate) fn assert_only<F: Format>(table: &Table<F>, start: u64, pa: u64, len: u64) {
    for offset in [0, 1, len / 2, len - 1] {
        let at = Iova::new(start.wrapping_add(offset));
        assert_eq!(
            table.translate(at).unwrap().resolve(at),
            Pa::new(pa + offset)
        );
    }
    for beside in [start.checked_sub(1), start.checked_add(len)]
        .into_iter()
        .flatten()
    {
        match table.translate(Iova::new(beside)) {
            Err(Error::NotMapped { iova, .. }) => assert_eq!(iova, Iova::new(beside)),
            Err(Error::OutOfRange { .. }) => {}
            other => panic!("{beside:#x}: {other:?}"),
        }
    }
    assert_eq!(
        leaves(table)
            .iter()
            .map(|leaf| leaf.size.bytes())
            .sum::<u64>(),
        len
    );
}

/// Table memory that refuses after so many tables.
pub(crate) struct Limited {
    pub(crate) tables: HeapTables,
    left: AtomicUsize,
}

impl Limited {
    pub(crate) fn unlimited() -> Self {
        Self {
            tables: HeapTables::new(),
            left: AtomicUsize::new(usize::MAX),
        }
    }

    /// Gives out `count` more tables.
    pub(crate) fn limit(&self, count: usize) {
        self.left.store(count, Ordering::Relaxed);
    }
}

impl TableMemory for Limited {
    fn alloc(&self, size: PageSize) -> Result<Pa, OutOfMemory> {
        let left = self.left.load(Ordering::Relaxed);
        self.left
            .store(left.checked_sub(1).ok_or(OutOfMemory)?, Ordering::Relaxed);
        let table = self.tables.alloc(size)?;
        // What is in a new table is not specified: here it is what hurts most.
        let entries = usize::try_from(size.bytes() / 8).unwrap();
        for entry in self.tables.entries(table, entries).unwrap() {
            entry.store(u64::MAX, Ordering::Relaxed);
        }
        Ok(table)
    }

    fn free(&self, table: Pa, size: PageSize) {
        self.tables.free(table, size);
    }

    fn entries(&self, table: Pa, count: usize) -> Option<&[AtomicU64]> {
        self.tables.entries(table, count)
    }
}

//! Tables that a guest wrote to do harm.

use proptest::prelude::*;
use swiommu_addr::{Address, Gpa, Iova};
use swiommu_iommu::{DmaError, Prot, Retention};

use crate::composition::runner;
use crate::guest::{DATA, PAGE, SECRET};
use crate::model::{Model, Rights};
use crate::nested::Nested;

/// The guest's tables, of which any may point to any.
const TABLES: usize = 6;

/// What an entry of a hostile table is.
#[derive(Clone, Debug)]
enum Entry {
    /// It points to one of the tables: also to itself, or upwards.
    Table(usize),
    /// A leaf, at whatever level, that points to data or to a table.
    Leaf(u64, Rights, u8),
    /// The same with some bits turned.
    Turned(u64, u64),
    Word(u64),
}

fn entry() -> impl Strategy<Value = Entry> {
    let rights = prop_oneof![Just(Rights::Read), Just(Rights::Write)];
    let target = prop_oneof![
        0..DATA,
        0x4_0000..0x4_0010_u64,
        any::<u64>().prop_map(|n| n >> 12)
    ];
    let bits = prop::bits::u64::sampled(1..4, 0..64);
    prop_oneof![
        5 => (0..TABLES).prop_map(Entry::Table),
        3 => (target.clone(), rights, 0..2_u8).prop_map(|(to, rights, level)| Entry::Leaf(to, rights, level)),
        2 => (target, bits).prop_map(|(to, bits)| Entry::Turned(to, bits)),
        1 => any::<u64>().prop_map(Entry::Word),
    ]
}

/// Indexes of entries; the rest of a table is empty.
const INDEXES: [u64; 4] = [0, 1, 255, 511];

pub(crate) fn tables_lead_to_faults_or_to_the_guests_own_memory<M: Model>() {
    let tables = prop::collection::vec((0..TABLES, 0..INDEXES.len(), entry()), 4..40);
    let indexes = || prop::sample::select(INDEXES.to_vec());
    let iova = (indexes(), indexes(), indexes(), indexes(), 0..PAGE)
        .prop_map(|(a, b, c, d, offset)| a << 39 | b << 30 | c << 21 | d << 12 | offset);
    let iovas = prop::collection::vec(prop_oneof![4 => iova, 1 => any::<u64>()], 12);
    let caches = prop::sample::select(vec![Retention::LegalMaximum, Retention::Off]);
    runner(160)
        .run(&(caches, tables, iovas), |(caches, entries, iovas)| {
            let nested = Nested::<M>::new(caches);
            let mut tables = vec![nested.tables.root()];
            tables.resize_with(TABLES, || nested.guest.allocate());
            for page in 0..DATA {
                nested.map_second(page, page, Prot::RW);
            }
            for (table, index, entry) in entries {
                let at = tables[table].wrapping_add(INDEXES[index] * 8);
                let leaf = |to: u64, rights, level| M::leaf(Gpa::new(to << 12), rights, level);
                nested.guest.write(
                    at,
                    match entry {
                        Entry::Table(next) => M::table(tables[next]),
                        Entry::Leaf(to, rights, level) => leaf(to, rights, level),
                        Entry::Turned(to, bits) => leaf(to, Rights::Write, 0) ^ bits,
                        Entry::Word(word) => word,
                    },
                );
            }
            for mut port in nested.ports() {
                for iova in iovas.iter().map(|iova| Iova::new(*iova)) {
                    let mut found = [0; 64];
                    let read = port.read(iova, &mut found);
                    prop_assert!(faults_or_not(&read), "{read:?}");
                    let secret = SECRET.to_le_bytes();
                    prop_assert!(
                        !found.windows(8).any(|bytes| bytes == secret),
                        "the host's memory"
                    );
                    let written = port.write(iova, &[0x41; 64]);
                    prop_assert!(faults_or_not(&written), "{written:?}");
                }
            }
            prop_assert_eq!(nested.guest.secret(), [SECRET; 512]);
            Ok(())
        })
        .unwrap();
}

/// Whether it ended as DMA can: the guest's tables do not lead to where there is no memory.
fn faults_or_not(ended: &Result<(), DmaError>) -> bool {
    matches!(
        ended,
        Ok(()) | Err(DmaError::Fault { .. } | DmaError::Overflow { .. })
    )
}

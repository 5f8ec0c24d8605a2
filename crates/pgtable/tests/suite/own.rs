//! A format of somebody else's, with what the contract demands and nothing besides: it takes every default.

use std::ops::RangeInclusive;

use swiommu_addr::{Gpa, Iova, Pa, PageSize, PageSizes};
use swiommu_pgtable::{
    Access, Entry, Format, HardwareWalk, Leaf, Malformed, MemoryType, Prot, Refusal, Root,
    WalkFault, Walker,
};

use crate::foreign::Foreign;

const PRESENT: u64 = 1 << 63;
const WRITE: u64 = 1 << 62;
const LEAF: u64 = 1 << 61;
/// A leaf of the lowest level that is one of four slots. It is understood, and not offered.
const LONG: u64 = 1 << 60;
const LEVEL_SHIFT: u8 = 56;
const LEVEL: u64 = 7 << LEVEL_SHIFT;
const ADDRESS: u64 = (1 << 52) - 1;

/// Six levels of tables of eight entries, so that a short run goes through all of them. A table entry names the level of the
/// table that it points to; nothing keeps it from lying.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own;

impl Format for Own {
    const GRANULE: PageSize = PageSize::SIZE_4K;
    const INDEX_BITS: u8 = 3;

    fn levels(&self) -> RangeInclusive<u8> {
        6..=6
    }

    fn output_bits(&self) -> u8 {
        52
    }

    fn leaf_sizes(&self) -> PageSizes {
        PageSizes::NONE
            .with(Self::item_size(0))
            .with(Self::item_size(1))
    }

    fn attributes(&self, prot: Prot) -> Option<u64> {
        let write = if prot.contains(Prot::WRITE) { WRITE } else { 0 };
        prot.intersects(Prot::RW).then_some(write)
    }

    fn attribute_bits(&self) -> u64 {
        WRITE
    }

    fn leaf(&self, _size: PageSize, _level: u8, attributes: u64) -> u64 {
        PRESENT | LEAF | attributes
    }

    fn table(&self, level: u8) -> u64 {
        PRESENT | u64::from(level - 1) << LEVEL_SHIFT
    }

    fn address(&self, pa: Pa) -> u64 {
        pa.get()
    }

    fn is_absent(&self, entry: u64) -> bool {
        entry & PRESENT == 0
    }

    fn decode(&self, entry: u64, level: u8) -> Entry {
        let pa = Pa::new(entry & ADDRESS);
        let size = match (level, entry & LONG) {
            (0, LONG) => PageSize::from_log2(14),
            _ => Self::item_size(level),
        };
        match entry & (PRESENT | LEAF) {
            PRESENT => Entry::Table {
                table: pa,
                level: ((entry & LEVEL) >> LEVEL_SHIFT) as u8,
            },
            0 | LEAF => Entry::Absent,
            _ if level > 1 => Entry::Malformed(Malformed::LeafSize(size.log2())),
            _ => Entry::Leaf(Leaf {
                pa: Pa::new(pa.get() & !size.mask()),
                size,
                prot: if entry & WRITE == 0 {
                    Prot::READ
                } else {
                    Prot::RW
                },
                dirty: false,
            }),
        }
    }
}

impl HardwareWalk for Own {
    fn leaf_access(&self, entry: u64) -> Access {
        if entry & WRITE == 0 {
            Access::READ
        } else {
            Access::READ | Access::WRITE
        }
    }

    fn walked_leaf(&self, entry: u64, _wanted: Access) -> Option<u64> {
        Some(entry)
    }
}

#[test]
fn the_defaults_are_those_of_the_plainest_format() {
    let leaf = Own.leaf(PageSize::SIZE_4K, 0, WRITE);
    // A root resolves what other tables do, but no format has more than 64 bits.
    assert_eq!(
        [1, 6, 18].map(|levels| Own.input_bits(levels)),
        [15, 30, 64]
    );
    assert_eq!(Own.limit(Own.table(1)), Prot::RW);
    assert_eq!(Own.page(leaf).map(Entry::Leaf), Some(Own.decode(leaf, 0)));
    assert_eq!(Own.page(Own.table(1)), None);
    assert_eq!(Own.page(leaf | LONG), None);
    assert_eq!(
        Own.with_attributes(leaf | 0x7000, 0),
        PRESENT | LEAF | 0x7000
    );
    assert_eq!(
        Own.with_attributes(PRESENT | LEAF | 0x7000, WRITE),
        leaf | 0x7000
    );
    let table = pointer(1, 0x7000);
    assert_eq!(
        [3, 2, 1].map(|level| Own.open_table(table, level)),
        [None, Some(Pa::new(0x7000)), None]
    );
    assert_eq!((Own.dirtied(leaf), Own.cleaned(leaf)), (leaf, leaf));
    assert!(!Own.is_dirty(leaf) && Own.dirty_bits(leaf) == 0);
    assert_eq!(Own.table_access(Own.table(1)), Access::all());
    assert_eq!(Own.path_access(Access::USER), Access::USER);
    assert_eq!(Own.walked_table(Own.table(1)), Own.table(1));
    assert_eq!(Own.memory_type(leaf, 0), MemoryType(0));
    let all = Access::all();
    let plain = (Pa::new(0x7000), Access::READ | Access::WRITE);
    let leaf = leaf | 0x7000;
    assert_eq!(Own.plain_leaf(leaf, all, all), Some(plain));
    assert_eq!(Own.plain_leaf(leaf | LONG, all, all), None);
    assert_eq!(Own.plain_leaf(table, all, all), None);
}

fn pointer(level: u8, table: u64) -> u64 {
    PRESENT | u64::from(level) << LEVEL_SHIFT | table
}

#[test]
fn only_a_pointer_to_the_next_level_is_an_ordinary_one() {
    assert_eq!(Own.next_table(pointer(1, 0x7000), 2), Some(Pa::new(0x7000)));
    for (entry, level) in [
        (pointer(0, 0x7000), 2),
        (pointer(2, 0x7000), 2),
        (pointer(3, 0x7000), 2),
        (pointer(0, 0x7000), 0),
        (PRESENT | LEAF | 0x7000, 1),
        (0, 1),
    ] {
        assert_eq!(Own.next_table(entry, level), None, "{entry:#x} at {level}");
    }
}

#[test]
fn a_walk_does_not_go_up_or_in_circles() {
    const ROOT: u64 = 0x1000;
    let memory = Foreign::default();
    let root = Root {
        table: Gpa::new(ROOT),
        levels: 6,
    };
    let walker = Walker::new(Own, &memory, root).unwrap();
    let iova = Iova::new(0);
    for named in [5, 6, 7] {
        let entry = pointer(named, ROOT);
        memory.put(ROOT, entry);
        let refused = WalkFault::Refused {
            iova,
            at: Gpa::new(ROOT),
            level: 5,
            entry,
            reason: Refusal::Malformed(Malformed::TableLevel(named)),
        };
        assert_eq!(walker.walk(iova, Access::READ), Err(refused));
        assert_eq!(memory.reads(), [ROOT]);
    }
    // Levels may be left out, where the address bits that they would resolve are zero.
    memory.put(ROOT, pointer(0, 0x2000));
    memory.put(0x2008, PRESENT | LEAF | 0x9000);
    let skipped = walker.walk(Iova::new(0x1234), Access::READ).unwrap();
    assert_eq!(skipped.resolve(Iova::new(0x1234)), Gpa::new(0x9234));
    for bit in 15..27 {
        let refused = walker.walk(Iova::new(0x1234 | 1 << bit), Access::READ);
        let Err(WalkFault::Refused { level, reason, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(reason, Refusal::Malformed(Malformed::SkippedBits));
        assert_eq!(level, 5);
    }
}

//! A format of somebody else's, with what the contract demands and nothing besides: it takes every default.

use std::ops::RangeInclusive;

use swiommu_addr::{Gpa, Iova, Pa, PageSize, PageSizes};
use swiommu_pgtable::{
    Access, Entry, Format, HardwareWalk, Leaf, Malformed, MemoryType, Prot, Refusal, Root,
    WalkFault, Walker,
};

use crate::foreign::Foreign;

const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const LEAF: u64 = 1 << 2;
const LEVEL_SHIFT: u8 = 4;
const LEVEL: u64 = 7 << LEVEL_SHIFT;
const ADDRESS: u64 = ((1 << 52) - 1) & !0xfff;

/// Three levels over 4 KiB. A table entry names the level of the table that it points to; nothing keeps it from lying.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own;

impl Format for Own {
    const GRANULE: PageSize = PageSize::SIZE_4K;
    const INDEX_BITS: u8 = 9;

    fn levels(&self) -> RangeInclusive<u8> {
        3..=3
    }

    fn output_bits(&self) -> u8 {
        52
    }

    fn leaf_sizes(&self) -> PageSizes {
        PageSizes::NONE
            .with(PageSize::SIZE_4K)
            .with(PageSize::SIZE_2M)
    }

    fn attributes(&self, prot: Prot) -> Option<u64> {
        let write = if prot.contains(Prot::WRITE) { WRITE } else { 0 };
        prot.intersects(Prot::RW).then_some(write)
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
        match entry & (PRESENT | LEAF) {
            PRESENT => Entry::Table {
                table: pa,
                level: ((entry & LEVEL) >> LEVEL_SHIFT) as u8,
            },
            entry if entry & PRESENT == 0 => Entry::Absent,
            _ if level > 1 => Entry::Malformed(Malformed::LeafSize(30)),
            _ => Entry::Leaf(Leaf {
                pa: Pa::new(pa.get() & !Self::item_size(level).mask()),
                size: Self::item_size(level),
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
    assert_eq!(
        [1, 3, 6].map(|levels| Own.input_bits(levels)),
        [21, 39, 64],
        "a root resolves what other tables do"
    );
    assert_eq!(Own.limit(Own.table(1)), Prot::RW);
    assert_eq!((Own.dirtied(leaf), Own.cleaned(leaf)), (leaf, leaf));
    assert!(!Own.is_dirty(leaf));
    assert_eq!(Own.table_access(Own.table(1)), Access::all());
    assert_eq!(Own.path_access(Access::USER), Access::USER);
    assert_eq!(Own.walked_table(Own.table(1)), Own.table(1));
    assert_eq!(Own.memory_type(leaf, 0), MemoryType(0));
}

#[test]
fn only_a_pointer_to_the_next_level_is_an_ordinary_one() {
    let pointer = |level: u8| PRESENT | u64::from(level) << LEVEL_SHIFT | 0x7000;
    assert_eq!(Own.next_table(pointer(1), 2), Some(Pa::new(0x7000)));
    for (entry, level) in [
        (pointer(0), 2),
        (pointer(2), 2),
        (pointer(3), 2),
        (pointer(0), 0),
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
        levels: 3,
    };
    let walker = Walker::new(Own, &memory, root).unwrap();
    let iova = Iova::new(0);
    for named in [2, 3, 7] {
        let entry = PRESENT | named << LEVEL_SHIFT | ROOT;
        memory.put(ROOT, entry);
        let reason = Malformed::TableLevel(u8::try_from(named).unwrap());
        let refused = WalkFault::Refused {
            iova,
            at: Gpa::new(ROOT),
            level: 2,
            entry,
            reason: Refusal::Malformed(reason),
        };
        assert_eq!(walker.walk(iova, Access::READ), Err(refused));
        assert_eq!(memory.reads(), [ROOT]);
    }
    // A level may be left out, where the address bits that it would resolve are zero.
    memory.put(ROOT, PRESENT | 0x2000);
    memory.put(0x2008, PRESENT | LEAF | 0x9000);
    let skipped = walker.walk(Iova::new(0x1234), Access::READ).unwrap();
    assert_eq!(skipped.resolve(Iova::new(0x1234)), Gpa::new(0x9234));
    let iova = Iova::new(0x20_1234);
    let refused = walker.walk(iova, Access::READ).unwrap_err();
    let reason = Refusal::Malformed(Malformed::SkippedBits);
    assert!(matches!(refused, WalkFault::Refused { level: 2, reason: said, .. } if said == reason));
}

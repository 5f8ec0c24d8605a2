use std::boxed::Box;
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::vec::Vec;

use swiommu_addr::{Iova, IovaRange, Pa, PaRange, PageSize, PageSizes};

use super::DirtyRead;
use crate::fmt::Amdv1;
use crate::{Entry, Error, Format, HeapTables, PageTable, Prot};

/// A format that lets something happen between the look at an entry and its change.
#[derive(Clone, Copy, Debug)]
struct Interrupted(Amdv1);

std::thread_local! {
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

fn interrupt() {
    if let Some(deed) = MEANWHILE.take() {
        deed();
    }
}

impl Format for Interrupted {
    const GRANULE: PageSize = Amdv1::GRANULE;
    const INDEX_BITS: u8 = Amdv1::INDEX_BITS;

    fn levels(&self) -> RangeInclusive<u8> {
        self.0.levels()
    }

    fn output_bits(&self) -> u8 {
        self.0.output_bits()
    }

    fn leaf_sizes(&self) -> PageSizes {
        self.0.leaf_sizes()
    }

    fn attributes(&self, prot: Prot) -> Option<u64> {
        self.0.attributes(prot)
    }

    fn attribute_bits(&self) -> u64 {
        self.0.attribute_bits()
    }

    fn leaf(&self, size: PageSize, level: u8, attributes: u64) -> u64 {
        self.0.leaf(size, level, attributes)
    }

    fn table(&self, level: u8) -> u64 {
        self.0.table(level)
    }

    fn address(&self, pa: Pa) -> u64 {
        self.0.address(pa)
    }

    fn is_absent(&self, entry: u64) -> bool {
        self.0.is_absent(entry)
    }

    fn decode(&self, entry: u64, level: u8) -> Entry {
        self.0.decode(entry, level)
    }

    fn is_dirty(&self, entry: u64) -> bool {
        self.0.is_dirty(entry)
    }

    fn dirtied(&self, entry: u64) -> u64 {
        interrupt();
        self.0.dirtied(entry)
    }

    fn cleaned(&self, entry: u64) -> u64 {
        interrupt();
        self.0.cleaned(entry)
    }
}

const IOVA: Iova = Iova::new(0x4000);

fn page() -> IovaRange {
    IovaRange::from_len(IOVA, 0x1000).unwrap()
}

/// A page that is mapped, and unmapped while `act` is about to change its entry.
fn unmapped_during(act: impl Fn(&PageTable<Interrupted, HeapTables>)) {
    let table = PageTable::new(Interrupted(Amdv1::new()), HeapTables::new()).unwrap();
    let table = Rc::new(table);
    let memory = PaRange::from_len(Pa::new(0x9000), 0x1000).unwrap();
    let mapped = table.map(IOVA, memory, Prot::RW, PageSizes::ALL).unwrap();
    assert!(mapped.replaced().is_none());
    table.set_dirty(IOVA).unwrap();
    let other = table.clone();
    MEANWHILE.set(Some(Box::new(move || {
        let unmapped = other.unmap(page()).unwrap();
        assert!(unmapped.flushed().is_empty());
    })));
    act(&table);
    assert!(MEANWHILE.take().is_none(), "nothing was about to change");
    assert!(matches!(
        table.translate(IOVA),
        Err(Error::NotMapped { .. })
    ));
}

#[test]
fn a_mark_does_not_bring_a_leaf_back() {
    unmapped_during(|table| {
        let marked = table.set_dirty(IOVA);
        assert!(matches!(marked, Err(Error::NotMapped { .. })));
    });
}

#[test]
fn making_a_leaf_clean_does_not_bring_it_back() {
    unmapped_during(|table| {
        let mut visited = Vec::new();
        let cleaned = table.read_dirty(page(), DirtyRead::Clear, |leaf| visited.push(leaf));
        assert_eq!(cleaned.unwrap().range(), Some(page()));
        assert_eq!(visited, [page()]);
    });
}

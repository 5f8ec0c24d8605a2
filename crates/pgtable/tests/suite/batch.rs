//! Translating many addresses at once, which must answer as one by one does.

use std::cell::Cell;

use swiommu_addr::{Address, Iova, PageSize};
use swiommu_pgtable::{Error, Format, PageTable, Prot, TableMemory, Translation};

use crate::support::*;

type Answers = Vec<(Iova, Result<Translation, Error>)>;

fn batch<F: Format, M: TableMemory>(table: &PageTable<F, M>, iovas: &[Iova]) -> Answers {
    let mut answers = Answers::new();
    let visit = |iova, found| answers.push((iova, found));
    table.translate_all(iovas.iter().copied(), visit);
    answers
}

fn one_by_one<F: Format, M: TableMemory>(table: &PageTable<F, M>, iovas: &[Iova]) -> Answers {
    let answer = |&iova| (iova, table.translate(iova));
    iovas.iter().map(answer).collect()
}

/// A table with leaves of all sizes, and addresses in and around them and far from them, in no order.
fn scattered<F: Format>(format: F) -> (Table<F>, Vec<Iova>) {
    let table = table(format);
    let mut iovas = Vec::new();
    for (place, start) in landmarks(&format).into_iter().enumerate() {
        let sizes = table.page_sizes();
        let size = sizes.iter().nth(place % sizes.iter().count()).unwrap();
        let at = Iova::new(start).align_down(size);
        // Some overlap; what is mapped first stays.
        let _ = table
            .map(at, memory(0, size.bytes()), Prot::READ, sizes)
            .map(|mapped| assert!(mapped.replaced().is_none()));
        let around = [
            0,
            1,
            size.bytes() / 2,
            size.mask(),
            size.bytes(),
            size.bytes().wrapping_neg(),
        ];
        iovas.extend(around.map(|offset| at.wrapping_add(offset)));
    }
    let bits = format.input_bits(*format.levels().end());
    iovas.extend(
        [
            0,
            u64::MAX,
            u64::MAX >> (64 - bits),
            1_u64.rotate_left(bits.into()),
        ]
        .map(Iova::new),
    );
    iovas.sort_by_key(|iova| iova.get().wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (table, iovas)
}

pub(crate) fn a_batch_answers_as_one_by_one<F: Format>(format: F) {
    let (table, iovas) = scattered(format);
    let expected = one_by_one(&table, &iovas);
    assert!(expected.iter().any(|(_, found)| found.is_ok()));
    assert!(iovas.len() > 17);
    for count in [0, 1, 15, 16, 17, iovas.len()] {
        assert_eq!(batch(&table, &iovas[..count]), expected[..count]);
    }
}

/// One leaf, and addresses around it that nothing translates.
pub(crate) fn a_batch_finds_no_more_than_there_is<F: Format>(format: F) {
    for size in table(format).page_sizes().iter().map(PageSize::bytes) {
        let table = table(format);
        map(&table, 0, 0, size);
        let mapped = iova(0, size);
        let iovas = [0, size / 2, size - 1, size, 2 * size, 3 * size - 1].map(Iova::new);
        for (iova, found) in batch(&table, &iovas) {
            assert_eq!(found, table.translate(iova));
            assert_eq!(found.is_ok(), mapped.contains(iova), "{iova}: {found:?}");
        }
    }
}

pub(crate) fn a_batch_sees_what_is_mapped_during_it<F: Format>(format: F) {
    let table = table(format);
    let granule = F::GRANULE.bytes();
    let top = halves(&format)[0].last().get() - granule + 1;
    map(&table, 0, 0, granule);
    let [low, high] = [0, top].map(Iova::new);
    let visited = Cell::new(0);
    // The root grows between two addresses, in the formats where it does.
    let iovas = (0..100).map(|place| {
        if place == 50 {
            map(&table, top, granule, granule);
        }
        if place % 2 == 0 { low } else { high }
    });
    table.translate_all(iovas, |iova, found| {
        visited.set(visited.get() + 1);
        if iova == low {
            assert_eq!(found.unwrap().pa.get(), 0);
        } else if visited.get() > 66 {
            assert_eq!(found.unwrap().pa.get(), granule);
        }
    });
    assert_eq!(visited.get(), 100);
    assert_eq!(table.translate(high).unwrap().pa.get(), granule);
}

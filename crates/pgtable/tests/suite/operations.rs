//! What each operation promises, for any format.

use swiommu_addr::{Iova, IovaRange, Pa, PageSize, PageSizes};
use swiommu_pgtable::fmt::{AddressForm, ArmS1, ArmS2};
use swiommu_pgtable::{DirtyRead, Error, Format, Prot, UpperBits};

use crate::support::*;

/// Where test memory begins: aligned to nearly every leaf size.
const PA: u64 = 1 << 47;

/// Where a leaf of this size can lead.
fn pa_for(size: u64) -> u64 {
    if size > PA { 0 } else { PA }
}

pub(crate) fn every_leaf_size_goes_around<F: Format>(format: F) {
    let table = table(format);
    for size in table.page_sizes().iter().map(PageSize::bytes) {
        let pa = pa_for(size);
        // The first and the last place for such a leaf, and the one after the first.
        for half in halves(&format) {
            let (first, last) = (half.start().get(), half.last().get() - size + 1);
            for start in [first, first + size, last] {
                map(&table, start, pa, size);
                assert_only(&table, start, pa, size);
                let leaf = table.translate(Iova::new(start)).unwrap();
                assert_eq!((leaf.size.bytes(), leaf.prot), (size, Prot::RW));
                let dirty = born_dirty(&format, Prot::RW);
                assert_eq!(
                    (leaf.iova, leaf.pa, leaf.dirty),
                    (Iova::new(start), Pa::new(pa), dirty)
                );
                assert_eq!(unmap(&table, start, size), (iova(start, size), size));
                assert_eq!(leaves(&table), []);
            }
        }
    }
}

/// The entries of a leaf do not depend on whether its table was there already.
pub(crate) fn a_leaf_is_written_as_in_a_new_table<F: Format>(format: F) {
    for size in table(format).page_sizes().iter().map(PageSize::bytes) {
        let table = table(format);
        let start = halves(&format)[0].last().get() - size + 1;
        map(&table, start, pa_for(size), size);
        let new = table.dump().to_string();
        unmap(&table, start, size);
        map(&table, start, pa_for(size), size);
        assert_eq!(table.dump().to_string(), new);
    }
}

pub(crate) fn runs_cross_the_boundaries_of_all_levels<F: Format>(format: F) {
    let granule = F::GRANULE.bytes();
    for boundary in boundaries(&format) {
        for (before, after) in [
            (1, 1),
            (3, 5),
            (1 << F::INDEX_BITS, 2),
            (5, 1 << F::INDEX_BITS),
        ] {
            let (start, len) = (boundary - before * granule, (before + after) * granule);
            // The same offset in all leaf sizes, then another.
            for pa in [PA + start % (boundary / 3).min(1 << 40), PA + granule] {
                let table = table(format);
                map(&table, start, pa, len);
                assert_only(&table, start, pa, len);
                assert_eq!(unmap(&table, start, len), (iova(start, len), len));
                assert_eq!(leaves(&table), []);
            }
        }
    }
}

pub(crate) fn several_runs_are_laid_out_one_by_one<F: Format>(format: F) {
    let table = table(format);
    let granule = F::GRANULE.bytes();
    let large = F::item_size(1).bytes();
    // Single pages in falling order, then a large leaf, then pages again.
    let mut runs: Vec<_> = (0..large / granule)
        .rev()
        .map(|n| memory(PA + 2 * n * granule, granule))
        .collect();
    runs.push(memory(PA, large));
    runs.extend([
        memory(PA + large, granule),
        memory(PA + large + 2 * granule, 2 * granule),
    ]);
    let start = large;
    let _ = table
        .map_runs(Iova::new(start), &runs, Prot::READ, PageSizes::ALL)
        .unwrap();
    let mut at = start;
    for run in &runs {
        for offset in [0, run.len().unwrap() - 1] {
            let iova = Iova::new(at + offset);
            assert_eq!(
                table.translate(iova).unwrap().resolve(iova).get(),
                run.start().get() + offset
            );
        }
        at += run.len().unwrap();
    }
    assert_eq!(
        table.translate(Iova::new(2 * large)).unwrap().size.bytes(),
        large
    );
    let mapped = leaves(&table);
    assert!(
        mapped
            .iter()
            .all(|leaf| leaf.prot.intersection(Prot::RW) == Prot::READ)
    );
    assert_eq!(
        mapped.iter().map(|leaf| leaf.size.bytes()).sum::<u64>(),
        at - start
    );
}

pub(crate) fn allowed_sizes_restrict_the_leaves<F: Format>(format: F) {
    let large = F::item_size(1);
    let only_small = PageSizes::NONE.with(F::GRANULE);
    let full = table(format);
    // Into a new table, then where all tables but the last exist.
    for start in [0, large.bytes()] {
        let run = memory(PA, large.bytes());
        let mapped = full
            .map(Iova::new(start), run, Prot::RW, only_small)
            .unwrap();
        assert!(mapped.replaced().is_none());
        assert!(leaves(&full).iter().all(|leaf| leaf.size == F::GRANULE));
    }

    // A table without the smallest leaf wants everything aligned to the next.
    let table = table(format).with_page_sizes(PageSizes::from_bitmap(!0 << large.log2()));
    let smallest = table.page_sizes().smallest().unwrap();
    assert_eq!(smallest, large);
    let granule = F::GRANULE.bytes();
    let request =
        |start, pa, len| table.map(Iova::new(start), memory(pa, len), Prot::RW, PageSizes::ALL);
    assert_eq!(
        request(0, PA + granule, large.bytes()).unwrap_err(),
        Error::MisalignedPa {
            range: memory(PA + granule, large.bytes()),
            leaf: large
        }
    );
    assert_eq!(
        request(granule, PA, large.bytes()).unwrap_err(),
        Error::MisalignedIova {
            range: iova(granule, large.bytes()),
            leaf: large
        }
    );
    assert_eq!(
        table
            .map(Iova::new(0), memory(PA, granule), Prot::RW, only_small)
            .unwrap_err(),
        Error::NoLeafSize
    );
    assert_eq!(leaves(&table), []);
    map(&table, 0, PA, large.bytes());
    assert_only(&table, 0, PA, large.bytes());
}

pub(crate) fn an_overlap_is_refused_and_nothing_changes<F: Format>(format: F) {
    let table = table(format);
    let granule = F::GRANULE.bytes();
    let span = F::item_size(2).bytes();
    // A large leaf, a single page in a table of its own, and one in a table that the new run would cover.
    map(&table, span, PA, F::item_size(1).bytes());
    map(
        &table,
        span + 3 * F::item_size(1).bytes() + 5 * granule,
        PA,
        granule,
    );
    map(&table, 2 * span - granule, PA, granule);
    let (before, in_use) = (leaves(&table), table.memory().in_use());
    for (start, pa, len, first) in [
        (span, PA, granule, span),
        (span + granule, PA, granule, span + granule),
        (0, PA, 2 * span, span),
        (0, PA + granule, span + granule, span),
        (
            span + 2 * F::item_size(1).bytes(),
            PA,
            span,
            before[1].iova.get(),
        ),
        (before[1].iova.get(), PA, granule, before[1].iova.get()),
        (before[1].iova.get() + granule, PA, span, 2 * span - granule),
        (
            span + 4 * F::item_size(1).bytes(),
            PA,
            span,
            2 * span - granule,
        ),
    ] {
        let refused = table.map(Iova::new(start), memory(pa, len), Prot::RW, PageSizes::ALL);
        assert_eq!(
            refused.unwrap_err(),
            Error::AlreadyMapped {
                iova: Iova::new(first)
            }
        );
        assert_eq!(leaves(&table), before);
        assert_eq!(table.memory().in_use(), in_use);
    }
}

pub(crate) fn a_cut_leaf_goes_whole<F: Format>(format: F) {
    let table = table(format);
    let granule = F::GRANULE.bytes();
    for size in table
        .page_sizes()
        .iter()
        .map(PageSize::bytes)
        .filter(|&size| size > granule)
    {
        let base = 2 * size;
        for (start, len) in [
            (base, granule),
            (base + size / 2, granule),
            (base + size - granule, granule),
        ] {
            map(&table, base, pa_for(size), size);
            assert_eq!(unmap(&table, start, len), (iova(base, size), size));
            assert_eq!(leaves(&table), []);
        }
        // From the middle of one leaf to the middle of the next but one, with a page before and after that stays.
        if size <= PA && 8 * size < F::item_size(format.levels().end() - 1).bytes() {
            let sizes = PageSizes::NONE
                .with(F::GRANULE)
                .with(PageSize::from_bytes(size).unwrap());
            let run = memory(pa_for(size) + size - granule, 3 * size + 2 * granule);
            let _ = table
                .map(Iova::new(base - granule), run, Prot::RW, sizes)
                .unwrap();
            assert_eq!(
                unmap(&table, base + size / 2, 2 * size),
                (iova(base, 3 * size), 3 * size)
            );
            let stay: Vec<_> = leaves(&table).iter().map(|leaf| leaf.iova.get()).collect();
            assert_eq!(stay, [base - granule, base + 3 * size]);
            unmap(&table, base - granule, 3 * size + 2 * granule);
        }
    }
}

/// Ranges that begin and end anywhere, on leaves that follow each other.
pub(crate) fn every_leaf_that_a_range_touches_goes<F: Format>(format: F) {
    let table = table(format);
    for half in halves(&format) {
        let (start, room) = (half.start().get(), half.len_minus_one() / 4);
        let sizes = table.page_sizes().iter().map(PageSize::bytes);
        for size in sizes.filter(|&size| size <= PA && size <= room) {
            let only = PageSizes::NONE.with(PageSize::from_bytes(size).unwrap());
            for (from, len, gone) in [
                (0, 1, 0..1),
                (size - 1, 1, 0..1),
                (1, size - 2, 0..1),
                (1, size, 0..2),
                (size / 2, size, 0..2),
                (size - 1, size, 0..2),
                (size - 1, 2, 0..2),
                (size, size + 1, 1..3),
                (2 * size - 1, size + 1, 1..3),
                (size, 2 * size, 1..3),
                (0, 3 * size, 0..3),
            ] {
                let run = memory(PA, 3 * size);
                let mapped = table.map(Iova::new(start), run, Prot::RW, only).unwrap();
                if let Some(replaced) = mapped.replaced() {
                    free(&table, replaced);
                }
                let len_gone = (gone.end - gone.start) * size;
                assert_eq!(
                    unmap(&table, start + from, len),
                    (iova(start + gone.start * size, len_gone), len_gone)
                );
                let stay: Vec<_> = leaves(&table).iter().map(|leaf| leaf.iova.get()).collect();
                let expected = (0..3).filter(|place| !gone.contains(place));
                let expected: Vec<_> = expected.map(|place| start + place * size).collect();
                assert_eq!(stay, expected);
                // Where nothing is left, nothing is found.
                let (_, bytes) = unmap(&table, start + gone.start * size, size);
                assert_eq!(bytes, 0);
                unmap(&table, start, 3 * size);
            }
        }
    }
}

pub(crate) fn a_range_may_end_in_any_table<F: Format>(format: F) {
    let table = table(format);
    // From a page to the first byte of the one at the same place of a later table.
    let granule = F::GRANULE.bytes();
    for boundary in boundaries(&format) {
        for start in [granule, boundary] {
            map(&table, start, PA, granule);
            map(&table, start + boundary, PA, granule);
            assert_eq!(
                unmap(&table, start, boundary + 1),
                (iova(start, boundary + granule), 2 * granule)
            );
            assert_eq!(leaves(&table), []);
        }
    }
    // From the first byte that there is to that of the last entry of the root.
    let last = halves(&format)[0].last().get();
    let far = last & !F::item_size(*format.levels().end() - 1).mask();
    map(&table, 0, PA, granule);
    map(&table, far, PA, granule);
    assert_eq!(
        unmap(&table, 0, far + 1),
        (iova(0, far + granule), 2 * granule)
    );
    assert_eq!(leaves(&table), []);
}

pub(crate) fn whole_tables_are_taken_out_and_freed_by_hand<F: Format>(format: F) {
    let table = table(format);
    let granule = F::GRANULE.bytes();
    let span = F::item_size(1).bytes();
    let empty = table.memory().in_use();
    // Two and a half tables of pages.
    let (start, len) = (span, 2 * span + span / 2);
    map(&table, start, PA + granule, len);
    let full = table.memory().in_use();
    let detached = table.unmap(iova(start, len)).unwrap();
    assert_eq!(leaves(&table), []);
    assert_eq!(
        table.memory().in_use(),
        full,
        "a table went without being given back"
    );
    assert_eq!(detached.range(), iova(start, len));
    assert_eq!(detached.bytes(table.memory()), len);
    let tables = detached.flushed();
    assert!(!tables.is_empty());
    tables.free(table.memory());
    assert_eq!(
        table.memory().in_use(),
        full - 2 * table_size::<F>().bytes()
    );
    // The half-covered table stays, and is used again.
    let half = iova(start + 2 * span, span / 2);
    map(&table, half.start().get(), PA + granule, span / 2);
    assert_eq!(
        table.memory().in_use(),
        full - 2 * table_size::<F>().bytes()
    );
    // All tables of one level-2 entry hang under one of them. What is left are those on the way there.
    let (first, second) = (
        iova(0, F::item_size(2).bytes()),
        iova(F::item_size(2).bytes(), F::item_size(2).bytes()),
    );
    map(&table, second.start().get() + granule, PA, granule);
    let mut tables = table.unmap(first).unwrap().flushed();
    tables.append(table.unmap(second).unwrap().flushed());
    tables.free(table.memory());
    let on_the_way = u64::from(format.levels().start().saturating_sub(3));
    assert_eq!(
        table.memory().in_use(),
        empty + on_the_way * table_size::<F>().bytes()
    );
}

pub(crate) fn a_large_leaf_takes_the_place_of_an_empty_table<F: Format>(format: F) {
    let table = table(format);
    let granule = F::GRANULE.bytes();
    let span = F::item_size(1).bytes();
    map(&table, 0, PA + granule, 2 * span);
    let full = table.memory().in_use();
    // Two halves, so that no unmap covers a table.
    for half in 0..4 {
        unmap(&table, half * span / 2, span / 2);
    }
    assert_eq!((leaves(&table).len(), table.memory().in_use()), (0, full));
    // A page in the second table: it does not give way, and so neither does the first.
    map(&table, 2 * span - granule, PA, granule);
    for start in [0, span] {
        let run = memory(PA, 2 * span - start);
        let refused = table.map(Iova::new(start), run, Prot::RW, PageSizes::ALL);
        let iova = Iova::new(2 * span - granule);
        assert_eq!(refused.unwrap_err(), Error::AlreadyMapped { iova });
    }
    unmap(&table, 2 * span - granule, granule);
    assert_eq!((leaves(&table).len(), table.memory().in_use()), (0, full));
    let mapped = table
        .map(Iova::new(0), memory(PA, span), Prot::RW, PageSizes::ALL)
        .unwrap();
    assert_eq!(table.translate(Iova::new(0)).unwrap().size.bytes(), span);
    let replaced = mapped.replaced().expect("a table gave way");
    assert_eq!(replaced.range(), iova(0, span));
    assert_eq!(free(&table, replaced), (iova(0, span), 0));
    assert_eq!(table.memory().in_use(), full - table_size::<F>().bytes());
    assert_only(&table, 0, PA, span);
}

pub(crate) fn requests_out_of_range_are_refused<F: Format>(format: F) {
    let table = table(format);
    let granule = F::GRANULE.bytes();
    let request =
        |start, pa, len| table.map(Iova::new(start), memory(pa, len), Prot::RW, PageSizes::ALL);
    let out_of_range = |start, last| Error::OutOfRange {
        range: IovaRange::new(Iova::new(start), Iova::new(last)).unwrap(),
    };
    let ends: Vec<_> = halves(&format)
        .iter()
        .map(|half| half.last().get())
        .collect();
    for &end in ends.iter().filter(|&&end| end != u64::MAX) {
        let beyond = end + 1;
        assert_eq!(
            request(beyond, PA, granule).unwrap_err(),
            out_of_range(beyond, end + granule)
        );
        let crossing = (beyond - granule, end + granule);
        assert_eq!(
            request(crossing.0, PA, 2 * granule).unwrap_err(),
            out_of_range(crossing.0, crossing.1)
        );
        assert_eq!(
            table.translate(Iova::new(beyond)).unwrap_err(),
            out_of_range(beyond, beyond)
        );
        assert_eq!(
            table.set_dirty(Iova::new(beyond)).unwrap_err(),
            out_of_range(beyond, beyond)
        );
        let range = IovaRange::new(Iova::new(crossing.0), Iova::new(crossing.1)).unwrap();
        assert_eq!(table.unmap(range).unwrap_err(), Error::OutOfRange { range });
        assert_eq!(table.leaves(range).err(), Some(Error::OutOfRange { range }));
        let read = table.read_dirty(range, DirtyRead::Keep, |_| panic!("visited"));
        assert_eq!(read.unwrap_err(), Error::OutOfRange { range });
    }
    if format.upper_bits() == UpperBits::SignExtended {
        // Both ends are good, the hole between them is not.
        let all = IovaRange::full();
        assert_eq!(
            table.unmap(all).unwrap_err(),
            Error::OutOfRange { range: all }
        );
    }
    assert_eq!(
        request(u64::MAX - granule + 1, PA, 2 * granule).unwrap_err(),
        out_of_range(u64::MAX - granule + 1, u64::MAX)
    );
}

/// What was mapped before the IOVAs were restricted is out of reach afterwards, and stays.
pub(crate) fn an_aperture_is_the_end_of_everything<F: Format>(format: F) {
    let granule = F::GRANULE.bytes();
    let large = F::item_size(1).bytes();
    for (start, size) in [(0, granule), (2 * large, large)] {
        let wide = table(format);
        map(&wide, start, PA, 2 * size);
        let before = wide.dump().to_string();
        let narrow = wide.with_aperture(iova(start + size, 8 * size));
        for out in [
            iova(start, size),
            iova(start, 1),
            iova(start + size - 1, 2),
            iova(start + 8 * size, size + 1),
        ] {
            let out_of_range = Error::OutOfRange { range: out };
            assert_eq!(narrow.unmap(out).unwrap_err(), out_of_range);
            assert_eq!(narrow.protect(out, Prot::READ), Err(out_of_range));
            assert_eq!(narrow.leaves(out).err(), Some(out_of_range));
            let read = narrow.read_dirty(out, DirtyRead::Clear, |_| panic!("visited"));
            assert_eq!(read, Err(out_of_range));
        }
        // Nothing is there that would be in the way.
        for out in [
            iova(start + 9 * size, size),
            iova(start + 8 * size, 2 * size),
        ] {
            let run = memory(PA, out.len().unwrap());
            let refused = narrow.map(out.start(), run, Prot::RW, PageSizes::ALL);
            let out_of_range = Error::OutOfRange { range: out };
            assert_eq!(refused.unwrap_err(), out_of_range);
        }
        for out in [start, start + size - 1, start + 9 * size].map(Iova::new) {
            let range = IovaRange::new(out, out).unwrap();
            let out_of_range = Error::OutOfRange { range };
            assert_eq!(narrow.translate(out), Err(out_of_range));
            assert_eq!(narrow.set_dirty(out), Err(out_of_range));
            narrow.translate_all([out], |_, found| assert_eq!(found, Err(out_of_range)));
        }
        assert_eq!(narrow.dump().to_string(), before);
        assert!(narrow.translate(Iova::new(start + size)).is_ok());
    }
}

/// A root that can grow, and has not: nothing is mapped beyond it, and ranges may end there.
pub(crate) fn ranges_may_end_beyond_the_root<F: Format>(format: F) {
    if format.levels().count() == 1 {
        return;
    }
    let table = table(format);
    let granule = F::GRANULE.bytes();
    let reach = F::item_size(table.root().levels).bytes();
    map(&table, 0, PA, granule);
    map(&table, reach - granule, PA, granule);
    let beyond = iova(reach - granule, 3 * granule);
    let mapped: Vec<_> = table
        .leaves(beyond)
        .unwrap()
        .map(|leaf| leaf.iova)
        .collect();
    assert_eq!(mapped, [Iova::new(reach - granule)]);
    let hole = |error: Error, at| {
        let level = table.root().levels - 1;
        let iova = Iova::new(at);
        assert_eq!(error, Error::NotMapped { iova, level });
    };
    hole(table.protect(beyond, Prot::READ).unwrap_err(), reach);
    let far = iova(reach, granule);
    hole(table.protect(far, Prot::READ).unwrap_err(), reach);
    hole(table.translate(far.start()).unwrap_err(), reach);
    assert_eq!(unmap(&table, reach, granule), (far, 0));
    if tracks_dirty(&format) {
        table.set_dirty(beyond.start()).unwrap();
        let mut dirty = Vec::new();
        for range in [beyond, far] {
            let visit = |leaf| dirty.push(leaf);
            let _ = table.read_dirty(range, DirtyRead::Keep, visit).unwrap();
        }
        assert_eq!(dirty, [iova(reach - granule, granule)]);
    }
    assert_eq!(
        unmap(&table, reach - granule, 3 * granule),
        (beyond, granule)
    );
    assert_only(&table, 0, PA, granule);
    assert_eq!(F::item_size(table.root().levels).bytes(), reach);
}

pub(crate) fn requests_that_make_no_sense_are_refused<F: Format>(format: F) {
    let table = table(format);
    let granule = F::GRANULE.bytes();
    let request =
        |start, pa, len| table.map(Iova::new(start), memory(pa, len), Prot::RW, PageSizes::ALL);

    let bits = format.output_bits();
    let top = (1 << bits) - granule;
    assert_eq!(
        request(0, top, 2 * granule).unwrap_err(),
        Error::OutputOutOfRange {
            range: memory(top, 2 * granule),
            bits
        }
    );
    map(&table, 0, top, granule);
    assert_only(&table, 0, top, granule);
    unmap(&table, 0, granule);
    // Now all tables for it exist.
    let beyond = memory(1 << bits, granule);
    assert_eq!(
        request(0, 1 << bits, granule).unwrap_err(),
        Error::OutputOutOfRange {
            range: beyond,
            bits
        }
    );

    let nothing = table.map_runs(Iova::new(0), &[], Prot::RW, PageSizes::ALL);
    assert_eq!(nothing.unwrap_err(), Error::Empty { iova: Iova::new(0) });
    for prot in [Prot::empty(), Prot::CACHE | Prot::NOEXEC] {
        let refused = table.map(Iova::new(0), memory(PA, granule), prot, PageSizes::ALL);
        assert_eq!(refused.unwrap_err(), Error::Inexpressible { prot });
    }
    for odd in [1, granule / 2, granule - 1] {
        let misaligned = Error::MisalignedIova {
            range: iova(odd, granule),
            leaf: F::GRANULE,
        };
        assert_eq!(request(odd, PA, granule).unwrap_err(), misaligned);
        assert_eq!(request(odd, 0, granule).unwrap_err(), misaligned);
        let misaligned = Error::MisalignedPa {
            range: memory(PA + odd, granule),
            leaf: F::GRANULE,
        };
        assert_eq!(request(0, PA + odd, granule).unwrap_err(), misaligned);
        let misaligned = Error::MisalignedPa {
            range: memory(PA, granule + odd),
            leaf: F::GRANULE,
        };
        assert_eq!(request(0, PA, granule + odd).unwrap_err(), misaligned);
        let misaligned = Error::MisalignedPa {
            range: memory(PA + odd, granule),
            leaf: F::GRANULE,
        };
        assert_eq!(request(odd, PA + odd, granule).unwrap_err(), misaligned);
    }
    assert_eq!(leaves(&table), []);

    let small = self::table(format).with_aperture(iova(granule, granule));
    assert_eq!(small.aperture(), iova(granule, granule));
    for start in [0, 2 * granule] {
        assert_eq!(
            small
                .map(
                    Iova::new(start),
                    memory(PA, granule),
                    Prot::RW,
                    PageSizes::ALL
                )
                .unwrap_err(),
            Error::OutOfRange {
                range: iova(start, granule)
            }
        );
    }
    map(&small, granule, PA, granule);
}

pub(crate) fn dirty_is_per_leaf_and_cleared_on_request<F: Format>(format: F) {
    let table = table(format);
    if !tracks_dirty(&format) {
        return nothing_is_ever_dirty(&table);
    }
    let granule = F::GRANULE.bytes();
    let dirty = |range, mode| {
        let mut seen = Vec::new();
        let cleaned = table
            .read_dirty(range, mode, |leaf| seen.push(leaf))
            .unwrap();
        (seen, cleaned.range())
    };
    for size in table.page_sizes().iter().map(PageSize::bytes) {
        // Three leaves in a row, of which the middle one was written at its last byte.
        let base = halves(&format)[0].start().get();
        let sizes = PageSizes::NONE.with(PageSize::from_bytes(size).unwrap());
        let len = if size <= PA && size * 4 < halves(&format)[0].last().get() {
            3 * size
        } else {
            size
        };
        let _ = table
            .map(Iova::new(base), memory(pa_for(size), len), Prot::RW, sizes)
            .unwrap();
        let middle = iova(base + len / 3 / size * size, size);
        let all = halves(&format)[0];
        let fresh: Vec<_> = (0..len / size)
            .map(|n| iova(base + n * size, size))
            .filter(|_| born_dirty(&format, Prot::RW))
            .collect();
        let cleaned = (!fresh.is_empty()).then(|| iova(base, len));
        assert_eq!(dirty(all, DirtyRead::Clear), (fresh, cleaned));
        table.set_dirty(middle.last()).unwrap();
        assert!(table.translate(middle.last()).unwrap().dirty);
        assert_eq!(table.translate(middle.start()).unwrap().size.bytes(), size);
        assert_eq!(dirty(all, DirtyRead::Keep), (vec![middle], None));
        // Any part of the leaf stands for all of it.
        for part in [
            iova(middle.start().get(), 1),
            iova(middle.last().get() - granule + 1, granule),
        ] {
            assert_eq!(dirty(part, DirtyRead::Keep), (vec![middle], None));
        }
        let first = iova(middle.start().get(), granule);
        assert_eq!(dirty(first, DirtyRead::Clear), (vec![middle], Some(middle)));
        assert_eq!(dirty(all, DirtyRead::Keep), (vec![], None));
        assert!(!table.translate(middle.last()).unwrap().dirty);
        // All of them, in order.
        let mut written = Vec::new();
        for n in 0..len / size {
            table.set_dirty(Iova::new(base + n * size)).unwrap();
            table
                .set_dirty(Iova::new(base + n * size + size - 1))
                .unwrap();
            written.push(iova(base + n * size, size));
        }
        assert_eq!(dirty(all, DirtyRead::Keep), (written.clone(), None));
        assert_eq!(
            dirty(all, DirtyRead::Clear),
            (written, Some(iova(base, len)))
        );
        unmap(&table, base, len);
    }
    assert!(matches!(
        table.set_dirty(Iova::new(0)),
        Err(Error::NotMapped { .. })
    ));
}

/// The format has no mark for what was written.
fn nothing_is_ever_dirty<F: Format>(table: &Table<F>) {
    map(table, 0, PA, F::GRANULE.bytes());
    table.set_dirty(Iova::new(0)).unwrap();
    let all = halves(&table.format())[0];
    let read = table.read_dirty(all, DirtyRead::Clear, |leaf| panic!("{leaf} is dirty"));
    assert_eq!(read.unwrap().range(), None);
    assert!(!table.translate(Iova::new(0)).unwrap().dirty);
}

pub(crate) fn dropping_a_table_returns_all_memory<F: Format>(format: F) {
    let table = table(format);
    let tables = table.memory().clone();
    for landmark in landmarks(&format) {
        map(&table, landmark, PA, F::GRANULE.bytes());
    }
    assert_eq!(leaves(&table).len(), landmarks(&format).len());
    let detached = table.unmap(halves(&format)[0]).unwrap().flushed();
    drop(table);
    detached.free(&*tables);
    assert_eq!(tables.in_use(), 0);
}

/// The upper bits of a wide address have another place in the entry: the boundary is in the middle of a run, and at its ends.
#[test]
fn a_run_crosses_where_addresses_are_cut() {
    fn cross<F: Format>(format: F, cut: u64) {
        let granule = F::GRANULE.bytes();
        let small = PageSizes::NONE.with(F::GRANULE);
        for before in [1, 2, 3, 29] {
            let table = table(format);
            let pa = cut - before * granule;
            let run = memory(pa, 30 * granule);
            let mapped = table.map(Iova::new(0), run, Prot::RW, small).unwrap();
            assert!(mapped.replaced().is_none());
            for page in 0..30 {
                let found = table.translate(Iova::new(page * granule)).unwrap();
                assert_eq!(found.pa, Pa::new(pa + page * granule));
            }
        }
    }
    let bits = AddressForm::Bits52;
    cross(ArmS1::<12>::new(bits, 48, 52).unwrap(), 1 << 50);
    cross(ArmS1::<12>::new(bits, 48, 52).unwrap(), 1 << 48);
    cross(ArmS1::<16>::new(bits, 48, 52).unwrap(), 1 << 48);
    cross(ArmS2::<14>::new(bits, 48, 52).unwrap(), 3 << 50);
}

//! Other permissions for leaves that are mapped.

use swiommu_addr::{Address, Iova, IovaRange, Pa, PageSize, PageSizes};
use swiommu_pgtable::{DirtyRead, Error, Format, Prot};

use crate::support::*;

/// Every combination of permissions that there is.
fn all_permissions() -> impl Iterator<Item = Prot> {
    (0..=Prot::all().bits()).map(Prot::from_bits_retain)
}

/// A leaf of each size, one after the other, from the least address that all are aligned to.
fn sizes_in_a_row<F: Format>(table: &Table<F>, prot: Prot) -> Vec<(PageSize, IovaRange)> {
    let mut leaves = Vec::new();
    let mut at = Iova::new(0);
    for size in table.page_sizes().iter().filter(|size| size.log2() < 40) {
        at = at.wrapping_add(size.mask()).align_down(size);
        let leaf = iova(at.get(), size.bytes());
        let mapped = table
            .map(at, memory(at.get(), size.bytes()), prot, PageSizes::ALL)
            .unwrap();
        assert!(mapped.replaced().is_none());
        leaves.push((size, leaf));
        at = at.wrapping_add(size.bytes());
    }
    leaves
}

pub(crate) fn a_changed_leaf_is_as_a_new_one<F: Format>(format: F) {
    for prot in all_permissions() {
        let changed = table(format);
        let before = changed.dump().to_string();
        for (_, leaf) in sizes_in_a_row(&changed, Prot::READ | Prot::WRITE) {
            // Clean, so that nothing is kept of it.
            let _ = changed.read_dirty(leaf, DirtyRead::Clear, |_| ()).unwrap();
            let read_only = changed.protect(leaf, Prot::READ).unwrap();
            assert_eq!(read_only.range(), Some(leaf));
            let again = changed.protect(leaf, Prot::READ).unwrap();
            assert_eq!(again.range(), None);
            match changed.protect(leaf, prot) {
                Ok(protected) => assert!(protected.range().is_none_or(|range| range == leaf)),
                Err(error) => {
                    assert_eq!(error, Error::Inexpressible { prot });
                    assert_eq!(format.attributes(prot), None);
                }
            }
        }
        if format.attributes(prot).is_some() {
            let new = table(format);
            sizes_in_a_row(&new, prot);
            assert_eq!(changed.dump().to_string(), new.dump().to_string(), "{prot}");
        } else {
            let _ = changed.unmap(halves(&format)[0]).unwrap().flushed();
            assert_eq!(changed.dump().to_string(), before);
        }
    }
}

pub(crate) fn what_is_dirty_stays_dirty<F: Format>(format: F) {
    let table = table(format);
    let tracked = tracks_dirty(&format);
    for (size, leaf) in sizes_in_a_row(&table, Prot::RW) {
        let dirty = |mode| {
            let mut seen = Vec::new();
            let _ = table
                .read_dirty(leaf, mode, |leaf| seen.push(leaf))
                .unwrap();
            seen
        };
        let protect = |prot| {
            let _ = table.protect(leaf, prot).unwrap();
        };
        let expected = if tracked { vec![leaf] } else { vec![] };
        dirty(DirtyRead::Clear);
        assert_eq!(dirty(DirtyRead::Keep), [], "{size}");
        // One slot is marked, the last.
        table.set_dirty(leaf.last()).unwrap();
        for prot in [Prot::READ, Prot::READ | Prot::CACHE, Prot::RW, Prot::READ] {
            protect(prot);
            assert_eq!(dirty(DirtyRead::Keep), expected, "{size} {prot}");
        }
        assert_eq!(table.translate(leaf.last()).unwrap().dirty, tracked);
        assert_eq!(dirty(DirtyRead::Clear), expected);
        // What is clean stays so, until it becomes writable in a format that makes such leaves dirty.
        protect(Prot::READ | Prot::CACHE);
        assert_eq!(dirty(DirtyRead::Keep), []);
        protect(Prot::RW);
        let born = dirty(DirtyRead::Clear);
        assert_eq!(!born.is_empty(), born_dirty(&format, Prot::RW), "{size}");
        protect(Prot::RW | Prot::CACHE);
        assert_eq!(dirty(DirtyRead::Keep), [], "{size}");
        assert!(
            table
                .translate(leaf.start())
                .unwrap()
                .prot
                .contains(Prot::RW)
        );
        table.set_dirty(leaf.start()).unwrap();
        assert_eq!(dirty(DirtyRead::Keep), expected);
    }
}

pub(crate) fn a_range_changes_whole_or_not_at_all<F: Format>(format: F) {
    let table = table(format);
    let granule = F::GRANULE.bytes();
    let span = F::item_size(1).bytes();
    // Pages in two tables, with a hole after them; further up, a leaf of several pages.
    let pages = (span - 4 * granule, 8 * granule);
    let small = PageSizes::NONE.with(F::GRANULE);
    let run = memory(0x100 * granule, pages.1);
    let mapped = table.map(Iova::new(pages.0), run, Prot::RW, small).unwrap();
    assert!(mapped.replaced().is_none());
    let sizes = table.page_sizes();
    let large = sizes.iter().nth(1).unwrap_or(F::GRANULE);
    let leaf = iova(4 * large.bytes().max(span), large.bytes());
    map(&table, leaf.start().get(), 0, large.bytes());
    let before = table.dump().to_string();
    let refused = |start: u64, len: u64, prot| {
        let error = table.protect(iova(start, len), prot).unwrap_err();
        assert_eq!(table.dump().to_string(), before, "{error}");
        error
    };

    let hole =
        |at| move |error| matches!(error, Error::NotMapped { iova, .. } if iova == Iova::new(at));
    let end = pages.0 + pages.1;
    assert!(hole(end)(refused(pages.0, pages.1 + granule, Prot::READ)));
    assert!(hole(pages.0 - granule)(refused(
        pages.0 - granule,
        pages.1,
        Prot::READ
    )));
    assert!(hole(end)(refused(end, granule, Prot::READ)));
    let top = halves(&format)[0].last().get() - granule + 1;
    assert!(hole(top)(refused(top, granule, Prot::READ)));
    let all = halves(&format)[0];
    assert!(hole(0)(refused(0, all.len_minus_one(), Prot::READ)));

    let cut = Error::LeafCut { leaf };
    let (start, len) = (leaf.start().get(), large.bytes());
    for (start, len) in [(start, len - 1), (start + 1, len - 1), (start + len / 2, 1)] {
        assert_eq!(refused(start, len, Prot::READ), cut);
    }
    let prot = Prot::NOEXEC;
    assert_eq!(refused(start, len, prot), Error::Inexpressible { prot });
    if let Some(beyond) = all.end() {
        let range = IovaRange::new(all.last(), beyond).unwrap();
        let error = refused(all.last().get(), 2, Prot::READ);
        assert_eq!(error, Error::OutOfRange { range });
    }

    // A part of the pages, across the boundary of the tables.
    let part = iova(pages.0 + granule, 6 * granule);
    let protected = table.protect(part, Prot::READ).unwrap();
    assert_eq!(protected.range(), Some(part));
    for page in 0..8 {
        let at = Iova::new(pages.0 + page * granule);
        let found = table.translate(at).unwrap();
        assert_eq!(found.prot.contains(Prot::WRITE), !part.contains(at));
        assert_eq!(found.resolve(at), Pa::new((0x100 + page) * granule));
    }
    // What is so already is not to be invalidated.
    let whole = table.protect(iova(pages.0, pages.1), Prot::READ).unwrap();
    assert_eq!(whole.range(), Some(iova(pages.0, pages.1)));
    let again = table.protect(iova(pages.0, pages.1), Prot::READ).unwrap();
    assert_eq!(again.range(), None);
    let first = table.protect(iova(pages.0, granule), Prot::RW).unwrap();
    assert_eq!(first.range(), Some(iova(pages.0, granule)));
    let rest = table.protect(iova(pages.0, pages.1), Prot::RW).unwrap();
    assert_eq!(
        rest.range(),
        Some(iova(pages.0 + granule, pages.1 - granule))
    );
}

//! Where automatic placement puts a mapping.

use swiommu_abi::Errno;
use swiommu_addr::{Hva, Iova};
use swiommu_iommufd::ObjectId;

use crate::fixture::{APERTURE, Fixture, PAGE, World, add, errno};

const V: u64 = 0x7f00_0000_0000;

/// Maps memory that need not be there, and tells where.
fn place(w: &World, ioas: ObjectId, from: u64, len: u64) -> u64 {
    w.iommu.map(ioas, Hva::new(from), len).unwrap().get()
}

#[test]
fn the_first_aligned_gap_is_taken() {
    let empty = |from, len| {
        let w = World::new();
        let ioas = w.iommu.ioas_alloc().unwrap();
        let placed = place(&w, ioas, from, len);
        w.close();
        placed
    };
    assert_eq!(empty(V, 0x1000), 0x1000);
    assert_eq!(empty(V, 0x3000), 0x4000);
    assert_eq!(empty(V, 0x40_0000), 0x20_0000, "capped at a huge page");
    assert_eq!(empty(V + 1, 3), 0x1001);
}

#[test]
fn areas_and_reserved_ranges_are_avoided() {
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    assert_eq!(place(&w, ioas, V, 0x1000), 0x1000);
    assert_eq!(place(&w, ioas, V, 0x1000), 0x2000);
    w.iommu
        .add_reserved(ioas, Iova::new(0x4000), 0x6_4000)
        .unwrap();
    assert_eq!(place(&w, ioas, V, 0x2000), 0x6_8000);
    w.close();
}

#[test]
fn rounding_does_not_pass_the_end() {
    Fixture::each(|f| {
        f.iommu()
            .add_reserved(f.ioas, Iova::new(6), 0xffff_ffff_ffff_8001)
            .unwrap();
        let mapped = f.iommu().map(f.ioas, f.at(0), 0x5000);
        assert_eq!(errno(mapped), Errno::ENOSPC);
    });
}

#[test]
fn only_allowed_ranges_are_used() {
    for (allowed, placed) in [
        (vec![(0xc8000, 0x25_7fff)], 0xc8000),
        (vec![(0x1000, 0x3fff), (0x1_0000, 0x1_ffff)], 0x1_0000),
    ] {
        let w = World::new();
        let ioas = w.iommu.ioas_alloc().unwrap();
        let range = |(start, last)| (Iova::new(start), Iova::new(last));
        let allowed: Vec<_> = allowed.into_iter().map(range).collect();
        w.iommu.allow_iovas(ioas, &allowed).unwrap();
        assert_eq!(place(&w, ioas, V, 0x3000), placed);
        w.close();
    }
}

#[test]
fn allow_lists_are_checked_whole() {
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    let allow = |ranges: &[(u64, u64)]| {
        let ranges: Vec<_> = ranges
            .iter()
            .map(|&(start, last)| (Iova::new(start), Iova::new(last)))
            .collect();
        w.iommu.allow_iovas(ioas, &ranges)
    };
    allow(&[(0x10_0000, 0x1f_ffff)]).unwrap();
    assert_eq!(errno(allow(&[(5, 5)])), Errno::EINVAL);
    assert_eq!(errno(allow(&[(5, 4)])), Errno::EINVAL);
    assert_eq!(
        errno(allow(&[(0x1000, 0x1fff), (0x1fff, 0x2fff)])),
        Errno::EINVAL
    );
    assert_eq!(
        place(&w, ioas, V, 0x1000),
        0x10_0000,
        "the old list is still there"
    );
    w.close();
}

#[test]
fn a_page_table_demands_its_granule() {
    let (f, _) = Fixture::one();
    assert_eq!(f.map(0, 0x1000).get(), 0x100_0000);
    f.unmap(APERTURE, 0x1000);
    assert_eq!(f.map(0x800, 0x800).get(), 0x100_0800);
    assert_eq!(f.map(0x800, 0x800).get(), 0x100_1800);
    let odd = f.iommu().map(f.ioas, f.at(0x400), 0x800);
    assert_eq!(errno(odd), Errno::EINVAL);
    f.world.close();
}

#[test]
fn iovas_are_aligned_as_their_length_is() {
    Fixture::each(|f| {
        let iommu = f.iommu();
        let map_all = |check: &dyn Fn(u64, u64)| {
            let mut mapped = Vec::new();
            for pages in 1..=10_u64 {
                let len = pages * PAGE;
                let iova = f.map(0, len);
                assert_eq!(
                    iova.get() % (1 << len.trailing_zeros()),
                    0,
                    "{len:#x} bytes"
                );
                check(iova.get(), len);
                mapped.push((iova, len));
            }
            for (iova, len) in mapped {
                f.unmap(iova, len);
            }
        };
        map_all(&|_, _| {});

        let (reserved, reserved_len) = (4 * PAGE, 100 * PAGE);
        iommu
            .add_reserved(f.ioas, Iova::new(reserved), reserved_len)
            .unwrap();
        map_all(&|iova, len| {
            assert!(iova + len <= reserved || iova >= reserved + reserved_len);
        });

        let meets_reserved = [(Iova::new(PAGE), Iova::new(600 * PAGE))];
        assert_eq!(
            errno(iommu.allow_iovas(f.ioas, &meets_reserved)),
            Errno::EADDRINUSE
        );
        let first = if f.devices.is_empty() {
            Iova::new(200 * PAGE)
        } else {
            add(f.base, PAGE)
        };
        let last = add(first, 400 * PAGE - 1);
        iommu.allow_iovas(f.ioas, &[(first, last)]).unwrap();
        map_all(&|iova, len| {
            assert!(iova >= first.get() && iova + len - 1 <= last.get());
        });
    });
}

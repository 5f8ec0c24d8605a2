//! Automatic placement by example: what Linux 7.3 does with these spaces.

use std::vec;

use swiommu_addr::PageSize;

use super::model::PlaceErrno::{self, Einval, Enospc, Eoverflow};
use super::{Numbered, range, request};
use crate::{AllowList, PlaceError, Request};

const V: u64 = 0x7f00_0000_0000;
const TOP: u64 = u64::MAX;

/// A space with these areas, reserved intervals and allowed ranges.
fn space(areas: &[(u64, u64)], reserved: &[(u64, u64)], allowed: &[(u64, u64)]) -> Numbered {
    let mut space = Numbered::new();
    for &(start, last) in areas {
        space.insert(range(start, last), 0).unwrap();
    }
    for &(start, last) in reserved {
        space.reserve(range(start, last), 0).unwrap();
    }
    let mut list = AllowList::default();
    for &(start, last) in allowed {
        list.push(range(start, last).start(), range(start, last).last())
            .unwrap();
    }
    space.set_allowed(list).unwrap();
    space
}

fn place(space: &mut Numbered, request: &Request) -> Result<u64, PlaceErrno> {
    let range = space.place(request)?;
    assert_eq!(range.len(), Some(request.length));
    Ok(range.start().get())
}

#[test]
fn worked_examples() {
    let mock: &[(u64, u64)] = &[(0, 0xff_ffff), (1 << 40, TOP)];
    let examples = [
        (space(&[], &[], &[]), V, 0x1000, 1, Ok(0x1000)),
        (
            space(&[(0x1000, 0x1fff)], &[], &[]),
            V,
            0x1000,
            1,
            Ok(0x2000),
        ),
        (space(&[], &[], &[]), V, 0x3000, 1, Ok(0x4000)),
        (space(&[], &[], &[]), V, 0x40_0000, 1, Ok(0x20_0000)),
        (space(&[], &[], &[]), 0, 0x30_0000, 1, Ok(0x20_0000)),
        (space(&[], &[], &[]), V + 1, 3, 1, Ok(0x1001)),
        (
            space(&[(0x1000, 0x2fff)], &[(0x4000, 0x6_7fff)], &[]),
            V,
            0x2000,
            1,
            Ok(0x6_8000),
        ),
        (
            space(&[], &[(6, 0xffff_ffff_ffff_8006)], &[]),
            V,
            0x5000,
            1,
            Err(Enospc),
        ),
        (
            space(&[], &[], &[(0xc_8000, 0x25_7fff)]),
            V,
            0x3000,
            1,
            Ok(0xc_8000),
        ),
        (
            space(&[], &[], &[(0x1000, 0x3fff), (0x1_0000, 0x1_ffff)]),
            V,
            0x3000,
            1,
            Ok(0x1_0000),
        ),
        (space(&[], mock, &[]), V, 0x1000, 2048, Ok(0x100_0000)),
        (
            space(&[], mock, &[]),
            V + 0x800,
            0x800,
            2048,
            Ok(0x100_0800),
        ),
        (
            space(&[(0x100_0800, 0x100_0fff)], mock, &[]),
            V + 0x800,
            0x800,
            2048,
            Ok(0x100_1800),
        ),
        (space(&[], mock, &[]), V + 0x400, 0x800, 2048, Err(Einval)),
    ];
    for (index, (mut space, origin, length, alignment, expected)) in
        examples.into_iter().enumerate()
    {
        let found = place(&mut space, &request(origin, length, alignment));
        assert_eq!(
            found, expected,
            "example {index}: {length:#x} bytes from {origin:#x}"
        );
    }
}

#[test]
fn length_is_checked_before_alignment() {
    let mut empty = space(&[], &[], &[]);
    for length in [0, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX] {
        assert_eq!(place(&mut empty, &request(1, length, 4096)), Err(Eoverflow));
    }
    assert_eq!(
        place(&mut empty, &request(1, u64::MAX / 2 - 1, 4096)),
        Err(Einval)
    );
    assert_eq!(
        place(&mut empty, &request(V, u64::MAX / 2 - 1, 4096)),
        Ok(0x20_0000)
    );
}

#[test]
fn misalignment_is_told() {
    let refused = space(&[], &[], &[]).place(&request(V + 0x400, 0x800, 2048));
    let (aligned, alignment) = (PageSize::from_log2(10), PageSize::SIZE_2K);
    assert_eq!(refused, Err(PlaceError::Misaligned { aligned, alignment }));
}

#[test]
fn the_huge_page_caps_the_alignment() {
    let mut empty = space(&[], &[], &[]);
    let large = |huge_page| Request {
        huge_page,
        ..request(0, 0x4000_0000, 1)
    };
    assert_eq!(place(&mut empty, &large(PageSize::SIZE_4K)), Ok(0x1000));
    assert_eq!(place(&mut empty, &large(PageSize::SIZE_2M)), Ok(0x20_0000));
    assert_eq!(
        place(&mut empty, &large(PageSize::SIZE_1G)),
        Ok(0x4000_0000)
    );
}

#[test]
fn neither_the_first_nor_the_last_page_is_used() {
    let mut narrow = space(&[], &[(0x2000, TOP)], &[]);
    assert_eq!(place(&mut narrow, &request(V, 0x1000, 1)), Ok(0x1000));
    let mut high = space(&[], &[(0, TOP - 0x2000)], &[]);
    assert_eq!(place(&mut high, &request(V, 0x1000, 1)), Ok(TOP - 0x1fff));
    assert_eq!(place(&mut high, &request(V, 0x1001, 1)), Err(Enospc));
    let mut allowed = space(&[], &[], &[(0, 0xfff), (TOP - 0xfff, TOP)]);
    assert_eq!(place(&mut allowed, &request(V, 0x800, 1)), Err(Enospc));
}

#[test]
fn a_gap_of_one_byte_does_not_fit_one_byte() {
    let mut one = space(&[(0x1000, 0x1fff), (0x2001, 0x2fff)], &[], &[]);
    assert_eq!(place(&mut one, &request(V, 1, 1)), Ok(0x3000));
    let mut two = space(&[(0x1000, 0x1fff), (0x2002, 0x2fff)], &[], &[]);
    assert_eq!(place(&mut two, &request(V, 1, 1)), Ok(0x2000));
}

#[test]
fn the_page_offset_is_ored_in() {
    // The gap starts at 0x1400, and 0x1400 | 0xa00 has another page offset than the memory.
    let mut odd = space(&[(0x2000, 0x23ff)], &[(0, 0x1fff)], &[]);
    assert_eq!(place(&mut odd, &request(V + 0xa00, 0x200, 1)), Ok(0x2e00));
    // As the start of an allowed range: the start is rounded first, and what is below counts no more.
    let mut allowed = space(&[(0x1_0000, 0x1_03ff)], &[], &[(0x1_0000, 0x1_ffff)]);
    assert_eq!(
        place(&mut allowed, &request(V + 0xa00, 0x200, 1)),
        Ok(0x1_0a00)
    );
}

#[test]
fn the_page_offset_may_pass_over_a_gap_that_is_clipped_elsewhere() {
    // From 0x2_0400 to 0x2_0bff nothing fits, but the allowed range clips that gap to start at 0x2_0a00.
    let mut areas = vec![(0x1_0000, 0x2_03ff), (0x2_0c00, 0x2_ffff)];
    let allowed = [
        (0x1_0000, 0x1_efff),
        (0x2_0000, 0x2_1fff),
        (0x1000_0000, 0x1000_ffff),
    ];
    let wanted = request(V + 0xa00, 0x200, 1);
    let mut few = space(&areas, &[], &allowed);
    assert_eq!(place(&mut few, &wanted), Ok(0x2_0a00));
    areas.extend((0x30..1000).map(|page| (page << 12, (page << 12) + 0xfff)));
    let mut many = space(&areas, &[], &allowed);
    assert_eq!(place(&mut many, &wanted), Ok(0x2_0a00));
}

#[test]
fn touching_allowed_ranges_are_one() {
    let mut touching = space(&[], &[], &[(0x1_0000, 0x1_0fff), (0x1_1000, 0x1_1fff)]);
    assert_eq!(place(&mut touching, &request(V, 0x2000, 1)), Ok(0x1_0000));
    let mut apart = space(&[], &[], &[(0x1_0000, 0x1_0fff), (0x1_1001, 0x1_2000)]);
    assert_eq!(place(&mut apart, &request(V, 0x2000, 1)), Err(Enospc));
}

#[test]
fn fixed_areas_may_lie_outside_the_allowed_ranges() {
    let mut space = space(&[], &[], &[(0x10_0000, 0x10_1fff)]);
    space.insert(range(0x5000, 0x5fff), 1).unwrap();
    space.insert(range(0x10_0000, 0x10_0fff), 2).unwrap();
    assert_eq!(place(&mut space, &request(V, 0x1000, 1)), Ok(0x10_1000));
}

//! No call looks at more than a few nodes a level, whatever the space looks like. Steps are counted, not timed.

use std::vec::Vec;

use swiommu_addr::Iova;

use super::{Numbered, Random, range, request};
use crate::{AllowList, PlaceError, steps};

const HUGE: u64 = 2 << 20;
const AREAS: u64 = 12_000;

/// Gaps of 2 MiB of which none holds 2 MiB aligned, between areas or, every second time, reserved intervals.
fn misaligned(reserve: bool) -> Numbered {
    let mut space = Numbered::new();
    for index in 0..AREAS {
        let start = 0x1000 + index * 2 * HUGE + HUGE;
        let taken = range(start, start + HUGE - 1);
        if reserve && index % 2 == 0 {
            space
                .reserve(taken, u8::try_from(index % 100).unwrap())
                .unwrap();
        } else {
            space.insert(taken, 0).unwrap();
        }
    }
    space
}

/// Asserts that `work` takes at most `factor` times the bound of the space, and that this is much less than a scan.
fn bounded<T>(space: &mut Numbered, factor: usize, work: impl FnOnce(&mut Numbered) -> T) -> T {
    let bound = space.bound() * factor;
    assert!(bound < 2000, "{bound} steps are a scan");
    let (steps, result) = steps::of(|| work(space));
    assert!(steps <= bound, "{steps} steps, expected at most {bound}");
    result
}

#[test]
fn gaps_of_the_right_size_but_misaligned_are_not_tried() {
    for reserve in [false, true] {
        let mut space = misaligned(reserve);
        let end = (AREAS * 2 + 1) * HUGE;
        let wanted = request(0, HUGE, 4096);
        space.place(&wanted).unwrap();
        let found = bounded(&mut space, 4, |space| space.place(&wanted)).unwrap();
        assert_eq!(found.start().get(), end);
        // A gap in the middle, then gone again: the search catches up with one path.
        let middle = Iova::new(0x1000 + (AREAS / 2 + 1) * 2 * HUGE + HUGE);
        for _ in 0..50 {
            let (area, value) = bounded(&mut space, 2, |space| space.remove(middle)).unwrap();
            let found = bounded(&mut space, 8, |space| space.place(&wanted)).unwrap();
            assert_eq!(found.start().get(), middle.get() - 0x1000);
            bounded(&mut space, 2, |space| space.insert(area, value)).unwrap();
            let found = bounded(&mut space, 8, |space| space.place(&wanted)).unwrap();
            assert_eq!(found.start().get(), end);
        }
    }
}

#[test]
fn gaps_that_fit_but_for_the_page_offset_are_not_tried() {
    // Each gap from 0x1400 to 0x1aff has room for 0x300 bytes, even at a page offset of 0x800. But 0x1400 | 0x800 is too high.
    let mut space = Numbered::new();
    space.insert(range(0x1000, 0x1aff), 0).unwrap();
    for index in 1..AREAS {
        let page = index * 0x1000;
        space.insert(range(page + 0xb00, page + 0x13ff), 0).unwrap();
    }
    // The length aligns to 0x400, so there are 4 kinds of gap.
    let wanted = request(0x800, 0x300, 1);
    let end = AREAS * 0x1000 + 0xc00;
    space.place(&wanted).unwrap();
    let middle = Iova::new(AREAS / 2 * 0x1000 + 0xb00);
    for _ in 0..50 {
        let (area, value) = bounded(&mut space, 2, |space| space.remove(middle)).unwrap();
        let found = bounded(&mut space, 8, |space| space.place(&wanted)).unwrap();
        assert_eq!(found.start().get(), middle.get() + 0x100);
        bounded(&mut space, 2, |space| space.insert(area, value)).unwrap();
        let found = bounded(&mut space, 8, |space| space.place(&wanted)).unwrap();
        assert_eq!(found.start().get(), end);
    }
}

#[test]
fn a_mix_of_changes_and_searches_is_cheap_on_average() {
    let mut random = Random(7);
    let mut space = misaligned(true);
    let requests: Vec<_> = (12..=21)
        .map(|log2| request(0, (1 << log2) + 1, 4096))
        .collect();
    for request in &requests {
        space.place(request).unwrap();
    }
    let calls = 2000;
    let bound = space.bound() * 16 * calls;
    let (steps, ()) = steps::of(|| {
        for _ in 0..calls {
            let index = random.below(AREAS / 2) * 2 + 1;
            let start = Iova::new(0x1000 + index * 2 * HUGE + HUGE);
            space.remove(start);
            let request = &requests[usize::try_from(random.below(10)).unwrap()];
            let found = space.place(request).unwrap();
            space.insert(found, 0).unwrap();
        }
    });
    assert!(steps <= bound, "{steps} steps, expected at most {bound}");
    space.verify();
}

#[test]
fn a_reserved_interval_over_many_others_costs_no_more_than_one() {
    let mut space = Numbered::new();
    for index in 0..AREAS {
        space
            .reserve(range(index * 0x4000 + 0x1000, index * 0x4000 + 0x1fff), 1)
            .unwrap();
    }
    space.insert(range(1 << 40, (1 << 40) + 1), 0).unwrap();
    let most = range(0x1800, (1 << 40) - 1);
    for _ in 0..20 {
        bounded(&mut space, 8, |space| space.reserve(most, 2)).unwrap();
        assert_eq!(space.unreserved().count(), 2);
        let removed = bounded(&mut space, 8, |space| space.unreserve(&2));
        assert_eq!(removed, [most]);
    }
    // Finding the one area behind them all, or that there is none.
    let everything = range(0, u64::MAX);
    let found = bounded(&mut space, 4, |space| space.overlapping(everything).count());
    assert_eq!(found, 1);
    let below = range(0, (1 << 40) - 1);
    assert_eq!(
        bounded(&mut space, 4, |space| space.overlapping(below).count()),
        0
    );
    assert!(bounded(&mut space, 4, |space| space.nth(0).is_some()));
}

#[test]
fn full_allowed_ranges_are_passed_by() {
    // All allowed ranges are full, and the gaps between them too small.
    let mut space = Numbered::new();
    let mut allowed = AllowList::default();
    for index in 1..AREAS {
        let start = index * 0x4000;
        allowed
            .push(Iova::new(start), Iova::new(start + 0x1fff))
            .unwrap();
        space.insert(range(start, start + 0x2fff), 0).unwrap();
    }
    space.set_allowed(allowed).unwrap();
    let wanted = request(0, 0x2000, 1);
    assert_eq!(space.place(&wanted), Err(PlaceError::NoSpace));
    assert_eq!(
        bounded(&mut space, 4, |space| space.place(&wanted)),
        Err(PlaceError::NoSpace)
    );
    let last = Iova::new((AREAS - 1) * 0x4000);
    space.remove(last).unwrap();
    let found = bounded(&mut space, 8, |space| space.place(&wanted)).unwrap();
    assert_eq!(found.start(), last);
}

#[test]
fn areas_are_found_by_address_and_by_number() {
    let mut space = misaligned(true);
    let start = |n: u64| 0x1000 + (2 * n + 1) * 2 * HUGE + HUGE;
    for n in [0, 1, AREAS / 4, AREAS / 2 - 1] {
        let number = usize::try_from(n).unwrap();
        let found = bounded(&mut space, 2, |space| {
            space.nth(number).map(|(range, _)| range)
        })
        .unwrap();
        assert_eq!(found.start().get(), start(n));
        let inside = Iova::new(start(n) + HUGE / 2);
        assert!(bounded(&mut space, 2, |space| space.get(inside).is_some()));
    }
    assert!(space.nth(usize::try_from(AREAS / 2).unwrap()).is_none());
}

//! What is refused, what the refusal tells, and that nothing changed.

use std::vec::Vec;

use swiommu_addr::Iova;

use super::{Numbered, range, request};
use crate::{AllowError, AllowList, InsertError, NotAllowed, ReserveError};

fn allow(start: u64, last: u64) -> AllowList {
    let mut allowed = AllowList::default();
    allowed.push(Iova::new(start), Iova::new(last)).unwrap();
    allowed
}

#[test]
fn reserved_is_told_before_an_area() {
    let mut space = Numbered::new();
    let area = range(0x1000, 0x1fff);
    space.insert(area, 1).unwrap();
    space.reserve(range(0x3000, 0x3fff), 0).unwrap();
    assert_eq!(
        space.insert(range(0, 0x2fff), 2),
        Err(InsertError::Area(area))
    );
    let first = InsertError::Reserved(Iova::new(0x3000));
    assert_eq!(space.insert(range(0, 0x3000), 2), Err(first));
    let inside = InsertError::Reserved(Iova::new(0x3800));
    assert_eq!(space.insert(range(0x3800, u64::MAX), 2), Err(inside));
    assert_eq!(space.len(), 1);
}

#[test]
fn areas_that_reach_into_the_next_are_refused() {
    let area = |index: u64| range(index * 0x100, index * 0x100 + 0x7f);
    let mut space = Numbered::new();
    for index in 0..1000 {
        space.insert(area(index), 0).unwrap();
    }
    for index in 1..1000 {
        let start = area(index).start().get();
        let next = Err(InsertError::Area(area(index)));
        assert_eq!(space.insert(range(start - 0x80, start), 1), next);
        let before = Err(InsertError::Area(area(index - 1)));
        assert_eq!(space.insert(range(start - 0x81, start - 0x80), 1), before);
        assert_eq!(space.insert(range(start - 0x80, start - 1), 1), Ok(()));
    }
    space.verify();
}

#[test]
fn reserving_stays_clear_of_areas_and_allowed_ranges() {
    let mut space = Numbered::new();
    let (area, allowed) = (range(0x1000, 0x1fff), range(0x8000, 0x8fff));
    space.insert(area, 1).unwrap();
    space.set_allowed(allow(0x8000, 0x8fff)).unwrap();
    assert_eq!(
        space.reserve(range(0, 0x1000), 0),
        Err(ReserveError::Area(area))
    );
    assert_eq!(
        space.reserve(range(0x8fff, 0x9000), 0),
        Err(ReserveError::Allowed(allowed))
    );
    assert_eq!(space.reserved().count(), 0);
    space.reserve(range(0x2000, 0x7fff), 0).unwrap();
    space.set_allowed(AllowList::default()).unwrap();
    space.reserve(range(0x8fff, 0x9000), 0).unwrap();
}

#[test]
fn a_refused_allow_list_changes_nothing() {
    let mut space = Numbered::new();
    space.set_allowed(allow(0x8000, 0x8fff)).unwrap();
    space.reserve(range(0x4000, 0x4fff), 0).unwrap();
    let mut allowed = allow(0x9000, 0x9fff);
    allowed.push(Iova::new(0x3000), Iova::new(0x4000)).unwrap();
    let refused = NotAllowed {
        range: range(0x3000, 0x4000),
        reserved: Iova::new(0x4000),
    };
    assert_eq!(space.set_allowed(allowed), Err(refused));
    assert_eq!(space.allowed(), &allow(0x8000, 0x8fff));
}

#[test]
fn an_allow_list_has_no_empty_and_no_overlapping_ranges() {
    let mut allowed = allow(0x1000, 0x1fff);
    for (start, last) in [(0x5000, 0x5000), (0x5000, 0x4fff)] {
        let (start, last) = (Iova::new(start), Iova::new(last));
        assert_eq!(
            allowed.push(start, last),
            Err(AllowError::Empty { start, last })
        );
    }
    for (start, last) in [
        (0, 0x1000),
        (0x1fff, 0x2000),
        (0x1100, 0x1200),
        (0, u64::MAX),
    ] {
        let refused = AllowError::Overlap {
            range: range(start, last),
            earlier: range(0x1000, 0x1fff),
        };
        assert_eq!(
            allowed.push(Iova::new(start), Iova::new(last)),
            Err(refused)
        );
    }
    allowed.push(Iova::new(0x2000), Iova::new(0x2fff)).unwrap();
    allowed.push(Iova::new(0), Iova::new(0xfff)).unwrap();
    let ranges = [
        range(0, 0xfff),
        range(0x1000, 0x1fff),
        range(0x2000, 0x2fff),
    ];
    assert_eq!(allowed.iter().collect::<Vec<_>>(), ranges);
}

#[test]
fn an_area_is_only_split_inside() {
    let mut space = Numbered::new();
    space.insert(range(0x1000, 0x2fff), 7).unwrap();
    for at in [0xfff, 0x1000, 0x3000] {
        assert_eq!(space.split(Iova::new(at), |_| unreachable!()), None);
    }
    let take_two = |value: &mut u32| {
        *value -= 2;
        2
    };
    assert_eq!(space.split(Iova::new(0x2000), take_two), Some(()));
    let halves: Vec<_> = space
        .areas()
        .map(|(range, &value)| (range, value))
        .collect();
    assert_eq!(
        halves,
        [(range(0x1000, 0x1fff), 5), (range(0x2000, 0x2fff), 2)]
    );
}

#[test]
fn the_whole_space_can_be_one_area_or_reserved() {
    let everything = range(0, u64::MAX);
    let mut space = Numbered::new();
    space.insert(everything, 1).unwrap();
    assert_eq!(space.get(Iova::new(u64::MAX)), Some((everything, &1)));
    assert_eq!(
        space.reserve(range(5, 5), 0),
        Err(ReserveError::Area(everything))
    );
    assert_eq!(space.remove(Iova::new(0)), Some((everything, 1)));
    space.reserve(everything, 3).unwrap();
    space.reserve(everything, 4).unwrap();
    assert_eq!(space.unreserved().count(), 0);
    assert_eq!(space.unreserve(&3), [everything]);
    let first = InsertError::Reserved(Iova::new(0));
    assert_eq!(space.insert(everything, 1), Err(first));
    assert_eq!(space.unreserve(&4), [everything]);
    assert_eq!(space.unreserved().collect::<Vec<_>>(), [everything]);
    space.insert(everything, 1).unwrap();
}

#[test]
fn an_area_leaves_what_is_reserved_beside_it() {
    let mut space = Numbered::new();
    space.reserve(range(0x1000, 0x1fff), 0).unwrap();
    space.reserve(range(0x3000, 0x3fff), 1).unwrap();
    space.insert(range(0x2000, 0x2fff), 1).unwrap();
    space.remove(Iova::new(0x2000)).unwrap();
    let place = |space: &mut Numbered| {
        let placed = space.place(&request(0, 0x1000, 1));
        placed.unwrap().start().get()
    };
    assert_eq!(place(&mut space), 0x2000);
    space.insert(range(0x2000, 0x2fff), 1).unwrap();
    assert_eq!(place(&mut space), 0x4000);
    space.unreserve(&1);
    assert_eq!(place(&mut space), 0x3000);
    space.unreserve(&0);
    assert_eq!(place(&mut space), 0x1000);
    space.verify();
}

#[test]
fn what_is_not_drained_stays() {
    let mut space = Numbered::new();
    for index in 0..100 {
        space
            .insert(
                range(u64::from(index) * 16, u64::from(index) * 16 + 7),
                index,
            )
            .unwrap();
    }
    let values: Vec<u32> = space.drain().take(60).map(|(_, value)| value).collect();
    assert_eq!(values, (0..60).collect::<Vec<_>>());
    assert_eq!(space.len(), 40);
    assert_eq!(space.nth(0), Some((range(960, 967), &60)));
    assert_eq!(space.drain().count(), 40);
    assert!(space.is_empty());
}

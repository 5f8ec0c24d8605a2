//! Random calls, with the same results as the model.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use swiommu_addr::{Address, Iova, IovaRange, PageSize};

use super::model::{Model, PlaceErrno};
use super::{Numbered, Random, range, request};
use crate::{AllowList, Request};

#[derive(Clone, Debug)]
enum Call {
    Insert(IovaRange),
    Remove(usize),
    Split(usize, u64),
    Reserve(IovaRange, u8),
    Unreserve(u8),
    Allow(Vec<u64>),
    Place(Request4),
    PlaceAndInsert(Request4),
    Look(u64),
}

/// Origin, length, alignment and huge page.
type Request4 = (u64, u64, u64, u64);

/// The space and its model, kept alike.
#[derive(Default)]
struct Pair {
    space: Numbered,
    model: Model,
    inserted: u32,
}

impl Pair {
    fn insert(&mut self, range: IovaRange) {
        self.inserted += 1;
        let value = self.inserted;
        assert_eq!(
            self.space.insert(range, value),
            self.model.insert(range, value)
        );
    }

    fn place(&mut self, (origin, length, alignment, huge_page): Request4) -> Option<IovaRange> {
        let huge_page_size = PageSize::from_bytes(huge_page).unwrap();
        let request = Request {
            huge_page: huge_page_size,
            ..request(origin, length, alignment)
        };
        let placed = self.space.place(&request);
        let start = placed
            .map(|range| range.start().get())
            .map_err(PlaceErrno::from);
        assert_eq!(
            start,
            self.model.place(origin, length, alignment, huge_page),
            "{request:?}"
        );
        placed.ok()
    }

    /// The start of some area, the `n`th if there are so many; 0 without areas.
    fn start_of(&self, n: usize) -> Iova {
        let area = self.model.areas.iter().cycle().nth(n);
        area.map_or(Iova::new(0), |(area, _)| area.start())
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Insert(range) => self.insert(range),
            Call::Remove(n) => {
                let start = self.start_of(n);
                assert_eq!(self.space.remove(start), self.model.remove(start));
            }
            Call::Split(n, offset) => {
                let at = self.start_of(n).wrapping_add(offset);
                assert_eq!(self.space.split(at, |value| *value), self.model.split(at));
            }
            Call::Reserve(range, owner) => {
                let reserved = self.space.reserve(range, owner);
                assert_eq!(reserved, self.model.reserve(range, owner));
            }
            Call::Unreserve(owner) => {
                assert_eq!(self.space.unreserve(&owner), self.model.unreserve(owner));
            }
            Call::Allow(mut bounds) => {
                bounds.sort_unstable();
                bounds.dedup();
                let bounds = bounds.chunks_exact(2).map(|pair| range(pair[0], pair[1]));
                let ranges: Vec<IovaRange> = bounds.collect();
                let mut list = AllowList::default();
                for range in ranges.iter().rev() {
                    list.push(range.start(), range.last()).unwrap();
                }
                assert_eq!(
                    self.space.set_allowed(list).is_ok(),
                    self.model.set_allowed(ranges)
                );
            }
            Call::Place(request) => {
                self.place(request);
            }
            Call::PlaceAndInsert(request) => {
                if let Some(range) = self.place(request) {
                    self.insert(range);
                }
            }
            Call::Look(addr) => self.look(Iova::new(addr)),
        }
    }

    /// Compares what calls that change nothing tell.
    fn look(&mut self, iova: Iova) {
        let found = self.model.get(iova);
        assert_eq!(
            self.space.get(iova).map(|(range, &value)| (range, value)),
            found
        );
        assert_eq!(
            self.space
                .get_mut(iova)
                .map(|(range, value)| (range, *value)),
            found
        );
        let from = IovaRange::new(iova, Iova::new(u64::MAX)).unwrap();
        let overlapping = self
            .space
            .overlapping(from)
            .map(|(range, &value)| (range, value));
        assert_eq!(
            overlapping.collect::<Vec<_>>(),
            self.model.overlapping(from)
        );
        let n = usize::try_from(iova.get() % 64).unwrap();
        let nth = self.space.nth(n).map(|(range, &value)| (range, value));
        assert_eq!(nth, self.model.areas.get(n).copied());
    }

    fn check(&self) {
        self.space.verify();
        assert_eq!(self.space.len(), self.model.areas.len());
        let areas = self.space.areas().map(|(range, &value)| (range, value));
        assert_eq!(areas.collect::<Vec<_>>(), self.model.areas);
        assert_eq!(
            self.space.unreserved().collect::<Vec<_>>(),
            self.model.unreserved()
        );
        assert_eq!(self.space.reserved().count(), self.model.reserved.len());
    }
}

/// Addresses near the places where something special happens, so that calls meet each other.
fn addr() -> impl Strategy<Value = u64> {
    let base = select(&[0, 0x1_0000, 0x20_0000, 1 << 63, u64::MAX - 0x7fff][..]);
    let page = 0..8u64;
    let offset = prop_oneof![
        4 => Just(0),
        1 => Just(0xfff),
        2 => select(&[0x400, 0x800, 0xa00][..]),
        1 => 0..0x1000u64,
    ];
    (base, page, offset).prop_map(|(base, page, offset)| base + page * 0x1000 + offset)
}

fn some_range() -> impl Strategy<Value = IovaRange> {
    let length = prop_oneof![
        Just(0x1000u64),
        select(&[1, 2, 0x200, 0x400, 0x800, 0x1800, 0x3000][..]),
        0..0x3000u64,
        Just(1 << 62),
    ];
    (addr(), length)
        .prop_map(|(start, length)| range(start, start.saturating_add(length.saturating_sub(1))))
}

fn some_request() -> impl Strategy<Value = Request4> {
    let length = prop_oneof![
        4 => 1..0x20u64,
        4 => select(&[0x200, 0x400, 0x800, 0x1000, 0x2000, 0x3000, 0x20_0000, 0x30_0000][..]),
        4 => 1..0x4000u64,
        1 => select(&[0, 1 << 61, 1 << 62, (1 << 62) + 1, u64::MAX / 2 - 1, u64::MAX / 2, u64::MAX][..]),
    ];
    let alignment = prop_oneof![4 => Just(1u64), 1 => Just(0x800), 1 => Just(0x1000)];
    let origin = prop_oneof![1 => Just(0), 4 => addr(), 2 => 0..0x1000u64];
    let huge_page = select(&[0x1000, 0x20_0000, 1 << 30, 1 << 63][..]);
    (origin, length, alignment, huge_page)
}

fn some_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => some_range().prop_map(Call::Insert),
        2 => (0..40usize).prop_map(Call::Remove),
        1 => (0..40usize, 0..0x2000u64).prop_map(|(n, offset)| Call::Split(n, offset)),
        2 => (some_range(), 0..4u8).prop_map(|(range, owner)| Call::Reserve(range, owner)),
        1 => (0..4u8).prop_map(Call::Unreserve),
        1 => vec(addr(), 0..8).prop_map(Call::Allow),
        4 => some_request().prop_map(Call::Place),
        4 => some_request().prop_map(Call::PlaceAndInsert),
        2 => addr().prop_map(Call::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn few_entries(calls in vec(some_call(), 1..120)) {
        let mut pair = Pair::default();
        for call in calls {
            pair.call(call);
            pair.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nodes that lose most of what they have beside nodes that lose nothing.
    #[test]
    fn shrinking_from_one_end(seed in any::<u64>(), downwards in any::<bool>()) {
        let mut random = Random(seed);
        let mut pair = Pair::default();
        let mut starts: Vec<u64> = (1..5000).map(|index| index * 0x1000).collect();
        for place in (1..starts.len()).rev() {
            starts.swap(place, usize::try_from(random.below(place as u64 + 1)).unwrap());
        }
        for start in starts {
            if random.below(2) == 0 {
                pair.insert(range(start, start + 0x7ff));
            } else {
                // The owners are in order.
                let owner = u8::try_from(start >> 17).unwrap();
                pair.call(Call::Reserve(range(start, start + random.below(0x1000)), owner));
            }
        }
        pair.check();
        for step in 0..160 {
            let owner = if downwards { 159 - step } else { step };
            pair.call(Call::Unreserve(owner));
            let from = u64::from(owner) << 17;
            let areas = pair.model.overlapping(range(from, from + 0x1_ffff));
            for (area, _) in areas {
                assert_eq!(pair.space.remove(area.start()), pair.model.remove(area.start()));
            }
            pair.call(Call::Place((0, 0x1_0000, 1, 0x1_0000)));
            pair.check();
        }
        assert_eq!(pair.space.reserved().count(), 0);
        assert!(pair.space.is_empty());
    }

    /// Enough entries for inner nodes above inner nodes.
    #[test]
    fn many_entries(
        seed in any::<u64>(),
        stride in select(&[0x600, 0x1000, 0x1800, 0x3000, 0x20_1000][..]),
        calls in vec(some_call(), 40),
    ) {
        let mut random = Random(seed);
        let mut pair = Pair::default();
        let mut starts: Vec<u64> = (0..4500).map(|index| 0x2_0000 + index * stride).collect();
        for place in (1..starts.len()).rev() {
            starts.swap(place, usize::try_from(random.below(place as u64 + 1)).unwrap());
        }
        for (index, &start) in starts.iter().enumerate() {
            let length = 1 + random.below(stride);
            let new = range(start, start + length - 1);
            // One in four is reserved, often together with the next.
            if random.below(4) == 0 {
                let owner = u8::try_from(index % 4).unwrap();
                pair.call(Call::Reserve(range(start, start + random.below(2 * stride)), owner));
            } else {
                pair.insert(new);
            }
        }
        pair.check();
        for call in calls {
            pair.call(call);
            let offset = random.below(16) * 0x100;
            let length = 1 + random.below(2 * stride);
            pair.call(Call::PlaceAndInsert((offset, length, 1, 0x20_0000)));
            let start = random.below(4500 * stride);
            pair.insert(range(start, start + random.below(2 * stride)));
            pair.call(Call::Remove(usize::try_from(random.below(4000)).unwrap()));
            pair.call(Call::Look(random.below(4500 * stride)));
        }
        pair.check();
        while !pair.model.areas.is_empty() {
            let n = random.below(pair.model.areas.len() as u64);
            pair.call(Call::Remove(usize::try_from(n).unwrap()));
            if n.is_multiple_of(64) {
                pair.call(Call::Place((0x100, 1 + n, 1, 0x20_0000)));
                pair.check();
            }
        }
        pair.check();
    }
}

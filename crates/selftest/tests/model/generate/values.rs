//! The arguments of steps.

use proptest::prelude::*;

use crate::ground::{Ground, PAGE};
use crate::step::{Data, Memory, Pick, Place, Sort, Span};

/// The flag of the mock that lets an area be named by its number.
pub(super) const BY_NUMBER: u32 = 1 << 16;

/// One value, boxed as the others are.
pub(super) fn just<T: Clone + std::fmt::Debug + 'static>(value: T) -> BoxedStrategy<T> {
    Just(value).boxed()
}

/// Mostly the first value, sometimes one of the others.
pub(super) fn mostly<T: Copy + std::fmt::Debug + 'static>(
    usual: T,
    others: &'static [T],
) -> BoxedStrategy<T> {
    prop_oneof![60 => Just(usual), 1 => proptest::sample::select(others)].boxed()
}

/// A field that should be zero.
pub(super) fn zero() -> BoxedStrategy<u32> {
    mostly(0, &[1, 16, 1 << 31])
}

pub(super) fn pick() -> BoxedStrategy<Pick> {
    prop_oneof![
        80 => (0..4_usize).prop_map(Pick::Nth),
        1 => (0..12_usize).prop_map(Pick::Any),
        1 => (0..6_usize).prop_map(Pick::Gone),
        1 => proptest::sample::select(&[0, 1, 77, 0x8000_0000, u32::MAX][..]).prop_map(Pick::Id),
    ]
    .boxed()
}

/// One of a sort, mostly.
pub(super) fn of(sort: Sort) -> BoxedStrategy<Pick> {
    prop_oneof![
        12 => (0..3_usize).prop_map(move |n| Pick::Of(sort, n)),
        1 => pick(),
    ]
    .boxed()
}

/// An object that suits, and often another.
pub(super) fn any_pick() -> BoxedStrategy<Pick> {
    prop_oneof![8 => (0..16_usize).prop_map(Pick::Any), 1 => pick()].boxed()
}

fn odd_iova() -> BoxedStrategy<u64> {
    const IOVAS: &[u64] = &[
        0,
        1,
        0x800,
        PAGE,
        0x0020_0000,
        0x00ff_f000,
        0x00ff_ffff,
        0x0100_0001,
        0x7fff_f000,
        0x7fff_ffff,
        0x8000_0000,
        (1 << 38) - PAGE,
        1 << 38,
        u64::MAX - PAGE,
        u64::MAX - 0xfff,
        u64::MAX - 1,
        u64::MAX,
    ];
    proptest::sample::select(IOVAS).boxed()
}

pub(super) fn place() -> BoxedStrategy<Place> {
    prop_oneof![
        10 => (0..24_u64).prop_map(|page| Place::Slot(2 * page)),
        3 => (0..48_u64).prop_map(Place::Slot),
        3 => (0..4_usize).prop_map(Place::After),
        2 => odd_iova().prop_map(Place::Iova),
    ]
    .boxed()
}

/// Bytes to map.
pub(super) fn len() -> BoxedStrategy<u64> {
    const ODD: &[u64] = &[
        0,
        1,
        511,
        4097,
        1 << 40,
        u64::MAX / 2,
        u64::MAX - PAGE,
        u64::MAX - PAGE + 1,
        u64::MAX - 1,
        u64::MAX,
    ];
    prop_oneof![
        12 => (1..6_u64).prop_map(|pages| pages * PAGE),
        4 => (1..8_u64).prop_map(|slots| slots * 2048),
        3 => proptest::sample::select(&[0x8000, 0x10000, 0x20000, 0x38000, 0x40000][..]),
        1 => proptest::sample::select(ODD),
    ]
    .boxed()
}

/// Memory to map.
pub(super) fn memory() -> BoxedStrategy<Memory> {
    const PAGES: u64 = Ground::PAGES;
    prop_oneof![
        14 => (0..24_u64).prop_map(Memory::Page),
        3 => (0..48_u64).prop_map(|slot| Memory::Byte(2048 * slot)),
        1 => (0..16 * PAGE).prop_map(Memory::Byte),
        1 => (Ground::WRITABLE - 2..PAGES).prop_map(Memory::Page),
        1 => (PAGES - 2..PAGES + 2).prop_map(Memory::Page),
        1 => proptest::sample::select(&[
            Memory::Null,
            Memory::Address(u64::MAX - 0xfff),
            Memory::Address(0x8000_0000),
        ][..]),
    ]
    .boxed()
}

pub(super) fn map_flags() -> BoxedStrategy<u32> {
    prop_oneof![
        10 => Just(7),
        6 => Just(6),
        3 => Just(5),
        1 => Just(4),
        1 => Just(3),
        1 => Just(2),
        1 => proptest::sample::select(&[0, 1, 8, 15, 1 << 31, BY_NUMBER | 6][..]),
    ]
    .boxed()
}

pub(super) fn span() -> BoxedStrategy<Span> {
    let odd_len = proptest::sample::select(&[0, 1, PAGE, 3 * PAGE, u64::MAX][..]);
    prop_oneof![
        8 => (0..5_usize).prop_map(Span::Area),
        3 => (0..4_usize, 0..4_usize).prop_map(|(first, more)| Span::Areas(first, more)),
        5 => part(),
        2 => (0..40_u64, 1..8_u64).prop_map(|(first, count)| Span::Slots(first, count)),
        1 => (odd_iova(), odd_len).prop_map(|(start, len)| Span::Bytes(start, len)),
    ]
    .boxed()
}

/// Bytes of an area and beyond.
pub(super) fn part() -> BoxedStrategy<Span> {
    let skip = proptest::sample::select(&[0, 0, PAGE, 2048, 2 * PAGE, 1, 511, 4095][..]);
    let len = proptest::sample::select(&[PAGE, 2048, 2 * PAGE, 4 * PAGE, 1, 3, 511, 4097][..]);
    let parts = (0..5_usize, skip, len);
    parts
        .prop_map(|(area, skip, len)| Span::Part(area, skip, len))
        .boxed()
}

/// No data.
pub(super) fn none() -> Data {
    Data {
        kind: 0,
        len: 0,
        words: [0; 2],
        at: Memory::Null,
    }
}

/// An area named by its number, with an offset in it.
pub(super) fn numbered() -> BoxedStrategy<Span> {
    let offset = proptest::sample::select(&[0, 0, PAGE, 2048][..]);
    let len = proptest::sample::select(&[PAGE, 2048, 2 * PAGE][..]);
    let named = (0..3_u64, offset, len);
    named
        .prop_map(|(area, offset, len)| Span::Bytes(area | offset << 32, len))
        .boxed()
}

/// The driver's data for a paging page table of the mock: mostly none.
pub(super) fn paging_data() -> BoxedStrategy<Data> {
    prop_oneof![20 => Just(none()), 8 => nested_data()].boxed()
}

/// The driver's data for a nested page table of the mock, which needs some.
pub(super) fn nested_data() -> BoxedStrategy<Data> {
    const KINDS: &[u32] = &[0, 1, 0xdeae, u32::MAX];
    prop_oneof![
        30 => mock_data(mostly(8, &[4, 5, 7])),
        2 => Just(none()),
        1 => (proptest::sample::select(KINDS), mock_data(Just(8)))
            .prop_map(|(kind, data)| Data { kind, ..data }),
        1 => mock_data(proptest::sample::select(&[0, 3, 9, 64][..])),
    ]
    .boxed()
}

/// Data of this length.
pub(super) fn mock_data(len: impl Strategy<Value = u32> + 'static) -> BoxedStrategy<Data> {
    const HOLE: Memory = Memory::Page(Ground::PAGES + 1);
    let format = prop_oneof![4 => Just(0), 2 => Just(1), 1 => Just(2)];
    let at = mostly(Memory::Scratch, &[Memory::Null, HOLE]);
    (1..4_u32, format, len, at)
        .prop_map(|(iotlb, format, len, at)| Data {
            kind: 0xdead,
            len,
            words: [iotlb, format],
            at,
        })
        .boxed()
}

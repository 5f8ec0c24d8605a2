//! Steps on an IOAS.

use proptest::collection::vec;
use proptest::prelude::*;

use super::values::{
    BY_NUMBER, any_pick, just, len, map_flags, memory, mostly, numbered, pick, place, span, zero,
};
use crate::step::{Memory, Span, Step, list};

pub(super) fn step() -> BoxedStrategy<Step> {
    prop_oneof![
        24 => map(),
        8 => (pick(), span(), pick(), place(), map_flags())
            .prop_map(|(from, span, to, at, flags)| Step::Copy { from, span, to, at, flags }),
        1 => (pick(), numbered(), pick(), place(), Just(BY_NUMBER | 7))
            .prop_map(|(from, span, to, at, flags)| Step::Copy { from, span, to, at, flags }),
        10 => (pick(), span()).prop_map(|(ioas, span)| Step::Unmap { ioas, span }),
        1 => pick().prop_map(|ioas| Step::Unmap { ioas, span: Span::Bytes(0, u64::MAX) }),
        2 => (pick(), mostly(16, &[0, 1, 2]), zero())
            .prop_map(|(ioas, room, reserved)| Step::IovaRanges { ioas, room, reserved }),
        3 => (pick(), allowed(), zero())
            .prop_map(|(ioas, ranges, reserved)| Step::AllowIovas { ioas, ranges, reserved }),
        3 => (pick(), reserved()).prop_map(|(ioas, span)| Step::AddReserved { ioas, span }),
        2 => option(),
        1 => (0..4_u16, pick(), mostly(0_u16, &[1]))
            .prop_map(|(op, ioas, reserved)| Step::VfioIoas { op, ioas, reserved }),
        1 => zero().prop_map(|reserved| Step::ChangeProcess { reserved }),
        2 => mostly(0, &[1]).prop_map(|flags| Step::IoasAlloc { flags }),
        2 => any_pick().prop_map(|id| Step::Destroy { id }),
        3 => (pick(), span(), prop_oneof![5 => just(Memory::Behind), 1 => memory()])
            .prop_map(|(hwpt, span, memory)| Step::CheckMap { hwpt, span, memory }),
    ]
    .boxed()
}

pub(super) fn map() -> BoxedStrategy<Step> {
    let arguments = (pick(), memory(), len(), place(), map_flags(), zero());
    arguments
        .prop_map(|(ioas, memory, len, at, flags, reserved)| Step::Map {
            ioas,
            memory,
            len,
            at,
            flags,
            reserved,
        })
        .boxed()
}

/// Ranges to allow: within the aperture, around what areas have, and impossible ones.
fn allowed() -> BoxedStrategy<crate::step::List<(u64, u64)>> {
    let slots = (0..32_u64, 1..32_u64).prop_map(|(first, count)| {
        let start = (1 << 24) + first * 0x1000;
        (start, start + count * 0x1000 - 1)
    });
    let far = (0..4_u64, 1..4_u64).prop_map(|(first, count)| {
        let start = (1 << 28) + first * 0x4000;
        (start, start + count * 0x1800 - 1)
    });
    let odd = just((0, u64::MAX)).prop_union(just((0x2000, 0x2000)).boxed());
    let odd = odd.or(just((0x3000, 0x2000))).or(just((0, 0x5000)));
    let range = prop_oneof![6 => slots, 6 => far, 1 => odd];
    vec(range, 0..3).prop_map(list).boxed()
}

fn reserved() -> BoxedStrategy<Span> {
    prop_oneof![
        6 => (0..64_u64, 1..6_u64).prop_map(|(first, count)| Span::Slots(first, count)),
        2 => (0..8_u64, 1..0x9000_u64).prop_map(|(n, len)| Span::Bytes(0x2000 * n, len)),
        1 => span(),
    ]
    .boxed()
}

fn option() -> BoxedStrategy<Step> {
    let option = prop_oneof![1 => Just(0), 5 => Just(1), 1 => Just(2)];
    let value = prop_oneof![3 => Just(0), 3 => Just(1), 1 => Just(2)];
    (
        option,
        mostly(0_u16, &[1, 2]),
        pick(),
        value,
        mostly(0_u16, &[1]),
    )
        .prop_map(|(option, op, object, value, reserved)| Step::IommuOption {
            option,
            op,
            object,
            value,
            reserved,
        })
        .boxed()
}

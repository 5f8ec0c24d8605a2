//! Steps of guests.

use proptest::collection::vec;
use proptest::prelude::*;

use super::attach::{nested, pasid, pasid_target, target};
use super::values::{any_pick, mock_data, mostly, of, part, pick, span, zero};
use crate::ground::{Ground, PAGE};
use crate::step::{Memory, Pick, Sort, Span, Step, list};

const MOCK: u32 = 0xdead_beef;

pub(super) fn step() -> BoxedStrategy<Step> {
    prop_oneof![
        6 => objects(),
        10 => nested(),
        8 => (pick(), prop_oneof![3 => of(Sort::Nested), 2 => target()])
            .prop_map(|(stdev, on)| Step::Replace { stdev, on }),
        5 => (pick(), pasid(), pasid_target())
            .prop_map(|(stdev, pasid, on)| Step::PasidAttach { stdev, pasid, on }),
        4 => any_pick().prop_map(|id| Step::Destroy { id }),
        10 => requests(),
        12 => events(),
        6 => invalidation(),
        5 => queue(),
    ]
    .boxed()
}

fn objects() -> BoxedStrategy<Step> {
    let len = prop_oneof![3 => Just(0), 3 => Just(24), 1 => 0..32_u32];
    let viommu = (
        pick(),
        pick(),
        mostly(MOCK, &[0, 1, 0x0dad_beef]),
        zero(),
        mock_data(len),
    );
    let virt_id = prop_oneof![8 => 0..4_u64, 1 => Just(u64::MAX), 1 => Just((1 << 32) + 1)];
    let kind = mostly(0xbeef_beef, &[0, 1]);
    let depth = prop_oneof![20 => 1..4_u32, 1 => Just(0), 1 => Just((1 << 19) + 1)];
    prop_oneof![
        3 => viommu.prop_map(|(device, parent, kind, flags, data)| Step::ViommuAlloc {
            device,
            parent,
            kind,
            flags,
            data,
        }),
        5 => (pick(), pick(), virt_id)
            .prop_map(|(viommu, device, virt_id)| Step::VdeviceAlloc { viommu, device, virt_id }),
        4 => (pick(), kind, depth, zero(), zero()).prop_map(
            |(viommu, kind, depth, flags, reserved)| Step::VeventqAlloc {
                viommu,
                kind,
                depth,
                flags,
                reserved,
            }
        ),
        3 => zero().prop_map(|flags| Step::FaultAlloc { flags }),
    ]
    .boxed()
}

/// The device that the beginning has made the guest's, mostly.
fn first() -> BoxedStrategy<Pick> {
    prop_oneof![3 => Just(Pick::Nth(0)), 1 => pick()].boxed()
}

fn requests() -> BoxedStrategy<Step> {
    let pasid = prop_oneof![3 => Just(0), 4 => pasid()];
    let perm = mostly(3, &[1, 8]);
    let count = proptest::sample::select(&[40, 40, 80, 0, 39, 44, 200][..]);
    let answers = vec((mostly(1, &[2, 3, 0, 9]), mostly(0, &[1, 2])), 0..3).prop_map(list);
    prop_oneof![
        6 => (first(), pasid, 0..4_u32, perm).prop_map(|(device, pasid, group, perm)| {
            let address = u64::from(group) * 0x1000;
            Step::TriggerIopf { device, pasid, group, perm, address }
        }),
        5 => (pick(), count).prop_map(|(fault, count)| Step::ReadFaults { fault, count }),
        3 => (pick(), answers, mostly(0_usize, &[1, 8]))
            .prop_map(|(fault, answers, tail)| Step::Respond { fault, answers, tail }),
        1 => pick().prop_map(|fault| Step::CloseFault { fault }),
    ]
    .boxed()
}

fn events() -> BoxedStrategy<Step> {
    let count = proptest::sample::select(&[64, 64, 12, 24, 20, 8, 7, 0][..]);
    prop_oneof![
        6 => first().prop_map(|device| Step::TriggerVevent { device }),
        4 => (pick(), count).prop_map(|(veventq, count)| Step::ReadEvents { veventq, count }),
        1 => pick().prop_map(|veventq| Step::CloseVeventq { veventq }),
    ]
    .boxed()
}

fn invalidation() -> BoxedStrategy<Step> {
    let len =
        prop_oneof![5 => Just(8), 5 => Just(12), 1 => Just(16), 1 => 0..24_u32, 1 => Just(4097)];
    let count = prop_oneof![10 => 0..3_u32, 1 => Just((1 << 19) + 1), 1 => Just(1 << 19)];
    let word = prop_oneof![10 => 0..4_u32, 1 => Just(4), 1 => Just(u32::MAX)];
    let hole = Memory::Page(Ground::PAGES + 1);
    let at = prop_oneof![20 => Just(Memory::Scratch), 1 => Just(Memory::Null), 1 => Just(hole)];
    let arguments = (
        pick(),
        mostly(MOCK, &[0, 0x0dad_beef]),
        len,
        count,
        vec(word, 0..9),
        at,
        zero(),
    );
    arguments
        .prop_map(
            |(target, kind, len, count, words, at, reserved)| Step::Invalidate {
                target,
                kind,
                len,
                count,
                words: list(words),
                at,
                reserved,
            },
        )
        .boxed()
}

/// A hardware queue, and often the mapping for it.
fn queue() -> BoxedStrategy<Step> {
    let index = prop_oneof![6 => Just(0), 5 => Just(1), 1 => Just(2), 1 => Just(u32::MAX)];
    let small = (0..3_usize, 0..2 * PAGE, 1..PAGE)
        .prop_map(|(area, skip, len)| Span::Part(area, skip, len));
    let spans = prop_oneof![4 => small, 2 => part(), 2 => span()];
    prop_oneof![
        4 => (pick(), mostly(MOCK, &[0, 1]), index, spans, zero()).prop_map(
            |(viommu, kind, index, span, flags)| Step::HwQueueAlloc {
                viommu,
                kind,
                index,
                span,
                flags,
            }
        ),
        3 => super::mappings::map(),
        1 => (pick(), span()).prop_map(|(ioas, span)| Step::Unmap { ioas, span }),
    ]
    .boxed()
}

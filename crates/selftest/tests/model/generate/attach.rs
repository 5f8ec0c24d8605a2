//! Steps on devices and what they are attached to.

use proptest::prelude::*;

use super::values::{any_pick, mostly, nested_data, of, paging_data, pick, zero};
use crate::step::{Pick, Sort, Step};

pub(super) fn step() -> BoxedStrategy<Step> {
    prop_oneof![
        5 => (target(), device_flags()).prop_map(|(on, flags)| Step::MockDomain { on, flags }),
        8 => (pick(), target()).prop_map(|(stdev, on)| Step::Replace { stdev, on }),
        8 => (pick(), pasid(), pasid_target())
            .prop_map(|(stdev, pasid, on)| Step::PasidAttach { stdev, pasid, on }),
        6 => (pick(), pasid(), pasid_target())
            .prop_map(|(stdev, pasid, on)| Step::PasidReplace { stdev, pasid, on }),
        3 => (pick(), pasid()).prop_map(|(stdev, pasid)| Step::PasidDetach { stdev, pasid }),
        2 => (pick(), pasid(), pasid_target())
            .prop_map(|(stdev, pasid, hwpt)| Step::PasidCheck { stdev, pasid, hwpt }),
        10 => paging(),
        5 => nested(),
        5 => any_pick().prop_map(|id| Step::Destroy { id }),
        2 => pick().prop_map(|ioas| Step::Destroy { id: ioas }),
        1 => Just(Step::IoasAlloc { flags: 0 }),
        1 => Just(Step::FaultAlloc { flags: 0 }),
        1 => (pick(), mostly(1, &[0, 3]), hw_info_kind(), 0..24_u32)
            .prop_map(|(device, flags, kind, room)| Step::HwInfo { device, flags, kind, room }),
    ]
    .boxed()
}

fn hw_info_kind() -> BoxedStrategy<u32> {
    mostly(0xfeed_beef, &[0, 1, 0xfeed_beee])
}

/// Anything that a device could be attached to.
pub(super) fn target() -> BoxedStrategy<Pick> {
    prop_oneof![
        4 => (0..8_usize).prop_map(Pick::Nth),
        3 => of(Sort::Ioas),
        3 => of(Sort::Nested),
        3 => of(Sort::ForPasids),
        1 => pick(),
    ]
    .boxed()
}

/// What a PASID could be attached to.
pub(super) fn pasid_target() -> BoxedStrategy<Pick> {
    prop_oneof![8 => of(Sort::ForPasids), 1 => target()].boxed()
}

fn device_flags() -> BoxedStrategy<u32> {
    prop_oneof![4 => Just(0), 6 => Just(4), 2 => Just(1), 2 => Just(5), 1 => Just(2)].boxed()
}

pub(super) fn pasid() -> BoxedStrategy<u32> {
    prop_oneof![
        8 => 1..3_u32,
        4 => Just(1024),
        1 => Just(0),
        1 => proptest::sample::select(&[(1 << 20) - 1, 1 << 20, u32::MAX][..]),
    ]
    .boxed()
}

fn paging() -> BoxedStrategy<Step> {
    let flags = prop_oneof![
        3 => Just(0),
        4 => Just(1),
        2 => Just(2),
        3 => Just(4),
        7 => Just(8),
        2 => Just(9),
        3 => Just(10),
        3 => Just(12),
        1 => 0..16_u32,
        1 => proptest::sample::select(&[16, 1 << 31][..]),
    ];
    (pick(), of(Sort::Ioas), flags, pick(), paging_data(), zero())
        .prop_map(
            |(device, on, flags, fault, data, reserved)| Step::HwptAlloc {
                device,
                on,
                flags,
                fault,
                data,
                reserved,
            },
        )
        .boxed()
}

/// A page table on whatever there is, with what a nested one needs.
pub(super) fn nested() -> BoxedStrategy<Step> {
    let flags = prop_oneof![
        6 => Just(0),
        6 => Just(8),
        5 => Just(4),
        4 => Just(12),
        1 => 0..16_u32,
        1 => Just(1 << 31),
    ];
    let on = prop_oneof![4 => of(Sort::Parent), 6 => of(Sort::Viommu), 1 => pick()];
    (pick(), on, flags, pick(), nested_data(), zero())
        .prop_map(
            |(device, on, flags, fault, data, reserved)| Step::HwptAlloc {
                device,
                on,
                flags,
                fault,
                data,
                reserved,
            },
        )
        .boxed()
}

//! How programs begin: with the objects that their theme is about, of which any may be missing.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

use super::mappings;
use super::values::{just, mock_data, none};
use crate::ground::PAGE;
use crate::step::{Memory, Pick, Place, Sort, Step};

const FIRST: Pick = Pick::Nth(0);

/// The steps that are there, in order.
fn all<const N: usize>(steps: [BoxedStrategy<Option<Step>>; N]) -> BoxedStrategy<Vec<Step>> {
    let steps: Vec<_> = steps.into();
    steps
        .prop_map(|steps| steps.into_iter().flatten().collect())
        .boxed()
}

fn usually(step: BoxedStrategy<Step>) -> BoxedStrategy<Option<Step>> {
    weighted(0.97, step).boxed()
}

fn sometimes(step: BoxedStrategy<Step>) -> BoxedStrategy<Option<Step>> {
    weighted(0.4, step).boxed()
}

fn ioas() -> BoxedStrategy<Step> {
    just(Step::IoasAlloc { flags: 0 })
}

fn device(flags: &'static [u32]) -> BoxedStrategy<Step> {
    let flags = proptest::sample::select(flags);
    flags
        .prop_map(|flags| Step::MockDomain { on: FIRST, flags })
        .boxed()
}

fn hwpt(on: Pick, flags: &'static [u32]) -> BoxedStrategy<Step> {
    let flags = proptest::sample::select(flags);
    flags
        .prop_map(move |flags| Step::HwptAlloc {
            device: FIRST,
            on,
            flags,
            fault: FIRST,
            data: none(),
            reserved: 0,
        })
        .boxed()
}

fn nested(sort: Sort, flags: &'static [u32]) -> BoxedStrategy<Step> {
    let flags = proptest::sample::select(flags);
    (flags, mock_data(Just(8)))
        .prop_map(move |(flags, data)| Step::HwptAlloc {
            device: FIRST,
            on: Pick::Of(sort, 0),
            flags,
            fault: FIRST,
            data,
            reserved: 0,
        })
        .boxed()
}

fn with_maps(
    beginning: BoxedStrategy<Vec<Step>>,
    count: std::ops::Range<usize>,
) -> BoxedStrategy<Vec<Step>> {
    let maps = vec(mappings::map(), count);
    let whole = (beginning, maps).prop_map(|(mut beginning, maps)| {
        beginning.extend(maps);
        beginning
    });
    whole.boxed()
}

pub(super) fn mappings() -> BoxedStrategy<Vec<Step>> {
    let steps = all([
        usually(ioas()),
        sometimes(ioas()),
        sometimes(device(&[0, 4, 1])),
        sometimes(hwpt(FIRST, &[0, 1])),
    ]);
    with_maps(steps, 0..6)
}

/// A device whose RID is on a page table for PASIDs, and others of those.
pub(super) fn pasids() -> BoxedStrategy<Vec<Step>> {
    let on_it = just(Step::Replace {
        stdev: FIRST,
        on: Pick::Of(Sort::ForPasids, 0),
    });
    all([
        usually(ioas()),
        sometimes(ioas()),
        usually(device(&[4, 4, 4, 5, 0])),
        usually(hwpt(FIRST, &[8, 8, 9, 10])),
        sometimes(hwpt(FIRST, &[8, 10, 1])),
        usually(on_it),
    ])
}

pub(super) fn accesses() -> BoxedStrategy<Vec<Step>> {
    let access = |flags| just(Step::CreateAccess { ioas: FIRST, flags });
    let steps = all([
        usually(ioas()),
        sometimes(ioas()),
        sometimes(device(&[0])),
        usually(access(1)),
        sometimes(access(0)),
        sometimes(access(1)),
    ]);
    with_maps(steps, 1..8)
}

pub(super) fn vfio() -> BoxedStrategy<Vec<Step>> {
    let chosen = Step::VfioIoas {
        op: 1,
        ioas: FIRST,
        reserved: 0,
    };
    let steps = all([
        usually(ioas()),
        usually(just(chosen)),
        weighted(0.7, just(Step::VfioSetIommu { kind: 1 })).boxed(),
        sometimes(device(&[0])),
        sometimes(just(Step::CreateAccess {
            ioas: FIRST,
            flags: 1,
        })),
    ]);
    with_maps(steps, 0..4)
}

pub(super) fn dirty() -> BoxedStrategy<Vec<Step>> {
    let small_pages = just(Step::IommuOption {
        option: 1,
        op: 0,
        object: FIRST,
        value: 0,
        reserved: 0,
    });
    let hwpt = Pick::Of(Sort::ForDirty, 0);
    let steps = all([
        usually(ioas()),
        sometimes(small_pages),
        usually(device(&[0, 0, 4, 1])),
        usually(hwpt_with_format()),
        usually(just(Step::SetDirtyTracking { hwpt, flags: 1 })),
    ]);
    with_maps(steps, 1..8)
}

fn hwpt_with_format() -> BoxedStrategy<Step> {
    let with_data = mock_data(Just(8)).prop_map(|data| Step::HwptAlloc {
        device: FIRST,
        on: FIRST,
        flags: 2,
        fault: FIRST,
        data,
        reserved: 0,
    });
    prop_oneof![hwpt(FIRST, &[2, 2, 3]), with_data].boxed()
}

/// A nesting parent with a virtual IOMMU, a device of the guest behind it, and queues.
pub(super) fn guest() -> BoxedStrategy<Vec<Step>> {
    let viommu = mock_data(Just(8)).prop_map(|data| Step::ViommuAlloc {
        device: FIRST,
        parent: FIRST,
        kind: 0xdead_beef,
        flags: 0,
        data,
    });
    let vdevice = (0..4_u64).prop_map(|virt_id| Step::VdeviceAlloc {
        viommu: FIRST,
        device: FIRST,
        virt_id,
    });
    let veventq = (1..4_u32).prop_map(|depth| Step::VeventqAlloc {
        viommu: FIRST,
        kind: 0xbeef_beef,
        depth,
        flags: 0,
        reserved: 0,
    });
    let on_it = just(Step::Replace {
        stdev: FIRST,
        on: Pick::Of(Sort::Nested, 0),
    });
    let steps = all([
        usually(ioas()),
        usually(device(&[4, 4, 0, 5])),
        weighted(0.7, device(&[4, 0])).boxed(),
        usually(hwpt(FIRST, &[1, 1, 9, 3])),
        usually(just(Step::FaultAlloc { flags: 0 })),
        usually(viommu.boxed()),
        usually(vdevice.boxed()),
        usually(veventq.boxed()),
        usually(nested(Sort::Viommu, &[12, 4, 4, 0])),
        weighted(0.2, nested(Sort::Parent, &[4, 12, 8, 0])).boxed(),
        usually(on_it),
        weighted(0.7, memory_of_a_queue()).boxed(),
    ]);
    with_maps(steps, 0..2)
}

fn memory_of_a_queue() -> BoxedStrategy<Step> {
    (0..16_u64, 0..8_u64)
        .prop_map(|(page, slot)| Step::Map {
            ioas: FIRST,
            memory: Memory::Page(page),
            len: 4 * PAGE,
            at: Place::Slot(2 * slot),
            flags: 7,
            reserved: 0,
        })
        .boxed()
}

//! Steps of software accesses and of dirty tracking.

use proptest::prelude::*;

use super::values::{BY_NUMBER, any_pick, memory, mostly, numbered, of, part, pick, span, zero};
use crate::step::{Memory, Sort, Span, Step};

pub(super) fn access() -> BoxedStrategy<Step> {
    let flags = prop_oneof![5 => Just(1), 4 => Just(0), 1 => Just(2)];
    let pin_flags = prop_oneof![6 => Just(0), 5 => Just(1), 1 => Just(2)];
    let rw_flags =
        prop_oneof![5 => Just(0), 6 => Just(1), 2 => Just(4), 2 => Just(5), 1 => Just(2)];
    let expected = prop_oneof![8 => Just(Memory::Behind), 3 => Just(Memory::Null), 1 => memory()];
    let area = || (0..6_usize).prop_map(Span::Area);
    let range = || prop_oneof![3 => area(), 2 => span(), 3 => part()];
    prop_oneof![
        4 => (pick(), flags).prop_map(|(ioas, flags)| Step::CreateAccess { ioas, flags }),
        8 => (pick(), range(), expected, pin_flags).prop_map(
            |(access, span, memory, flags)| Step::AccessPages { access, span, memory, flags }
        ),
        1 => (pick(), numbered(), Just(Memory::Null), Just(BY_NUMBER)).prop_map(
            |(access, span, memory, flags)| Step::AccessPages { access, span, memory, flags }
        ),
        1 => (pick(), numbered(), any::<u8>(), 0..2_u32).prop_map(
            |(access, span, fill, write)| Step::AccessRw { access, span, fill, flags: BY_NUMBER | write }
        ),
        4 => (pick(), 0..3_u32).prop_map(|(access, item)| Step::UnpinPages { access, item }),
        3 => (pick(), pick()).prop_map(|(access, ioas)| Step::AccessReplace { access, ioas }),
        8 => (pick(), range(), any::<u8>(), rw_flags).prop_map(
            |(access, span, fill, flags)| Step::AccessRw { access, span, fill, flags }
        ),
        1 => pick().prop_map(|access| Step::CloseAccess { access }),
        1 => any_pick().prop_map(|id| Step::Destroy { id }),
    ]
    .boxed()
}

pub(super) fn dirty() -> BoxedStrategy<Step> {
    let flags = prop_oneof![6 => Just(0), 3 => Just(1), 1 => mostly(0, &[2])];
    let enable = prop_oneof![8 => Just(1), 2 => Just(0), 1 => mostly(1, &[2])];
    let page =
        || proptest::sample::select(&[2048, 2048, 2048, 4096, 4096, 512, 3 * 2048, 8192, 0][..]);
    prop_oneof![
        4 => (of(Sort::ForDirty), enable).prop_map(|(hwpt, flags)| Step::SetDirtyTracking {
            hwpt,
            flags,
        }),
        8 => (of(Sort::ForDirty), span(), page(), any::<u64>()).prop_map(|(hwpt, span, page, bits)| {
            Step::Dirty { hwpt, span, page, bits }
        }),
        8 => (of(Sort::ForDirty), span(), page(), flags, zero()).prop_map(
            |(hwpt, span, page, flags, reserved)| Step::GetDirtyBitmap {
                hwpt,
                span,
                page,
                flags,
                reserved,
            }
        ),
        2 => (pick(), of(Sort::Ioas), dirty_flags()).prop_map(|(device, on, flags)| Step::HwptAlloc {
            device,
            on,
            flags,
            fault: crate::step::Pick::Nth(0),
            data: super::values::none(),
            reserved: 0,
        }),
    ]
    .boxed()
}

fn dirty_flags() -> BoxedStrategy<u32> {
    prop_oneof![3 => Just(2), 1 => Just(3), 1 => Just(10)].boxed()
}

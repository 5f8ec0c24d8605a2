//! Steps of clients that use VFIO's type1 ioctls.

use proptest::prelude::*;

use super::values::{len, memory, mostly, part, place, span};
use crate::step::{Span, Step};

pub(super) fn step() -> BoxedStrategy<Step> {
    let flags = prop_oneof![8 => Just(3), 2 => Just(1), 1 => Just(2), 1 => Just(0), 1 => Just(4)];
    let unmap = prop_oneof![3 => part(), 2 => span()];
    prop_oneof![
        8 => (memory(), len(), place(), flags, mostly(32, &[31, 33, 0]))
            .prop_map(|(memory, len, at, flags, argsz)| Step::VfioMap { memory, len, at, flags, argsz }),
        8 => (unmap, mostly(0, &[1, 2, 4]), mostly(24, &[23, 0]))
            .prop_map(|(span, flags, argsz)| Step::VfioUnmap { span, flags, argsz }),
        1 => Just(Step::VfioUnmap { span: Span::Bytes(0, 0), flags: 2, argsz: 24 }),
        1 => proptest::sample::select(&[1, 2, 3, 4, 6, 9, 10][..])
            .prop_map(|extension| Step::VfioExtension { extension }),
        1 => mostly(1, &[3, 2, 8]).prop_map(|kind| Step::VfioSetIommu { kind }),
    ]
    .boxed()
}

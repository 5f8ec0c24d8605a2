//! Making programs: mostly calls that can succeed, with a tail of every kind of bad input.
//!
//! A program has a theme, because what is rare goes deep only where it is not diluted; and it begins with what its theme needs.

mod attach;
mod beginning;
mod guest;
mod mappings;
mod software;
mod values;
mod vfio;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;

use crate::step::Step;

/// Programs of up to 50 steps.
pub(crate) fn program() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![
        3 => theme(beginning::mappings(), [1, 0, 0, 0, 0, 0]),
        3 => theme(beginning::pasids(), [1, 6, 0, 0, 0, 0]),
        3 => theme(beginning::accesses(), [3, 1, 0, 6, 0, 0]),
        2 => theme(beginning::dirty(), [3, 1, 0, 0, 6, 0]),
        2 => theme(beginning::vfio(), [1, 0, 0, 2, 0, 6]),
        4 => theme(beginning::guest(), [1, 1, 8, 0, 0, 0]),
        2 => theme(beginning::guest(), [4, 4, 4, 2, 2, 0]),
    ]
}

/// A beginning, and then steps of all kinds: mappings, attachments, guests, software accesses, dirty tracking, VFIO.
fn theme(beginning: BoxedStrategy<Vec<Step>>, weights: [u32; 6]) -> BoxedStrategy<Vec<Step>> {
    let kinds = [
        mappings::step(),
        attach::step(),
        guest::step(),
        software::access(),
        software::dirty(),
        vfio::step(),
    ];
    let weighted = weights
        .into_iter()
        .zip(kinds)
        .filter(|(weight, _)| *weight > 0);
    let steps = vec(Union::new_weighted(weighted.collect()), 1..=32);
    let whole = (beginning, steps).prop_map(|(mut beginning, steps)| {
        beginning.extend(steps);
        beginning
    });
    whole.boxed()
}

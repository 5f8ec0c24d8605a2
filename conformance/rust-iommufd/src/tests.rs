//! The tests, by what they are about.

mod ioas;
mod mock;
mod smmuv3;
mod vfio;
mod vtd;

use crate::harness::Fixture;

pub(crate) const ALL: &[Fixture] = &[
    ioas::FIXTURE,
    vfio::FIXTURE,
    vtd::FIXTURE,
    smmuv3::FIXTURE,
    mock::FIXTURE,
];

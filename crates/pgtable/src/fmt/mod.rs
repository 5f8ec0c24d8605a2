//! The formats: one file each.

mod amdv1;
mod mock;

pub use amdv1::{Amd, Amdv1};
pub use mock::MockAmdv1;

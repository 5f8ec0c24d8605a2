//! The tests.

use crate::harness::{Run, Test};

pub(crate) const ALL: &[Test] = &[("thin", thin)];

fn thin() {
    let report = Run::client("thin", &[]).end().assert_clean();
    assert_eq!(report.opened, 1);
}

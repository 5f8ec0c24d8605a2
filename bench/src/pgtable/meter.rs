//! What is done around the work that counts.

use super::operation::Operation;
use crate::clock::nanoseconds;

pub(crate) trait Meter {
    /// Does `work`, which is so many of the operation. An operation can be measured in several pieces.
    fn measure(&mut self, operation: Operation, count: u64, work: &mut dyn FnMut());
}

/// What one contender took for each operation: nanoseconds, or instructions.
#[derive(Clone, Default)]
pub(crate) struct Costs([Cost; Operation::ALL.len()]);

#[derive(Clone, Copy, Default)]
struct Cost {
    sum: f64,
    count: u64,
}

impl Costs {
    pub(crate) fn add(&mut self, operation: Operation, sum: f64, count: u64) {
        let cost = &mut self.0[operation as usize];
        cost.sum += sum;
        cost.count += count;
    }

    /// The cost of one, if it was measured.
    pub(crate) fn of(&self, operation: Operation) -> Option<f64> {
        let Cost { sum, count } = self.0[operation as usize];
        (count > 0).then_some(sum / count as f64)
    }
}

/// Measures nanoseconds.
pub(crate) struct Clock {
    pub(crate) costs: Costs,
    /// What the clock itself takes.
    overhead: f64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let empty = || nanoseconds(|| ());
        Self {
            costs: Costs::default(),
            overhead: (0..100).map(|_| empty()).fold(f64::INFINITY, f64::min),
        }
    }
}

impl Meter for Clock {
    fn measure(&mut self, operation: Operation, count: u64, work: &mut dyn FnMut()) {
        let sum = (nanoseconds(work) - self.overhead).max(0.0);
        self.costs.add(operation, sum, count);
    }
}

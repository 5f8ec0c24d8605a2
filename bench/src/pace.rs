//! How fast translations follow each other.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;

use crate::clock::nanoseconds;
use crate::random::Random;

/// Translations of a measurement.
const COUNT: usize = 1 << 20;

/// As many random numbers below `bound` as the processor cannot learn by heart.
pub(crate) fn picks(bound: u64) -> Vec<u64> {
    let mut random = Random::new(11);
    (0..1 << 17).map(|_| random.below(bound)).collect()
}

/// Nanoseconds of one of many that do not depend on each other.
pub(crate) fn throughput(addresses: &[u64], mut translate: impl FnMut(u64) -> u64) -> f64 {
    let times = COUNT / addresses.len();
    let time = nanoseconds(|| {
        let mut sum = 0_u64;
        for _ in 0..times {
            for address in addresses {
                sum = sum.wrapping_add(translate(*address));
            }
        }
        black_box(sum);
    });
    time / (times * addresses.len()) as f64
}

/// Nanoseconds of one, when each address comes from the last result.
pub(crate) fn latency(first: u64, mut translate: impl FnMut(u64) -> u64) -> f64 {
    let time = nanoseconds(|| {
        let last = (0..COUNT).fold(first, |address, _| translate(address));
        assert_ne!(last, 0, "each page leads to the next");
    });
    time / COUNT as f64
}

/// What a thread measures while another one does the same, on average. `measure` is told which of the two it is.
pub(crate) fn of_two(measure: impl Fn(usize) -> f64 + Sync) -> f64 {
    let start = Barrier::new(2);
    let one = |thread| {
        start.wait();
        measure(thread)
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| one(1));
        let mine = one(0);
        let other = other.join();
        other.map_or(f64::NAN, |other| f64::midpoint(mine, other))
    })
}

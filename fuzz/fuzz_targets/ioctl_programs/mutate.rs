//! Changing programs step by step. Changes to single bytes stay within their step, so that the others keep their meaning.

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzzer_mutate};

use crate::program::{HEADER_BYTES, STEP_BYTES};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(data, size, max_size, seed)
});

fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    cross(one, other, out, seed)
});

/// Numbers that follow from a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

fn steps(size: usize) -> usize {
    size.saturating_sub(HEADER_BYTES) / STEP_BYTES
}

/// Where a step starts.
fn at(step: usize) -> usize {
    HEADER_BYTES + step * STEP_BYTES
}

fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut numbers = Numbers(seed.into());
    let count = steps(size);
    // Whole steps only.
    let size = if count == 0 { 0 } else { at(count) };
    let room = at(count + 1) <= max_size;
    match numbers.below(8) {
        _ if count == 0 => {
            data[..max_size].fill(0);
            fuzzer_mutate(data, 0, max_size.min(at(1)));
            at(1).min(max_size)
        }
        0 if count > 1 => {
            let gone = numbers.below(count);
            data.copy_within(at(gone + 1)..size, at(gone));
            at(count - 1)
        }
        1 if room => {
            // A new step, from nothing.
            let place = numbers.below(count + 1);
            data.copy_within(at(place)..size, at(place + 1));
            let new = &mut data[at(place)..at(place + 1)];
            new.fill_with(|| u8::try_from(numbers.below(256)).unwrap_or(0));
            at(count + 1)
        }
        2 if room => {
            // A step once more, elsewhere.
            let (from, place) = (numbers.below(count), numbers.below(count + 1));
            let mut step = [0; STEP_BYTES];
            step.copy_from_slice(&data[at(from)..at(from + 1)]);
            data.copy_within(at(place)..size, at(place + 1));
            data[at(place)..at(place + 1)].copy_from_slice(&step);
            at(count + 1)
        }
        3 => {
            let (one, other) = (at(numbers.below(count)), at(numbers.below(count)));
            for n in 0..STEP_BYTES {
                data.swap(one + n, other + n);
            }
            size
        }
        4 => {
            fuzzer_mutate(data, HEADER_BYTES, HEADER_BYTES);
            size
        }
        _ => {
            let step = at(numbers.below(count));
            // A step has its bytes that count in front.
            let bytes = 4 + numbers.below(STEP_BYTES - 3);
            fuzzer_mutate(&mut data[step..step + STEP_BYTES], bytes, bytes);
            size
        }
    }
}

/// The start of one program and the end of another.
fn cross(one: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    let mut numbers = Numbers(seed.into());
    let head = at(numbers.below(steps(one.len()) + 1))
        .min(one.len())
        .min(out.len());
    out[..head].copy_from_slice(&one[..head]);
    let tail = at(numbers.below(steps(other.len()) + 1)).min(other.len());
    let tail = &other[tail..];
    let len = tail.len().min(out.len() - head);
    out[head..head + len].copy_from_slice(&tail[..len]);
    head + len
}

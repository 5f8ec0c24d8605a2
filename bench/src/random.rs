//! Numbers that look random.

/// `0..count` in random order.
pub(crate) fn shuffled(count: u64, seed: u64) -> Vec<u64> {
    let mut random = Random(seed);
    let mut order: Vec<u64> = (0..count).collect();
    for place in (1..order.len()).rev() {
        order.swap(place, random.below(place as u64 + 1) as usize);
    }
    order
}

/// Where each of `0..count` leads: all are one cycle, in random order.
pub(crate) fn cycle(count: u64) -> Vec<u64> {
    let order = shuffled(count, 7);
    let mut next = vec![0; order.len()];
    for (place, number) in order.iter().enumerate() {
        next[*number as usize] = order[(place + 1) % order.len()];
    }
    next
}

/// Xorshift: the same numbers in every run.
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of a seed, which is not 0.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) % bound
    }
}

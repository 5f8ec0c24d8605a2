//! The descriptor that was used last.

use std::sync::atomic::{AtomicU64, Ordering};

use super::spec::{Context, TopBytes};

/// What a hit in the TLB takes of the descriptor that the requests of a substream used last, and how many descriptors had been
/// invalidated before. While there have been no more, it is the one.
#[derive(Debug, Default)]
pub(super) struct Recent(AtomicU64);

/// The ASID in bits 15:0, TBI0 and TBI1, and the number of invalidations, which is never 0.
const TOP_BYTES: [u64; 2] = [1 << 16, 1 << 17];
const INVALIDATIONS_SHIFT: u32 = 18;

impl Recent {
    /// Notes a descriptor that was read after so many invalidations.
    pub(super) fn set(&self, invalidations: u64, context: &Context) {
        let mut word = u64::from(context.asid) | invalidations << INVALIDATIONS_SHIFT;
        for (is_ignored, bit) in context.top_bytes.0.into_iter().zip(TOP_BYTES) {
            word |= if is_ignored { bit } else { 0 };
        }
        self.0.store(word, Ordering::Relaxed);
    }

    /// The ASID, and which top bytes are ignored, unless there have been more invalidations.
    #[inline]
    pub(super) fn get(&self, invalidations: u64) -> Option<(u16, TopBytes)> {
        let word = self.0.load(Ordering::Relaxed);
        if word >> INVALIDATIONS_SHIFT != invalidations {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the lowest 16 bits")]
        let asid = word as u16;
        Some((asid, TopBytes(TOP_BYTES.map(|bit| word & bit != 0))))
    }
}

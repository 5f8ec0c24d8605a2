//! What a call answers.

use swiommu_abi::Errno;

/// The error of a call, if it failed, and all numbers that it gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reply {
    pub(crate) error: Option<Errno>,
    pub(crate) values: Vec<u64>,
}

/// What most calls answer: numbers or an error.
pub(crate) type Answer = Result<Vec<u64>, Errno>;

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self {
            error: answer.as_ref().err().copied(),
            values: answer.unwrap_or_default(),
        }
    }
}

/// Bytes as numbers.
pub(crate) fn words(bytes: &[u8]) -> Vec<u64> {
    let word = |chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    };
    bytes.chunks(8).map(word).collect()
}

/// A bitmap up to its last bit that is set.
pub(crate) fn bits(bitmap: &[u8]) -> Vec<u64> {
    let end = bitmap
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    words(&bitmap[..end])
}

//! The rule of extensible structs.

use arbitrary::Arbitrary;
use swiommu_abi::{Errno, Fault, copy_struct};

/// The longest struct that a caller claims to have: a longer one costs more, and tells nothing new.
const LONGEST: u32 = 1 << 17;

#[derive(Arbitrary, Debug)]
pub struct Input {
    claimed: u32,
    min: u8,
    known: u8,
    /// The first byte that cannot be read.
    readable: u32,
    /// What the caller has; zeros follow.
    bytes: Vec<u8>,
}

pub fn check(input: &Input) {
    let claimed = input.claimed % LONGEST;
    let readable = (input.readable % LONGEST) as usize;
    let (min, known) = (usize::from(input.min % 80), usize::from(input.known % 80));
    let min = min.min(known);
    let byte = |at: usize| input.bytes.get(at).copied().unwrap_or(0);
    let read = |offset: u64, into: &mut [u8]| {
        let offset = usize::try_from(offset).map_err(|_| Fault)?;
        if offset + into.len() > readable {
            return Err(Fault);
        }
        for (n, to) in into.iter_mut().enumerate() {
            *to = byte(offset + n);
        }
        Ok(())
    };
    let mut out = vec![0xee; known];
    let result = copy_struct(claimed, min, &mut out, read);

    let claimed = claimed as usize;
    let bad = |at: usize| {
        if at >= readable {
            Some(Errno::EFAULT)
        } else {
            (byte(at) != 0).then_some(Errno::E2BIG)
        }
    };
    let head = claimed.min(known);
    let expected = if claimed < min {
        Err(Errno::EINVAL)
    } else if let Some(errno) = (known..claimed).find_map(bad) {
        Err(errno)
    } else if head > readable {
        Err(Errno::EFAULT)
    } else {
        Ok(())
    };
    assert_eq!(result, expected);
    if result.is_ok() {
        let expected: Vec<u8> = (0..known)
            .map(|at| if at < claimed { byte(at) } else { 0 })
            .collect();
        assert_eq!(out, expected);
    }
}

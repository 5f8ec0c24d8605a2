//! How a struct that may grow crosses from the caller's memory.

use crate::Errno;

/// The caller's memory could not be read in full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the caller's memory cannot be read")]
pub struct Fault;

impl From<Fault> for Errno {
    fn from(Fault: Fault) -> Self {
        Self::EFAULT
    }
}

/// Bytes of a tail looked at in one read.
const CHUNK: usize = 16 << 10;

/// What they must be.
static ZERO: [u8; CHUNK] = [0; CHUNK];

/// Reads the first field of a struct at `read`'s offset 0: its size in bytes, by the caller's word.
///
/// # Errors
/// `EFAULT`.
pub fn read_size(mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Fault>) -> Result<u32, Errno> {
    let mut size = [0; 4];
    read(0, &mut size)?;
    Ok(u32::from_ne_bytes(size))
}

/// Fills `out`, the struct as we know it, from a caller's struct of `user_size` bytes, of which fields ending at `min_size` must be
/// present.
///
/// `read` fills its buffer from an offset in the caller's struct. What a shorter caller does not have reads as zero; what a longer
/// caller has beyond `out` must be zero, however much it is, and is read before anything else.
///
/// # Errors
/// In this order: `EINVAL` when `user_size` is less than `min_size`; for the tail, from its start, `E2BIG` at a byte that is
/// not zero and `EFAULT` at one that cannot be read; `EFAULT` for the rest. `out` is then unspecified.
pub fn copy_struct(
    user_size: u32,
    min_size: usize,
    out: &mut [u8],
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Fault>,
) -> Result<(), Errno> {
    let user_size = usize::try_from(user_size).map_err(|_| Errno::E2BIG)?;
    if user_size < min_size {
        return Err(Errno::EINVAL);
    }
    check_zero(out.len(), user_size, &mut read)?;
    let (head, missing) = out.split_at_mut(user_size.min(out.len()));
    read(0, head)?;
    missing.fill(0);
    Ok(())
}

/// Whether the caller's bytes from `start` up to `end` are zero.
fn check_zero(
    start: usize,
    end: usize,
    read: &mut impl FnMut(u64, &mut [u8]) -> Result<(), Fault>,
) -> Result<(), Errno> {
    if start >= end {
        return Ok(());
    }
    let mut buffer = [0; CHUNK];
    let mut at = start;
    let mut most = CHUNK;
    while at < end {
        let chunk = &mut buffer[..most.min(end - at)];
        match read(at as u64, chunk) {
            Ok(()) if *chunk != ZERO[..chunk.len()] => return Err(Errno::E2BIG),
            Ok(()) => {
                at += chunk.len();
                most = CHUNK;
            }
            // A byte that is not zero may stand before the one that cannot be read.
            Err(Fault) if chunk.len() > 1 => most = chunk.len() / 2,
            Err(Fault) => return Err(Errno::EFAULT),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

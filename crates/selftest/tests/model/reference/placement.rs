//! Where a mapping without a fixed IOVA goes (§3.3): the lowest place that fits.

use swiommu_abi::Errno;

use super::ioas::Ioas;
use super::range::{Range, gaps, merged};
use crate::ground::PAGE;

/// Bytes of the largest page that placement aligns to.
const HUGE: u64 = 2 << 20;

/// The place of `len` bytes whose first one comes from `origin`.
pub(crate) fn place(ioas: &Ioas, alignment: u64, origin: u64, len: u64) -> Result<u64, Errno> {
    if len == 0 || len >= u64::MAX / 2 {
        return Err(Errno::EOVERFLOW);
    }
    let mut step = len.next_power_of_two();
    if origin != 0 {
        step = step.min(1 << origin.trailing_zeros());
    }
    let step = step.min(HUGE);
    if step < alignment {
        return Err(Errno::EINVAL);
    }
    let fits = |range: Range| -> Option<u64> {
        let start = range.first.checked_next_multiple_of(step)? | (origin % PAGE);
        (start < range.last && range.last - start >= len - 1).then_some(start)
    };
    let everywhere = Range {
        first: PAGE,
        last: u64::MAX - PAGE,
    };
    let windows = if ioas.allowed.is_empty() {
        vec![everywhere]
    } else {
        merged(&ioas.allowed)
    };
    let mut used: Vec<Range> = ioas.areas.iter().map(|area| area.iovas).collect();
    used.extend(ioas.reserved.iter().map(|reserved| reserved.iovas));
    for window in windows
        .iter()
        .filter_map(|window| window.common(everywhere))
    {
        let Some(first) = fits(window) else { continue };
        let window = Range {
            first,
            last: window.last,
        };
        if let Some(start) = gaps(window, &used).into_iter().find_map(fits) {
            return Ok(start);
        }
    }
    Err(Errno::ENOSPC)
}

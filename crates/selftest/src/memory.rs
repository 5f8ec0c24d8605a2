//! Finding the caller's memory, to compare it with what devices reach.

use swiommu_addr::{Address, Hva, HvaRange, Iova, IovaRange, PaRange};
use swiommu_mem::{Access, AddressSpace, PAGE, Run};

use crate::Error;

/// How many bytes are looked up at once.
const AT_ONCE: u64 = 2 << 20;

/// Hands the memory behind `bytes` to `visit`, piece by piece and in order, up to the first page that cannot be read.
///
/// # Errors
/// The first of `visit`, or `EFAULT`.
pub(crate) fn each_piece(
    space: &dyn AddressSpace,
    bytes: HvaRange,
    mut visit: impl FnMut(Run) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut rest = Some(bytes);
    let mut most = AT_ONCE;
    while let Some(wanted) = rest {
        let part = first_pages(wanted, most);
        match space.resolve(part.align_out(PAGE), Access::Read) {
            Ok(runs) => {
                for piece in clipped(part, &runs) {
                    visit(piece)?;
                }
                rest = part
                    .end()
                    .and_then(|next| HvaRange::new(next, bytes.last()));
                most = AT_ONCE;
            }
            // What comes before the page that cannot be read may differ already.
            Err(_) if most > PAGE.bytes() => most /= 2,
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(())
}

/// As much of a range as lies in the first whole pages of `most` bytes.
fn first_pages(range: HvaRange, most: u64) -> HvaRange {
    let last = range.start().align_down(PAGE).checked_add(most - 1);
    last.and_then(|last| HvaRange::new(range.start(), last.min(range.last())))
        .unwrap_or(range)
}

/// The memory of exactly `part`, from that of its whole pages.
fn clipped(part: HvaRange, runs: &[Run]) -> impl Iterator<Item = Run> {
    let mut at = part.align_out(PAGE).start();
    runs.iter().filter_map(move |run| {
        let whole = HvaRange::new(at, at.wrapping_add(run.memory.len_minus_one()))?;
        at = whole.end().unwrap_or(at);
        let wanted = whole.intersection(part)?;
        let skipped = wanted.start().offset_from(whole.start())?;
        let start = run.memory.start().wrapping_add(skipped);
        let memory = PaRange::new(start, start.wrapping_add(wanted.len_minus_one()))?;
        Some(Run {
            memory,
            page: run.page,
        })
    })
}

/// The memory to compare in units of `unit`, all aligned; `None` for none.
///
/// # Errors
/// `EINVAL`.
pub(crate) fn compared(
    start: Hva,
    len: u64,
    unit: swiommu_addr::PageSize,
) -> Result<Option<HvaRange>, Error> {
    let aligned = start.is_aligned(unit) && unit.divides(len);
    if !aligned || start.checked_add(len).is_none() {
        return Err(Error::Misaligned { start, len, unit });
    }
    Ok(HvaRange::from_len(start, len))
}

/// The range from `start` of `len` bytes.
///
/// # Errors
/// `EINVAL` for none, `EOVERFLOW` past the end.
pub(crate) fn iova_range(start: Iova, len: u64) -> Result<IovaRange, Error> {
    if len == 0 {
        return Err(Error::ZeroLength);
    }
    IovaRange::from_len(start, len).ok_or(Error::Overflow {
        start: start.get(),
        len,
    })
}

//! Where an area goes whose IOVA the client leaves open: the request, and the rule for one gap.

use swiommu_addr::{Hva, PageSize};

use crate::{PAGE, steps};

/// Where the memory of an area begins in its source. Only its alignment matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin(u64);

impl Origin {
    /// Memory of a process (`IOMMU_IOAS_MAP`).
    pub fn address(address: Hva) -> Self {
        Self(address.get())
    }

    /// Memory of a file or dma-buf, from this byte on (`IOMMU_IOAS_MAP_FILE`).
    pub fn offset(offset: u64) -> Self {
        Self(offset)
    }
}

/// What an automatic placement must satisfy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Where the memory begins. The IOVA takes over its alignment, up to the length and [`huge_page`](Self::huge_page),
    /// so that large leaves become possible.
    pub origin: Origin,
    /// The length in bytes.
    pub length: u64,
    /// The alignment of the I/O address space.
    pub alignment: PageSize,
    /// The greatest alignment worth having: the host's PMD huge page, or its page if it has none.
    pub huge_page: PageSize,
}

/// Why an automatic placement failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlaceError {
    /// The length is 0 or at least 2^63-1 (`EOVERFLOW`).
    #[error("no area has a length of 0, or of 2^63-1 or more")]
    Overflow,
    /// The memory, or the length, is less aligned than the I/O address space demands (`EINVAL`).
    #[error(
        "memory aligned to {aligned} cannot go into an I/O address space with alignment {alignment}"
    )]
    Misaligned {
        /// The alignment of the memory, no greater than the length rounded up to a power of two.
        aligned: PageSize,
        /// The alignment of the I/O address space.
        alignment: PageSize,
    },
    /// No gap is large enough (`ENOSPC`).
    #[error("no allowed gap is large enough")]
    NoSpace,
}

impl Request {
    /// What the request asks of a gap.
    pub(crate) fn fit(&self) -> Result<Fit, PlaceError> {
        if self.length == 0 || self.length >= u64::MAX / 2 {
            return Err(PlaceError::Overflow);
        }
        let Origin(origin) = self.origin;
        let rounded = self.length.next_power_of_two();
        let wanted = if origin == 0 {
            rounded
        } else {
            rounded.min(1 << origin.trailing_zeros())
        };
        let aligned = PageSize::from_log2(log2(wanted)).min(self.huge_page);
        if aligned < self.alignment {
            let alignment = self.alignment;
            return Err(PlaceError::Misaligned { aligned, alignment });
        }
        Ok(Fit {
            alignment: aligned,
            offset: origin & PAGE.mask(),
            need: (self.length - 1).max(1),
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "ilog2 of a u64 is at most 63"
)]
fn log2(power: u64) -> u8 {
    power.ilog2() as u8
}

/// What a request asks of a gap: it starts at the gap's start, rounded up to the alignment, with the bits of the page offset
/// set; and it ends in the gap.
///
/// The OR is Linux's: where the rounded start has bits of its own below the page size, the result has another page offset
/// than the memory. The page offset is a multiple of the alignment, so rounding a start again changes nothing.
pub(crate) struct Fit {
    pub(crate) alignment: PageSize,
    /// Less than a page, and a multiple of the alignment.
    pub(crate) offset: u64,
    /// How far the last address of the gap must at least lie above the start. Not less than 1: a gap never fits whose last
    /// address is the start.
    pub(crate) need: u64,
}

impl Fit {
    /// One byte, anywhere.
    pub(crate) const ANY: Self = Self {
        alignment: PageSize::BYTE,
        offset: 0,
        need: 0,
    };

    /// Where the request starts in a gap that starts at `start`.
    #[inline]
    pub(crate) fn start(&self, start: u64) -> Option<u64> {
        let mask = self.alignment.mask();
        Some((start.checked_add(mask)? & !mask) | self.offset)
    }

    /// Where the request starts in the gap `start..=last`, if it fits.
    #[inline]
    pub(crate) fn start_in(&self, start: u64, last: u64) -> Option<u64> {
        let start = self.start(start)?;
        (last.checked_sub(start)? >= self.need).then_some(start)
    }

    /// The gap `start..=last`, if the request fits.
    #[inline]
    pub(crate) fn found(&self, start: u64, last: u64) -> Option<(u64, u64)> {
        steps::add(1);
        self.start_in(start, last).map(|_| (start, last))
    }
}

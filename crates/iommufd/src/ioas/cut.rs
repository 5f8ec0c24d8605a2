//! Cutting areas in two, which only the VFIO type1 v1 interface does (§8).

use swiommu_addr::{Address, Iova, IovaRange, PageSize};
use swiommu_injection::{Step, step};

use super::Ioas;
use super::area::{Area, AreaState, Areas};
use crate::Error;

impl Ioas {
    /// Makes areas end where a range of `len` bytes from `start` does, and begin where it does, so that it covers whole areas.
    /// A range that is none cuts nothing: unmapping it says why.
    ///
    /// Leaves need no change: without large pages no leaf crosses a page.
    ///
    /// # Errors
    /// `EBUSY` and `EINVAL`, with what was cut before staying cut.
    pub(crate) fn cut(&self, start: Iova, len: u64) -> Result<(), Error> {
        let Some(range) = IovaRange::from_len(start, len) else {
            return Ok(());
        };
        let topology = self.topology.read();
        let large_pages = !topology.page_tables.is_empty() && topology.has_large_pages();
        let mut areas = self.areas.write();
        let ends = [
            range.end(),
            (range.start() > Iova::new(0)).then(|| range.start()),
        ];
        for at in ends.into_iter().flatten() {
            cut_at(&mut areas, at, topology.alignment, large_pages)?;
        }
        Ok(())
    }
}

/// Cuts the area that contains both `at` and the IOVA before it, if there is one.
fn cut_at(
    areas: &mut Areas,
    at: Iova,
    alignment: PageSize,
    large_pages: bool,
) -> Result<(), Error> {
    let Some((range, area)) = areas.get(at).filter(|(range, _)| range.start() < at) else {
        return Ok(());
    };
    if area.is_busy() {
        return Err(Error::AreaBusy(range));
    }
    if area.backing.pages().is_err() {
        return Err(Error::CutDmaBuf(range));
    }
    let skipped = at.offset_from(range.start()).unwrap_or(0);
    let second = area.start.wrapping_add(skipped);
    let boundary = at.get() | area.backing.page_offset().wrapping_add(second.get());
    if !alignment.divides(boundary) {
        let value = at.get();
        return Err(Error::Misaligned {
            what: "the cut at",
            value,
            alignment,
        });
    }
    if area.pins > 0 || area.locks > 0 || area.state == AreaState::Closing {
        return Err(Error::AreaPinned(range));
    }
    if large_pages {
        return Err(Error::CutWithLargePages(at));
    }
    step(Step::Area)?;
    areas.split(at, |area| Area {
        start: second,
        ..area.clone()
    });
    Ok(())
}

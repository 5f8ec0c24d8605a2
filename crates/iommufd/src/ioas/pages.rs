//! Software access to the memory of areas: pin, unpin, copy (§5.3, §5.5).

use swiommu_addr::{IovaRange, PageSize};
use swiommu_injection::{Step, step};
use swiommu_mem::{Access, CopyBy};
use swiommu_sabotage::Fault;

use super::Ioas;
use super::area::{Area, AreaState, Areas};
use crate::Error;
use crate::access::{Hold, Piece};

/// The part of one area that a call touches.
struct Touched<'a> {
    area: IovaRange,
    part: IovaRange,
    content: &'a Area,
}

/// Walks the areas that cover a range without a gap, in order.
///
/// # Errors
/// `ENOENT` at the first gap, after what comes before it was handed to `visit`.
fn each_part(
    areas: &Areas,
    range: IovaRange,
    mut visit: impl FnMut(Touched<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut rest = Some(range);
    for (area, content) in areas.overlapping(range) {
        let Some(wanted) = rest else { break };
        if !area.contains(wanted.start()) || content.state == AreaState::Making {
            break;
        }
        if content.state != AreaState::Complete {
            return Err(Error::AreaClosing(area));
        }
        let part = wanted.intersection(area).unwrap_or(wanted);
        visit(Touched {
            area,
            part,
            content,
        })?;
        rest = part
            .end()
            .and_then(|next| IovaRange::new(next, range.last()));
    }
    match rest {
        None => Ok(()),
        Some(rest) => Err(Error::NotMapped(rest.start())),
    }
}

impl Touched<'_> {
    fn check(&self, access: Access) -> Result<(), Error> {
        if !self.content.allows(access) && !Fault::IgnoreReadOnly.is_on() {
            return Err(Error::AreaDenies(self.area));
        }
        if access == Access::Write && !self.content.backing.is_writable() {
            return Err(Error::MemoryReadOnly(self.area));
        }
        Ok(())
    }

    /// Pins work on whole pages, so pages must begin where the range and the areas do.
    fn check_pages(&self, range: IovaRange) -> Result<(), Error> {
        let page: PageSize = swiommu_mem::PAGE;
        let first = self.content.bytes_of(self.area, self.part).start();
        let offset = self.content.backing.page_offset().wrapping_add(first.get());
        let is_last = self.part.last() == range.last();
        let ends_on_page = self.content.backing.page_offset().wrapping_add(
            self.content
                .bytes_of(self.area, self.part)
                .last()
                .get()
                .wrapping_add(1),
        );
        if !page.divides(offset) || (!is_last && !page.divides(ends_on_page)) {
            return Err(Error::PartialPage(self.area));
        }
        Ok(())
    }
}

impl Ioas {
    /// Pins the memory behind a range. All of it or, on an error, nothing.
    pub(crate) fn pin(
        &self,
        range: IovaRange,
        access: Access,
        hold: Hold,
    ) -> Result<Vec<Piece>, Error> {
        let mut areas = self.areas.write();
        let mut pieces = Vec::new();
        let pinned = each_part(&areas, range, |touched| {
            touched.check_pages(range)?;
            touched.check(access)?;
            let bytes = touched.content.bytes_of(touched.area, touched.part);
            let pages = touched.content.backing.pages()?;
            step(Step::AccessPages)?;
            let memory = pages.pin(bytes)?;
            pieces.push(Piece {
                area: touched.area.start(),
                backing: touched.content.backing.clone(),
                bytes,
                memory,
            });
            Ok(())
        });
        for piece in &pieces {
            if let Some((_, area)) = areas.get_mut(piece.area) {
                *area.holds(hold) += 1;
            }
        }
        if let Err(error) = pinned {
            release(&mut areas, &pieces, hold);
            return Err(error);
        }
        Ok(pieces)
    }

    /// Undoes [`pin`](Self::pin).
    pub(crate) fn unpin(&self, pieces: &[Piece], hold: Hold) {
        release(&mut self.areas.write(), pieces, hold);
    }

    /// Copies out of a range.
    pub(crate) fn read(
        &self,
        range: IovaRange,
        into: &mut [u8],
        by: CopyBy<'_>,
    ) -> Result<(), Error> {
        let mut rest = into;
        each_part(&self.areas.read(), range, |touched| {
            touched.check(Access::Read)?;
            let (now, later) = std::mem::take(&mut rest).split_at_mut(touched.len());
            rest = later;
            let from = touched.content.bytes_of(touched.area, touched.part).start();
            Ok(touched.content.backing.pages()?.read(from, now, by)?)
        })
    }

    /// Copies into a range.
    pub(crate) fn write(&self, range: IovaRange, from: &[u8], by: CopyBy<'_>) -> Result<(), Error> {
        let mut rest = from;
        each_part(&self.areas.read(), range, |touched| {
            touched.check(Access::Write)?;
            let (now, later) = rest.split_at(touched.len());
            rest = later;
            let to = touched.content.bytes_of(touched.area, touched.part).start();
            Ok(touched.content.backing.pages()?.write(to, now, by)?)
        })
    }
}

impl Touched<'_> {
    /// The bytes of the part. The caller's buffer is as long as the whole range, so it fits.
    fn len(&self) -> usize {
        usize::try_from(self.part.len_minus_one()).map_or(usize::MAX, |last| last.saturating_add(1))
    }
}

fn release(areas: &mut Areas, pieces: &[Piece], hold: Hold) {
    for piece in pieces {
        piece.backing.unpin(piece.bytes);
        if let Some((_, area)) = areas.get_mut(piece.area) {
            *area.holds(hold) -= 1;
        }
    }
}

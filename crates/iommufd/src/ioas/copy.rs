//! `IOMMU_IOAS_COPY` (§2.7): areas that share the pages of others.

use swiommu_addr::{Address, Iova, IovaRange};
use swiommu_iommu::Prot;
use swiommu_iova::Origin;

use super::map::{Piece, Pieces, Placement};
use super::{Ioas, checked_range};
use crate::Error;

/// The pages behind a range, taken from the areas that cover it.
pub(crate) struct Shared {
    pieces: Pieces,
    /// Where the first byte comes from.
    origin: Origin,
}

impl Ioas {
    /// Takes the pages behind a range that areas cover without a gap.
    pub(crate) fn share(&self, start: Iova, len: u64) -> Result<Shared, Error> {
        let range = checked_range(start, len)?;
        let areas = self.areas.read();
        let mut pieces = Pieces::new();
        let mut next = Some(range.start());
        let mut covered = None;
        for (found, area) in areas.overlapping(range) {
            let part = match next.and_then(|next| IovaRange::new(next, range.last())) {
                Some(rest) if found.contains(rest.start()) && !area.is_busy() => {
                    rest.intersection(found).unwrap_or(rest)
                }
                _ => break,
            };
            let bytes = area.bytes_of(found, part);
            let len = part.len_minus_one().wrapping_add(1);
            pieces.push(Piece {
                backing: area.backing.clone(),
                start: bytes.start(),
                len,
            });
            next = part.end();
            covered = Some(part.last());
        }
        let Some(first) = pieces.first().filter(|_| covered == Some(range.last())) else {
            return Err(Error::NotMapped(next.unwrap_or(range.start())));
        };
        let origin = first.origin();
        Ok(Shared { pieces, origin })
    }

    /// Maps shared pages. Returns where.
    pub(crate) fn map_shared(
        &self,
        shared: Shared,
        len: u64,
        placement: Placement,
        prot: Prot,
    ) -> Result<Iova, Error> {
        self.map_pieces(shared.pieces, shared.origin, len, placement, prot)
    }

    /// The IOVA that {low 32 bits: number of an area, high 32 bits: offset} names; 0 for an area that is not there.
    pub(crate) fn area_by_number(&self, name: Iova) -> Iova {
        let [n0, n1, n2, n3, o0, o1, o2, o3] = name.get().to_le_bytes();
        let number = u32::from_le_bytes([n0, n1, n2, n3]);
        let offset = u64::from(u32::from_le_bytes([o0, o1, o2, o3]));
        let areas = self.areas.read();
        let named = areas.nth(number as usize);
        named.map_or(Iova::new(0), |(range, _)| {
            range.start().wrapping_add(offset)
        })
    }
}

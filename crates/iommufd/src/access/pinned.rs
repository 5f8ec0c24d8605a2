//! Pages that an access holds.

use swiommu_addr::{Iova, IovaRange};
use swiommu_mem::{OffsetRange, Runs};

use super::Hold;
use crate::Error;
use crate::ioas::{Backing, Ioas};
use crate::object::Held;

/// Pinned memory of an IOVA range. Dropping it unpins; until then UNMAP asks for it.
#[derive(Debug)]
pub struct Pinned {
    ioas: Held<Ioas>,
    range: IovaRange,
    pieces: Vec<Piece>,
    hold: Hold,
}

/// The part of a pin that lies in one area.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Where the area starts: it cannot go while it is pinned.
    pub(crate) area: Iova,
    pub(crate) backing: Backing,
    pub(crate) bytes: OffsetRange,
    pub(crate) memory: Runs,
}

impl Pinned {
    pub(crate) fn new(
        ioas: Held<Ioas>,
        range: IovaRange,
        access: swiommu_mem::Access,
        hold: Hold,
    ) -> Result<Self, Error> {
        let pieces = ioas.pin(range, access, hold)?;
        Ok(Self {
            ioas,
            range,
            pieces,
            hold,
        })
    }

    /// The IOVAs that were pinned.
    pub fn range(&self) -> IovaRange {
        self.range
    }

    /// The memory behind them, in order.
    pub fn memory(&self) -> impl Iterator<Item = &swiommu_mem::Run> {
        self.pieces.iter().flat_map(|piece| piece.memory.iter())
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.ioas.unpin(&self.pieces, self.hold);
    }
}

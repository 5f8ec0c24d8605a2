//! Making areas: `IOMMU_IOAS_MAP` and `MAP_FILE` (§2.5, §2.6), and what COPY shares with them.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};
use swiommu_addr::{AddrRange, Address, Hva, HvaRange, Iova, IovaRange};
use swiommu_files::DmaBuf;
use swiommu_injection::{Step, step};
use swiommu_iommu::Prot;
use swiommu_iova::{Origin, Request};
use swiommu_mem::{
    Access, Accounting, AddressSpace, FileOffset, FileRange, MemFile, Offset, Pages,
};
use swiommu_sabotage::Fault;

use super::area::{Area, AreaState, Areas};
use super::backing::Backing;
use super::import::{Import, Writable};
use super::{HUGE_PAGE, Ioas, Topology, checked_range};
use crate::Error;

/// Where a mapping goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Placement {
    /// At this IOVA (`IOMMU_IOAS_MAP_FIXED_IOVA`).
    Fixed(Iova),
    /// At the lowest place that fits (§3.3).
    Automatic,
}

/// What is mapped.
#[derive(Debug)]
pub enum MapSource {
    /// Memory of the mapping process.
    Memory(Hva),
    /// A file, from this offset.
    File(MemFile, FileOffset),
    /// A dma-buf, from this offset.
    DmaBuf(Arc<dyn DmaBuf>, FileOffset),
}

/// A mapping to make.
#[derive(Debug)]
pub struct MapRequest<'a> {
    /// The process in whose name it is made.
    pub owner: &'a Arc<dyn AddressSpace>,
    /// How its pages are charged.
    pub accounting: Accounting,
    /// What is mapped.
    pub source: MapSource,
    /// How many bytes.
    pub len: u64,
    /// Where it goes.
    pub placement: Placement,
    /// What DMA may do: `READ`, `WRITE` or both.
    pub prot: Prot,
}

/// A part of a pages object that becomes an area.
pub(super) struct Piece {
    pub(super) backing: Backing,
    pub(super) start: Offset,
    pub(super) len: u64,
}

impl Piece {
    /// Where its first byte comes from.
    pub(super) fn origin(&self) -> Origin {
        self.backing.origin(self.start)
    }
}

/// The parts that a call maps one behind the other: one, except for COPY.
pub(super) type Pieces = SmallVec<[Piece; 1]>;

/// One area of a call that makes several.
struct Made {
    range: IovaRange,
    area: Area,
}

impl Ioas {
    /// Maps memory. Returns where.
    pub(crate) fn map(&self, request: MapRequest<'_>) -> Result<Iova, Error> {
        let MapRequest {
            owner,
            accounting,
            len,
            prot,
            ..
        } = request;
        let access = if prot.contains(Prot::WRITE) {
            Access::Write
        } else {
            Access::Read
        };
        let backing = match request.source {
            MapSource::Memory(start) => {
                let range = memory_range(start, len)?;
                Backing::of_pages(Pages::from_space(owner, range, access, accounting))
            }
            MapSource::File(file, start) => {
                let range = file_range(start, len)?;
                Backing::of_pages(Pages::from_file(owner, file, range, access, accounting))
            }
            MapSource::DmaBuf(buf, start) => {
                let writable = if access == Access::Write {
                    Writable::Yes
                } else {
                    Writable::No
                };
                Backing::of_dma_buf(Import::new(&buf, file_range(start, len)?, writable)?)
            }
        };
        let piece = Piece {
            backing,
            start: Offset::new(0),
            len,
        };
        let origin = piece.origin();
        self.map_pieces(smallvec![piece], origin, len, request.placement, prot)
    }

    /// Maps pieces one behind the other: takes their IOVAs, fills the page tables, and makes the areas visible. Automatic
    /// placement imitates the alignment of `origin`.
    pub(super) fn map_pieces(
        &self,
        pieces: Pieces,
        origin: Origin,
        len: u64,
        placement: Placement,
        prot: Prot,
    ) -> Result<Iova, Error> {
        let topology = self.topology.read();
        for piece in &pieces {
            if let Some(import) = piece.backing.import() {
                import.used_by(&self.own);
            }
        }
        let made = {
            let mut areas = self.areas.write();
            take_iovas(&topology, &mut areas, pieces, origin, len, placement, prot)?
        };
        for (n, new) in made.iter().enumerate() {
            if let Err(error) = topology.fill(new.range, &new.area) {
                for filled in &made[..n] {
                    topology.empty(filled.range, &filled.area);
                }
                if !Fault::KeepFailedArea.is_on() {
                    forget(&mut self.areas.write(), &made);
                }
                return Err(error);
            }
        }
        let mut areas = self.areas.write();
        for new in &made {
            if let Some((_, area)) = areas.get_mut(new.range.start()) {
                area.state = AreaState::Complete;
            }
        }
        Ok(made
            .first()
            .map_or(Iova::new(0), |first| first.range.start()))
    }
}

/// `user_va + length` must not pass the end, and the length must leave room for rounding to pages.
fn memory_range(start: Hva, len: u64) -> Result<HvaRange, Error> {
    let overflow = Error::Overflow {
        start: start.get(),
        len,
    };
    start.checked_add(len).ok_or(overflow)?;
    if len > u64::MAX - swiommu_mem::PAGE.bytes() {
        return Err(Error::TooLong(len));
    }
    HvaRange::from_len(start, len).ok_or(Error::ZeroLength)
}

fn file_range(start: FileOffset, len: u64) -> Result<FileRange, Error> {
    if len == 0 {
        return Err(Error::ZeroLength);
    }
    let range = AddrRange::from_len(start, len);
    range.ok_or(Error::Overflow {
        start: start.get(),
        len,
    })
}

fn take_iovas(
    topology: &Topology,
    areas: &mut Areas,
    pieces: Pieces,
    origin: Origin,
    len: u64,
    placement: Placement,
    prot: Prot,
) -> Result<SmallVec<[Made; 1]>, Error> {
    let alignment = topology.alignment;
    let aligned = |what, value| {
        let misaligned = Error::Misaligned {
            what,
            value,
            alignment,
        };
        if alignment.divides(value) {
            Ok(())
        } else {
            Err(misaligned)
        }
    };
    aligned("length", len)?;
    let whole = match placement {
        Placement::Automatic => areas.place(&Request {
            origin,
            length: len,
            alignment,
            huge_page: if Fault::WrongAlignment.is_on() {
                alignment
            } else {
                HUGE_PAGE
            },
        })?,
        Placement::Fixed(iova) => {
            aligned("iova", iova.get())?;
            checked_range(iova, len)?
        }
    };
    // A single insertion finds out by itself what is in the way.
    if pieces.len() > 1 {
        areas.check(whole)?;
    }
    let mut made = SmallVec::new();
    let mut at = whole.start();
    for piece in pieces {
        let area = Area::new(piece.backing, piece.start, prot);
        let range = IovaRange::from_len(at, piece.len).unwrap_or(whole);
        if let Err(error) = insert(areas, range, &area, alignment) {
            forget(areas, &made);
            return Err(error);
        }
        made.push(Made { range, area });
        at = at.wrapping_add(piece.len);
    }
    Ok(made)
}

/// Inserts an area in the making. What is in the way counts before what is wrong with the area.
fn insert(
    areas: &mut Areas,
    range: IovaRange,
    area: &Area,
    alignment: swiommu_addr::PageSize,
) -> Result<(), Error> {
    step(Step::Area)?;
    if let Err(error) = check_piece(area, range, alignment) {
        areas.check(range)?;
        return Err(error);
    }
    Ok(areas.insert(range, area.clone())?)
}

fn check_piece(
    area: &Area,
    range: IovaRange,
    alignment: swiommu_addr::PageSize,
) -> Result<(), Error> {
    let writable = area.backing.is_writable() || Fault::WriteReadOnlyMemory.is_on();
    if area.prot.contains(Prot::WRITE) && !writable {
        return Err(Error::MemoryReadOnly(range));
    }
    if !alignment.divides(area.page_offset()) {
        let value = area.page_offset();
        return Err(Error::Misaligned {
            what: "the offset in a page",
            value,
            alignment,
        });
    }
    Ok(())
}

fn forget(areas: &mut Areas, made: &[Made]) {
    for new in made {
        areas.remove(new.range.start());
    }
}

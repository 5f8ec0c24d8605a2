//! The ioctls of VFIO's type1 IOMMU, on the IOAS that was chosen for them (§8).

use swiommu_abi::Errno;

use super::Reference;
use super::map::{FIXED, READABLE, WRITEABLE};
use super::range::Range;
use crate::ground::PAGE;
use crate::reply::{Answer, Reply};

const TYPE1: u64 = 1;
const TYPE1V2: u64 = 3;
const DMA_CC: u64 = 4;
const UNMAP_ALL: u64 = 9;
const READ: u32 = 1;
const WRITE: u32 = 2;
const ALL: u32 = 2;
const MAP_SIZE: u32 = 32;
const UNMAP_SIZE: u32 = 24;

impl Reference {
    /// The IOAS of these ioctls.
    pub(crate) fn compat(&self) -> Option<u32> {
        self.vfio_ioas
    }

    pub(crate) fn check_extension(&self, extension: u64) -> Answer {
        let has = match extension {
            TYPE1 | TYPE1V2 | UNMAP_ALL => true,
            // No page table of the mock enforces coherency.
            DMA_CC => self
                .page_tables(self.vfio_ioas.ok_or(Errno::ENODEV)?)
                .is_empty(),
            _ => false,
        };
        Ok(vec![has.into()])
    }

    pub(crate) fn set_iommu(&mut self, kind: u64) -> Answer {
        if kind != TYPE1 && kind != TYPE1V2 {
            return Err(Errno::EINVAL);
        }
        let ioas = self.vfio_ioas.ok_or(Errno::ENODEV)?;
        if kind == TYPE1 {
            self.forbid_large_pages(ioas)?;
        }
        Ok(vec![])
    }

    pub(crate) fn map_dma(
        &mut self,
        memory: u64,
        len: u64,
        iova: u64,
        flags: u32,
        argsz: u32,
    ) -> Answer {
        if argsz < MAP_SIZE || flags & !(READ | WRITE) != 0 {
            return Err(Errno::EINVAL);
        }
        let ioas = self.vfio_ioas.ok_or(Errno::ENODEV)?;
        let readable = if flags & READ != 0 { READABLE } else { 0 };
        let writable = if flags & WRITE != 0 { WRITEABLE } else { 0 };
        self.map_memory(ioas, memory, len, iova, FIXED | readable | writable)?;
        Ok(vec![])
    }

    /// Answers how much was unmapped, also when that failed half-way.
    pub(crate) fn unmap_dma(&mut self, (start, len): (u64, u64), flags: u32, argsz: u32) -> Reply {
        let nothing = |errno| Reply {
            error: Some(errno),
            values: vec![len],
        };
        if argsz < UNMAP_SIZE || flags & !ALL != 0 {
            return nothing(Errno::EINVAL);
        }
        let Some(ioas) = self.vfio_ioas else {
            return nothing(Errno::ENODEV);
        };
        let range = if flags & ALL != 0 {
            if start != 0 || len != 0 {
                return nothing(Errno::EINVAL);
            }
            Ok(Range::ALL)
        } else {
            Range::new(start, len)
        };
        let small_pages = self.ioas(ioas).is_ok_and(|ioas| !ioas.large_pages);
        if let Ok(range) = range
            && flags & ALL == 0
            && small_pages
            && let Err(errno) = self.cut(ioas, range)
        {
            return nothing(errno);
        }
        let (unmapped, result) = match range {
            Ok(range) => self.unmap_areas(ioas, range),
            Err(errno) => (0, Err(errno)),
        };
        Reply {
            error: result.err(),
            values: vec![unmapped],
        }
    }

    /// Cuts the areas in two that a range begins or ends in.
    fn cut(&mut self, ioas: u32, range: Range) -> Result<(), Errno> {
        if range.last != u64::MAX {
            self.cut_at(ioas, range.last + 1)?;
        }
        if range.first != 0 {
            self.cut_at(ioas, range.first)?;
        }
        Ok(())
    }

    fn cut_at(&mut self, id: u32, at: u64) -> Result<(), Errno> {
        let inside = |area: Range| area.first < at && at <= area.last;
        let alignment = self.alignment(id);
        let ioas = self.ioas(id)?;
        let Some(n) = ioas.areas.iter().position(|area| inside(area.iovas)) else {
            return Ok(());
        };
        let area = ioas.areas[n];
        let memory = area.behind(at);
        if !at.is_multiple_of(alignment) || !(memory % PAGE).is_multiple_of(alignment) {
            return Err(Errno::EINVAL);
        }
        if self.is_pinned(id, area.iovas) || self.is_locked(id, area.iovas) {
            return Err(Errno::EINVAL);
        }
        let areas = &mut self.ioas_mut(id).areas;
        let mut behind = area;
        areas[n].iovas.last = at - 1;
        behind.iovas.first = at;
        behind.memory = memory;
        areas.insert(n + 1, behind);
        Ok(())
    }
}

//! MAP, COPY, UNMAP (§2.5, §2.7, §2.8), and what may become pinned (§3.5, §3.7).

use swiommu_abi::Errno;

use super::Reference;
use super::ioas::Area;
use super::placement::place;
use super::range::Range;
use crate::ground::PAGE;
use crate::reply::Answer;

pub(crate) const FIXED: u32 = 1;
pub(crate) const WRITEABLE: u32 = 2;
pub(crate) const READABLE: u32 = 4;

/// The IOVA is the number of an area, and an offset (§9.11).
pub(crate) const BY_NUMBER: u32 = 1 << 16;

/// What MAP made, and COPY shares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages {
    pub(crate) writable: bool,
}

/// A part of a pages object that becomes an area.
struct Piece {
    memory: u64,
    len: u64,
    pages: usize,
}

fn check_flags(flags: u32) -> Result<(), Errno> {
    if flags & (READABLE | WRITEABLE) == 0 {
        Err(Errno::EINVAL)
    } else {
        Ok(())
    }
}

impl Reference {
    pub(crate) fn map(&mut self, id: u32, memory: u64, len: u64, iova: u64, flags: u32) -> Answer {
        if flags & !(FIXED | WRITEABLE | READABLE) != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if iova == u64::MAX || len == u64::MAX {
            return Err(Errno::EOVERFLOW);
        }
        check_flags(flags)?;
        self.ioas(id)?;
        self.map_memory(id, memory, len, iova, flags)
    }

    /// What MAP has in common with the way of VFIO.
    pub(crate) fn map_memory(
        &mut self,
        id: u32,
        memory: u64,
        len: u64,
        iova: u64,
        flags: u32,
    ) -> Answer {
        memory.checked_add(len).ok_or(Errno::EOVERFLOW)?;
        if len == 0 || len > u64::MAX - PAGE {
            return Err(Errno::EINVAL);
        }
        self.pages.push(Pages {
            writable: flags & WRITEABLE != 0,
        });
        let pages = self.pages.len() - 1;
        self.insert(id, &[Piece { memory, len, pages }], len, iova, flags)
    }

    pub(crate) fn copy(
        &mut self,
        (from, start, len): (u32, u64, u64),
        (to, iova): (u32, u64),
        mut flags: u32,
    ) -> Answer {
        let mut start = start;
        if flags & BY_NUMBER != 0 {
            flags &= !BY_NUMBER;
            start = self.ioas(from).map_or(start, |ioas| ioas.by_number(start));
        }
        if flags & !(FIXED | WRITEABLE | READABLE) != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if [len, start, iova].contains(&u64::MAX) {
            return Err(Errno::EOVERFLOW);
        }
        check_flags(flags)?;
        let source = self.ioas(from)?;
        let parts = source.cover(Range::new(start, len)?).ok_or(Errno::ENOENT)?;
        self.ioas(to)?;
        let pieces: Vec<Piece> = parts
            .iter()
            .map(|(area, part)| Piece {
                memory: area.behind(part.first),
                len: part.len(),
                pages: area.pages,
            })
            .collect();
        self.insert(to, &pieces, len, iova, flags)
    }

    fn insert(&mut self, id: u32, pieces: &[Piece], len: u64, iova: u64, flags: u32) -> Answer {
        let alignment = self.alignment(id);
        let ioas = self.ioas(id)?;
        if !len.is_multiple_of(alignment) {
            return Err(Errno::EINVAL);
        }
        let start = if flags & FIXED == 0 {
            place(ioas, alignment, pieces[0].memory, len)?
        } else {
            if !iova.is_multiple_of(alignment) {
                return Err(Errno::EINVAL);
            }
            let wanted = Range::new(iova, len)?;
            if ioas
                .reserved
                .iter()
                .any(|reserved| reserved.iovas.meets(wanted))
            {
                return Err(Errno::EINVAL);
            }
            if ioas.areas.iter().any(|area| area.iovas.meets(wanted)) {
                return Err(Errno::EEXIST);
            }
            iova
        };
        let mut areas = Vec::new();
        let mut next = start;
        for piece in pieces {
            if flags & WRITEABLE != 0 && !self.pages[piece.pages].writable {
                return Err(Errno::EPERM);
            }
            if !(piece.memory % PAGE).is_multiple_of(alignment) {
                return Err(Errno::EINVAL);
            }
            areas.push(Area {
                iovas: Range {
                    first: next,
                    last: next + (piece.len - 1),
                },
                memory: piece.memory,
                pages: piece.pages,
                readable: flags & READABLE != 0,
                writable: flags & WRITEABLE != 0,
            });
            next = next.wrapping_add(piece.len);
        }
        let page_tables = self.page_tables(id);
        if !page_tables.is_empty() {
            for area in &areas {
                self.check_mappable(area)?;
            }
        }
        let large_pages = self.ioas(id)?.large_pages;
        for hwpt in page_tables {
            for area in &areas {
                self.fill(hwpt, area, large_pages);
            }
        }
        let ioas = self.ioas_mut(id);
        ioas.areas.extend(areas);
        ioas.areas.sort_by_key(|area| area.iovas.first);
        Ok(vec![start])
    }

    /// Whether the memory of an area can be pinned and mapped. VFIO makes areas that allow nothing.
    pub(crate) fn check_mappable(&self, area: &Area) -> Result<(), Errno> {
        self.check_pinnable(area)?;
        if area.readable || area.writable {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// Whether the memory of an area can be pinned.
    fn check_pinnable(&self, area: &Area) -> Result<(), Errno> {
        self.check_pages(
            area.memory,
            area.iovas.len(),
            self.pages[area.pages].writable,
        )
    }

    /// Whether memory is there, and can be written if that is wanted.
    pub(crate) fn check_pages(&self, memory: u64, len: u64, write: bool) -> Result<(), Errno> {
        let there = if write {
            self.ground.holds_writable(memory, len)
        } else {
            self.ground.holds(memory, len)
        };
        if there { Ok(()) } else { Err(Errno::EFAULT) }
    }

    pub(crate) fn unmap(&mut self, id: u32, (start, len): (u64, u64)) -> Answer {
        self.ioas(id)?;
        let everything = start == 0 && len == u64::MAX;
        if !everything && (start == u64::MAX || len == u64::MAX) {
            return Err(Errno::EOVERFLOW);
        }
        let range = if everything {
            Range::ALL
        } else {
            Range::new(start, len)?
        };
        let (unmapped, result) = self.unmap_areas(id, range);
        result?;
        if unmapped == 0 && !everything {
            return Err(Errno::ENOENT);
        }
        Ok(vec![unmapped])
    }

    /// Unmaps areas from the lowest on, until one cannot go. Tells how many bytes went.
    pub(crate) fn unmap_areas(&mut self, id: u32, range: Range) -> (u64, Result<(), Errno>) {
        let mut unmapped = 0;
        let areas = self
            .ioas(id)
            .map(|ioas| ioas.areas.clone())
            .unwrap_or_default();
        for area in areas.iter().filter(|area| area.iovas.meets(range)) {
            if self.is_locked(id, area.iovas) {
                return (unmapped, Err(Errno::EBUSY));
            }
            if !range.holds_all(area.iovas) {
                return (unmapped, Err(Errno::ENOENT));
            }
            self.drop_pins(id, area.iovas);
            for hwpt in self.page_tables(id) {
                self.empty(hwpt, area.iovas);
            }
            self.ioas_mut(id)
                .areas
                .retain(|other| other.iovas != area.iovas);
            unmapped += area.iovas.len();
        }
        (unmapped, Ok(()))
    }
}

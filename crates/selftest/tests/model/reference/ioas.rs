//! An IOAS: areas, and the IOVAs that are reserved or allowed (§2.3, §2.4, §3.1 to §3.4).

use swiommu_abi::Errno;

use super::Reference;
use super::objects::Object;
use super::range::{Range, gaps};
use crate::ground::PAGE;
use crate::reply::{Answer, Reply};

#[derive(Clone, Debug)]
pub(crate) struct Ioas {
    /// In the order of their IOVAs.
    pub(crate) areas: Vec<Area>,
    pub(crate) reserved: Vec<Reserved>,
    pub(crate) allowed: Vec<Range>,
    pub(crate) large_pages: bool,
}

/// Memory at IOVAs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub(crate) iovas: Range,
    /// The address of its first byte.
    pub(crate) memory: u64,
    /// The pages object, which copies share.
    pub(crate) pages: usize,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserved {
    pub(crate) iovas: Range,
    /// The page table that cannot translate it; none for what a test reserves.
    pub(crate) hwpt: Option<u32>,
}

impl Area {
    pub(crate) fn is_aligned(&self, alignment: u64) -> bool {
        let aligned = |value: u64| value.is_multiple_of(alignment);
        aligned(self.iovas.first) && aligned(self.iovas.len()) && aligned(self.memory % PAGE)
    }

    /// The address of what is behind an IOVA of it.
    pub(crate) fn behind(&self, iova: u64) -> u64 {
        self.memory.wrapping_add(iova - self.iovas.first)
    }
}

impl Ioas {
    /// The ranges that nobody has reserved.
    pub(crate) fn usable(&self) -> Vec<Range> {
        let reserved: Vec<Range> = self.reserved.iter().map(|r| r.iovas).collect();
        gaps(Range::ALL, &reserved)
    }

    /// Reserves a range, if neither an area nor an allowed range is in the way.
    pub(crate) fn reserve(&mut self, iovas: Range, hwpt: Option<u32>) -> Result<(), Errno> {
        let mapped = self.areas.iter().any(|area| area.iovas.meets(iovas));
        if mapped || self.allowed.iter().any(|allowed| allowed.meets(iovas)) {
            return Err(Errno::EADDRINUSE);
        }
        self.reserved.push(Reserved { iovas, hwpt });
        Ok(())
    }

    /// The IOVA that {low half: number of an area, high half: offset} names.
    pub(crate) fn by_number(&self, name: u64) -> u64 {
        let number = usize::try_from(name & u64::from(u32::MAX)).unwrap_or(usize::MAX);
        self.areas
            .get(number)
            .map_or(0, |area| area.iovas.first.wrapping_add(name >> 32))
    }

    /// The areas that cover a range without a gap, each with the part of the range that it covers; or nothing.
    pub(crate) fn cover(&self, range: Range) -> Option<Vec<(Area, Range)>> {
        let (parts, is_whole) = self.cover_start(range);
        is_whole.then_some(parts)
    }

    /// The areas from the start of a range to the first gap, and whether there was none.
    pub(crate) fn cover_start(&self, range: Range) -> (Vec<(Area, Range)>, bool) {
        let mut parts = Vec::new();
        let mut next = range.first;
        loop {
            let Some(area) = self.areas.iter().find(|area| area.iovas.holds(next)) else {
                return (parts, false);
            };
            let last = area.iovas.last.min(range.last);
            parts.push((*area, Range { first: next, last }));
            if last == range.last {
                return (parts, true);
            }
            next = last + 1;
        }
    }
}

impl Reference {
    pub(crate) fn ioas_alloc(&mut self, flags: u32) -> Answer {
        if flags != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let id = self.take_id();
        let ioas = Ioas {
            areas: Vec::new(),
            reserved: Vec::new(),
            allowed: Vec::new(),
            large_pages: true,
        };
        self.settle(id, Ok(Object::Ioas(ioas)))
    }

    /// What IOVA, length and page offset of every area are multiples of.
    pub(crate) fn alignment(&self, ioas: u32) -> u64 {
        let small_pages = self.ioas(ioas).is_ok_and(|ioas| !ioas.large_pages);
        let mut alignment = if small_pages { PAGE } else { 1 };
        for (_, object) in self.objects() {
            let wanted = match object {
                Object::Paging(hwpt) if hwpt.ioas == ioas => hwpt.smallest(),
                Object::Access(access) if self.ioas_of_access(*access) == Some(ioas) => {
                    self.access_alignment(*access)
                }
                _ => 1,
            };
            alignment = alignment.max(wanted);
        }
        alignment
    }

    /// Whether every area has an alignment.
    pub(crate) fn check_areas(&self, ioas: u32, alignment: u64) -> Result<(), Errno> {
        if self
            .ioas(ioas)?
            .areas
            .iter()
            .all(|area| area.is_aligned(alignment))
        {
            Ok(())
        } else {
            Err(Errno::EADDRINUSE)
        }
    }

    /// The page tables of an IOAS.
    pub(crate) fn page_tables(&self, ioas: u32) -> Vec<u32> {
        let of_it = |object: &Object| matches!(object, Object::Paging(hwpt) if hwpt.ioas == ioas);
        self.objects()
            .filter(|(_, object)| of_it(object))
            .map(|(id, _)| id)
            .collect()
    }

    pub(crate) fn iova_ranges(&self, id: u32, room: u32, reserved: u32) -> Reply {
        if reserved != 0 {
            return Err(Errno::EOPNOTSUPP).into();
        }
        let Ok(ioas) = self.ioas(id) else {
            return Err(Errno::ENOENT).into();
        };
        let ranges = ioas.usable();
        let mut values = vec![ranges.len() as u64, self.alignment(id)];
        for range in ranges.iter().take(room as usize) {
            values.extend([range.first, range.last]);
        }
        let error = (ranges.len() > room as usize).then_some(Errno::EMSGSIZE);
        Reply { error, values }
    }

    pub(crate) fn allow_iovas(&mut self, id: u32, ranges: &[(u64, u64)], reserved: u32) -> Answer {
        if reserved != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        self.ioas(id)?;
        let mut allowed: Vec<Range> = Vec::new();
        for &(first, last) in ranges {
            let range = Range { first, last };
            if first >= last || allowed.iter().any(|earlier| earlier.meets(range)) {
                return Err(Errno::EINVAL);
            }
            allowed.push(range);
        }
        let ioas = self.ioas_mut(id);
        let taken = |range: &Range| ioas.reserved.iter().any(|r| r.iovas.meets(*range));
        if allowed.iter().any(taken) {
            return Err(Errno::EADDRINUSE);
        }
        ioas.allowed = allowed;
        Ok(vec![])
    }

    pub(crate) fn add_reserved(&mut self, id: u32, (start, len): (u64, u64)) -> Answer {
        let range = Range::new(start, len)?;
        self.ioas(id)?;
        self.ioas_mut(id).reserve(range, None)?;
        Ok(vec![])
    }
}

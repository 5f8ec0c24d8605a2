//! Software accesses (§5): what they are attached to, pin and copy.

use std::collections::BTreeMap;

use swiommu_abi::Errno;

use super::Reference;
use super::ioas::Area;
use super::map::BY_NUMBER;
use super::objects::Object;
use super::range::Range;
use crate::ground::{Ground, PAGE};
use crate::reply::{Answer, Reply, words};

const NEEDS_PIN: u32 = 1;
const MOST: u64 = 16 << 20;
const WRITE: u32 = 1;
const SLOW_PATH: u32 = 4;

/// Whose an ACCESS is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AccessOf {
    /// That of a descriptor, by the order of their making.
    File(usize),
    /// That of a hardware queue, attached to an IOAS.
    Queue(u32),
}

#[derive(Clone, Debug)]
pub(crate) struct AccessFile {
    pub(crate) id: u32,
    pub(crate) is_open: bool,
    pub(crate) ioas: u32,
    pins: bool,
    pub(crate) items: BTreeMap<u32, Item>,
    next: u32,
}

/// What one call has pinned.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    iovas: Range,
    /// Pages objects, and the addresses of pages of theirs.
    pages: Vec<(usize, u64)>,
}

/// The addresses of the pages that some bytes touch.
fn pages_of(memory: u64, len: u64) -> Vec<u64> {
    let (first, last) = (memory / PAGE, memory.wrapping_add(len - 1) / PAGE);
    (first..=last).map(|page| page * PAGE).collect()
}

impl Reference {
    pub(crate) fn ioas_of_access(&self, access: AccessOf) -> Option<u32> {
        match access {
            AccessOf::File(handle) => self.accesses.get(handle).map(|access| access.ioas),
            AccessOf::Queue(ioas) => Some(ioas),
        }
    }

    pub(crate) fn access_alignment(&self, access: AccessOf) -> u64 {
        match access {
            AccessOf::File(handle) if !self.accesses[handle].pins => 1,
            AccessOf::File(_) | AccessOf::Queue(_) => PAGE,
        }
    }

    pub(crate) fn create_access(&mut self, ioas: u32, flags: u32) -> Answer {
        if flags & !NEEDS_PIN != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        self.ioas(ioas)?;
        let pins = flags & NEEDS_PIN != 0;
        if pins {
            self.check_areas(ioas, PAGE)?;
        }
        let id = self.take_id();
        self.accesses.push(AccessFile {
            id,
            is_open: true,
            ioas,
            pins,
            items: BTreeMap::new(),
            next: 0,
        });
        let handle = self.accesses.len() - 1;
        self.settle(id, Ok(Object::Access(AccessOf::File(handle))))?;
        Ok(vec![])
    }

    pub(crate) fn close_access(&mut self, handle: usize) {
        let access = &mut self.accesses[handle];
        access.is_open = false;
        access.items.clear();
        let id = access.id;
        self.slots.remove(&id);
    }

    pub(crate) fn access_replace(&mut self, handle: usize, ioas: u32) -> Answer {
        self.ioas(ioas)?;
        if self.accesses[handle].ioas == ioas {
            return Ok(vec![]);
        }
        if self.accesses[handle].pins {
            self.check_areas(ioas, PAGE)?;
        }
        self.accesses[handle].items.clear();
        self.accesses[handle].ioas = ioas;
        Ok(vec![])
    }

    /// `memory` is where the caller expects the pages, or 0.
    pub(crate) fn access_pages(
        &mut self,
        handle: Option<usize>,
        (start, len): (u64, u64),
        memory: u64,
        flags: u32,
    ) -> Answer {
        if len > MOST {
            return Err(Errno::ENOMEM);
        }
        if flags & !(WRITE | BY_NUMBER) != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let handle = handle.ok_or(Errno::EBADFD)?;
        let access = self.accesses[handle].clone();
        if !access.pins {
            return Err(Errno::EOPNOTSUPP);
        }
        let start = self.named(handle, start, flags);
        let iovas = Range::new(start, len)?;
        let (parts, is_whole) = self.ioas(access.ioas)?.cover_start(iovas);
        let mut pages = Vec::new();
        for (area, part) in &parts {
            let (first, last) = (area.behind(part.first), area.behind(part.last));
            let ends_inside = part.last != iovas.last && last % PAGE != PAGE - 1;
            if first % PAGE != 0 || ends_inside {
                return Err(Errno::EINVAL);
            }
            self.check_permission(area, flags)?;
            self.check_pages(first, part.len(), self.pages[area.pages].writable)?;
            pages.extend(
                pages_of(first, part.len())
                    .iter()
                    .map(|page| (area.pages, *page)),
            );
        }
        if !is_whole {
            return Err(Errno::ENOENT);
        }
        if memory != 0 {
            let expected = memory.wrapping_sub(start % PAGE) / PAGE * PAGE;
            for (n, (_, page)) in (0..).zip(&pages) {
                let expected = expected.wrapping_add(n * PAGE);
                if !self.ground.holds(expected, PAGE) {
                    return Err(Errno::EFAULT);
                }
                if expected != *page {
                    return Err(Errno::EBADE);
                }
            }
        }
        let access = &mut self.accesses[handle];
        let item = access.next;
        access.next += 1;
        access.items.insert(item, Item { iovas, pages });
        Ok(vec![item.into()])
    }

    /// The IOVA that is meant.
    fn named(&self, handle: usize, iova: u64, flags: u32) -> u64 {
        match self.ioas(self.accesses[handle].ioas) {
            Ok(ioas) if flags & BY_NUMBER != 0 => ioas.by_number(iova),
            _ => iova,
        }
    }

    fn check_permission(&self, area: &Area, flags: u32) -> Result<(), Errno> {
        let write = flags & WRITE != 0;
        let allowed = if write {
            area.writable && self.pages[area.pages].writable
        } else {
            area.readable
        };
        if allowed { Ok(()) } else { Err(Errno::EPERM) }
    }

    pub(crate) fn unpin_pages(&mut self, handle: usize, item: u32) -> Answer {
        match self.accesses[handle].items.remove(&item) {
            Some(_) => Ok(vec![]),
            None => Err(Errno::ENOENT),
        }
    }

    /// Whether an access has pinned something of an area.
    pub(crate) fn is_pinned(&self, ioas: u32, area: Range) -> bool {
        let of_it = self.accesses.iter().filter(|access| access.ioas == ioas);
        of_it
            .flat_map(|access| access.items.values())
            .any(|item| item.iovas.meets(area))
    }

    /// Accesses drop what they have pinned of an area that is unmapped.
    pub(crate) fn drop_pins(&mut self, ioas: u32, area: Range) {
        for access in &mut self.accesses {
            if access.ioas == ioas {
                access.items.retain(|_, item| !item.iovas.meets(area));
            }
        }
    }

    /// Copies between IOVAs and the scratch pages. What is written counts up from `fill`.
    pub(crate) fn access_rw(
        &mut self,
        handle: Option<usize>,
        (start, len): (u64, u64),
        fill: u8,
        flags: u32,
    ) -> Reply {
        let mut read = Vec::new();
        match self.copy_bytes(handle, (start, len), fill, flags, &mut read) {
            Ok(()) => Ok(words(&read)).into(),
            Err(errno) => Err(errno).into(),
        }
    }

    fn copy_bytes(
        &mut self,
        handle: Option<usize>,
        (start, len): (u64, u64),
        fill: u8,
        flags: u32,
        read: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        if len > MOST {
            return Err(Errno::ENOMEM);
        }
        if flags & !(WRITE | SLOW_PATH | BY_NUMBER) != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let handle = handle.ok_or(Errno::EBADFD)?;
        let write = flags & WRITE != 0;
        if write && len > Ground::SCRATCH {
            return Err(Errno::EFAULT);
        }
        let start = self.named(handle, start, flags);
        let range = Range::new(start, len)?;
        let (parts, is_whole) = self.ioas(self.accesses[handle].ioas)?.cover_start(range);
        for (area, part) in &parts {
            self.check_permission(area, flags)?;
            let memory = area.behind(part.first);
            let several_pages = pages_of(memory, part.len()).len() > 1;
            let pins_to_write =
                flags & SLOW_PATH != 0 && several_pages && self.pages[area.pages].writable;
            self.check_pages(memory, part.len(), write || pins_to_write)?;
            for n in 0..part.len() {
                let at = usize::try_from(memory - self.ground.buffer + n).unwrap_or(0);
                if write {
                    let skipped = part.first - start + n;
                    self.content[at] = fill.wrapping_add(skipped.to_le_bytes()[0]);
                } else {
                    read.push(self.content[at]);
                }
            }
            if write {
                self.written.push((memory, part.len()));
            }
        }
        if !is_whole {
            return Err(Errno::ENOENT);
        }
        if len > Ground::SCRATCH {
            return Err(Errno::EFAULT);
        }
        Ok(())
    }

    /// How many pages objects have pinned a page of the buffer: for a page table, or for an access.
    pub(crate) fn pin_count(&self, page: u64) -> u32 {
        let mut objects = std::collections::BTreeSet::new();
        for (id, object) in self.objects() {
            if let Object::Ioas(ioas) = object
                && !self.page_tables(id).is_empty()
            {
                let covers = |area: &&Area| pages_of(area.memory, area.iovas.len()).contains(&page);
                objects.extend(ioas.areas.iter().filter(covers).map(|area| area.pages));
            }
        }
        for item in self
            .accesses
            .iter()
            .flat_map(|access| access.items.values())
        {
            objects.extend(
                item.pages
                    .iter()
                    .filter(|(_, at)| *at == page)
                    .map(|(of, _)| *of),
            );
        }
        u32::try_from(objects.len()).unwrap_or(u32::MAX)
    }
}

//! Page tables: `HWPT_ALLOC` (§2.11, §9.3, §9.5), and what a page table holds (§3.6, §9.4).

use std::collections::BTreeMap;

use swiommu_abi::Errno;

use super::Reference;
use super::ioas::Area;
use super::objects::Object;
use super::range::Range;
use crate::ground::PAGE;
use crate::reply::Answer;
use crate::step::{Data, Memory};

pub(crate) const NEST_PARENT: u32 = 1;
pub(crate) const DIRTY_TRACKING: u32 = 2;
pub(crate) const FAULT_ID_VALID: u32 = 4;
pub(crate) const PASID: u32 = 8;

/// The type of the mock's data for a page table.
pub(crate) const MOCK_DATA: u32 = 0xdead;

const MOCK_PAGE: u64 = 2048;
const MOCK_HUGE_PAGE: u64 = 512 * MOCK_PAGE;
const LARGEST_LEAF: u64 = 64 << 30;

#[derive(Clone, Debug)]
pub(crate) struct Paging {
    pub(crate) ioas: u32,
    pub(crate) automatic: bool,
    pub(crate) flags: u32,
    pub(crate) fault: Option<u32>,
    /// Whether it has the page sizes of the mock's huge page table.
    pub(crate) huge: bool,
    pub(crate) tracking: bool,
    pub(crate) leaves: BTreeMap<u64, Leaf>,
    /// When it was made.
    pub(crate) born: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf {
    pub(crate) size: u64,
    /// The address of what it leads to.
    pub(crate) memory: u64,
    pub(crate) dirty: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Nested {
    pub(crate) on: Parent,
    pub(crate) flags: u32,
    pub(crate) fault: Option<u32>,
    pub(crate) iotlb: [u32; 4],
}

/// What a nested page table was made on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Parent {
    Paging(u32),
    Viommu(u32),
}

impl Paging {
    pub(crate) fn new(ioas: u32, automatic: bool, flags: u32, huge: bool, born: u64) -> Self {
        Self {
            ioas,
            automatic,
            flags,
            fault: None,
            huge,
            tracking: false,
            leaves: BTreeMap::new(),
            born,
        }
    }

    pub(crate) fn is_nesting_parent(&self) -> bool {
        !self.automatic && self.flags & NEST_PARENT != 0
    }

    pub(crate) fn tracks_dirty(&self) -> bool {
        self.flags & DIRTY_TRACKING != 0
    }

    pub(crate) fn smallest(&self) -> u64 {
        if self.huge { PAGE } else { MOCK_PAGE }
    }

    /// The leaf at an IOVA, with where it starts.
    pub(crate) fn leaf(&self, iova: u64) -> Option<(u64, Leaf)> {
        let (start, leaf) = self.leaves.range(..=iova).next_back()?;
        (iova - start < leaf.size).then_some((*start, *leaf))
    }

    /// What it cannot translate.
    fn beyond(&self) -> Vec<Range> {
        if self.huge {
            return vec![Range {
                first: 1 << 38,
                last: u64::MAX,
            }];
        }
        let below = Range {
            first: 0,
            last: 0x00ff_ffff,
        };
        let above = Range {
            first: 0x8000_0000,
            last: u64::MAX,
        };
        vec![below, above]
    }

    fn sizes(&self) -> Vec<u64> {
        if self.huge {
            return vec![PAGE, MOCK_HUGE_PAGE];
        }
        let mut sizes = vec![MOCK_PAGE];
        while sizes[sizes.len() - 1] < LARGEST_LEAF {
            sizes.push(sizes[sizes.len() - 1] * 2);
        }
        sizes
    }
}

impl Reference {
    pub(crate) fn hwpt_alloc(
        &mut self,
        (device, on): (u32, u32),
        (flags, fault): (u32, u32),
        data: Data,
        reserved: u32,
    ) -> Answer {
        if reserved != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if (data.kind == 0) != (data.len == 0) {
            return Err(Errno::EINVAL);
        }
        self.device(device)?;
        let on_what = self.object(on).map_err(|_| Errno::EINVAL)?.clone();
        let id = self.take_id();
        let made = match on_what {
            Object::Ioas(_) => self.paging_on(id, device, on, flags, data),
            Object::Paging(_) => self.nested_on(Parent::Paging(on), flags, data),
            Object::Viommu(_) => self.nested_on(Parent::Viommu(on), flags, data),
            _ => Err(Errno::EINVAL),
        };
        self.settle(id, made)?;
        if flags & FAULT_ID_VALID != 0 {
            if self.fault(fault).is_err() {
                self.destroy(id)?;
                return Err(Errno::ENOENT);
            }
            if self.paging(id).is_ok() {
                self.paging_mut(id).fault = Some(fault);
            } else {
                self.nested_mut(id).fault = Some(fault);
            }
        }
        Ok(vec![id.into()])
    }

    fn paging_on(
        &mut self,
        id: u32,
        device: u32,
        ioas: u32,
        flags: u32,
        data: Data,
    ) -> Result<Object, Errno> {
        if flags & !(NEST_PARENT | DIRTY_TRACKING | FAULT_ID_VALID | PASID) != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if flags & DIRTY_TRACKING != 0 && self.device(device)?.no_dirty {
            return Err(Errno::EOPNOTSUPP);
        }
        if flags & FAULT_ID_VALID != 0 && flags & NEST_PARENT != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut huge = false;
        if data.len != 0 {
            let [_, format] = mock_data(data)?;
            if format > 1 {
                return Err(Errno::EOPNOTSUPP);
            }
            huge = format == 1;
        }
        self.clock += 1;
        let mut hwpt = Paging::new(ioas, false, flags, huge, self.clock);
        self.link(id, &mut hwpt)?;
        Ok(Object::Paging(hwpt))
    }

    fn nested_on(&mut self, on: Parent, flags: u32, data: Data) -> Result<Object, Errno> {
        if flags & !(FAULT_ID_VALID | PASID) != 0 || data.len == 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if let Parent::Paging(parent) = on
            && !self.paging(parent)?.is_nesting_parent()
        {
            return Err(Errno::EINVAL);
        }
        let [iotlb, _] = mock_data(data)?;
        Ok(Object::Nested(Nested {
            on,
            flags,
            fault: None,
            iotlb: [iotlb; 4],
        }))
    }

    /// Links a page table to its IOAS and fills it with all areas; or changes nothing.
    pub(crate) fn link(&mut self, id: u32, hwpt: &mut Paging) -> Result<(), Errno> {
        let before = self.ioas(hwpt.ioas)?.clone();
        self.check_areas(hwpt.ioas, hwpt.smallest())?;
        let mut after = before.clone();
        for beyond in hwpt.beyond() {
            after.reserve(beyond, Some(id))?;
        }
        for area in &before.areas {
            self.check_mappable(area)?;
            self.add_leaves(hwpt, area, before.large_pages);
        }
        *self.ioas_mut(hwpt.ioas) = after;
        Ok(())
    }

    /// Gives up what the IOAS had reserved for a page table that is gone.
    pub(crate) fn unlink(&mut self, hwpt: u32, ioas: u32) {
        self.ioas_mut(ioas)
            .reserved
            .retain(|reserved| reserved.hwpt != Some(hwpt));
    }

    /// Enters an area into a page table.
    pub(crate) fn fill(&mut self, hwpt: u32, area: &Area, large_pages: bool) {
        let mut filled = self.paging_mut(hwpt).clone();
        self.add_leaves(&mut filled, area, large_pages);
        *self.paging_mut(hwpt) = filled;
    }

    /// Takes the IOVAs of an area out of a page table.
    pub(crate) fn empty(&mut self, hwpt: u32, iovas: Range) {
        self.paging_mut(hwpt)
            .leaves
            .retain(|iova, _| !iovas.holds(*iova));
    }

    /// The largest leaves that IOVA and physical address are aligned to. The buffer is physically contiguous.
    fn add_leaves(&self, hwpt: &mut Paging, area: &Area, large_pages: bool) {
        let mut sizes = hwpt.sizes();
        if !large_pages {
            sizes.retain(|size| *size <= PAGE);
        }
        let mut iova = area.iovas.first;
        let mut left = area.iovas.len();
        while left > 0 {
            let memory = area.behind(iova);
            let physical = memory - self.ground.buffer + self.ground.physical;
            let suits = |size: &u64| {
                iova.is_multiple_of(*size) && physical.is_multiple_of(*size) && *size <= left
            };
            let size = sizes.iter().copied().filter(suits).max();
            let size = size.expect("areas are aligned to the smallest leaf");
            hwpt.leaves.insert(
                iova,
                Leaf {
                    size,
                    memory,
                    dirty: false,
                },
            );
            iova += size;
            left -= size;
        }
    }
}

/// The first two words of the mock's data.
fn mock_data(data: Data) -> Result<[u32; 2], Errno> {
    if data.kind != MOCK_DATA {
        return Err(Errno::EOPNOTSUPP);
    }
    if !(4..=8).contains(&data.len) {
        return Err(Errno::EINVAL);
    }
    if data.at != Memory::Scratch {
        return Err(Errno::EFAULT);
    }
    // Of the second word, as many bytes as there are.
    let bytes = data.words[1].to_le_bytes();
    let second = (0..4).map(|n| {
        if n + 4 < data.len {
            u32::from(bytes[n as usize]) << (8 * n)
        } else {
            0
        }
    });
    let second = second.sum();
    Ok([data.words[0], second])
}

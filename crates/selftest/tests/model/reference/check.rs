//! What a client can ask about the state by operations that change nothing (ops 3, 4, 14 and 16 of §9.10).

use swiommu_abi::Errno;

use super::Reference;
use super::objects::Object;
use crate::ground::PAGE;
use crate::reply::Answer;

impl Reference {
    /// Whether every unit of a range leads to the memory at an address.
    pub(crate) fn check_map(&self, id: u32, (start, len): (u64, u64), memory: u64) -> Answer {
        let hwpt = self.paging(id)?;
        let unit = hwpt.smallest();
        let misaligned = [start, len, memory]
            .iter()
            .any(|value| !value.is_multiple_of(unit));
        if misaligned || memory.checked_add(len).is_none() {
            return Err(Errno::EINVAL);
        }
        for skipped in (0..len / unit).map(|n| n * unit) {
            let expected = memory + skipped;
            if !self.ground.holds(expected, unit) {
                return Err(Errno::EFAULT);
            }
            let iova = start.wrapping_add(skipped);
            let found = hwpt.leaf(iova).map(|(at, leaf)| leaf.memory + (iova - at));
            if found != Some(expected) {
                return Err(Errno::EINVAL);
            }
        }
        Ok(vec![])
    }

    /// Whether pages of the buffer are pinned so often.
    pub(crate) fn check_refs(&self, first: u64, count: u64, refs: u32) -> Answer {
        for page in first..first + count {
            let address = self.ground.buffer + page * PAGE;
            if !self.ground.holds(address, PAGE) {
                return Err(Errno::EFAULT);
            }
            if self.pin_count(address) != refs {
                return Err(Errno::EIO);
            }
        }
        Ok(vec![])
    }

    pub(crate) fn check_iotlb(&self, id: u32, entry: u32, value: u32) -> Answer {
        compare(&self.nested(id)?.iotlb, entry, value)
    }

    pub(crate) fn check_cache(&self, id: u32, entry: u32, value: u32) -> Answer {
        compare(&self.device(id)?.cache, entry, value)
    }

    /// The area that an IOVA is in.
    pub(crate) fn behind(&self, ioas: Option<u32>, iova: u64) -> Option<u64> {
        let Ok(Object::Ioas(ioas)) = self.object(ioas?) else {
            return None;
        };
        let area = ioas.areas.iter().find(|area| area.iovas.holds(iova))?;
        Some(area.behind(iova))
    }
}

fn compare(entries: &[u32; 4], entry: u32, value: u32) -> Answer {
    let found = usize::try_from(entry)
        .ok()
        .and_then(|entry| entries.get(entry));
    if found == Some(&value) {
        Ok(vec![])
    } else {
        Err(Errno::EINVAL)
    }
}

//! Dirty tracking (§2.13, §2.14, and the mock's DIRTY of §9.10).

use swiommu_abi::Errno;

use super::Reference;
use super::range::Range;
use crate::ground::Ground;
use crate::reply::{Answer, bits};

const ENABLE: u32 = 1;
const NO_CLEAR: u32 = 1;

impl Reference {
    pub(crate) fn set_dirty_tracking(&mut self, id: u32, flags: u32) -> Answer {
        if flags & !ENABLE != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if !self.paging(id)?.tracks_dirty() {
            return Err(Errno::EOPNOTSUPP);
        }
        let hwpt = self.paging_mut(id);
        hwpt.tracking = flags & ENABLE != 0;
        if hwpt.tracking {
            for leaf in hwpt.leaves.values_mut() {
                leaf.dirty = false;
            }
        }
        Ok(vec![])
    }

    /// Answers with the bitmap.
    pub(crate) fn get_dirty_bitmap(
        &mut self,
        id: u32,
        (start, len): (u64, u64),
        page: u64,
        flags: u32,
        reserved: u32,
    ) -> Answer {
        if flags & !NO_CLEAR != 0 || reserved != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let hwpt = self.paging(id)?.clone();
        let range = Range::new(start, len)?;
        let whole = |unit: u64| {
            let end = range.last.wrapping_add(1);
            range.first & (unit - 1) == 0 && end & (unit - 1) == 0
        };
        if !whole(self.alignment(hwpt.ioas)) || page == 0 || !whole(1 << page.trailing_zeros()) {
            return Err(Errno::EINVAL);
        }
        if !hwpt.tracks_dirty() {
            return Err(Errno::EOPNOTSUPP);
        }
        let bit = 1 << page.trailing_zeros();
        let (parts, _) = self.ioas(hwpt.ioas)?.cover_start(range);
        let mut bitmap = vec![0_u8; usize::try_from(Ground::SCRATCH).unwrap_or(0)];
        for (_, part) in parts {
            for (iova, leaf) in &mut self.paging_mut(id).leaves {
                let leaf_range = Range {
                    first: *iova,
                    last: *iova + (leaf.size - 1),
                };
                let Some(reported) = leaf_range.common(part).filter(|_| leaf.dirty) else {
                    continue;
                };
                for n in (reported.first - start) / bit..=(reported.last - start) / bit {
                    bitmap[usize::try_from(n / 8).unwrap_or(0)] |= 1 << (n % 8);
                }
                leaf.dirty = flags & NO_CLEAR != 0;
            }
        }
        Ok(bits(&bitmap))
    }

    /// What a device would do. `set` are the first bits of the bitmap in the scratch pages; the others are zero.
    pub(crate) fn dirty(
        &mut self,
        id: u32,
        (start, len): (u64, u64),
        page: u64,
        set: u64,
    ) -> Answer {
        if page == 0 || len == 0 || start % page != 0 || len % page != 0 {
            return Err(Errno::EINVAL);
        }
        let count = len / page;
        if count > 1 << 27 {
            return Err(Errno::EOVERFLOW);
        }
        if !self.paging(id)?.tracking {
            return Err(Errno::EINVAL);
        }
        if count.div_ceil(8) > Ground::SCRATCH {
            return Err(Errno::EFAULT);
        }
        let mut dirtied = 0;
        for n in (0..count.min(64)).filter(|n| (set >> n) & 1 == 1) {
            dirtied += 1;
            let iova = start.wrapping_add(n * page);
            let hwpt = self.paging_mut(id);
            if let Some((at, leaf)) = hwpt.leaf(iova)
                && let Some(entry) = hwpt.leaves.get_mut(&at)
            {
                *entry = super::hwpt::Leaf {
                    dirty: true,
                    ..leaf
                };
            }
        }
        Ok(vec![dirtied])
    }
}

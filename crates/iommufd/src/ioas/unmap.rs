//! `IOMMU_IOAS_UNMAP` (§2.8), and asking accesses to let go (§5.4).

use swiommu_addr::IovaRange;
use swiommu_sabotage::Fault;

use super::Ioas;
use super::area::{Area, AreaState};
use crate::Error;

/// How often UNMAP asks the accesses of an area before it gives up.
const ROUNDS: u32 = 100;

/// What UNMAP found next.
enum Step {
    /// No more areas.
    Done,
    /// An area that is now marked as being removed.
    Remove(IovaRange, Area),
    /// An area that accesses have pinned.
    Ask(IovaRange),
}

impl Ioas {
    /// Unmaps every area in a range. Returns how many bytes they had: holes do not count.
    ///
    /// # Errors
    /// `ENOENT` when an area lies in the range only in part, or none at all; `EBUSY` when another call makes or removes one;
    /// `EDEADLK` when accesses do not let go. Areas that were unmapped before stay so.
    pub(crate) fn unmap(&self, range: IovaRange) -> Result<u64, Error> {
        match self.unmap_areas(range)? {
            0 => Err(Error::NothingIn(range)),
            unmapped => Ok(unmapped),
        }
    }

    /// As [`unmap`](Self::unmap), but finding nothing is a success.
    pub(crate) fn unmap_areas(&self, range: IovaRange) -> Result<u64, Error> {
        let mut unmapped = 0;
        self.unmap_counted(range, &mut unmapped)?;
        Ok(unmapped)
    }

    /// As [`unmap_areas`](Self::unmap_areas), adding up the bytes that are gone even when the rest could not go.
    pub(crate) fn unmap_counted(&self, range: IovaRange, unmapped: &mut u64) -> Result<(), Error> {
        let mut rounds = 0;
        let mut rest = Some(range);
        let mut topology = self.topology.read();
        while let Some(range) = rest {
            match self.next_step(range)? {
                Step::Done => break,
                Step::Remove(found, area) => {
                    topology.empty(found, &area);
                    self.areas.write().remove(found.start());
                    *unmapped = unmapped.wrapping_add(found.len_minus_one()).wrapping_add(1);
                    // What others map behind us meanwhile is not ours to unmap.
                    let next = found.end();
                    rest = next.and_then(|next| IovaRange::new(next, range.last()));
                    rounds = 0;
                }
                Step::Ask(found) => {
                    rounds += 1;
                    if rounds > ROUNDS {
                        return Err(Error::Deadlock(found));
                    }
                    let accesses = topology.accesses.clone();
                    // A driver that lets go may detach as well, which needs the topology to itself.
                    drop(topology);
                    for access in accesses.iter().filter(|_| !Fault::SkipNotify.is_on()) {
                        access.notify(found);
                    }
                    topology = self.topology.read();
                }
            }
        }
        Ok(())
    }

    fn next_step(&self, range: IovaRange) -> Result<Step, Error> {
        let mut areas = self.areas.write();
        let Some((found, area)) = areas.overlapping(range).next() else {
            return Ok(Step::Done);
        };
        if area.is_busy() {
            return Err(Error::AreaBusy(found));
        }
        if area.locks > 0 {
            return Err(Error::AreaLocked(found));
        }
        if !range.contains_range(found) && !Fault::UnmapPart.is_on() {
            return Err(Error::PartOfArea { range, area: found });
        }
        let Some((_, area)) = areas.get_mut(found.start()) else {
            return Ok(Step::Done);
        };
        if area.pins > 0 {
            area.state = AreaState::Closing;
            return Ok(Step::Ask(found));
        }
        area.state = AreaState::Removing;
        Ok(Step::Remove(found, area.clone()))
    }

    /// Unmaps all areas of an IOAS that is being destroyed. It has no page tables and no accesses any more.
    pub(crate) fn unmap_everything(&self) {
        let topology = self.topology.read();
        for (range, area) in self.areas.write().drain() {
            topology.empty(range, &area);
        }
    }
}

//! Pinning and unpinning.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;

use rustix::fs::OFlags;
use smallvec::SmallVec;
use swiommu_addr::{Address, Hva, HvaRange, PaRange};
use swiommu_injection::{Step, step};
use swiommu_sabotage::Fault as Sabotage;

use super::held::{Held, Pinned, memory};
use super::{OffsetRange, Pages, PinError, Runs, State};
use crate::file::reopen;
use crate::physical::{Exhausted, Wanted, push_run};
use crate::{AddressSpace, Fault, FileKind, FileOffset, FileRange, MemFile, PAGE, Run};

/// The memory behind a range of positions.
pub(super) struct Gathered {
    /// Exactly the bytes asked for.
    pub(super) runs: Runs,
    /// The whole pages that are not pinned yet, each run with its position.
    new: SmallVec<[(u64, Run); 1]>,
}

impl Pages {
    /// Adds one user to every page that `range` touches; pages that had none are resolved, pinned and charged. All or nothing.
    ///
    /// Returns the memory behind exactly the bytes of `range`.
    ///
    /// # Errors
    /// [`PinError`]; nothing has changed then.
    pub fn pin(&self, range: OffsetRange) -> Result<Runs, PinError> {
        let pinned = self.try_pin(range);
        if pinned != Err(PinError::Fault(Fault::Exhausted)) {
            return pinned;
        }
        // Windows that nothing uses may stand in the way.
        self.owner().memory().close_idle();
        self.try_pin(range)
    }

    fn try_pin(&self, range: OffsetRange) -> Result<Runs, PinError> {
        let positions = self.positions(range).ok_or(PinError::OutOfRange)?;
        let mut state = self.state.lock();
        let State { owner, held } = &mut *state;
        let _nothing_closes = owner.memory().census();
        let pages = whole_pages(&positions);
        if held.is_nothing() {
            let runs = self.resolve(owner, *pages.start(), *pages.end())?;
            let new = runs.iter().map(|run| run.memory);
            self.enter(owner, page_count(new.clone()), new)?;
            self.add_runs(held, *pages.start(), &runs);
            return Ok(trim(runs, &positions));
        }
        let found = self.gather(owner, held, &positions)?;
        let new = found.new.iter().map(|(_, run)| run.memory);
        let charged = if Sabotage::ChargeCopy.is_on() {
            page_count(found.runs.iter().map(|run| run.memory))
        } else {
            page_count(new.clone())
        };
        self.enter(owner, charged, new)?;
        held.update(self.whole(), pages, |piece| {
            piece.value.map(|held| Pinned {
                users: held.users.saturating_add(1),
                ..held
            })
        });
        for &(first, run) in &found.new {
            self.add_runs(held, first, &[run]);
        }
        Ok(found.runs)
    }

    /// Charges pages that get their first user, and enters them in the machine's pin table.
    fn enter(
        &self,
        owner: &Arc<dyn AddressSpace>,
        charged: u64,
        new: impl Iterator<Item = PaRange>,
    ) -> Result<(), PinError> {
        if charged > 0 {
            let memory = owner.memory();
            let accounts = memory.accounts();
            accounts.charge(&**owner, self.user(), self.accounting, charged)?;
            memory.pin(new);
        }
        Ok(())
    }

    /// Notes the first user of whole pages, which begin at `first`.
    fn add_runs(&self, held: &mut Held, mut first: u64, runs: &[Run]) {
        for run in runs {
            let last = first + run.memory.len_minus_one();
            let pinned = Pinned {
                pa: run.memory.start(),
                users: NonZeroU32::MIN,
                page: run.page,
            };
            held.update(self.whole(), first..=last, |_| Some(pinned));
            first = last.wrapping_add(1);
        }
    }

    /// Takes one user from every page that `range` touches. Pages that have none left are unpinned and uncharged.
    ///
    /// Never fails: a range or page that is not pinned is logged and left alone.
    pub fn unpin(&self, range: OffsetRange) {
        let Some(positions) = self.positions(range) else {
            tracing::error!(%range, "unpinned bytes that the pages object does not have");
            return;
        };
        let mut state = self.state.lock();
        let mut freed: SmallVec<[PaRange; 2]> = SmallVec::new();
        let mut strange = false;
        let State { owner, held } = &mut *state;
        held.update(self.whole(), whole_pages(&positions), |piece| {
            let Some(held) = piece.value else {
                strange = true;
                return None;
            };
            let users = NonZeroU32::new(held.users.get() - 1);
            if users.is_none() {
                freed.push(memory(&piece, held));
            }
            users.map(|users| Pinned { users, ..held })
        });
        if strange {
            tracing::error!(%range, "unpinned pages that were not pinned");
        }
        self.give_back(owner, &freed);
    }

    /// Unpins and uncharges pages that lost their last user.
    pub(super) fn give_back(&self, owner: &Arc<dyn AddressSpace>, freed: &[PaRange]) {
        if !freed.is_empty() {
            let memory = owner.memory();
            memory.unpin(freed);
            let count = page_count(freed.iter().copied());
            let accounts = memory.accounts();
            accounts.uncharge(owner.locked(), self.user(), self.accounting, count);
        }
    }

    /// The memory behind exactly the bytes of `range`, or `None` when a page of it is not pinned.
    pub fn runs(&self, range: OffsetRange) -> Option<Runs> {
        let positions = self.positions(range)?;
        let state = self.state.lock();
        let runs = state.held.look(self.whole(), |extents| {
            let mut runs = Runs::new();
            for piece in extents.cover(whole_pages(&positions)) {
                let held = piece.value?;
                push_run(&mut runs, memory(&piece, held), held.page);
            }
            Some(runs)
        });
        Some(trim(runs?, &positions))
    }

    /// The virtual addresses or file offsets of a range, if it lies in the object.
    pub(super) fn positions(&self, range: OffsetRange) -> Option<RangeInclusive<u64>> {
        if range.last().get() >= self.len.get() {
            return None;
        }
        let first = self.start.checked_add(range.start().get())?;
        let last = self.start.checked_add(range.last().get())?;
        Some(first..=last)
    }

    /// The pinned pages of a range, and what the others are now.
    pub(super) fn gather(
        &self,
        owner: &Arc<dyn AddressSpace>,
        held: &Held,
        positions: &RangeInclusive<u64>,
    ) -> Result<Gathered, PinError> {
        let mut runs = Runs::new();
        let mut new = SmallVec::new();
        held.look(self.whole(), |extents| {
            extents.try_each(whole_pages(positions), |piece| -> Result<(), PinError> {
                if let Some(held) = piece.value {
                    push_run(&mut runs, memory(&piece, held), held.page);
                    return Ok(());
                }
                let mut at = piece.first;
                for run in self.resolve(owner, piece.first, piece.last)? {
                    push_run(&mut runs, run.memory, run.page);
                    new.push((at, run));
                    at = at.wrapping_add(run.memory.len_minus_one() + 1);
                }
                Ok(())
            })
        })?;
        let runs = trim(runs, positions);
        Ok(Gathered { runs, new })
    }

    /// Looks whole pages up where they come from.
    fn resolve(
        &self,
        owner: &Arc<dyn AddressSpace>,
        first: u64,
        last: u64,
    ) -> Result<Runs, PinError> {
        step(Step::Pin)?;
        if let Some(file) = &self.file {
            return resolve_file(owner, file, first, last);
        }
        let pages = HvaRange::new(Hva::new(first), Hva::new(last)).ok_or(PinError::OutOfRange)?;
        Ok(owner.resolve_runs(pages, self.access)?)
    }
}

fn resolve_file(
    owner: &Arc<dyn AddressSpace>,
    file: &MemFile,
    first: u64,
    last: u64,
) -> Result<Runs, PinError> {
    if file.kind() == FileKind::Other {
        return Err(PinError::NotMemory);
    }
    let size = file.size().unwrap_or(0);
    if last >= size {
        return Err(PinError::BeyondEnd { size });
    }
    let wanted = Wanted {
        id: file.id(),
        page: file.kind().page(),
        range: FileRange::new(FileOffset::new(first), FileOffset::new(last))
            .ok_or(PinError::OutOfRange)?,
        expected_size: size,
    };
    // The client may have opened it for reading only; what counts for DMA is the memory.
    let open = || {
        let file = file.as_fd();
        reopen(file, OFlags::RDWR)
            .or_else(|_| file.try_clone_to_owned())
            .ok()
    };
    let runs = owner.memory().resolve_file(&wanted, None, open);
    runs.map_err(|Exhausted| PinError::Fault(Fault::Exhausted))
}

/// The positions of the pages that a range touches.
pub(super) fn whole_pages(positions: &RangeInclusive<u64>) -> RangeInclusive<u64> {
    positions.start() & !PAGE.mask()..=positions.end() | PAGE.mask()
}

/// Cuts the runs of whole pages to the bytes asked for.
fn trim(mut runs: Runs, positions: &RangeInclusive<u64>) -> Runs {
    let before = positions.start() & PAGE.mask();
    let after = PAGE.mask() - (positions.end() & PAGE.mask());
    if let Some(first) = runs.first_mut()
        && let Some(start) = first.memory.start().checked_add(before)
        && let Some(memory) = PaRange::new(start, first.memory.last())
    {
        first.memory = memory;
    }
    if let Some(last) = runs.last_mut()
        && let Some(end) = last.memory.last().checked_sub(after)
        && let Some(memory) = PaRange::new(last.memory.start(), end)
    {
        last.memory = memory;
    }
    runs
}

fn page_count(memory: impl Iterator<Item = PaRange>) -> u64 {
    memory
        .map(|range| (range.len_minus_one() + 1) >> PAGE.log2())
        .sum()
}

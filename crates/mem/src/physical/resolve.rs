//! From the identity of memory to its physical addresses.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use swiommu_addr::{Hva, HvaRange, Pa, PaRange, PageSize};

use super::files::{Alias, FileWindow, Wanted, push_run};
use super::pins::PinTable;
use super::private::{Judge, PrivateWindow};
use super::slots::GIB;
use super::snapshots::Snapshots;
use super::{PhysicalMemory, Windows};
use crate::process::Mm;
use crate::{Runs, SpaceId};

/// There are no physical addresses left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exhausted;

impl PhysicalMemory {
    /// The memory of a file. `alias` says where the asker has it mapped; `open` opens the file itself, if that can be done, and
    /// is asked only when it is not known yet.
    pub(crate) fn resolve_file(
        &self,
        wanted: &Wanted,
        alias: Option<Alias>,
        open: impl FnOnce() -> Option<OwnedFd>,
    ) -> Result<Runs, Exhausted> {
        let windows = self.windows.read();
        let window = windows.files.get(&wanted.id);
        if let Some(window) = window.filter(|window| window.knows(alias.as_ref()))
            && let Some(runs) = window.ready(wanted.range, &self.region)
        {
            return Ok(runs);
        }
        let must_open = !windows.closed.contains(&wanted.id)
            && !window.is_some_and(|window| window.has_asked(alias.as_ref()));
        drop(windows);

        self.note_lost_pages();
        let file = if must_open { open() } else { None };
        let mut windows = self.windows.write();
        let Windows {
            directory, files, ..
        } = &mut *windows;
        let window = files
            .entry(wanted.id)
            .or_insert_with(|| FileWindow::new(wanted.page));
        window.offer(file, alias);
        let prepared = window.prepare(wanted, directory, &self.region);
        let pieces: Vec<_> = window.find(wanted.range).collect();
        prepared.ok_or(Exhausted)?;
        let mut runs = Runs::new();
        for memory in pieces {
            self.map_lost_again(&mut windows, wanted, memory);
            push_run(&mut runs, memory, wanted.page);
        }
        Ok(runs)
    }

    /// Maps the pages of a file that were lost to truncation again, as far as they are not pinned and the file has them again.
    fn map_lost_again(&self, windows: &mut Windows, wanted: &Wanted, memory: PaRange) {
        let Some(window) = windows.files.get(&wanted.id) else {
            return;
        };
        let inside = windows.lost.range(memory.start()..=memory.last());
        let lost: Vec<PaRange> = inside
            .filter_map(|(&start, size)| PaRange::from_len(start, size.bytes()))
            .collect();
        for page in lost {
            if self.pins.lock().any(page) || !window.map_again(page, &self.region) {
                continue;
            }
            windows.lost.remove(&page.start());
            let gigabyte = page.start().get() & !(GIB - 1);
            let mut others = windows
                .lost
                .range(Pa::new(gigabyte)..Pa::new(gigabyte + GIB));
            if others.next().is_none() {
                self.region.watched().slots().clear_lost(gigabyte);
            }
        }
    }

    /// The private memory of whole pages in an area that ends at `area_last`.
    pub(crate) fn resolve_private(
        &self,
        mm: &Arc<Mm>,
        pages: HvaRange,
        page: PageSize,
        area_last: Hva,
    ) -> Result<Runs, Exhausted> {
        if let Some(runs) = self
            .windows
            .read()
            .private_runs(mm.id(), pages, page, &self.pins)
        {
            return Ok(runs);
        }
        let mut windows = self.windows.write();
        windows
            .prepare_private(Arc::downgrade(mm), mm.id(), pages, area_last, self)
            .and_then(|()| windows.private_runs(mm.id(), pages, page, &self.pins))
            .ok_or(Exhausted)
    }
}

impl Windows {
    fn private_runs(
        &self,
        space: SpaceId,
        pages: HvaRange,
        page: PageSize,
        pins: &Mutex<PinTable>,
    ) -> Option<Runs> {
        let judge = Retirement {
            snapshots: &self.snapshots,
            pins,
        };
        self.privates.get(&space)?.ready(pages, page, &judge)
    }

    fn prepare_private(
        &mut self,
        mm: Weak<Mm>,
        space: SpaceId,
        pages: HvaRange,
        area_last: Hva,
        memory: &PhysicalMemory,
    ) -> Option<()> {
        let window = self
            .privates
            .entry(space)
            .or_insert_with(|| PrivateWindow::new(space, mm));
        let judge = Retirement {
            snapshots: &self.snapshots,
            pins: &memory.pins,
        };
        window.prepare(
            pages,
            area_last,
            &mut self.directory,
            &memory.region,
            &judge,
        )
    }

    /// Where the private pages of a range lie that have physical addresses.
    pub(super) fn find_private(
        &self,
        space: SpaceId,
        pages: HvaRange,
        pins: &Mutex<PinTable>,
    ) -> Runs {
        let judge = Retirement {
            snapshots: &self.snapshots,
            pins,
        };
        let window = self.privates.get(&space);
        window.map_or_else(Runs::new, |window| window.find(pages, &judge))
    }
}

/// Judges the generations of private pages by the snapshots and the pins.
struct Retirement<'a> {
    snapshots: &'a Snapshots,
    pins: &'a Mutex<PinTable>,
}

impl Judge for Retirement<'_> {
    fn is_retired(&self, page: PaRange) -> bool {
        self.snapshots.is_retired(page)
    }

    fn is_pinned(&self, page: PaRange) -> bool {
        self.pins.lock().any(page)
    }

    fn may_be_retired(&self, memory: PaRange) -> bool {
        self.snapshots.overlaps(memory)
    }
}

//! All windows of the physical address space, under one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;

use swiommu_addr::{Hva, HvaRange, PaRange, PageSize};

use super::directory::{Directory, Owner};
use super::files::{Alias, FileWindow, Wanted};
use super::private::{Judge, PrivateWindow};
use super::region::Region;
use super::slots::GIB;
use super::snapshots::{Snapshots, Validity};
use crate::process::Mm;
use crate::{FileId, Runs, SpaceId, VolatileSlice};

/// Who has which physical addresses.
#[derive(Debug, Default)]
pub(super) struct Windows {
    directory: Directory,
    files: BTreeMap<FileId, FileWindow>,
    privates: BTreeMap<SpaceId, PrivateWindow>,
    snapshots: Snapshots,
    /// Pages lost to truncation that have not been mapped again: address → size.
    lost: BTreeMap<u64, PageSize>,
    /// Files that must not be opened.
    closed: BTreeSet<FileId>,
}

/// What a physical address stands for when it is not mapped directly.
#[derive(Debug)]
pub(super) enum Backing {
    /// A part of a file, by reading and writing it, or by the memory of processes that map it.
    File {
        id: FileId,
        offset: u64,
        descriptor: Option<std::sync::Arc<std::os::fd::OwnedFd>>,
        aliases: Vec<Alias>,
    },
    /// Private memory.
    Private { mm: Weak<Mm>, hva: Hva },
}

impl Windows {
    pub(super) fn file(&self, id: FileId) -> Option<&FileWindow> {
        self.files.get(&id)
    }

    pub(super) fn may_open(&self, id: FileId) -> bool {
        !self.closed.contains(&id)
    }

    pub(super) fn leave_closed(&mut self, id: FileId) {
        self.closed.insert(id);
    }

    /// Prepares a part of a file, with another way to reach it. `None` when there are no physical addresses left.
    pub(super) fn prepare_file(
        &mut self,
        wanted: &Wanted,
        file: Option<std::os::fd::OwnedFd>,
        alias: Option<Alias>,
        region: &Region,
        is_pinned: impl Fn(PaRange) -> bool,
    ) -> Option<Runs> {
        let new = || FileWindow::new(wanted.page);
        let window = self.files.entry(wanted.id).or_insert_with(new);
        window.offer(file, alias);
        window.prepare(wanted, &mut self.directory, region)?;
        let pieces = window.find(wanted.range);
        self.mend(wanted.id, &pieces, region, is_pinned);
        let mut runs = Runs::new();
        for memory in pieces {
            super::files::push_run(&mut runs, memory, wanted.page);
        }
        Some(runs)
    }

    /// Maps lost pages of a file again, if they are not pinned and the file has them again.
    fn mend(
        &mut self,
        id: FileId,
        pieces: &[PaRange],
        region: &Region,
        is_pinned: impl Fn(PaRange) -> bool,
    ) {
        let Some(window) = self.files.get(&id) else {
            return;
        };
        for piece in pieces {
            let lost = self.lost_pages(*piece);
            for page in lost {
                if !is_pinned(page) && window.map_again(page, region) {
                    self.lost.remove(&page.start().get());
                    let start = page.start().get() & !(GIB - 1);
                    if self.lost.range(start..start + GIB).next().is_none() {
                        region.watched().slots().clear_lost(start);
                    }
                }
            }
        }
    }

    fn lost_pages(&self, memory: PaRange) -> Vec<PaRange> {
        let numbers = memory.start().get()..=memory.last().get();
        let pages = self.lost.range(numbers).filter_map(|(&start, size)| {
            PaRange::from_len(swiommu_addr::Pa::new(start), size.bytes())
        });
        pages.collect()
    }

    /// Notes a page lost to truncation.
    pub(super) fn add_lost(&mut self, page: PaRange) {
        if let Some(size) = page.len().and_then(PageSize::from_bytes) {
            self.lost.insert(page.start().get(), size);
        }
    }

    /// The private memory of whole pages, when all have physical addresses.
    pub(super) fn ready_private(
        &self,
        space: SpaceId,
        pages: HvaRange,
        page: PageSize,
        is_pinned: &dyn Fn(PaRange) -> bool,
    ) -> Option<Runs> {
        let judge = Retirement::new(&self.snapshots, is_pinned);
        self.privates.get(&space)?.ready(pages, page, &judge)
    }

    /// Gives private memory physical addresses. `None` when there are none left.
    pub(super) fn prepare_private(
        &mut self,
        mm: &Weak<Mm>,
        space: SpaceId,
        pages: HvaRange,
        area_last: Hva,
        region: &Region,
        is_pinned: &dyn Fn(PaRange) -> bool,
    ) -> Option<()> {
        let new = || PrivateWindow::new(space, mm.clone());
        let window = self.privates.entry(space).or_insert_with(new);
        let judge = Retirement::new(&self.snapshots, is_pinned);
        window.prepare(pages, area_last, &mut self.directory, region, &judge)
    }

    /// Where private pages lie that have physical addresses.
    pub(super) fn find_private(
        &self,
        space: SpaceId,
        pages: HvaRange,
        is_pinned: &dyn Fn(PaRange) -> bool,
    ) -> Runs {
        let judge = Retirement::new(&self.snapshots, is_pinned);
        let window = self.privates.get(&space);
        window.map_or_else(Runs::new, |window| window.find(pages, &judge))
    }

    /// What `pa` stands for, and up to which last address.
    pub(super) fn backing(&self, pa: swiommu_addr::Pa) -> Option<Backing> {
        let within = pa.get() & (GIB - 1);
        Some(match self.directory.owner(pa.get())? {
            Owner::File { id, offset } => {
                let window = self.files.get(&id)?;
                Backing::File {
                    id,
                    offset: offset + within,
                    descriptor: window.descriptor(),
                    aliases: window.aliases().to_vec(),
                }
            }
            Owner::Private { space, hva } => Backing::Private {
                mm: self.privates.get(&space)?.mm().clone(),
                hva: Hva::new(hva + within),
            },
        })
    }
}

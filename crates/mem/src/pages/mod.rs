//! Pages objects: the memory behind one or more areas.
//!
//! A pages object knows where its bytes come from, and which of its pages are pinned. Its users (domains, accesses) add and
//! take themselves page by page through [`Pages::pin`] and [`Pages::unpin`]; a page is resolved, entered in the machine's pin
//! table and charged when it gets its first user, and keeps its physical address until it has lost the last one, whatever
//! the process does meanwhile. Users are counted by extent: any number of contiguous pages with the same users is one record.

mod copy;
mod error;
mod held;
mod offset;
mod owner;
mod pin;

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;
use swiommu_addr::{Hva, HvaRange, PaRange};

pub use copy::CopyBy;
pub use error::PinError;
pub use offset::{Offset, OffsetRange};
pub use owner::change_owner;

use crate::{Access, Accounting, AddressSpace, FileOffset, FileRange, MemFile, PAGE, Run, Uid};
use held::Held;

/// Pieces of memory in the order of the bytes they back.
pub type Runs = SmallVec<[Run; 1]>;

/// Where the pages of an object come from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PagesKind {
    /// Virtual memory of a process (`IOMMU_IOAS_MAP`).
    User,
    /// A file (`IOMMU_IOAS_MAP_FILE`).
    File,
}

/// Where the first byte of an object comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// This virtual address of the owner.
    Memory(Hva),
    /// This position in the file.
    File(FileOffset),
}

/// The memory behind one or more areas: a range of a process' virtual memory or of a file, pinned where it is needed.
#[derive(Debug)]
pub struct Pages {
    /// The file, if the bytes come from one.
    file: Option<Arc<MemFile>>,
    /// The virtual address or file offset of the first byte.
    start: u64,
    len: NonZeroU64,
    access: Access,
    accounting: Accounting,
    /// The real user of the owner. It changes together with the owner, under the same lock.
    user: AtomicU32,
    state: Mutex<State>,
}

/// What changes in the life of a pages object.
#[derive(Debug)]
struct State {
    owner: Arc<dyn AddressSpace>,
    held: Held,
}

impl Pages {
    /// The bytes `range` of `space`. Nothing is looked at before it is pinned.
    pub fn from_space(
        space: &Arc<dyn AddressSpace>,
        range: HvaRange,
        access: Access,
        accounting: Accounting,
    ) -> Self {
        let (start, len_minus_one) = (range.start().get(), range.len_minus_one());
        Self::new(space, None, start, len_minus_one, access, accounting)
    }

    /// The bytes `range` of `file`, mapped by (and charged to) the process with memory `owner`.
    pub fn from_file(
        owner: &Arc<dyn AddressSpace>,
        file: MemFile,
        range: FileRange,
        access: Access,
        accounting: Accounting,
    ) -> Self {
        let (start, len_minus_one) = (range.start().get(), range.len_minus_one());
        let file = Some(Arc::new(file));
        Self::new(owner, file, start, len_minus_one, access, accounting)
    }

    fn new(
        owner: &Arc<dyn AddressSpace>,
        file: Option<Arc<MemFile>>,
        start: u64,
        len_minus_one: u64,
        access: Access,
        accounting: Accounting,
    ) -> Self {
        Self {
            file,
            start,
            len: NonZeroU64::MIN.saturating_add(len_minus_one),
            access,
            accounting,
            user: AtomicU32::new(owner.user().0),
            state: Mutex::new(State {
                owner: owner.clone(),
                held: Held::Nothing,
            }),
        }
    }

    /// The length in bytes.
    pub fn len(&self) -> NonZeroU64 {
        self.len
    }

    /// The first byte's offset in its page: of the virtual address, or in the file.
    pub fn page_offset(&self) -> u64 {
        self.start & PAGE.mask()
    }

    /// Where the first byte comes from.
    pub fn source(&self) -> Source {
        match self.kind() {
            PagesKind::User => Source::Memory(Hva::new(self.start)),
            PagesKind::File => Source::File(FileOffset::new(self.start)),
        }
    }

    /// Whether pages are pinned for writing.
    pub fn is_writable(&self) -> bool {
        self.access == Access::Write
    }

    /// Where the pages come from.
    pub fn kind(&self) -> PagesKind {
        match self.file {
            None => PagesKind::User,
            Some(_) => PagesKind::File,
        }
    }

    /// How the pages are charged.
    pub fn accounting(&self) -> Accounting {
        self.accounting
    }

    /// The process that the pages belong and are charged to.
    pub fn owner(&self) -> Arc<dyn AddressSpace> {
        self.state.lock().owner.clone()
    }

    /// How many pages are pinned now.
    pub fn pinned(&self) -> u64 {
        self.pinned_of(&self.state.lock())
    }

    fn pinned_of(&self, state: &State) -> u64 {
        let pages = |bytes: u64| bytes >> PAGE.log2();
        state.held.look(self.whole(), |extents| {
            let extents = extents.overlapping(0..=u64::MAX);
            extents.map(|held| pages(held.last - held.first + 1)).sum()
        })
    }

    /// The real user who is charged. The state is locked.
    fn user(&self) -> Uid {
        Uid(self.user.load(Ordering::Relaxed))
    }

    /// The positions of all its pages.
    fn whole(&self) -> RangeInclusive<u64> {
        pin::whole_pages(&(self.start..=self.start.wrapping_add(self.len.get() - 1)))
    }
}

impl Drop for Pages {
    /// Whatever is still pinned is unpinned and uncharged.
    fn drop(&mut self) {
        let whole = self.whole();
        let held = std::mem::take(&mut self.state.get_mut().held);
        if held.is_nothing() {
            return;
        }
        let freed: SmallVec<[PaRange; 2]> = held.look(whole, |extents| {
            extents
                .overlapping(0..=u64::MAX)
                .filter_map(|held| PaRange::from_len(held.value.pa, held.last - held.first + 1))
                .collect()
        });
        self.give_back(&self.state.lock().owner, &freed);
    }
}

#[cfg(test)]
mod tests;

//! Pages objects: the memory behind one or more areas.
//!
//! A pages object knows where its bytes come from, and which of its pages are pinned. Its users (domains, accesses) add and
//! take themselves page by page through [`Pages::pin`] and [`Pages::unpin`]; a page is resolved, entered in the machine's pin
//! table and charged when it gets its first user, and keeps its physical address until it has lost the last one, whatever
//! the process does meanwhile. Users are counted by extent: any number of contiguous pages with the same users is one record.

mod copy;
mod error;
mod offset;
mod owner;
mod pin;

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;
use swiommu_addr::{Address, Hva, HvaRange, Pa, PaRange, PageSize};

pub use copy::CopyBy;
pub use error::PinError;
pub use offset::{Offset, OffsetRange};
pub use owner::change_owner;

use crate::extents::{ExtentMap, Value};
use crate::{
    Access, Accounting, AddressSpace, FileOffset, FileRange, MemFile, PAGE, PhysicalMemory, Run,
    Uid,
};

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
    memory: Arc<PhysicalMemory>,
    /// The file, if the bytes come from one.
    file: Option<Arc<MemFile>>,
    /// The virtual address or file offset of the first byte.
    start: u64,
    len: NonZeroU64,
    access: Access,
    accounting: Accounting,
    state: Mutex<State>,
}

/// What changes in the life of a pages object.
#[derive(Debug)]
struct State {
    owner: Arc<dyn AddressSpace>,
    user: Uid,
    /// The pinned pages, by position: virtual address or file offset.
    held: ExtentMap<Held>,
}

/// Pinned pages with the same users.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Held {
    pa: Pa,
    users: NonZeroU32,
    page: PageSize,
}

impl Value for Held {
    fn skip(self, bytes: u64) -> Self {
        Self {
            pa: self.pa.wrapping_add(bytes),
            ..self
        }
    }
}

impl Pages {
    /// The bytes `range` of `space`. Nothing is looked at before it is pinned.
    pub fn from_space(
        memory: &Arc<PhysicalMemory>,
        space: &Arc<dyn AddressSpace>,
        range: HvaRange,
        access: Access,
        accounting: Accounting,
    ) -> Arc<Self> {
        let (start, len_minus_one) = (range.start().get(), range.len_minus_one());
        Self::new(
            memory,
            space,
            None,
            start,
            len_minus_one,
            access,
            accounting,
        )
    }

    /// The bytes `range` of `file`, mapped by (and charged to) the process with memory `owner`.
    pub fn from_file(
        memory: &Arc<PhysicalMemory>,
        owner: &Arc<dyn AddressSpace>,
        file: MemFile,
        range: FileRange,
        access: Access,
        accounting: Accounting,
    ) -> Arc<Self> {
        let (start, len_minus_one) = (range.start().get(), range.len_minus_one());
        let file = Some(Arc::new(file));
        Self::new(
            memory,
            owner,
            file,
            start,
            len_minus_one,
            access,
            accounting,
        )
    }

    fn new(
        memory: &Arc<PhysicalMemory>,
        owner: &Arc<dyn AddressSpace>,
        file: Option<Arc<MemFile>>,
        start: u64,
        len_minus_one: u64,
        access: Access,
        accounting: Accounting,
    ) -> Arc<Self> {
        Arc::new(Self {
            memory: memory.clone(),
            file,
            start,
            len: NonZeroU64::MIN.saturating_add(len_minus_one),
            access,
            accounting,
            state: Mutex::new(State {
                user: owner.user(),
                owner: owner.clone(),
                held: ExtentMap::default(),
            }),
        })
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
        self.state.lock().pinned()
    }
}

impl State {
    fn pinned(&self) -> u64 {
        let pages = |bytes: u64| bytes >> PAGE.log2();
        let extents = self.held.overlapping(0..=u64::MAX);
        extents.map(|held| pages(held.last - held.first + 1)).sum()
    }
}

impl Drop for Pages {
    /// Whatever is still pinned is unpinned and uncharged.
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let held = std::mem::take(&mut state.held);
        let freed: SmallVec<[PaRange; 2]> = held
            .overlapping(0..=u64::MAX)
            .filter_map(|held| PaRange::from_len(held.value.pa, held.last - held.first + 1))
            .collect();
        if !freed.is_empty() {
            self.give_back(&self.state.lock(), &freed);
        }
    }
}

#[cfg(test)]
mod tests;

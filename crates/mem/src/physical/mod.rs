//! The physical address space.
//!
//! Physical addresses are ours to give, and small: the first gigabyte stays empty, then come page tables, then files (one
//! window for each, by device and inode), then the private memory of processes (by `mm` and virtual address). What can be
//! mapped here is mapped at a fixed distance from its physical address, so that a leaf leads to bytes with one addition; the
//! rest is reached by system calls.
//!
//! # Locks
//! In this order: a pages object's own, `census`, those of an address space (`gate` of an `Mm` last), `windows`, `pins`,
//! `findings`. While a client's memory is touched, which the client can make last, only a pages object's own and the `gate` of
//! that client's `Mm` are held.

mod access;
mod buffer;
mod directory;
mod files;
mod finding;
mod idle;
mod pins;
mod private;
mod region;
mod resolve;
mod retire;
mod sigbus;
mod slots;
mod snapshots;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use swiommu_addr::{Address, HvaRange, Pa, PaRange, PageSize};
use swiommu_sabotage::Fault;

pub use access::AccessError;
pub(crate) use buffer::Buffer;
pub(crate) use files::{Alias, Wanted, push_run};
pub use finding::{Content, DetachCause, Finding};
pub use pins::PinCount;
pub(crate) use resolve::Exhausted;
pub use sigbus::install_sigbus_handler;
pub use tables::OutOfMemory;

use directory::Directory;
use files::FileWindow;
use pins::PinTable;
use private::PrivateWindow;
use region::{MAX_BITS, Region};
use snapshots::Snapshots;
use tables::Tables;

use crate::{Accounts, FileId, MemlockPolicy, PAGE, SpaceId, VolatileSlice};

/// How a machine's memory behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// What happens when a charge passes `RLIMIT_MEMLOCK`.
    pub memlock: MemlockPolicy,
    /// How many bytes of memory that processes give back while it is pinned are kept. What is beyond reads as zeroes.
    pub kept: u64,
}

impl Default for Config {
    /// Limits are enforced; 256 MiB are kept.
    fn default() -> Self {
        Self {
            memlock: MemlockPolicy::default(),
            kept: 256 << 20,
        }
    }
}

/// The physical address space of one machine: its windows, its page-table memory, its pins and who pays for them.
#[derive(Debug)]
pub struct PhysicalMemory {
    region: Region,
    tables: Tables,
    windows: RwLock<Windows>,
    pins: Mutex<PinTable>,
    accounts: Accounts,
    findings: Mutex<Vec<Finding>>,
    /// Held for reading from the moment memory is looked up until it is pinned or done with; for writing while unused windows
    /// are closed.
    census: RwLock<()>,
    /// Held while memory that is not mapped here is changed in one step.
    updates: Mutex<()>,
    has_snapshots: AtomicBool,
    spaces: AtomicU64,
    search: OnceLock<Weak<dyn Search>>,
    kept: u64,
}

/// Who has which physical addresses.
#[derive(Debug, Default)]
struct Windows {
    directory: Directory,
    files: BTreeMap<FileId, FileWindow>,
    privates: BTreeMap<SpaceId, PrivateWindow>,
    snapshots: Snapshots,
    /// Pages lost to truncation and not mapped again yet.
    lost: BTreeMap<Pa, PageSize>,
    /// Files whose windows stay open, and for how many users.
    held: BTreeMap<FileId, usize>,
    /// Files that must not be opened.
    closed: BTreeSet<FileId>,
}

/// Finds a file in the memory of all processes.
pub(crate) trait Search: Send + Sync + std::fmt::Debug {
    /// A mapping of the file at `offset`, other than those in a range of one address space.
    fn find(&self, file: FileId, offset: u64, except: Option<(SpaceId, HvaRange)>)
    -> Option<Alias>;
}

impl PhysicalMemory {
    /// Reserves the address space.
    ///
    /// # Errors
    /// When the host does not give 32 GiB of address space.
    pub fn new(config: Config) -> io::Result<Arc<Self>> {
        Self::with_bits(config, MAX_BITS)
    }

    /// The same with physical addresses of fewer bits, as on a host that does not give more.
    fn with_bits(config: Config, bits: u32) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            region: Region::reserve(bits)?,
            tables: Tables::default(),
            windows: RwLock::default(),
            pins: Mutex::default(),
            accounts: Accounts::new(config.memlock),
            findings: Mutex::default(),
            census: RwLock::default(),
            has_snapshots: AtomicBool::new(false),
            updates: Mutex::default(),
            spaces: AtomicU64::new(0),
            search: OnceLock::new(),
            kept: config.kept,
        }))
    }

    /// The memory itself, when it is mapped here in one piece and no page table.
    #[inline]
    pub fn slice(&self, memory: PaRange) -> Option<VolatileSlice<'_>> {
        self.region.slice(memory)
    }

    /// A zeroed page table of `size` bytes (64 bytes to 2 MiB), aligned to its size.
    ///
    /// Addresses are the same in every run: the lowest at first, the last one freed is reused first.
    ///
    /// # Errors
    /// When the host has no memory, or tables do not have that size.
    pub fn alloc_table(&self, size: PageSize) -> Result<Pa, OutOfMemory> {
        self.tables.alloc(&self.region, size)
    }

    /// Takes a table back. Its memory stays readable: a reader without locks may still be in it.
    pub fn free_table(&self, table: Pa, size: PageSize) {
        self.tables.free(&self.region, table, size);
    }

    /// Bytes of all page tables that are allocated.
    pub fn table_bytes(&self) -> u64 {
        self.tables.used()
    }

    /// The words of a table, or `None` when the range is not aligned to 8 bytes or not all in page-table memory.
    ///
    /// A table that is free or in use again is still a table: what a reader without locks finds in it may be stale, but it
    /// is there.
    #[inline]
    pub fn words(&self, table: Pa, size: PageSize) -> Option<&[AtomicU64]> {
        self.region.words(table, size.bytes())
    }

    /// The pin counts of a range in address order, with its unpinned parts (count 0).
    pub fn pin_counts(&self, memory: PaRange) -> Vec<PinCount> {
        self.pins.lock().counts(memory).collect()
    }

    /// Pages pinned, each counted once for every pages object that pins it.
    pub fn pinned_pages(&self) -> u64 {
        self.pins.lock().total()
    }

    /// Who pays.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Never opens or maps this file in order to reach its memory: a file whose close is being watched for, or that must
    /// vanish with its last client. Its bytes are reached through the memory of the processes that map it.
    pub fn leave_closed(&self, file: FileId) {
        self.windows.write().closed.insert(file);
    }

    /// A number that no other address space has or will have.
    pub(crate) fn new_space(&self) -> SpaceId {
        SpaceId(self.spaces.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Names the one who knows the processes. The first stays.
    pub(crate) fn set_search(&self, search: Weak<dyn Search>) {
        let _ = self.search.set(search);
    }

    fn search(&self) -> Option<Arc<dyn Search>> {
        self.search.get()?.upgrade()
    }

    /// How many bytes of files can have physical addresses.
    pub(crate) fn file_addresses(&self) -> u64 {
        self.region.private_start() - self.region.tables_end()
    }

    /// To be held from the look-up of memory until it is pinned or done with.
    pub(crate) fn census(&self) -> RwLockReadGuard<'_, ()> {
        self.census.read()
    }

    /// Adds one pages object to each page of the ranges.
    pub(crate) fn pin(&self, ranges: impl Iterator<Item = PaRange>) {
        let mut pins = self.pins.lock();
        for range in ranges {
            pins.add(range);
            if Fault::PinTwice.is_on() {
                pins.add(range);
            }
        }
    }

    /// Takes one pages object from each page of the ranges.
    pub(crate) fn unpin(&self, ranges: &[PaRange]) {
        let mut pins = self.pins.lock();
        for range in ranges {
            let forgotten = if Fault::KeepPin.is_on() {
                PAGE.bytes()
            } else {
                0
            };
            let last = range.last().checked_sub(forgotten);
            if let Some(range) = last.and_then(|last| PaRange::new(range.start(), last)) {
                pins.remove(range);
            }
        }
        drop(pins);
        if self.has_snapshots.load(Ordering::Relaxed) {
            self.drop_unpinned_snapshots(ranges);
        }
    }
}

#[cfg(test)]
mod tests;

//! An address space inside our own process: for the library's users, tests, fuzzers and benches.

mod arena;

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::RwLock;
use swiommu_addr::{Address, Hva, HvaRange, Pa, PaRange, PageSize};

use arena::Arena;

use crate::extents::{ExtentMap, Value};
use crate::physical::push_run;
use crate::{
    Access, AddressSpace, Fault, Locked, PAGE, PhysicalMemory, Run, Runs, SpaceId, Uid,
    VolatileSlice,
};

/// What a mapping allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protection {
    /// Nothing (`PROT_NONE`).
    None,
    /// `PROT_READ`.
    Read,
    /// `PROT_READ | PROT_WRITE`.
    ReadWrite,
}

impl Protection {
    fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => self != Self::None,
            Access::Write => self == Self::ReadWrite,
        }
    }
}

/// An address space whose memory we allocate: it resolves, reads and writes without a system call.
///
/// ```
/// use swiommu_mem::{Access, AddressSpace, Config, LocalSpace, PhysicalMemory};
///
/// let memory = PhysicalMemory::new(Config::default())?;
/// let space = LocalSpace::new(&memory)?;
/// let buffer = space.allocate(0x3000)?;
/// space.write(buffer.start(), b"hello")?;
///
/// let runs = space.resolve(buffer, Access::Write)?;
/// assert_eq!(runs.len(), 1);
/// let mut read = [0; 5];
/// memory.read(runs[0].memory.start(), &mut read)?;
/// assert_eq!(&read, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LocalSpace {
    id: SpaceId,
    memory: Arc<PhysicalMemory>,
    state: RwLock<State>,
    user: AtomicU32,
    /// Bytes; `u64::MAX` is unlimited.
    memlock_limit: AtomicU64,
    alive: AtomicBool,
    locked: Locked,
}

#[derive(Debug)]
struct State {
    mappings: ExtentMap<Mapping>,
    own: Arc<Arena>,
    /// Those of other spaces that are mapped here.
    shared: Vec<Arc<Arena>>,
}

/// What lies at a virtual address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mapping {
    pa: Pa,
    page: PageSize,
    protection: Protection,
}

impl Value for Mapping {
    fn skip(self, bytes: u64) -> Self {
        Self {
            pa: self.pa.wrapping_add(bytes),
            ..self
        }
    }
}

/// Where new memory is mapped: at its place in the arena above this.
const BASE: u64 = 0x7000_0000_0000;

impl LocalSpace {
    /// An empty address space of user 0 without a memory limit.
    ///
    /// # Errors
    /// When no memory file can be made or mapped.
    pub fn new(memory: &Arc<PhysicalMemory>) -> io::Result<Arc<Self>> {
        let state = State {
            mappings: ExtentMap::default(),
            own: Arc::new(Arena::new(memory)?),
            shared: Vec::new(),
        };
        Ok(Arc::new(Self {
            id: memory.new_space(),
            memory: memory.clone(),
            state: RwLock::new(state),
            user: AtomicU32::new(0),
            memlock_limit: AtomicU64::new(u64::MAX),
            alive: AtomicBool::new(true),
            locked: Locked::default(),
        }))
    }

    /// Maps `len` bytes of new zeroed memory, rounded up to whole pages of 4 KiB, readable and writable.
    ///
    /// Addresses are the same in every run, and none is used twice.
    ///
    /// # Errors
    /// When 64 GiB have been allocated, or `len` is 0.
    pub fn allocate(&self, len: u64) -> io::Result<HvaRange> {
        self.allocate_pages(len, PAGE)
    }

    /// The same in pages of `page`, which the resolved runs then report: what hugetlb memory looks like.
    ///
    /// # Errors
    /// As [`Self::allocate`].
    pub fn allocate_pages(&self, len: u64, page: PageSize) -> io::Result<HvaRange> {
        let mut state = self.state.write();
        let (place, runs) = state
            .own
            .allocate(len, page.max(PAGE))
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let start = Hva::new(BASE + place);
        let mut at = start;
        for run in runs {
            at = state.map(at, run.memory, page.max(PAGE), Protection::ReadWrite);
        }
        HvaRange::from_len(start, len).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Maps at `at` the memory that `other` has mapped at `source`: the same physical pages. What was there is unmapped.
    ///
    /// # Errors
    /// [`Fault::Unmapped`] when `source` is not wholly mapped, or `at` and `source` are not page aligned.
    pub fn map_shared(&self, at: Hva, other: &Self, source: HvaRange) -> Result<(), Fault> {
        if !at.is_aligned(PAGE) || !source.is_aligned(PAGE) {
            return Err(Fault::Unmapped(at));
        }
        let runs = other.resolve(source, Access::Read)?;
        let arenas = other.state.read().arenas();
        let mut state = self.state.write();
        state.shared.extend(arenas);
        let mut at = at;
        for run in runs {
            at = state.map(at, run.memory, run.page, Protection::ReadWrite);
        }
        Ok(())
    }

    /// Unmaps all pages that the range touches. Pinned memory stays where it is for those who have pinned it.
    pub fn unmap(&self, pages: HvaRange) {
        self.state
            .write()
            .mappings
            .update(whole_pages(pages), |_| None);
    }

    /// Changes what the mapped pages that the range touches allow.
    pub fn protect(&self, pages: HvaRange, protection: Protection) {
        self.state
            .write()
            .mappings
            .update(whole_pages(pages), |piece| {
                let mapping = piece.value?;
                Some(Mapping {
                    protection,
                    ..mapping
                })
            });
    }

    /// Sets the real user that new mappings are charged to.
    pub fn set_user(&self, user: Uid) {
        self.user.store(user.0, Ordering::Relaxed);
    }

    /// Sets `RLIMIT_MEMLOCK` in bytes; `None` for unlimited.
    pub fn set_memlock_limit(&self, limit: Option<u64>) {
        self.memlock_limit
            .store(limit.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The process exits: its mappings are gone, its pins stay.
    pub fn exit(&self) {
        self.alive.store(false, Ordering::Relaxed);
        self.state.write().mappings = ExtentMap::default();
    }

    /// Calls `act` for each piece of memory behind a range, in order.
    fn walk(
        &self,
        range: HvaRange,
        access: Access,
        mut act: impl FnMut(PaRange, PageSize),
    ) -> Result<(), Fault> {
        if !self.is_alive() {
            return Err(Fault::Gone);
        }
        let state = self.state.read();
        state.mappings.try_each(numbers(range), |piece| {
            let at = Hva::new(piece.first);
            let mapping = piece.value.ok_or(Fault::Unmapped(at))?;
            if !mapping.protection.allows(access) {
                return Err(Fault::Denied { at, access });
            }
            if let Some(memory) = PaRange::from_len(mapping.pa, piece.last - piece.first + 1) {
                act(memory, mapping.page);
            }
            Ok(())
        })
    }

    /// Calls `act` for each piece of memory behind `len` bytes, with its distance from the start.
    fn walk_slices(
        &self,
        start: Hva,
        len: usize,
        access: Access,
        mut act: impl FnMut(usize, VolatileSlice<'_>),
    ) -> Result<(), Fault> {
        if len == 0 {
            return Ok(());
        }
        let range = HvaRange::from_len(start, len as u64).ok_or(Fault::Unmapped(start))?;
        let mut done = 0;
        self.walk(range, access, |memory, _| {
            if let Some(slice) = self.memory.slice(memory) {
                act(done, slice);
                done += slice.len();
            }
        })
    }
}

impl State {
    /// Maps a run; returns where it ends.
    fn map(&mut self, at: Hva, memory: PaRange, page: PageSize, protection: Protection) -> Hva {
        let mapping = Mapping {
            pa: memory.start(),
            page,
            protection,
        };
        if let Some(range) = memory.len().and_then(|len| HvaRange::from_len(at, len)) {
            self.mappings.update(numbers(range), |piece| {
                Some(mapping.skip(piece.first - at.get()))
            });
        }
        at.wrapping_add(memory.len_minus_one()).wrapping_add(1)
    }

    fn arenas(&self) -> Vec<Arc<Arena>> {
        let own = std::iter::once(&self.own);
        own.chain(&self.shared).cloned().collect()
    }
}

impl AddressSpace for LocalSpace {
    fn id(&self) -> SpaceId {
        self.id
    }

    fn memory(&self) -> &Arc<PhysicalMemory> {
        &self.memory
    }

    fn user(&self) -> Uid {
        Uid(self.user.load(Ordering::Relaxed))
    }

    fn read(&self, from: Hva, into: &mut [u8]) -> Result<(), Fault> {
        let len = into.len();
        self.walk_slices(from, len, Access::Read, |done, slice| {
            slice.read(0, &mut into[done..]);
        })
    }

    fn write(&self, to: Hva, from: &[u8]) -> Result<(), Fault> {
        self.walk_slices(to, from.len(), Access::Write, |done, slice| {
            slice.write(0, &from[done..]);
        })
    }

    fn resolve(&self, pages: HvaRange, access: Access) -> Result<Vec<Run>, Fault> {
        Ok(self.resolve_runs(pages, access)?.into_vec())
    }

    fn resolve_runs(&self, pages: HvaRange, access: Access) -> Result<Runs, Fault> {
        let mut runs = Runs::new();
        self.walk(pages, access, |memory, page| {
            push_run(&mut runs, memory, page);
        })?;
        Ok(runs)
    }

    fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    fn memlock_limit(&self) -> Option<u64> {
        let limit = self.memlock_limit.load(Ordering::Relaxed);
        (limit != u64::MAX).then_some(limit)
    }

    fn locked(&self) -> &Locked {
        &self.locked
    }
}

fn numbers(range: HvaRange) -> RangeInclusive<u64> {
    range.start().get()..=range.last().get()
}

fn whole_pages(range: HvaRange) -> RangeInclusive<u64> {
    numbers(range.align_out(PAGE))
}

#[cfg(test)]
mod tests;

//! The reserved piece of our own address space in which physical memory is mapped: host address = base + physical address.
//!
//! The rule that makes everything else safe: what has once been mapped stays mapped, readable and writable, until the region
//! is dropped. A file that is no longer needed is *replaced* by empty anonymous memory in one system call, so whoever still
//! looks at it finds zeroes, never a hole. Rust references exist to page-table memory only, and only to atomics.

#![expect(unsafe_code, reason = "maps memory and makes pointers to it")]

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use swiommu_addr::{Pa, PaRange, PageSize};

use super::sigbus::Watched;
use super::slots::{GIB, GIB_LOG2};
use crate::volatile::host_len;
use crate::{PAGE, VolatileSlice};

/// Physical addresses have at most this many bits.
pub(crate) const MAX_BITS: u32 = 44;
/// The least that is worth having; valgrind gives no more.
const MIN_BITS: u32 = 35;

/// The region, its division, and what is mapped in it.
#[derive(Debug)]
pub(crate) struct Region {
    base: NonNull<u8>,
    size: u64,
    /// Held by the one who maps more page-table memory.
    growing: Mutex<()>,
    /// End of the page-table memory that is mapped, which starts at [`Region::tables_start`].
    tables_mapped: AtomicU64,
    watched: &'static Watched,
}

// SAFETY: `base` is the address of a mapping that the region owns; all access through it is atomic or volatile.
unsafe impl Send for Region {}
// SAFETY: as for `Send`; mapping and unmapping are system calls, which the kernel orders.
unsafe impl Sync for Region {}

impl Region {
    /// Reserves as much as the host gives, at most 2^`most` bytes.
    pub(crate) fn reserve(most: u32) -> io::Result<Self> {
        let mut refused = io::Error::from(io::ErrorKind::OutOfMemory);
        for bits in (MIN_BITS..=most.min(MAX_BITS)).rev() {
            match reserve_aligned(1 << bits) {
                Ok(base) => {
                    let size = 1 << bits;
                    return Ok(Self {
                        base,
                        size,
                        growing: Mutex::default(),
                        tables_mapped: AtomicU64::new(Self::TABLES_START),
                        watched: Watched::claim(base, bits),
                    });
                }
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Where page-table memory starts. Below lies nothing, so that small numbers are never addresses.
    const TABLES_START: u64 = GIB;

    /// Whether a physical address is page-table memory's.
    pub(crate) fn is_table(&self, pa: Pa) -> bool {
        (Self::TABLES_START..self.tables_mapped.load(Ordering::Acquire)).contains(&pa.get())
    }

    /// The first physical address that is not page-table memory's.
    pub(crate) fn tables_end(&self) -> u64 {
        Self::TABLES_START + (self.size / 16).min(256 * GIB)
    }

    /// The first physical address of private memory; files lie between the tables and this.
    pub(crate) fn private_start(&self) -> u64 {
        self.size / 2
    }

    /// The first number that is no physical address.
    pub(crate) fn end(&self) -> u64 {
        self.size
    }

    pub(crate) fn watched(&self) -> &Watched {
        self.watched
    }

    /// Maps `bytes` more of page-table memory and returns where it starts, or `None` when there is no more.
    pub(crate) fn extend_tables(&self, bytes: u64) -> Option<Pa> {
        let _alone = self.growing.lock();
        let start = self.tables_mapped.load(Ordering::Relaxed);
        let end = start
            .checked_add(bytes)
            .filter(|&end| end <= self.tables_end())?;
        self.place_anonymous(start, bytes).ok()?;
        // SAFETY: the range was mapped just now; the advice changes no contents. A host without huge pages refuses: no matter.
        let _ = unsafe {
            madvise(
                self.at(start).cast(),
                host_len(bytes),
                Advice::LinuxHugepage,
            )
        };
        self.tables_mapped.store(end, Ordering::Release);
        Some(Pa::new(start))
    }

    /// The words of page-table memory, or `None` outside of it and when not aligned to 8 bytes.
    #[inline]
    pub(crate) fn words(&self, start: Pa, bytes: u64) -> Option<&[AtomicU64]> {
        let start = start.get();
        let end = start.checked_add(bytes)?;
        let mapped = self.tables_mapped.load(Ordering::Acquire);
        if start < Self::TABLES_START || end > mapped || start & 7 != 0 {
            return None;
        }
        // SAFETY: the range lies in page-table memory that is mapped until the region is dropped, which the borrow of `self`
        // prevents; it is aligned; it was zeroed when mapped, so initialised; and nothing in this crate accesses page-table
        // memory but through these atomics and the string instruction in `tables`.
        Some(unsafe {
            std::slice::from_raw_parts(self.at(start).cast_const().cast(), host_len(bytes / 8))
        })
    }

    /// The memory of a range that is mapped directly.
    #[inline]
    pub(crate) fn slice(&self, memory: PaRange) -> Option<VolatileSlice<'_>> {
        self.mapped(memory.start(), host_len(memory.len()?))
    }

    /// The `len` bytes from `start` on, where they are mapped directly.
    #[inline]
    pub(crate) fn mapped(&self, start: Pa, len: usize) -> Option<VolatileSlice<'_>> {
        if !self.watched.slots().covers(start.get(), len as u64) {
            return None;
        }
        // SAFETY: what the slots cover has been mapped readable and writable by `place_file`, and stays so (module).
        Some(unsafe { VolatileSlice::new(self.at(start.get()), len) })
    }

    /// Puts empty memory of our own at a range, in place of what is mapped there.
    pub(crate) fn place_empty(&self, memory: PaRange) -> io::Result<Placed> {
        self.check(memory.start().get(), memory.len_minus_one() + 1)?;
        self.place_anonymous(memory.start().get(), memory.len_minus_one() + 1)?;
        Ok(Placed(memory))
    }

    /// The memory of a range.
    ///
    /// # Safety
    /// It is part of a [`Placed`] that this region has returned.
    pub(crate) unsafe fn slice_placed(&self, memory: PaRange) -> VolatileSlice<'_> {
        // SAFETY: the range has been mapped readable and writable (caller) and stays so (module).
        unsafe {
            VolatileSlice::new(
                self.at(memory.start().get()),
                host_len(memory.len_minus_one() + 1),
            )
        }
    }

    /// Maps `bytes` of `file` from `offset` at `at`, in place of what is mapped there.
    pub(crate) fn place_file(
        &self,
        at: u64,
        bytes: u64,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> io::Result<()> {
        self.check(at, bytes)?;
        // SAFETY: the range lies in our region, above page-table memory, to which alone Rust holds references. Other threads
        // that look at it find the old or the new memory.
        unsafe {
            mmap(
                self.at(at).cast(),
                host_len(bytes),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::FIXED | MapFlags::NORESERVE,
                file,
                offset,
            )?;
        }
        Ok(())
    }

    /// Maps empty memory of our own at `at`, in place of what is mapped there.
    pub(crate) fn place_anonymous(&self, at: u64, bytes: u64) -> io::Result<()> {
        if at < self.tables_mapped.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.check_end(at, bytes)?;
        // SAFETY: the range lies in our region and above the page-table memory that is already in use.
        unsafe { place_anonymous(self.at(at), host_len(bytes)) }
    }

    /// Gives the memory of a range back to the host. What is mapped there reads as zeroes then, or as the file's content.
    pub(crate) fn discard(&self, memory: PaRange) {
        let (at, bytes) = (memory.start().get(), memory.len_minus_one() + 1);
        if self.check(at, bytes).is_ok() {
            // SAFETY: the range lies in our region above page-table memory; it stays mapped, and Rust holds no references to it.
            let _ = unsafe { madvise(self.at(at).cast(), host_len(bytes), Advice::LinuxDontNeed) };
        }
    }

    fn check(&self, at: u64, bytes: u64) -> io::Result<()> {
        if at < self.tables_end() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.check_end(at, bytes)
    }

    fn check_end(&self, at: u64, bytes: u64) -> io::Result<()> {
        let pages = PAGE.divides(at | bytes) && bytes != 0;
        let inside = at.checked_add(bytes).is_some_and(|end| end <= self.size);
        if pages && inside {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }

    /// The host address of a physical address below [`Region::end`].
    #[inline]
    fn at(&self, pa: u64) -> *mut u8 {
        self.base.as_ptr().wrapping_add(host_len(pa))
    }
}

/// A range in which the region has placed empty memory.
#[derive(Debug)]
pub(crate) struct Placed(PaRange);

impl Placed {
    pub(crate) fn memory(&self) -> PaRange {
        self.0
    }

    pub(crate) fn slice<'a>(&self, region: &'a Region) -> VolatileSlice<'a> {
        // SAFETY: only `place_empty` makes a `Placed`, and a machine has one region.
        unsafe { region.slice_placed(self.0) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // First, so that the signal handler never takes what is mapped here next for ours.
        self.watched.release();
        // SAFETY: the mapping is ours, and no borrow of the region is left that could point into it.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), host_len(self.size)) };
    }
}

/// Replaces what is mapped at a page-aligned address by empty anonymous memory. Safe to call in a signal handler.
///
/// # Safety
/// The range belongs to the caller, and Rust holds no references to it.
pub(super) unsafe fn place_anonymous(at: *mut u8, bytes: usize) -> io::Result<()> {
    // SAFETY: by the caller.
    unsafe {
        mmap_anonymous(
            at.cast(),
            bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
        )?;
    }
    Ok(())
}

/// Reserves `size` bytes aligned to a gigabyte, as huge pages and large leaves want it.
fn reserve_aligned(size: u64) -> io::Result<NonNull<u8>> {
    let extra = PageSize::from_log2(30).bytes();
    // SAFETY: a new mapping at an address that the kernel chooses touches nothing that exists.
    let start = unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            host_len(size + extra),
            ProtFlags::empty(),
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )?
    }
    .cast::<u8>();
    let before = start.addr().next_multiple_of(1 << GIB_LOG2) - start.addr();
    let base = start.wrapping_add(before);
    let after = host_len(extra) - before;
    // SAFETY: both ends lie in the mapping just made, outside `base..base + size`.
    unsafe {
        if before > 0 {
            munmap(start.cast(), before)?;
        }
        if after > 0 {
            munmap(base.wrapping_add(host_len(size)).cast(), after)?;
        }
    }
    NonNull::new(base).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

//! Reading and writing by physical address.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use swiommu_addr::{Address, Hva, Pa, PaRange, PageSize};

use super::buffer::Buffer;
use super::directory::Owner;
use super::files::Alias;
use super::slots::GIB;
use super::{PhysicalMemory, Windows};
use crate::process::{Mm, Unreachable};
use crate::volatile::host_len;
use crate::{AtomicInteger, FileId, PAGE, VolatileSlice};

/// Memory that is not mapped here is copied in pieces of at most this many bytes, between which its meaning may change.
const PIECE: PageSize = PageSize::from_log2(16);

/// Why physical memory could not be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// Nothing is at this address.
    #[error("no memory at physical address {0}")]
    NoMemory(Pa),
    /// Its owner has exited or unmapped it, and nobody else has it.
    #[error("the memory at physical address {0} is gone")]
    Gone(Pa),
    /// A page table of ours, which nobody writes by physical address.
    #[error("physical address {0} belongs to a page table")]
    Table(Pa),
}

/// What a physical address stands for when it is not mapped.
enum Backing {
    File {
        id: FileId,
        offset: u64,
        descriptor: Option<Arc<OwnedFd>>,
        aliases: Vec<Alias>,
    },
    Private {
        mm: Weak<Mm>,
        hva: Hva,
    },
}

impl PhysicalMemory {
    /// Copies memory out. Powers of two up to 8 bytes at their natural alignment are read at once where the memory is mapped.
    ///
    /// # Errors
    /// [`AccessError`]; some bytes may have been copied.
    pub fn read(&self, from: Pa, into: &mut [u8]) -> Result<(), AccessError> {
        if let Some(slice) = self.mapped(from, into.len()) {
            slice.read(0, into);
            return Ok(());
        }
        self.copy(from, &mut Buffer::Into(into))
    }

    /// Copies memory in. Powers of two up to 8 bytes at their natural alignment are written at once where the memory is mapped.
    ///
    /// # Errors
    /// [`AccessError`]; some bytes may have been copied.
    pub fn write(&self, to: Pa, from: &[u8]) -> Result<(), AccessError> {
        if let Some(slice) = self.mapped(to, from.len()) {
            slice.write(0, from);
            return Ok(());
        }
        self.copy(to, &mut Buffer::From(from))
    }

    /// The value at `at`, read in one step where it is aligned and mapped.
    ///
    /// # Errors
    /// [`AccessError`].
    #[inline]
    pub fn load<T: AtomicInteger>(&self, at: Pa) -> Result<T, AccessError> {
        let slice = self.mapped(at, size_of::<T>());
        match slice.and_then(VolatileSlice::load) {
            Some(value) => Ok(value),
            None => self.load_bytes(at),
        }
    }

    /// The memory from `start` on, where all of it is mapped.
    #[inline]
    fn mapped(&self, start: Pa, len: usize) -> Option<VolatileSlice<'_>> {
        self.region.mapped(start, len)
    }

    #[cold]
    fn load_bytes<T: AtomicInteger>(&self, at: Pa) -> Result<T, AccessError> {
        let mut room = [0; 8];
        let bytes = &mut room[..size_of::<T>()];
        self.read(at, bytes)?;
        Ok(T::from_le_slice(bytes))
    }

    /// Replaces the value at `at` by what `change` makes of it, if anything, in one step; returns what was there.
    ///
    /// Memory that is not mapped here is changed in one step only as seen by others who change it so.
    ///
    /// # Errors
    /// [`AccessError`], with nothing changed.
    pub fn update<T: AtomicInteger>(
        &self,
        at: Pa,
        change: impl Fn(T) -> Option<T>,
    ) -> Result<T, AccessError> {
        let slice = self.mapped(at, size_of::<T>());
        let _alone = slice.is_none().then(|| self.updates.lock());
        let mut value = self.load(at)?;
        loop {
            let Some(new) = change(value) else {
                return Ok(value);
            };
            let Some(found) = slice.and_then(|slice| slice.compare_exchange(value, new)) else {
                new.with_le_slice(|bytes| self.write(at, bytes))?;
                return Ok(value);
            };
            if found == value {
                return Ok(value);
            }
            value = found;
        }
    }

    #[inline]
    pub(crate) fn copy(&self, start: Pa, buffer: &mut Buffer<'_>) -> Result<(), AccessError> {
        let Some(memory) = PaRange::from_len(start, buffer.len() as u64) else {
            return if buffer.len() == 0 {
                Ok(())
            } else {
                Err(AccessError::NoMemory(start))
            };
        };
        if let Some(slice) = self.region.slice(memory) {
            buffer.copy_slice(slice);
            return Ok(());
        }
        self.copy_pieces(memory, buffer)
    }

    #[cold]
    fn copy_pieces(&self, memory: PaRange, buffer: &mut Buffer<'_>) -> Result<(), AccessError> {
        let mut at = memory.start();
        loop {
            let rest = PaRange::new(at, memory.last()).unwrap_or(memory);
            let within = rest.intersection(piece(at, PIECE)).unwrap_or(rest);
            let done = host_len(at.get() - memory.start().get());
            let copied = self.copy_piece(within, &mut buffer.part(done, length(within)))?;
            match within.start().checked_add(copied) {
                Some(next) if next <= memory.last() => at = next,
                _ => return Ok(()),
            }
        }
    }

    /// Copies the beginning of a piece; returns how much.
    fn copy_piece(&self, memory: PaRange, buffer: &mut Buffer<'_>) -> Result<u64, AccessError> {
        let start = memory.start();
        let whole = bytes(memory);
        if let Some(slice) = self.region.slice(memory) {
            buffer.copy_slice(slice);
            return Ok(whole);
        }
        if self.region.is_table(start) {
            self.copy_table(memory, buffer)?;
            return Ok(whole);
        }
        let backing = self.windows.read().backing(start);
        match backing.ok_or(AccessError::NoMemory(start))? {
            Backing::Private { mm, hva } => self.copy_private(memory, buffer, &mm, hva),
            Backing::File {
                descriptor: Some(file),
                offset,
                ..
            } if buffer.copy_file(&file, offset) => Ok(whole),
            Backing::File {
                id,
                offset,
                aliases,
                ..
            } => self.copy_alias(memory, buffer, id, offset, &aliases),
        }
    }

    /// Copies the beginning of private memory.
    fn copy_private(
        &self,
        memory: PaRange,
        buffer: &mut Buffer<'_>,
        mm: &Weak<Mm>,
        at: Hva,
    ) -> Result<u64, AccessError> {
        let page = first_page(memory);
        let Some(mm) = mm.upgrade() else {
            return self.copy_last_kept(page, buffer);
        };
        // As long as this is held, the process gives nothing back.
        let _unchanging = mm.gate().read();
        let windows = self.windows.read();
        let overlaps = windows.snapshots.overlaps(memory);
        let here = if overlaps { page } else { memory };
        let mut part = buffer.part(0, length(here));
        if let Some(kept) = windows.snapshots.get(here, false, &self.region) {
            part.copy_slice(kept);
            return Ok(bytes(here));
        }
        drop(windows);
        match part.copy_mm(&mm, at) {
            Ok(()) => Ok(bytes(here)),
            Err(Unreachable::Unmapped) => Err(AccessError::Gone(memory.start())),
            Err(Unreachable::Gone) => self.copy_last_kept(page, buffer),
        }
    }

    /// Copies the first page of a part of a file by the memory of a process that maps it.
    fn copy_alias(
        &self,
        memory: PaRange,
        buffer: &mut Buffer<'_>,
        id: FileId,
        offset: u64,
        aliases: &[Alias],
    ) -> Result<u64, AccessError> {
        let page = first_page(memory);
        let mut copy = |alias: &Alias| {
            let at = alias.address_of(offset)?;
            let mm = alias.mm.upgrade()?;
            let _unchanging = mm.gate().read();
            let mut part = buffer.part(0, length(page));
            if let Some(kept) = self.windows.read().snapshots.get(page, false, &self.region) {
                part.copy_slice(kept);
                return Some(());
            }
            let is_there = mm.maps_file_at(at, id, offset);
            is_there.then(|| part.copy_mm(&mm, at).ok())?
        };
        if aliases.iter().any(|alias| copy(alias).is_some()) {
            return Ok(bytes(page));
        }
        let found = self
            .search()
            .and_then(|search| search.find(id, offset, None));
        if let Some(found) = found
            && copy(&found).is_some()
        {
            if let Some(window) = self.windows.write().files.get_mut(&id) {
                window.offer(None, Some(found));
            }
            return Ok(bytes(page));
        }
        self.copy_last_kept(page, buffer)
    }

    /// Copies a page whose owner is gone, if it has announced that.
    fn copy_last_kept(&self, page: PaRange, buffer: &mut Buffer<'_>) -> Result<u64, AccessError> {
        let windows = self.windows.read();
        let kept = windows.snapshots.get(page, true, &self.region);
        let kept = kept.ok_or(AccessError::Gone(page.start()))?;
        buffer.part(0, length(page)).copy_slice(kept);
        Ok(bytes(page))
    }

    /// Reads page-table memory, word by word.
    fn copy_table(&self, memory: PaRange, buffer: &mut Buffer<'_>) -> Result<(), AccessError> {
        let start = memory.start();
        let Buffer::Into(bytes) = buffer else {
            return Err(AccessError::Table(start));
        };
        for (n, byte) in bytes.iter_mut().enumerate() {
            let at = start.wrapping_add(n as u64);
            let word = at.align_down(PageSize::from_log2(3));
            let words = self
                .region
                .words(word, 8)
                .ok_or(AccessError::NoMemory(at))?;
            let word = words[0].load(Ordering::Relaxed).to_ne_bytes();
            *byte = word[host_len(at.get() & 7)];
        }
        Ok(())
    }
}

impl Windows {
    fn backing(&self, pa: Pa) -> Option<Backing> {
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

/// The `size`-aligned piece of the address space that contains `at`.
fn piece(at: Pa, size: PageSize) -> PaRange {
    PaRange::new(at, at).map_or_else(PaRange::full, |one| one.align_out(size))
}

/// The part of a range that lies in its first page.
fn first_page(memory: PaRange) -> PaRange {
    memory
        .intersection(piece(memory.start(), PAGE))
        .unwrap_or(memory)
}

fn bytes(memory: PaRange) -> u64 {
    memory.len_minus_one() + 1
}

fn length(memory: PaRange) -> usize {
    host_len(bytes(memory))
}

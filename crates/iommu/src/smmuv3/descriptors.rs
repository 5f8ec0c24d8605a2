//! Context descriptors in a guest's memory, and the cache of them (3.3.2, 3.17.1).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use swiommu_addr::{Address, Gpa, Iova};
use swiommu_mem::{AccessError, PhysicalMemory};
use swiommu_pgtable::Access;
use swiommu_pgtable::fmt::ArmS2;

use super::StreamId;
use super::spec::{Cd, CdRule, CdTable, Context, IdRegisters, Ste};
use crate::two_stage::{GuestMemory, HostFault};
use crate::{ContextCache, Retention};

/// A stream table entry, as a thing that can be replaced by another: what was fetched by one is not found by the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct EntryId {
    stream: StreamId,
    number: u64,
}

/// What a descriptor is found by: its entry and its substream.
type Key = (EntryId, u32);

/// What an entry of an upper table is found by: the stream's, the size of the table that it leads to, as a power of two, and its
/// number.
type PointerKey = (EntryId, u32, u32);

/// What a descriptor says, or why it says nothing.
pub(super) type Parsed = Result<Context, CdRule>;

/// The descriptors that a unit has cached, legal or not.
pub(super) struct Descriptors {
    cds: ContextCache<Key, Parsed>,
    /// The entries of upper tables.
    pointers: ContextCache<PointerKey, u64>,
    /// How many there have been, and one more.
    invalidations: AtomicU64,
    /// How many stream table entries there have been.
    entries: AtomicU64,
}

/// Why there is no descriptor.
#[derive(Debug)]
pub(super) enum NoDescriptor {
    /// The upper table has none.
    Pointer,
    /// The second stage does not lead there.
    Stage2 { at: Gpa, fault: HostFault },
    /// It does, and there is no memory.
    Memory(AccessError),
}

/// Entries of upper tables.
const VALID: u64 = 1;
const POINTER: u64 = 0x00ff_ffff_ffff_f000;
const POINTER_LEN: u64 = 8;
const CD_LEN: u64 = 64;

impl Descriptors {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            cds: ContextCache::new(retention),
            pointers: ContextCache::new(retention),
            invalidations: AtomicU64::new(1),
            entries: AtomicU64::new(0),
        }
    }

    /// A new stream table entry.
    pub(super) fn entry(&self, stream: StreamId) -> EntryId {
        let number = self.entries.fetch_add(1, Ordering::Relaxed);
        EntryId { stream, number }
    }

    /// How many invalidations there have been, and one more. Who has used a descriptor may go by it until this changes, and as
    /// long as they hold their guard.
    #[inline]
    pub(super) fn invalidations(&self) -> u64 {
        self.invalidations.load(Ordering::Acquire)
    }

    /// What is cached of the descriptor of a substream.
    pub(super) fn lookup(&self, entry: EntryId, substream: u32) -> Option<Arc<Parsed>> {
        self.cds.lookup((entry, substream))
    }

    /// The descriptor of a substream, from the guest's memory.
    pub(super) fn fetch(
        &self,
        entry: EntryId,
        substream: u32,
        ste: &Ste,
        guest: &GuestStructures<'_>,
    ) -> Result<Arc<Parsed>, NoDescriptor> {
        let fetch = self.cds.begin_fetch();
        let at = match ste.cd_table() {
            CdTable::TwoLevel { leaf_log2 } if ste.cd_max() != 0 => {
                let key = (entry, leaf_log2, substream >> leaf_log2);
                let table = self.pointer(key, ste, guest)?;
                let index = substream & ((1 << leaf_log2) - 1);
                table.wrapping_add(u64::from(index) * CD_LEN)
            }
            _ => ste
                .context_pointer()
                .wrapping_add(u64::from(substream) * CD_LEN),
        };
        let mut cd = Cd::default();
        guest.words(at, &mut cd.0)?;
        let parsed = Arc::new(cd.context(guest.unit, ste.forbids_stalls()));
        fetch.insert((entry, substream), parsed.clone());
        Ok(parsed)
    }

    /// Where a table of descriptors is.
    fn pointer(
        &self,
        key: PointerKey,
        ste: &Ste,
        guest: &GuestStructures<'_>,
    ) -> Result<Gpa, NoDescriptor> {
        let entry = if let Some(cached) = self.pointers.lookup(key) {
            *cached
        } else {
            let fetch = self.pointers.begin_fetch();
            let mut entry = [0];
            let at = u64::from(key.2) * POINTER_LEN;
            guest.words(ste.context_pointer().wrapping_add(at), &mut entry)?;
            fetch.insert(key, Arc::new(entry[0]));
            entry[0]
        };
        let table = entry & POINTER;
        if entry & VALID == 0 || !guest.unit.output().holds(table) {
            return Err(NoDescriptor::Pointer);
        }
        Ok(Gpa::new(table))
    }

    /// Forgets one descriptor, and unless it is for the leaf alone, the entry of the upper table that leads to it.
    pub(super) fn invalidate(&self, stream: StreamId, substream: u32, leaf: bool) {
        // The inner one first: what is read through it afterwards is new.
        if !leaf {
            self.pointers.invalidate(|(entry, log2, number)| {
                entry.stream == stream && number == substream >> log2
            });
        }
        self.cds
            .invalidate(|(entry, of)| entry.stream == stream && of == substream);
        self.invalidations.fetch_add(1, Ordering::Release);
    }

    /// Forgets all descriptors of a stream.
    pub(super) fn invalidate_stream(&self, stream: StreamId) {
        self.pointers
            .invalidate(|(entry, ..)| entry.stream == stream);
        self.cds.invalidate(|(entry, _)| entry.stream == stream);
        self.invalidations.fetch_add(1, Ordering::Release);
    }
}

/// The structures in a guest's memory.
pub(super) struct GuestStructures<'a> {
    pub(super) stage2: GuestMemory<'a, ArmS2<12>>,
    pub(super) memory: &'a PhysicalMemory,
    pub(super) unit: &'a IdRegisters,
}

impl GuestStructures<'_> {
    /// Reads words that do not pass the end of a page.
    fn words(&self, at: Gpa, into: &mut [u64]) -> Result<(), NoDescriptor> {
        let found = self
            .stage2
            .translate(at, Access::PRIVILEGED_READ)
            .map_err(|fault| NoDescriptor::Stage2 { at, fault })?;
        let mut from = found.resolve(Iova::new(at.get()));
        for word in into {
            *word = self.memory.load(from).map_err(NoDescriptor::Memory)?;
            from = from.wrapping_add(8);
        }
        Ok(())
    }
}

impl fmt::Debug for Descriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptors")
            .field("cds", &self.cds)
            .field("pointers", &self.pointers)
            .finish_non_exhaustive()
    }
}

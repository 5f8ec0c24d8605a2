//! Context descriptors in a guest's memory, and the cache of them (3.3.2, 3.17.1).

use std::fmt;
use std::sync::Arc;

use swiommu_addr::{Address, Gpa, Iova, Pa};
use swiommu_mem::{AccessError, PhysicalMemory};
use swiommu_pgtable::fmt::ArmS2;
use swiommu_pgtable::{Access, Walked};

use super::StreamId;
use super::spec::{Cd, CdRule, CdTable, Context, IdRegisters, Ste};
use crate::two_stage::{GuestMemory, HostFault};
use crate::{ContextCache, Retention};

/// What a descriptor is found by: its stream and its substream.
type Key = (StreamId, u32);

/// What an entry of an upper table is found by: its stream, the size of the table that it leads to, as a power of two, and its number.
type PointerKey = (StreamId, u32, u32);

/// What a descriptor says, or why it says nothing.
pub(super) type Parsed = Result<Context, CdRule>;

/// The descriptors that a unit has cached, legal or not.
pub(super) struct Descriptors {
    cds: ContextCache<Key, Parsed>,
    /// The entries of upper tables.
    pointers: ContextCache<PointerKey, u64>,
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
        }
    }

    /// What is cached of the descriptor of a substream.
    pub(super) fn lookup(&self, stream: StreamId, substream: u32) -> Option<Arc<Parsed>> {
        self.cds.lookup((stream, substream))
    }

    /// The descriptor of a substream, from the guest's memory.
    pub(super) fn fetch(
        &self,
        stream: StreamId,
        substream: u32,
        ste: &Ste,
        guest: &GuestStructures<'_>,
    ) -> Result<Arc<Parsed>, NoDescriptor> {
        let fetch = self.cds.begin_fetch();
        let at = match ste.cd_table() {
            CdTable::TwoLevel { leaf_log2 } if ste.cd_max() != 0 => {
                let key = (stream, leaf_log2, substream >> leaf_log2);
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
        fetch.insert((stream, substream), parsed.clone());
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
            let leads_there = |(of, log2, number)| of == stream && number == substream >> log2;
            self.pointers.invalidate(leads_there);
        }
        self.cds.invalidate(|key| key == (stream, substream));
    }

    /// Forgets all descriptors of a stream.
    pub(super) fn invalidate_stream(&self, stream: StreamId) {
        self.pointers.invalidate(|(of, ..)| of == stream);
        self.cds.invalidate(|(of, _)| of == stream);
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
        let walked: Walked<Pa> = self
            .stage2
            .translate(at, Access::PRIVILEGED_READ)
            .map_err(|fault| NoDescriptor::Stage2 { at, fault })?;
        let mut from = walked.resolve(Iova::new(at.get()));
        for word in into {
            let mut bytes = [0; 8];
            self.memory
                .read(from, &mut bytes)
                .map_err(NoDescriptor::Memory)?;
            *word = u64::from_le_bytes(bytes);
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
            .finish()
    }
}

//! Walks of first stages in a guest's memory.

use swiommu_addr::{Gpa, Iova, Pa, PageSize};
use swiommu_mem::PhysicalMemory;
use swiommu_pgtable::fmt::{AddressForm, ArmS1, ArmS2};
use swiommu_pgtable::{
    Access, Arrival, EntryMemory, Exchange, Format, HardwareUpdate, HardwareWalk, Root, Walker,
};

use super::caches::Leaf;
use super::spec::{Context, Granule, Half};
use crate::two_stage::{
    EntryPlace, GuestFault, GuestMemory, GuestWalkFault, HostWalker, trace_guest,
};
use crate::{Locate, Trace, Ways};

/// What a walk of a guest's table found.
pub(super) struct FirstStage {
    found: Arrival<EntryPlace>,
    /// The address as it was walked: without the bits that are the same for all of its half.
    input: Iova,
    granule: Granule,
    updates: HardwareUpdate,
}

impl FirstStage {
    /// Where the address leads.
    pub(super) fn ipa(&self) -> Gpa {
        self.found.destination.resolve(self.input).gpa()
    }

    pub(super) fn access(&self) -> Access {
        self.found.destination.access
    }

    pub(super) fn size(&self) -> PageSize {
        self.found.destination.size
    }

    /// The leaf, as commands name it.
    pub(super) fn leaf(&self) -> Leaf {
        Leaf {
            granule: self.granule,
            level: 3_u8.saturating_sub(self.found.level),
        }
    }

    /// Whether a write has yet to mark the leaf.
    pub(super) fn is_clean(&self) -> bool {
        self.updates == HardwareUpdate::AccessedAndDirty && is_clean(self.found.entry)
    }

    /// Whether the leaf is for all ASIDs.
    pub(super) fn is_global(&self) -> bool {
        self.found.entry & NOT_GLOBAL == 0
    }
}

/// AP\[2\], nG and DBM of a leaf.
const READ_ONLY: u64 = 1 << 7;
const NOT_GLOBAL: u64 = 1 << 11;
const DIRTY_MODIFIER: u64 = 1 << 51;

/// Whether a leaf is writable and clean, where walks keep what is dirty.
pub(super) fn is_clean(leaf: u64) -> bool {
    let clean = DIRTY_MODIFIER | READ_ONLY;
    leaf & clean == clean
}

/// Walks the tables of one half, for a request that is one of that half. `None` where the architecture has no such tables, of which
/// no legal descriptor speaks.
pub(super) fn walk(
    context: &Context,
    half: &Half,
    memory: GuestMemory<'_, ArmS2<12>>,
    ways: Ways<'_>,
    request: (Iova, Access),
) -> Option<Result<FirstStage, GuestWalkFault>> {
    let walk = match half.granule {
        Granule::K4 => walk_over::<12>,
        Granule::K16 => walk_over::<14>,
        Granule::K64 => walk_over::<16>,
    };
    walk(context, half, memory, ways, request)
}

/// The memory of a guest, in which tables are found again by where the guest has them: they may be larger than the pages of the second
/// stage, and so in more than one place of the machine.
struct Tables<'a>(GuestMemory<'a, ArmS2<12>>);

impl EntryMemory for Tables<'_> {
    type Address = EntryPlace;
    type Fault = GuestFault;

    #[inline]
    fn read(&self, at: EntryPlace) -> Result<u64, GuestFault> {
        self.0.read(at)
    }

    fn compare_exchange(&self, at: EntryPlace, old: u64, new: u64) -> Result<Exchange, GuestFault> {
        self.0.compare_exchange(at, old, new)
    }
}

impl Locate for Tables<'_> {
    fn locate(&self, table: EntryPlace) -> Option<Pa> {
        Some(Pa::new(table.gpa().get()))
    }

    fn located(&self, table: Pa) -> EntryPlace {
        EntryPlace::guest(Gpa::new(table.get()))
    }
}

/// The walk of the tables of one half, and of the second stage behind them, without a mark.
pub(super) fn trace<'a, F: HardwareWalk>(
    context: &Context,
    half: &Half,
    stage2: &'a HostWalker<'a, F>,
    memory: &'a PhysicalMemory,
    iova: Iova,
) -> Option<Trace> {
    let trace = match half.granule {
        Granule::K4 => trace_over::<12, F>,
        Granule::K16 => trace_over::<14, F>,
        Granule::K64 => trace_over::<16, F>,
    };
    trace(context, half, stage2, memory, iova)
}

fn trace_over<'a, const GRANULE_LOG2: u8, F: HardwareWalk>(
    context: &Context,
    half: &Half,
    stage2: &'a HostWalker<'a, F>,
    memory: &'a PhysicalMemory,
    iova: Iova,
) -> Option<Trace> {
    let format = format::<GRANULE_LOG2>(context, half)?;
    Some(trace_guest(
        format,
        half.root(&format),
        stage2,
        memory,
        half.input(iova),
    ))
}

fn walk_over<const GRANULE_LOG2: u8>(
    context: &Context,
    half: &Half,
    memory: GuestMemory<'_, ArmS2<12>>,
    ways: Ways<'_>,
    (iova, wanted): (Iova, Access),
) -> Option<Result<FirstStage, GuestWalkFault>> {
    let format = format::<GRANULE_LOG2>(context, half)?;
    let Root { table, levels } = half.root(&format);
    let table = EntryPlace::guest(table);
    let walker = Walker::new(format, Tables(memory), Root { table, levels })?;
    let input = half.input(iova);
    let found = ways.walk_for(iova, &walker, input, wanted);
    Some(found.map(|found| FirstStage {
        found,
        input,
        granule: half.granule,
        updates: context.updates,
    }))
}

impl Half {
    fn root(&self, format: &impl Format) -> Root<Gpa> {
        Root {
            table: Gpa::new(self.root),
            levels: *format.levels().start(),
        }
    }

    /// An address without the bits that are the same for all of the half.
    fn input(&self, iova: Iova) -> Iova {
        Iova::new(iova.get() & ((1 << self.input_bits) - 1))
    }
}

fn format<const GRANULE_LOG2: u8>(context: &Context, half: &Half) -> Option<ArmS1<GRANULE_LOG2>> {
    let output_bits = context.output.bits();
    let mut format = ArmS1::new(AddressForm::Bits48, half.input_bits, output_bits)?
        .with_hardware_update(context.updates);
    if context.access_flag_ignored {
        format = format.with_access_flag_ignored();
    }
    if context.write_execute_never {
        format = format.with_write_execute_never();
    }
    if context.privileged_access_never {
        format = format.with_privileged_access_never();
    }
    if half.hierarchy_ignored {
        format = format.with_hierarchy_ignored();
    }
    Some(format)
}

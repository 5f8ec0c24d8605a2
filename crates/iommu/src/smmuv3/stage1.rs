//! Walks of first stages in a guest's memory.

use swiommu_addr::{Gpa, Iova, Pa, PageSize};
use swiommu_mem::PhysicalMemory;
use swiommu_pgtable::fmt::{AddressForm, ArmS1, ArmS2};
use swiommu_pgtable::{
    Access, Arrival, EntryMemory, Exchange, Format, HardwareUpdate, HardwareWalk, Root, WalkFault,
    Walker,
};

use super::caches::Leaf;
use super::spec::{Context, Granule, Half};
use crate::two_stage::{
    EntryPlace, GuestFault, GuestMemory, GuestWalkFault, HostWalker, LocatedTables,
    in_the_guests_words, trace_guest,
};
use crate::{Locate, Structures, Trace, Ways};

/// What a walk of a guest's table found.
pub(super) struct FirstStage {
    found: Arrival<EntryPlace>,
    /// The address as it was walked: without the bits that are the same for all of its half.
    input: Iova,
    granule: Granule,
    updates: HardwareUpdate,
}

impl FirstStage {
    fn new(context: &Context, half: &Half, found: Arrival<EntryPlace>, input: Iova) -> Self {
        Self {
            found,
            input,
            granule: half.granule,
            updates: context.updates,
        }
    }

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

/// The tables of one half of a descriptor, in the memory of a guest.
pub(super) struct Tables<'a, 'm> {
    pub(super) context: &'a Context,
    pub(super) half: &'a Half,
    pub(super) memory: GuestMemory<'m, ArmS2<12>>,
    /// To what is known of them.
    pub(super) ways: Ways<'a>,
}

/// `None` where the architecture has no such tables, of which no legal descriptor speaks.
type Outcome = Option<Result<FirstStage, GuestWalkFault>>;

impl Tables<'_, '_> {
    /// Walks them for a request of this half.
    pub(super) fn walk(&self, iova: Iova, wanted: Access) -> Outcome {
        match self.half.granule {
            Granule::K4 => self.walk_small(iova, wanted),
            Granule::K16 => self.walk_large::<14>(iova, wanted),
            Granule::K64 => self.walk_large::<16>(iova, wanted),
        }
    }

    /// Tables that are as large as the smallest pages of the second stage. Each is in one place of the machine then, and found again by
    /// that.
    fn walk_small(&self, iova: Iova, wanted: Access) -> Outcome {
        let format = format::<12>(self.context, self.half)?;
        let walker = Walker::new(format, self.memory, self.half.place(&format))?;
        let input = self.half.input(iova);
        let found = match self.ways.walk_for(iova, &walker, input, wanted) {
            // To be marked, an entry is walked to.
            Err(WalkFault::Entry {
                fault: GuestFault::Located,
                ..
            }) => walker.walk(input, wanted).map(Arrival::from),
            found => found,
        };
        let found = found.map_err(|fault| in_the_guests_words(fault, &walker, input));
        Some(found.map(|found| FirstStage::new(self.context, self.half, found, input)))
    }

    fn walk_large<const GRANULE_LOG2: u8>(&self, iova: Iova, wanted: Access) -> Outcome {
        let format = format::<GRANULE_LOG2>(self.context, self.half)?;
        let memory = LargeTables(self.memory);
        let walker = Walker::new(format, memory, self.half.place(&format))?;
        let input = self.half.input(iova);
        let found = self.ways.walk_for(iova, &walker, input, wanted);
        Some(found.map(|found| FirstStage::new(self.context, self.half, found, input)))
    }
}

/// The memory of a guest, in which tables are found again by where the guest has them: they may be larger than the pages of the second
/// stage, and so in more than one place of the machine.
#[derive(Clone, Copy)]
struct LargeTables<'a>(GuestMemory<'a, ArmS2<12>>);

impl EntryMemory for LargeTables<'_> {
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

impl Locate for LargeTables<'_> {
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

/// The end of most walks: a table of the smallest leaves that is known, and a leaf that needs no mark and permits what is wanted. `None`
/// says nothing; this is the short cut past [`Tables::walk`].
#[inline]
pub(super) fn leaf(
    context: &Context,
    half: &Half,
    memory: &PhysicalMemory,
    structures: (&Structures, crate::Tag),
    (iova, wanted): (Iova, Access),
) -> Option<FirstStage> {
    if half.granule != Granule::K4 {
        return None;
    }
    let format = format::<12>(context, half)?;
    let (structures, tag) = structures;
    let found = structures.leaf(tag, &format, &LocatedTables(memory), iova, wanted)?;
    Some(FirstStage::new(context, half, found, half.input(iova)))
}

impl Half {
    fn root(&self, format: &impl Format) -> Root<Gpa> {
        Root {
            table: Gpa::new(self.root),
            levels: *format.levels().start(),
        }
    }

    /// The same, as a walk that goes through the second stage has it.
    fn place(&self, format: &impl Format) -> Root<EntryPlace> {
        let Root { table, levels } = self.root(format);
        let table = EntryPlace::guest(table);
        Root { table, levels }
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

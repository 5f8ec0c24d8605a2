//! Walking a table that somebody else owns, or any table as the hardware walks it.

mod access;
mod contract;
mod fault;
mod memory;

use swiommu_addr::{Address, Iova, PageSize};

use crate::geometry::{index_in_table, input_of, item_log2, item_mask, table_level, table_log2};
use crate::{Entry, Leaf, Malformed, PageTable, Root, TableMemory};

pub use access::Access;
pub use contract::{HardwareUpdate, HardwareWalk, MemoryType};
pub use fault::{EntryAction, Refusal, WalkFault};
pub use memory::{EntryMemory, Exchange, NoTableMemory, PhysicalEntries};

/// No format has more levels.
const MOST_LEVELS: usize = 6;

/// How often a walk begins again because an entry that it was to mark had changed.
const ATTEMPTS: usize = 64;

/// A page table in memory that this program does not own: it can say anything, and change at any time.
///
/// ```
/// use swiommu_addr::{Iova, Pa, PaRange, PageSizes};
/// use swiommu_pgtable::{Access, HeapTables, PageTable, Prot, Refusal, WalkFault, fmt::X86_64};
///
/// let table = PageTable::new(X86_64::four_level(), HeapTables::new())?;
/// let page = PaRange::from_len(Pa::new(0xa_bcde_f000), 0x1000).unwrap();
/// assert!(table.map(Iova::new(0x1234_5000), page, Prot::READ, PageSizes::ALL)?.replaced().is_none());
///
/// let walker = table.walker();
/// let iova = Iova::new(0x1234_5678);
/// let found = walker.walk(iova, Access::USER_READ).unwrap();
/// assert_eq!((found.resolve(iova), found.entry), (Pa::new(0xa_bcde_f678), 0xa_bcde_f025));
///
/// let refused = walker.walk(iova, Access::USER_WRITE).unwrap_err();
/// assert!(matches!(refused, WalkFault::Refused { level: 0, reason: Refusal::Permission { .. }, .. }));
/// # Ok::<(), swiommu_pgtable::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Walker<F, M: EntryMemory> {
    format: F,
    memory: M,
    root: Root<M::Address>,
}

/// What a walk found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walked<A> {
    /// The first IOVA of the leaf.
    pub iova: Iova,
    /// The address that it leads to.
    pub address: A,
    /// How much the leaf maps.
    pub size: PageSize,
    /// What the whole path permits.
    pub access: Access,
    /// The memory type that the leaf names.
    pub memory_type: MemoryType,
    /// Where the entry is that was the end of the walk.
    pub at: A,
    /// The level of the table that holds it.
    pub level: u8,
    /// The entry, as the walk leaves it.
    pub entry: u64,
}

impl<A: Address> Walked<A> {
    /// Where an IOVA within the leaf leads.
    #[inline]
    pub fn resolve(&self, iova: Iova) -> A {
        self.address.wrapping_add(iova.offset_in(self.size))
    }
}

/// Where a walk led, without the story of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Destination<A> {
    /// The address that the leaf leads to.
    pub address: A,
    /// How much the leaf maps.
    pub size: PageSize,
    /// What the whole path permits.
    pub access: Access,
}

impl<A: Address> Destination<A> {
    /// Where an IOVA within the leaf leads.
    #[inline]
    pub fn resolve(&self, iova: Iova) -> A {
        self.address.wrapping_add(iova.offset_in(self.size))
    }
}

impl<A> From<Walked<A>> for Destination<A> {
    #[inline]
    fn from(walked: Walked<A>) -> Self {
        Self {
            address: walked.address,
            size: walked.size,
            access: walked.access,
        }
    }
}

/// Where a walk led, and by which entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival<A> {
    /// Where it led.
    pub destination: Destination<A>,
    /// The level of the table that holds the entry.
    pub level: u8,
    /// The entry, as the walk leaves it.
    pub entry: u64,
}

impl<A> From<Walked<A>> for Arrival<A> {
    #[inline]
    fn from(walked: Walked<A>) -> Self {
        Self {
            level: walked.level,
            entry: walked.entry,
            destination: walked.into(),
        }
    }
}

/// A table that a walk has reached, and what the way there permits: what a paging-structure cache keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reached<A> {
    /// Where the table is.
    pub table: A,
    /// How much it translates: so many bytes around the IOVA, aligned to as many.
    pub span: PageSize,
    /// What the entries on the way permit, each by itself.
    pub access: Access,
}

impl<A: Address> Reached<A> {
    /// What a walk of an address that the table translates finds in it, if the table is one of smallest leaves and there is nothing to
    /// mark and nothing to refuse. `None` says nothing; this is the short cut past [`Walker::walk_from`].
    #[inline]
    pub fn leaf<F: HardwareWalk, M: EntryMemory<Address = A>>(
        &self,
        format: &F,
        memory: &M,
        iova: Iova,
        wanted: Access,
    ) -> Option<Arrival<A>> {
        const LOWEST: u8 = 0;
        if self.span != PageSize::from_log2(table_log2::<F>(LOWEST)) {
            return None;
        }
        let at = index_in_table::<F>(iova.get(), LOWEST) * 8;
        let entry = memory.read(self.table.wrapping_add(at)).ok()?;
        let (pa, access) = format.plain_leaf(entry, self.access, wanted)?;
        let destination = Destination {
            address: A::new(pa.get()),
            size: F::GRANULE,
            access,
        };
        access.contains(wanted).then_some(Arrival {
            destination,
            level: LOWEST,
            entry,
        })
    }
}

/// An entry that a walk went through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalkStep<A> {
    /// Where it is.
    pub at: A,
    /// The level of the table that holds it.
    pub level: u8,
    /// The entry.
    pub entry: u64,
}

impl<A: Address> WalkStep<A> {
    fn refused<E>(self, iova: Iova, reason: Refusal) -> WalkFault<A, E> {
        let Self { at, level, entry } = self;
        WalkFault::Refused {
            iova,
            at,
            level,
            entry,
            reason,
        }
    }

    fn faulted<E>(self, iova: Iova, action: EntryAction, fault: E) -> WalkFault<A, E> {
        let Self { at, level, .. } = self;
        WalkFault::Entry {
            iova,
            at,
            level,
            action,
            fault,
        }
    }
}

/// Where a walk ended.
struct End<A> {
    last: WalkStep<A>,
    leaf: Leaf,
    /// What all entries permit, each by itself.
    access: Access,
}

/// A walk with all its entries, the root's first.
struct Path<A> {
    end: End<A>,
    steps: [WalkStep<A>; MOST_LEVELS],
    len: usize,
    /// The first entry that permits less than was wanted, and what the path permits up to there.
    narrow: Option<(WalkStep<A>, Access)>,
}

/// What becomes of the marks of a path.
enum Marked<A> {
    AsWanted,
    /// An entry has changed since it was read.
    Changed(WalkStep<A>),
}

type Outcome<T, M> = Result<T, WalkFault<<M as EntryMemory>::Address, <M as EntryMemory>::Fault>>;

impl<F: HardwareWalk, M: EntryMemory> Walker<F, M> {
    /// A table of this format whose root is at `root`; `None` when the format has no tables of so many levels.
    pub fn new(format: F, memory: M, root: Root<M::Address>) -> Option<Self> {
        let possible = format.levels().contains(&root.levels)
            && (1..=MOST_LEVELS).contains(&usize::from(root.levels));
        possible.then_some(Self {
            format,
            memory,
            root,
        })
    }

    /// The format and its configuration.
    pub fn format(&self) -> F {
        self.format
    }

    /// Where the tables are.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Where walks begin.
    pub fn root(&self) -> Root<M::Address> {
        self.root
    }

    /// Translates `iova` for a request that wants all of `wanted`, and does to the entries what the hardware does: it marks
    /// them as accessed, and the leaf as dirty when it is for a write. A request that is only for a translation wants nothing.
    ///
    /// A walk reads one entry a level. Where marks are missing, or permissions, it is repeated with more care: the second walk
    /// decides. When an entry changes before it could be marked, the walk begins again, a bounded number of times. A walk that
    /// ends with a fault changes nothing, except that entries above one whose update faults may be marked already.
    ///
    /// # Errors
    /// Of several reasons, the one that hardware gives: entries in the order of the walk; for the leaf, that it is malformed,
    /// then its access flag, then the permissions of the path.
    #[inline]
    pub fn walk(&self, iova: Iova, wanted: Access) -> Outcome<Walked<M::Address>, M> {
        self.walk_from(None, iova, wanted, |_| {})
    }

    /// The same, but from a table that an earlier walk has reached on the way to `iova`, without a look at the entries above it.
    /// Where that is none of this format's, or `None`, it begins at the root.
    ///
    /// `reached` is told of every table on the way, from the uppermost down, also when the walk ends with a fault further on. It is
    /// not told of those at or below an entry that is yet to be marked: hardware must not find its way without marking.
    ///
    /// # Errors
    /// As [`walk`](Self::walk); of permissions that the earlier walk found wanting, the first entry that was read is told.
    #[inline]
    pub fn walk_from(
        &self,
        from: Option<Reached<M::Address>>,
        iova: Iova,
        wanted: Access,
        mut reached: impl FnMut(Reached<M::Address>),
    ) -> Outcome<Walked<M::Address>, M> {
        let mut unmarked = 0;
        let end = self.descend(from, iova, |step, table| {
            unmarked |= self.format.walked_table(step.entry) ^ step.entry;
            if unmarked == 0 {
                reached(table);
            }
        })?;
        let entry = end.last.entry;
        let marked = unmarked == 0 && self.format.walked_leaf(entry, wanted) == Some(entry);
        let walked = self.walked(iova, &end, entry);
        if marked && walked.access.contains(wanted) {
            return Ok(walked);
        }
        self.walk_with_marks(from, iova, wanted)
    }

    /// What a walk would find, whatever it is for. It changes nothing, and asks neither for permissions nor for marks.
    ///
    /// # Errors
    /// As [`walk`](Self::walk), without those.
    #[inline]
    pub fn look(&self, iova: Iova) -> Outcome<Walked<M::Address>, M> {
        let end = self.descend(None, iova, |_, _| {})?;
        Ok(self.walked(iova, &end, end.last.entry))
    }

    /// As [`look`](Self::look), and hands every entry on the way to `visit`, the root's first, the leaf last. An entry that the
    /// walk ended at with a fault is in the fault.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub fn trace(
        &self,
        iova: Iova,
        mut visit: impl FnMut(WalkStep<M::Address>),
    ) -> Outcome<Walked<M::Address>, M> {
        let end = self.descend(None, iova, |step, _| visit(step))?;
        visit(end.last);
        Ok(self.walked(iova, &end, end.last.entry))
    }

    /// The walk with all its rules.
    #[cold]
    fn walk_with_marks(
        &self,
        from: Option<Reached<M::Address>>,
        iova: Iova,
        wanted: Access,
    ) -> Outcome<Walked<M::Address>, M> {
        let mut attempts = 1;
        loop {
            let path = self.path(from, iova, wanted)?;
            let end = &path.end;
            let Some(entry) = self.format.walked_leaf(end.last.entry, wanted) else {
                return Err(end.last.refused(iova, Refusal::AccessFlag));
            };
            let walked = self.walked(iova, end, entry);
            if !walked.access.contains(wanted) {
                let (step, permitted) = path.narrow.unwrap_or((end.last, walked.access));
                let reason = Refusal::Permission { wanted, permitted };
                return Err(step.refused(iova, reason));
            }
            match self.mark(iova, &path.steps[..path.len], entry)? {
                Marked::AsWanted => return Ok(walked),
                Marked::Changed(step) if attempts == ATTEMPTS => {
                    return Err(step.refused(iova, Refusal::Contended));
                }
                Marked::Changed(_) => attempts += 1,
            }
        }
    }

    #[inline]
    fn walked(&self, iova: Iova, end: &End<M::Address>, entry: u64) -> Walked<M::Address> {
        let WalkStep { at, level, .. } = end.last;
        Walked {
            iova: iova.align_down(end.leaf.size),
            address: M::Address::new(end.leaf.pa.get()),
            size: end.leaf.size,
            access: self.format.path_access(end.access),
            memory_type: self.format.memory_type(entry, level),
            at,
            level,
            entry,
        }
    }

    /// Goes down to the leaf, and keeps the entries on the way.
    fn path(
        &self,
        from: Option<Reached<M::Address>>,
        iova: Iova,
        wanted: Access,
    ) -> Outcome<Path<M::Address>, M> {
        let nothing = WalkStep {
            at: self.root.table,
            level: 0,
            entry: 0,
        };
        let mut steps = [nothing; MOST_LEVELS];
        let mut len = 0;
        let mut narrow = None;
        let mut keep = |step, access: Access| {
            steps[len] = step;
            len += 1;
            if narrow.is_none() && !access.contains(wanted) {
                narrow = Some((step, access));
            }
        };
        let end = self.descend(from, iova, |step, below| keep(step, below.access))?;
        keep(end.last, end.access);
        Ok(Path {
            end,
            steps,
            len,
            narrow,
        })
    }

    /// Goes down to the leaf. `visit` gets each entry above it, and the table that it leads to. Each is at a lower level than the
    /// one before, so there are no more of them than levels.
    #[inline]
    fn descend(
        &self,
        from: Option<Reached<M::Address>>,
        iova: Iova,
        mut visit: impl FnMut(WalkStep<M::Address>, Reached<M::Address>),
    ) -> Outcome<End<M::Address>, M> {
        let Some(input) = input_of(&self.format, self.root.levels, iova) else {
            return Err(WalkFault::Input { iova });
        };
        let Root { mut table, levels } = self.root;
        let mut level = levels - 1;
        let mut index = input >> item_log2::<F>(level);
        let mut access = Access::all();
        if let Some(from) = from
            && let Some(below_root) = table_level::<F>(from.span)
            && below_root < level
        {
            (table, level, access) = (from.table, below_root, from.access);
            index = index_in_table::<F>(input, level);
        }
        loop {
            let at = table.wrapping_add(index * 8);
            let entry = match self.memory.read(at) {
                Ok(entry) => entry,
                Err(fault) => {
                    let step = WalkStep {
                        at,
                        level,
                        entry: 0,
                    };
                    return Err(step.faulted(iova, EntryAction::Read, fault));
                }
            };
            let step = WalkStep { at, level, entry };
            let refused = |reason| Err(step.refused(iova, reason));
            let below = if let Some(next) = self.format.next_table(entry, level) {
                table = M::Address::new(next.get());
                level - 1
            } else {
                match self.format.decode(entry, level) {
                    Entry::Absent => return refused(Refusal::NotPresent),
                    Entry::Malformed(reason) => return refused(reason.into()),
                    Entry::Leaf(leaf) => {
                        access &= self.format.leaf_access(entry);
                        return Ok(End {
                            last: step,
                            leaf,
                            access,
                        });
                    }
                    Entry::Table { level: below, .. } if below >= level => {
                        return refused(Malformed::TableLevel(below).into());
                    }
                    Entry::Table { level: below, .. }
                        if input & item_mask::<F>(level) & !item_mask::<F>(below + 1) != 0 =>
                    {
                        return refused(Malformed::SkippedBits.into());
                    }
                    Entry::Table {
                        table: next,
                        level: below,
                    } => {
                        table = M::Address::new(next.get());
                        below
                    }
                }
            };
            access &= self.format.table_access(entry);
            let span = PageSize::from_log2(table_log2::<F>(below));
            visit(
                step,
                Reached {
                    table,
                    span,
                    access,
                },
            );
            level = below;
            index = index_in_table::<F>(input, level);
        }
    }

    /// Marks the entries of a path as the hardware does, from the root down; `leaf` is what the last becomes.
    fn mark(
        &self,
        iova: Iova,
        steps: &[WalkStep<M::Address>],
        leaf: u64,
    ) -> Outcome<Marked<M::Address>, M> {
        for (left, step) in (0..steps.len()).rev().zip(steps) {
            let walked = match left {
                0 => leaf,
                _ => self.format.walked_table(step.entry),
            };
            if walked == step.entry {
                continue;
            }
            match self.memory.compare_exchange(step.at, step.entry, walked) {
                Ok(Exchange::Done) => {}
                Ok(Exchange::Changed) => return Ok(Marked::Changed(*step)),
                Err(fault) => return Err(step.faulted(iova, EntryAction::Update, fault)),
            }
        }
        Ok(Marked::AsWanted)
    }
}

impl<F: HardwareWalk, M: TableMemory> PageTable<F, M> {
    /// The table as the hardware walks it now. Unlike [`translate`](Self::translate), a walk asks for permissions and marks
    /// the entries that it uses.
    pub fn walker(&self) -> Walker<F, PhysicalEntries<&M>> {
        Walker {
            format: self.format(),
            memory: PhysicalEntries::new(self.memory()),
            root: self.root(),
        }
    }
}

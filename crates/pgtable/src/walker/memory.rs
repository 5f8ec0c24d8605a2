//! How a walk reaches the entries of a table that this program does not own.

use swiommu_addr::{Address, Pa};

use crate::TableMemory;
use crate::sync::{AtomicU64, Ordering};

/// Memory that holds the tables of somebody else, in the words of whoever wrote them: a guest's tables are at guest physical
/// addresses, and each access goes through a second stage, which may refuse.
///
/// Only entries of tables are accessed through it. Where a leaf leads is for the caller of the walk to translate and access,
/// so the two kinds of second-stage fault cannot be mixed up.
///
/// A guest's table in guest memory, which another table translates:
///
/// ```
/// use swiommu_addr::{Gpa, Iova, Pa, PaRange, PageSizes};
/// use swiommu_pgtable::fmt::{VtdSs, X86_64};
/// use swiommu_pgtable::{
///     Access, EntryAction, EntryMemory, Exchange, HeapTables, PageTable, PhysicalEntries, Prot, Root, TableMemory,
///     WalkFault, Walker,
/// };
///
/// type Physical<'a> = PhysicalEntries<&'a HeapTables>;
///
/// struct GuestMemory<'a> {
///     second_stage: &'a PageTable<VtdSs, &'a HeapTables>,
///     memory: Physical<'a>,
/// }
///
/// impl GuestMemory<'_> {
///     /// For the second stage, a guest physical address is what it translates.
///     fn resolve(&self, at: Gpa, wanted: Access) -> Result<Pa, String> {
///         let at = Iova::new(at.get());
///         let found = self.second_stage.walker().walk(at, wanted);
///         found.map(|found| found.resolve(at)).map_err(|fault| fault.to_string())
///     }
/// }
///
/// impl EntryMemory for GuestMemory<'_> {
///     type Address = Gpa;
///     type Fault = String;
///
///     fn read(&self, at: Gpa) -> Result<u64, String> {
///         let pa = self.resolve(at, Access::READ)?;
///         self.memory.read(pa).map_err(|fault| fault.to_string())
///     }
///
///     fn compare_exchange(&self, at: Gpa, old: u64, new: u64) -> Result<Exchange, String> {
///         let pa = self.resolve(at, Access::READ | Access::WRITE)?;
///         self.memory.compare_exchange(pa, old, new).map_err(|fault| fault.to_string())
///     }
/// }
///
/// let memory = HeapTables::new();
/// let second_stage = PageTable::new(VtdSs::four_level(), &memory)?;
/// // The guest has one page, at 0x5000. It is the root of the guest's table, and what its only entry names is nowhere.
/// let page = memory.alloc(swiommu_addr::PageSize::SIZE_4K)?;
/// let run = PaRange::from_len(page, 0x1000).unwrap();
/// assert!(second_stage.map(Iova::new(0x5000), run, Prot::RW, PageSizes::ALL)?.replaced().is_none());
/// let guest = GuestMemory { second_stage: &second_stage, memory: PhysicalEntries::new(&memory) };
/// assert_eq!(guest.compare_exchange(Gpa::new(0x5000), 0, 0x9007), Ok(Exchange::Done));
///
/// let root = Root { table: Gpa::new(0x5000), levels: 4 };
/// let walker = Walker::new(X86_64::four_level(), &guest, root).unwrap();
/// let fault = walker.walk(Iova::new(0x1234), Access::USER_READ).unwrap_err();
/// assert!(matches!(
///     fault,
///     WalkFault::Entry { at, level: 2, action: EntryAction::Read, .. } if at == Gpa::new(0x9000)
/// ));
/// # Ok::<(), swiommu_pgtable::Error>(())
/// ```
pub trait EntryMemory {
    /// What the tables hold as addresses.
    type Address: Address;

    /// Why an entry could not be accessed: whatever the second stage, or the bus, has to say.
    type Fault;

    /// Reads the entry at `at`, a multiple of 8; in memory it is little-endian.
    ///
    /// # Errors
    /// The walk ends with the fault: [`WalkFault::Entry`](crate::WalkFault::Entry).
    fn read(&self, at: Self::Address) -> Result<u64, Self::Fault>;

    /// Writes `new` if the entry at `at` is still `old`, in one atomic step. It is a write access, also when it changes
    /// nothing.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    fn compare_exchange(
        &self,
        at: Self::Address,
        old: u64,
        new: u64,
    ) -> Result<Exchange, Self::Fault>;
}

/// How a compare-and-exchange ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Exchange {
    /// The entry was as expected, and is now as wanted.
    Done,
    /// The entry was something else, and still is.
    Changed,
}

impl<M: EntryMemory + ?Sized> EntryMemory for &M {
    type Address = M::Address;
    type Fault = M::Fault;

    #[inline]
    fn read(&self, at: M::Address) -> Result<u64, M::Fault> {
        (**self).read(at)
    }

    #[inline]
    fn compare_exchange(&self, at: M::Address, old: u64, new: u64) -> Result<Exchange, M::Fault> {
        (**self).compare_exchange(at, old, new)
    }
}

/// The entries in a [`TableMemory`], as hardware that walks them sees them.
#[derive(Clone, Copy, Debug)]
pub struct PhysicalEntries<M>(M);

/// There is no table memory where an entry should be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("no table memory is there")]
pub struct NoTableMemory;

impl<M: TableMemory> PhysicalEntries<M> {
    /// The entries in `memory`.
    pub const fn new(memory: M) -> Self {
        Self(memory)
    }

    #[inline]
    fn entry(&self, at: Pa) -> Result<&AtomicU64, NoTableMemory> {
        match self.0.entries(at, 1) {
            Some([entry]) => Ok(entry),
            _ => Err(NoTableMemory),
        }
    }
}

impl<M: TableMemory> EntryMemory for PhysicalEntries<M> {
    type Address = Pa;
    type Fault = NoTableMemory;

    #[inline]
    fn read(&self, at: Pa) -> Result<u64, NoTableMemory> {
        Ok(u64::from_le(self.entry(at)?.load(Ordering::Acquire)))
    }

    fn compare_exchange(&self, at: Pa, old: u64, new: u64) -> Result<Exchange, NoTableMemory> {
        let replaced = self.entry(at)?.compare_exchange(
            old.to_le(),
            new.to_le(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        Ok(match replaced {
            Ok(_) => Exchange::Done,
            Err(_) => Exchange::Changed,
        })
    }
}

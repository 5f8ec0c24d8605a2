//! Reading a table: one address, or all leaves of a range. Nothing here locks or writes.

use swiommu_addr::{Address, Iova, IovaRange, Pa, PageSize};

use crate::geometry::item_mask;
use crate::straight::Landing;
use crate::table::Span;
use crate::tree::Node;
use crate::{Entry, Error, Format, Leaf, Malformed, PageTable, Prot, TableMemory};

/// A leaf, and the IOVAs that it translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The first IOVA.
    pub iova: Iova,
    /// The physical address that it leads to.
    pub pa: Pa,
    /// How much the leaf maps.
    pub size: PageSize,
    /// What the leaf and all entries above it permit.
    pub prot: Prot,
    /// Whether the slot that was walked is dirty; other slots of the same leaf may differ.
    pub dirty: bool,
}

impl Translation {
    /// All IOVAs that the leaf translates.
    pub fn range(&self) -> IovaRange {
        IovaRange::new(self.iova, self.iova.wrapping_add(self.size.mask()))
            .unwrap_or(IovaRange::full())
    }

    /// Where an IOVA within the leaf leads.
    pub fn resolve(&self, iova: Iova) -> Pa {
        self.pa.wrapping_add(iova.offset_in(self.size))
    }
}

/// The leaf that a walk ended at.
pub(crate) struct Found<'a> {
    pub(crate) node: Node<'a>,
    pub(crate) index: usize,
    pub(crate) entry: u64,
    /// Its permissions are the effective ones.
    leaf: Leaf,
}

/// Where a walk ended without a leaf. Nothing is mapped from there to `last`.
#[derive(Clone, Copy)]
struct Stop {
    last: u64,
    level: u8,
    malformed: Option<(Pa, u64, Malformed)>,
}

impl<F: Format, M: TableMemory> PageTable<F, M> {
    /// The leaf that translates `iova`, as the entries in memory say now.
    ///
    /// ```
    /// # use swiommu_addr::*; use swiommu_pgtable::*; use swiommu_pgtable::fmt::VtdSs;
    /// # let table = PageTable::new(VtdSs::four_level(), HeapTables::new())?;
    /// let run = PaRange::from_len(Pa::new(0x8020_0000), 0x20_0000).unwrap();
    /// assert!(table.map(Iova::new(0x20_0000), run, Prot::READ, PageSizes::ALL)?.replaced().is_none());
    ///
    /// let iova = Iova::new(0x23_4567);
    /// let leaf = table.translate(iova)?;
    /// assert_eq!((leaf.iova, leaf.size, leaf.prot), (Iova::new(0x20_0000), PageSize::SIZE_2M, Prot::READ));
    /// assert_eq!(leaf.resolve(iova), Pa::new(0x8023_4567));
    ///
    /// let (iova, level) = (Iova::new(0x40_0000), 1);
    /// assert_eq!(table.translate(iova), Err(Error::NotMapped { iova, level }));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::NotMapped`] or [`Error::Malformed`].
    #[inline]
    pub fn translate(&self, iova: Iova) -> Result<Translation, Error> {
        let one = IovaRange::new(iova, iova).unwrap_or(IovaRange::full());
        if self.is_plain(one)
            && let Some(found) = self.translate_straight(iova.get())
        {
            return Ok(found);
        }
        self.translate_any(one)
    }

    #[inline]
    fn translate_straight(&self, input: u64) -> Option<Translation> {
        let Landing { node, entry, .. } = self.land(input)?;
        let page = if node.level == 0 {
            self.format.page(entry)
        } else {
            None
        };
        if let Some(page) = page {
            return Some(self.translation(input, page));
        }
        match self.format.decode(entry, node.level) {
            Entry::Leaf(leaf) => Some(self.translation(input, leaf)),
            _ => None,
        }
    }

    #[cold]
    fn translate_any(&self, one: IovaRange) -> Result<Translation, Error> {
        let Span { first: input, .. } = self.span(one)?;
        if !self.is_plain(one)
            && let Some(found) = self.translate_straight(input)
        {
            return Ok(found);
        }
        self.find(one.start(), input)
            .map(|found| self.translation(input, found.leaf))
    }

    /// The leaves that translate any address of `range`, in ascending order, each once.
    ///
    /// Every step is a walk from the root, so the iterator holds on to nothing between two of them, and sees what changes
    /// meanwhile. Malformed entries are passed over.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn leaves(&self, range: IovaRange) -> Result<Leaves<'_, F, M>, Error> {
        let Span { first, last } = self.span(range)?;
        Ok(Leaves {
            table: self,
            next: Some(first),
            last,
        })
    }

    #[inline]
    pub(crate) fn translation(&self, input: u64, leaf: Leaf) -> Translation {
        let Leaf {
            pa,
            size,
            prot,
            dirty,
        } = leaf;
        Translation {
            iova: self.iova(input & !size.mask()),
            pa,
            size,
            prot,
            dirty,
        }
    }

    /// The slot of the leaf that translates `iova`, which is `input` to the walk.
    pub(crate) fn find(&self, iova: Iova, input: u64) -> Result<Found<'_>, Error> {
        self.walk(input).map_err(
            |Stop {
                 level, malformed, ..
             }| match malformed {
                None => Error::NotMapped { iova, level },
                Some((at, entry, reason)) => Error::Malformed {
                    iova,
                    at,
                    entry,
                    level,
                    reason,
                },
            },
        )
    }

    /// The walk with all its rules.
    fn walk(&self, input: u64) -> Result<Found<'_>, Stop> {
        let root = self.root();
        let beyond = Stop {
            last: u64::MAX,
            level: root.levels - 1,
            malformed: None,
        };
        let mut node = self.root_node(root).ok_or(beyond)?;
        let mut index = node.root_index::<F>(input).ok_or(beyond)?;
        let mut limit = Prot::RW;
        loop {
            let entry = node.slots.get(index);
            let level = node.level;
            let stop = |malformed: Option<Malformed>| {
                let malformed = malformed.map(|reason| (node.entry_pa(index), entry, reason));
                Err(Stop {
                    last: input | item_mask::<F>(level),
                    level,
                    malformed,
                })
            };
            let (table, below) = match self.format.decode(entry, level) {
                Entry::Leaf(leaf) => {
                    let leaf = Leaf {
                        prot: leaf.prot.limited_by(limit),
                        ..leaf
                    };
                    return Ok(Found {
                        node,
                        index,
                        entry,
                        leaf,
                    });
                }
                Entry::Absent => return stop(None),
                Entry::Malformed(reason) => return stop(Some(reason)),
                Entry::Table { table, level } => (table, level),
            };
            if input & item_mask::<F>(level) & !item_mask::<F>(below + 1) != 0 {
                return stop(Some(Malformed::SkippedBits));
            }
            let Some(next) = self.tree().node(table, below) else {
                return stop(Some(Malformed::NoTableMemory));
            };
            limit = self.format.limit(entry).limited_by(limit);
            node = next;
            index = node.index::<F>(input);
        }
    }
}

/// The leaves of a range: see [`PageTable::leaves`].
#[derive(Debug)]
pub struct Leaves<'a, F: Format, M: TableMemory> {
    table: &'a PageTable<F, M>,
    /// The next input address to look at.
    next: Option<u64>,
    last: u64,
}

impl<F: Format, M: TableMemory> Iterator for Leaves<'_, F, M> {
    type Item = Translation;

    fn next(&mut self) -> Option<Translation> {
        loop {
            let input = self.next.filter(|&input| input <= self.last)?;
            let found = self.table.walk(input);
            let last = found
                .as_ref()
                .map_or_else(|stop| stop.last, |found| input | found.leaf.size.mask());
            self.next = last.checked_add(1);
            if let Ok(found) = found {
                return Some(self.table.translation(input, found.leaf));
            }
        }
    }
}

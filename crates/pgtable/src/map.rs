//! Mapping: a look at what is there, a count of what is missing, then changes that cannot fail.

use core::ops::Range;

use swiommu_addr::{Iova, IovaRange, Pa, PaRange, PageSizes};

use crate::geometry::{item_log2, item_mask, leaf_level};
use crate::layout::{Layout, Piece};
use crate::reserve::Reserve;
use crate::slots::{read, write_series};
use crate::tree::{Child, Node};
use crate::{
    DetachedTables, Error, Format, LeafSlots, OutOfMemory, PageTable, Prot, TableMemory, Unmapped,
};

/// What a map needs, as found before it changes anything.
#[derive(Default)]
struct Needs {
    /// New tables.
    tables: usize,
    /// Some leaf takes the place of empty tables.
    replaces: bool,
}

/// What a map works with.
struct Work<'a, 'r, F: Format, M: TableMemory> {
    layout: Layout<'r>,
    attributes: u64,
    reserve: Reserve<'a, F, M>,
    replaces: bool,
    replaced: DetachedTables<F>,
}

/// Who can see a table that is being filled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Everybody: it is part of the tree.
    ByAll,
    /// Nobody yet, and all its entries are still to be written.
    ByNone,
}

impl<F: Format, M: TableMemory> PageTable<F, M> {
    /// Maps `iova` and what follows to one range of physical memory: [`map_runs`](Self::map_runs) with a single run.
    pub fn map(
        &self,
        iova: Iova,
        run: PaRange,
        prot: Prot,
        sizes: PageSizes,
    ) -> Result<Option<Unmapped<F>>, Error> {
        self.map_runs(iova, &[run], prot, sizes)
    }

    /// Maps `iova` and what follows to several ranges of physical memory, one after the other; each begins a new leaf.
    ///
    /// Every leaf is the largest, of those that the table offers and `sizes` allows, to which its IOVA and its physical
    /// address are aligned and which the rest of its run fills.
    ///
    /// `Some` is returned when leaves took the place of empty tables, which unmaps smaller than a table leave behind:
    /// caches may still know those tables, so they are owed for like anything unmapped.
    ///
    /// # Errors
    /// Any of [`Error`] except [`Error::NotMapped`], and then no translation has changed and no table is lost. (The root of
    /// a format whose root grows may have grown.)
    pub fn map_runs(
        &self,
        iova: Iova,
        runs: &[PaRange],
        prot: Prot,
        sizes: PageSizes,
    ) -> Result<Option<Unmapped<F>>, Error> {
        let sizes = self.page_sizes().intersection(sizes);
        let range = self.check(iova, runs, sizes)?;
        let span = self.span(range)?;
        let attributes = self
            .format()
            .attributes(prot)
            .ok_or(Error::Inexpressible { prot })?;
        let root = self.grow(span.last)?;
        let root = self.root_node(root).ok_or(OutOfMemory)?;

        let layout = Layout::new(sizes, span.first, runs);
        let node = self.narrow(root, span);
        let mut needs = Needs::default();
        self.plan(
            Some(node),
            node.level,
            span.last,
            &mut layout.clone(),
            &mut needs,
        )?;
        let mut work = Work {
            layout,
            attributes,
            reserve: Reserve::new(self.tree(), needs.tables)?,
            replaces: needs.replaces,
            replaced: DetachedTables::new(self.format()),
        };
        self.fill(node, Seen::ByAll, span.last, &mut work)?;
        Ok((!work.replaced.is_empty()).then(|| Unmapped::new(range, 0, work.replaced)))
    }

    /// The IOVAs of a request whose numbers make sense.
    fn check(&self, iova: Iova, runs: &[PaRange], sizes: PageSizes) -> Result<IovaRange, Error> {
        let leaf = sizes.smallest().ok_or(Error::NoLeafSize)?;
        let bits = self.format().output_bits();
        let mut len = Some(0_u64);
        for &run in runs {
            if run.last().get() >> bits != 0 {
                return Err(Error::OutputOutOfRange { range: run, bits });
            }
            if !run.is_aligned(leaf) {
                return Err(Error::MisalignedPa { range: run, leaf });
            }
            len = len.and_then(|sum| sum.checked_add(run.len()?));
        }
        if len == Some(0) {
            return Err(Error::Empty { iova });
        }
        let Some(range) = len.and_then(|len| IovaRange::from_len(iova, len)) else {
            let to_the_end = IovaRange::new(iova, Iova::new(u64::MAX));
            return Err(Error::OutOfRange {
                range: to_the_end.unwrap_or(IovaRange::full()),
            });
        };
        if range.is_aligned(leaf) {
            Ok(range)
        } else {
            Err(Error::MisalignedIova { range, leaf })
        }
    }

    /// Checks that nothing is mapped from the position of `layout` to `last`, and counts the tables to be added. `node` is
    /// the table of `level` there, if it exists.
    fn plan(
        &self,
        node: Option<Node<'_>>,
        level: u8,
        last: u64,
        layout: &mut Layout<'_>,
        needs: &mut Needs,
    ) -> Result<(), Error> {
        while layout.input() != last.wrapping_add(1) {
            let input = layout.input();
            let piece = layout.piece().ok_or(Error::NoLeafSize)?;
            if leaf_level::<F>(piece.size.log2()) == level {
                let bytes = bytes_here(piece, input, last);
                if let Some(node) = node {
                    self.plan_leaves(node, node.slots_of::<F>(input, bytes), input, needs)?;
                }
                layout.advance(bytes);
            } else {
                let child = match node {
                    Some(node) => self.table_at(node, node.index::<F>(input), input)?,
                    None => None,
                };
                needs.tables += usize::from(child.is_none());
                let child_last = last.min(input | item_mask::<F>(level));
                self.plan(child, level - 1, child_last, layout, needs)?;
            }
        }
        Ok(())
    }

    /// The table that an entry points to, for a mapping that continues below it.
    fn table_at<'a>(
        &'a self,
        node: Node<'a>,
        index: usize,
        input: u64,
    ) -> Result<Option<Node<'a>>, Error> {
        let entry = node.slots.get(index);
        match self.tree().child(entry, node.level) {
            Child::Absent => Ok(None),
            Child::Table(child) => Ok(Some(child)),
            Child::Leaf(_) => Err(Error::AlreadyMapped {
                iova: self.iova(input),
            }),
            Child::Malformed(reason) => Err(Error::Malformed {
                iova: self.iova(input),
                at: node.entry_pa(index),
                entry,
                level: node.level,
                reason,
            }),
        }
    }

    /// Checks that nothing is mapped where leaves are to be written.
    fn plan_leaves(
        &self,
        node: Node<'_>,
        slots: Range<usize>,
        input: u64,
        needs: &mut Needs,
    ) -> Result<(), Error> {
        let first = slots.start;
        for (offset, slot) in node.slots.0[slots].iter().enumerate() {
            if !self.format().is_absent(read(slot)) {
                let input = input + ((offset as u64) << item_log2::<F>(node.level));
                self.plan_replacement(node, first + offset, input, needs)?;
            }
        }
        Ok(())
    }

    /// Checks that an entry in the way of a leaf is only an empty table.
    #[cold]
    fn plan_replacement(
        &self,
        node: Node<'_>,
        index: usize,
        input: u64,
        needs: &mut Needs,
    ) -> Result<(), Error> {
        if let Some(child) = self.table_at(node, index, input)? {
            if let Some(mapped) = self.tree().first_mapped(child, input) {
                return Err(Error::AlreadyMapped {
                    iova: self.iova(mapped),
                });
            }
            needs.replaces = true;
        }
        Ok(())
    }

    /// Maps from the position of the layout to `last`, all of which this table translates.
    fn fill<'a>(
        &'a self,
        node: Node<'_>,
        seen: Seen,
        last: u64,
        work: &mut Work<'a, '_, F, M>,
    ) -> Result<(), Error> {
        while work.layout.input() != last.wrapping_add(1) {
            let input = work.layout.input();
            let Some(piece) = work.layout.piece() else {
                break;
            };
            if leaf_level::<F>(piece.size.log2()) == node.level {
                let bytes = bytes_here(piece, input, last);
                let slots = node.slots_of::<F>(input, bytes);
                if work.replaces && seen == Seen::ByAll {
                    self.detach_tables(node, slots.clone(), &mut work.replaced);
                }
                self.write_leaves(node, slots, piece, work);
                work.layout.advance(bytes);
                continue;
            }
            let index = node.index::<F>(input);
            let child_last = last.min(input | item_mask::<F>(node.level));
            let entry = match seen {
                Seen::ByAll => node.slots.get(index),
                Seen::ByNone => 0,
            };
            if let Child::Table(child) = self.tree().child(entry, node.level) {
                self.fill(child, Seen::ByAll, child_last, work)?;
            } else if child_last - input == item_mask::<F>(node.level) {
                let child = work.reserve.take(node.level - 1)?;
                self.fill(child, Seen::ByNone, child_last, work)?;
                node.slots.publish(index, self.table_entry(child));
            } else {
                let child = self.install(node, index, entry, work)?;
                self.fill(child, Seen::ByAll, child_last, work)?;
            }
        }
        Ok(())
    }

    /// Puts an empty table into an entry, unless another mapping of neighbouring addresses comes first: then that table.
    fn install<'a>(
        &'a self,
        node: Node<'_>,
        index: usize,
        mut entry: u64,
        work: &mut Work<'a, '_, F, M>,
    ) -> Result<Node<'a>, Error> {
        let child = work.reserve.take(node.level - 1)?;
        child.slots.clear_all();
        while let Err(now) = node.slots.replace(index, entry, self.table_entry(child)) {
            if let Child::Table(other) = self.tree().child(now, node.level) {
                work.reserve.put_back(child);
                return Ok(other);
            }
            entry = now;
        }
        Ok(child)
    }

    fn table_entry(&self, child: Node<'_>) -> u64 {
        self.format().table(child.level + 1) | self.format().address(child.pa)
    }

    fn detach_tables(&self, node: Node<'_>, slots: Range<usize>, replaced: &mut DetachedTables<F>) {
        for slot in &node.slots.0[slots] {
            if let Child::Table(child) = self.tree().child(read(slot), node.level) {
                replaced.push(child);
            }
        }
    }

    fn write_leaves(
        &self,
        node: Node<'_>,
        slots: Range<usize>,
        piece: Piece,
        work: &Work<'_, '_, F, M>,
    ) {
        let format = self.format();
        let slots = &node.slots.0[slots];
        let bits = format.leaf(piece.size, node.level, work.attributes);
        let item = 1 << item_log2::<F>(node.level);
        let mut pa = work.layout.pa();
        let slots_per_leaf = 1 << (u32::from(piece.size.log2()) - item_log2::<F>(node.level));
        // Adding instead of OR-ing tells the compiler that the entries of a linear format form a series.
        if slots_per_leaf == 1 || F::SLOTS == LeafSlots::OwnAddress {
            write_series(slots, || {
                let entry = bits.wrapping_add(format.address(Pa::new(pa)));
                pa = pa.wrapping_add(item);
                entry
            });
        } else {
            for leaf in slots.chunks_exact(slots_per_leaf) {
                let entry = bits | format.address(Pa::new(pa));
                write_series(leaf, || entry);
                pa = pa.wrapping_add(piece.size.bytes());
            }
        }
    }
}

/// How many bytes of a piece lie in a table in which `input..=last` is to be mapped.
#[inline]
fn bytes_here(piece: Piece, input: u64, last: u64) -> u64 {
    let room = ((last - input) >> piece.size.log2()) + 1;
    piece.count.min(room) << piece.size.log2()
}

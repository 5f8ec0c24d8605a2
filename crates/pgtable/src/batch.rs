//! Translating many addresses: the walks of several go down side by side, so that they wait for memory together.

use core::array;

use swiommu_addr::{Iova, IovaRange};

use crate::table::Root;
use crate::tree::Node;
use crate::{Entry, Error, Format, PageTable, TableMemory, Translation};

/// How many walks go side by side. A core of today has 10 to 16 loads from memory under way at a time.
const LANES: usize = 16;

/// A walk among others.
#[derive(Clone, Copy)]
struct Lane<'a> {
    input: u64,
    /// The table that it has come to.
    node: Node<'a>,
}

impl Lane<'_> {
    #[inline]
    fn entry<F: Format>(&self) -> u64 {
        self.node.slots.get(self.node.index::<F>(self.input))
    }
}

impl<F: Format, M: TableMemory> PageTable<F, M> {
    /// Calls `visit` with each address and what [`translate`](Self::translate) answers for it, in their order.
    ///
    /// Where the tables are in no cache, this takes a fraction of the time of one call after the other: their walks wait for
    /// memory one at a time, when each address depends on the last translation, or a few at a time, as far as the processor
    /// looks ahead. Each address has a result of its own, and each is as of some moment during the call.
    ///
    /// ```
    /// # use swiommu_addr::*; use swiommu_pgtable::*; use swiommu_pgtable::fmt::Amdv1;
    /// # let table = PageTable::new(Amdv1::new(), HeapTables::new())?;
    /// # let memory = PaRange::from_len(Pa::new(0x4040_0000), 0x3000).unwrap();
    /// # assert!(table.map(Iova::new(0x1000), memory, Prot::RW, PageSizes::ALL)?.replaced().is_none());
    /// let pages = (0..4).map(|page| Iova::new(page << 12));
    /// let mut found = Vec::new();
    /// table.translate_all(pages, |iova, leaf| found.push(leaf.ok().map(|leaf| leaf.resolve(iova).get())));
    /// assert_eq!(found, [None, Some(0x4040_0000), Some(0x4040_1000), Some(0x4040_2000)]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn translate_all(
        &self,
        iovas: impl IntoIterator<Item = Iova>,
        mut visit: impl FnMut(Iova, Result<Translation, Error>),
    ) {
        let mut iovas = iovas.into_iter();
        let mut group = [Iova::new(0); LANES];
        loop {
            let mut count = 0;
            for (place, iova) in group.iter_mut().zip(&mut iovas) {
                *place = iova;
                count += 1;
            }
            if count == 0 {
                return;
            }
            self.translate_group(&group[..count], &mut visit);
        }
    }

    #[inline]
    fn translate_group(
        &self,
        group: &[Iova],
        visit: &mut impl FnMut(Iova, Result<Translation, Error>),
    ) {
        let root = self.root();
        match root.levels {
            3 => self.walk_group::<3>(root, group, visit),
            4 => self.walk_group::<4>(root, group, visit),
            5 => self.walk_group::<5>(root, group, visit),
            _ => group
                .iter()
                .for_each(|&iova| visit(iova, self.translate(iova))),
        }
    }

    /// Takes all walks of a group down by one level after the other.
    #[inline]
    fn walk_group<const LEVELS: u8>(
        &self,
        root: Root,
        group: &[Iova],
        visit: &mut impl FnMut(Iova, Result<Translation, Error>),
    ) {
        let root = self.root_node(Root {
            table: root.table,
            levels: LEVELS,
        });
        let mut lanes: [Option<Lane<'_>>; LANES] =
            array::from_fn(|lane| self.begin(root?, *group.get(lane)?));
        for level in (1..LEVELS).rev() {
            for lane in lanes.iter_mut().flatten() {
                self.step(lane, level);
            }
        }
        // All are on their way before the first is looked at.
        let entries = lanes.map(|lane| lane.map_or(0, |lane| lane.entry::<F>()));
        for (place, &iova) in group.iter().enumerate() {
            let found = lanes[place].and_then(|lane| self.end(lane, entries[place]));
            visit(iova, found.map_or_else(|| self.translate(iova), Ok));
        }
    }

    #[inline]
    fn begin<'a>(&'a self, root: Node<'a>, iova: Iova) -> Option<Lane<'a>> {
        let one = IovaRange::new(iova, iova)?;
        let input = self.span(one).ok()?.first;
        root.root_index::<F>(input)?;
        Some(Lane { input, node: root })
    }

    /// Follows an ordinary table entry of this level. A walk that does not find one stays where it is.
    #[inline]
    fn step<'a>(&'a self, lane: &mut Lane<'a>, level: u8) {
        let Lane { input, node } = *lane;
        if node.level == level
            && let Some(table) = self.format.open_table(lane.entry::<F>(), level)
            && let Some(below) = self.tree().node(table, level - 1)
        {
            *lane = Lane { input, node: below };
        }
    }

    #[inline]
    fn end(&self, lane: Lane<'_>, entry: u64) -> Option<Translation> {
        match self.format.decode(entry, lane.node.level) {
            Entry::Leaf(leaf) => Some(self.translation(lane.input, leaf)),
            _ => None,
        }
    }
}

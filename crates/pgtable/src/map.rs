//! Mapping: what is asked, and in which steps it is done.

use swiommu_addr::{Iova, IovaRange, Pa, PaRange, PageSize, PageSizes};

use crate::fill::Fill;
use crate::geometry::{item_log2, leaf_level};
use crate::layout::Layout;
use crate::plan::Needs;
use crate::reserve::Reserve;
use crate::slots::{position, write_series};
use crate::straight::Landing;
use crate::{
    Error, Format, LeafSlots, Mapped, OutOfMemory, PageTable, Prot, TableMemory, Unmapped,
};

impl<F: Format, M: TableMemory> PageTable<F, M> {
    /// Maps `iova` and what follows to one range of physical memory: [`map_runs`](Self::map_runs) with a single run.
    ///
    /// ```
    /// # use swiommu_addr::*; use swiommu_pgtable::*; use swiommu_pgtable::fmt::X86_64;
    /// # let memory = HeapTables::new();
    /// let table = PageTable::new(X86_64::four_level(), &memory)?;
    /// let run = PaRange::from_len(Pa::new(0x8020_0000), 0x20_1000).unwrap();
    /// let mapped = table.map(Iova::new(0x4000_0000), run, Prot::RW, PageSizes::ALL)?;
    /// // Nothing was there, not even an empty table that would have to be freed.
    /// assert!(mapped.replaced().is_none());
    ///
    /// let again = table.map(Iova::new(0x4020_0000), run, Prot::READ, PageSizes::ALL);
    /// let iova = Iova::new(0x4020_0000);
    /// assert_eq!(again.unwrap_err(), Error::AlreadyMapped { iova });
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn map(
        &self,
        iova: Iova,
        run: PaRange,
        prot: Prot,
        sizes: PageSizes,
    ) -> Result<Mapped<F>, Error> {
        if self.map_page(iova, run, prot, sizes) {
            return Ok(Mapped::new(None));
        }
        self.map_run(iova, run, prot, sizes)
    }

    /// Maps `iova` and what follows to several ranges of physical memory, one after the other; each begins a new leaf.
    ///
    /// Every leaf is the largest, of those that the table offers and `sizes` allows, to which its IOVA and its physical
    /// address are aligned and which the rest of its run fills.
    ///
    /// ```
    /// # use swiommu_addr::*; use swiommu_pgtable::*; use swiommu_pgtable::fmt::X86_64;
    /// # let table = PageTable::new(X86_64::four_level(), HeapTables::new())?;
    /// // What is contiguous for a device lies in three pieces.
    /// let runs = [(0x7000, 0x1000), (0x8020_0000, 0x20_0000), (0x3000, 0x2000)]
    ///     .map(|(pa, len)| PaRange::from_len(Pa::new(pa), len).unwrap());
    /// let start = Iova::new(0x3f_f000);
    /// assert!(table.map_runs(start, &runs, Prot::RW, PageSizes::ALL)?.replaced().is_none());
    ///
    /// let all = IovaRange::from_len(start, 0x20_3000).unwrap();
    /// let leaves: Vec<_> = table.leaves(all)?.map(|leaf| (leaf.pa.get(), leaf.size)).collect();
    /// let (small, large) = (PageSize::SIZE_4K, PageSize::SIZE_2M);
    /// assert_eq!(leaves, [(0x7000, small), (0x8020_0000, large), (0x3000, small), (0x4000, small)]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Any of [`Error`] except [`Error::NotMapped`], and then no translation has changed and no table is lost. (The root of
    /// a format whose root grows may have grown.)
    #[inline]
    pub fn map_runs(
        &self,
        iova: Iova,
        runs: &[PaRange],
        prot: Prot,
        sizes: PageSizes,
    ) -> Result<Mapped<F>, Error> {
        let sizes = self.page_sizes().intersection(sizes);
        let range = self.check(iova, runs, sizes)?;
        let span = self.span(range)?;
        let attributes = self
            .format
            .attributes(prot)
            .ok_or(Error::Inexpressible { prot })?;
        let root = self.grow(span.last)?;
        // A leaf is smaller than what the root resolves, so that some level can hold it.
        let sizes = sizes.intersection(PageSizes::from_bitmap(self.reach(root)));
        let layout = Layout::new(sizes, span.first, runs).ok_or(Error::NoLeafSize)?;
        let root = self.root_node(root).ok_or(OutOfMemory)?;
        let node = self.narrow(root, span);
        let mut needs = Needs::default();
        self.plan(
            Some(node),
            node.level,
            span.last,
            &mut layout.clone(),
            &mut needs,
        )?;
        let reserve = Reserve::new(self.tree(), needs.tables)?;
        let mut fill = Fill::new(self, layout, attributes, reserve, needs.replaces);
        fill.visible(node, span.last)?;
        let replaced = fill.replaced();
        Ok(Mapped::new(
            (!replaced.is_empty()).then(|| Unmapped::new(range, 0, replaced)),
        ))
    }

    /// Does the smallest map: one page, in a table that exists. `false` says only that it is not one.
    #[inline]
    fn map_page(&self, iova: Iova, run: PaRange, prot: Prot, sizes: PageSizes) -> bool {
        let size = F::GRANULE;
        let plain = IovaRange::new(iova, Iova::new(iova.get() | size.mask()))
            .is_some_and(|range| self.is_plain(range));
        if run.len_minus_one() != size.mask() || !plain || !self.fits(iova, run, size, sizes) {
            return false;
        }
        let Some(attributes) = self.format.attributes(prot) else {
            return false;
        };
        let Some(Landing { node, index, entry }) = self.land(iova.get()) else {
            return false;
        };
        let absent = node.level == 0 && self.format.is_absent(entry);
        if absent {
            let bits = self.format.leaf(size, 0, attributes);
            node.slots
                .publish(index, bits | self.format.address(run.start()));
        }
        absent
    }

    /// Whether a leaf of this size is offered and allowed, aligned, and in the output width.
    #[inline]
    fn fits(&self, iova: Iova, run: PaRange, size: PageSize, sizes: PageSizes) -> bool {
        self.page_sizes().intersection(sizes).contains(size)
            && (iova.get() | run.start().get()) & size.mask() == 0
            && run.last().get() <= self.last_output
    }

    #[inline(never)]
    fn map_run(
        &self,
        iova: Iova,
        run: PaRange,
        prot: Prot,
        sizes: PageSizes,
    ) -> Result<Mapped<F>, Error> {
        if self.map_one_leaf(iova, run, prot, sizes) {
            return Ok(Mapped::new(None));
        }
        self.map_runs(iova, &[run], prot, sizes)
    }

    /// The same as [`map_page`](Self::map_page) for a leaf of any size.
    fn map_one_leaf(&self, iova: Iova, run: PaRange, prot: Prot, sizes: PageSizes) -> bool {
        let Some(size) = run.len().and_then(PageSize::from_bytes) else {
            return false;
        };
        let range = IovaRange::new(iova, Iova::new(iova.get() | size.mask()));
        let span = range.and_then(|range| self.span(range).ok());
        let Some(span) = span.filter(|_| self.fits(iova, run, size, sizes)) else {
            return false;
        };
        let Some(attributes) = self.format.attributes(prot) else {
            return false;
        };
        let Some(Landing { node, index, .. }) = self.land(span.first) else {
            return false;
        };
        if leaf_level::<F>(size) != node.level {
            return false;
        }
        let item = item_log2::<F>(node.level);
        let end = index + (1 << (u32::from(size.log2()) - item));
        let Some(slots) = node.slots.0.get(index..end) else {
            return false;
        };
        if position(slots, |entry| !self.format.is_absent(entry)).is_some() {
            return false;
        }
        let step = match F::SLOTS {
            LeafSlots::Identical => 0,
            LeafSlots::OwnAddress => 1 << item,
        };
        let bits = self.format.leaf(size, node.level, attributes);
        let entry = move |pa| bits | self.format.address(Pa::new(pa));
        write_series(slots, run.start().get(), step, entry);
        true
    }

    /// The IOVAs of a request whose numbers make sense.
    #[inline]
    fn check(&self, iova: Iova, runs: &[PaRange], sizes: PageSizes) -> Result<IovaRange, Error> {
        let leaf = sizes.smallest().ok_or(Error::NoLeafSize)?;
        let mut len = Some(0_u64);
        for &run in runs {
            if run.last().get() > self.last_output {
                let bits = self.format.output_bits();
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
}

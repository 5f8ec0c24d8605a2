//! The page table: its configuration, its root, and what is checked before anything is done.

use core::fmt;

use swiommu_addr::{Iova, IovaRange, Pa, PageSizes};

use crate::geometry::{
    input_mask, input_range, offered_sizes, root_entries, root_size, sign_extend,
};
use crate::sync::{AtomicU64, Ordering};
use crate::tree::{Node, Tree};
use crate::{Error, Format, OutOfMemory, TableMemory, UpperBits};

/// A page table that this program owns, and that hardware, or a model of it, may walk at any time.
///
/// See the [crate documentation](crate) for what may run at the same time as what. Dropping it gives all its tables back
/// to the memory: nobody may be walking it then.
pub struct PageTable<F: Format, M: TableMemory> {
    pub(crate) format: F,
    memory: M,
    /// The address of the root, with the number of levels in the bits below its alignment.
    root: AtomicU64,
    /// How many entries the first root has, and every later one.
    root_entries: usize,
    sizes: PageSizes,
    aperture: IovaRange,
    /// The IOVAs of the aperture that a walk resolves as they are: all but the upper half of a sign-extended table.
    plain: Span,
    /// The last physical address that a leaf can hold.
    pub(crate) last_output: u64,
}

/// Where a walk begins: what goes into the register or structure that names a page table to the hardware.
///
/// `A` is what the table holds as addresses: a guest's tables are at guest physical ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root<A = Pa> {
    /// The root table.
    pub table: A,
    /// How many levels it has.
    pub levels: u8,
}

/// Addresses `first..=last` as the walk resolves them.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Root {
    /// Tables are at least this aligned, which leaves room for the levels.
    const LEVELS_MASK: u64 = 0xf;

    pub(crate) fn pack(self) -> u64 {
        self.table.get() | u64::from(self.levels)
    }

    fn unpack(word: u64) -> Self {
        let levels = word & Self::LEVELS_MASK;
        Self {
            table: Pa::new(word - levels),
            levels: levels as u8,
        }
    }
}

impl<F: Format, M: TableMemory> PageTable<F, M> {
    /// An empty table, with all leaf sizes of the format and all of its input addresses.
    ///
    /// # Errors
    /// [`OutOfMemory`] when there is none for the root.
    pub fn new(format: F, memory: M) -> Result<Self, OutOfMemory> {
        let levels = *format.levels().start();
        let size = root_size(root_entries(&format, levels));
        let table = memory.alloc(size)?;
        let new = Self {
            format,
            memory,
            root: AtomicU64::new(Root { table, levels }.pack()),
            root_entries: root_entries(&format, levels),
            sizes: offered_sizes(&format),
            aperture: input_range(&format),
            plain: plain_span(&format, input_range(&format)),
            last_output: u64::MAX >> (64 - format.output_bits()),
        };
        let node = new.root_node(Root { table, levels }).ok_or(OutOfMemory)?;
        node.slots.clear_all();
        Ok(new)
    }

    /// Restricts the leaf sizes to those that are also in `sizes`.
    #[must_use]
    pub fn with_page_sizes(mut self, sizes: PageSizes) -> Self {
        self.sizes = self.sizes.intersection(sizes);
        self
    }

    /// Restricts the IOVAs to those that also lie in `aperture`; it must hold some IOVA of the format, or nothing changes.
    #[must_use]
    pub fn with_aperture(mut self, aperture: IovaRange) -> Self {
        self.aperture = self
            .aperture
            .intersection(aperture)
            .unwrap_or(self.aperture);
        self.plain = plain_span(&self.format, self.aperture);
        self
    }

    /// The format and its configuration.
    pub fn format(&self) -> F {
        self.format
    }

    /// Where the tables are.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// The leaf sizes on offer (`pgsize_bitmap`).
    pub fn page_sizes(&self) -> PageSizes {
        self.sizes
    }

    /// The range that holds every IOVA that can be mapped. In a sign-extended table it has a hole in its middle.
    pub fn aperture(&self) -> IovaRange {
        self.aperture
    }

    /// Where a walk begins now.
    ///
    /// In formats whose root grows, a [`map`](Self::map) can change it, by one atomic store. The old root is then a table
    /// below the new one, and a walk that begins there finds what it always found. Hardware is told the new root when the
    /// map returns.
    #[inline]
    pub fn root(&self) -> Root {
        Root::unpack(self.root.load(Ordering::Acquire))
    }

    /// Makes `new` the root if the root is still `old`.
    pub(crate) fn replace_root(&self, old: Root, new: Root) -> Result<(), Root> {
        self.root
            .compare_exchange(old.pack(), new.pack(), Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(Root::unpack)
    }

    #[inline]
    pub(crate) fn tree(&self) -> Tree<'_, F, M> {
        Tree {
            format: &self.format,
            memory: &self.memory,
        }
    }

    /// The root's table. The root is the one table that no entry points to, so nothing can have corrupted its address.
    #[inline]
    pub(crate) fn root_node(&self, root: Root) -> Option<Node<'_>> {
        self.tree()
            .table(root.table, root.levels - 1, self.root_entries)
    }

    /// The last input address that this root resolves.
    #[inline]
    pub(crate) fn reach(&self, root: Root) -> u64 {
        u64::MAX >> (64 - self.format.input_bits(root.levels))
    }

    /// The root, and as much of the span as it resolves now: nothing is mapped beyond.
    #[inline]
    pub(crate) fn within_reach(&self, span: Span) -> Option<(Node<'_>, Span)> {
        let root = self.root();
        let last = span.last.min(self.reach(root));
        (span.first <= last).then_some((self.root_node(root)?, Span { last, ..span }))
    }

    /// The IOVA of an input address.
    #[inline]
    pub(crate) fn iova(&self, input: u64) -> Iova {
        match self.format.upper_bits() {
            UpperBits::Zero => Iova::new(input),
            UpperBits::SignExtended => sign_extend(&self.format, input),
        }
    }

    /// The IOVAs of a span, which does not cross the hole of a sign-extended table.
    pub(crate) fn iova_range(&self, span: Span) -> Option<IovaRange> {
        IovaRange::new(self.iova(span.first), self.iova(span.last))
    }

    /// The input addresses of a range, when the table can translate all of it.
    #[inline]
    pub(crate) fn span(&self, range: IovaRange) -> Result<Span, Error> {
        if self.is_plain(range) {
            return Ok(Span {
                first: range.start().get(),
                last: range.last().get(),
            });
        }
        self.span_elsewhere(range)
    }

    /// Whether a walk resolves the IOVAs as they are.
    #[inline]
    pub(crate) fn is_plain(&self, range: IovaRange) -> bool {
        self.plain.first <= range.start().get() && range.last().get() <= self.plain.last
    }

    /// The input addresses of a range that is not plain.
    #[cold]
    fn span_elsewhere(&self, range: IovaRange) -> Result<Span, Error> {
        let out_of_range = Err(Error::OutOfRange { range });
        if !self.aperture.contains_range(range) {
            return out_of_range;
        }
        let (first, last) = (range.start().get(), range.last().get());
        match self.format.upper_bits() {
            UpperBits::Zero => Ok(Span { first, last }),
            UpperBits::SignExtended => {
                let mask = input_mask(&self.format);
                let span = Span {
                    first: first & mask,
                    last: last & mask,
                };
                // Both ends are where the format has addresses, and the hole is not between them.
                let same_half = span.last.wrapping_sub(span.first) == range.len_minus_one();
                if same_half && self.iova_range(span) == Some(range) {
                    Ok(span)
                } else {
                    out_of_range
                }
            }
        }
    }
}

/// The IOVAs of an aperture that are input addresses as they are. There may be none: then `first` is beyond `last`.
fn plain_span<F: Format>(format: &F, aperture: IovaRange) -> Span {
    let highest = match format.upper_bits() {
        UpperBits::Zero => u64::MAX,
        UpperBits::SignExtended => input_mask(format) >> 1,
    };
    Span {
        first: aperture.start().get(),
        last: aperture.last().get().min(highest),
    }
}

impl<F: Format, M: TableMemory> Drop for PageTable<F, M> {
    fn drop(&mut self) {
        let root = self.root();
        if let Some(node) = self.root_node(root) {
            self.tree().free_below(node);
        }
        self.memory.free(root.table, root_size(self.root_entries));
    }
}

impl<F: Format, M: TableMemory> fmt::Debug for PageTable<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageTable")
            .field("format", &self.format)
            .field("root", &self.root())
            .field("page_sizes", &self.sizes)
            .field("aperture", &self.aperture)
            .finish_non_exhaustive()
    }
}

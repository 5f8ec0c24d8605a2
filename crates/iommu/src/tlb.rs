//! Caches of what an IOMMU found in memory: translations ([`Tlb`]), the tables on the way to them ([`Structures`]), and the structures
//! that lead to page tables ([`ContextCache`]).
//!
//! # What makes an invalidation complete
//!
//! Software changes a table in memory, then has the IOMMU invalidate what it cached of it. When that is done, nothing may use the old
//! state any more. Three parties see to it:
//!
//! - Who translates holds a guard of the [`Epochs`](crate::Epochs) from before it looks into a cache until it has used what it
//!   found.
//! - Who finds nothing calls [`Tlb::begin_walk`] *before* it reads the first word from memory or from another cache, and gives what it
//!   finds to [`Walk::insert`]. An entry is dropped there if an invalidation that covers it has begun since: the walk may
//!   have read the tables before they were changed, and nobody would invalidate it again.
//! - Who invalidates calls [`Tlb::invalidate`], of all caches that are concerned, then
//!   [`Epochs::synchronize`](crate::Epochs::synchronize). After the first, no such entry is found any more; after the second,
//!   nobody still uses one that was found before.
//!
//! Where one cache is filled from another, the inner one (contexts, then tables) is invalidated before the outer one (the
//! translations): who fills the outer one from something stale has begun before that is invalidated.

mod caches;
mod context;
mod entry;
mod history;
mod retention;
mod scope;
mod slot;
mod structures;
mod sync;
mod table;
mod tag;
mod writer;

#[cfg(all(loom, test))]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;

use std::fmt;

use swiommu_addr::{Iova, PageSizes};
use swiommu_pgtable::Access;
use swiommu_sabotage::Fault;

use crate::{Hit, Translated};
use entry::{Entry, Page, Picker, Target};
use sync::{AtomicU64, Mutex, Ordering};
use table::Table;
use writer::Writer;

pub use caches::Caches;
pub use context::{ContextCache, Fetch};
pub use entry::Marks;
pub use retention::{Retention, UnknownRetention};
pub use scope::{Scope, TagMatch};
pub use structures::{Locate, Structures, Ways};
pub use tag::Tag;

/// A cache of translations: an IOTLB, or the cache in a device (ATC).
///
/// An entry is a page of 4 KiB or more, under a tag that the model makes of what it tells address spaces by: domain and PASID, VMID and
/// ASID. Whether one page table led there or two makes no difference. Any number of threads look entries up, without a
/// lock and without writing to shared memory.
///
/// Memory grows with the greatest number of entries that there were: at most 64 bytes for each, or 16 KiB, and some for each tag. The
/// addresses of all entries that there may ever be, some 2^23, are reserved from the beginning.
pub struct Tlb {
    retention: Retention,
    /// Picks the smallest pages that there are.
    smallest: AtomicU64,
    /// The sizes of the pages that there are, one bit for each exponent.
    sizes: AtomicU64,
    /// How many invalidations have begun.
    invalidations: AtomicU64,
    table: Table,
    /// Apart from what readers read.
    writer: Box<Mutex<Writer>>,
}

/// A translation from a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cached {
    /// The translation.
    pub translated: Translated,
    /// What the model noted about it.
    pub marks: Marks,
}

impl Cached {
    /// The translation, if it suffices for an access: what was cached for another kind of access may not.
    #[inline]
    pub(crate) fn permitting(self, wanted: Access) -> Option<Hit> {
        let permits = self.translated.access.contains(wanted) || Fault::IgnoreCachedAccess.is_on();
        permits.then(|| self.translated.into())
    }
}

/// What has happened in a cache.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Entries put in, also in place of their predecessor.
    pub inserted: u64,
    /// Entries not put in, because an invalidation came after their walk had begun.
    pub outrun: u64,
    /// Entries taken out by an invalidation.
    pub invalidated: u64,
    /// Entries taken out for want of room.
    pub evicted: u64,
}

impl Tlb {
    /// Without entries.
    pub fn new(retention: Retention) -> Self {
        Self {
            retention,
            smallest: AtomicU64::new(Picker::NOTHING.0),
            sizes: AtomicU64::new(0),
            invalidations: AtomicU64::new(0),
            table: Table::new(retention),
            writer: Box::new(Mutex::new(Writer::new())),
        }
    }

    /// How long entries are kept.
    pub fn retention(&self) -> Retention {
        self.retention
    }

    /// The cached translation of an IOVA; of the smallest page if several have it.
    ///
    /// It may miss an entry while others are put in or taken out.
    #[inline]
    pub fn lookup(&self, tag: impl Into<Tag>, iova: Iova) -> Option<Cached> {
        let tag = tag.into();
        let page = Picker(self.smallest.load(Ordering::Acquire)).page(iova);
        let (page, target) = match self.table.find_at_once(tag, page) {
            Some(target) => (page, target),
            None => self.look_further(tag, iova)?,
        };
        let translated = Translated {
            page: target.page(),
            size: page.size(),
            access: target.access(),
        };
        let marks = target.marks();
        Some(Cached { translated, marks })
    }

    /// Looks in all places. Apart, so that what is found at once costs little.
    #[cold]
    #[inline(never)]
    fn look_further(&self, tag: Tag, iova: Iova) -> Option<(Page, Target)> {
        let mut sizes = self.sizes.load(Ordering::Acquire);
        while sizes != 0 {
            let page = Page::of(iova, sizes.trailing_zeros());
            if let Some((_, target)) = self.table.find(tag, page) {
                return Some((page, target));
            }
            sizes &= sizes - 1;
        }
        None
    }

    /// Begins to look for what the cache does not have: before the first read of what may be changed and then invalidated.
    pub fn begin_walk(&self) -> Walk<'_> {
        Walk {
            tlb: self,
            invalidations: self.invalidations.load(Ordering::Acquire),
            outrun_by: OutrunBy::Covering,
        }
    }

    /// Forgets what `scope` covers, and nothing else. Returns how many entries that were.
    ///
    /// When it returns, no such entry is found any more, and no walk that began before will put one in. Who found one before may
    /// still use it, until [`Epochs::synchronize`](crate::Epochs::synchronize) returns.
    pub fn invalidate(&self, scope: &Scope) -> usize {
        let mut writer = self.writer.lock();
        // A walk that sees the new count also sees what was changed in memory before.
        let count = writer.history.add(scope);
        self.invalidations.store(count, Ordering::Release);
        let removed = writer.invalidate(&self.table, scope);
        self.publish(writer.sizes());
        removed
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.invalidate(&Scope::ALL);
    }

    /// How many entries there are.
    pub fn entries(&self) -> usize {
        self.writer.lock().entries()
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.writer.lock().counters
    }

    /// Bytes of memory that are allocated for entries.
    pub fn allocated(&self) -> usize {
        let _stable = self.writer.lock();
        self.table.allocated()
    }

    /// Returns whether there was no entry of the same tag and page.
    fn insert(&self, walk: &Walk<'_>, entry: Entry, existing: Existing) -> bool {
        let mut writer = self.writer.lock();
        let outrun = match walk.outrun_by {
            OutrunBy::Covering => writer.history.covers_since(walk.invalidations, &entry),
            OutrunBy::Any => writer.history.is_longer_than(walk.invalidations),
        };
        if outrun && !Fault::LateInsert.is_on() {
            writer.counters.outrun += 1;
            return true;
        }
        if let Some((slot, _)) = self.table.find(entry.tag, entry.page) {
            if existing == Existing::Replace {
                writer.counters.inserted += 1;
                slot.retarget(entry.target);
            }
            return false;
        }
        writer.counters.inserted += 1;
        if writer.entries() >= self.retention.limit() {
            writer.evict(&self.table);
        }
        writer.count(&entry);
        writer.put(&self.table, entry);
        self.publish(writer.sizes());
        true
    }

    /// Tells readers which sizes of pages there are.
    fn publish(&self, sizes: PageSizes) {
        if sizes.bitmap() == self.sizes.load(Ordering::Relaxed) {
            return;
        }
        let smallest = sizes
            .smallest()
            .map_or(Picker::NOTHING, |size| Picker::of_size(size.log2().into()));
        self.smallest.store(smallest.0, Ordering::Release);
        self.sizes.store(sizes.bitmap(), Ordering::Release);
    }
}

impl fmt::Debug for Tlb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tlb")
            .field("retention", &self.retention)
            .field("entries", &self.entries())
            .finish_non_exhaustive()
    }
}

/// A walk whose result may be cached.
#[derive(Clone, Copy, Debug)]
#[must_use = "what is found is cached through it"]
pub struct Walk<'a> {
    tlb: &'a Tlb,
    /// How many had begun when it began.
    invalidations: u64,
    outrun_by: OutrunBy,
}

/// Which invalidations keep the result of a walk out that began before them.
#[derive(Clone, Copy, Debug)]
enum OutrunBy {
    Covering,
    Any,
}

/// What becomes of an entry that is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Existing {
    Replace,
    Keep,
}

impl Walk<'_> {
    /// The same walk, whose result is not cached if any invalidation at all has begun since. That is for who has just made known how
    /// its result is invalidated: an invalidation that knew nothing of it had begun before, and one that has yet to begin knows it.
    pub fn outrun_by_any(self) -> Self {
        let outrun_by = OutrunBy::Any;
        Self { outrun_by, ..self }
    }

    /// Caches what was found for the page that `iova` lies in, unless the cache is off, or an invalidation that covers it has
    /// begun since the walk did. An entry of the same tag and page is replaced. Pages smaller than 4 KiB are not cached.
    pub fn insert(&self, tag: impl Into<Tag>, iova: Iova, translated: &Translated, marks: Marks) {
        let line = (tag.into(), iova);
        self.insert_or(Existing::Replace, line, translated, marks);
    }

    /// The same, but an entry of the same tag and page stays. Returns whether there was none.
    pub fn insert_new(
        &self,
        tag: impl Into<Tag>,
        iova: Iova,
        translated: &Translated,
        marks: Marks,
    ) -> bool {
        let line = (tag.into(), iova);
        self.insert_or(Existing::Keep, line, translated, marks)
    }

    #[inline]
    fn insert_or(
        &self,
        existing: Existing,
        (tag, iova): (Tag, Iova),
        translated: &Translated,
        marks: Marks,
    ) -> bool {
        if self.tlb.retention == Retention::Off {
            return true;
        }
        let entry = Entry::new(tag, iova, translated, marks);
        entry.is_none_or(|entry| self.tlb.insert(self, entry, existing))
    }
}

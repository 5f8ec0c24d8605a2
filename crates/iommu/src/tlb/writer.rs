//! What changes a TLB: one thread at a time.

use std::collections::BTreeMap;
use std::mem;
use std::ops::RangeInclusive;

use swiommu_addr::{Iova, IovaRange, PageSize, PageSizes};

use super::entry::{Entry, Page};
use super::history::History;
use super::slot::Slot;
use super::table::{PLACES, Table, WAYS};
use super::{Counters, Scope, TagMatch};

/// How often an entry may push another one to another bucket, before the table grows.
const PUSHES: usize = 256;

/// A table of so many slots does not grow while it has few entries. If they find no place then, somebody chose them to have the
/// same one, and would have the table grow without end.
const LARGE: usize = 4096;

/// What the writers of a TLB know of it.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) counters: Counters,
    pub(super) history: History,
    entries: usize,
    sizes: PageSizes,
    /// How many entries there are of each size, by its exponent.
    by_size: [usize; 64],
    by_tag: BTreeMap<u64, usize>,
    random: u64,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            counters: Counters::default(),
            history: History::default(),
            entries: 0,
            sizes: PageSizes::NONE,
            by_size: [0; 64],
            by_tag: BTreeMap::new(),
            random: 0x2545_f491_4f6c_dd1d,
        }
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// The sizes of the pages that there are.
    pub(super) fn sizes(&self) -> PageSizes {
        self.sizes
    }

    /// Counts an entry that will be put in.
    pub(super) fn count(&mut self, entry: &Entry) {
        let size = entry.page.size();
        self.entries += 1;
        self.by_size[usize::from(size.log2())] += 1;
        self.sizes = self.sizes.with(size);
        *self.by_tag.entry(entry.tag.number()).or_default() += 1;
    }

    fn discount(&mut self, entry: &Entry) {
        let size = entry.page.size();
        let of_size = &mut self.by_size[usize::from(size.log2())];
        self.entries -= 1;
        *of_size -= 1;
        if *of_size == 0 {
            self.sizes = PageSizes::from_bitmap(self.sizes.bitmap() & !size.bytes());
        }
        if let Some(of_tag) = self.by_tag.get_mut(&entry.tag.number()) {
            *of_tag -= 1;
            if *of_tag == 0 {
                self.by_tag.remove(&entry.tag.number());
            }
        }
    }

    /// Puts in an entry that has been counted. The table grows for it.
    #[inline]
    pub(super) fn put(&mut self, table: &Table, entry: Entry) {
        let full = self.entries > table.len() / 4 * 3;
        if !full && let Some(slot) = table.free_at_home(&entry) {
            slot.put(&entry);
        } else {
            self.make_room(table, entry, full);
        }
    }

    fn make_room(&mut self, table: &Table, entry: Entry, full: bool) {
        let pushed_out = if full {
            Some(entry)
        } else {
            self.push(table, entry)
        };
        let mut homeless: Vec<Entry> = pushed_out.into_iter().collect();
        while !homeless.is_empty() {
            let sparse = table.len() > LARGE.max(4 * self.entries);
            if sparse || !table.grow() {
                for entry in &homeless {
                    self.discount(entry);
                }
                self.counters.evicted += homeless.len() as u64;
                return;
            }
            let waiting = mem::take(&mut homeless);
            // From the end, where places are free: what moves, moves up.
            for slot in table.slots().rev() {
                if let Some(entry) = slot.entry()
                    && !table.is_home_of(slot, &entry)
                {
                    slot.remove();
                    homeless.extend(self.push(table, entry));
                }
            }
            homeless.extend(
                waiting
                    .into_iter()
                    .filter_map(|entry| self.push(table, entry)),
            );
        }
    }

    /// Puts an entry in one of its buckets, the one that it takes the place of in another of its own, and so on. Returns what has no
    /// place in the end.
    fn push(&mut self, table: &Table, mut entry: Entry) -> Option<Entry> {
        for push in 0..PUSHES {
            let Some(buckets) = table.buckets(entry.tag, entry.page) else {
                break;
            };
            let is_free = |slot: &&Slot| slot.is_free();
            let is_guest = |slot: &&Slot| {
                let other = slot.entry();
                other.is_some_and(|other| !table.is_home_of(slot, &other))
            };
            let mut slots = buckets.into_iter().flatten();
            let mut place = buckets[0].iter().find(is_free);
            if place.is_none() && push == 0 {
                // Who looks for an entry looks in its first bucket first, so one for which this is another gives way.
                place = buckets[0].iter().find(is_guest);
            }
            let slot = place.or_else(|| slots.find(is_free)).unwrap_or_else(|| {
                let random = self.random();
                &buckets[random % PLACES][random / PLACES % WAYS]
            });
            let pushed = slot.entry();
            slot.put(&entry);
            entry = pushed?;
        }
        Some(entry)
    }

    /// Takes a random entry out.
    pub(super) fn evict(&mut self, table: &Table) {
        let first = self.random() % table.len().max(1);
        let mut entries = table
            .slots_from(first)
            .filter_map(|slot| Some((slot, slot.entry()?)));
        if let Some((slot, entry)) = entries.next() {
            self.remove(slot, &entry);
            self.counters.evicted += 1;
        }
    }

    /// Takes out what `scope` covers. Returns how many entries that were.
    pub(super) fn invalidate(&mut self, table: &Table, scope: &Scope) -> usize {
        let before = self.entries;
        let tags = self.tags(scope.tags);
        if tags.is_empty() {
            return 0;
        }
        let range = scope.range.unwrap_or_else(IovaRange::full);
        let pages = self.sizes.iter().map(|size| {
            let pages = pages(range, size);
            pages.end() - pages.start() + 1
        });
        let pages = pages.fold(0, u64::saturating_add);
        if pages.saturating_mul(tags.len() as u64) <= table.len() as u64 / 4 {
            self.look_for(table, scope, range, &tags);
        } else {
            self.look_through(table, scope, &tags);
        }
        before - self.entries
    }

    /// Takes out what a scope covers, by looking for each page of its range.
    fn look_for(&mut self, table: &Table, scope: &Scope, range: IovaRange, tags: &[(u64, usize)]) {
        for size in self.sizes.iter() {
            for number in pages(range, size) {
                let page = Page::of(Iova::new(number << size.log2()), size.log2().into());
                for (tag, _) in tags {
                    if let Some((slot, _)) = table.find((*tag).into(), page) {
                        self.remove_if_covered(slot, scope);
                    }
                }
            }
        }
    }

    /// Takes out what a scope covers, by looking at all slots until its tags have no more entries.
    fn look_through(&mut self, table: &Table, scope: &Scope, tags: &[(u64, usize)]) {
        let mut left: usize = tags.iter().map(|(_, entries)| entries).sum();
        let mut slots = table.slots();
        while left > 0
            && let Some(slot) = slots.next()
        {
            if slot
                .entry()
                .is_some_and(|entry| scope.tags.matches(entry.tag.number()))
            {
                self.remove_if_covered(slot, scope);
                left -= 1;
            }
        }
    }

    fn remove_if_covered(&mut self, slot: &Slot, scope: &Scope) {
        if let Some(entry) = slot.entry()
            && scope.covers(&entry)
        {
            self.remove(slot, &entry);
            self.counters.invalidated += 1;
        }
    }

    fn remove(&mut self, slot: &Slot, entry: &Entry) {
        slot.remove();
        self.discount(entry);
    }

    /// The tags that match and have entries, and how many.
    fn tags(&self, tags: TagMatch) -> Vec<(u64, usize)> {
        let all = if tags == TagMatch::exact(tags.value) {
            self.by_tag.range(tags.value..=tags.value)
        } else {
            self.by_tag.range(..)
        };
        let matching = all.filter(|(tag, _)| tags.matches(**tag));
        matching.map(|(tag, entries)| (*tag, *entries)).collect()
    }

    /// Xorshift. The bits above the lowest 32 are the better ones.
    fn random(&mut self) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 32) as usize
    }
}

/// The numbers of the pages that meet a range.
fn pages(range: IovaRange, size: PageSize) -> RangeInclusive<u64> {
    range.start().get() >> size.log2()..=range.last().get() >> size.log2()
}

//! Where the slots are: a hash table that is read without a lock while it grows.
//!
//! Each entry may be in one of three buckets, of two slots each; who looks for it looks there and nowhere else. Most are in the
//! first. Slots never move: to grow, more of the buckets are used, and the entries move to where they are looked for then. Readers
//! that are still looking by the old count find nothing, which a cache may always say, or what they look for, because a slot is
//! compared in full.
//!
//! Addresses are reserved for all buckets that there may ever be, so that a reader needs neither a lock nor a way to where they
//! are now. They take no memory before they are used.

use std::ptr;

use super::entry::{Entry, Page, Target};
use super::slot::Slot;
use super::sync::{AtomicU64, Ordering};
use super::{Retention, Tag};

/// Slots of a bucket, and buckets that an entry may be in.
pub(super) const WAYS: usize = 2;
pub(super) const PLACES: usize = 3;

/// The buckets that are used at first, and that a table grows by at least: a page.
const FIRST: usize = if cfg!(all(loom, test)) { 1 } else { 64 };

/// The most slots that a table reserves.
const MOST: usize = if cfg!(all(loom, test)) { 4 } else { 1 << 24 };

#[derive(Debug)]
pub(super) struct Table {
    /// Those that are used, and the rest.
    buckets: Buckets,
    /// How many are used.
    used: AtomicU64,
}

/// A line of the processor's cache.
#[derive(Debug)]
#[cfg_attr(not(all(loom, test)), derive(zerocopy::FromZeros))]
#[repr(align(64))]
pub(super) struct Bucket([Slot; WAYS]);

impl Bucket {
    /// Where the entry leads. It may be missed if another tag has an entry for the page here.
    ///
    /// Which of the two slots it is nobody can foretell, so it is not asked by a branch.
    #[inline]
    fn find_at_once(&self, tag: Tag, page: Page) -> Option<Target> {
        let [_, second] = &self.0;
        self.0[usize::from(second.has(page))].find(tag, page)
    }
}

#[cfg(not(all(loom, test)))]
type Buckets = swiommu_mem::Sparse<Bucket>;
#[cfg(all(loom, test))]
type Buckets = Box<[Bucket]>;

/// Addresses for so many buckets, or fewer if the host has not as many.
#[cfg(not(all(loom, test)))]
fn reserve(buckets: usize) -> Buckets {
    match Buckets::new(buckets) {
        Ok(reserved) => reserved,
        Err(error) => {
            let slots = buckets / 2 * WAYS;
            tracing::warn!(%error, slots, "a cache has fewer places than it should");
            reserve(buckets / 2)
        }
    }
}

#[cfg(all(loom, test))]
fn reserve(buckets: usize) -> Buckets {
    let bucket = |_| Bucket(std::array::from_fn(|_| Slot::new()));
    (0..buckets).map(bucket).collect()
}

/// Odd numbers without a pattern. From bit 12 on a page is its number, and that is multiplied by the golden ratio: pages in a row
/// are spread as evenly as can be.
const PAGES: u64 = 0xd1b5_4a32_d192_ed03 << 52 | 0x9e37_79b9_7f4a_7c15 >> 12;
const OTHERS: u64 = 0xa24b_aed4_963e_e407;

/// A number that looks random, and chooses a bucket by its upper bits.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    #[inline]
    fn of(tag: Tag, page: Page) -> Self {
        Self((tag.spread() ^ page.word()).wrapping_mul(PAGES))
    }

    /// For the other buckets. The first one is as regular as addresses are: good for pages in a row, and bad for some patterns. These
    /// are not.
    fn others(self) -> [Self; PLACES - 1] {
        let other = (self.0 ^ self.0 >> 32).wrapping_mul(OTHERS);
        [Self(other), Self(other.rotate_left(32))]
    }

    /// The hash as a fraction of 2^64, of the buckets that are used.
    #[inline]
    fn bucket(self, used: u64) -> usize {
        let (_, whole) = self.0.carrying_mul(used, 0);
        index(whole)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is less than a length")]
#[inline]
fn index(number: u64) -> usize {
    number as usize
}

impl Table {
    /// With no slots used.
    pub(super) fn new(retention: Retention) -> Self {
        let most = match retention {
            Retention::Off => 0,
            _ => MOST / WAYS,
        };
        Self {
            buckets: reserve(most),
            used: AtomicU64::new(0),
        }
    }

    /// Where the entry of this tag and page leads, if it is in the first of its buckets, where most are. It may be missed there.
    #[inline]
    pub(super) fn find_at_once(&self, tag: Tag, page: Page) -> Option<Target> {
        let bucket = self.bucket(Hash::of(tag, page));
        bucket?.find_at_once(tag, page)
    }

    /// The entry of this tag and page: where it is, and where it leads.
    pub(super) fn find(&self, tag: Tag, page: Page) -> Option<(&Slot, Target)> {
        for bucket in self.buckets(tag, page)? {
            for slot in bucket {
                if slot.has(page)
                    && let Some(target) = slot.find(tag, page)
                {
                    return Some((slot, target));
                }
            }
        }
        None
    }

    /// The buckets that an entry may be in.
    pub(super) fn buckets(&self, tag: Tag, page: Page) -> Option<[&[Slot; WAYS]; PLACES]> {
        let first = Hash::of(tag, page);
        let [second, third] = first.others();
        let slots = |hash: Hash| Some(&self.bucket(hash)?.0);
        Some([slots(first)?, slots(second)?, slots(third)?])
    }

    #[inline]
    fn bucket(&self, hash: Hash) -> Option<&Bucket> {
        let used = self.used.load(Ordering::Acquire);
        self.buckets.get(hash.bucket(used))
    }

    /// A slot without an entry where this one is first looked for.
    #[inline]
    pub(super) fn free_at_home(&self, entry: &Entry) -> Option<&Slot> {
        let bucket = self.bucket(Hash::of(entry.tag, entry.page))?;
        bucket.0.iter().find(|slot| slot.is_free())
    }

    /// Whether the entry is first looked for in this slot's bucket.
    pub(super) fn is_home_of(&self, slot: &Slot, entry: &Entry) -> bool {
        let buckets = self.buckets(entry.tag, entry.page);
        buckets.is_some_and(|[first, ..]| first.iter().any(|place| ptr::eq(place, slot)))
    }

    /// All slots that are used. The first bucket of an entry comes later in it when the table has grown.
    pub(super) fn slots(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        self.used().iter().flat_map(|bucket| &bucket.0)
    }

    /// The same, from one of them around to it.
    pub(super) fn slots_from(&self, first: usize) -> impl Iterator<Item = &Slot> {
        let used = self.used();
        let len = used.len() * WAYS;
        let places = (0..len).map(move |n| (first + n) % len);
        places.map(|place| &used[place / WAYS].0[place % WAYS])
    }

    /// How many slots are used.
    pub(super) fn len(&self) -> usize {
        self.used().len() * WAYS
    }

    /// Bytes of memory that it takes.
    pub(super) fn allocated(&self) -> usize {
        size_of_val(self.used())
    }

    /// Uses a quarter more of the slots, at least a page. Until they are moved, entries may not be where they are looked for.
    /// Returns `false` when the table cannot grow further. For the writer only.
    pub(super) fn grow(&self) -> bool {
        let used = self.used().len();
        let more = used + (used / 4 / FIRST * FIRST).max(FIRST);
        let more = more.min(self.buckets.len());
        self.used.store(more as u64, Ordering::Release);
        more > used
    }

    fn used(&self) -> &[Bucket] {
        let used = index(self.used.load(Ordering::Acquire));
        self.buckets.get(..used).unwrap_or_default()
    }
}

/// A tag and an IOVA whose entry has all its places where all such entries have them, in a table of up to 2^11 buckets.
#[cfg(all(test, not(loom)))]
pub(super) fn colliding(seed: &mut u64) -> (Tag, swiommu_addr::Iova) {
    let inverse = |odd: u64| {
        (0..6).fold(odd, |inverse, _| {
            inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)))
        })
    };
    let first = loop {
        *seed += 1;
        let mixed = (*seed | *seed << 32).wrapping_mul(inverse(OTHERS));
        let first = mixed ^ mixed >> 32;
        if first >> 53 == 0 {
            break first;
        }
    };
    let combined = first.wrapping_mul(inverse(PAGES));
    let pages = (0..).map(|number| {
        let tag = Tag::new(number);
        (tag, swiommu_addr::Iova::new(combined ^ tag.spread()))
    });
    let mut pages = pages.map(|(tag, page)| (tag, page, Page::of(page, 12)));
    let found = pages.find(|(_, word, page)| word.get() == page.word());
    found
        .map(|(tag, iova, _)| (tag, iova))
        .expect("three were found")
}

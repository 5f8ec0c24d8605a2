//! Where the slots are: a hash table that is read without a lock while it grows.
//!
//! Each entry may be in one of three buckets, of two slots each; who looks for it looks there and nowhere else. Most are in the
//! first. Slots never move: to grow, chunks of them are added, and the entries move to where they are looked for then. Readers
//! that are still looking by the old count find nothing, which a cache may always say, or what they look for, because a slot is
//! compared in full.
//!
//! A chunk stays until the table is dropped, so a reader needs neither a lock nor a count.

use std::ptr;
use std::sync::{Arc, OnceLock};

use super::Tag;
use super::entry::{Entry, Page, Target};
use super::slot::Slot;
use super::sync::{AtomicUsize, Ordering};

/// Slots of a bucket, and buckets that an entry may be in.
pub(super) const WAYS: usize = 2;
pub(super) const PLACES: usize = 3;

const BUCKETS_LOG2: u32 = if cfg!(all(loom, test)) { 0 } else { 6 };
const BUCKETS: usize = 1 << BUCKETS_LOG2;

/// Slots of a chunk.
const CHUNK: usize = BUCKETS * WAYS;

/// How often a table grows, and once more: to at least 2^26 slots.
const DIRECTORIES: usize = 64;

#[derive(Debug)]
pub(super) struct Table {
    /// Which directory counts.
    current: AtomicUsize,
    /// The first is empty. Each has the chunks of the one before, and more.
    directories: [OnceLock<Directory>; DIRECTORIES],
}

type Directory = Box<[Arc<Chunk>]>;
type Chunk = [Bucket; BUCKETS];

/// A line of the processor's cache.
#[derive(Debug)]
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

    #[inline]
    fn bucket(self, chunks: &[Arc<Chunk>]) -> Option<&Bucket> {
        // The hash as a fraction of 2^64: the whole part of so many chunks, then the bucket by what is left.
        let (rest, chunk) = self.0.carrying_mul(chunks.len() as u64, 0);
        let bucket = rest.unbounded_shr(u64::BITS - BUCKETS_LOG2);
        Some(&chunks.get(index(chunk))?[index(bucket)])
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is less than a length")]
#[inline]
fn index(number: u64) -> usize {
    number as usize
}

impl Table {
    /// Without slots.
    pub(super) fn new() -> Self {
        Self {
            current: AtomicUsize::new(0),
            directories: std::array::from_fn(|number| match number {
                0 => OnceLock::from(Directory::default()),
                _ => OnceLock::new(),
            }),
        }
    }

    /// Where the entry of this tag and page leads, if it is in the first of its buckets, where most are. It may be missed there.
    #[inline]
    pub(super) fn find_at_once(&self, tag: Tag, page: Page) -> Option<Target> {
        let bucket = Hash::of(tag, page).bucket(self.chunks());
        bucket?.find_at_once(tag, page)
    }

    /// Where the entry of this tag and page leads.
    pub(super) fn find(&self, tag: Tag, page: Page) -> Option<Target> {
        let mut buckets = self.buckets(tag, page)?.into_iter().flatten();
        buckets.find_map(|slot| slot.find(tag, page))
    }

    /// The buckets that an entry may be in.
    pub(super) fn buckets(&self, tag: Tag, page: Page) -> Option<[&[Slot; WAYS]; PLACES]> {
        let chunks = self.chunks();
        let first = Hash::of(tag, page);
        let [second, third] = first.others();
        let slots = |hash: Hash| Some(&hash.bucket(chunks)?.0);
        Some([slots(first)?, slots(second)?, slots(third)?])
    }

    /// The slot that has the entry of this tag and page.
    pub(super) fn slot(&self, tag: Tag, page: Page) -> Option<&Slot> {
        let mut slots = self.buckets(tag, page)?.into_iter().flatten();
        slots.find(|slot| slot.find(tag, page).is_some())
    }

    /// Whether the entry is first looked for in this slot's bucket.
    pub(super) fn is_home_of(&self, slot: &Slot, entry: &Entry) -> bool {
        let buckets = self.buckets(entry.tag, entry.page);
        buckets.is_some_and(|[first, ..]| first.iter().any(|place| ptr::eq(place, slot)))
    }

    /// All slots. The first bucket of an entry comes later in it when the table has grown.
    pub(super) fn slots(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        let buckets = self.chunks().iter().flat_map(|chunk| chunk.iter());
        buckets.flat_map(|bucket| &bucket.0)
    }

    /// All slots, from one of them around to it.
    pub(super) fn slots_from(&self, first: usize) -> impl Iterator<Item = &Slot> {
        let chunks = self.chunks();
        let at = |n: usize| &chunks[n / CHUNK][n % CHUNK / WAYS].0[n % WAYS];
        (0..self.len()).map(move |n| at((first + n) % self.len()))
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.chunks().len() * CHUNK
    }

    /// Bytes of memory that it has allocated.
    pub(super) fn allocated(&self) -> usize {
        let directories = self.directories.iter().filter_map(OnceLock::get);
        let pointers: usize = directories.map(|chunks| size_of_val(&**chunks)).sum();
        // The counts of an `Arc` fill a bucket, by its alignment.
        pointers + self.chunks().len() * (size_of::<Chunk>() + size_of::<Bucket>())
    }

    /// Adds a quarter of the slots, at least a chunk. Until they are moved, entries may not be where they are looked for.
    /// Returns `false` when the table cannot grow further. For the writer only.
    pub(super) fn grow(&self) -> bool {
        let old = self.chunks();
        let count = old.len() + (old.len() / 4).max(1);
        let added = (old.len()..count).map(|_| {
            let slots = || std::array::from_fn(|_| Slot::new());
            Arc::new(std::array::from_fn(|_| Bucket(slots())))
        });
        let grown: Directory = old.iter().cloned().chain(added).collect();
        let next = self.current.load(Ordering::Relaxed) + 1;
        let Some(free) = self.directories.get(next) else {
            return false;
        };
        let set = free.set(grown).is_ok();
        self.current.store(next, Ordering::Release);
        set
    }

    #[inline]
    fn chunks(&self) -> &[Arc<Chunk>] {
        let current = self.current.load(Ordering::Acquire) % DIRECTORIES;
        self.directories[current].get().map_or(&[], |chunks| chunks)
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

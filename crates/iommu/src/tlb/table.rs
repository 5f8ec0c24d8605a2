//! Where the slots are: a hash table that is read without a lock while it grows.
//!
//! Each entry may be in one of two buckets, of two slots each; who looks for it looks in both and nowhere else. Slots never
//! move: to grow, chunks of them are added, and the entries are put in anew. Readers that are still looking by the old count
//! find nothing, which a cache may always say, or what they look for, because a slot is compared in full.
//!
//! A chunk stays until the table is dropped, so a reader needs neither a lock nor a count.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::entry::{Page, Target};
use super::slot::Slot;

const WAYS: usize = 2;

const BUCKETS_LOG2: u32 = if cfg!(all(loom, test)) { 0 } else { 6 };
const BUCKETS: usize = 1 << BUCKETS_LOG2;

/// Slots of a chunk.
const CHUNK: usize = BUCKETS * WAYS;

/// How often a table grows: to at least 2^27 slots.
const DIRECTORIES: usize = 64;

#[derive(Debug)]
pub(super) struct Table {
    /// Which directory counts.
    current: AtomicUsize,
    /// Each has the chunks of the one before, and more.
    directories: [OnceLock<Directory>; DIRECTORIES],
}

type Directory = Box<[Arc<Chunk>]>;
type Chunk = [Bucket; BUCKETS];

/// A line of the processor's cache.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Bucket([Slot; WAYS]);

impl Bucket {
    #[inline]
    fn find(&self, tag: u64, page: Page) -> Option<Target> {
        self.0.iter().find_map(|slot| slot.find(tag, page))
    }
}

/// Odd numbers without a pattern.
const TAGS: u64 = 0xd1b5_4a32_d192_ed03;
const PAGES: u64 = 0x9e37_79b9_7f4a_7c15;
const OTHERS: u64 = 0xa24b_aed4_963e_e407;

/// A number that looks random, and chooses a bucket by its upper bits.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    #[inline]
    fn of(tag: u64, page: Page) -> Self {
        let tag = tag.wrapping_mul(TAGS);
        Self((tag ^ page.0).wrapping_mul(PAGES))
    }

    /// For the second bucket.
    #[inline]
    fn other(self) -> Self {
        Self((self.0 ^ self.0 >> 32).wrapping_mul(OTHERS))
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
            directories: [const { OnceLock::new() }; DIRECTORIES],
        }
    }

    /// Where the entry of this tag and page leads, if it is here.
    #[inline]
    pub(super) fn find(&self, tag: u64, page: Page) -> Option<Target> {
        let chunks = self.chunks();
        let hash = Hash::of(tag, page);
        match hash.bucket(chunks)?.find(tag, page) {
            None => hash.other().bucket(chunks)?.find(tag, page),
            found => found,
        }
    }

    /// The two buckets that an entry may be in.
    pub(super) fn buckets(&self, tag: u64, page: Page) -> Option<[&[Slot; WAYS]; 2]> {
        let chunks = self.chunks();
        let hash = Hash::of(tag, page);
        Some([&hash.bucket(chunks)?.0, &hash.other().bucket(chunks)?.0])
    }

    /// The slot that has the entry of this tag and page.
    pub(super) fn slot(&self, tag: u64, page: Page) -> Option<&Slot> {
        let mut slots = self.buckets(tag, page)?.into_iter().flatten();
        slots.find(|slot| slot.find(tag, page).is_some())
    }

    /// All slots.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
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

    /// Adds a quarter of the slots, at least a chunk. Entries may not be where they are looked for until they are put in anew.
    /// Returns `false` when the table cannot grow further. For the writer only.
    pub(super) fn grow(&self) -> bool {
        let old = self.chunks();
        let count = old.len() + (old.len() / 4).max(1);
        let added = (old.len()..count).map(|_| {
            let slots = || std::array::from_fn(|_| Slot::new());
            Arc::new(std::array::from_fn(|_| Bucket(slots())))
        });
        let grown: Directory = old.iter().cloned().chain(added).collect();
        let next = if old.is_empty() {
            0
        } else {
            self.current.load(Ordering::Relaxed) + 1
        };
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

/// A tag whose entry of this IOVA has the two places that all such entries have, in a table of up to 2^16 buckets.
#[cfg(test)]
pub(super) fn colliding_tag(iova: swiommu_addr::Iova, seed: &mut u64) -> u64 {
    let inverse = |odd: u64| {
        (0..6).fold(odd, |inverse, _| {
            inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)))
        })
    };
    loop {
        *seed += 1;
        let hash = Hash(*seed);
        if hash.other().0 >> 48 == 0 {
            let page = Page::of(iova, 12);
            return (hash.0.wrapping_mul(inverse(PAGES)) ^ page.0).wrapping_mul(inverse(TAGS));
        }
    }
}

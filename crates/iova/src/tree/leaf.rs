//! Leaves: the entries themselves.

use alloc::boxed::Box;
use core::array;
use core::mem;

use super::cover::Cover;
use super::keys::{self, LEAF, UNUSED};

/// What happens at one address: an area starts, the cover changes, or both.
pub(super) struct Entry<V> {
    pub(super) start: u64,
    /// The change of cover at `start`.
    pub(super) delta: i32,
    pub(super) extent: Extent<V>,
}

/// How far an entry reaches.
pub(super) struct Extent<V> {
    /// The last address of the area. Without an area `start - 1` (modulo 2^64), so that the gap after any entry starts
    /// at `last + 1`.
    pub(super) last: u64,
    pub(super) area: Option<V>,
}

struct Slot<V> { start: u64, extent: Extent<V> }
impl<V> Slot<V> {
    const UNUSED: Self = Self {
        start: UNUSED,
        extent: Extent {
        last: 0,
        area: None,
        }
    };
}

/// The order of the fields is that of use: a look-up reads the starts and one extent.
#[repr(C)]
pub(super) struct Leaf<V> {
    slots: [Slot<V>; LEAF],
    len: usize,
    /// How many entries have an area.
    areas: usize,
    /// How many entries change the cover.
    edges: usize,
    deltas: [i32; LEAF],
}

/// The addresses between two neighbouring entries; empty when `last` lies below `start`.
pub(super) struct Gap {
    pub(super) cover: i32,
    pub(super) start: u64,
    pub(super) last: u64,
}

impl<V> Leaf<V> {
    pub(super) fn new() -> Self {
        Self {
            slots: array::from_fn(|_| Slot::UNUSED),
            len: 0,
            areas: 0,
            edges: 0,
            deltas: [0; LEAF],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn areas(&self) -> usize {
        self.areas
    }

    pub(super) fn start(&self, slot: usize) -> u64 {
        self.slots[slot].start
    }
    pub(super) fn next(&self, slot: usize) -> Option<u64> {
        (slot < self.len).then(|| self.slots[slot].start)
    }

    /// The last address of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.slots[self.len - 1].extent.last
    }

    /// How many entries start at or below `addr`.
    pub(super) fn rank(&self, addr: u64) -> usize {
        let mut rank = 0;
        for half in self.slots.chunks_exact(8) {
            let mut count = 0;
            for slot in half { count += usize::from(slot.start <= addr); }
            rank += core::hint::black_box(count);
        }
        rank.min(self.len)
    }

    /// The slot of the area that holds `addr`, where [`rank`](Self::rank) of `addr` is `rank`.
    pub(super) fn area_at(&self, rank: usize, addr: u64) -> Option<usize> {
        let slot = rank.checked_sub(1)?;
        let extent = &self.slots[slot].extent;
        (extent.area.is_some() && addr <= extent.last).then_some(slot)
    }

    /// The slot of the entry that starts at `addr`, where [`rank`](Self::rank) of `addr` is `rank`.
    pub(super) fn entry_at(&self, rank: usize, addr: u64) -> Option<usize> {
        let slot = rank.checked_sub(1)?;
        (self.slots[slot].start == addr).then_some(slot)
    }

    pub(super) fn area(&self, slot: usize) -> Option<(u64, u64, &V)> {
        let extent = &self.slots[slot].extent;
        Some((self.slots[slot].start, extent.last, extent.area.as_ref()?))
    }

    pub(super) fn area_mut(&mut self, slot: usize) -> Option<(u64, u64, &mut V)> {
        let extent = &mut self.slots[slot].extent;
        Some((self.slots[slot].start, extent.last, extent.area.as_mut()?))
    }

    /// The slots of the areas, ascending.
    pub(super) fn area_slots(&self) -> impl Iterator<Item = usize> {
        (0..self.len).filter(|&slot| self.slots[slot].extent.area.is_some())
    }

    pub(super) fn cover(&self) -> Cover {
        let mut cover = Cover::EMPTY;
        if self.edges == 0 {
            if self.len > 1 {
                cover.push_gap();
            }
            return cover;
        }
        for (slot, delta) in self.deltas[..self.len].iter().enumerate() {
            if slot > 0 {
                cover.push_gap();
            }
            cover.total += delta;
        }
        cover
    }

    /// The gaps from the one after the entry `first`, where `base` is the cover before the first entry of all.
    pub(super) fn gaps(&self, first: usize, base: i32) -> impl Iterator<Item = Gap> {
        let mut cover = base + self.deltas[..first].iter().sum::<i32>();
        (first + 1..self.len).map(move |next| {
            cover += self.deltas[next - 1];
            Gap {
                cover,
                start: self.slots[next - 1].extent.last.wrapping_add(1),
                last: self.slots[next].start - 1,
            }
        })
    }

    /// Puts `entry` in `slot` and moves the later ones up. There is room: see [`LEAF`].
    pub(super) fn insert(&mut self, slot: usize, entry: Entry<V>) {
        self.areas += usize::from(entry.extent.area.is_some());
        keys::insert(&mut self.slots, self.len, slot, Slot { start: entry.start, extent: entry.extent });
        if self.edges > 0 || entry.delta != 0 {
            self.edges += usize::from(entry.delta != 0);
            keys::insert(&mut self.deltas, self.len, slot, entry.delta);
        }
        self.len += 1;
    }

    pub(super) fn remove(&mut self, slot: usize) -> Entry<V> {
        let Slot { start, extent } = keys::remove(&mut self.slots, self.len, slot, Slot::UNUSED);
        let entry = Entry {
            start,
            delta: if self.edges > 0 {
                keys::remove(&mut self.deltas, self.len, slot, 0)
            } else {
                0
            },
            extent,
        };
        self.len -= 1;
        self.areas -= usize::from(entry.extent.area.is_some());
        self.edges -= usize::from(entry.delta != 0);
        entry
    }

    /// Makes the entry in `slot`, which has no area, the start of one.
    pub(super) fn set_area(&mut self, slot: usize, extent: Extent<V>) {
        self.slots[slot].extent = extent;
        self.areas += 1;
    }

    /// Takes the area that starts in `slot` out; its entry stays if the cover changes there.
    pub(super) fn take_area(&mut self, slot: usize) -> Option<(u64, V)> {
        self.slots[slot].extent.area.as_ref()?;
        let extent = if self.deltas[slot] == 0 {
            self.remove(slot).extent
        } else {
            self.areas -= 1;
            let nothing = Extent {
                last: self.slots[slot].start.wrapping_sub(1),
                area: None,
            };
            mem::replace(&mut self.slots[slot].extent, nothing)
        };
        Some((extent.last, extent.area?))
    }

    /// Makes the area in `slot` end at `last`.
    pub(super) fn shorten(&mut self, slot: usize, last: u64) {
        self.slots[slot].extent.last = last;
    }

    /// Changes the cover at the entry in `slot`, and removes the entry if then nothing happens there.
    pub(super) fn add_delta(&mut self, slot: usize, delta: i32) {
        let old = self.deltas[slot];
        let new = old + delta;
        self.deltas[slot] = new;
        self.edges = self.edges + usize::from(new != 0) - usize::from(old != 0);
        if new == 0 && self.slots[slot].extent.area.is_none() {
            self.remove(slot);
        }
    }

    /// Moves the entries from slot `keep` on to a leaf of their own.
    pub(super) fn split_off(&mut self, keep: usize) -> Box<Self> {
        let mut right = Box::new(Self::new());
        right.take(self, keep);
        right
    }

    /// Appends all entries of `right`, which fit.
    pub(super) fn append(&mut self, mut right: Self) {
        self.take(&mut right, 0);
    }

    /// Appends the entries of `from` from slot `first` on.
    fn take(&mut self, from: &mut Self, first: usize) {
        for slot in first..from.len {
            let Slot { start, extent } = mem::replace(&mut from.slots[slot], Slot::UNUSED);
            let entry = Entry {
                start,
                delta: mem::take(&mut from.deltas[slot]),
                extent,
            };
            from.areas -= usize::from(entry.extent.area.is_some());
            from.edges -= usize::from(entry.delta != 0);
            self.push(entry);
        }
        from.len = first;
    }

    /// Moves entries between neighbours until both have about the same number.
    pub(super) fn even_out(&mut self, right: &mut Self) {
        let half = usize::midpoint(self.len, right.len);
        while self.len < half {
            self.push(right.remove(0));
        }
        while self.len > half {
            right.insert(0, self.remove(self.len - 1));
        }
    }

    fn push(&mut self, entry: Entry<V>) {
        self.insert(self.len, entry);
    }
}

//! Leaves: the entries themselves.

use alloc::boxed::Box;
use core::array;
use core::mem;

use super::cover::Cover;
use super::keys::{self, FANOUT, UNUSED};

/// What starts at an address: an area, or only a change of cover.
pub(super) struct Entry<V> {
    pub(super) start: u64,
    /// The last address of the area. Without an area `start - 1` (modulo 2^64), so that the gap after any entry starts
    /// at `last + 1`.
    pub(super) last: u64,
    pub(super) area: Option<V>,
}

impl<V> Entry<V> {
    const UNUSED: Self = Self {
        start: UNUSED,
        last: 0,
        area: None,
    };

    /// The area, with its first and last address.
    pub(super) fn area(&self) -> Option<(u64, u64, &V)> {
        Some((self.start, self.last, self.area.as_ref()?))
    }
}

/// The order of the fields is that of use: a look-up reads the starts of all entries, and all of one.
#[repr(C)]
pub(super) struct Leaf<V> {
    entries: [Entry<V>; FANOUT],
    len: usize,
    /// How many entries have an area.
    areas: usize,
    /// How many entries change the cover.
    edges: usize,
    /// The change of cover at each entry.
    deltas: [i32; FANOUT],
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
            entries: array::from_fn(|_| Entry::UNUSED),
            len: 0,
            areas: 0,
            edges: 0,
            deltas: [0; FANOUT],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn areas(&self) -> usize {
        self.areas
    }

    pub(super) fn entries(&self) -> &[Entry<V>] {
        &self.entries[..self.len]
    }

    /// How many entries start at or below `addr`.
    #[inline]
    pub(super) fn rank(&self, addr: u64) -> usize {
        keys::rank_leaf(&self.entries, self.len, addr, |entry| entry.start)
    }

    /// The slot of the area that holds `addr`, where [`rank`](Self::rank) of `addr` is `rank`.
    pub(super) fn area_at(&self, rank: usize, addr: u64) -> Option<usize> {
        let slot = rank.checked_sub(1)?;
        let entry = &self.entries[slot];
        (entry.area.is_some() && addr <= entry.last).then_some(slot)
    }

    /// The slot of the entry that starts at `addr`, where [`rank`](Self::rank) of `addr` is `rank`.
    pub(super) fn entry_at(&self, rank: usize, addr: u64) -> Option<usize> {
        let slot = rank.checked_sub(1)?;
        (self.entries[slot].start == addr).then_some(slot)
    }

    /// The value of the area in `slot`, with its first and last address.
    pub(super) fn area_mut(&mut self, slot: usize) -> Option<(u64, u64, &mut V)> {
        let entry = &mut self.entries[slot];
        Some((entry.start, entry.last, entry.area.as_mut()?))
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
                start: self.entries[next - 1].last.wrapping_add(1),
                last: self.entries[next].start - 1,
            }
        })
    }

    /// Puts an entry in `slot` and moves the later ones up. There is room: see [`FANOUT`].
    pub(super) fn insert(&mut self, slot: usize, entry: Entry<V>, delta: i32) {
        self.areas += usize::from(entry.area.is_some());
        self.edges += usize::from(delta != 0);
        if self.edges > 0 {
            keys::insert(&mut self.deltas, self.len, slot, delta);
        }
        keys::insert(&mut self.entries, self.len, slot, entry);
        self.len += 1;
    }

    pub(super) fn remove(&mut self, slot: usize) -> (Entry<V>, i32) {
        let mut delta = 0;
        if self.edges > 0 {
            delta = keys::remove(&mut self.deltas, self.len, slot, 0);
        }
        let entry = keys::remove(&mut self.entries, self.len, slot, Entry::UNUSED);
        self.areas -= usize::from(entry.area.is_some());
        self.edges -= usize::from(delta != 0);
        self.len -= 1;
        (entry, delta)
    }

    /// Inserts an area where there is none, or returns the start of the first area in the way. `after` is the start of the
    /// entry after this leaf.
    pub(super) fn insert_area(
        &mut self,
        start: u64,
        last: u64,
        value: V,
        after: Option<u64>,
    ) -> Result<(), u64> {
        let rank = self.rank(start);
        let next = self.entries().get(rank).map(|entry| entry.start).or(after);
        if let Some(next) = next.filter(|&next| next <= last) {
            return Err(next);
        }
        let area = Some(value);
        match rank.checked_sub(1).map(|slot| &mut self.entries[slot]) {
            Some(below) if below.area.is_some() && start <= below.last => return Err(below.start),
            Some(below) if below.start == start => {
                *below = Entry { start, last, area };
                self.areas += 1;
            }
            _ => self.insert(rank, Entry { start, last, area }, 0),
        }
        Ok(())
    }

    /// Takes the area that starts in `slot` out; its entry stays if the cover changes there.
    pub(super) fn take_area(&mut self, slot: usize) -> Option<(u64, V)> {
        self.entries[slot].area.as_ref()?;
        let entry = if self.deltas[slot] == 0 {
            self.remove(slot).0
        } else {
            self.areas -= 1;
            let edge = edge(self.entries[slot].start);
            mem::replace(&mut self.entries[slot], edge)
        };
        Some((entry.last, entry.area?))
    }

    /// Makes the area in `slot` end at `last`.
    pub(super) fn shorten(&mut self, slot: usize, last: u64) {
        self.entries[slot].last = last;
    }

    /// Changes the cover by `delta` from `start` on.
    pub(super) fn add_cover(&mut self, start: u64, delta: i32) {
        let rank = self.rank(start);
        let Some(slot) = self.entry_at(rank, start) else {
            self.insert(rank, edge(start), delta);
            return;
        };
        let old = mem::take(&mut self.deltas[slot]);
        let new = old + delta;
        self.edges -= usize::from(old != 0);
        self.edges += usize::from(new != 0);
        self.deltas[slot] = new;
        if new == 0 && self.entries[slot].area.is_none() {
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
            let entry = mem::replace(&mut from.entries[slot], Entry::UNUSED);
            let delta = mem::take(&mut from.deltas[slot]);
            from.areas -= usize::from(entry.area.is_some());
            from.edges -= usize::from(delta != 0);
            self.insert(self.len, entry, delta);
        }
        from.len = first;
    }

    /// Moves entries between neighbours until both have about the same number.
    pub(super) fn even_out(&mut self, right: &mut Self) {
        let half = usize::midpoint(self.len, right.len);
        while self.len < half {
            let (entry, delta) = right.remove(0);
            self.insert(self.len, entry, delta);
        }
        while self.len > half {
            let (entry, delta) = self.remove(self.len - 1);
            right.insert(0, entry, delta);
        }
    }
}

/// An entry without an area.
fn edge<V>(start: u64) -> Entry<V> {
    Entry {
        start,
        last: start.wrapping_sub(1),
        area: None,
    }
}

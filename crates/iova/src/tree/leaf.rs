//! Leaves: the entries themselves, as parallel arrays.

use alloc::boxed::Box;
use core::array;

use super::cover::Cover;
use super::keys::{FANOUT, Keys, UNUSED, rank};

/// What happens at one address: an area starts, the cover changes, or both.
pub(super) struct Entry<V> {
    pub(super) start: u64,
    /// The last address of the area. Without an area `start - 1` (modulo 2^64), so that the gap after any entry starts
    /// at `last + 1`.
    pub(super) last: u64,
    /// The change of cover at `start`.
    pub(super) delta: i32,
    pub(super) area: Option<V>,
}

pub(super) struct Leaf<V> {
    len: usize,
    /// How many entries have an area.
    pub(super) areas: usize,
    /// How many entries change the cover.
    edges: usize,
    starts: Keys,
    lasts: [u64; FANOUT],
    deltas: [i32; FANOUT],
    values: [Option<V>; FANOUT],
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
            len: 0,
            areas: 0,
            edges: 0,
            starts: [UNUSED; FANOUT],
            lasts: [0; FANOUT],
            deltas: [0; FANOUT],
            values: array::from_fn(|_| None),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn starts(&self) -> &[u64] {
        &self.starts[..self.len]
    }

    pub(super) fn lasts(&self) -> &[u64] {
        &self.lasts[..self.len]
    }

    pub(super) fn deltas(&self) -> &[i32] {
        &self.deltas[..self.len]
    }

    /// How many entries start at or below `addr`.
    pub(super) fn rank(&self, addr: u64) -> usize {
        rank(&self.starts, self.len, addr)
    }

    /// The slot of the area that holds `addr`.
    pub(super) fn area_at(&self, addr: u64) -> Option<usize> {
        let slot = self.rank(addr).checked_sub(1)?;
        (self.values[slot].is_some() && addr <= self.lasts[slot]).then_some(slot)
    }

    /// The slot of the entry that starts at `addr`.
    pub(super) fn entry_at(&self, addr: u64) -> Option<usize> {
        let slot = self.rank(addr).checked_sub(1)?;
        (self.starts[slot] == addr).then_some(slot)
    }

    pub(super) fn area(&self, slot: usize) -> Option<(u64, u64, &V)> {
        let value = self.values[slot].as_ref()?;
        Some((self.starts[slot], self.lasts[slot], value))
    }

    pub(super) fn area_mut(&mut self, slot: usize) -> Option<(u64, u64, &mut V)> {
        let value = self.values[slot].as_mut()?;
        Some((self.starts[slot], self.lasts[slot], value))
    }

    /// The slots of the areas, ascending.
    pub(super) fn area_slots(&self) -> impl Iterator<Item = usize> {
        (0..self.len).filter(|&slot| self.values[slot].is_some())
    }

    pub(super) fn cover(&self) -> Cover {
        let mut cover = Cover::EMPTY;
        if self.edges == 0 {
            if self.len > 1 {
                cover.push_gap();
            }
            return cover;
        }
        for (slot, delta) in self.deltas().iter().enumerate() {
            if slot > 0 {
                cover.push_gap();
            }
            cover.total += delta;
        }
        cover
    }

    /// The gaps from the one after the entry `first`, where `base` is the cover before the first entry of all.
    pub(super) fn gaps(&self, first: usize, base: i32) -> impl Iterator<Item = Gap> {
        let mut cover = base;
        if self.edges > 0 {
            cover += self.deltas[..first].iter().sum::<i32>();
        }
        (first + 1..self.len).map(move |next| {
            cover += self.deltas[next - 1];
            Gap {
                cover,
                start: self.lasts[next - 1].wrapping_add(1),
                last: self.starts[next] - 1,
            }
        })
    }

    /// Puts `entry` in `slot` and moves the later ones up. There is room: see [`FANOUT`].
    pub(super) fn insert(&mut self, slot: usize, entry: Entry<V>) {
        let len = self.len;
        self.starts.copy_within(slot..len, slot + 1);
        self.lasts.copy_within(slot..len, slot + 1);
        self.deltas.copy_within(slot..len, slot + 1);
        self.values[slot..=len].rotate_right(1);
        self.areas += usize::from(entry.area.is_some());
        self.edges += usize::from(entry.delta != 0);
        self.starts[slot] = entry.start;
        self.lasts[slot] = entry.last;
        self.deltas[slot] = entry.delta;
        self.values[slot] = entry.area;
        self.len += 1;
    }

    pub(super) fn remove(&mut self, slot: usize) -> Entry<V> {
        let len = self.len;
        let entry = Entry {
            start: self.starts[slot],
            last: self.lasts[slot],
            delta: self.deltas[slot],
            area: self.values[slot].take(),
        };
        self.starts.copy_within(slot + 1..len, slot);
        self.lasts.copy_within(slot + 1..len, slot);
        self.deltas.copy_within(slot + 1..len, slot);
        self.values[slot..len].rotate_left(1);
        self.starts[len - 1] = UNUSED;
        self.areas -= usize::from(entry.area.is_some());
        self.edges -= usize::from(entry.delta != 0);
        self.len -= 1;
        entry
    }

    /// Makes the entry in `slot`, which has no area, the start of one.
    pub(super) fn set_area(&mut self, slot: usize, last: u64, value: V) {
        self.lasts[slot] = last;
        self.values[slot] = Some(value);
        self.areas += 1;
    }

    /// Takes the area that starts in `slot` out; its entry stays if the cover changes there.
    pub(super) fn take_area(&mut self, slot: usize) -> Option<(u64, V)> {
        self.values[slot].as_ref()?;
        if self.deltas[slot] == 0 {
            let entry = self.remove(slot);
            return Some((entry.last, entry.area?));
        }
        let last = self.lasts[slot];
        self.lasts[slot] = self.starts[slot].wrapping_sub(1);
        self.areas -= 1;
        Some((last, self.values[slot].take()?))
    }

    /// Makes the area in `slot` end at `last`.
    pub(super) fn shorten(&mut self, slot: usize, last: u64) {
        self.lasts[slot] = last;
    }

    /// Changes the cover at the entry in `slot`, and removes the entry if then nothing happens there.
    pub(super) fn add_delta(&mut self, slot: usize, delta: i32) {
        let old = self.deltas[slot];
        let new = old + delta;
        self.deltas[slot] = new;
        self.edges = self.edges + usize::from(new != 0) - usize::from(old != 0);
        if new == 0 && self.values[slot].is_none() {
            self.remove(slot);
        }
    }

    /// Moves the entries from slot `keep` on to a leaf of their own.
    pub(super) fn split_off(&mut self, keep: usize) -> Box<Self> {
        let mut right = Box::new(Self::new());
        for slot in keep..self.len {
            right.push(Entry {
                start: self.starts[slot],
                last: self.lasts[slot],
                delta: self.deltas[slot],
                area: self.values[slot].take(),
            });
            self.starts[slot] = UNUSED;
        }
        self.len = keep;
        self.areas -= right.areas;
        self.edges -= right.edges;
        right
    }

    /// Appends all entries of `right`, which fit.
    pub(super) fn append(&mut self, right: Self) {
        for (slot, area) in right.values.into_iter().enumerate().take(right.len) {
            self.push(Entry {
                start: right.starts[slot],
                last: right.lasts[slot],
                delta: right.deltas[slot],
                area,
            });
        }
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

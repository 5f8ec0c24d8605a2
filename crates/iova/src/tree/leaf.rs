//! Leaves: the entries themselves.

use alloc::vec;
use alloc::vec::Vec;
use core::{iter, mem};

use smallvec::SmallVec;

use super::FANOUT;
use super::cover::Cover;

/// What starts at an address: an area, or only a change of cover.
pub(super) struct Entry<V> {
    pub(super) start: u64,
    /// The last address of the area. Without an area `start - 1` (modulo 2^64), so that the gap after any entry starts
    /// at `last + 1`.
    pub(super) last: u64,
    pub(super) area: Option<V>,
}

impl<V> Entry<V> {
    /// An entry without an area.
    fn edge(start: u64) -> Self {
        Self {
            start,
            last: start.wrapping_sub(1),
            area: None,
        }
    }

    /// The area, with its first and last address.
    pub(super) fn area(&self) -> Option<(u64, u64, &V)> {
        Some((self.start, self.last, self.area.as_ref()?))
    }
}

pub(super) struct Leaf<V> {
    entries: SmallVec<[Entry<V>; FANOUT]>,
    /// The change of cover at each entry; empty if there is none.
    deltas: Vec<i32>,
    /// How many entries have an area.
    areas: usize,
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
            entries: SmallVec::new(),
            deltas: Vec::new(),
            areas: 0,
        }
    }

    pub(super) fn entries(&self) -> &[Entry<V>] {
        &self.entries
    }

    pub(super) fn areas(&self) -> usize {
        self.areas
    }

    /// How many entries start at or below `addr`.
    pub(super) fn rank(&self, addr: u64) -> usize {
        let above = self.entries.iter().position(|entry| entry.start > addr);
        above.unwrap_or(self.entries.len())
    }

    /// The slot of the entry that starts at `addr`.
    fn entry_at(&self, addr: u64) -> Option<usize> {
        let slot = self.rank(addr).checked_sub(1)?;
        (self.entries[slot].start == addr).then_some(slot)
    }

    /// The slot of the area that holds `addr`, where [`rank`](Self::rank) of `addr` is `rank`.
    pub(super) fn area_at(&self, rank: usize, addr: u64) -> Option<usize> {
        let slot = rank.checked_sub(1)?;
        let entry = &self.entries[slot];
        (entry.area.is_some() && addr <= entry.last).then_some(slot)
    }

    /// The area that holds `addr`.
    pub(super) fn get(&self, addr: u64) -> Option<(u64, u64, &V)> {
        self.entries[self.area_at(self.rank(addr), addr)?].area()
    }

    /// The area that holds `addr`.
    pub(super) fn get_mut(&mut self, addr: u64) -> Option<(u64, u64, &mut V)> {
        let slot = self.area_at(self.rank(addr), addr)?;
        let entry = &mut self.entries[slot];
        Some((entry.start, entry.last, entry.area.as_mut()?))
    }

    pub(super) fn cover(&self) -> Cover {
        let mut cover = Cover::EMPTY;
        if self.deltas.is_empty() && self.entries.len() > 1 {
            cover.push_gap();
        }
        for (slot, delta) in self.deltas.iter().enumerate() {
            if slot > 0 {
                cover.push_gap();
            }
            cover.total += delta;
        }
        cover
    }

    #[cfg(test)]
    pub(super) fn deltas(&self) -> &[i32] {
        &self.deltas
    }

    /// The change of cover at an entry.
    pub(super) fn delta(&self, slot: usize) -> i32 {
        self.deltas.get(slot).copied().unwrap_or(0)
    }

    /// The gaps from the one after the entry `first`, where `base` is the cover before the first entry of all.
    pub(super) fn gaps(&self, first: usize, base: i32) -> impl Iterator<Item = Gap> {
        let mut cover = base + self.deltas.iter().take(first).sum::<i32>();
        let pairs = self.entries.windows(2).enumerate().skip(first);
        pairs.map(move |(slot, pair)| {
            cover += self.delta(slot);
            Gap {
                cover,
                start: pair[0].last.wrapping_add(1),
                last: pair[1].start - 1,
            }
        })
    }

    fn insert(&mut self, slot: usize, entry: Entry<V>, delta: i32) {
        if delta != 0 && self.deltas.is_empty() {
            self.deltas = vec![0; self.entries.len()];
        }
        if delta != 0 || !self.deltas.is_empty() {
            self.deltas.insert(slot, delta);
        }
        self.areas += usize::from(entry.area.is_some());
        self.entries.insert(slot, entry);
    }

    fn remove(&mut self, slot: usize) -> (Entry<V>, i32) {
        let entry = self.entries.remove(slot);
        self.areas -= usize::from(entry.area.is_some());
        let mut delta = 0;
        if !self.deltas.is_empty() {
            delta = self.deltas.remove(slot);
            self.forget_deltas();
        }
        (entry, delta)
    }

    /// Drops the deltas if all are 0.
    fn forget_deltas(&mut self) {
        if self.deltas.iter().all(|&delta| delta == 0) {
            self.deltas = Vec::new();
        }
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
        if let Some(slot) = self.area_at(rank, start) {
            return Err(self.entries[slot].start);
        }
        let next = self.entries.get(rank).map(|entry| entry.start).or(after);
        if let Some(next) = next.filter(|&next| next <= last) {
            return Err(next);
        }
        let area = Some(value);
        let entry = Entry { start, last, area };
        match rank.checked_sub(1).map(|slot| &mut self.entries[slot]) {
            Some(edge) if edge.start == start => {
                *edge = entry;
                self.areas += 1;
            }
            _ => self.insert(rank, entry, 0),
        }
        Ok(())
    }

    /// Removes the area that starts at `start`; its entry stays if the cover changes there.
    pub(super) fn remove_area(&mut self, start: u64) -> Option<(u64, V)> {
        let slot = self.entry_at(start)?;
        self.entries[slot].area.as_ref()?;
        let entry = if self.delta(slot) == 0 {
            self.remove(slot).0
        } else {
            self.areas -= 1;
            mem::replace(&mut self.entries[slot], Entry::edge(start))
        };
        Some((entry.last, entry.area?))
    }

    /// Makes the area that holds `at` end before `at`, if it starts below, and returns its former last address with what `split`
    /// takes out of its value.
    pub(super) fn cut(&mut self, at: u64, split: impl FnOnce(&mut V) -> V) -> Option<(u64, V)> {
        let slot = self.area_at(self.rank(at), at)?;
        let entry = &mut self.entries[slot];
        let area = entry.area.as_mut().filter(|_| entry.start < at)?;
        let upper = split(area);
        Some((mem::replace(&mut entry.last, at - 1), upper))
    }

    /// Changes the cover by `delta` from `start` on.
    pub(super) fn add_cover(&mut self, start: u64, delta: i32) {
        let Some(slot) = self.entry_at(start) else {
            self.insert(self.rank(start), Entry::edge(start), delta);
            return;
        };
        if self.deltas.is_empty() {
            self.deltas = vec![0; self.entries.len()];
        }
        self.deltas[slot] += delta;
        if self.deltas[slot] == 0 && self.entries[slot].area.is_none() {
            self.remove(slot);
        } else {
            self.forget_deltas();
        }
    }

    /// Moves the entries from slot `keep` on to a leaf of their own.
    pub(super) fn split_off(&mut self, keep: usize) -> Self {
        let mut right = Self {
            entries: self.entries.drain(keep..).collect(),
            deltas: self.deltas.split_off(keep.min(self.deltas.len())),
            areas: 0,
        };
        right.areas = right
            .entries
            .iter()
            .filter(|entry| entry.area.is_some())
            .count();
        self.areas -= right.areas;
        self.forget_deltas();
        right.forget_deltas();
        right
    }

    /// Appends all entries of `right`, which fit.
    pub(super) fn append(&mut self, right: Self) {
        let deltas = right.deltas.into_iter().chain(iter::repeat(0));
        for (entry, delta) in right.entries.into_iter().zip(deltas) {
            self.insert(self.entries.len(), entry, delta);
        }
    }

    /// Moves entries between neighbours until both have about the same number.
    pub(super) fn even_out(&mut self, right: &mut Self) {
        let half = usize::midpoint(self.entries.len(), right.entries.len());
        while self.entries.len() < half {
            let (entry, delta) = right.remove(0);
            self.insert(self.entries.len(), entry, delta);
        }
        while self.entries.len() > half {
            let (entry, delta) = self.remove(self.entries.len() - 1);
            right.insert(0, entry, delta);
        }
    }
}

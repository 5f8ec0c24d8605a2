//! Leaves: the entries themselves.

use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use super::bodies::{Bodies, Body};
use super::cover::Cover;
use super::starts::Starts;

/// The order of the fields is that of use.
#[repr(C)]
pub(super) struct Leaf<V> {
    /// The change of cover at each entry; empty if there is none.
    deltas: Vec<i32>,
    /// How many entries have an area.
    areas: usize,
    /// Where the entries start.
    starts: Starts,
    /// What starts there.
    bodies: Bodies<V>,
}

/// The addresses between two neighbouring entries; empty when `last` lies below `start`.
pub(super) struct Gap {
    pub(super) cover: i32,
    pub(super) start: u64,
    pub(super) last: u64,
}

/// What a change of a leaf reaches of what is known of it elsewhere, apart from the number of areas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// Nothing.
    Inside,
    /// The first start or the last address.
    Ends,
    /// Perhaps the cover as well.
    Cover,
}

impl<V> Leaf<V> {
    pub(super) fn new() -> Self {
        Self {
            deltas: Vec::new(),
            areas: 0,
            starts: Starts::new(),
            bodies: Bodies::new(),
        }
    }

    /// What it reaches that the area in `slot` was just inserted, or is about to be removed or cut. The cover does not change
    /// at an area, so inside the leaf it makes two gaps of one, or one of two, that are equally covered.
    fn reach(&self, slot: usize) -> Reach {
        if 0 < slot && slot + 1 < self.starts.len() {
            Reach::Inside
        } else if self.deltas.is_empty() && self.starts.len() > 2 {
            Reach::Ends
        } else {
            Reach::Cover
        }
    }

    /// The first start and the last address; the leaf has an entry.
    pub(super) fn ends(&self) -> (u64, u64) {
        (self.starts[0], self.last(self.starts.len() - 1))
    }

    /// Where each entry starts.
    pub(super) fn starts(&self) -> &[u64] {
        &self.starts
    }

    /// The last address of an entry.
    pub(super) fn last(&self, slot: usize) -> u64 {
        self.bodies.get(slot).last
    }

    /// The area of an entry, if it has one, with its first and last address.
    pub(super) fn area(&self, slot: usize) -> Option<(u64, u64, &V)> {
        let body = self.bodies.get(slot);
        Some((self.starts[slot], body.last, body.area.as_ref()?))
    }

    pub(super) fn areas(&self) -> usize {
        self.areas
    }

    /// How many entries start at or below `addr`.
    pub(super) fn rank(&self, addr: u64) -> usize {
        self.starts.rank(addr)
    }

    /// The slot of the entry that starts at `addr`.
    fn entry_at(&self, addr: u64) -> Option<usize> {
        let slot = self.rank(addr).checked_sub(1)?;
        (self.starts[slot] == addr).then_some(slot)
    }

    /// The slot of the area that holds `addr`, where [`rank`](Self::rank) of `addr` is `rank`.
    pub(super) fn area_at(&self, rank: usize, addr: u64) -> Option<usize> {
        let slot = rank.checked_sub(1)?;
        let body = self.bodies.get(slot);
        (addr <= body.last && body.area.is_some()).then_some(slot)
    }

    /// The area that holds `addr`.
    pub(super) fn get(&self, addr: u64) -> Option<(u64, u64, &V)> {
        self.area(self.area_at(self.rank(addr), addr)?)
    }

    /// The area that holds `addr`.
    pub(super) fn get_mut(&mut self, addr: u64) -> Option<(u64, u64, &mut V)> {
        let slot = self.area_at(self.rank(addr), addr)?;
        let start = self.starts[slot];
        let body = self.bodies.get_mut(slot);
        Some((start, body.last, body.area.as_mut()?))
    }

    pub(super) fn cover(&self) -> Cover {
        let mut cover = Cover::EMPTY;
        if self.deltas.is_empty() && self.starts.len() > 1 {
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
        let nexts = self.starts.iter().skip(1).enumerate().skip(first);
        nexts.map(move |(slot, next)| {
            cover += self.delta(slot);
            Gap {
                cover,
                start: self.last(slot).wrapping_add(1),
                last: next - 1,
            }
        })
    }

    fn insert(&mut self, slot: usize, start: u64, body: Body<V>, delta: i32) {
        if delta != 0 && self.deltas.is_empty() {
            self.deltas = vec![0; self.starts.len()];
        }
        if delta != 0 || !self.deltas.is_empty() {
            self.deltas.insert(slot, delta);
        }
        self.areas += usize::from(body.area.is_some());
        self.bodies.insert(slot, body);
        self.starts.insert(slot, start);
    }

    fn remove(&mut self, slot: usize) -> (u64, Body<V>, i32) {
        let start = self.starts[slot];
        let body = self.bodies.remove(slot);
        self.starts.remove(slot);
        self.areas -= usize::from(body.area.is_some());
        let mut delta = 0;
        if !self.deltas.is_empty() {
            delta = self.deltas.remove(slot);
            self.forget_deltas();
        }
        (start, body, delta)
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
    ) -> Result<Reach, u64> {
        let rank = self.rank(start);
        if let Some(slot) = self.area_at(rank, start) {
            return Err(self.starts[slot]);
        }
        let next = self.starts.get(rank).copied().or(after);
        if let Some(next) = next.filter(|&next| next <= last) {
            return Err(next);
        }
        let area = Some(value);
        let body = Body { last, area };
        let edge = rank.checked_sub(1);
        if let Some(edge) = edge.filter(|&slot| self.starts[slot] == start) {
            *self.bodies.get_mut(edge) = body;
            self.areas += 1;
            Ok(self.reach(edge))
        } else {
            self.insert(rank, start, body, 0);
            Ok(self.reach(rank))
        }
    }

    /// Removes the area that starts at `start`; its entry stays if the cover changes there.
    pub(super) fn remove_area(&mut self, start: u64) -> Option<((u64, V), Reach)> {
        let slot = self.entry_at(start)?;
        self.bodies.get(slot).area.as_ref()?;
        let reach = self.reach(slot);
        let body = if self.delta(slot) == 0 {
            self.remove(slot).1
        } else {
            self.areas -= 1;
            mem::replace(self.bodies.get_mut(slot), Body::edge(start))
        };
        Some(((body.last, body.area?), reach))
    }

    /// Makes the area that holds `at` end before `at`, if it starts below, and returns its former last address with what `split`
    /// takes out of its value.
    pub(super) fn cut(
        &mut self,
        at: u64,
        split: impl FnOnce(&mut V) -> V,
    ) -> Option<((u64, V), Reach)> {
        let slot = self.area_at(self.rank(at), at)?;
        let (start, reach) = (self.starts[slot], self.reach(slot));
        let body = self.bodies.get_mut(slot);
        let area = body.area.as_mut().filter(|_| start < at)?;
        let upper = split(area);
        Some(((mem::replace(&mut body.last, at - 1), upper), reach))
    }

    /// Changes the cover by `delta` from `start` on.
    pub(super) fn add_cover(&mut self, start: u64, delta: i32) {
        let Some(slot) = self.entry_at(start) else {
            self.insert(self.rank(start), start, Body::edge(start), delta);
            return;
        };
        if self.deltas.is_empty() {
            self.deltas = vec![0; self.starts.len()];
        }
        self.deltas[slot] += delta;
        if self.deltas[slot] == 0 && self.bodies.get(slot).area.is_none() {
            self.remove(slot);
        } else {
            self.forget_deltas();
        }
    }

    /// Moves the entries from slot `keep` on to a leaf of their own.
    pub(super) fn split_off(&mut self, keep: usize) -> Self {
        let mut right = Self::new();
        right.deltas = self.deltas.split_off(keep.min(self.deltas.len()));
        self.starts.split_into(keep, &mut right.starts);
        self.bodies.split_into(keep, &mut right.bodies);
        right.areas = (0..right.starts.len())
            .filter(|&slot| right.bodies.get(slot).area.is_some())
            .count();
        self.areas -= right.areas;
        self.forget_deltas();
        right.forget_deltas();
        right
    }

    /// Appends all entries of `right`, which fit.
    pub(super) fn append(&mut self, mut right: Self) {
        while !right.starts.is_empty() {
            let (start, body, delta) = right.remove(0);
            self.insert(self.starts.len(), start, body, delta);
        }
    }

    /// Moves entries between neighbours until both have about the same number.
    pub(super) fn even_out(&mut self, right: &mut Self) {
        let half = usize::midpoint(self.starts.len(), right.starts.len());
        while self.starts.len() < half {
            let (start, body, delta) = right.remove(0);
            self.insert(self.starts.len(), start, body, delta);
        }
        while self.starts.len() > half {
            let (start, body, delta) = self.remove(self.starts.len() - 1);
            right.insert(0, start, body, delta);
        }
    }
}

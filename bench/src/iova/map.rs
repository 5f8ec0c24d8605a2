//! The contenders: maps from disjoint ranges to numbers.

use std::collections::BTreeMap;

use nodit::{NoditMap, interval};
use rangemap::RangeInclusiveMap;
use swiommu_addr::{Iova, IovaRange};
use swiommu_iova::Space;

pub(crate) trait Map: Default {
    /// Inserts a range; it overlaps no other.
    fn insert(&mut self, start: u64, last: u64, value: u64);
    /// The value of the range that holds `addr`.
    fn get(&self, addr: u64) -> Option<u64>;
    /// Removes the range `start..=last`, which is there.
    fn remove(&mut self, start: u64, last: u64);
}

pub(crate) type Ours = Space<u64, u32>;

impl Map for Ours {
    fn insert(&mut self, start: u64, last: u64, value: u64) {
        let range = IovaRange::new(Iova::new(start), Iova::new(last));
        let inserted = range.map(|range| Self::insert(self, range, value));
        assert_eq!(inserted, Some(Ok(())));
    }

    fn get(&self, addr: u64) -> Option<u64> {
        Some(*Self::get(self, Iova::new(addr))?.1)
    }

    fn remove(&mut self, start: u64, _: u64) {
        assert!(Self::remove(self, Iova::new(start)).is_some());
    }
}

/// Start to last address and value. Does not check for overlap.
impl Map for BTreeMap<u64, (u64, u64)> {
    fn insert(&mut self, start: u64, last: u64, value: u64) {
        assert!(Self::insert(self, start, (last, value)).is_none());
    }

    fn get(&self, addr: u64) -> Option<u64> {
        let (_, &(last, value)) = self.range(..=addr).next_back()?;
        (addr <= last).then_some(value)
    }

    fn remove(&mut self, start: u64, _: u64) {
        assert!(Self::remove(self, &start).is_some());
    }
}

impl Map for RangeInclusiveMap<u64, u64> {
    fn insert(&mut self, start: u64, last: u64, value: u64) {
        Self::insert(self, start..=last, value);
    }

    fn get(&self, addr: u64) -> Option<u64> {
        Self::get(self, &addr).copied()
    }

    fn remove(&mut self, start: u64, last: u64) {
        Self::remove(self, start..=last);
    }
}

pub(crate) type Nodit = NoditMap<u64, nodit::Interval<u64>, u64>;

impl Map for Nodit {
    fn insert(&mut self, start: u64, last: u64, value: u64) {
        assert!(self.insert_strict(interval::ii(start, last), value).is_ok());
    }

    fn get(&self, addr: u64) -> Option<u64> {
        self.get_at_point(&addr).copied()
    }

    fn remove(&mut self, start: u64, _: u64) {
        assert!(
            self.remove_overlapping(&interval::ii(start, start))
                .next()
                .is_some()
        );
    }
}

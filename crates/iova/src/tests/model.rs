//! The same behaviour by the simplest means: lists that are searched from end to end.

use std::vec::Vec;

use crate::{InsertError, PlaceError, ReserveError};
use swiommu_addr::{Iova, IovaRange};

use super::range;

const PAGE: u128 = 0x1000;
const TOP: u128 = 1 << 64;

#[derive(Default)]
pub(super) struct Model {
    /// Ascending.
    pub(super) areas: Vec<(IovaRange, u32)>,
    pub(super) reserved: Vec<(IovaRange, u8)>,
    pub(super) allowed: Vec<IovaRange>,
}

impl Model {
    pub(super) fn insert(&mut self, new: IovaRange, value: u32) -> Result<(), InsertError> {
        let reserved = self
            .reserved
            .iter()
            .filter_map(|(range, _)| range.intersection(new));
        if let Some(first) = reserved.map(IovaRange::start).min() {
            return Err(InsertError::Reserved(first));
        }
        if let Some((area, _)) = self.areas.iter().find(|(area, _)| area.overlaps(new)) {
            return Err(InsertError::Area(*area));
        }
        let below = self
            .areas
            .iter()
            .take_while(|(area, _)| *area < new)
            .count();
        self.areas.insert(below, (new, value));
        Ok(())
    }

    pub(super) fn remove(&mut self, start: Iova) -> Option<(IovaRange, u32)> {
        let place = self
            .areas
            .iter()
            .position(|(area, _)| area.start() == start)?;
        Some(self.areas.remove(place))
    }

    pub(super) fn get(&self, iova: Iova) -> Option<(IovaRange, u32)> {
        self.areas
            .iter()
            .find(|(area, _)| area.contains(iova))
            .copied()
    }

    pub(super) fn overlapping(&self, range: IovaRange) -> Vec<(IovaRange, u32)> {
        self.areas
            .iter()
            .filter(|(area, _)| area.overlaps(range))
            .copied()
            .collect()
    }

    /// Cuts the area that holds `at`; both halves keep the value.
    pub(super) fn split(&mut self, at: Iova) -> Option<()> {
        let place = self
            .areas
            .iter()
            .position(|(area, _)| area.contains(at) && area.start() < at)?;
        let (area, value) = self.areas.remove(place);
        self.areas
            .push((range(area.start().get(), at.get() - 1), value));
        self.areas.push((range(at.get(), area.last().get()), value));
        self.areas.sort();
        Some(())
    }

    pub(super) fn reserve(&mut self, new: IovaRange, owner: u8) -> Result<(), ReserveError> {
        if let Some((area, _)) = self.areas.iter().find(|(area, _)| area.overlaps(new)) {
            return Err(ReserveError::Area(*area));
        }
        if let Some(allowed) = self.allowed.iter().rfind(|allowed| allowed.overlaps(new)) {
            return Err(ReserveError::Allowed(*allowed));
        }
        self.reserved.push((new, owner));
        Ok(())
    }

    pub(super) fn unreserve(&mut self, owner: u8) -> Vec<IovaRange> {
        let mine = self.reserved.extract_if(.., |(_, of)| *of == owner);
        mine.map(|(range, _)| range).collect()
    }

    pub(super) fn unreserved(&self) -> Vec<IovaRange> {
        let taken = self.reserved.iter().map(|(range, _)| *range).collect();
        gaps(taken, 0, TOP - 1)
    }

    /// Sets the list, which is ascending, and tells whether that was possible.
    pub(super) fn set_allowed(&mut self, list: Vec<IovaRange>) -> bool {
        let reserved = |range: &IovaRange| self.reserved.iter().any(|(r, _)| r.overlaps(*range));
        if list.iter().any(reserved) {
            return false;
        }
        self.allowed = list;
        true
    }

    /// The steps of the specification, in its order.
    pub(super) fn place(
        &self,
        origin: u64,
        length: u64,
        alignment: u64,
        huge_page: u64,
    ) -> Result<u64, PlaceErrno> {
        if length == 0 || length >= u64::MAX / 2 {
            return Err(PlaceErrno::Eoverflow);
        }
        let mut align: u128 = 1;
        while align < u128::from(length) {
            align *= 2;
        }
        while u128::from(origin) % align != 0 {
            align /= 2;
        }
        align = align.min(u128::from(huge_page));
        if align < u128::from(alignment) {
            return Err(PlaceErrno::Einval);
        }
        let mut windows: Vec<(u128, u128)> = Vec::new();
        for window in &self.allowed {
            let (start, last) = (
                u128::from(window.start().get()),
                u128::from(window.last().get()),
            );
            match windows.last_mut() {
                Some((_, end)) if *end + 1 == start => *end = last,
                _ => windows.push((start, last)),
            }
        }
        if windows.is_empty() {
            windows.push((0, TOP - 1));
        }
        let fit = |start: u128, last: u128| {
            let start = start.next_multiple_of(align) | (u128::from(origin) % PAGE);
            (start < last && last - start >= u128::from(length) - 1).then_some(start)
        };
        let taken = self.reserved.iter().map(|(range, _)| *range);
        let taken: Vec<IovaRange> = taken
            .chain(self.areas.iter().map(|(area, _)| *area))
            .collect();
        for (start, last) in windows {
            let (start, last) = (start.max(PAGE), last.min(TOP - 1 - PAGE));
            let Some(start) = fit(start, last) else {
                continue;
            };
            for gap in gaps(taken.clone(), start, last) {
                if let Some(place) = fit(gap.start().get().into(), gap.last().get().into()) {
                    return Ok(u64::try_from(place).unwrap());
                }
            }
        }
        Err(PlaceErrno::Enospc)
    }
}

/// What the client sees of a failed placement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PlaceErrno {
    Eoverflow,
    Einval,
    Enospc,
}

impl From<PlaceError> for PlaceErrno {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::Overflow => Self::Eoverflow,
            PlaceError::Misaligned { .. } => Self::Einval,
            PlaceError::NoSpace => Self::Enospc,
        }
    }
}

/// What `taken` leaves of `first..=last`.
fn gaps(mut taken: Vec<IovaRange>, first: u128, last: u128) -> Vec<IovaRange> {
    taken.sort();
    let mut gaps = Vec::new();
    let mut free = first;
    let end = (last + 1, last + 1);
    let taken = taken
        .iter()
        .map(|range| (range.start().get().into(), range.last().get().into()));
    for (start, until) in taken.chain([end]) {
        let start: u128 = start;
        if free < start.min(last + 1) {
            let until = u64::try_from(start.min(last + 1) - 1).unwrap();
            gaps.push(range(u64::try_from(free).unwrap(), until));
        }
        free = free.max(until + 1);
    }
    gaps
}

//! What starts at the entries of a leaf, kept where it is not moved when entries come and go.

use core::mem;

use super::FANOUT;

/// What starts at an address: an area, or only a change of cover.
pub(super) struct Body<V> {
    /// The last address of the area. Without an area the one before the start (modulo 2^64), so that the gap after any
    /// entry starts at `last + 1`.
    pub(super) last: u64,
    pub(super) area: Option<V>,
}

impl<V> Body<V> {
    const UNUSED: Self = Self {
        last: 0,
        area: None,
    };

    /// No area.
    pub(super) fn edge(start: u64) -> Self {
        Self {
            last: start.wrapping_sub(1),
            area: None,
        }
    }
}

/// The bodies of a leaf's entries, at most [`FANOUT`]. To insert or remove one moves a byte for each of those behind it.
#[repr(C)]
pub(super) struct Bodies<V> {
    len: usize,
    /// Bit n is set when place n is taken.
    taken: u64,
    /// The place of each entry's body.
    places: [u8; FANOUT],
    stored: [Body<V>; FANOUT],
}

const _: () = assert!(FANOUT == u64::BITS as usize, "a bit for each place");

impl<V> Bodies<V> {
    pub(super) const fn new() -> Self {
        Self {
            len: 0,
            taken: 0,
            places: [0; FANOUT],
            stored: [const { Body::UNUSED }; FANOUT],
        }
    }

    #[inline]
    pub(super) fn get(&self, slot: usize) -> &Body<V> {
        &self.stored[usize::from(self.places[slot])]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: usize) -> &mut Body<V> {
        &mut self.stored[usize::from(self.places[slot])]
    }

    /// Inserts the body of an entry; there is room for it.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "there are 64 places")]
    pub(super) fn insert(&mut self, slot: usize, body: Body<V>) {
        let place = self.taken.trailing_ones();
        let behind = &mut self.places[slot..=self.len];
        behind.copy_within(..behind.len() - 1, 1);
        behind[0] = place as u8;
        self.stored[place as usize] = body;
        self.taken |= 1 << place;
        self.len += 1;
    }

    pub(super) fn remove(&mut self, slot: usize) -> Body<V> {
        let body = self.take(slot);
        self.places.copy_within(slot + 1..self.len, slot);
        self.len -= 1;
        body
    }

    /// Moves the bodies from slot `keep` on to `right`, which has none.
    #[expect(clippy::cast_possible_truncation, reason = "there are 64 places")]
    pub(super) fn split_into(&mut self, keep: usize, right: &mut Self) {
        right.len = self.len - keep;
        for place in 0..right.len {
            right.places[place] = place as u8;
            right.stored[place] = self.take(keep + place);
        }
        right.taken = (1 << right.len) - 1;
        self.len = keep;
    }

    /// Takes a body out of its place.
    fn take(&mut self, slot: usize) -> Body<V> {
        self.taken &= !(1 << self.places[slot]);
        mem::replace(self.get_mut(slot), Body::UNUSED)
    }
}

#[cfg(test)]
mod tests {
    use super::super::leaf::Leaf;

    /// Beside its value an entry takes a start, a last address and a byte; the leaf 56 bytes for all.
    #[test]
    fn an_entry_takes_17_bytes() {
        type Value = core::num::NonZeroU64;
        let entries = 64 * (17 + size_of::<Value>());
        assert_eq!(size_of::<Leaf<Value>>(), entries + 56);
    }
}

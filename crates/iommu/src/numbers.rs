//! Numbers that a unit gives to domains: what hardware tags cached translations with.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use parking_lot::Mutex;

/// The numbers that are in use, of a range.
#[derive(Debug)]
pub(crate) struct Numbers {
    all: RangeInclusive<u16>,
    taken: Mutex<BTreeSet<u16>>,
}

impl Numbers {
    /// None of `all` is in use.
    pub(crate) fn new(all: RangeInclusive<u16>) -> Self {
        Self {
            all,
            taken: Mutex::default(),
        }
    }

    /// Takes the lowest free number, if there is one.
    pub(crate) fn take(&self) -> Option<u16> {
        let mut taken = self.taken.lock();
        let free = self.all.clone().find(|number| !taken.contains(number))?;
        taken.insert(free);
        Some(free)
    }

    /// Lets a number go. Nothing may be cached under it any more.
    pub(crate) fn release(&self, number: u16) {
        self.taken.lock().remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_free_again_when_it_is_let_go() {
        let numbers = Numbers::new(1..=3);
        assert_eq!(
            [(); 4].map(|()| numbers.take()),
            [Some(1), Some(2), Some(3), None]
        );
        numbers.release(2);
        assert_eq!([numbers.take(), numbers.take()], [Some(2), None]);
    }
}

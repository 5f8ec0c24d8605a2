//! The least that a walk of one stage is: four loads, of which each depends on the one before, without a question asked.

use crate::nested::{FIRST, PAGE};
use crate::random::cycle;

const ENTRIES: usize = 512;

pub(super) struct Bare {
    tables: Vec<[u64; ENTRIES]>,
}

impl Bare {
    /// Pages that lead to each other, as those of a [`Machine`](crate::nested::Machine) do.
    pub(super) fn new(pages: u64) -> Self {
        let mut bare = Self {
            tables: vec![[0; ENTRIES]],
        };
        for (page, next) in (0..).zip(cycle(pages)) {
            bare.map(FIRST + page * PAGE, FIRST + next * PAGE);
        }
        bare
    }

    fn map(&mut self, iova: u64, to: u64) {
        let mut table = 0;
        for level in (1..4).rev() {
            let index = index(iova, level);
            if self.tables[table][index] == 0 {
                self.tables[table][index] = self.tables.len() as u64;
                self.tables.push([0; ENTRIES]);
            }
            table = self.tables[table][index] as usize;
        }
        self.tables[table][index(iova, 0)] = to;
    }

    #[inline]
    pub(super) fn translate(&self, iova: u64) -> u64 {
        let mut entry = 0;
        for level in (0..4).rev() {
            entry = self.tables[entry as usize][index(iova, level)];
        }
        entry + iova % PAGE
    }
}

#[inline]
fn index(iova: u64, level: u32) -> usize {
    (iova >> (12 + 9 * level)) as usize % ENTRIES
}

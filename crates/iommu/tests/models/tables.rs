//! A guest that builds page tables of four levels.

use std::collections::BTreeMap;

use swiommu_addr::{Address, Gpa};

use crate::guest::Guest;
use crate::model::{Model, Rights};

/// The level of the root.
pub(crate) const ROOT: u8 = 3;

/// A guest's tables, by their level and the pages of IOVAs that they are for.
pub(crate) struct Tables {
    tables: BTreeMap<(u8, u64), Gpa>,
}

/// The index of a page's entry in its table of a level, and what the table is found by.
fn place(level: u8, page: u64) -> (u64, u64) {
    let number = page >> (9 * u32::from(level));
    (number & 0x1ff, number >> 9)
}

impl Tables {
    pub(crate) fn new(guest: &Guest) -> Self {
        let root = guest.allocate();
        Self {
            tables: [((ROOT, 0), root)].into(),
        }
    }

    pub(crate) fn root(&self) -> Gpa {
        self.tables[&(ROOT, 0)]
    }

    /// The table of a level that is for a page.
    pub(crate) fn table(&self, level: u8, page: u64) -> Option<Gpa> {
        let (_, table) = place(level, page);
        self.tables.get(&(level, table)).copied()
    }

    /// Where the entry of a level for a page is.
    pub(crate) fn entry(&self, level: u8, page: u64) -> Option<Gpa> {
        let (index, _) = place(level, page);
        Some(self.table(level, page)?.wrapping_add(index * 8))
    }

    /// Makes the tables down to a level that are missing, and returns where its entry is.
    pub(crate) fn make<M: Model>(&mut self, guest: &Guest, level: u8, page: u64) -> Gpa {
        for upper in (level + 1..=ROOT).rev() {
            let entry = self.entry(upper, page).unwrap();
            let (_, table) = place(upper - 1, page);
            self.tables.entry((upper - 1, table)).or_insert_with(|| {
                let table = guest.allocate();
                guest.write(entry, M::table(table));
                table
            });
        }
        self.entry(level, page).unwrap()
    }

    /// Lets a page of IOVAs, or 512 of them at level 1, be pages of the guest.
    pub(crate) fn map<M: Model>(
        &mut self,
        guest: &Guest,
        level: u8,
        page: u64,
        to: Gpa,
        rights: Rights,
    ) {
        let entry = self.make::<M>(guest, level, page);
        guest.write(entry, M::leaf(to, rights, level));
    }
}

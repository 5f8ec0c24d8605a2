//! A guest: its memory, in this process, and the file through which its VMM speaks to the host.

use swiommu_addr::Iova;
use swiommu_selftest::client::{Buffer, Client, Host};

use crate::{IOVA, Result};

const PAGE: u64 = 4096;
const PAGES: u64 = 16;

pub(crate) struct Guest {
    pub(crate) memory: Buffer,
    pub(crate) iommu: Client,
}

impl Guest {
    /// Where its memory starts.
    pub(crate) const START: Iova = Iova::new(0x10_0000);

    /// Where its tables start: four levels of them, in pages 0 to 3.
    pub(crate) const ROOT: u64 = Self::page(0);

    pub(crate) fn new(host: &Host) -> Result<Self> {
        let process = host.process()?;
        Ok(Self {
            memory: process.buffer(PAGES * PAGE)?,
            iommu: process.open()?,
        })
    }

    /// The guest physical address of a page.
    pub(crate) const fn page(number: u64) -> u64 {
        Self::START.get() + number * PAGE
    }

    pub(crate) fn write(&self, gpa: u64, bytes: &[u8]) -> Result<()> {
        Ok(self.memory.write(gpa - Self::START.get(), bytes)?)
    }

    /// The tables that lead to the leaf of [`IOVA`]; `table` is what makes an entry one for a table.
    pub(crate) fn build_tables(&self, table: u64) -> Result<()> {
        for level in 0..3 {
            let next = Self::page(level + 1) | table;
            self.write(Self::page(level), &next.to_le_bytes())?;
        }
        Ok(())
    }

    pub(crate) fn set_leaf(&self, entry: u64) -> Result<()> {
        let leaf = Self::page(3) + IOVA.get() / PAGE * 8;
        println!("  guest: entry at {leaf:#x} = {entry:#018x}");
        self.write(leaf, &entry.to_le_bytes())
    }
}

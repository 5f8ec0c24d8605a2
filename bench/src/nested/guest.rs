//! A guest, which writes its page tables as its operating system would.

use std::sync::Arc;

use anyhow::Context;
use swiommu_addr::{Address, HvaRange, Pa, PaRange};
use swiommu_mem::{Access, AddressSpace, LocalSpace};

use super::PAGE;

/// Where the guest has its memory.
pub(super) const GUEST: u64 = 0x1_0000_0000;

const PER_TABLE: u64 = 512;

/// What the guest writes beside addresses: four levels of 4 KiB in all architectures.
#[derive(Clone, Copy)]
pub(super) struct Entries {
    pub(super) table: u64,
    pub(super) page: u64,
}

/// A guest: pages for a device, and after them its tables.
pub(super) struct Guest {
    space: Arc<LocalSpace>,
    memory: HvaRange,
    pub(super) root: u64,
    entries: Entries,
    /// The next page that is free.
    free: u64,
}

impl Guest {
    pub(super) fn new(
        space: Arc<LocalSpace>,
        pages: u64,
        entries: Entries,
    ) -> anyhow::Result<Self> {
        let tables = pages / PER_TABLE + 8;
        let memory = space.allocate((pages + tables) * PAGE)?;
        // All of it is there when the clock runs.
        let zeroes = vec![0; (pages + tables) as usize * PAGE as usize];
        space.write(memory.start(), &zeroes)?;
        let root = GUEST + pages * PAGE;
        let free = root + PAGE;
        Ok(Self {
            space,
            memory,
            root,
            entries,
            free,
        })
    }

    pub(super) fn runs(&self) -> anyhow::Result<Vec<PaRange>> {
        let runs = self.space.resolve(self.memory, Access::Write)?;
        Ok(runs.iter().map(|run| run.memory).collect())
    }

    /// Where the guest has its page in the machine's memory.
    pub(super) fn memory_of(&self, gpa: u64) -> anyhow::Result<Pa> {
        let at = self.memory.start().wrapping_add(gpa - GUEST);
        let page = HvaRange::from_len(at, PAGE).context("a page")?;
        let runs = self.space.resolve(page, Access::Write)?;
        Ok(runs.first().context("memory")?.memory.start())
    }

    pub(super) fn map(&mut self, iova: u64, gpa: u64) -> anyhow::Result<()> {
        let mut table = self.root;
        for level in (0..4).rev() {
            let at = table + (iova >> (12 + 9 * level)) % PER_TABLE * 8;
            if level == 0 {
                self.write(at, gpa | self.entries.page)?;
                break;
            }
            let mut entry = self.read(at)?;
            if entry == 0 {
                entry = self.page()? | self.entries.table;
                self.write(at, entry)?;
            }
            table = entry & !(PAGE - 1);
        }
        Ok(())
    }

    /// A page that is still zero.
    pub(super) fn page(&mut self) -> anyhow::Result<u64> {
        let page = self.free;
        self.free += PAGE;
        self.memory_of(page)?;
        Ok(page)
    }

    pub(super) fn write(&self, at: u64, word: u64) -> anyhow::Result<()> {
        let at = self.memory.start().wrapping_add(at - GUEST);
        Ok(self.space.write(at, &word.to_le_bytes())?)
    }

    fn read(&self, at: u64) -> anyhow::Result<u64> {
        let mut word = [0; 8];
        let at = self.memory.start().wrapping_add(at - GUEST);
        self.space.read(at, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }
}

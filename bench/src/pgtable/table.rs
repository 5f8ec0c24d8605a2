//! A page table as the exercises see it: ours or a peer's, with leaves of 4 KiB.

use super::pool::Pool;

pub(crate) const PAGE: u64 = 0x1000;

pub(crate) trait Table {
    /// An empty table of four levels, or three where a format begins with three.
    fn new(pool: &'static Pool) -> Self;

    /// Maps by the best call there is for many pages.
    fn map(&mut self, iova: u64, pa: u64, bytes: u64);

    /// Unmaps, likewise. All pages are mapped.
    fn unmap(&mut self, iova: u64, bytes: u64);

    /// Unmaps all that tables translate, and gives these tables back where there is a call that does.
    fn unmap_tables(&mut self, iova: u64, bytes: u64);

    /// Maps one page by the best call for it.
    fn map_page(&mut self, iova: u64, pa: u64);

    /// Unmaps one page, likewise.
    fn unmap_page(&mut self, iova: u64);

    /// Where an address that is mapped leads.
    fn translate(&self, iova: u64) -> u64;
}

//! Both stages as maps of pages.

use std::collections::BTreeMap;

use swiommu_iommu::Prot;

use crate::model::{Kind, Rights, Why};

/// What a guest maps: pages of IOVAs to its own pages; and blocks of 512 pages to such blocks.
#[derive(Clone, Default, Debug)]
pub(crate) struct First {
    pub(crate) pages: BTreeMap<u64, (u64, Rights)>,
    pub(crate) blocks: BTreeMap<u64, (u64, Rights)>,
}

/// What the host maps: pages of the guest to pages of data.
#[derive(Clone, Default, Debug)]
pub(crate) struct Second(pub(crate) BTreeMap<u64, (u64, Prot)>);

impl First {
    /// The guest's page behind a page of IOVAs.
    pub(crate) fn translate(&self, page: u64, wanted: Rights) -> Result<u64, Why> {
        let block = self.blocks.get(&(page >> 9));
        let in_block = block.map(|(to, rights)| ((to << 9) + (page & 0x1ff), *rights, 1));
        let leaf = self.pages.get(&page);
        let by_itself = leaf.map(|(to, rights)| (*to, *rights, 0));
        let Some((to, rights, level)) = in_block.or(by_itself) else {
            return Err(Why::Entry {
                level: self.ends_at(page),
                kind: Kind::NotPresent,
            });
        };
        if rights.permit(wanted) {
            return Ok(to);
        }
        Err(Why::Entry {
            level,
            kind: Kind::NotWritable,
        })
    }

    /// The level at which the way to a page ends: the highest without a neighbour that needed the entry.
    fn ends_at(&self, page: u64) -> u8 {
        let blocks = self.blocks.keys().map(|block| block << 9);
        let mapped: Vec<u64> = self.pages.keys().copied().chain(blocks).collect();
        let leads_on = |level: &u8| {
            let number = |page: u64| page >> (9 * u32::from(*level));
            mapped.iter().any(|other| number(*other) == number(page))
        };
        (0..=3).rev().find(|level| !leads_on(level)).unwrap_or(0)
    }
}

impl Second {
    /// The page of data behind a guest's page.
    pub(crate) fn translate(&self, page: u64, wanted: Rights) -> Result<u64, Why> {
        let no = |kind| Err(Why::Second { kind });
        match (self.0.get(&page), wanted) {
            (None, _) => no(Kind::NotPresent),
            (Some((_, prot)), Rights::Read) if !prot.contains(Prot::READ) => no(Kind::NotReadable),
            (Some((_, prot)), Rights::Write) if !prot.contains(Prot::WRITE) => {
                no(Kind::NotWritable)
            }
            (Some((data, _)), _) => Ok(*data),
        }
    }
}

/// The page of data behind a page of IOVAs, through both.
pub(crate) fn compose(
    first: &First,
    second: &Second,
    page: u64,
    wanted: Rights,
) -> Result<u64, Why> {
    second.translate(first.translate(page, wanted)?, wanted)
}

//! A device behind a guest's tables and ours.

use std::sync::Arc;

use proptest::test_runner::TestCaseResult;
use proptest::{prop_assert, prop_assert_eq};
use swiommu_addr::{Gpa, Iova};
use swiommu_iommu::{DmaError, DmaPort, NestedDomain, PagingDomain, Pasid, Prot, Retention};

use crate::guest::{Guest, PAGE, SCRATCH, pages};
use crate::model::{Changed, Model, Rights, Why};
use crate::naive::{First, Second};
use crate::tables::Tables;

pub(crate) struct Nested<M> {
    pub(crate) guest: Guest,
    pub(crate) model: M,
    pub(crate) parent: Arc<dyn PagingDomain>,
    pub(crate) tables: Tables,
    domain: Arc<dyn NestedDomain>,
}

impl<M: Model> Nested<M> {
    /// Behind tables that map nothing yet.
    pub(crate) fn new(caches: Retention) -> Self {
        let guest = Guest::new();
        let model = M::new(&guest.memory, caches);
        let parent = guest.parent(&model);
        let tables = Tables::new(&guest);
        let domain = model.nest(&guest, &parent, tables.root());
        Self {
            guest,
            model,
            parent,
            tables,
            domain,
        }
    }

    /// Behind tables that map this.
    pub(crate) fn mapping(caches: Retention, first: &First, second: &Second) -> Self {
        let mut nested = Self::new(caches);
        for (page, (to, rights)) in &first.pages {
            nested.map_first(0, *page, *to, *rights);
        }
        for (block, (to, rights)) in &first.blocks {
            nested.map_first(1, block << 9, to << 9, *rights);
        }
        for (page, (data, prot)) in &second.0 {
            nested.map_second(*page, *data, *prot);
        }
        nested
    }

    pub(crate) fn map_first(&mut self, level: u8, page: u64, to: u64, rights: Rights) {
        let to = Gpa::new(to * PAGE);
        self.tables.map::<M>(&self.guest, level, page, to, rights);
    }

    pub(crate) fn map_second(&self, page: u64, data: u64, prot: Prot) {
        self.guest.map(&*self.parent, page, data, prot);
    }

    pub(crate) fn unmap_second(&self, page: u64) {
        self.parent.unmap(pages(page, 1));
    }

    pub(crate) fn port(&self, pasid: Pasid) -> DmaPort {
        self.model.port(pasid)
    }

    pub(crate) fn ports(&self) -> Vec<DmaPort> {
        M::REQUESTERS
            .iter()
            .map(|pasid| self.port(*pasid))
            .collect()
    }

    pub(crate) fn invalidate(&self, changed: Changed) {
        self.model.invalidate(&*self.domain, changed);
    }
}

/// Reads the number of the page of data behind a page of IOVAs.
pub(crate) fn read(port: &mut DmaPort, page: u64) -> Result<u64, DmaError> {
    let mut word = [0; 8];
    port.read(Iova::new(page * PAGE), &mut word)?;
    Ok(u64::from_le_bytes(word))
}

/// Writes where devices may.
pub(crate) fn write(port: &mut DmaPort, page: u64, word: u64) -> Result<(), DmaError> {
    port.write(Iova::new(page * PAGE + SCRATCH), &word.to_le_bytes())
}

/// Whether an error says what was to be expected of an access to a page.
pub(crate) fn says<M: Model>(error: &DmaError, page: u64, why: &Why) -> TestCaseResult {
    let DmaError::Fault { iova, fault, .. } = error else {
        prop_assert!(false, "{error}, and not {why}");
        return Ok(());
    };
    prop_assert_eq!(iova.get() / PAGE, page);
    let expected = M::code(why);
    prop_assert_eq!(
        M::code_in(fault.reason()),
        Some(expected),
        "{}: {}",
        why,
        error
    );
    Ok(())
}

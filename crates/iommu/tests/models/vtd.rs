//! Intel VT-d in the suite's terms.

use std::sync::Arc;

use swiommu_abi::hwpt::{IommuHwptDataType, IommuHwptVtdS1};
use swiommu_abi::invalidate::{
    IommuHwptInvalidateDataType, IommuHwptVtdS1Invalidate, IommuHwptVtdS1InvalidateFlags,
};
use swiommu_addr::{Gpa, Iova, IovaRange};
use swiommu_iommu::vtd::{SourceId, VtdEndpoint, VtdSettings, VtdUnit};
use swiommu_iommu::{
    DmaPort, Domain, Endpoint, Epochs, GroupId, NestedDomain, NestedRequest, OwnData, OwnRequests,
    PagingDomain, PagingFlags, Pasid, Prot, Retention, Unit,
};
use swiommu_mem::PhysicalMemory;

use crate::guest::{Guest, PAGE};
use crate::model::{Changed, Kind, LargeLeaves, Model, Rights, Stage, Why};

/// Present, for users, accessed.
const PRESENT: u64 = 0x25;
const WRITABLE: u64 = 0x2;
const DIRTY: u64 = 0x40;
const LARGE: u64 = 0x80;

pub(crate) struct Vtd {
    unit: Arc<VtdUnit>,
    endpoint: Arc<VtdEndpoint>,
}

impl Model for Vtd {
    const SINGLE_STAGES: &'static [(Stage, PagingFlags)] = &[
        (Stage::First, PagingFlags::empty()),
        (Stage::Second, PagingFlags::DIRTY_TRACKING),
    ];
    const PARENT_PROTS: &'static [Prot] = &[Prot::RW];
    /// Software has to choose the address mask by the size of the page (6.5.2).
    const LARGE_LEAVES: LargeLeaves = LargeLeaves::Address;
    const REQUESTERS: &'static [Pasid] = &[Pasid::NONE, Pasid(5)];

    fn new(memory: &Arc<PhysicalMemory>, caches: Retention) -> Self {
        let settings = VtdSettings {
            caches,
            ..VtdSettings::default()
        };
        let unit = VtdUnit::new(memory, &Epochs::new(), settings);
        let endpoint = VtdEndpoint::new(&unit, SourceId(0x0100), GroupId(1));
        Self { unit, endpoint }
    }

    fn unit(&self) -> &dyn Unit {
        &*self.unit
    }

    fn endpoint(&self) -> &dyn Endpoint {
        &*self.endpoint
    }

    fn port(&self, pasid: Pasid) -> DmaPort {
        self.endpoint.dma_port(pasid)
    }

    fn table(next: Gpa) -> u64 {
        next.get() | PRESENT | WRITABLE
    }

    fn leaf(to: Gpa, rights: Rights, level: u8) -> u64 {
        let writable = match rights {
            Rights::Read => 0,
            Rights::Write => WRITABLE,
        };
        let large = if level == 0 { 0 } else { LARGE };
        to.get() | PRESENT | DIRTY | writable | large
    }

    fn malformed(to: Gpa) -> Vec<u64> {
        // XD where execution is not told apart.
        vec![Self::leaf(to, Rights::Write, 0) | 1 << 63]
    }

    fn nest(
        &self,
        _guest: &Guest,
        parent: &Arc<dyn PagingDomain>,
        root: Gpa,
    ) -> Arc<dyn NestedDomain> {
        let table = IommuHwptVtdS1 {
            pgtbl_addr: root.get(),
            addr_width: 48,
            ..Default::default()
        };
        let request = NestedRequest {
            flags: PagingFlags::empty(),
            data: &OwnData::new(IommuHwptDataType::VTD_S1.0, &table),
        };
        let nested = self
            .unit
            .alloc_nested(&*self.endpoint, parent, &request)
            .unwrap();
        for pasid in Self::REQUESTERS {
            let domain = Domain::Nested(nested.clone());
            self.endpoint.attach(*pasid, &domain).unwrap();
        }
        nested
    }

    fn invalidate(&self, nested: &dyn NestedDomain, changed: Changed) {
        let (addr, npages) = match changed {
            Changed::Everything => (0, u64::MAX),
            Changed::Entries(range) | Changed::Leaves(range) => {
                (range.start().get(), range.len().unwrap() / PAGE)
            }
        };
        let mut flags = IommuHwptVtdS1InvalidateFlags::empty();
        flags.set(
            IommuHwptVtdS1InvalidateFlags::LEAF,
            matches!(changed, Changed::Leaves(_)),
        );
        let request = IommuHwptVtdS1Invalidate {
            addr,
            npages,
            flags: flags.bits(),
            ..Default::default()
        };
        let data_type = IommuHwptInvalidateDataType::VTD_S1.0;
        let done = nested.invalidate(&OwnRequests::new(data_type, &[request]));
        done.result.unwrap();
        assert_eq!(done.done, 1);
    }

    /// Page-selective invalidations are for aligned powers of two (6.5.2.4).
    fn cover(range: IovaRange) -> IovaRange {
        let [first, last] = [range.start(), range.last()].map(|at| at.get() / PAGE);
        let mut size = 1;
        while first / size != last / size {
            size *= 2;
        }
        IovaRange::from_len(Iova::new(first / size * size * PAGE), size * PAGE).unwrap()
    }

    /// Table 7.1.3 of the specification.
    fn code(why: &Why) -> u8 {
        match why {
            Why::Input => 0x80,
            Why::Entry { kind, .. } => match kind {
                Kind::NotPresent => 0x71,
                Kind::Malformed => 0x72,
                Kind::NotWritable => 0x85,
                Kind::NotReadable => 0x86,
            },
            Why::Table { level: 3 } => 0x75,
            Why::Table { .. } => 0x76,
            Why::Second { .. } => 0x79,
        }
    }
}

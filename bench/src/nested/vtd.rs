//! Intel VT-d: a PASID for each way.

use std::sync::Arc;

use anyhow::Context;
use swiommu_abi::hwpt::{IommuHwptDataType, IommuHwptVtdS1};
use swiommu_abi::invalidate::{
    IommuHwptInvalidateDataType, IommuHwptVtdS1Invalidate, IommuHwptVtdS1InvalidateFlags,
};
use swiommu_iommu::vtd::{SourceId, VtdEndpoint, VtdSettings, VtdUnit};
use swiommu_iommu::{
    DmaPort, Domain, Endpoint, Epochs, GroupId, NestedDomain, NestedRequest, OwnData, OwnRequests,
    PagingDomain, PagingFlags, Pasid, Unit,
};
use swiommu_mem::PhysicalMemory;

use super::guest::{Entries, Guest};
use super::{Device, FIRST, PAGE, Stages, paging, refused};

const GIB: u64 = 1 << 30;

/// Present, writable, for users, accessed, dirty.
const ENTRY: u64 = 0x67;

pub(super) struct Vtd {
    unit: Arc<VtdUnit>,
    endpoint: Arc<VtdEndpoint>,
    own: Arc<dyn PagingDomain>,
    parent: Arc<dyn PagingDomain>,
    nested: Option<Arc<dyn NestedDomain>>,
}

impl Vtd {
    pub(super) fn new(memory: &Arc<PhysicalMemory>, settings: VtdSettings) -> anyhow::Result<Self> {
        let unit = VtdUnit::new(memory, &Epochs::new(), settings);
        let endpoint = VtdEndpoint::new(&unit, SourceId(0x0100), GroupId(1));
        Ok(Self {
            own: paging(&*unit, &*endpoint, PagingFlags::empty())?,
            parent: paging(&*unit, &*endpoint, PagingFlags::NEST_PARENT)?,
            unit,
            endpoint,
            nested: None,
        })
    }
}

fn pasid(stages: Stages) -> Pasid {
    match stages {
        Stages::One => Pasid(1),
        Stages::Two => Pasid(2),
    }
}

impl Device for Vtd {
    fn entries(&self) -> Entries {
        Entries {
            table: ENTRY,
            page: ENTRY,
        }
    }

    fn tables(&self) -> [&Arc<dyn PagingDomain>; 2] {
        [&self.own, &self.parent]
    }

    fn attach(&mut self, guest: &mut Guest) -> anyhow::Result<()> {
        let table = IommuHwptVtdS1 {
            flags: 0,
            pgtbl_addr: guest.root,
            addr_width: 48,
            __reserved: 0,
        };
        let data = OwnData::new(IommuHwptDataType::VTD_S1.0, &table);
        let request = NestedRequest {
            flags: PagingFlags::PASID,
            data: &data,
        };
        let nested = self
            .unit
            .alloc_nested(&*self.endpoint, &self.parent, &request)
            .map_err(|error| refused(&error))?;
        self.nested = Some(nested.clone());
        for (stages, domain) in [
            (Stages::One, Domain::Paging(self.own.clone())),
            (Stages::Two, Domain::Nested(nested)),
        ] {
            let attached = self.endpoint.attach(pasid(stages), &domain);
            attached.map_err(|error| refused(&error))?;
        }
        Ok(())
    }

    fn port(&self, stages: Stages) -> DmaPort {
        self.endpoint.dma_port(pasid(stages))
    }

    fn invalidate_leaves(&self) -> anyhow::Result<()> {
        let leaves = IommuHwptVtdS1Invalidate {
            addr: FIRST & !(GIB - 1),
            npages: GIB / PAGE,
            flags: IommuHwptVtdS1InvalidateFlags::LEAF.bits(),
            __reserved: 0,
        };
        let requests = [leaves];
        let requests = OwnRequests::new(IommuHwptInvalidateDataType::VTD_S1.0, &requests);
        let nested = self.nested.as_ref().context("it is attached")?;
        let done = nested.invalidate(&requests);
        done.result.map_err(|error| refused(&error))
    }
}

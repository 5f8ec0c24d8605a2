//! Arm SMMUv3: a stream for each way.

use std::sync::Arc;

use swiommu_abi::hwpt::{IommuHwptArmSmmuv3, IommuHwptDataType};
use swiommu_abi::invalidate::{IommuHwptInvalidateDataType, IommuViommuArmSmmuv3Invalidate};
use swiommu_abi::viommu::IommuViommuType;
use swiommu_iommu::smmuv3::{SmmuEndpoint, SmmuSettings, SmmuUnit, StreamId};
use swiommu_iommu::{
    DmaPort, Domain, Endpoint, Epochs, GroupId, NestedRequest, NoRegions, OwnData, OwnRequests,
    PagingDomain, PagingFlags, Pasid, Unit, Viommu, ViommuRequest, VirtId,
};
use swiommu_mem::PhysicalMemory;

use super::guest::{Entries, Guest};
use super::{Device, FIRST, Stages, paging, refused};

/// What the guest calls its address space.
const ASID: u64 = 0x42;

const GIB: u64 = 1 << 30;

const TLBI_NH_VA: u64 = 0x12;
/// NUM 0, SCALE 18.
const GIB_OF_4_KIB: u64 = 18 << 20;
/// Leaf, TTL 3, TG 1.
const LEAVES_OF_4_KIB: u64 = 1 | 3 << 8 | 1 << 10;

pub(super) struct Smmuv3 {
    endpoints: [Arc<SmmuEndpoint>; 2],
    own: Arc<dyn PagingDomain>,
    parent: Arc<dyn PagingDomain>,
    viommu: Arc<dyn Viommu>,
}

impl Smmuv3 {
    pub(super) fn new(
        memory: &Arc<PhysicalMemory>,
        settings: SmmuSettings,
    ) -> anyhow::Result<Self> {
        let unit = SmmuUnit::new(memory, &Epochs::new(), settings);
        let endpoint =
            |stream: u32| SmmuEndpoint::new(&unit, StreamId(stream), GroupId(stream.into()));
        let endpoints = [1, 2].map(endpoint);
        let [behind_one, behind_two] = &endpoints;
        let parent = paging(&*unit, &**behind_two, PagingFlags::NEST_PARENT)?;
        let request = ViommuRequest {
            viommu_type: IommuViommuType::ARM_SMMUV3.0,
            data: None,
            regions: &NoRegions,
        };
        let viommu = unit.alloc_viommu(&**behind_two, &parent, &request);
        let viommu = viommu.map_err(|error| refused(&error))?;
        let device: Arc<dyn Endpoint> = behind_two.clone();
        let added = viommu.add_device(&device, VirtId(2));
        added.map_err(|error| refused(&error))?;
        Ok(Self {
            own: paging(&*unit, &**behind_one, PagingFlags::empty())?,
            parent,
            viommu,
            endpoints,
        })
    }
}

impl Device for Smmuv3 {
    fn entries(&self) -> Entries {
        Entries {
            table: 0x3,
            // Not global, accessed, inner shareable, for users, write-back.
            page: 0xf47,
        }
    }

    fn tables(&self) -> [&Arc<dyn PagingDomain>; 2] {
        [&self.own, &self.parent]
    }

    fn attach(&mut self, guest: &mut Guest) -> anyhow::Result<()> {
        // As Linux writes it: 4 KiB, 48 bits to 44, faults recorded and aborted; the root; the memory types.
        let descriptor = guest.page()?;
        guest.write(descriptor, 0x0000_e204_c000_3510 | ASID << 48)?;
        guest.write(descriptor + 8, guest.root)?;
        guest.write(descriptor + 24, 0xffff_ffff_f404_ff44)?;
        // Valid, stage 1, one descriptor.
        let entry = IommuHwptArmSmmuv3 {
            ste: [descriptor | 0xb, 0xd6],
        };
        let data = OwnData::new(IommuHwptDataType::ARM_SMMUV3.0, &entry);
        let request = NestedRequest {
            flags: PagingFlags::empty(),
            data: &data,
        };
        let [behind_one, behind_two] = &self.endpoints;
        let nested = self
            .viommu
            .alloc_nested(&**behind_two, &self.parent, &request);
        let nested = nested.map_err(|error| refused(&error))?;
        for (endpoint, domain) in [
            (behind_one, Domain::Paging(self.own.clone())),
            (behind_two, Domain::Nested(nested)),
        ] {
            let attached = endpoint.attach(Pasid::NONE, &domain);
            attached.map_err(|error| refused(&error))?;
        }
        Ok(())
    }

    fn port(&self, stages: Stages) -> DmaPort {
        let [behind_one, behind_two] = &self.endpoints;
        match stages {
            Stages::One => behind_one.dma_port(Pasid::NONE),
            Stages::Two => behind_two.dma_port(Pasid::NONE),
        }
    }

    fn invalidate_leaves(&self) -> anyhow::Result<()> {
        let all = IommuViommuArmSmmuv3Invalidate {
            cmd: [
                TLBI_NH_VA | ASID << 48 | GIB_OF_4_KIB,
                FIRST & !(GIB - 1) | LEAVES_OF_4_KIB,
            ],
        };
        let requests = [all];
        let requests = OwnRequests::new(IommuHwptInvalidateDataType::ARM_SMMUV3.0, &requests);
        let done = self.viommu.invalidate(&requests);
        done.result.map_err(|error| refused(&error))
    }
}

//! Arm SMMUv3 in the suite's terms. The guest has two context descriptors, with ASIDs of their own and the same tables.

use std::sync::{Arc, OnceLock};

use swiommu_abi::hwpt::{IommuHwptArmSmmuv3, IommuHwptDataType};
use swiommu_abi::invalidate::{IommuHwptInvalidateDataType, IommuViommuArmSmmuv3Invalidate};
use swiommu_abi::viommu::IommuViommuType;
use swiommu_addr::{Address, Gpa, IovaRange};
use swiommu_iommu::smmuv3::{SmmuEndpoint, SmmuSettings, SmmuUnit, StreamId};
use swiommu_iommu::{
    DmaPort, Domain, Endpoint, Epochs, GroupId, NestedDomain, NestedRequest, NoRegions, OwnData,
    OwnRequests, PagingDomain, PagingFlags, Pasid, Prot, Retention, Unit, Viommu, ViommuRequest,
    VirtId,
};
use swiommu_mem::PhysicalMemory;

use crate::guest::{Guest, PAGE};
use crate::model::{Changed, Kind, LargeLeaves, Model, Rights, Stage, Why};

/// A table descriptor.
const TABLE: u64 = 0b11;
/// A page: `AttrIndx` 1, for users, inner shareable, accessed, not global.
const PAGE_LEAF: u64 = 0xf47;
/// What makes it a block.
const NOT_A_BLOCK: u64 = 0b10;
const READ_ONLY: u64 = 1 << 7;

/// What a Linux guest writes into descriptors: 4 KiB, 48 bits to 44, the lower half only.
const CD: u64 = 0x0000_e204_c000_3510;
const ASIDS: [u64; 2] = [0x42, 0x43];
const MAIR: u64 = 0xffff_ffff_f404_ff44;

/// V, Config for stage 1, and two descriptors (`S1CDMax`) in a linear table.
const STE: u64 = 0xb | 1 << 59;
/// S1DSS: requests without a substream use the first; cacheable, inner shareable.
const STE_1: u64 = 0xd6;

/// What the guest calls the stream.
const VIRTUAL: VirtId = VirtId(0x108);

pub(crate) struct Smmuv3 {
    unit: Arc<SmmuUnit>,
    endpoint: Arc<SmmuEndpoint>,
    viommu: OnceLock<Arc<dyn Viommu>>,
}

impl Model for Smmuv3 {
    const SINGLE_STAGES: &'static [(Stage, PagingFlags)] = &[
        (Stage::First, PagingFlags::empty()),
        (Stage::Second, PagingFlags::NEST_PARENT),
    ];
    const PARENT_PROTS: &'static [Prot] = &[Prot::RW, Prot::READ, Prot::WRITE];
    const LARGE_LEAVES: LargeLeaves = LargeLeaves::Whole;
    const REQUESTERS: &'static [Pasid] = &[Pasid::NONE, Pasid(1)];

    fn new(memory: &Arc<PhysicalMemory>, caches: Retention) -> Self {
        let settings = SmmuSettings {
            caches,
            ..SmmuSettings::default()
        };
        let unit = SmmuUnit::new(memory, &Epochs::new(), settings);
        let endpoint = SmmuEndpoint::new(&unit, StreamId(0x2a), GroupId(1));
        Self {
            unit,
            endpoint,
            viommu: OnceLock::new(),
        }
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
        next.get() | TABLE
    }

    fn leaf(to: Gpa, rights: Rights, level: u8) -> u64 {
        let read_only = match rights {
            Rights::Read => READ_ONLY,
            Rights::Write => 0,
        };
        let kind = if level == 0 { 0 } else { NOT_A_BLOCK };
        (to.get() | PAGE_LEAF | read_only) & !kind
    }

    /// An address beyond what the descriptor says that there is.
    fn malformed(to: Gpa) -> Vec<u64> {
        vec![Self::leaf(to, Rights::Write, 0) | 1 << 46]
    }

    fn nest(
        &self,
        guest: &Guest,
        parent: &Arc<dyn PagingDomain>,
        root: Gpa,
    ) -> Arc<dyn NestedDomain> {
        let descriptors = guest.allocate();
        for (asid, at) in ASIDS.into_iter().zip([0, 64]) {
            let at = descriptors.wrapping_add(at);
            guest.write(at, CD | asid << 48);
            guest.write(at.wrapping_add(8), root.get());
            guest.write(at.wrapping_add(24), MAIR);
        }
        let request = ViommuRequest {
            viommu_type: IommuViommuType::ARM_SMMUV3.0,
            data: None,
            regions: &NoRegions,
        };
        let viommu = self
            .unit
            .alloc_viommu(&*self.endpoint, parent, &request)
            .unwrap();
        let device: Arc<dyn Endpoint> = self.endpoint.clone();
        viommu.add_device(&device, VIRTUAL).unwrap();
        let entry = IommuHwptArmSmmuv3 {
            ste: [STE | descriptors.get(), STE_1],
        };
        let request = NestedRequest {
            flags: PagingFlags::empty(),
            data: &OwnData::new(IommuHwptDataType::ARM_SMMUV3.0, &entry),
        };
        let nested = viommu
            .alloc_nested(&*self.endpoint, parent, &request)
            .unwrap();
        let domain = Domain::Nested(nested.clone());
        self.endpoint.attach(Pasid::NONE, &domain).unwrap();
        assert!(self.viommu.set(viommu).is_ok(), "one guest for each unit");
        nested
    }

    /// By address and ASID, a range of more than one page by one command; or everything of each ASID.
    fn invalidate(&self, _nested: &dyn NestedDomain, changed: Changed) {
        const TLBI_NH_ASID: u64 = 0x11;
        const TLBI_NH_VA: u64 = 0x12;
        const GRANULE_4K: u64 = 1 << 10;
        const LEAF: u64 = 1;
        let commands = ASIDS.map(|asid| {
            let words = match changed {
                Changed::Everything => [TLBI_NH_ASID, 0],
                Changed::Entries(range) | Changed::Leaves(range) => {
                    let pages = range.len().unwrap() / PAGE;
                    // NUM in bits 16:12, SCALE in bits 24:20.
                    let (granule, count) = match pages {
                        1 => (0, 0),
                        2..=32 => (GRANULE_4K, (pages - 1) << 12),
                        _ => (GRANULE_4K, u64::from(pages.ilog2()) << 20),
                    };
                    let only = match changed {
                        Changed::Leaves(_) => LEAF,
                        _ => 0,
                    };
                    let address = range.start().get();
                    [TLBI_NH_VA | count, address | granule | only]
                }
            };
            IommuViommuArmSmmuv3Invalidate {
                cmd: [words[0] | asid << 48, words[1]],
            }
        });
        let data_type = IommuHwptInvalidateDataType::ARM_SMMUV3.0;
        let viommu = self.viommu.get().unwrap();
        let done = viommu.invalidate(&OwnRequests::new(data_type, &commands));
        done.result.unwrap();
        assert_eq!(done.done, 2);
    }

    fn cover(range: IovaRange) -> IovaRange {
        range
    }

    /// The numbers of events (7.3). What stage 2 says has the same, with S2 set.
    fn code(why: &Why) -> u8 {
        let (Why::Entry { kind, .. } | Why::Second { kind }) = why else {
            return 0x10;
        };
        match kind {
            Kind::NotPresent => 0x10,
            Kind::Malformed => 0x11,
            Kind::NotWritable | Kind::NotReadable => 0x13,
        }
    }
}

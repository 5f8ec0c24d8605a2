//! Arm SMMUv3: the guest has a virtual IOMMU, in which its device has a number. That takes its commands and gives it events; the
//! object is its stream table entry, which leads to its tables by a context descriptor in its memory.

use std::sync::Arc;

use swiommu_abi::hwpt::{IommuHwptArmSmmuv3, IommuHwptDataType};
use swiommu_abi::invalidate::{IommuHwptInvalidateDataType, IommuViommuArmSmmuv3Invalidate};
use swiommu_abi::veventq::{IommuVeventArmSmmuv3, IommuVeventqType, IommufdVeventHeader};
use swiommu_abi::viommu::IommuViommuType;
use swiommu_iommu::smmuv3::{SmmuEndpoint, SmmuSettings, SmmuUnit, StreamId};
use swiommu_iommu::{Endpoint, Epochs, GroupId, VirtId};
use swiommu_iommufd::{HwptFlags, ObjectId};
use swiommu_selftest::client::{EventQueue, Host, HwptData, Invalidation};
use zerocopy::{FromBytes, IntoBytes};

use crate::guest::Guest;
use crate::{Architecture, IOVA, Result};

/// What the guest calls its device, and its address space.
const STREAM: u64 = 0x108;
const ASID: u64 = 0x42;

/// Where the guest has its context descriptor.
const DESCRIPTOR: u64 = Guest::page(4);

pub(crate) struct Smmuv3 {
    endpoint: Arc<SmmuEndpoint>,
    viommu: ObjectId,
    events: Option<EventQueue>,
}

impl Architecture for Smmuv3 {
    const NAME: &'static str = "Arm SMMUv3";

    const TABLE: u64 = 0x3;
    // Not global, accessed, inner shareable, for users, write-back.
    const PAGE: u64 = 0xf47;

    fn new(host: &Host) -> Self {
        let unit = SmmuUnit::new(host.memory(), &Epochs::new(), SmmuSettings::default());
        Self {
            endpoint: SmmuEndpoint::new(&unit, StreamId(0x2a), GroupId(1)),
            viommu: ObjectId(0),
            events: None,
        }
    }

    fn endpoint(&self) -> Arc<dyn Endpoint> {
        self.endpoint.clone()
    }

    fn nest(&mut self, guest: &Guest, device: ObjectId, parent: ObjectId) -> Result<ObjectId> {
        let iommu = &guest.iommu;
        let viommu_type = IommuViommuType::ARM_SMMUV3.0;
        self.viommu = iommu.viommu_alloc(device, parent, viommu_type, None)?;
        iommu.vdevice_alloc(self.viommu, device, VirtId(STREAM))?;
        let event_type = IommuVeventqType::ARM_SMMUV3.0;
        self.events = Some(iommu.veventq_alloc(self.viommu, event_type, 16)?);

        // As Linux writes it: 4 KiB, 48 bits to 44, faults recorded and aborted; the root; the memory types.
        let descriptor: [u64; 4] = [
            0x0000_e204_c000_3510 | ASID << 48,
            Guest::ROOT,
            0,
            0xffff_ffff_f404_ff44,
        ];
        guest.write(DESCRIPTOR, descriptor.as_bytes())?;
        println!("  guest: context descriptor at {DESCRIPTOR:#x}");
        // Valid, stage 1, one descriptor.
        let entry = IommuHwptArmSmmuv3 {
            ste: [DESCRIPTOR | 0xb, 0xd6],
        };
        let data = HwptData {
            data_type: IommuHwptDataType::ARM_SMMUV3.0,
            bytes: Some(entry.as_bytes()),
            len: u32::try_from(size_of_val(&entry))?,
        };
        let none = HwptFlags::empty();
        Ok(iommu.hwpt_alloc_with(device, self.viommu, none, data)?)
    }

    fn invalidate(&self, guest: &Guest, _nested: ObjectId) -> Result<()> {
        // CMD_TLBI_NH_VA of a leaf.
        let command = IommuViommuArmSmmuv3Invalidate {
            cmd: [0x12 | ASID << 48, IOVA.get() | 1],
        };
        let requests = Invalidation {
            data_type: IommuHwptInvalidateDataType::ARM_SMMUV3.0,
            bytes: Some(command.as_bytes()),
            entry_len: u32::try_from(size_of_val(&command))?,
            entry_num: 1,
        };
        Ok(guest.iommu.invalidate(self.viommu, requests).0?)
    }

    fn told(&self, guest: &Guest) -> Result<Option<String>> {
        let events = self.events.ok_or("there is no event queue")?;
        let len = size_of::<IommufdVeventHeader>() + size_of::<IommuVeventArmSmmuv3>();
        let bytes = guest.iommu.process().read(events.fd, len)?;
        let record = bytes.get(size_of::<IommufdVeventHeader>()..);
        let record = record.and_then(|bytes| IommuVeventArmSmmuv3::read_from_bytes(bytes).ok());
        let record = record
            .ok_or("the event is too short")?
            .evt
            .map(u64::from_le);
        assert_eq!(record[0], STREAM << 32 | 0x10, "F_TRANSLATION");
        Ok(Some(record.map(|word| format!("{word:#x}")).join(" ")))
    }
}

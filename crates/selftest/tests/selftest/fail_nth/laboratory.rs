//! A context with one of everything, and what can be seen of its state.

use swiommu_abi::mock::{
    IOMMU_HW_QUEUE_TYPE_SELFTEST, IOMMU_VEVENTQ_TYPE_SELFTEST, IOMMU_VIOMMU_TYPE_SELFTEST,
};
use swiommu_addr::{Hva, Iova};
use swiommu_files::FdNumber;
use swiommu_iommu::{DirtyTracking, VirtId};
use swiommu_iommufd::{AccessKind, HwptFlags, ObjectId};
use swiommu_mem::AddressSpace;
use swiommu_selftest::client::{Access, Client, Device, EventQueue};

use crate::fixture::{APERTURE, PAGE, PASIDS, World, add};

/// How many bytes are mapped from [`APERTURE`] on.
pub(super) const MAPPED: u64 = 8 * PAGE;
/// Where an access holds pages.
pub(super) const PINNED: Iova = Iova::new(APERTURE.get() + 2 * PAGE);
/// The guest's number of the device.
pub(super) const VIRT_ID: VirtId = VirtId(0x42);

/// A context with one of everything.
pub(super) struct Laboratory {
    pub(super) world: World,
    /// With areas and all the devices.
    pub(super) ioas: ObjectId,
    /// With a device alone.
    pub(super) other: ObjectId,
    /// Without anything.
    pub(super) empty: ObjectId,
    /// Attached to `ioas`, with PASIDs.
    pub(super) device: Device,
    /// Attached to `other`.
    pub(super) lonely: Device,
    /// Attached through the vIOMMU.
    pub(super) guest: Device,
    pub(super) parent: ObjectId,
    pub(super) dirty: ObjectId,
    pub(super) pasids: ObjectId,
    pub(super) second_pasids: ObjectId,
    pub(super) viommu: ObjectId,
    pub(super) nested: ObjectId,
    pub(super) faulting: Device,
    pub(super) faults: EventQueue,
    pub(super) events: EventQueue,
    pub(super) access: Access,
    pub(super) copier: Access,
    pub(super) pin: u32,
}

impl Laboratory {
    pub(super) fn new() -> Self {
        let world = World::new();
        let iommu = &world.iommu;
        let ioas = iommu.ioas_alloc().unwrap();
        let other = iommu.ioas_alloc().unwrap();
        let empty = iommu.ioas_alloc().unwrap();
        let device = iommu.mock_domain_flags(ioas, PASIDS).unwrap();
        let lonely = iommu.mock_domain(other).unwrap();
        let guest = iommu.mock_domain(ioas).unwrap();
        let faulting = iommu.mock_domain_flags(ioas, PASIDS).unwrap();
        let alloc = |flags| iommu.hwpt_alloc(device.idev, ioas, flags).unwrap();
        let parent = alloc(HwptFlags::NEST_PARENT);
        let dirty = alloc(HwptFlags::DIRTY_TRACKING);
        let pasids = alloc(HwptFlags::PASID);
        let second_pasids = alloc(HwptFlags::PASID);
        iommu.set_dirty_tracking(dirty, DirtyTracking::On).unwrap();
        iommu
            .map_fixed(ioas, world.at(0), MAPPED, APERTURE)
            .unwrap();
        iommu.mock_domain_replace(device.stdev, pasids).unwrap();

        let mock = IOMMU_VIOMMU_TYPE_SELFTEST.0;
        let viommu = iommu.viommu_alloc(guest.idev, parent, mock, None).unwrap();
        iommu.vdevice_alloc(viommu, guest.idev, VIRT_ID).unwrap();
        let plain = HwptFlags::empty();
        let nested = iommu
            .hwpt_alloc_nested(guest.idev, viommu, plain, 0)
            .unwrap();
        iommu.mock_domain_replace(guest.stdev, nested).unwrap();
        let kind = IOMMU_VEVENTQ_TYPE_SELFTEST.0;
        let events = iommu.veventq_alloc(viommu, kind, 8).unwrap();
        let queues = IOMMU_HW_QUEUE_TYPE_SELFTEST.0;
        let base = swiommu_addr::Gpa::new(add(APERTURE, 6 * PAGE).get());
        iommu
            .hw_queue_alloc(viommu, queues, 0, (base, PAGE))
            .unwrap();

        let faults = iommu.fault_queue_alloc().unwrap();
        let flags = HwptFlags::PASID;
        let reporting = iommu
            .hwpt_alloc_with_faults(faulting.idev, parent, flags, faults.id)
            .unwrap();
        iommu
            .mock_domain_replace(faulting.stdev, reporting)
            .unwrap();

        let access = iommu.create_access(ioas, AccessKind::Pins).unwrap();
        let pin = iommu
            .access_pages(access, PINNED, PAGE, world.at(2 * PAGE))
            .unwrap();
        let copier = iommu.create_access(ioas, AccessKind::Copies).unwrap();
        Self {
            world,
            ioas,
            other,
            empty,
            device,
            lonely,
            guest,
            parent,
            dirty,
            pasids,
            second_pasids,
            viommu,
            nested,
            faulting,
            faults,
            events,
            access,
            copier,
            pin,
        }
    }

    pub(super) fn iommu(&self) -> &Client {
        &self.world.iommu
    }

    pub(super) fn at(&self, offset: u64) -> Hva {
        self.world.at(offset)
    }

    /// All that can be seen: the objects with what they refer to, the IOVAs that can be used, what is pinned, charged and open.
    pub(super) fn state(&self) -> Vec<String> {
        let iommu = self.iommu();
        let ranges = [self.ioas, self.other, self.empty].map(|ioas| iommu.iova_ranges(ioas).ok());
        let mapped = iommu.check_map(self.dirty, APERTURE, MAPPED, self.at(0));
        let memory = self.world.host.memory();
        let locked = self.world.process.space();
        let open: Vec<i32> = (0..64)
            .filter(|fd| self.world.process.file(FdNumber(*fd)).is_ok())
            .collect();
        let graph = iommu.context().unwrap().graph();
        let objects = graph
            .iter()
            .map(|node| format!("{node:?}"))
            .collect::<Vec<_>>();
        vec![
            objects.join("\n"),
            format!("{ranges:?}"),
            format!("{:?}", mapped.map_err(|refusal| refusal.to_string())),
            format!("pinned {}", memory.pinned_pages()),
            format!("tables {}", memory.table_bytes()),
            format!("locked {:?}", AddressSpace::locked(&**locked)),
            format!("open {open:?}"),
        ]
    }

    /// Closes everything; then nothing may be left.
    pub(super) fn close(self) {
        let memory = self.world.host.memory().clone();
        self.world.close();
        assert_eq!(memory.table_bytes(), 0, "page tables left behind");
    }
}

//! Clients to test with, and what must be true when they are gone.

use std::fmt::Debug;
use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_abi::mock::{IOMMU_TEST_DEV_CACHE_DEFAULT, MOCK_APERTURE_START};
use swiommu_abi::test_cmd::MockFlagsDevice;
use swiommu_addr::{Address, Hva, Iova, PageSize};
use swiommu_files::FdNumber;
use swiommu_iommufd::ObjectId;
use swiommu_selftest::client::{Buffer, Client, Device, Host, Process, Result};

pub(crate) const PAGE: u64 = 4096;
/// The granule of the mock's default page table.
pub(crate) const MOCK_PAGE: u64 = 2048;
/// The memory that most tests map.
pub(crate) const BUFFER: u64 = 16 * PAGE;

pub(crate) const APERTURE: Iova = Iova::new(MOCK_APERTURE_START);

/// The errno of a call that must fail.
#[track_caller]
pub(crate) fn errno<T: Debug>(result: Result<T>) -> Errno {
    result.expect_err("the call should fail").errno()
}

/// Bytes as Rust counts them.
pub(crate) fn count(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap()
}

pub(crate) fn add(iova: Iova, bytes: u64) -> Iova {
    iova.wrapping_add(bytes)
}

/// A client, and memory that starts where a huge page does.
pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) process: Arc<Process>,
    pub(crate) iommu: Client,
    memory: Buffer,
}

impl World {
    pub(crate) fn new() -> Self {
        let host = Host::new().unwrap();
        let process = host.process().unwrap();
        Self {
            iommu: process.open().unwrap(),
            memory: process.buffer(2 * PageSize::SIZE_2M.bytes()).unwrap(),
            host,
            process,
        }
    }

    /// An address in the memory to map.
    pub(crate) fn at(&self, offset: u64) -> Hva {
        let start = self.memory.at(0).align_up(PageSize::SIZE_2M).unwrap();
        start.wrapping_add(offset)
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        let skipped = self.at(0).offset_from(self.memory.at(0)).unwrap();
        self.memory.write(skipped + offset, bytes).unwrap();
    }

    pub(crate) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let skipped = self.at(0).offset_from(self.memory.at(0)).unwrap();
        let mut bytes = vec![0; len];
        self.memory.read(skipped + offset, &mut bytes).unwrap();
        bytes
    }

    /// Closes the client and its accesses; then nothing may be pinned any more.
    pub(crate) fn close(self) {
        let Self {
            host,
            process,
            iommu,
            memory,
        } = self;
        drop(iommu);
        for fd in 0..64 {
            let _ = process.close(FdNumber(fd));
        }
        assert_eq!(
            host.memory().pinned_pages(),
            0,
            "pages pinned after the close"
        );
        let again = process.open().unwrap();
        again.check_refs(memory.at(0), memory.len(), 0).unwrap();
        assert_eq!(
            again.ioas_alloc().unwrap(),
            ObjectId(1),
            "a fresh context is empty"
        );
    }
}

/// How many mock devices are attached to the IOAS, and the batch memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    pub(crate) devices: usize,
    pub(crate) batch_limit: u32,
}

pub(crate) const VARIANTS: [Variant; 4] = [
    Variant {
        devices: 0,
        batch_limit: 65536,
    },
    Variant {
        devices: 1,
        batch_limit: 65536,
    },
    Variant {
        devices: 2,
        batch_limit: 65536,
    },
    Variant {
        devices: 1,
        batch_limit: 16,
    },
];

/// A client with an IOAS, and mock devices attached to it.
pub(crate) struct Fixture {
    pub(crate) world: World,
    pub(crate) ioas: ObjectId,
    pub(crate) devices: Vec<Device>,
    /// The first IOVA that can be mapped.
    pub(crate) base: Iova,
}

impl Fixture {
    pub(crate) fn new(variant: Variant) -> Self {
        let world = World::new();
        let ioas = world.iommu.ioas_alloc().unwrap();
        world
            .iommu
            .set_temp_memory_limit(variant.batch_limit)
            .unwrap();
        let devices: Vec<Device> = (0..variant.devices)
            .map(|_| {
                let device = world.iommu.mock_domain(ioas).unwrap();
                for entry in 0..4 {
                    world
                        .iommu
                        .check_dev_cache(device.idev, entry, IOMMU_TEST_DEV_CACHE_DEFAULT)
                        .unwrap();
                }
                device
            })
            .collect();
        let base = if devices.is_empty() {
            Iova::new(0)
        } else {
            APERTURE
        };
        Self {
            world,
            ioas,
            devices,
            base,
        }
    }

    /// Runs a test with each number of devices, and looks for what it left behind.
    pub(crate) fn each(test: impl Fn(&Self)) {
        for variant in VARIANTS {
            eprintln!("{variant:?}");
            let fixture = Self::new(variant);
            test(&fixture);
            fixture.world.close();
        }
    }

    /// With one device.
    pub(crate) fn one() -> (Self, Device) {
        let fixture = Self::new(VARIANTS[1]);
        let device = fixture.devices[0];
        (fixture, device)
    }

    pub(crate) fn iommu(&self) -> &Client {
        &self.world.iommu
    }

    pub(crate) fn at(&self, offset: u64) -> Hva {
        self.world.at(offset)
    }

    pub(crate) fn map(&self, offset: u64, len: u64) -> Iova {
        self.iommu().map(self.ioas, self.at(offset), len).unwrap()
    }

    pub(crate) fn map_fixed(&self, offset: u64, len: u64, iova: Iova) {
        self.iommu()
            .map_fixed(self.ioas, self.at(offset), len, iova)
            .unwrap();
    }

    pub(crate) fn unmap(&self, iova: Iova, len: u64) {
        assert_eq!(self.iommu().unmap(self.ioas, iova, len).unwrap(), len);
    }

    /// The page tables of all devices lead to the memory.
    pub(crate) fn check_map(&self, iova: Iova, len: u64, memory: Hva) {
        for device in &self.devices {
            self.iommu()
                .check_map(device.hwpt, iova, len, memory)
                .unwrap();
        }
    }

    pub(crate) fn check_refs(&self, offset: u64, len: u64, refs: u32) {
        self.iommu().check_refs(self.at(offset), len, refs).unwrap();
    }
}

/// The flags of a mock device with PASIDs.
pub(crate) const PASIDS: MockFlagsDevice = MockFlagsDevice::PASID;

//! A client with memory, an IOAS and a device.

use std::fmt::Debug;
use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_abi::mock::MOCK_APERTURE_START;
use swiommu_addr::{Address, Hva, Iova};
use swiommu_files::{Capability, FdNumber};
use swiommu_iommufd::{Node, ObjectId};
use swiommu_selftest::client::{Buffer, Client, Device, Host, Process, Result};

pub(crate) const PAGE: u64 = 4096;

/// Where the mock's page tables start.
pub(crate) const BASE: Iova = Iova::new(MOCK_APERTURE_START);

/// `IOMMU_IOAS_MAP_…`.
pub(crate) const FIXED: u32 = 1;
pub(crate) const WRITEABLE: u32 = 2;
pub(crate) const READABLE: u32 = 4;

/// Where a mock page ends with the last IOVA, so that two of them do not fit.
pub(crate) const LAST_MOCK_PAGE: u64 = u64::MAX - 2047;

/// Pages of the memory.
pub(crate) const PAGES: u64 = 16;

/// The number of an object that is never there.
pub(crate) const NONE: ObjectId = ObjectId(99);

/// A client with an IOAS, to which a mock device is attached, and another without.
pub(crate) struct World {
    pub host: Host,
    pub process: Arc<Process>,
    pub iommu: Client,
    pub memory: Buffer,
    pub ioas: ObjectId,
    pub device: Device,
    pub empty: ObjectId,
}

impl World {
    /// With all capabilities.
    pub(crate) fn new() -> Self {
        Self::with(&[
            Capability::IpcLock,
            Capability::SysResource,
            Capability::SysRawio,
        ])
    }

    /// With these capabilities.
    pub(crate) fn with(capabilities: &[Capability]) -> Self {
        let host = Host::new().unwrap();
        let process = host.process_with(capabilities).unwrap();
        let iommu = process.open().unwrap();
        let ioas = iommu.ioas_alloc().unwrap();
        let device = iommu.mock_domain(ioas).unwrap();
        let empty = iommu.ioas_alloc().unwrap();
        let memory = process.buffer(PAGES * PAGE).unwrap();
        Self {
            host,
            process,
            iommu,
            memory,
            ioas,
            device,
            empty,
        }
    }

    /// An address in the memory, by page.
    pub(crate) fn page(&self, n: u64) -> Hva {
        self.memory.at(n * PAGE)
    }

    /// Maps pages at an IOVA of the IOAS with the device.
    pub(crate) fn map(&self, page: u64, pages: u64, iova: Iova) {
        self.iommu
            .map_fixed(self.ioas, self.page(page), pages * PAGE, iova)
            .unwrap();
    }

    /// What there is in the context, and how many pages are pinned.
    pub(crate) fn state(&self) -> (Vec<Node>, u64) {
        (
            self.iommu.context().unwrap().graph(),
            self.host.memory().pinned_pages(),
        )
    }

    /// A memory file of so many bytes, open in the process.
    pub(crate) fn file(&self, bytes: u64) -> FdNumber {
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        file.set_len(bytes).unwrap();
        self.process.open_native(file.into())
    }

    /// Closes the context. Then nothing may be left of it.
    pub(crate) fn close(self) {
        let Self { host, iommu, .. } = self;
        drop(iommu);
        assert_eq!(
            host.memory().pinned_pages(),
            0,
            "pages are pinned after the close"
        );
        assert_eq!(
            host.memory().table_bytes(),
            0,
            "page tables are left after the close"
        );
    }
}

/// The IOVA so many pages after the first of a page table.
pub(crate) fn at(pages: u64) -> Iova {
    BASE.wrapping_add(pages * PAGE)
}

/// The errno of a call that must fail.
#[track_caller]
pub(crate) fn errno<T: Debug>(result: Result<T>) -> Errno {
    result.expect_err("the call should fail").errno()
}

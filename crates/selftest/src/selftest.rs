//! `IOMMU_TEST_CMD`: which operation does what.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use swiommu_abi::command::Command;
use swiommu_abi::test_cmd::{
    AddReserved, IommuTestCmd, IommuTestOp, MemoryLimit, MockDomainFlags, MockFlagsAccess,
    MockFlagsDevice,
};
use swiommu_addr::Iova;
use swiommu_files::Refusal;
use swiommu_iommu::{Epochs, GroupId};
use swiommu_iommufd::{Call, Extension, ObjectId, Outcome};
use swiommu_mem::PhysicalMemory;
use zerocopy::{FromBytes, IntoBytes};

use crate::memory::iova_range;
use crate::{Error, MockEndpoint, MockUnit, access, check, device, dirty, dma_buf, events, pasid};

/// The first group of a mock device; below are those of other models.
const FIRST_GROUP: u64 = 1 << 32;

/// Bytes of batch memory unless a test says otherwise.
const DEFAULT_BATCH_LIMIT: u32 = 65536;

/// Bytes of one element of a batch: an address and a count.
const BATCH_ELEMENT: u32 = 12;

/// The driver behind `IOMMU_TEST_CMD`: one for all contexts of a machine.
#[derive(Debug)]
pub struct Selftest {
    unit: Arc<MockUnit>,
    devices: AtomicU64,
    batch_limit: AtomicU32,
}

impl Selftest {
    /// A driver whose page tables are in this memory, and are walked by these readers.
    pub fn new(memory: &Arc<PhysicalMemory>, epochs: &Arc<Epochs>) -> Arc<Self> {
        Arc::new(Self {
            unit: MockUnit::new(memory, epochs),
            devices: AtomicU64::new(0),
            batch_limit: AtomicU32::new(DEFAULT_BATCH_LIMIT),
        })
    }

    /// The IOMMU that its devices are behind.
    pub fn unit(&self) -> &Arc<MockUnit> {
        &self.unit
    }

    /// A new device behind it, alone in its group.
    pub fn endpoint(&self, flags: MockFlagsDevice) -> Arc<MockEndpoint> {
        let group = FIRST_GROUP + self.devices.fetch_add(1, Ordering::Relaxed);
        MockEndpoint::new(&self.unit, GroupId(group), flags)
    }

    /// Bytes of batch memory that a test asked for last (`SET_TEMP_MEMORY_LIMIT`).
    pub fn batch_limit(&self) -> u32 {
        self.batch_limit.load(Ordering::Relaxed)
    }

    fn set_batch_limit(&self, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
        let MemoryLimit { limit } = cmd.body.get();
        if limit < BATCH_ELEMENT {
            return Err(Error::BatchLimit(limit));
        }
        self.batch_limit.store(limit, Ordering::Relaxed);
        Ok(Outcome::DONE)
    }

    fn run(&self, call: &Call<'_>, cmd: &mut IommuTestCmd) -> Result<Outcome, Error> {
        match IommuTestOp(cmd.op) {
            IommuTestOp::ADD_RESERVED => add_reserved(call, cmd),
            IommuTestOp::MOCK_DOMAIN => device::create(self, call, cmd, 0),
            IommuTestOp::MOCK_DOMAIN_FLAGS => {
                let MockDomainFlags { dev_flags, .. } = cmd.body.get();
                device::create(self, call, cmd, dev_flags)
            }
            IommuTestOp::MOCK_DOMAIN_REPLACE => device::replace(call, cmd),
            IommuTestOp::MD_CHECK_MAP => check::map(call, cmd),
            IommuTestOp::MD_CHECK_REFS => check::refs(call, cmd),
            IommuTestOp::MD_CHECK_IOTLB => check::iotlb(call, cmd),
            IommuTestOp::DEV_CHECK_CACHE => check::dev_cache(call, cmd),
            IommuTestOp::CREATE_ACCESS => access::create(call, cmd),
            IommuTestOp::DESTROY_ACCESS_PAGES => access::unpin(call, cmd),
            IommuTestOp::ACCESS_PAGES => access::pin(call, cmd),
            IommuTestOp::ACCESS_RW => access::rw(call, cmd),
            IommuTestOp::ACCESS_REPLACE_IOAS => access::replace_ioas(call, cmd),
            IommuTestOp::SET_TEMP_MEMORY_LIMIT => self.set_batch_limit(cmd),
            IommuTestOp::DIRTY => dirty::dirty(call, cmd),
            IommuTestOp::TRIGGER_IOPF => events::page_request(call, cmd),
            IommuTestOp::TRIGGER_VEVENT => events::virtual_event(call, cmd),
            IommuTestOp::DMABUF_GET => dma_buf::get(call, cmd),
            IommuTestOp::DMABUF_REVOKE => dma_buf::revoke(call, cmd),
            IommuTestOp::PASID_ATTACH => pasid::attach(call, cmd),
            IommuTestOp::PASID_REPLACE => pasid::replace(call, cmd),
            IommuTestOp::PASID_DETACH => pasid::detach(call, cmd),
            IommuTestOp::PASID_CHECK_HWPT => pasid::check_hwpt(call, cmd),
            op => Err(Error::Op(op)),
        }
    }
}

impl Extension for Selftest {
    fn call(
        &self,
        call: &Call<'_>,
        command: &Command,
        bytes: &mut [u8],
    ) -> Result<Outcome, Refusal> {
        let mut cmd = IommuTestCmd::read_from_bytes(bytes)
            .map_err(|_| swiommu_iommufd::Error::NotServed(command.name))?;
        let outcome = self.run(call, &mut cmd)?;
        bytes.copy_from_slice(cmd.as_bytes());
        Ok(outcome)
    }

    fn names_area_by_number(&self, copy_flags: u32) -> Option<u32> {
        let by_number = MockFlagsAccess::SYZ.bits();
        (copy_flags & by_number != 0).then_some(copy_flags & !by_number)
    }
}

fn add_reserved(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
    let AddReserved { start, length } = cmd.body.get();
    let range = iova_range(Iova::new(start), length)?;
    call.context().reserve_iova(ObjectId(cmd.id), range)?;
    Ok(Outcome::DONE)
}

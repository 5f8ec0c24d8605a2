//! The operations of `IOMMU_TEST_CMD`.

use swiommu_abi::UapiStruct;
use swiommu_abi::test_cmd::{
    AccessPages, AccessReplaceIoas, AccessRw, AddReserved, CheckDevCache, CheckIotlb, CheckMap,
    CheckRefs, CreateAccess, DestroyAccessPages, Dirty, IOMMU_TEST_CMD, IommuTestCmd, IommuTestOp,
    MemoryLimit, MockAccessRw, MockDomainFlags, MockDomainReplace, MockFlagsAccessCreate,
    MockFlagsDevice, PasidAttach, PasidCheck, PasidDetach, PasidReplace, TestBody,
};
use swiommu_addr::{Hva, Iova};
use swiommu_files::FdNumber;
use swiommu_iommu::Pasid;
use swiommu_iommufd::{AccessKind, ObjectId};

use super::{Client, Result};

/// The objects of a mock device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Device {
    /// What DESTROY removes it by.
    pub stdev: ObjectId,
    /// Its page table.
    pub hwpt: ObjectId,
    /// The DEVICE.
    pub idev: ObjectId,
}

/// The descriptor of a software access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access(pub FdNumber);

/// How an access copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyPath {
    /// For the caller.
    Caller,
    /// As if another process called (`MOCK_ACCESS_RW_SLOW_PATH`).
    Slow,
}

impl CopyPath {
    fn flags(self) -> MockAccessRw {
        match self {
            Self::Caller => MockAccessRw::empty(),
            Self::Slow => MockAccessRw::SLOW_PATH,
        }
    }
}

/// What `DIRTY` is to mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dirtied<'a> {
    /// The IOVA of bit 0.
    pub iova: Iova,
    /// Bytes of the range.
    pub len: u64,
    /// Bytes that a bit stands for.
    pub page_size: u64,
    /// The bits.
    pub bitmap: &'a [u8],
}

/// Each method is one operation; its errors are that operation's.
impl Client {
    /// Any operation. Returns the union as the call left it.
    ///
    /// # Errors
    /// The operation's.
    pub fn test<T: UapiStruct>(&self, op: IommuTestOp, id: u32, body: T) -> Result<T> {
        let mut cmd = IommuTestCmd {
            size: IommuTestCmd::SIZE,
            op: op.0,
            id,
            body: TestBody::new(body),
            ..Default::default()
        };
        self.ioctl(IOMMU_TEST_CMD, &mut cmd)?;
        Ok(cmd.body.get())
    }

    /// `ADD_RESERVED`.
    ///
    /// # Errors
    /// The operation's.
    pub fn add_reserved(&self, ioas: ObjectId, start: Iova, length: u64) -> Result<()> {
        let body = AddReserved {
            start: start.get(),
            length,
        };
        self.test(IommuTestOp::ADD_RESERVED, ioas.0, body).map(drop)
    }

    /// `MOCK_DOMAIN`.
    ///
    /// # Errors
    /// The operation's.
    pub fn mock_domain(&self, target: ObjectId) -> Result<Device> {
        let body = swiommu_abi::test_cmd::MockDomain::default();
        let out = self.test(IommuTestOp::MOCK_DOMAIN, target.0, body)?;
        Ok(Device {
            stdev: ObjectId(out.out_stdev_id),
            hwpt: ObjectId(out.out_hwpt_id),
            idev: ObjectId(out.out_idev_id),
        })
    }

    /// `MOCK_DOMAIN_FLAGS`.
    ///
    /// # Errors
    /// The operation's.
    pub fn mock_domain_flags(&self, target: ObjectId, flags: MockFlagsDevice) -> Result<Device> {
        let body = MockDomainFlags {
            dev_flags: flags.bits(),
            ..Default::default()
        };
        let out = self.test(IommuTestOp::MOCK_DOMAIN_FLAGS, target.0, body)?;
        Ok(Device {
            stdev: ObjectId(out.out_stdev_id),
            hwpt: ObjectId(out.out_hwpt_id),
            idev: ObjectId(out.out_idev_id),
        })
    }

    /// `MOCK_DOMAIN_REPLACE`. Returns the page table.
    ///
    /// # Errors
    /// The operation's.
    pub fn mock_domain_replace(&self, stdev: ObjectId, target: ObjectId) -> Result<ObjectId> {
        let body = MockDomainReplace { pt_id: target.0 };
        let out = self.test(IommuTestOp::MOCK_DOMAIN_REPLACE, stdev.0, body)?;
        Ok(ObjectId(out.pt_id))
    }

    /// `MD_CHECK_MAP`.
    ///
    /// # Errors
    /// The operation's.
    pub fn check_map(&self, hwpt: ObjectId, iova: Iova, length: u64, memory: Hva) -> Result<()> {
        let body = CheckMap {
            iova: iova.get(),
            length,
            uptr: memory.get(),
        };
        self.test(IommuTestOp::MD_CHECK_MAP, hwpt.0, body).map(drop)
    }

    /// `MD_CHECK_REFS`.
    ///
    /// # Errors
    /// The operation's.
    pub fn check_refs(&self, memory: Hva, length: u64, refs: u32) -> Result<()> {
        let body = CheckRefs {
            length,
            uptr: memory.get(),
            refs,
            ..Default::default()
        };
        self.test(IommuTestOp::MD_CHECK_REFS, 0, body).map(drop)
    }

    /// `MD_CHECK_IOTLB`.
    ///
    /// # Errors
    /// The operation's.
    pub fn check_iotlb(&self, nested: ObjectId, entry: u32, iotlb: u32) -> Result<()> {
        let body = CheckIotlb { id: entry, iotlb };
        self.test(IommuTestOp::MD_CHECK_IOTLB, nested.0, body)
            .map(drop)
    }

    /// `DEV_CHECK_CACHE`.
    ///
    /// # Errors
    /// The operation's.
    pub fn check_dev_cache(&self, idev: ObjectId, entry: u32, cache: u32) -> Result<()> {
        let body = CheckDevCache { id: entry, cache };
        self.test(IommuTestOp::DEV_CHECK_CACHE, idev.0, body)
            .map(drop)
    }

    /// `CREATE_ACCESS`.
    ///
    /// # Errors
    /// The operation's.
    pub fn create_access(&self, ioas: ObjectId, kind: AccessKind) -> Result<Access> {
        let flags = match kind {
            AccessKind::Pins => MockFlagsAccessCreate::NEEDS_PIN_PAGES,
            AccessKind::Copies => MockFlagsAccessCreate::empty(),
        };
        let body = CreateAccess {
            flags: flags.bits(),
            ..Default::default()
        };
        let out = self.test(IommuTestOp::CREATE_ACCESS, ioas.0, body)?;
        Ok(Access(FdNumber(out.out_access_fd.cast_signed())))
    }

    /// Closes an access.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn destroy_access(&self, access: Access) -> Result<()> {
        self.process().close(access.0)
    }

    /// `ACCESS_PAGES` for reading. Returns the number of the pin.
    ///
    /// # Errors
    /// The operation's.
    pub fn access_pages(
        &self,
        access: Access,
        iova: Iova,
        length: u64,
        memory: Hva,
    ) -> Result<u32> {
        let body = AccessPages {
            iova: iova.get(),
            length,
            uptr: memory.get(),
            ..Default::default()
        };
        let id = access.0.0.cast_unsigned();
        let out = self.test(IommuTestOp::ACCESS_PAGES, id, body)?;
        Ok(out.out_access_pages_id)
    }

    /// `DESTROY_ACCESS_PAGES`.
    ///
    /// # Errors
    /// The operation's.
    pub fn destroy_access_pages(&self, access: Access, pin: u32) -> Result<()> {
        let body = DestroyAccessPages {
            access_pages_id: pin,
        };
        let id = access.0.0.cast_unsigned();
        self.test(IommuTestOp::DESTROY_ACCESS_PAGES, id, body)
            .map(drop)
    }

    /// `ACCESS_RW`, reading from IOVAs.
    ///
    /// # Errors
    /// The operation's.
    pub fn access_read(
        &self,
        access: Access,
        iova: Iova,
        len: usize,
        path: CopyPath,
    ) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let buffer = self.place(&bytes)?;
        self.access_rw(access, iova, len as u64, buffer.at(0), path.flags())?;
        buffer.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// `ACCESS_RW`, writing to IOVAs.
    ///
    /// # Errors
    /// The operation's.
    pub fn access_write(
        &self,
        access: Access,
        iova: Iova,
        bytes: &[u8],
        path: CopyPath,
    ) -> Result<()> {
        let buffer = self.place(bytes)?;
        let flags = path.flags() | MockAccessRw::WRITE;
        self.access_rw(access, iova, bytes.len() as u64, buffer.at(0), flags)
    }

    /// `ACCESS_RW`.
    ///
    /// # Errors
    /// The operation's.
    pub fn access_rw(
        &self,
        access: Access,
        iova: Iova,
        length: u64,
        buffer: Hva,
        flags: MockAccessRw,
    ) -> Result<()> {
        let body = AccessRw {
            iova: iova.get(),
            length,
            uptr: buffer.get(),
            flags: flags.bits(),
            ..Default::default()
        };
        let id = access.0.0.cast_unsigned();
        self.test(IommuTestOp::ACCESS_RW, id, body).map(drop)
    }

    /// `ACCESS_REPLACE_IOAS`.
    ///
    /// # Errors
    /// The operation's.
    pub fn access_replace_ioas(&self, access: Access, ioas: ObjectId) -> Result<()> {
        let body = AccessReplaceIoas { ioas_id: ioas.0 };
        let id = access.0.0.cast_unsigned();
        self.test(IommuTestOp::ACCESS_REPLACE_IOAS, id, body)
            .map(drop)
    }

    /// `SET_TEMP_MEMORY_LIMIT`.
    ///
    /// # Errors
    /// The operation's.
    pub fn set_temp_memory_limit(&self, limit: u32) -> Result<()> {
        let body = MemoryLimit { limit };
        self.test(IommuTestOp::SET_TEMP_MEMORY_LIMIT, 0, body)
            .map(drop)
    }

    /// `DIRTY`. Returns how many bits were set.
    ///
    /// # Errors
    /// The operation's.
    pub fn dirty(&self, hwpt: ObjectId, dirtied: Dirtied<'_>) -> Result<u64> {
        let bitmap = self.place(dirtied.bitmap)?;
        let body = Dirty {
            iova: dirtied.iova.get(),
            length: dirtied.len,
            page_size: dirtied.page_size,
            uptr: bitmap.at(0).get(),
            ..Default::default()
        };
        Ok(self.test(IommuTestOp::DIRTY, hwpt.0, body)?.out_nr_dirty)
    }

    /// `PASID_ATTACH`. Returns the page table.
    ///
    /// # Errors
    /// The operation's.
    pub fn pasid_attach(
        &self,
        stdev: ObjectId,
        pasid: Pasid,
        target: ObjectId,
    ) -> Result<ObjectId> {
        let body = PasidAttach {
            pasid: pasid.0,
            pt_id: target.0,
        };
        let out = self.test(IommuTestOp::PASID_ATTACH, stdev.0, body)?;
        Ok(ObjectId(out.pt_id))
    }

    /// `PASID_REPLACE`. Returns the page table.
    ///
    /// # Errors
    /// The operation's.
    pub fn pasid_replace(
        &self,
        stdev: ObjectId,
        pasid: Pasid,
        target: ObjectId,
    ) -> Result<ObjectId> {
        let body = PasidReplace {
            pasid: pasid.0,
            pt_id: target.0,
        };
        let out = self.test(IommuTestOp::PASID_REPLACE, stdev.0, body)?;
        Ok(ObjectId(out.pt_id))
    }

    /// `PASID_DETACH`.
    ///
    /// # Errors
    /// The operation's.
    pub fn pasid_detach(&self, stdev: ObjectId, pasid: Pasid) -> Result<()> {
        let body = PasidDetach { pasid: pasid.0 };
        self.test(IommuTestOp::PASID_DETACH, stdev.0, body)
            .map(drop)
    }

    /// `PASID_CHECK_HWPT`.
    ///
    /// # Errors
    /// The operation's.
    pub fn pasid_check_hwpt(
        &self,
        stdev: ObjectId,
        pasid: Pasid,
        hwpt: Option<ObjectId>,
    ) -> Result<()> {
        let body = PasidCheck {
            pasid: pasid.0,
            hwpt_id: hwpt.map_or(0, |hwpt| hwpt.0),
        };
        self.test(IommuTestOp::PASID_CHECK_HWPT, stdev.0, body)
            .map(drop)
    }
}

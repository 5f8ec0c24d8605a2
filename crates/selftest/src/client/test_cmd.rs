//! The operations of `IOMMU_TEST_CMD` on what is not an access.

use swiommu_abi::UapiStruct;
use swiommu_abi::test_cmd::{
    AddReserved, CheckDevCache, CheckIotlb, CheckMap, CheckRefs, IOMMU_TEST_CMD, IommuTestCmd,
    IommuTestOp, MemoryLimit, MockDomainFlags, MockDomainReplace, MockFlagsDevice, PasidAttach,
    PasidCheck, PasidDetach, PasidReplace, TestBody,
};
use swiommu_addr::{Hva, Iova};
use swiommu_iommu::Pasid;
use swiommu_iommufd::ObjectId;

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

    /// `SET_TEMP_MEMORY_LIMIT`.
    ///
    /// # Errors
    /// The operation's.
    pub fn set_temp_memory_limit(&self, limit: u32) -> Result<()> {
        let body = MemoryLimit { limit };
        self.test(IommuTestOp::SET_TEMP_MEMORY_LIMIT, 0, body)
            .map(drop)
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

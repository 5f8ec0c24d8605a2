//! Calls about hardware: `HWPT_ALLOC` and `GET_HW_INFO`.

use swiommu_abi::UapiStruct;
use swiommu_abi::hw_info::{
    IOMMU_GET_HW_INFO, IommuHwInfo, IommufdHwCapabilities, IommufdHwInfoFlags,
};
use swiommu_abi::hwpt::{IOMMU_HWPT_ALLOC, IommuHwptAlloc};
use swiommu_abi::mock::{IOMMU_HWPT_DATA_SELFTEST, IommuHwptSelftest, MockIommupt};
use swiommu_iommufd::{HwptFlags, ObjectId};
use zerocopy::IntoBytes;

use super::{Client, Result};

/// The driver's part of `HWPT_ALLOC`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HwptData<'a> {
    /// `data_type`.
    pub data_type: u32,
    /// The bytes, or `None` for a pointer to nowhere.
    pub bytes: Option<&'a [u8]>,
    /// `data_len`.
    pub len: u32,
}

impl<'a> HwptData<'a> {
    /// No data.
    pub const NONE: Self = Self {
        data_type: 0,
        bytes: None,
        len: 0,
    };

    /// These bytes as data of the mock.
    pub fn mock(bytes: &'a [u8]) -> Self {
        Self {
            data_type: IOMMU_HWPT_DATA_SELFTEST.0,
            bytes: Some(bytes),
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        }
    }
}

/// What `GET_HW_INFO` said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HwInfo {
    /// The caller's buffer, as long as it was, afterwards.
    pub buffer: Vec<u8>,
    /// The length of the driver's data.
    pub data_len: u32,
    /// Its type.
    pub data_type: u32,
    /// What the device and its IOMMU can do.
    pub capabilities: IommufdHwCapabilities,
    /// Bits of a PASID.
    pub max_pasid_log2: u8,
}

/// Each method is one ioctl; its errors are that ioctl's.
impl Client {
    /// `IOMMU_HWPT_ALLOC` without data.
    ///
    /// # Errors
    /// The call's.
    pub fn hwpt_alloc(&self, device: ObjectId, on: ObjectId, flags: HwptFlags) -> Result<ObjectId> {
        self.hwpt_alloc_with(device, on, flags, HwptData::NONE)
    }

    /// `IOMMU_HWPT_ALLOC` of one of the mock's page tables.
    ///
    /// # Errors
    /// The call's.
    pub fn hwpt_alloc_mock(
        &self,
        device: ObjectId,
        on: ObjectId,
        flags: HwptFlags,
        pagetable: MockIommupt,
    ) -> Result<ObjectId> {
        let data = IommuHwptSelftest {
            iotlb: 0,
            pagetable_type: pagetable.0,
        };
        self.hwpt_alloc_with(device, on, flags, HwptData::mock(data.as_bytes()))
    }

    /// `IOMMU_HWPT_ALLOC` of a nested page table of the mock, whose IOTLB holds `iotlb`.
    ///
    /// # Errors
    /// The call's.
    pub fn hwpt_alloc_nested(
        &self,
        device: ObjectId,
        parent: ObjectId,
        flags: HwptFlags,
        iotlb: u32,
    ) -> Result<ObjectId> {
        let data = IommuHwptSelftest {
            iotlb,
            pagetable_type: 0,
        };
        self.hwpt_alloc_with(device, parent, flags, HwptData::mock(data.as_bytes()))
    }

    /// `IOMMU_HWPT_ALLOC`.
    ///
    /// # Errors
    /// The call's.
    pub fn hwpt_alloc_with(
        &self,
        device: ObjectId,
        on: ObjectId,
        flags: HwptFlags,
        data: HwptData<'_>,
    ) -> Result<ObjectId> {
        let placed = data.bytes.map(|bytes| self.place(bytes));
        let placed = placed.transpose()?;
        let mut cmd = IommuHwptAlloc {
            size: IommuHwptAlloc::SIZE,
            flags: flags.bits(),
            dev_id: device.0,
            pt_id: on.0,
            data_type: data.data_type,
            data_len: data.len,
            data_uptr: placed.as_ref().map_or(0, |buffer| buffer.at(0).get()),
            ..Default::default()
        };
        self.ioctl(IOMMU_HWPT_ALLOC, &mut cmd)?;
        Ok(ObjectId(cmd.out_hwpt_id))
    }

    /// `IOMMU_GET_HW_INFO` of the type that is asked for, or of any, into a buffer of `room` bytes that holds `0xff`s.
    ///
    /// # Errors
    /// The call's.
    pub fn hw_info(&self, device: ObjectId, data_type: Option<u32>, room: u32) -> Result<HwInfo> {
        let mut buffer = vec![0xff; room as usize];
        let placed = self.place(&buffer)?;
        let mut flags = IommufdHwInfoFlags::empty();
        flags.set(IommufdHwInfoFlags::INPUT_TYPE, data_type.is_some());
        let mut cmd = IommuHwInfo {
            size: IommuHwInfo::SIZE,
            flags: flags.bits(),
            dev_id: device.0,
            data_len: room,
            data_uptr: if room == 0 { 0 } else { placed.at(0).get() },
            out_data_type: data_type.unwrap_or(0),
            ..Default::default()
        };
        self.ioctl(IOMMU_GET_HW_INFO, &mut cmd)?;
        placed.read(0, &mut buffer)?;
        Ok(HwInfo {
            buffer,
            data_len: cmd.data_len,
            data_type: cmd.out_data_type,
            capabilities: IommufdHwCapabilities::from_bits_retain(cmd.out_capabilities),
            max_pasid_log2: cmd.out_max_pasid_log2,
        })
    }
}

//! Calls for guests: fault queues, virtual IOMMUs and what belongs to them; and the operations of `IOMMU_TEST_CMD` that raise events.

use swiommu_abi::UapiStruct;
use swiommu_abi::fault::{IOMMU_FAULT_QUEUE_ALLOC, IommuFaultAlloc};
use swiommu_abi::hw_queue::{IOMMU_HW_QUEUE_ALLOC, IommuHwQueueAlloc};
use swiommu_abi::hwpt::{IOMMU_HWPT_ALLOC, IommuHwptAlloc};
use swiommu_abi::invalidate::{IOMMU_HWPT_INVALIDATE, IommuHwptInvalidate};
use swiommu_abi::mock::{IOMMU_HWPT_DATA_SELFTEST, IommuHwptSelftest, IommuViommuSelftest};
use swiommu_abi::test_cmd::{IommuTestOp, TriggerIopf, TriggerVevent};
use swiommu_abi::veventq::{IOMMU_VEVENTQ_ALLOC, IommuVeventqAlloc};
use swiommu_abi::viommu::{
    IOMMU_VDEVICE_ALLOC, IOMMU_VIOMMU_ALLOC, IommuVdeviceAlloc, IommuViommuAlloc,
};
use swiommu_addr::Gpa;
use swiommu_files::FdNumber;
use swiommu_iommu::VirtId;
use swiommu_iommufd::{HwptFlags, ObjectId};
use zerocopy::IntoBytes;

use super::{Client, Result};

/// An object whose content is read through a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventQueue {
    /// The object.
    pub id: ObjectId,
    /// The descriptor.
    pub fd: FdNumber,
}

/// The array of requests of an invalidation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalidation<'a> {
    /// `data_type`.
    pub data_type: u32,
    /// The array, or `None` for a null pointer.
    pub bytes: Option<&'a [u8]>,
    /// `entry_len`.
    pub entry_len: u32,
    /// `entry_num`.
    pub entry_num: u32,
}

/// Each method is one call; its errors are that call's.
impl Client {
    /// `IOMMU_FAULT_QUEUE_ALLOC`.
    ///
    /// # Errors
    /// The call's.
    pub fn fault_queue_alloc(&self) -> Result<EventQueue> {
        let mut cmd = IommuFaultAlloc {
            size: IommuFaultAlloc::SIZE,
            ..Default::default()
        };
        self.ioctl(IOMMU_FAULT_QUEUE_ALLOC, &mut cmd)?;
        Ok(EventQueue {
            id: ObjectId(cmd.out_fault_id),
            fd: FdNumber(cmd.out_fault_fd.cast_signed()),
        })
    }

    /// `IOMMU_HWPT_ALLOC` of a nested page table of the mock that reports page requests to a fault queue.
    ///
    /// # Errors
    /// The call's.
    pub fn hwpt_alloc_with_faults(
        &self,
        device: ObjectId,
        on: ObjectId,
        flags: HwptFlags,
        fault: ObjectId,
    ) -> Result<ObjectId> {
        let data = IommuHwptSelftest::default();
        let placed = self.place(data.as_bytes())?;
        let mut cmd = IommuHwptAlloc {
            size: IommuHwptAlloc::SIZE,
            flags: (flags | HwptFlags::FAULT_ID_VALID).bits(),
            dev_id: device.0,
            pt_id: on.0,
            data_type: IOMMU_HWPT_DATA_SELFTEST.0,
            data_len: IommuHwptSelftest::SIZE,
            data_uptr: placed.at(0).get(),
            fault_id: fault.0,
            ..Default::default()
        };
        self.ioctl(IOMMU_HWPT_ALLOC, &mut cmd)?;
        Ok(ObjectId(cmd.out_hwpt_id))
    }

    /// `IOMMU_VIOMMU_ALLOC`, with the data of the mock if there is any, which then is as the call left it.
    ///
    /// # Errors
    /// The call's.
    pub fn viommu_alloc(
        &self,
        device: ObjectId,
        parent: ObjectId,
        viommu_type: u32,
        data: Option<&mut IommuViommuSelftest>,
    ) -> Result<ObjectId> {
        let len = if data.is_some() {
            IommuViommuSelftest::SIZE
        } else {
            0
        };
        let mut none = IommuViommuSelftest::default();
        let data = data.unwrap_or(&mut none);
        let placed = self.place(data.as_bytes())?;
        let mut cmd = IommuViommuAlloc {
            size: IommuViommuAlloc::SIZE,
            r#type: viommu_type,
            dev_id: device.0,
            hwpt_id: parent.0,
            data_len: len,
            data_uptr: placed.at(0).get(),
            ..Default::default()
        };
        self.ioctl(IOMMU_VIOMMU_ALLOC, &mut cmd)?;
        placed.read(0, data.as_mut_bytes())?;
        Ok(ObjectId(cmd.out_viommu_id))
    }

    /// `IOMMU_VDEVICE_ALLOC`.
    ///
    /// # Errors
    /// The call's.
    pub fn vdevice_alloc(
        &self,
        viommu: ObjectId,
        device: ObjectId,
        virt_id: VirtId,
    ) -> Result<ObjectId> {
        let mut cmd = IommuVdeviceAlloc {
            size: IommuVdeviceAlloc::SIZE,
            viommu_id: viommu.0,
            dev_id: device.0,
            virt_id: virt_id.0,
            ..Default::default()
        };
        self.ioctl(IOMMU_VDEVICE_ALLOC, &mut cmd)?;
        Ok(ObjectId(cmd.out_vdevice_id))
    }

    /// `IOMMU_VEVENTQ_ALLOC`.
    ///
    /// # Errors
    /// The call's.
    pub fn veventq_alloc(
        &self,
        viommu: ObjectId,
        event_type: u32,
        depth: u32,
    ) -> Result<EventQueue> {
        let mut cmd = IommuVeventqAlloc {
            size: IommuVeventqAlloc::SIZE,
            viommu_id: viommu.0,
            r#type: event_type,
            veventq_depth: depth,
            ..Default::default()
        };
        self.ioctl(IOMMU_VEVENTQ_ALLOC, &mut cmd)?;
        Ok(EventQueue {
            id: ObjectId(cmd.out_veventq_id),
            fd: FdNumber(cmd.out_veventq_fd.cast_signed()),
        })
    }

    /// `IOMMU_HW_QUEUE_ALLOC`, with `len` bytes from `base`.
    ///
    /// # Errors
    /// The call's.
    pub fn hw_queue_alloc(
        &self,
        viommu: ObjectId,
        queue_type: u32,
        index: u32,
        (base, len): (Gpa, u64),
    ) -> Result<ObjectId> {
        let mut cmd = IommuHwQueueAlloc {
            size: IommuHwQueueAlloc::SIZE,
            viommu_id: viommu.0,
            r#type: queue_type,
            index,
            nesting_parent_iova: base.get(),
            length: len,
            ..Default::default()
        };
        self.ioctl(IOMMU_HW_QUEUE_ALLOC, &mut cmd)?;
        Ok(ObjectId(cmd.out_hw_queue_id))
    }

    /// `IOMMU_HWPT_INVALIDATE`. Tells also how many requests the call says to have carried out, which it does when it fails, too.
    pub fn invalidate(&self, target: ObjectId, requests: Invalidation<'_>) -> (Result<()>, u32) {
        let placed = match requests.bytes.map(|bytes| self.place(bytes)).transpose() {
            Ok(placed) => placed,
            Err(error) => return (Err(error), 0),
        };
        let mut cmd = IommuHwptInvalidate {
            size: IommuHwptInvalidate::SIZE,
            hwpt_id: target.0,
            data_uptr: placed.as_ref().map_or(0, |placed| placed.at(0).get()),
            data_type: requests.data_type,
            entry_len: requests.entry_len,
            entry_num: requests.entry_num,
            ..Default::default()
        };
        let result = self.ioctl(IOMMU_HWPT_INVALIDATE, &mut cmd).map(drop);
        (result, cmd.entry_num)
    }

    /// `TRIGGER_IOPF`.
    ///
    /// # Errors
    /// The operation's.
    pub fn trigger_iopf(&self, request: TriggerIopf) -> Result<()> {
        self.test(IommuTestOp::TRIGGER_IOPF, 0, request).map(drop)
    }

    /// `TRIGGER_VEVENT`.
    ///
    /// # Errors
    /// The operation's.
    pub fn trigger_vevent(&self, device: ObjectId) -> Result<()> {
        let body = TriggerVevent { dev_id: device.0 };
        self.test(IommuTestOp::TRIGGER_VEVENT, 0, body).map(drop)
    }
}

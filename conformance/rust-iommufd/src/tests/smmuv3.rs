//! Arm `SMMUv3`, through the wrappers that a VMM uses for it.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use iommufd_bindings::iommufd::{
    iommu_hw_info_arm_smmuv3, iommu_hw_info_type_IOMMU_HW_INFO_TYPE_ARM_SMMUV3 as ARM_SMMUV3,
    iommu_hwpt_arm_smmuv3,
    iommu_hwpt_invalidate_data_type_IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3 as INVALIDATE,
    iommu_veventq_type_IOMMU_VEVENTQ_TYPE_ARM_SMMUV3 as VEVENTQ, iommu_viommu_alloc,
    iommu_viommu_arm_smmuv3_invalidate, iommu_viommu_type_IOMMU_VIOMMU_TYPE_ARM_SMMUV3 as VIOMMU,
    iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_NEST_PARENT as NEST_PARENT,
};
use iommufd_ioctls::{
    AttachHwpt, IommufdError, IommufdHwInfoData, IommufdHwptData, IommufdInvalidateData,
    IommufdVDevice, IommufdVIommu, IommufdViommuData,
};
use swiommu_client::raw::size;
use swiommu_client::vfio::Device;

use crate::errno::{EBUSY, EEXIST, EINVAL, EIO, ENOENT, errno, os_error};
use crate::harness::Fixture;
use crate::lab::{Hwpt, IOVA, Lab, out_type};

pub(crate) const FIXTURE: Fixture = Fixture {
    name: "smmuv3",
    tests: &[
        ("device_hw_info", device_hw_info),
        ("viommu", viommu),
        ("attach_bypass_and_abort", attach_bypass_and_abort),
        ("alloc_s1_hwpt", alloc_s1_hwpt),
        ("vdevice", vdevice),
        ("install_s1_hwpt", install_s1_hwpt),
        ("invalidate", invalidate),
        ("invalidate_batch", invalidate_batch),
        ("allocate_veventq", allocate_veventq),
        ("no_command_queue_of_its_own", no_command_queue_of_its_own),
    ],
};

/// What the guest calls its device.
const VIRT_ID: u64 = 0x21;

/// A stream table entry: V, Cfg, and where the context descriptor is.
const VALID: u64 = 1;
const BYPASS: u64 = 4 << 1;
const STAGE1: u64 = 5 << 1;

const TLBI_NH_ALL: u64 = 0x10;
const TLBI_NH_ASID: u64 = 0x11;
const TLBI_NH_VA: u64 = 0x12;
const TLBI_NH_VAA: u64 = 0x13;
const TLBI_NSNH_ALL: u64 = 0x30;
const CFGI_STE: u64 = 0x03;
const CFGI_CD: u64 = 0x05;
const CFGI_CD_ALL: u64 = 0x06;

/// A device behind an `SMMUv3`, and a guest's slice of that. Declared in the order of closing.
struct Guest {
    viommu: Arc<IommufdVIommu>,
    device: Arc<Device>,
    id: u32,
    lab: Lab,
}

impl Guest {
    fn new() -> Self {
        let lab = Lab::new();
        lab.map();
        let (device, id) = lab.device(ARM_SMMUV3);
        let viommu = IommufdVIommu::new(lab.ioas.clone(), id, false).unwrap();
        Self {
            viommu: Arc::new(viommu),
            device,
            id,
            lab,
        }
    }

    fn vdevice(&self) -> Result<IommufdVDevice, IommufdError> {
        let device: Arc<dyn AttachHwpt> = self.device.clone();
        IommufdVDevice::new(self.viommu.clone(), device, self.id, VIRT_ID)
    }

    fn invalidate(&self, cmd: [u64; 2]) -> Result<bool, i32> {
        let cmd = iommu_viommu_arm_smmuv3_invalidate { cmd };
        let mut cmd = IommufdInvalidateData::Smmuv3(cmd);
        self.viommu.invalidate(&mut cmd).map_err(errno)
    }
}

fn entry(first: u64, second: u64) -> IommufdHwptData {
    IommufdHwptData::Smmuv3(iommu_hwpt_arm_smmuv3 {
        ste: [first, second],
    })
}

fn stage1() -> IommufdHwptData {
    entry(VALID | STAGE1 | IOVA, 0)
}

fn device_hw_info() {
    let guest = Guest::new();
    let mut data = IommufdHwInfoData::Smmuv3(iommu_hw_info_arm_smmuv3::default());
    let info = guest
        .lab
        .iommufd
        .device_hw_info(guest.id, &mut data)
        .unwrap();
    let IommufdHwInfoData::Smmuv3(registers) = data;
    assert_eq!(out_type(&info), ARM_SMMUV3);
    assert_eq!(info.data_len, size::<iommu_hw_info_arm_smmuv3>());
    assert_eq!(registers.idr[0] & 3, 3, "both stages");
    let vdevice = guest.vdevice().unwrap();
    let mut again = IommufdHwInfoData::Smmuv3(iommu_hw_info_arm_smmuv3::default());
    vdevice.hw_info(&mut again).unwrap();
    let IommufdHwInfoData::Smmuv3(again) = again;
    assert_eq!(again.idr, registers.idr);
}

fn viommu() {
    let Guest {
        viommu,
        device,
        id,
        lab,
    } = Guest::new();
    assert!(matches!(viommu.data(), IommufdViommuData::Smmuv3));
    assert!(!viommu.hw_queue_support());
    assert!(Arc::ptr_eq(viommu.iommufd(), &lab.iommufd));
    // A second one is as good as the first, and both leave nothing behind.
    drop(IommufdVIommu::new(lab.ioas.clone(), id, false).unwrap());
    drop(viommu);
    drop(device);
}

fn attach_bypass_and_abort() {
    let guest = Guest::new();
    guest.viommu.attach_bypass(&*guest.device).unwrap();
    guest.viommu.attach_abort(&*guest.device).unwrap();
    guest.viommu.attach_bypass(&*guest.device).unwrap();
    guest.device.detach().unwrap();
}

fn alloc_s1_hwpt() {
    let guest = Guest::new();
    let alloc = |data| guest.viommu.alloc_s1_hwpt(guest.id, &data).map_err(errno);
    for legal in [
        stage1(),
        entry(VALID | BYPASS, 0),
        entry(VALID, 0),
        // Not valid: whatever else it says, it aborts.
        entry(!VALID, u64::MAX),
    ] {
        let hwpt = alloc(legal).unwrap();
        guest.lab.destroy(hwpt).unwrap();
    }
    for illegal in [
        // Both stages are not the guest's to choose.
        entry(VALID | 7 << 1, 0),
        entry(VALID | 6 << 1, 0),
        // Reserved bits, and fields of the second stage.
        entry(VALID | STAGE1 | 1 << 52, 0),
        entry(VALID | STAGE1, 1 << 32),
        entry(VALID | STAGE1, 2 << 28),
    ] {
        assert_eq!(alloc(illegal), Err(EIO));
    }
    // Stage 1 takes a device that the guest has a number for.
    let hwpt = alloc(stage1()).unwrap();
    assert_eq!(os_error(guest.device.attach(hwpt)), Err(ENOENT));
    guest.lab.destroy(hwpt).unwrap();
}

fn vdevice() {
    let guest = Guest::new();
    let vdevice = guest.vdevice().unwrap();
    assert_eq!(vdevice.virt_id(), VIRT_ID);
    assert_eq!(guest.vdevice().map(|_| ()).map_err(errno), Err(EEXIST));
    drop(vdevice);
    drop(guest.vdevice().unwrap());
}

fn install_s1_hwpt() {
    let guest = Guest::new();
    let mut vdevice = guest.vdevice().unwrap();
    vdevice.install_s1_hwpt(&stage1()).unwrap();
    vdevice.install_s1_hwpt(&stage1()).unwrap();
    let refused = vdevice.install_s1_hwpt(&entry(VALID | 7 << 1, 0));
    assert_eq!(refused.map_err(errno), Err(EIO));
    vdevice.uninstall_s1_hwpt(true).unwrap();
    vdevice.install_s1_hwpt(&stage1()).unwrap();
    vdevice.uninstall_s1_hwpt(false).unwrap();
    // One that is still there is destroyed when the wrapper is dropped.
    vdevice.install_s1_hwpt(&stage1()).unwrap();
}

fn invalidate() {
    let guest = Guest::new();
    let mut vdevice = guest.vdevice().unwrap();
    vdevice.install_s1_hwpt(&stage1()).unwrap();
    let (asid, sid) = (1 << 48, VIRT_ID << 32);
    for cmd in [
        [TLBI_NSNH_ALL, 0],
        [TLBI_NH_ALL, 0],
        [TLBI_NH_ASID | asid, 0],
        [TLBI_NH_VA | asid, 0x5000],
        [TLBI_NH_VA | asid, 0x5000 | 1],
        [TLBI_NH_VAA, 0x5000],
        [CFGI_CD | sid, 1],
        [CFGI_CD_ALL | sid, 0],
    ] {
        assert_eq!(guest.invalidate(cmd), Ok(true), "{cmd:x?}");
    }
    for cmd in [
        // The stream table is the host's.
        [CFGI_STE | sid, 0],
        [0xff, 0],
        [TLBI_NSNH_ALL | asid, 0],
        [TLBI_NH_ALL, 1],
        // The guest has no such device.
        [CFGI_CD_ALL | (VIRT_ID + 1) << 32, 0],
    ] {
        assert_eq!(guest.invalidate(cmd), Err(EIO), "{cmd:x?}");
    }
}

/// Upstream's wrapper sends one command; several go by the call below it, on a vIOMMU whose number is known.
fn invalidate_batch() {
    let lab = Lab::new();
    let (_device, dev_id) = lab.device(ARM_SMMUV3);
    let parent = Hwpt::<()>::plain(NEST_PARENT);
    let hwpt_id = lab.hwpt(dev_id, lab.ioas.id(), parent).unwrap();
    let mut arg = iommu_viommu_alloc {
        size: size::<iommu_viommu_alloc>(),
        type_: VIOMMU,
        dev_id,
        hwpt_id,
        ..Default::default()
    };
    lab.iommufd.alloc_iommu_viommu(&mut arg).unwrap();
    lab.made(arg.out_viommu_id);
    let send = |commands: &[[u64; 2]]| lab.invalidate(arg.out_viommu_id, INVALIDATE, commands);
    let all = [TLBI_NH_ALL, 0];
    assert_eq!(send(&[all, all, all]), (3, Ok(())));
    assert_eq!(send(&[all, all, [0xff, 0], all]), (2, Err(EIO)));
    assert_eq!(send(&[]), (0, Err(EINVAL)));
}

fn allocate_veventq() {
    let guest = Guest::new();
    let mut queue = guest.viommu.allocate_veventq(16).unwrap();
    assert_eq!(queue.veventq_type(), VEVENTQ);
    // SAFETY: the descriptor is open for as long as `queue` lives.
    let descriptor = unsafe { BorrowedFd::borrow_raw(queue.as_raw_fd()) };
    assert!(rustix::fs::fstat(descriptor).is_ok());
    let second = guest.viommu.allocate_veventq(16).map(|_| ());
    assert_eq!(second.map_err(errno), Err(EEXIST));
    assert!(queue.read_events().unwrap().is_empty());
    drop(queue);
    drop(guest.viommu.allocate_veventq(16).unwrap());
}

fn no_command_queue_of_its_own() {
    let guest = Guest::new();
    let (lab, id) = (&guest.lab, guest.id);
    let unsupported =
        |error: Option<IommufdError>| matches!(error, Some(IommufdError::HwQueueUnsupported));
    assert!(unsupported(
        IommufdVIommu::new(lab.ioas.clone(), id, true).err()
    ));
    assert!(unsupported(
        guest.viommu.allocate_hw_queue(0, IOVA, 4096).err()
    ));
    let events = guest.viommu.allocate_cmdqv_veventq(16).err();
    assert!(matches!(
        events,
        Some(IommufdError::UnsupportedVeventqType(_))
    ));
    assert_eq!(lab.destroy(id), Err(EBUSY));
}

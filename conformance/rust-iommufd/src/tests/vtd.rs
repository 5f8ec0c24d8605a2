//! Intel VT-d: nesting on a page table, invalidation, PASIDs.

use std::sync::Arc;

use iommufd_bindings::iommufd::{
    iommu_hw_info_arm_smmuv3, iommu_hw_info_type_IOMMU_HW_INFO_TYPE_INTEL_VTD as INTEL_VTD,
    iommu_hw_info_vtd, iommu_hwpt_data_type_IOMMU_HWPT_DATA_ARM_SMMUV3 as DATA_ARM,
    iommu_hwpt_data_type_IOMMU_HWPT_DATA_VTD_S1 as VTD_S1,
    iommu_hwpt_invalidate_data_type_IOMMU_HWPT_INVALIDATE_DATA_VTD_S1 as INVALIDATE_VTD_S1,
    iommu_hwpt_vtd_s1, iommu_hwpt_vtd_s1_invalidate, iommu_viommu_alloc,
    iommu_viommu_type_IOMMU_VIOMMU_TYPE_ARM_SMMUV3 as VIOMMU_ARM,
    iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_DIRTY_TRACKING as DIRTY_TRACKING,
    iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_NEST_PARENT as NEST_PARENT,
    iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_PASID as PASID,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE as READABLE,
};
use iommufd_ioctls::{IommufdError, IommufdHwInfoData, IommufdVIommu};
use swiommu_client::raw::size;
use swiommu_client::vfio::Device;

use crate::errno::{EADDRINUSE, EBUSY, EINVAL, ENOENT, EOPNOTSUPP, errno, os_error};
use crate::harness::Fixture;
use crate::lab::{Hwpt, IOVA, Lab, out_type};

pub(crate) const FIXTURE: Fixture = Fixture {
    name: "vtd",
    tests: &[
        ("get_hw_info", get_hw_info),
        ("device_hw_info", device_hw_info),
        ("interrupt_window_is_reserved", interrupt_window_is_reserved),
        ("alloc_iommu_hwpt", alloc_iommu_hwpt),
        (
            "nesting_parent_takes_no_read_only_memory",
            nesting_parent_takes_no_read_only_memory,
        ),
        ("alloc_nested_hwpt", alloc_nested_hwpt),
        ("attach_nested_hwpt", attach_nested_hwpt),
        ("invalidate_hwpt", invalidate_hwpt),
        ("attach_pasid", attach_pasid),
        ("fault_queue", fault_queue),
        ("no_viommu", no_viommu),
    ],
};

/// The scalable mode's bits of ECAP that nesting needs: NEST, PASID, SMTS, SSTS, FSTS.
const NESTING: u64 = 1 << 26 | 1 << 40 | 1 << 43 | 1 << 46 | 1 << 47;

/// A device behind VT-d, and a nesting parent with memory.
struct Guest {
    device: Arc<Device>,
    id: u32,
    parent: u32,
    lab: Lab,
}

impl Guest {
    fn new() -> Self {
        let lab = Lab::new();
        lab.map();
        let (device, id) = lab.device(INTEL_VTD);
        let parent = lab.hwpt(id, lab.ioas.id(), Hwpt::<()>::plain(NEST_PARENT));
        Self {
            device,
            id,
            parent: parent.unwrap(),
            lab,
        }
    }

    fn nested(&self, flags: u32, addr_width: u32) -> Result<u32, i32> {
        let data = iommu_hwpt_vtd_s1 {
            pgtbl_addr: IOVA,
            addr_width,
            ..Default::default()
        };
        let data = Some((VTD_S1, &data));
        let hwpt = Hwpt {
            flags,
            data,
            fault_id: None,
        };
        self.lab.hwpt(self.id, self.parent, hwpt)
    }
}

fn get_hw_info() {
    let lab = Lab::new();
    let (_device, id) = lab.device(INTEL_VTD);
    let mut vtd = iommu_hw_info_vtd::default();
    let info = lab.hw_info(id, INTEL_VTD, &mut vtd).unwrap();
    assert_eq!(out_type(&info), INTEL_VTD);
    assert_eq!(info.data_len, size::<iommu_hw_info_vtd>());
    assert_eq!(vtd.ecap_reg & NESTING, NESTING, "{vtd:x?}");
    // The domain numbers, and widths of second stages.
    assert_ne!(vtd.cap_reg & 0x1f07, 0, "{vtd:x?}");
    // A buffer that is longer than the struct is cleared to its end.
    let mut longer = [u64::MAX; 4];
    let info = lab.hw_info(id, INTEL_VTD, &mut longer).unwrap();
    assert_eq!(info.data_len, size::<iommu_hw_info_vtd>());
    assert_eq!(longer[1..], [vtd.cap_reg, vtd.ecap_reg, 0]);
    let other = lab.hw_info(id, 99, &mut vtd);
    assert_eq!(other.map(|_| ()), Err(EOPNOTSUPP));
}

/// Upstream knows the information of SMMUv3 only, and leaves it to its caller to look at the type.
fn device_hw_info() {
    let lab = Lab::new();
    let (_device, id) = lab.device(INTEL_VTD);
    let mut data = IommufdHwInfoData::Smmuv3(iommu_hw_info_arm_smmuv3::default());
    let info = lab.iommufd.device_hw_info(id, &mut data).unwrap();
    assert_eq!(out_type(&info), INTEL_VTD);
}

fn interrupt_window_is_reserved() {
    let lab = Lab::new();
    let (device, _) = lab.device(INTEL_VTD);
    let window = 0xfee0_0000;
    device.attach(lab.ioas.id()).unwrap();
    assert_eq!(lab.map_at(window, READABLE), Err(EINVAL));
    device.detach().unwrap();
    assert_eq!(lab.map_at(window, READABLE), Ok(()));
    let refused = os_error(device.attach(lab.ioas.id()));
    assert_eq!(refused, Err(EADDRINUSE));
}

fn alloc_iommu_hwpt() {
    let lab = Lab::new();
    let (device, id) = lab.device(INTEL_VTD);
    let alloc = |flags| lab.hwpt(id, lab.ioas.id(), Hwpt::<()>::plain(flags));
    assert_eq!(alloc(1 << 31), Err(EOPNOTSUPP));
    for flags in [
        0,
        PASID,
        DIRTY_TRACKING,
        NEST_PARENT,
        NEST_PARENT | DIRTY_TRACKING,
    ] {
        let hwpt = alloc(flags).unwrap();
        assert_eq!(os_error(device.attach(hwpt)), Ok(hwpt));
        assert_eq!(lab.destroy(hwpt), Err(EBUSY));
        device.detach().unwrap();
        assert_eq!(lab.destroy(hwpt), Ok(()));
    }
    assert_eq!(
        lab.hwpt(99, lab.ioas.id(), Hwpt::<()>::plain(0)),
        Err(ENOENT)
    );
    assert_eq!(lab.hwpt(id, 99, Hwpt::<()>::plain(0)), Err(EINVAL));
}

fn nesting_parent_takes_no_read_only_memory() {
    let guest = Guest::new();
    let refused = guest.lab.map_at(2 * IOVA, READABLE);
    assert_eq!(refused, Err(EINVAL));
}

fn alloc_nested_hwpt() {
    let guest = Guest::new();
    let nested = guest.nested(0, 48).unwrap();
    assert_eq!(guest.lab.destroy(guest.parent), Err(EBUSY));
    assert_eq!(guest.lab.destroy(nested), Ok(()));
    // What the guest's table is like is looked at when a device is attached.
    assert!(guest.nested(0, 7).is_ok());
    assert!(guest.nested(PASID, 48).is_ok());
    assert_eq!(guest.nested(DIRTY_TRACKING, 48), Err(EOPNOTSUPP));

    let (lab, id) = (&guest.lab, guest.id);
    let stage = iommu_hwpt_vtd_s1::default();
    let on = |parent, data_type| {
        let data = Some((data_type, &stage));
        lab.hwpt(
            id,
            parent,
            Hwpt {
                data,
                ..Hwpt::plain(0)
            },
        )
    };
    assert_eq!(on(guest.parent, DATA_ARM), Err(EOPNOTSUPP));
    let plain = lab.hwpt(id, lab.ioas.id(), Hwpt::<()>::plain(0)).unwrap();
    assert_eq!(on(plain, VTD_S1), Err(EINVAL));
    let short = Hwpt {
        data: Some((VTD_S1, &0_u64)),
        ..Hwpt::plain(0)
    };
    assert_eq!(lab.hwpt(id, guest.parent, short), Err(EINVAL));
}

fn attach_nested_hwpt() {
    let guest = Guest::new();
    let nested = guest.nested(0, 48).unwrap();
    let (lab, device) = (&guest.lab, &guest.device);
    assert_eq!(os_error(device.attach(nested)), Ok(nested));
    assert_eq!(lab.destroy(nested), Err(EBUSY));
    // The CPU of this unit has tables of four levels only.
    let five_levels = guest.nested(0, 57).unwrap();
    assert_eq!(os_error(device.attach(five_levels)), Err(EINVAL));
    assert_eq!(os_error(device.attach(guest.parent)), Ok(guest.parent));
    assert_eq!(lab.destroy(nested), Ok(()));
}

fn invalidate_hwpt() {
    let guest = Guest::new();
    let nested = guest.nested(0, 48).unwrap();
    guest.device.attach(nested).unwrap();
    let page = iommu_hwpt_vtd_s1_invalidate {
        addr: 0x1000,
        npages: 1,
        ..Default::default()
    };
    let everything = iommu_hwpt_vtd_s1_invalidate {
        addr: 0,
        npages: u64::MAX,
        ..page
    };
    let leaf_only = iommu_hwpt_vtd_s1_invalidate { flags: 1, ..page };
    let unaligned = iommu_hwpt_vtd_s1_invalidate { addr: 1, ..page };
    let unknown = iommu_hwpt_vtd_s1_invalidate { flags: 2, ..page };
    let send = |requests: &[iommu_hwpt_vtd_s1_invalidate]| {
        guest.lab.invalidate(nested, INVALIDATE_VTD_S1, requests)
    };
    assert_eq!(send(&[page, everything, leaf_only]), (3, Ok(())));
    assert_eq!(send(&[]), (0, Ok(())));
    assert_eq!(send(&[page, unaligned, page]), (1, Err(EINVAL)));
    assert_eq!(send(&[page, page, unknown]), (2, Err(EOPNOTSUPP)));
    let (lab, parent) = (&guest.lab, guest.parent);
    let wrong_type = lab.invalidate(nested, 1, &[page]);
    assert_eq!(wrong_type, (0, Err(EINVAL)));
    let not_nested = lab.invalidate(parent, INVALIDATE_VTD_S1, &[page]);
    assert_eq!(not_nested, (0, Err(EINVAL)));
    let absent = lab.invalidate(99, INVALIDATE_VTD_S1, &[page]);
    assert_eq!(absent, (0, Err(ENOENT)));
}

fn attach_pasid() {
    let guest = Guest::new();
    let (lab, device) = (&guest.lab, &guest.device);
    let attach = |pasid, hwpt| os_error(device.attach_pasid(pasid, hwpt));
    let plain = guest.nested(0, 48).unwrap();
    assert_eq!(
        attach(5, plain),
        Err(EINVAL),
        "it was not allocated for PASIDs"
    );
    assert_eq!(attach(5, lab.ioas.id()), Err(EINVAL));
    let nested = guest.nested(PASID, 48).unwrap();
    let second = guest.nested(PASID, 48).unwrap();
    assert_eq!(attach(5, nested), Ok(nested));
    assert_eq!(attach(6, nested), Ok(nested));
    assert_eq!(attach(5, second), Ok(second), "it moves");
    assert_eq!(os_error(device.attach(plain)), Err(EINVAL), "beside PASIDs");
    assert_eq!(os_error(device.attach(nested)), Ok(nested));
    assert_eq!(attach(1 << 20, nested), Err(EINVAL));
    device.detach().unwrap();
    device.detach_pasid(6).unwrap();
    device.detach_pasid(6).unwrap();
    assert_eq!(lab.destroy(nested), Ok(()));
    assert_eq!(lab.destroy(second), Err(EBUSY));
    device.detach_pasid(5).unwrap();
    assert_eq!(lab.destroy(second), Ok(()));
}

fn fault_queue() {
    let guest = Guest::new();
    let (lab, id) = (&guest.lab, guest.id);
    let (fault, file) = lab.fault_queue();
    let stage = iommu_hwpt_vtd_s1 {
        pgtbl_addr: IOVA,
        addr_width: 48,
        ..Default::default()
    };
    let hwpt = Hwpt {
        data: Some((VTD_S1, &stage)),
        fault_id: Some(fault),
        ..Hwpt::plain(0)
    };
    let nested = lab.hwpt(id, guest.parent, hwpt).unwrap();
    assert_eq!(os_error(guest.device.attach(nested)), Ok(nested));
    assert_eq!(lab.destroy(fault), Err(EBUSY));
    guest.device.detach().unwrap();
    lab.destroy(nested).unwrap();
    drop(file);
    assert_eq!(lab.destroy(fault), Ok(()));
    let absent = Hwpt {
        fault_id: Some(99),
        ..hwpt
    };
    assert_eq!(lab.hwpt(id, guest.parent, absent), Err(ENOENT));
}

fn no_viommu() {
    let guest = Guest::new();
    let (lab, id) = (&guest.lab, guest.id);
    let mut arg = iommu_viommu_alloc {
        size: size::<iommu_viommu_alloc>(),
        type_: VIOMMU_ARM,
        dev_id: id,
        hwpt_id: guest.parent,
        ..Default::default()
    };
    let refused = lab.iommufd.alloc_iommu_viommu(&mut arg).map_err(errno);
    assert_eq!(refused, Err(EOPNOTSUPP));
    let wrapper = IommufdVIommu::new(lab.ioas.clone(), id, false);
    let unsupported = matches!(wrapper, Err(IommufdError::UnsupportedIommu(INTEL_VTD)));
    assert!(unsupported);
}

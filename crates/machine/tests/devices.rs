//! A client in process finds the devices of a machine, and they do DMA in its memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_abi::UapiStruct;
use swiommu_abi::ioas::{IOMMU_IOAS_ALLOC, IOMMU_IOAS_MAP, IommuIoasAlloc, IommuIoasMap};
use swiommu_abi::vfio::device::{
    VFIO_DEVICE_ATTACH_IOMMUFD_PT, VFIO_DEVICE_BIND_IOMMUFD, VfioDeviceAttachIommufdPt,
    VfioDeviceBindIommufd,
};
use swiommu_addr::{Address, Hva, HvaRange, Iova};
use swiommu_devices::dma::{Completion, Descriptor, Progress, Status, register};
use swiommu_files::{Arg, Caller, FdNumber, File, InstallFlags, Local, OpenFlags, Opened};
use swiommu_iommu::Pasid;
use swiommu_machine::{Description, DeviceDescription, DeviceInstance, Machine, UnitDescription};
use swiommu_mem::{AddressSpace, LocalSpace};

const IOVA: u64 = 0x10_0000;
const LEN: u64 = 0x4000;
/// `IOMMU_IOAS_MAP_FIXED_IOVA`, `WRITEABLE`, `READABLE`.
const FIXED_RW: u32 = 7;

/// A program with a page for structs, and memory for DMA.
struct Client {
    space: Arc<LocalSpace>,
    caller: Local,
    structs: HvaRange,
    memory: HvaRange,
}

impl Client {
    fn new(machine: &Machine) -> Self {
        let space = LocalSpace::new(machine.memory()).unwrap();
        Self {
            caller: Local::new(space.clone()),
            structs: space.allocate(4096).unwrap(),
            memory: space.allocate(LEN).unwrap(),
            space,
        }
    }

    fn open(&self, machine: &Machine, path: &str) -> (Arc<dyn File>, FdNumber) {
        let node = machine.paths().get(path.as_ref()).unwrap();
        let flags = OpenFlags::READ | OpenFlags::WRITE;
        let Ok(Opened::File(file)) = node.open(&self.caller, flags) else {
            panic!("{path} does not open");
        };
        let fd = self.caller.install(file.clone(), InstallFlags::empty());
        (file, fd.unwrap())
    }

    fn call<T: UapiStruct>(
        &self,
        file: &Arc<dyn File>,
        request: u32,
        mut arg: T,
    ) -> Result<T, Errno> {
        let at: Hva = self.structs.start();
        self.space.write(at, arg.as_bytes()).unwrap();
        let result = file.ioctl(&self.caller, request, Arg::from(at));
        result.map_err(|refusal| refusal.errno())?;
        self.space.read(at, arg.as_mut_bytes()).unwrap();
        Ok(arg)
    }

    /// An IOAS with the memory in it.
    fn ioas(&self, iommufd: &Arc<dyn File>) -> u32 {
        let alloc = IommuIoasAlloc {
            size: IommuIoasAlloc::SIZE,
            ..Default::default()
        };
        let ioas = self.call(iommufd, IOMMU_IOAS_ALLOC, alloc).unwrap();
        let map = IommuIoasMap {
            size: IommuIoasMap::SIZE,
            flags: FIXED_RW,
            ioas_id: ioas.out_ioas_id,
            user_va: self.memory.start().get(),
            length: LEN,
            iova: IOVA,
            ..Default::default()
        };
        self.call(iommufd, IOMMU_IOAS_MAP, map).unwrap();
        ioas.out_ioas_id
    }

    fn bind(&self, device: &Arc<dyn File>, iommufd: FdNumber) -> Result<(), Errno> {
        let bind = VfioDeviceBindIommufd {
            argsz: VfioDeviceBindIommufd::SIZE,
            iommufd: iommufd.0,
            ..Default::default()
        };
        self.call(device, VFIO_DEVICE_BIND_IOMMUFD, bind)
            .map(|_| ())
    }

    fn attach(&self, device: &Arc<dyn File>, pt_id: u32) -> Result<u32, Errno> {
        let attach = VfioDeviceAttachIommufdPt {
            argsz: VfioDeviceAttachIommufdPt::SIZE,
            pt_id,
            ..Default::default()
        };
        let attached = self.call(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach)?;
        Ok(attached.pt_id)
    }
}

fn machine(units: &[&str], devices: &[&str]) -> Machine {
    let units: Vec<UnitDescription> = units.iter().map(|text| text.parse().unwrap()).collect();
    let devices: Vec<DeviceDescription> =
        devices.iter().map(|text| text.parse().unwrap()).collect();
    Machine::new(&Description::of(units, devices)).unwrap()
}

#[test]
fn devices_behind_every_model_do_dma() {
    let machine = machine(&["vtd", "smmuv3", "mock"], &[]);
    let client = Client::new(&machine);
    let (iommufd, fd) = client.open(&machine, "/dev/iommu");
    let ioas = client.ioas(&iommufd);
    for (n, device) in machine.devices().iter().enumerate() {
        let (file, _) = client.open(&machine, &format!("/dev/vfio/devices/vfio{n}"));
        client.bind(&file, fd).unwrap();
        let port = device.endpoint().port(Pasid::NONE);
        let Some(mut port) = port else {
            assert_eq!(n, 2, "only the mock's devices do no DMA");
            continue;
        };
        let iova = Iova::new(IOVA + 0x1000);
        assert!(port.write(iova, &[1]).is_err(), "it is not attached");
        client.attach(&file, ioas).unwrap();
        let sent = format!("device {n}");
        port.write(iova, sent.as_bytes()).unwrap();
        let mut found = vec![0; sent.len()];
        let at = client.memory.start().wrapping_add(0x1000);
        client.space.read(at, &mut found).unwrap();
        assert_eq!(found, sent.as_bytes());
        client.caller.close(FdNumber(fd.0 + 1)).unwrap();
        drop(file);
        assert!(port.write(iova, &[1]).is_err(), "closing has detached it");
    }
}

#[test]
fn a_device_reads_its_descriptors_behind_its_unit() {
    for unit in ["vtd", "smmuv3"] {
        let machine = machine(&[unit], &["dma"]);
        let client = Client::new(&machine);
        let (iommufd, fd) = client.open(&machine, "/dev/iommu");
        let ioas = client.ioas(&iommufd);
        let (file, _) = client.open(&machine, "/dev/vfio/devices/vfio0");
        client.bind(&file, fd).unwrap();
        client.attach(&file, ioas).unwrap();
        let descriptor = Descriptor::fill(Iova::new(IOVA + 0x2000), 5, 0x41);
        let ring = client.memory.start();
        client.space.write(ring, &descriptor.to_bytes()).unwrap();
        let DeviceInstance::Dma(device) = machine.devices()[0].instance() else {
            panic!("another device");
        };
        let engine = register::engine(3);
        let base = u32::try_from(IOVA).unwrap();
        device.registers().store(engine + register::RING_LOW, base);
        let control = engine + register::CONTROL;
        device.registers().store(control, register::ENABLE);
        assert_eq!(device.doorbell(3, 1), Progress::Idle);
        let mut completion = [0; Completion::LEN];
        let at = ring.wrapping_add(Completion::OFFSET as u64);
        client.space.read(at, &mut completion).unwrap();
        let completion = Completion::from_bytes(&completion);
        assert_eq!(completion.status(), Some(Status::Success), "{unit}");
        let mut filled = [0; 6];
        let at = ring.wrapping_add(0x2000);
        client.space.read(at, &mut filled).unwrap();
        assert_eq!(filled, [0x41, 0, 0, 0, 0, 0]);
    }
}

#[test]
fn devices_of_a_group_are_attached_together() {
    let machine = machine(&["vtd"], &["dma:group=3", "dma:group=3", "dma"]);
    let client = Client::new(&machine);
    let (iommufd, fd) = client.open(&machine, "/dev/iommu");
    let ioas = client.ioas(&iommufd);
    let files: Vec<Arc<dyn File>> = (0..3)
        .map(|n| {
            client
                .open(&machine, &format!("/dev/vfio/devices/vfio{n}"))
                .0
        })
        .collect();
    for file in &files {
        client.bind(file, fd).unwrap();
    }
    let hwpt = client.attach(&files[0], ioas).unwrap();
    let writes = |n: usize| {
        let mut port = machine.devices()[n].endpoint().port(Pasid::NONE).unwrap();
        port.write(Iova::new(IOVA), &[1]).is_ok()
    };
    assert_eq!([0, 1, 2].map(writes), [true, true, false]);
    assert_eq!(client.attach(&files[1], ioas), Ok(hwpt));
    assert_eq!(client.attach(&files[2], ioas), Ok(hwpt));
    let (_, other) = client.open(&machine, "/dev/iommu");
    let (again, _) = client.open(&machine, "/dev/vfio/devices/vfio1");
    assert_eq!(client.bind(&again, other), Err(Errno::EINVAL));
}

#[test]
fn units_do_not_share_page_tables() {
    let machine = machine(&["vtd", "vtd"], &[]);
    let client = Client::new(&machine);
    let (iommufd, fd) = client.open(&machine, "/dev/iommu");
    let ioas = client.ioas(&iommufd);
    let attach = |n: usize| {
        let (file, _) = client.open(&machine, &format!("/dev/vfio/devices/vfio{n}"));
        client.bind(&file, fd).unwrap();
        client.attach(&file, ioas).unwrap()
    };
    assert_ne!(attach(0), attach(1));
}

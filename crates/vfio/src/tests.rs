use std::sync::Arc;

use swiommu_abi::vfio::device::{
    VFIO_DEVICE_ATTACH_IOMMUFD_PT as ATTACH, VFIO_DEVICE_BIND_IOMMUFD as BIND,
    VFIO_DEVICE_DETACH_IOMMUFD_PT as DETACH, VFIO_DEVICE_GET_INFO as GET_INFO,
};
use swiommu_abi::vfio::feature::VFIO_DEVICE_FEATURE as FEATURE;
use swiommu_abi::vfio::irq::{VFIO_DEVICE_GET_IRQ_INFO, VFIO_DEVICE_SET_IRQS};
use swiommu_abi::vfio::region::VFIO_DEVICE_GET_REGION_INFO;
use swiommu_abi::vfio::reset::VFIO_DEVICE_RESET;
use swiommu_abi::{Errno, request};
use swiommu_addr::{Address, Hva, HvaRange, Iova};
use swiommu_files::{
    Arg, Caller, DeviceNumber, FdNumber, File, InstallFlags, Local, MmapFlags, MmapRequest, Node,
    OpenFlags, Opened, Stat,
};
use swiommu_iommu::vtd::{SourceId, VtdEndpoint, VtdSettings, VtdUnit};
use swiommu_iommu::{Epochs, GroupId, Pasid};
use swiommu_iommufd::{
    Context, ContextFile, HwptFlags, HwptRequest, MapRequest, MapSource, ObjectId, Placement,
};
use swiommu_mem::{Accounting, AddressSpace, Config, LocalSpace, PAGE, PhysicalMemory, Protection};

use crate::{Device, DeviceNode, Owners};

const PAGE_LEN: u64 = PAGE.bytes();

/// A VT-d unit, and a client with one page for structs; the page after it cannot be accessed.
struct Lab {
    unit: Arc<VtdUnit>,
    owners: Arc<Owners>,
    space: Arc<LocalSpace>,
    client: Local,
    structs: HvaRange,
}

impl Lab {
    fn new() -> Self {
        let memory = PhysicalMemory::new(Config::default()).unwrap();
        let space = LocalSpace::new(&memory).unwrap();
        let pages = space.allocate(2 * PAGE_LEN).unwrap();
        let second = pages.start().wrapping_add(PAGE_LEN);
        space.unmap(HvaRange::new(second, pages.last()).unwrap());
        Self {
            unit: VtdUnit::new(&memory, &Epochs::new(), VtdSettings::default()),
            owners: Owners::new(),
            structs: HvaRange::new(pages.start(), pages.start().wrapping_add(PAGE_LEN - 1))
                .unwrap(),
            client: Local::new(space.clone()),
            space,
        }
    }

    fn device(&self, number: u32, group: u64) -> Arc<Device> {
        let source = SourceId(u16::try_from(number).unwrap());
        let endpoint = VtdEndpoint::new(&self.unit, source, GroupId(group));
        Device::new(number, endpoint, &self.owners)
    }

    fn open(&self, device: &Arc<Device>) -> Arc<dyn File> {
        let node = DeviceNode(device.clone());
        match node.open(&self.client, OpenFlags::READ | OpenFlags::WRITE) {
            Ok(Opened::File(file)) => file,
            other => panic!("{other:?}"),
        }
    }

    /// A new context, and the client's only descriptor of it.
    fn context(&self) -> (Arc<Context>, FdNumber) {
        let context = Arc::new(Context::new(self.space.memory()));
        let number = DeviceNumber {
            major: 10,
            minor: 1,
        };
        let file = ContextFile::new(context.clone(), "/dev/iommu", number, 0o660);
        let fd = self.client.install(Arc::new(file), InstallFlags::empty());
        (context, fd.unwrap())
    }

    /// Calls with a struct of these words that ends where the client's memory does. Returns what it is afterwards.
    fn call(&self, file: &Arc<dyn File>, request: u32, words: &[u32]) -> Result<Vec<u32>, Errno> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let at = self.at(words);
        self.space.write(at, &bytes).unwrap();
        self.ioctl(file, request, at)?;
        self.space.read(at, &mut bytes).unwrap();
        let words = bytes.chunks_exact(4);
        Ok(words
            .map(|word| u32::from_ne_bytes(word.try_into().unwrap()))
            .collect())
    }

    /// The same, with a struct that cannot be written.
    fn call_read_only(
        &self,
        file: &Arc<dyn File>,
        request: u32,
        words: &[u32],
    ) -> Result<(), Errno> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.space.write(self.at(words), &bytes).unwrap();
        self.space.protect(self.structs, Protection::Read);
        let result = self.ioctl(file, request, self.at(words));
        self.space.protect(self.structs, Protection::ReadWrite);
        result
    }

    fn ioctl(&self, file: &Arc<dyn File>, request: u32, at: Hva) -> Result<(), Errno> {
        let result = file.ioctl(&self.client, request, Arg::from(at));
        result
            .map(|value| assert_eq!(value, 0))
            .map_err(|refusal| refusal.errno())
    }

    fn at(&self, words: &[u32]) -> Hva {
        self.structs
            .start()
            .wrapping_add(PAGE_LEN - 4 * words.len() as u64)
    }

    fn bind(&self, file: &Arc<dyn File>, context: FdNumber) -> Result<u32, Errno> {
        let reply = self.call(file, BIND, &[16, 0, context.0.cast_unsigned(), 0])?;
        assert_eq!(reply[..3], [16, 0, context.0.cast_unsigned()]);
        Ok(reply[3])
    }

    /// A device that is bound to a context with an IOAS.
    fn bound(&self) -> (Arc<dyn File>, Arc<Context>, ObjectId) {
        let file = self.open(&self.device(0, 0));
        let (context, fd) = self.context();
        let ioas = context.ioas_alloc().unwrap();
        self.bind(&file, fd).unwrap();
        (file, context, ioas)
    }
}

/// A page table of the device that PASIDs can be attached to.
fn for_pasids(context: &Context, device: u32, ioas: ObjectId) -> u32 {
    let request = HwptRequest {
        device: ObjectId(device),
        on: ioas,
        flags: HwptFlags::PASID,
        fault: ObjectId(0),
        data: None,
    };
    context.hwpt_alloc(&request).unwrap().0
}

fn type_of(context: &Context, id: u32) -> Option<String> {
    let graph = context.graph();
    let node = graph.iter().find(|node| node.id.0 == id)?;
    Some(node.type_name.to_owned())
}

#[test]
fn a_node_is_a_character_device() {
    let lab = Lab::new();
    let device = lab.device(3, 0);
    assert_eq!(device.path(), "/dev/vfio/devices/vfio3");
    let file = lab.open(&device);
    assert_eq!(file.name(), device.path());
    assert_eq!(file.stat(), DeviceNode(device).stat());
    let number = DeviceNumber {
        major: 511,
        minor: 3,
    };
    assert_eq!(
        file.stat(),
        Stat::Device {
            number,
            mode: 0o600
        }
    );
}

#[test]
fn before_it_is_bound_a_device_does_nothing() {
    let lab = Lab::new();
    let file = lab.open(&lab.device(0, 0));
    for number in [
        ATTACH,
        DETACH,
        GET_INFO,
        FEATURE,
        VFIO_DEVICE_RESET,
        request(200),
    ] {
        let result = lab.call(&file, number, &[24, 0, 0, 0, 0, 0]);
        assert_eq!(result, Err(Errno::EINVAL), "{number:#x}");
    }
    let read = file.read_at(&lab.client, 0, None).unwrap_err();
    assert!(read.to_string().contains("VFIO_DEVICE_BIND_IOMMUFD"));
}

#[test]
fn binding_takes_its_argument_by_the_rules() {
    let lab = Lab::new();
    let file = lab.open(&lab.device(0, 0));
    let (context, fd) = lab.context();
    let fd = fd.0.cast_unsigned();
    let other = lab
        .client
        .open_native(std::fs::File::open("/dev/null").unwrap().into());
    let other = other.0.cast_unsigned();
    for (words, errno) in [
        (&[15, 0, fd, 0][..], Errno::EINVAL),
        (&[24, 0, fd, 0], Errno::EFAULT),
        (&[28, 0, fd, 0, 0, 0, 1], Errno::E2BIG),
        (&[16, 2, fd, 0], Errno::EINVAL),
        (&[16, 0, u32::MAX, 0], Errno::EINVAL),
        (&[24, 1, fd, 0, 0, 0], Errno::EINVAL),
        (&[16, 0, 99, 0], Errno::EBADF),
        (&[16, 0, other, 0], Errno::EBADFD),
    ] {
        assert_eq!(lab.call(&file, BIND, words), Err(errno), "{words:?}");
    }
    assert_eq!(
        lab.call_read_only(&file, BIND, &[16, 0, fd, 0]),
        Err(Errno::EFAULT)
    );
    assert!(context.graph().is_empty(), "nothing is left of what failed");
    // A longer struct of zeros is a newer program's.
    let reply = lab.call(&file, BIND, &[28, 0, fd, 0, 0, 0, 0]).unwrap();
    assert_eq!(reply, [28, 0, fd, 1, 0, 0, 0]);
    assert_eq!(type_of(&context, 1).as_deref(), Some("DEVICE"));
}

#[test]
fn a_device_is_bound_once_until_it_is_closed() {
    let lab = Lab::new();
    let device = lab.device(0, 0);
    let (first, second) = (lab.open(&device), lab.open(&device));
    let (context, fd) = lab.context();
    lab.bind(&first, fd).unwrap();
    assert_eq!(lab.bind(&first, fd), Err(Errno::EINVAL));
    assert_eq!(lab.bind(&second, fd), Err(Errno::EINVAL));
    assert_eq!(lab.bind(&second, FdNumber(99)), Err(Errno::EBADF));
    assert_eq!(
        lab.call(&second, GET_INFO, &[24, 0, 0, 0, 0, 0]),
        Err(Errno::EINVAL)
    );
    drop(first);
    assert!(context.graph().is_empty());
    lab.bind(&second, fd).unwrap();
}

#[test]
fn a_bound_device_keeps_its_context_open() {
    let lab = Lab::new();
    let file = lab.open(&lab.device(0, 0));
    let (context, fd) = lab.context();
    let open = Arc::downgrade(&context);
    drop(context);
    lab.bind(&file, fd).unwrap();
    lab.client.close(fd).unwrap();
    assert!(open.upgrade().is_some());
    drop(file);
    assert!(open.upgrade().is_none());
}

#[test]
fn a_group_is_one_contexts() {
    let lab = Lab::new();
    let files = [7, 7, 8].map(|group| lab.open(&lab.device(0, group)));
    let (_, own) = lab.context();
    let (_, others) = lab.context();
    lab.bind(&files[0], own).unwrap();
    assert_eq!(lab.bind(&files[1], others), Err(Errno::EPERM));
    lab.bind(&files[1], own).unwrap();
    lab.bind(&files[2], others).unwrap();
    let [first, second, _] = files;
    drop(first);
    let third = lab.open(&lab.device(1, 7));
    assert_eq!(lab.bind(&third, others), Err(Errno::EPERM));
    drop(second);
    lab.bind(&third, others).unwrap();
}

#[test]
fn attaching_takes_its_argument_by_the_rules() {
    let lab = Lab::new();
    let (file, _, ioas) = lab.bound();
    let ioas = ioas.0;
    for (request, words, errno) in [
        (ATTACH, &[11, 0, ioas][..], Errno::EINVAL),
        (ATTACH, &[12, 0], Errno::EFAULT),
        (ATTACH, &[12, 2, ioas], Errno::EINVAL),
        (ATTACH, &[12, 1, ioas], Errno::EFAULT),
        (ATTACH, &[15, 1, ioas, 5], Errno::EINVAL),
        (ATTACH, &[12, 0, 99], Errno::ENOENT),
        (ATTACH, &[12, 0, 2], Errno::EINVAL),
        (ATTACH, &[16, 1, ioas, 5], Errno::EINVAL),
        (ATTACH, &[16, 1, ioas, 1 << 31], Errno::ENOSPC),
        (DETACH, &[7, 0], Errno::EINVAL),
        (DETACH, &[8], Errno::EFAULT),
        (DETACH, &[8, 2], Errno::EINVAL),
        (DETACH, &[8, 1], Errno::EFAULT),
        (DETACH, &[11, 1, 5], Errno::EINVAL),
    ] {
        assert_eq!(lab.call(&file, request, words), Err(errno), "{words:?}");
    }
    // What is not attached can be detached.
    assert!(lab.call(&file, DETACH, &[8, 0]).is_ok());
    assert!(lab.call(&file, DETACH, &[12, 1, 5]).is_ok());
}

#[test]
fn the_second_attach_moves_the_device() {
    let lab = Lab::new();
    let (file, context, first) = lab.bound();
    let second = context.ioas_alloc().unwrap();
    let attach = |to: u32| lab.call(&file, ATTACH, &[12, 0, to]).map(|reply| reply[2]);
    let hwpt = attach(first.0).unwrap();
    assert_eq!(type_of(&context, hwpt).as_deref(), Some("HWPT_PAGING"));
    assert_eq!(attach(first.0), Ok(hwpt));
    let moved = attach(second.0).unwrap();
    assert_ne!(moved, hwpt);
    assert_eq!(type_of(&context, hwpt), None, "nobody needs it any more");
    assert_eq!(attach(99), Err(Errno::ENOENT));
    assert!(
        type_of(&context, moved).is_some(),
        "what failed has changed nothing"
    );
    lab.call(&file, DETACH, &[8, 0]).unwrap();
    assert_eq!(type_of(&context, moved), None);
}

#[test]
fn pasids_are_attached_beside_the_device() {
    let lab = Lab::new();
    let (file, context, ioas) = lab.bound();
    let device = 2;
    let tables = [(); 2].map(|()| for_pasids(&context, device, ioas));
    let attach = |pasid, to| {
        lab.call(&file, ATTACH, &[16, 1, to, pasid])
            .map(|reply| reply[2])
    };
    assert_eq!(attach(5, tables[0]), Ok(tables[0]));
    assert_eq!(attach(6, tables[0]), Ok(tables[0]));
    assert_eq!(attach(5, tables[1]), Ok(tables[1]));
    assert_eq!(attach(1 << 20, tables[0]), Err(Errno::EINVAL));
    let busy = |table| {
        context
            .destroy(ObjectId(table))
            .map_err(|error| error.errno())
    };
    assert_eq!(busy(tables[0]), Err(Errno::EBUSY));
    lab.call(&file, DETACH, &[12, 1, 6]).unwrap();
    assert_eq!(busy(tables[0]), Ok(()));
    assert_eq!(busy(tables[1]), Err(Errno::EBUSY));
    drop(file);
    assert_eq!(busy(tables[1]), Ok(()));
}

#[test]
fn an_attachment_that_cannot_be_told_is_undone() {
    let lab = Lab::new();
    let (file, context, ioas) = lab.bound();
    let table = for_pasids(&context, 2, ioas);
    let rid = lab.call(&file, ATTACH, &[12, 0, table]);
    assert_eq!(rid.map(|reply| reply[2]), Ok(table));
    let told = lab.call_read_only(&file, ATTACH, &[16, 1, table, 5]);
    assert_eq!(told, Err(Errno::EFAULT));
    // The device itself stays attached: only one user is left.
    assert!(context.destroy(ObjectId(table)).is_err());
    lab.call(&file, DETACH, &[8, 0]).unwrap();
    assert!(context.destroy(ObjectId(table)).is_ok());
}

#[test]
fn a_device_that_is_attached_does_dma() {
    let lab = Lab::new();
    let source = SourceId(0x0100);
    let endpoint = VtdEndpoint::new(&lab.unit, source, GroupId(0));
    let file = lab.open(&Device::new(0, endpoint.clone(), &lab.owners));
    let (context, fd) = lab.context();
    let ioas = context.ioas_alloc().unwrap();
    let buffer = lab.space.allocate(PAGE_LEN).unwrap();
    let owner: Arc<dyn AddressSpace> = lab.space.clone();
    let iova = Iova::new(0x10_0000);
    let request = MapRequest {
        owner: &owner,
        accounting: Accounting::None,
        source: MapSource::Memory(buffer.start()),
        len: PAGE_LEN,
        placement: Placement::Fixed(iova),
        prot: swiommu_iommu::Prot::RW,
    };
    context.map(ioas, request).unwrap();
    let mut port = endpoint.dma_port(Pasid::NONE);
    assert!(port.write(iova, b"too early").is_err());
    lab.bind(&file, fd).unwrap();
    assert!(port.write(iova, b"too early").is_err());
    lab.call(&file, ATTACH, &[12, 0, ioas.0]).unwrap();
    port.write(iova, b"from the device").unwrap();
    let mut found = [0; 15];
    lab.space.read(buffer.start(), &mut found).unwrap();
    assert_eq!(&found, b"from the device");
    drop(file);
    assert!(port.write(iova, b"too late").is_err());
}

#[test]
fn it_says_that_it_has_no_regions_and_no_interrupts() {
    let lab = Lab::new();
    let (file, ..) = lab.bound();
    assert_eq!(
        lab.call(&file, GET_INFO, &[15, 9, 9, 9]),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        lab.call(&file, GET_INFO, &[16, 9, 9, 9]),
        Ok(vec![16, 0, 0, 0])
    );
    let whole = lab.call(&file, GET_INFO, &[24, 9, 9, 9, 9, 9]);
    assert_eq!(whole, Ok(vec![24, 0, 0, 0, 0, 0]));
    assert_eq!(
        lab.call_read_only(&file, GET_INFO, &[16, 0, 0, 0]),
        Err(Errno::EFAULT)
    );
    for (number, words) in [
        (VFIO_DEVICE_GET_REGION_INFO, 8),
        (VFIO_DEVICE_GET_IRQ_INFO, 4),
        (VFIO_DEVICE_SET_IRQS, 5),
    ] {
        let mut cmd = vec![0; words];
        cmd[0] = 4 * u32::try_from(words).unwrap();
        assert_eq!(lab.call(&file, number, &cmd), Err(Errno::EINVAL));
        assert_eq!(lab.call(&file, number, &cmd[1..]), Err(Errno::EFAULT));
    }
    assert_eq!(lab.call(&file, VFIO_DEVICE_RESET, &[]), Err(Errno::EINVAL));
    assert_eq!(lab.call(&file, request(200), &[0]), Err(Errno::ENOTTY));
    let mapped = file.mmap(
        &lab.client,
        &MmapRequest {
            offset: 0,
            len: PAGE_LEN,
            flags: MmapFlags::READ | MmapFlags::SHARED,
        },
    );
    assert_eq!(mapped.unwrap_err().errno(), Errno::EINVAL);
    assert_eq!(
        file.read_at(&lab.client, 0, None).unwrap_err().errno(),
        Errno::EINVAL
    );
}

#[test]
fn it_has_no_features() {
    let lab = Lab::new();
    let (file, ..) = lab.bound();
    let (get, set, probe) = (1 << 16, 1 << 17, 1 << 18);
    for (flags, errno) in [
        (get | 1, Errno::ENOTTY),
        (probe | get | set | 0xb, Errno::ENOTTY),
        (0, Errno::ENOTTY),
        (get | set | 1, Errno::EINVAL),
        (1 << 19, Errno::EINVAL),
    ] {
        assert_eq!(
            lab.call(&file, FEATURE, &[8, flags]),
            Err(errno),
            "{flags:#x}"
        );
    }
    assert_eq!(lab.call(&file, FEATURE, &[7, get]), Err(Errno::EINVAL));
    assert_eq!(lab.call(&file, FEATURE, &[8]), Err(Errno::EFAULT));
}

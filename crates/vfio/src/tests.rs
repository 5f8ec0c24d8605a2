mod attach;
mod bind;
mod failures;
mod info;

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

//! The typed methods of a context, which the ioctls are made of.

use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_abi::test_cmd::MockFlagsDevice;
use swiommu_addr::IovaRange;
use swiommu_iommu::{Pasid, Prot};
use swiommu_iommufd::{
    Context, HwptFlags, HwptRequest, MapRequest, MapSource, ObjectId, Placement, RlimitMode,
};
use swiommu_mem::{Accounting, AddressSpace};
use swiommu_selftest::client::{Buffer, Host, Process};

use crate::fixture::{BASE, PAGE, at};

struct Library {
    host: Host,
    process: Arc<Process>,
    memory: Buffer,
    context: Context,
}

impl Library {
    fn new() -> Self {
        let host = Host::new().unwrap();
        let process = host.process().unwrap();
        let memory = process.buffer(4 * PAGE).unwrap();
        let context = Context::new(host.memory());
        Self {
            host,
            process,
            memory,
            context,
        }
    }

    fn map(&self, ioas: ObjectId, placement: Placement) -> Result<swiommu_addr::Iova, Errno> {
        let owner: Arc<dyn AddressSpace> = self.process.space().clone();
        let request = MapRequest {
            owner: &owner,
            accounting: Accounting::None,
            source: MapSource::Memory(self.memory.at(0)),
            len: 4 * PAGE,
            placement,
            prot: Prot::READ | Prot::WRITE,
        };
        self.context
            .map(ioas, request)
            .map_err(|error| error.errno())
    }
}

#[test]
fn a_device_reaches_what_is_mapped() {
    let lib = Library::new();
    let context = &lib.context;
    let ioas = context.ioas_alloc().unwrap();
    let endpoint = lib.host.selftest().endpoint(MockFlagsDevice::empty());
    let device = context.bind(endpoint).unwrap();
    assert_eq!(device.attached(Pasid::NONE), None);
    let hwpt = device.attach(Pasid::NONE, ioas).unwrap();
    assert_eq!(device.attached(Pasid::NONE), Some(hwpt));

    let iova = lib.map(ioas, Placement::Automatic).unwrap();
    assert_eq!(iova, BASE);
    let domain = context.paging_domain(hwpt).unwrap();
    let memory = lib
        .process
        .space()
        .resolve(lib.memory.range(), swiommu_mem::Access::Read)
        .unwrap();
    assert_eq!(domain.iova_to_phys(iova), Some(memory[0].memory.start()));
    assert_eq!(lib.map(ioas, Placement::Fixed(at(1))), Err(Errno::EEXIST));

    let request = HwptRequest {
        device: device.id(),
        on: ioas,
        flags: HwptFlags::empty(),
        fault: ObjectId(0),
        data: None,
    };
    let manual = context.hwpt_alloc(&request).unwrap();
    assert_eq!(device.replace(Pasid::NONE, manual).unwrap(), manual);
    assert_eq!(
        context.destroy(hwpt).map_err(|error| error.errno()),
        Err(Errno::ENOENT)
    );
    let copied = context
        .copy((ioas, iova), PAGE, ioas, Placement::Automatic, Prot::READ)
        .unwrap();
    let domain = context.paging_domain(manual).unwrap();
    assert_eq!(domain.iova_to_phys(copied), domain.iova_to_phys(iova));

    let range = IovaRange::from_len(iova, 4 * PAGE).unwrap();
    assert_eq!(context.unmap(ioas, range).unwrap(), 4 * PAGE);
    assert_eq!(domain.iova_to_phys(iova), None);
    assert_eq!(context.unmap_all(ioas).unwrap(), PAGE);
    assert_eq!(lib.host.memory().pinned_pages(), 0);
    drop(device);
    context.destroy(manual).unwrap();
    context.destroy(ioas).unwrap();
    assert!(context.graph().is_empty());
}

#[test]
fn dropping_the_context_lets_everything_go() {
    let lib = Library::new();
    let ioas = lib.context.ioas_alloc().unwrap();
    let endpoint = lib.host.selftest().endpoint(MockFlagsDevice::empty());
    let device = lib.context.bind(endpoint).unwrap();
    device.attach(Pasid::NONE, ioas).unwrap();
    lib.map(ioas, Placement::Automatic).unwrap();
    assert_eq!(lib.host.memory().pinned_pages(), 4);
    drop(device);
    assert_eq!(
        lib.host.memory().pinned_pages(),
        0,
        "the automatic page table is gone"
    );
    drop(lib.context);
    assert_eq!(lib.host.memory().table_bytes(), 0);
}

#[test]
fn the_rlimit_mode_is_fixed_by_the_first_object() {
    let lib = Library::new();
    let set = |mode| {
        let result = lib.context.set_rlimit_mode(|| Ok(mode));
        result.map_err(|error| error.errno())
    };
    assert_eq!(lib.context.rlimit_mode(), RlimitMode::User);
    assert_eq!(set(RlimitMode::Mm), Ok(()));
    assert_eq!(lib.context.rlimit_mode(), RlimitMode::Mm);
    let ioas = lib.context.ioas_alloc().unwrap();
    assert_eq!(set(RlimitMode::User), Err(Errno::EBUSY));
    lib.context.destroy(ioas).unwrap();
    assert_eq!(set(RlimitMode::User), Ok(()));
}

use std::sync::Arc;

use parking_lot::Mutex;
use swiommu_abi::vfio::device::VFIO_DEVICE_GET_INFO;
use swiommu_abi::{Errno, Value};
use swiommu_files::{
    Arg, Caller, DeviceNumber, FdNumber, File, InstallFlags, Local, Node, OpenFlags, Opened, Paths,
    Refusal, Stat,
};
use swiommu_iommufd::{Context, ContextFile};
use swiommu_mem::{AddressSpace, Config, LocalSpace, PhysicalMemory};

use super::*;

const STAT: Stat = Stat::Device {
    number: DeviceNumber {
        major: 10,
        minor: 1,
    },
    mode: 0o600,
};

/// Hands out one file.
#[derive(Debug)]
struct One(Arc<dyn File>);

impl Node for One {
    fn stat(&self) -> Stat {
        STAT
    }

    fn open(&self, _: &dyn Caller, _: OpenFlags) -> Result<Opened, Refusal> {
        Ok(Opened::File(self.0.clone()))
    }
}

/// A file with a name and no ioctls.
#[derive(Debug)]
struct Plain(&'static str);

impl File for Plain {
    fn name(&self) -> &str {
        self.0
    }

    fn stat(&self) -> Stat {
        STAT
    }
}

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<Call>>);

impl Sink for Seen {
    fn record(&self, call: &Call) {
        self.0.lock().push(call.clone());
    }
}

/// Opens a file through two traces, as with `--trace` and `--diagram`.
fn opened(file: Arc<dyn File>, client: &Local, seen: &Arc<Seen>) -> Arc<dyn File> {
    let path = file.name().to_owned();
    let mut paths = Paths::new();
    paths.add(&path, Arc::new(One(file)));
    let inner = traced(&paths, &(Arc::new(Seen::default()) as Arc<dyn Sink>));
    let outer = traced(&inner, &(seen.clone() as Arc<dyn Sink>));
    let node = outer.get(path.as_ref()).unwrap();
    match node.open(client, OpenFlags::READ) {
        Ok(Opened::File(file)) => file,
        other => panic!("{other:?}"),
    }
}

fn client() -> (Arc<LocalSpace>, Local) {
    let memory = PhysicalMemory::new(Config::default()).unwrap();
    let space = LocalSpace::new(&memory).unwrap();
    (space.clone(), Local::new(space))
}

#[test]
fn a_traced_context_is_the_context() {
    let (space, client) = client();
    let context = Arc::new(Context::new(space.memory()));
    let number = DeviceNumber {
        major: 10,
        minor: 1,
    };
    let file = Arc::new(ContextFile::new(
        context.clone(),
        "/dev/iommu",
        number,
        0o660,
    ));
    let file = opened(file, &client, &Arc::default());
    let fd = client.install(file, InstallFlags::empty()).unwrap();
    let found = Context::of_descriptor(&client, fd).unwrap();
    assert!(Arc::ptr_eq(&found, &context));

    let other = opened(Arc::new(Plain("/dev/other")), &client, &Arc::default());
    let fd = client.install(other, InstallFlags::empty()).unwrap();
    let errno = |fd| Context::of_descriptor(&client, fd).unwrap_err().errno();
    assert_eq!(errno(fd), Errno::EBADFD);
    assert_eq!(errno(FdNumber(99)), Errno::EBADF);
}

#[test]
fn what_a_number_means_depends_on_the_file() {
    let (space, client) = client();
    let at = space.allocate(4096).unwrap().start();
    space.write(at, &24_u32.to_ne_bytes()).unwrap();
    let seen = Arc::new(Seen::default());
    for path in ["/dev/vfio/devices/vfio0", "/dev/iommu"] {
        let file = opened(Arc::new(Plain(path)), &client, &seen);
        let refused = file.ioctl(&client, VFIO_DEVICE_GET_INFO, Arg::from(at));
        assert_eq!(refused.unwrap_err().errno(), Errno::ENOTTY);
    }
    let calls = seen.0.lock();
    let [_, on_device, _, on_context] = &calls[..] else {
        panic!("{calls:?}");
    };
    assert_eq!(on_device.name, "VFIO_DEVICE_GET_INFO");
    assert_eq!(on_device.arguments[0], ("argsz", Value::Unsigned(24)));
    assert_eq!(on_context.name, "ioctl 0x3b6b");
    assert_eq!(on_device.result, Err(Errno::ENOTTY));
}

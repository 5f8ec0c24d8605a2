//! `IOMMU_TEST_CMD` as a command.

use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_abi::UapiStruct;
use swiommu_abi::test_cmd::{
    DmabufGet, IOMMU_TEST_CMD, IommuTestCmd, IommuTestOp, TriggerIopf, TriggerVevent,
};
use swiommu_files::{Arg, Caller};
use swiommu_iommufd::{Context, ObjectId};
use zerocopy::IntoBytes;

use crate::fixture::{World, errno};

#[test]
fn operations_that_do_not_exist_say_so() {
    let w = World::new();
    for op in [0, 24, u32::MAX] {
        let body = DmabufGet::default();
        let unknown = w.iommu.test(IommuTestOp(op), 1, body);
        assert_eq!(errno(unknown), Errno::EOPNOTSUPP);
    }
    w.close();
}

#[test]
fn nobody_need_listen_to_a_page_request() {
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    let device = w.iommu.mock_domain(ioas).unwrap();
    let trigger = |id: ObjectId| {
        let body = TriggerIopf {
            dev_id: id.0,
            ..Default::default()
        };
        w.iommu.test(IommuTestOp::TRIGGER_IOPF, 0, body)
    };
    trigger(device.idev).unwrap();
    assert_eq!(errno(trigger(ioas)), Errno::ENOENT);
    let event = |id: ObjectId| {
        let body = TriggerVevent { dev_id: id.0 };
        errno(w.iommu.test(IommuTestOp::TRIGGER_VEVENT, 0, body))
    };
    assert_eq!(event(device.idev), Errno::ENOENT, "not behind a vIOMMU");
    assert_eq!(event(ioas), Errno::ENOENT);
    w.close();
}

#[test]
fn the_struct_may_end_before_its_padding() {
    let w = World::new();
    let ioas = w.iommu.ioas_alloc().unwrap();
    let call = |size: u32| {
        let cmd = IommuTestCmd {
            size,
            op: IommuTestOp::MOCK_DOMAIN.0,
            id: ioas.0,
            ..Default::default()
        };
        w.iommu
            .ioctl_bytes(IOMMU_TEST_CMD, &mut cmd.as_bytes().to_vec())
    };
    assert_eq!(errno(call(67)), Errno::EINVAL);
    call(68).unwrap();
    call(IommuTestCmd::SIZE).unwrap();
    w.close();
}

#[test]
fn a_context_without_the_driver_has_no_such_command() {
    let w = World::new();
    let context = Arc::new(Context::new(w.host.memory()));
    let caller: &dyn Caller = w.process.descriptors();
    let without = context.ioctl(caller, IOMMU_TEST_CMD, Arg::new(0));
    assert_eq!(errno(without), Errno::ENOTTY, "its memory is not looked at");
    let with = w.iommu.ioctl_raw(IOMMU_TEST_CMD, Arg::new(0));
    assert_eq!(errno(with), Errno::EFAULT);
    w.close();
}

#[test]
fn batch_memory_is_kept_for_the_machine() {
    let w = World::new();
    let set = |limit| w.iommu.set_temp_memory_limit(limit);
    assert_eq!(w.host.selftest().batch_limit(), 65536);
    assert_eq!(errno(set(11)), Errno::EINVAL);
    set(12).unwrap();
    w.process.open().unwrap().set_temp_memory_limit(32).unwrap();
    assert_eq!(w.host.selftest().batch_limit(), 32);
    assert_eq!(w.iommu.ioas_alloc().unwrap(), ObjectId(1));
    w.close();
}

//! Opening, binding, closing.

use super::*;

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

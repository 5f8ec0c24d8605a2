//! What a device says about itself.

use super::*;

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

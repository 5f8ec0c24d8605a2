//! Attaching and detaching, the device and its PASIDs.

use super::*;

#[test]
fn attaching_takes_its_argument_by_the_rules() {
    let lab = Lab::new();
    let (file, _, ioas) = lab.bound();
    let ioas = ioas.0;
    for (request, words, errno) in [
        (ATTACH, &[11, 0, ioas][..], Errno::EINVAL),
        (ATTACH, &[12, 0], Errno::EFAULT),
        (ATTACH, &[12, 2, ioas], Errno::EINVAL),
        (ATTACH, &[12, 1, ioas], Errno::EINVAL),
        (ATTACH, &[16, 1, ioas], Errno::EFAULT),
        (ATTACH, &[15, 1, ioas, 5], Errno::EINVAL),
        (ATTACH, &[12, 0, 99], Errno::ENOENT),
        (ATTACH, &[12, 0, 2], Errno::EINVAL),
        (ATTACH, &[16, 1, ioas, 5], Errno::EINVAL),
        (ATTACH, &[16, 1, ioas, 1 << 31], Errno::ENOSPC),
        (DETACH, &[7, 0], Errno::EINVAL),
        (DETACH, &[8], Errno::EFAULT),
        (DETACH, &[8, 2], Errno::EINVAL),
        (DETACH, &[8, 1], Errno::EINVAL),
        (DETACH, &[12, 1], Errno::EFAULT),
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

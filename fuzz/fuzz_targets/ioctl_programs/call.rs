//! The calls of a program, and the requests and structs that they are made with.

use arbitrary::Arbitrary;
use swiommu_abi::UapiStruct;
use swiommu_abi::hw_info::{IOMMU_GET_HW_INFO, IommuHwInfo};
use swiommu_abi::hwpt::{IOMMU_HWPT_ALLOC, IommuHwptAlloc};
use swiommu_abi::ioas::{
    IOMMU_IOAS_ALLOC, IOMMU_IOAS_ALLOW_IOVAS, IOMMU_IOAS_CHANGE_PROCESS, IOMMU_IOAS_COPY, IOMMU_IOAS_IOVA_RANGES,
    IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_UNMAP, IommuIoasAlloc, IommuIoasAllowIovas, IommuIoasChangeProcess,
    IommuIoasCopy, IommuIoasIovaRanges, IommuIoasMap, IommuIoasMapFile, IommuIoasUnmap, IommuIovaRange,
};
use swiommu_abi::mock::IOMMU_HWPT_DATA_SELFTEST;
use swiommu_abi::object::{IOMMU_DESTROY, IommuDestroy};
use swiommu_abi::option::{IOMMU_OPTION, IOMMU_VFIO_IOAS, IommuOption, IommuVfioIoas};
use swiommu_abi::test_cmd::{
    AccessPages, AccessReplaceIoas, AccessRw, AddReserved, CheckDevCache, CheckIotlb, CheckMap, CheckRefs, CreateAccess,
    DestroyAccessPages, Dirty, IOMMU_TEST_CMD, IommuTestCmd, IommuTestOp, MemoryLimit, MockDomain, MockDomainFlags,
    MockDomainReplace, PasidAttach, PasidCheck, PasidDetach, PasidReplace, TestBody,
};
use swiommu_abi::vfio::container::{
    VFIO_CHECK_EXTENSION, VFIO_GET_API_VERSION, VFIO_IOMMU_GET_INFO, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA,
    VFIO_SET_IOMMU, VfioIommuType1DmaMap, VfioIommuType1DmaUnmap, VfioIommuType1Info,
};
use zerocopy::IntoBytes;

use crate::operands::{At, Below, Fd, Id, Len, Memory};

/// A call. Fields are those of the struct, with numbers that meet each other.
#[derive(Arbitrary, Debug)]
pub enum Call {
    Raw { request: Request, size: Option<Below<80>>, bytes: [u8; 72] },
    Destroy { id: Id },
    IoasAlloc,
    IovaRanges { ioas: Id, room: Below<6>, into: Memory },
    AllowIovas { ioas: Id, ranges: [Option<(At, Len)>; 3] },
    Map { ioas: Id, flags: Below<8>, from: Memory, len: Len, at: At },
    MapFile { ioas: Id, flags: Below<8>, fd: Fd, start: Len, len: Len, at: At },
    Copy { flags: Below<8>, by_number: bool, target: Id, source: Id, len: Len, to: At, from: At },
    Unmap { ioas: Id, at: At, len: Len },
    UnmapAll { ioas: Id },
    Option { option: Below<3>, op: Below<3>, id: Id, value: Below<3> },
    VfioIoas { op: Below<4>, ioas: Id },
    HwptAlloc { flags: Below<16>, device: Id, on: Id, data: Option<HwptData> },
    HwInfo { device: Id, len: Below<20>, into: Memory },
    ChangeProcess,
    VfioVersion,
    VfioExtension { extension: Below<12> },
    VfioSet { kind: Below<4> },
    VfioInfo { argsz: Below<160> },
    VfioMap { flags: Below<4>, from: Memory, len: Len, at: At },
    VfioUnmap { at: At, len: Len },
    VfioUnmapAll,
    Test(Test),
}

/// A request whose number is mostly one that means something.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Request {
    Ours(u8),
    Any(u32),
}

/// The mock's part of HWPT_ALLOC.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct HwptData {
    len: Below<12>,
    iotlb: Below<4>,
    pagetable: Below<3>,
}

/// An operation of the mock driver.
#[derive(Arbitrary, Debug)]
pub enum Test {
    AddReserved { ioas: Id, at: At, len: Len },
    MockDomain { on: Id },
    MockDomainFlags { on: Id, flags: Below<8> },
    Replace { stdev: Id, on: Id },
    CheckMap { hwpt: Id, at: At, len: Len, memory: Memory },
    CheckRefs { len: Len, memory: Memory, refs: Below<3> },
    CreateAccess { ioas: Id, flags: Below<2> },
    Pin { fd: Fd, flags: Below<2>, by_number: bool, at: At, len: Len, memory: Memory },
    Unpin { fd: Fd, item: Below<4> },
    Copy { fd: Fd, flags: Below<6>, by_number: bool, at: At, len: Len, buffer: Memory },
    ReplaceIoas { fd: Fd, ioas: Id },
    MemoryLimit { limit: Below<40> },
    Dirty { hwpt: Id, at: At, len: Len, page: Len, bitmap: Memory },
    CheckIotlb { hwpt: Id, entry: Below<5>, iotlb: Below<4> },
    CheckCache { device: Id, entry: Below<5> },
    PasidAttach { stdev: Id, pasid: Pasid, on: Id },
    PasidReplace { stdev: Id, pasid: Pasid, on: Id },
    PasidDetach { stdev: Id, pasid: Pasid },
    PasidCheck { stdev: Id, pasid: Pasid, hwpt: Id },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Pasid {
    Small(Below<3>),
    Reserved,
    Any(u32),
}

impl Pasid {
    fn get(self) -> u32 {
        match self {
            Self::Small(pasid) => pasid.0,
            Self::Reserved => swiommu_abi::mock::IOMMU_TEST_PASID_RESERVED,
            Self::Any(pasid) => pasid,
        }
    }
}

/// What a call takes besides the number of a descriptor.
pub struct Encoded {
    pub request: u32,
    pub argument: Argument,
    /// What lies in the memory that the struct points to.
    pub data: Vec<u8>,
}

pub enum Argument {
    Struct(Vec<u8>),
    Number(u64),
}

/// Where a process has what calls point to.
pub trait Addresses {
    /// The address of memory that may be mapped.
    fn memory(&self, memory: Memory) -> u64;

    /// Where [`Encoded::data`] is.
    fn data(&self) -> u64;
}

fn of(request: u32, argument: impl UapiStruct) -> Encoded {
    Encoded {
        request,
        argument: Argument::Struct(argument.as_bytes().to_vec()),
        data: Vec::new(),
    }
}

fn number(request: u32, number: u64) -> Encoded {
    Encoded {
        request,
        argument: Argument::Number(number),
        data: Vec::new(),
    }
}

/// The flag by which the mock driver lets areas be named by number.
const BY_NUMBER: u32 = 1 << 16;

fn area(by_number: bool, at: At) -> u64 {
    // Without the flag, an IOVA; with it, the number of an area and an offset.
    let iova = at.get();
    if by_number { (iova >> 12) & 3 | (iova & 0xffff) << 32 } else { iova }
}

impl Call {
    pub fn encode(&self, addresses: &impl Addresses) -> Encoded {
        let memory = |memory| addresses.memory(memory);
        match *self {
            Self::Raw { request, size, mut bytes } => {
                if let Some(size) = size {
                    bytes[..4].copy_from_slice(&size.0.to_ne_bytes());
                }
                Encoded {
                    request: match request {
                        Request::Ours(nr) => 0x3b00 | u32::from(nr),
                        Request::Any(request) => request,
                    },
                    argument: Argument::Struct(bytes.to_vec()),
                    data: Vec::new(),
                }
            }
            Self::Destroy { id } => of(IOMMU_DESTROY, IommuDestroy { size: IommuDestroy::SIZE, id: id.0 }),
            Self::IoasAlloc => of(IOMMU_IOAS_ALLOC, IommuIoasAlloc { size: IommuIoasAlloc::SIZE, ..Default::default() }),
            Self::IovaRanges { ioas, room, into } => of(
                IOMMU_IOAS_IOVA_RANGES,
                IommuIoasIovaRanges {
                    size: IommuIoasIovaRanges::SIZE,
                    ioas_id: ioas.0,
                    num_iovas: room.0,
                    allowed_iovas: memory(into),
                    ..Default::default()
                },
            ),
            Self::AllowIovas { ioas, ranges } => {
                let ranges: Vec<IommuIovaRange> = ranges
                    .into_iter()
                    .flatten()
                    .map(|(at, len)| IommuIovaRange {
                        start: at.get(),
                        last: at.get().wrapping_add(len.get()).wrapping_sub(1),
                    })
                    .collect();
                let cmd = IommuIoasAllowIovas {
                    size: IommuIoasAllowIovas::SIZE,
                    ioas_id: ioas.0,
                    num_iovas: u32::try_from(ranges.len()).unwrap_or(0),
                    allowed_iovas: addresses.data(),
                    ..Default::default()
                };
                Encoded { data: ranges.as_bytes().to_vec(), ..of(IOMMU_IOAS_ALLOW_IOVAS, cmd) }
            }
            Self::Map { ioas, flags, from, len, at } => of(
                IOMMU_IOAS_MAP,
                IommuIoasMap {
                    size: IommuIoasMap::SIZE,
                    flags: flags.0,
                    ioas_id: ioas.0,
                    user_va: memory(from),
                    length: len.get(),
                    iova: at.get(),
                    ..Default::default()
                },
            ),
            Self::MapFile { ioas, flags, fd, start, len, at } => of(
                IOMMU_IOAS_MAP_FILE,
                IommuIoasMapFile {
                    size: IommuIoasMapFile::SIZE,
                    flags: flags.0,
                    ioas_id: ioas.0,
                    fd: fd.0.cast_signed(),
                    start: start.get(),
                    length: len.get(),
                    iova: at.get(),
                },
            ),
            Self::Copy { flags, by_number, target, source, len, to, from } => of(
                IOMMU_IOAS_COPY,
                IommuIoasCopy {
                    size: IommuIoasCopy::SIZE,
                    flags: flags.0 | if by_number { BY_NUMBER } else { 0 },
                    dst_ioas_id: target.0,
                    src_ioas_id: source.0,
                    length: len.get(),
                    dst_iova: to.get(),
                    src_iova: area(by_number, from),
                },
            ),
            Self::Unmap { ioas, at, len } => unmap(ioas, at.get(), len.get()),
            Self::UnmapAll { ioas } => unmap(ioas, 0, u64::MAX),
            Self::Option { option, op, id, value } => of(
                IOMMU_OPTION,
                IommuOption {
                    size: IommuOption::SIZE,
                    option_id: option.0,
                    op: small(op),
                    object_id: id.0,
                    val64: value.0.into(),
                    ..Default::default()
                },
            ),
            Self::VfioIoas { op, ioas } => of(
                IOMMU_VFIO_IOAS,
                IommuVfioIoas { size: IommuVfioIoas::SIZE, ioas_id: ioas.0, op: small(op), ..Default::default() },
            ),
            Self::HwptAlloc { flags, device, on, data } => {
                let bytes = data.map_or(Vec::new(), |data| [data.iotlb.0, data.pagetable.0].as_bytes().to_vec());
                let cmd = IommuHwptAlloc {
                    size: IommuHwptAlloc::SIZE,
                    flags: flags.0,
                    dev_id: device.0,
                    pt_id: on.0,
                    data_type: if data.is_some() { IOMMU_HWPT_DATA_SELFTEST.0 } else { 0 },
                    data_len: data.map_or(0, |data| data.len.0),
                    data_uptr: addresses.data(),
                    ..Default::default()
                };
                Encoded { data: bytes, ..of(IOMMU_HWPT_ALLOC, cmd) }
            }
            Self::HwInfo { device, len, into } => of(
                IOMMU_GET_HW_INFO,
                IommuHwInfo {
                    size: IommuHwInfo::SIZE,
                    dev_id: device.0,
                    data_len: len.0,
                    data_uptr: memory(into),
                    ..Default::default()
                },
            ),
            Self::ChangeProcess => of(
                IOMMU_IOAS_CHANGE_PROCESS,
                IommuIoasChangeProcess { size: IommuIoasChangeProcess::SIZE, ..Default::default() },
            ),
            Self::VfioVersion => number(VFIO_GET_API_VERSION, 0),
            Self::VfioExtension { extension } => number(VFIO_CHECK_EXTENSION, extension.0.into()),
            Self::VfioSet { kind } => number(VFIO_SET_IOMMU, kind.0.into()),
            Self::VfioInfo { argsz } => {
                of(VFIO_IOMMU_GET_INFO, VfioIommuType1Info { argsz: argsz.0, ..Default::default() })
            }
            Self::VfioMap { flags, from, len, at } => of(
                VFIO_IOMMU_MAP_DMA,
                VfioIommuType1DmaMap {
                    argsz: VfioIommuType1DmaMap::SIZE,
                    flags: flags.0,
                    vaddr: memory(from),
                    iova: at.get(),
                    size: len.get(),
                },
            ),
            Self::VfioUnmap { at, len } => vfio_unmap(0, at.get(), len.get()),
            Self::VfioUnmapAll => vfio_unmap(2, 0, 0),
            Self::Test(ref test) => test.encode(addresses),
        }
    }
}

fn small<const N: u32>(value: Below<N>) -> u16 {
    u16::try_from(value.0).unwrap_or(u16::MAX)
}

fn unmap(ioas: Id, iova: u64, length: u64) -> Encoded {
    of(IOMMU_IOAS_UNMAP, IommuIoasUnmap { size: IommuIoasUnmap::SIZE, ioas_id: ioas.0, iova, length })
}

fn vfio_unmap(flags: u32, iova: u64, size: u64) -> Encoded {
    let argsz = VfioIommuType1DmaUnmap::SIZE;
    of(VFIO_IOMMU_UNMAP_DMA, VfioIommuType1DmaUnmap { argsz, flags, iova, size })
}

impl Test {
    fn encode(&self, addresses: &impl Addresses) -> Encoded {
        let memory = |memory| addresses.memory(memory);
        let flags = |flags: u32, by_number| flags | if by_number { BY_NUMBER } else { 0 };
        let (op, id, body) = match *self {
            Self::AddReserved { ioas, at, len } => (
                IommuTestOp::ADD_RESERVED,
                ioas.0,
                TestBody::new(AddReserved { start: at.get(), length: len.get() }),
            ),
            Self::MockDomain { on } => {
                (IommuTestOp::MOCK_DOMAIN, on.0, TestBody::new(MockDomain::default()))
            }
            Self::MockDomainFlags { on, flags } => (
                IommuTestOp::MOCK_DOMAIN_FLAGS,
                on.0,
                TestBody::new(MockDomainFlags { dev_flags: flags.0, ..Default::default() }),
            ),
            Self::Replace { stdev, on } => {
                (IommuTestOp::MOCK_DOMAIN_REPLACE, stdev.0, TestBody::new(MockDomainReplace { pt_id: on.0 }))
            }
            Self::CheckMap { hwpt, at, len, memory: at_memory } => (
                IommuTestOp::MD_CHECK_MAP,
                hwpt.0,
                TestBody::new(CheckMap { iova: at.get(), length: len.get(), uptr: memory(at_memory) }),
            ),
            Self::CheckRefs { len, memory: at_memory, refs } => (
                IommuTestOp::MD_CHECK_REFS,
                0,
                TestBody::new(CheckRefs {
                    length: len.get(),
                    uptr: memory(at_memory),
                    refs: refs.0,
                    ..Default::default()
                }),
            ),
            Self::CreateAccess { ioas, flags } => (
                IommuTestOp::CREATE_ACCESS,
                ioas.0,
                TestBody::new(CreateAccess { flags: flags.0, ..Default::default() }),
            ),
            Self::Pin { fd, flags: wanted, by_number, at, len, memory: at_memory } => (
                IommuTestOp::ACCESS_PAGES,
                fd.0,
                TestBody::new(AccessPages {
                    flags: flags(wanted.0, by_number),
                    iova: area(by_number, at),
                    length: len.get(),
                    uptr: memory(at_memory),
                    ..Default::default()
                }),
            ),
            Self::Unpin { fd, item } => (
                IommuTestOp::DESTROY_ACCESS_PAGES,
                fd.0,
                TestBody::new(DestroyAccessPages { access_pages_id: item.0 }),
            ),
            Self::Copy { fd, flags: wanted, by_number, at, len, buffer } => (
                IommuTestOp::ACCESS_RW,
                fd.0,
                TestBody::new(AccessRw {
                    iova: area(by_number, at),
                    length: len.get(),
                    uptr: memory(buffer),
                    flags: flags(wanted.0, by_number),
                    ..Default::default()
                }),
            ),
            Self::ReplaceIoas { fd, ioas } => {
                (IommuTestOp::ACCESS_REPLACE_IOAS, fd.0, TestBody::new(AccessReplaceIoas { ioas_id: ioas.0 }))
            }
            Self::MemoryLimit { limit } => {
                (IommuTestOp::SET_TEMP_MEMORY_LIMIT, 0, TestBody::new(MemoryLimit { limit: limit.0 }))
            }
            Self::Dirty { hwpt, at, len, page, bitmap } => (
                IommuTestOp::DIRTY,
                hwpt.0,
                TestBody::new(Dirty {
                    iova: at.get(),
                    length: len.get(),
                    page_size: page.get(),
                    uptr: memory(bitmap),
                    ..Default::default()
                }),
            ),
            Self::CheckIotlb { hwpt, entry, iotlb } => {
                (IommuTestOp::MD_CHECK_IOTLB, hwpt.0, TestBody::new(CheckIotlb { id: entry.0, iotlb: iotlb.0 }))
            }
            Self::CheckCache { device, entry } => (
                IommuTestOp::DEV_CHECK_CACHE,
                device.0,
                TestBody::new(CheckDevCache {
                    id: entry.0,
                    cache: swiommu_abi::mock::IOMMU_TEST_DEV_CACHE_DEFAULT,
                }),
            ),
            Self::PasidAttach { stdev, pasid, on } => (
                IommuTestOp::PASID_ATTACH,
                stdev.0,
                TestBody::new(PasidAttach { pasid: pasid.get(), pt_id: on.0 }),
            ),
            Self::PasidReplace { stdev, pasid, on } => (
                IommuTestOp::PASID_REPLACE,
                stdev.0,
                TestBody::new(PasidReplace { pasid: pasid.get(), pt_id: on.0 }),
            ),
            Self::PasidDetach { stdev, pasid } => {
                (IommuTestOp::PASID_DETACH, stdev.0, TestBody::new(PasidDetach { pasid: pasid.get() }))
            }
            Self::PasidCheck { stdev, pasid, hwpt } => (
                IommuTestOp::PASID_CHECK_HWPT,
                stdev.0,
                TestBody::new(PasidCheck { pasid: pasid.get(), hwpt_id: hwpt.0 }),
            ),
        };
        of(IOMMU_TEST_CMD, IommuTestCmd { size: IommuTestCmd::SIZE, op: op.0, id, body, ..Default::default() })
    }
}

//! The calls of a program, and the requests and structs that they are made with.

use arbitrary::{Arbitrary, Result, Unstructured};
use swiommu_abi::UapiStruct;
use swiommu_abi::hw_info::{IOMMU_GET_HW_INFO, IommuHwInfo};
use swiommu_abi::hwpt::{IOMMU_HWPT_ALLOC, IommuHwptAlloc};
use swiommu_abi::ioas::{
    IOMMU_IOAS_ALLOC, IOMMU_IOAS_ALLOW_IOVAS, IOMMU_IOAS_CHANGE_PROCESS, IOMMU_IOAS_COPY, IOMMU_IOAS_IOVA_RANGES,
    IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_UNMAP, IommuIoasAlloc, IommuIoasAllowIovas, IommuIoasChangeProcess,
    IommuIoasCopy, IommuIoasIovaRanges, IommuIoasMap, IommuIoasMapFile, IommuIoasUnmap, IommuIovaRange,
};
use swiommu_abi::mock::{IOMMU_HWPT_DATA_SELFTEST, IOMMU_TEST_DEV_CACHE_DEFAULT, IOMMU_TEST_PASID_RESERVED};
use swiommu_abi::object::{IOMMU_DESTROY, IommuDestroy};
use swiommu_abi::option::{IOMMU_OPTION, IOMMU_VFIO_IOAS, IommuOption, IommuVfioIoas};
use swiommu_abi::test_cmd::{
    AccessPages, AccessReplaceIoas, AccessRw, AddReserved, CheckDevCache, CheckIotlb, CheckMap, CheckRefs, CreateAccess,
    DestroyAccessPages, Dirty, IOMMU_TEST_CMD, IommuTestCmd, IommuTestOp, MemoryLimit, MockDomain, MockDomainFlags,
    MockFlagsAccess,
    MockDomainReplace, PasidAttach, PasidCheck, PasidDetach, PasidReplace, TestBody,
};
use swiommu_abi::vfio::container::{
    VFIO_CHECK_EXTENSION, VFIO_IOMMU_GET_INFO, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA,
    VFIO_SET_IOMMU, VfioIommuType1DmaMap, VfioIommuType1DmaUnmap, VfioIommuType1Info,
};
use zerocopy::IntoBytes;

use crate::operands::{At, Below, Kind, Len, Memory, Pick, Span};

/// A call. Fields are those of the struct, with numbers that meet each other.
#[derive(Debug)]
pub enum Call {
    Raw { request: Request, size: Option<Below<80>>, bytes: [u8; 72] },
    Destroy { id: Pick },
    IoasAlloc,
    IovaRanges { ioas: Pick, room: Below<6>, into: Memory },
    AllowIovas { ioas: Pick, ranges: [Option<(At, Len)>; 3] },
    Map { ioas: Pick, flags: MapFlags, from: Memory, len: Len, at: At },
    MapFile { ioas: Pick, flags: MapFlags, fd: Below<3>, start: Len, len: Len, at: At },
    Copy { flags: MapFlags, by_number: bool, target: Pick, source: Pick, from: Span, to: At },
    Unmap { ioas: Pick, span: Span },
    UnmapAll { ioas: Pick },
    Option { option: Below<3>, op: Below<3>, id: Pick, value: Below<3> },
    VfioIoas { op: Below<4>, ioas: Pick },
    HwptAlloc { flags: Below<16>, device: Pick, on: Pick, data: Option<HwptData> },
    HwInfo { device: Pick, len: Below<20>, into: Memory },
    ChangeProcess,
    VfioExtension { extension: Below<12> },
    VfioSet { kind: Below<4> },
    VfioInfo { argsz: Below<160> },
    VfioMap { flags: Below<4>, from: Memory, len: Len, at: At },
    VfioUnmap { span: Span },
    VfioUnmapAll,
    Test(Test),
}

impl<'a> Arbitrary<'a> for Call {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        macro_rules! call {
            ($name:ident { $($field:ident),* }) => { Self::$name { $($field: Arbitrary::arbitrary(u)?),* } };
        }
        Ok(match u8::arbitrary(u)? {
            0..=31 => call!(Map { ioas, flags, from, len, at }),
            32..=47 => call!(MapFile { ioas, flags, fd, start, len, at }),
            48..=71 => call!(Copy { flags, by_number, target, source, from, to }),
            72..=90 => call!(Unmap { ioas, span }),
            91..=93 => call!(UnmapAll { ioas }),
            94..=103 => Self::IoasAlloc,
            104..=113 => call!(Destroy { id }),
            114..=129 => call!(HwptAlloc { flags, device, on, data }),
            130..=209 => Self::Test(Arbitrary::arbitrary(u)?),
            210..=214 => call!(Option { option, op, id, value }),
            215..=219 => call!(VfioIoas { op, ioas }),
            220..=224 => call!(VfioMap { flags, from, len, at }),
            225..=229 => call!(VfioUnmap { span }),
            230 => Self::VfioUnmapAll,
            231..=233 => call!(VfioSet { kind }),
            234 => call!(VfioExtension { extension }),
            235..=236 => call!(VfioInfo { argsz }),
            237..=240 => call!(AllowIovas { ioas, ranges }),
            241..=242 => call!(IovaRanges { ioas, room, into }),
            243..=244 => call!(HwInfo { device, len, into }),
            245..=248 => Self::ChangeProcess,
            249.. => call!(Raw { request, size, bytes }),
        })
    }
}

/// `IOMMU_IOAS_MAP_…`, mostly with a permission.
#[derive(Clone, Copy, Debug)]
pub struct MapFlags(u32);

impl<'a> Arbitrary<'a> for MapFlags {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(match u8::arbitrary(u)? {
            byte @ 0..=239 => [6, 7, 6, 7, 4, 5, 2, 3][usize::from(byte % 8)],
            byte => u32::from(byte) % 16,
        }))
    }
}

/// A request whose number is mostly one that means something.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Request {
    Ours(u8),
    Any(u32),
}

/// The mock's part of HWPT_ALLOC.
#[derive(Clone, Copy, Debug)]
pub struct HwptData {
    len: u32,
    pagetable: u32,
}

impl<'a> Arbitrary<'a> for HwptData {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let byte = u32::from(u8::arbitrary(u)?);
        let len = if byte < 240 { 8 } else { byte % 12 };
        Ok(Self { len, pagetable: byte % 7 % 3 })
    }
}

/// An operation of the mock driver.
#[derive(Debug)]
pub enum Test {
    AddReserved { ioas: Pick, at: At, len: Len },
    MockDomain { on: Pick },
    MockDomainFlags { on: Pick, flags: Below<8> },
    Replace { stdev: Pick, on: Pick },
    CheckMap { hwpt: Pick, at: At, len: Len, memory: Memory },
    CheckRefs { len: Len, memory: Memory, refs: Below<3> },
    CreateAccess { ioas: Pick, flags: Below<2> },
    Pin { fd: Pick, flags: Below<2>, by_number: bool, span: Span, memory: Memory },
    Unpin { fd: Pick, item: Below<4> },
    Copy { fd: Pick, flags: Below<6>, by_number: bool, span: Span, buffer: Memory },
    ReplaceIoas { fd: Pick, ioas: Pick },
    MemoryLimit { limit: Below<40> },
    Dirty { hwpt: Pick, at: At, len: Len, page: Len, bitmap: Memory },
    CheckIotlb { hwpt: Pick, entry: Below<5> },
    CheckCache { device: Pick, entry: Below<5> },
    PasidAttach { stdev: Pick, pasid: Pasid, on: Pick },
    PasidReplace { stdev: Pick, pasid: Pasid, on: Pick },
    PasidDetach { stdev: Pick, pasid: Pasid },
    PasidCheck { stdev: Pick, pasid: Pasid, hwpt: Pick },
}

impl<'a> Arbitrary<'a> for Test {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        macro_rules! test {
            ($name:ident { $($field:ident),* }) => { Self::$name { $($field: Arbitrary::arbitrary(u)?),* } };
        }
        Ok(match u8::arbitrary(u)? {
            0..=23 => test!(MockDomain { on }),
            24..=31 => test!(MockDomainFlags { on, flags }),
            32..=55 => test!(Replace { stdev, on }),
            56..=75 => test!(CreateAccess { ioas, flags }),
            76..=107 => test!(Pin { fd, flags, by_number, span, memory }),
            108..=119 => test!(Unpin { fd, item }),
            120..=143 => test!(Copy { fd, flags, by_number, span, buffer }),
            144..=159 => test!(ReplaceIoas { fd, ioas }),
            160..=171 => test!(AddReserved { ioas, at, len }),
            172..=187 => test!(PasidAttach { stdev, pasid, on }),
            188..=199 => test!(PasidReplace { stdev, pasid, on }),
            200..=207 => test!(PasidDetach { stdev, pasid }),
            208..=211 => test!(PasidCheck { stdev, pasid, hwpt }),
            212..=223 => test!(CheckMap { hwpt, at, len, memory }),
            224..=235 => test!(CheckRefs { len, memory, refs }),
            236..=241 => test!(Dirty { hwpt, at, len, page, bitmap }),
            242..=247 => test!(CheckIotlb { hwpt, entry }),
            248..=251 => test!(CheckCache { device, entry }),
            252.. => test!(MemoryLimit { limit }),
        })
    }
}

/// A PASID: one of a few, the one of which every second attachment fails, or any.
#[derive(Clone, Copy, Debug)]
pub struct Pasid(u32);

impl<'a> Arbitrary<'a> for Pasid {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(match u8::arbitrary(u)? {
            byte @ 0..=159 => u32::from(byte % 4),
            160..=239 => IOMMU_TEST_PASID_RESERVED,
            240.. => u32::arbitrary(u)?,
        }))
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

/// What the caller and its context have at the moment.
pub trait Situation {
    /// The address of memory that may be mapped.
    fn memory(&self, memory: Memory) -> u64;

    /// Where [`Encoded::data`] is.
    fn data(&self) -> u64;

    /// The number of an object.
    fn object(&self, kind: Kind, pick: Pick) -> u32;

    /// The descriptor of an access.
    fn access(&self, pick: Pick) -> u32;

    /// The first IOVA and the length of a range of an IOAS.
    fn span(&self, ioas: Option<u32>, span: Span) -> (u64, u64);
}

fn of(request: u32, argument: impl UapiStruct) -> Encoded {
    Encoded { request, argument: Argument::Struct(argument.as_bytes().to_vec()), data: Vec::new() }
}

fn number(request: u32, number: u32) -> Encoded {
    Encoded { request, argument: Argument::Number(number.into()), data: Vec::new() }
}

/// With the flag for it, an area is named by number: {low 32 bits: the number, high 32 bits: an offset}.
fn named(by_number: bool, iova: u64) -> (u32, u64) {
    if by_number {
        (MockFlagsAccess::SYZ.bits(), iova >> 12 & 3 | (iova & 0xffff) << 32)
    } else {
        (0, iova)
    }
}

fn small<const N: u32>(value: Below<N>) -> u16 {
    u16::try_from(value.0).unwrap_or(u16::MAX)
}

impl Call {
    pub fn encode(&self, now: &impl Situation) -> Encoded {
        let ioas = |pick| now.object(Kind::Ioas, pick);
        match *self {
            Self::Raw { request, size, mut bytes } => {
                if let Some(size) = size {
                    bytes[..4].copy_from_slice(&size.0.to_ne_bytes());
                }
                let request = match request {
                    Request::Ours(nr) => 0x3b00 | u32::from(nr),
                    Request::Any(request) => request,
                };
                Encoded { request, argument: Argument::Struct(bytes.to_vec()), data: Vec::new() }
            }
            Self::Destroy { id } => of(
                IOMMU_DESTROY,
                IommuDestroy { size: IommuDestroy::SIZE, id: now.object(Kind::Any, id) },
            ),
            Self::IoasAlloc => of(
                IOMMU_IOAS_ALLOC,
                IommuIoasAlloc { size: IommuIoasAlloc::SIZE, ..Default::default() },
            ),
            Self::IovaRanges { ioas: pick, room, into } => of(
                IOMMU_IOAS_IOVA_RANGES,
                IommuIoasIovaRanges {
                    size: IommuIoasIovaRanges::SIZE,
                    ioas_id: ioas(pick),
                    num_iovas: room.0,
                    allowed_iovas: now.memory(into),
                    ..Default::default()
                },
            ),
            Self::AllowIovas { ioas: pick, ranges } => allow_iovas(now, ioas(pick), ranges),
            Self::Map { ioas: pick, flags, from, len, at } => of(
                IOMMU_IOAS_MAP,
                IommuIoasMap {
                    size: IommuIoasMap::SIZE,
                    flags: flags.0,
                    ioas_id: ioas(pick),
                    user_va: now.memory(from),
                    length: len.0,
                    iova: at.0,
                    ..Default::default()
                },
            ),
            Self::MapFile { ioas: pick, flags, fd, start, len, at } => of(
                IOMMU_IOAS_MAP_FILE,
                IommuIoasMapFile {
                    size: IommuIoasMapFile::SIZE,
                    flags: flags.0,
                    ioas_id: ioas(pick),
                    fd: fd.0.cast_signed(),
                    start: start.0.wrapping_sub(0x1000),
                    length: len.0,
                    iova: at.0,
                },
            ),
            Self::Copy { flags, by_number, target, source, from, to } => {
                let source = ioas(source);
                let (start, length) = now.span(Some(source), from);
                let (by_number, src_iova) = named(by_number, start);
                of(
                    IOMMU_IOAS_COPY,
                    IommuIoasCopy {
                        size: IommuIoasCopy::SIZE,
                        flags: flags.0 | by_number,
                        dst_ioas_id: ioas(target),
                        src_ioas_id: source,
                        length,
                        dst_iova: to.0,
                        src_iova,
                    },
                )
            }
            Self::Unmap { ioas: pick, span } => {
                let (iova, length) = now.span(Some(ioas(pick)), span);
                unmap(ioas(pick), iova, length)
            }
            Self::UnmapAll { ioas: pick } => unmap(ioas(pick), 0, u64::MAX),
            Self::Option { option, op, id, value } => of(
                IOMMU_OPTION,
                IommuOption {
                    size: IommuOption::SIZE,
                    option_id: option.0,
                    op: small(op),
                    object_id: if option.0 == 0 { 0 } else { ioas(id) },
                    val64: value.0.into(),
                    ..Default::default()
                },
            ),
            Self::VfioIoas { op, ioas: pick } => of(
                IOMMU_VFIO_IOAS,
                IommuVfioIoas {
                    size: IommuVfioIoas::SIZE,
                    ioas_id: ioas(pick),
                    op: small(op),
                    ..Default::default()
                },
            ),
            Self::HwptAlloc { flags, device, on, data } => {
                let cmd = IommuHwptAlloc {
                    size: IommuHwptAlloc::SIZE,
                    flags: flags.0,
                    dev_id: now.object(Kind::Device, device),
                    pt_id: now.object(Kind::Attachable, on),
                    data_type: data.map_or(0, |_| IOMMU_HWPT_DATA_SELFTEST.0),
                    data_len: data.map_or(0, |data| data.len),
                    data_uptr: now.data(),
                    ..Default::default()
                };
                let data = data.map(|data| [0, data.pagetable].as_bytes().to_vec());
                Encoded { data: data.unwrap_or_default(), ..of(IOMMU_HWPT_ALLOC, cmd) }
            }
            Self::HwInfo { device, len, into } => of(
                IOMMU_GET_HW_INFO,
                IommuHwInfo {
                    size: IommuHwInfo::SIZE,
                    dev_id: now.object(Kind::Device, device),
                    data_len: len.0,
                    data_uptr: now.memory(into),
                    ..Default::default()
                },
            ),
            Self::ChangeProcess => of(
                IOMMU_IOAS_CHANGE_PROCESS,
                IommuIoasChangeProcess { size: IommuIoasChangeProcess::SIZE, ..Default::default() },
            ),
            Self::VfioExtension { extension } => number(VFIO_CHECK_EXTENSION, extension.0),
            Self::VfioSet { kind } => number(VFIO_SET_IOMMU, kind.0),
            Self::VfioInfo { argsz } => of(
                VFIO_IOMMU_GET_INFO,
                VfioIommuType1Info { argsz: argsz.0, ..Default::default() },
            ),
            Self::VfioMap { flags, from, len, at } => of(
                VFIO_IOMMU_MAP_DMA,
                VfioIommuType1DmaMap {
                    argsz: VfioIommuType1DmaMap::SIZE,
                    flags: flags.0,
                    vaddr: now.memory(from),
                    iova: at.0,
                    size: len.0,
                },
            ),
            Self::VfioUnmap { span } => {
                let (iova, size) = now.span(None, span);
                vfio_unmap(0, iova, size)
            }
            Self::VfioUnmapAll => vfio_unmap(2, 0, 0),
            Self::Test(ref test) => test.encode(now),
        }
    }
}

fn allow_iovas(now: &impl Situation, ioas: u32, ranges: [Option<(At, Len)>; 3]) -> Encoded {
    let ranges: Vec<IommuIovaRange> = ranges
        .into_iter()
        .flatten()
        .map(|(at, len)| IommuIovaRange { start: at.0, last: at.0.wrapping_add(len.0).wrapping_sub(1) })
        .collect();
    let cmd = IommuIoasAllowIovas {
        size: IommuIoasAllowIovas::SIZE,
        ioas_id: ioas,
        num_iovas: u32::try_from(ranges.len()).unwrap_or(0),
        allowed_iovas: now.data(),
        ..Default::default()
    };
    Encoded { data: ranges.as_bytes().to_vec(), ..of(IOMMU_IOAS_ALLOW_IOVAS, cmd) }
}

fn unmap(ioas: u32, iova: u64, length: u64) -> Encoded {
    let size = IommuIoasUnmap::SIZE;
    of(IOMMU_IOAS_UNMAP, IommuIoasUnmap { size, ioas_id: ioas, iova, length })
}

fn vfio_unmap(flags: u32, iova: u64, size: u64) -> Encoded {
    let argsz = VfioIommuType1DmaUnmap::SIZE;
    of(VFIO_IOMMU_UNMAP_DMA, VfioIommuType1DmaUnmap { argsz, flags, iova, size })
}

impl Test {
    fn encode(&self, now: &impl Situation) -> Encoded {
        let ioas = |pick| now.object(Kind::Ioas, pick);
        let stdev = |pick| now.object(Kind::Selftest, pick);
        let attachable = |pick| now.object(Kind::Attachable, pick);
        let (op, id, body) = match *self {
            Self::AddReserved { ioas: pick, at, len } => (
                IommuTestOp::ADD_RESERVED,
                ioas(pick),
                TestBody::new(AddReserved { start: at.0, length: len.0 }),
            ),
            Self::MockDomain { on } => {
                (IommuTestOp::MOCK_DOMAIN, attachable(on), TestBody::new(MockDomain::default()))
            }
            Self::MockDomainFlags { on, flags } => (
                IommuTestOp::MOCK_DOMAIN_FLAGS,
                attachable(on),
                TestBody::new(MockDomainFlags { dev_flags: flags.0, ..Default::default() }),
            ),
            Self::Replace { stdev: pick, on } => (
                IommuTestOp::MOCK_DOMAIN_REPLACE,
                stdev(pick),
                TestBody::new(MockDomainReplace { pt_id: attachable(on) }),
            ),
            Self::CheckMap { hwpt, at, len, memory } => (
                IommuTestOp::MD_CHECK_MAP,
                now.object(Kind::Paging, hwpt),
                TestBody::new(CheckMap { iova: at.0, length: len.0, uptr: now.memory(memory) }),
            ),
            Self::CheckRefs { len, memory, refs } => (
                IommuTestOp::MD_CHECK_REFS,
                0,
                TestBody::new(CheckRefs {
                    length: len.0,
                    uptr: now.memory(memory),
                    refs: refs.0,
                    ..Default::default()
                }),
            ),
            Self::CreateAccess { ioas: pick, flags } => (
                IommuTestOp::CREATE_ACCESS,
                ioas(pick),
                TestBody::new(CreateAccess { flags: flags.0, ..Default::default() }),
            ),
            Self::Pin { fd, flags, by_number, span, memory } => {
                let (start, length) = now.span(None, span);
                let (by_number, iova) = named(by_number, start);
                let body = AccessPages {
                    flags: flags.0 | by_number,
                    iova,
                    length,
                    // Mostly nothing to compare with.
                    uptr: if span.is_whole() { 0 } else { now.memory(memory) },
                    ..Default::default()
                };
                (IommuTestOp::ACCESS_PAGES, now.access(fd), TestBody::new(body))
            }
            Self::Unpin { fd, item } => (
                IommuTestOp::DESTROY_ACCESS_PAGES,
                now.access(fd),
                TestBody::new(DestroyAccessPages { access_pages_id: item.0 }),
            ),
            Self::Copy { fd, flags, by_number, span, buffer } => {
                let (start, length) = now.span(None, span);
                let (by_number, iova) = named(by_number, start);
                let body = AccessRw {
                    iova,
                    length,
                    uptr: now.memory(buffer),
                    flags: flags.0 | by_number,
                    ..Default::default()
                };
                (IommuTestOp::ACCESS_RW, now.access(fd), TestBody::new(body))
            }
            Self::ReplaceIoas { fd, ioas: pick } => (
                IommuTestOp::ACCESS_REPLACE_IOAS,
                now.access(fd),
                TestBody::new(AccessReplaceIoas { ioas_id: ioas(pick) }),
            ),
            Self::MemoryLimit { limit } => (
                IommuTestOp::SET_TEMP_MEMORY_LIMIT,
                0,
                TestBody::new(MemoryLimit { limit: limit.0 }),
            ),
            Self::Dirty { hwpt, at, len, page, bitmap } => (
                IommuTestOp::DIRTY,
                now.object(Kind::Paging, hwpt),
                TestBody::new(Dirty {
                    iova: at.0,
                    length: len.0,
                    page_size: page.0,
                    uptr: now.memory(bitmap),
                    ..Default::default()
                }),
            ),
            Self::CheckIotlb { hwpt, entry } => (
                IommuTestOp::MD_CHECK_IOTLB,
                now.object(Kind::Nested, hwpt),
                TestBody::new(CheckIotlb { id: entry.0, iotlb: 0 }),
            ),
            Self::CheckCache { device, entry } => (
                IommuTestOp::DEV_CHECK_CACHE,
                now.object(Kind::Device, device),
                TestBody::new(CheckDevCache { id: entry.0, cache: IOMMU_TEST_DEV_CACHE_DEFAULT }),
            ),
            Self::PasidAttach { stdev: pick, pasid, on } => (
                IommuTestOp::PASID_ATTACH,
                stdev(pick),
                TestBody::new(PasidAttach { pasid: pasid.0, pt_id: attachable(on) }),
            ),
            Self::PasidReplace { stdev: pick, pasid, on } => (
                IommuTestOp::PASID_REPLACE,
                stdev(pick),
                TestBody::new(PasidReplace { pasid: pasid.0, pt_id: attachable(on) }),
            ),
            Self::PasidDetach { stdev: pick, pasid } => (
                IommuTestOp::PASID_DETACH,
                stdev(pick),
                TestBody::new(PasidDetach { pasid: pasid.0 }),
            ),
            Self::PasidCheck { stdev: pick, pasid, hwpt } => (
                IommuTestOp::PASID_CHECK_HWPT,
                stdev(pick),
                TestBody::new(PasidCheck { pasid: pasid.0, hwpt_id: attachable(hwpt) }),
            ),
        };
        let size = IommuTestCmd::SIZE;
        of(IOMMU_TEST_CMD, IommuTestCmd { size, op: op.0, id, body, ..Default::default() })
    }
}

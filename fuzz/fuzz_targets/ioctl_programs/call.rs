//! The calls of a program, and the requests and structs that they are made with.

mod guest;
mod mock;

use arbitrary::{Arbitrary, Result, Unstructured};
use swiommu_abi::UapiStruct;
use swiommu_abi::hw_info::{IOMMU_GET_HW_INFO, IommuHwInfo};
use swiommu_abi::hwpt::{IOMMU_HWPT_ALLOC, IommuHwptAlloc};
use swiommu_abi::ioas::{
    IOMMU_IOAS_ALLOC, IOMMU_IOAS_ALLOW_IOVAS, IOMMU_IOAS_CHANGE_PROCESS, IOMMU_IOAS_COPY,
    IOMMU_IOAS_IOVA_RANGES, IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_UNMAP, IommuIoasAlloc,
    IommuIoasAllowIovas, IommuIoasChangeProcess, IommuIoasCopy, IommuIoasIovaRanges, IommuIoasMap,
    IommuIoasMapFile, IommuIoasUnmap, IommuIovaRange,
};
use swiommu_abi::mock::IOMMU_HWPT_DATA_SELFTEST;
use swiommu_abi::object::{IOMMU_DESTROY, IommuDestroy};
use swiommu_abi::option::{IOMMU_OPTION, IOMMU_VFIO_IOAS, IommuOption, IommuVfioIoas};
use swiommu_abi::test_cmd::MockFlagsAccess;
use swiommu_abi::vfio::container::{
    VFIO_CHECK_EXTENSION, VFIO_IOMMU_GET_INFO, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA,
    VFIO_SET_IOMMU, VfioIommuType1DmaMap, VfioIommuType1DmaUnmap, VfioIommuType1Info,
};
use zerocopy::IntoBytes;

pub use guest::Guest;
pub use mock::Test;

use crate::operands::{At, Below, Kind, Len, Memory, Pick, Span};

/// A call. Fields are those of the struct, with numbers that meet each other.
#[derive(Debug)]
pub enum Call {
    Raw {
        request: Request,
        size: Option<Below<80>>,
        bytes: [u8; 72],
    },
    Destroy {
        id: Pick,
    },
    IoasAlloc,
    IovaRanges {
        ioas: Pick,
        room: Below<6>,
        into: Memory,
    },
    AllowIovas {
        ioas: Pick,
        ranges: [Option<(At, Len)>; 3],
    },
    Map {
        ioas: Pick,
        flags: MapFlags,
        from: Memory,
        len: Len,
        at: At,
    },
    MapFile {
        ioas: Pick,
        flags: MapFlags,
        fd: FileOf,
        start: Len,
        len: Len,
        at: At,
    },
    Copy {
        flags: MapFlags,
        by_number: bool,
        target: Pick,
        source: Pick,
        from: Span,
        to: At,
    },
    Unmap {
        ioas: Pick,
        span: Span,
    },
    UnmapAll {
        ioas: Pick,
    },
    Option {
        option: Below<3>,
        op: Below<3>,
        id: Pick,
        value: Below<3>,
    },
    VfioIoas {
        op: Below<4>,
        ioas: Pick,
    },
    HwptAlloc {
        flags: Below<16>,
        device: Pick,
        on: Pick,
        data: Option<HwptData>,
        fault: Pick,
    },
    HwInfo {
        device: Pick,
        len: Below<20>,
        into: Memory,
    },
    ChangeProcess,
    VfioExtension {
        extension: Below<12>,
    },
    VfioSet {
        kind: Below<4>,
    },
    VfioInfo {
        argsz: Below<160>,
    },
    VfioMap {
        flags: Below<4>,
        from: Memory,
        len: Len,
        at: At,
    },
    VfioUnmap {
        span: Span,
    },
    VfioUnmapAll,
    Guest(Guest),
    Test(Test),
}

impl<'a> Arbitrary<'a> for Call {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        macro_rules! call {
            ($name:ident { $($field:ident),* }) => { Self::$name { $($field: Arbitrary::arbitrary(u)?),* } };
        }
        Ok(match u8::arbitrary(u)? {
            0..=31 => call!(Map {
                ioas,
                flags,
                from,
                len,
                at
            }),
            32..=47 => call!(MapFile {
                ioas,
                flags,
                fd,
                start,
                len,
                at
            }),
            48..=71 => call!(Copy {
                flags,
                by_number,
                target,
                source,
                from,
                to
            }),
            72..=90 => call!(Unmap { ioas, span }),
            91..=93 => call!(UnmapAll { ioas }),
            94..=103 => Self::IoasAlloc,
            104..=113 => call!(Destroy { id }),
            114..=126 => call!(HwptAlloc {
                flags,
                device,
                on,
                data,
                fault
            }),
            127..=146 => Self::Guest(Arbitrary::arbitrary(u)?),
            147..=209 => Self::Test(Arbitrary::arbitrary(u)?),
            210..=214 => call!(Option {
                option,
                op,
                id,
                value
            }),
            215..=219 => call!(VfioIoas { op, ioas }),
            220..=224 => call!(VfioMap {
                flags,
                from,
                len,
                at
            }),
            225..=229 => call!(VfioUnmap { span }),
            230 => Self::VfioUnmapAll,
            231..=233 => call!(VfioSet { kind }),
            234 => call!(VfioExtension { extension }),
            235..=236 => call!(VfioInfo { argsz }),
            237..=240 => call!(AllowIovas { ioas, ranges }),
            241..=242 => call!(IovaRanges { ioas, room, into }),
            243..=244 => call!(HwInfo { device, len, into }),
            245..=248 => Self::ChangeProcess,
            249.. => call!(Raw {
                request,
                size,
                bytes
            }),
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

/// What MAP_FILE maps: mostly the file, sometimes what is not memory or not open, or a dma-buf.
#[derive(Clone, Copy, Debug)]
pub enum FileOf {
    Native(i32),
    DmaBuf(Pick),
}

impl<'a> Arbitrary<'a> for FileOf {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u8::arbitrary(u)? {
            0..=159 => Self::Native(0),
            byte @ 160..=175 => Self::Native(i32::from(byte % 4)),
            176.. => Self::DmaBuf(Pick::Nth(0)),
        })
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
        Ok(Self {
            len,
            pagetable: byte % 7 % 3,
        })
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

    /// The descriptor of a file whose name starts so.
    fn file(&self, name: &str, pick: Pick) -> i32;

    /// The first IOVA and the length of a range of an IOAS.
    fn span(&self, ioas: Option<u32>, span: Span) -> (u64, u64);
}

fn of(request: u32, argument: impl UapiStruct) -> Encoded {
    Encoded {
        request,
        argument: Argument::Struct(argument.as_bytes().to_vec()),
        data: Vec::new(),
    }
}

fn number(request: u32, number: u32) -> Encoded {
    Encoded {
        request,
        argument: Argument::Number(number.into()),
        data: Vec::new(),
    }
}

/// With the flag for it, an area is named by number: {low 32 bits: the number, high 32 bits: an offset}.
fn named(by_number: bool, iova: u64) -> (u32, u64) {
    if by_number {
        (
            MockFlagsAccess::SYZ.bits(),
            iova >> 12 & 3 | (iova & 0xffff) << 32,
        )
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
            Self::Raw {
                request,
                size,
                mut bytes,
            } => {
                if let Some(size) = size {
                    bytes[..4].copy_from_slice(&size.0.to_ne_bytes());
                }
                let request = match request {
                    Request::Ours(nr) => 0x3b00 | u32::from(nr),
                    Request::Any(request) => request,
                };
                Encoded {
                    request,
                    argument: Argument::Struct(bytes.to_vec()),
                    data: Vec::new(),
                }
            }
            Self::Destroy { id } => of(
                IOMMU_DESTROY,
                IommuDestroy {
                    size: IommuDestroy::SIZE,
                    id: now.object(Kind::Any, id),
                },
            ),
            Self::IoasAlloc => of(
                IOMMU_IOAS_ALLOC,
                IommuIoasAlloc {
                    size: IommuIoasAlloc::SIZE,
                    ..Default::default()
                },
            ),
            Self::IovaRanges {
                ioas: pick,
                room,
                into,
            } => of(
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
            Self::Map {
                ioas: pick,
                flags,
                from,
                len,
                at,
            } => of(
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
            Self::MapFile {
                ioas: pick,
                flags,
                fd,
                start,
                len,
                at,
            } => of(
                IOMMU_IOAS_MAP_FILE,
                IommuIoasMapFile {
                    size: IommuIoasMapFile::SIZE,
                    flags: flags.0,
                    ioas_id: ioas(pick),
                    fd: match fd {
                        FileOf::Native(fd) => fd,
                        FileOf::DmaBuf(pick) => now.file("/dmabuf:", pick),
                    },
                    start: start.0.wrapping_sub(0x1000),
                    length: len.0,
                    iova: at.0,
                },
            ),
            Self::Copy {
                flags,
                by_number,
                target,
                source,
                from,
                to,
            } => {
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
            Self::Option {
                option,
                op,
                id,
                value,
            } => of(
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
            Self::HwptAlloc {
                flags,
                device,
                on,
                data,
                fault,
            } => {
                let cmd = IommuHwptAlloc {
                    size: IommuHwptAlloc::SIZE,
                    flags: flags.0,
                    dev_id: now.object(Kind::Device, device),
                    pt_id: now.object(Kind::Parent, on),
                    data_type: data.map_or(0, |_| IOMMU_HWPT_DATA_SELFTEST.0),
                    data_len: data.map_or(0, |data| data.len),
                    data_uptr: now.data(),
                    fault_id: now.object(Kind::Fault, fault),
                    ..Default::default()
                };
                let data = data.map(|data| [0, data.pagetable].as_bytes().to_vec());
                Encoded {
                    data: data.unwrap_or_default(),
                    ..of(IOMMU_HWPT_ALLOC, cmd)
                }
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
                IommuIoasChangeProcess {
                    size: IommuIoasChangeProcess::SIZE,
                    ..Default::default()
                },
            ),
            Self::VfioExtension { extension } => number(VFIO_CHECK_EXTENSION, extension.0),
            Self::VfioSet { kind } => number(VFIO_SET_IOMMU, kind.0),
            Self::VfioInfo { argsz } => of(
                VFIO_IOMMU_GET_INFO,
                VfioIommuType1Info {
                    argsz: argsz.0,
                    ..Default::default()
                },
            ),
            Self::VfioMap {
                flags,
                from,
                len,
                at,
            } => of(
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
            Self::Guest(ref guest) => guest.encode(now),
            Self::Test(ref test) => test.encode(now),
        }
    }
}

fn allow_iovas(now: &impl Situation, ioas: u32, ranges: [Option<(At, Len)>; 3]) -> Encoded {
    let ranges: Vec<IommuIovaRange> = ranges
        .into_iter()
        .flatten()
        .map(|(at, len)| IommuIovaRange {
            start: at.0,
            last: at.0.wrapping_add(len.0).wrapping_sub(1),
        })
        .collect();
    let cmd = IommuIoasAllowIovas {
        size: IommuIoasAllowIovas::SIZE,
        ioas_id: ioas,
        num_iovas: u32::try_from(ranges.len()).unwrap_or(0),
        allowed_iovas: now.data(),
        ..Default::default()
    };
    Encoded {
        data: ranges.as_bytes().to_vec(),
        ..of(IOMMU_IOAS_ALLOW_IOVAS, cmd)
    }
}

fn unmap(ioas: u32, iova: u64, length: u64) -> Encoded {
    let size = IommuIoasUnmap::SIZE;
    of(
        IOMMU_IOAS_UNMAP,
        IommuIoasUnmap {
            size,
            ioas_id: ioas,
            iova,
            length,
        },
    )
}

fn vfio_unmap(flags: u32, iova: u64, size: u64) -> Encoded {
    let argsz = VfioIommuType1DmaUnmap::SIZE;
    of(
        VFIO_IOMMU_UNMAP_DMA,
        VfioIommuType1DmaUnmap {
            argsz,
            flags,
            iova,
            size,
        },
    )
}

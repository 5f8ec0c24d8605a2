//! The operations of the mock driver.

use arbitrary::{Arbitrary, Result, Unstructured};
use swiommu_abi::UapiStruct;
use swiommu_abi::mock::{IOMMU_TEST_DEV_CACHE_DEFAULT, IOMMU_TEST_PASID_RESERVED};
use swiommu_abi::test_cmd::{
    AccessPages, AccessReplaceIoas, AccessRw, AddReserved, CheckDevCache, CheckIotlb, CheckMap,
    CheckRefs, CreateAccess, DestroyAccessPages, Dirty, DmabufGet, DmabufRevoke, IOMMU_TEST_CMD,
    IommuTestCmd, IommuTestOp, MemoryLimit, MockDomain, MockDomainFlags, MockDomainReplace,
    PasidAttach, PasidCheck, PasidDetach, PasidReplace, TestBody, TriggerIopf, TriggerVevent,
};

use super::{Encoded, Situation, named, of};
use crate::operands::{At, Below, Kind, Len, Memory, Pick, Span};

/// An operation of the mock driver.
#[derive(Debug)]
pub enum Test {
    AddReserved {
        ioas: Pick,
        at: At,
        len: Len,
    },
    MockDomain {
        on: Pick,
    },
    MockDomainFlags {
        on: Pick,
        flags: Below<8>,
    },
    Replace {
        stdev: Pick,
        on: Pick,
    },
    CheckMap {
        hwpt: Pick,
        at: At,
        len: Len,
        memory: Memory,
    },
    CheckRefs {
        len: Len,
        memory: Memory,
        refs: Below<3>,
    },
    CreateAccess {
        ioas: Pick,
        flags: Below<2>,
    },
    Pin {
        fd: Pick,
        flags: Below<2>,
        by_number: bool,
        span: Span,
        memory: Memory,
    },
    Unpin {
        fd: Pick,
        item: Below<4>,
    },
    Copy {
        fd: Pick,
        flags: Below<6>,
        by_number: bool,
        span: Span,
        buffer: Memory,
    },
    ReplaceIoas {
        fd: Pick,
        ioas: Pick,
    },
    MemoryLimit {
        limit: Below<40>,
    },
    Dirty {
        hwpt: Pick,
        at: At,
        len: Len,
        page: Len,
        bitmap: Memory,
    },
    CheckIotlb {
        hwpt: Pick,
        entry: Below<5>,
    },
    CheckCache {
        device: Pick,
        entry: Below<5>,
    },
    PasidAttach {
        stdev: Pick,
        pasid: Pasid,
        on: Pick,
    },
    PasidReplace {
        stdev: Pick,
        pasid: Pasid,
        on: Pick,
    },
    PasidDetach {
        stdev: Pick,
        pasid: Pasid,
    },
    PasidCheck {
        stdev: Pick,
        pasid: Pasid,
        hwpt: Pick,
    },
    PageRequest {
        device: Pick,
        pasid: Pasid,
        group: Below<3>,
    },
    Event {
        device: Pick,
    },
    DmabufGet {
        pages: Below<20>,
    },
    DmabufRevoke {
        fd: Pick,
        revoked: bool,
    },
}

impl<'a> Arbitrary<'a> for Test {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        macro_rules! test {
            ($name:ident { $($field:ident),* }) => { Self::$name { $($field: Arbitrary::arbitrary(u)?),* } };
        }
        Ok(match u8::arbitrary(u)? {
            0..=15 => test!(MockDomain { on }),
            16..=18 => test!(PageRequest {
                device,
                pasid,
                group
            }),
            19..=20 => test!(Event { device }),
            21 => test!(DmabufGet { pages }),
            22..=23 => test!(DmabufRevoke { fd, revoked }),
            24..=31 => test!(MockDomainFlags { on, flags }),
            32..=55 => test!(Replace { stdev, on }),
            56..=75 => test!(CreateAccess { ioas, flags }),
            76..=107 => test!(Pin {
                fd,
                flags,
                by_number,
                span,
                memory
            }),
            108..=119 => test!(Unpin { fd, item }),
            120..=143 => test!(Copy {
                fd,
                flags,
                by_number,
                span,
                buffer
            }),
            144..=159 => test!(ReplaceIoas { fd, ioas }),
            160..=171 => test!(AddReserved { ioas, at, len }),
            172..=187 => test!(PasidAttach { stdev, pasid, on }),
            188..=199 => test!(PasidReplace { stdev, pasid, on }),
            200..=207 => test!(PasidDetach { stdev, pasid }),
            208..=211 => test!(PasidCheck { stdev, pasid, hwpt }),
            212..=223 => test!(CheckMap {
                hwpt,
                at,
                len,
                memory
            }),
            224..=235 => test!(CheckRefs { len, memory, refs }),
            236..=241 => test!(Dirty {
                hwpt,
                at,
                len,
                page,
                bitmap
            }),
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

impl Test {
    pub fn encode(&self, now: &impl Situation) -> Encoded {
        let ioas = |pick| now.object(Kind::Ioas, pick);
        let stdev = |pick| now.object(Kind::Selftest, pick);
        let access = |pick| {
            now.file("anon_inode:[iommufd_test_staccess]", pick)
                .cast_unsigned()
        };
        let attachable = |pick| now.object(Kind::Attachable, pick);
        let (op, id, body) = match *self {
            Self::AddReserved {
                ioas: pick,
                at,
                len,
            } => (
                IommuTestOp::ADD_RESERVED,
                ioas(pick),
                TestBody::new(AddReserved {
                    start: at.0,
                    length: len.0,
                }),
            ),
            Self::MockDomain { on } => (
                IommuTestOp::MOCK_DOMAIN,
                attachable(on),
                TestBody::new(MockDomain::default()),
            ),
            Self::MockDomainFlags { on, flags } => (
                IommuTestOp::MOCK_DOMAIN_FLAGS,
                attachable(on),
                TestBody::new(MockDomainFlags {
                    dev_flags: flags.0,
                    ..Default::default()
                }),
            ),
            Self::Replace { stdev: pick, on } => (
                IommuTestOp::MOCK_DOMAIN_REPLACE,
                stdev(pick),
                TestBody::new(MockDomainReplace {
                    pt_id: attachable(on),
                }),
            ),
            Self::CheckMap {
                hwpt,
                at,
                len,
                memory,
            } => (
                IommuTestOp::MD_CHECK_MAP,
                now.object(Kind::Paging, hwpt),
                TestBody::new(CheckMap {
                    iova: at.0,
                    length: len.0,
                    uptr: now.memory(memory),
                }),
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
                TestBody::new(CreateAccess {
                    flags: flags.0,
                    ..Default::default()
                }),
            ),
            Self::Pin {
                fd,
                flags,
                by_number,
                span,
                memory,
            } => {
                let (start, length) = now.span(None, span);
                let (by_number, iova) = named(by_number, start);
                let body = AccessPages {
                    flags: flags.0 | by_number,
                    iova,
                    length,
                    // Mostly nothing to compare with.
                    uptr: if span.is_whole() {
                        0
                    } else {
                        now.memory(memory)
                    },
                    ..Default::default()
                };
                (IommuTestOp::ACCESS_PAGES, access(fd), TestBody::new(body))
            }
            Self::Unpin { fd, item } => (
                IommuTestOp::DESTROY_ACCESS_PAGES,
                access(fd),
                TestBody::new(DestroyAccessPages {
                    access_pages_id: item.0,
                }),
            ),
            Self::Copy {
                fd,
                flags,
                by_number,
                span,
                buffer,
            } => {
                let (start, length) = now.span(None, span);
                let (by_number, iova) = named(by_number, start);
                let body = AccessRw {
                    iova,
                    length,
                    uptr: now.memory(buffer),
                    flags: flags.0 | by_number,
                    ..Default::default()
                };
                (IommuTestOp::ACCESS_RW, access(fd), TestBody::new(body))
            }
            Self::ReplaceIoas { fd, ioas: pick } => (
                IommuTestOp::ACCESS_REPLACE_IOAS,
                access(fd),
                TestBody::new(AccessReplaceIoas {
                    ioas_id: ioas(pick),
                }),
            ),
            Self::MemoryLimit { limit } => (
                IommuTestOp::SET_TEMP_MEMORY_LIMIT,
                0,
                TestBody::new(MemoryLimit { limit: limit.0 }),
            ),
            Self::Dirty {
                hwpt,
                at,
                len,
                page,
                bitmap,
            } => (
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
                TestBody::new(CheckIotlb {
                    id: entry.0,
                    iotlb: 0,
                }),
            ),
            Self::CheckCache { device, entry } => (
                IommuTestOp::DEV_CHECK_CACHE,
                now.object(Kind::Device, device),
                TestBody::new(CheckDevCache {
                    id: entry.0,
                    cache: IOMMU_TEST_DEV_CACHE_DEFAULT,
                }),
            ),
            Self::PasidAttach {
                stdev: pick,
                pasid,
                on,
            } => (
                IommuTestOp::PASID_ATTACH,
                stdev(pick),
                TestBody::new(PasidAttach {
                    pasid: pasid.0,
                    pt_id: attachable(on),
                }),
            ),
            Self::PasidReplace {
                stdev: pick,
                pasid,
                on,
            } => (
                IommuTestOp::PASID_REPLACE,
                stdev(pick),
                TestBody::new(PasidReplace {
                    pasid: pasid.0,
                    pt_id: attachable(on),
                }),
            ),
            Self::PasidDetach { stdev: pick, pasid } => (
                IommuTestOp::PASID_DETACH,
                stdev(pick),
                TestBody::new(PasidDetach { pasid: pasid.0 }),
            ),
            Self::PasidCheck {
                stdev: pick,
                pasid,
                hwpt,
            } => (
                IommuTestOp::PASID_CHECK_HWPT,
                stdev(pick),
                TestBody::new(PasidCheck {
                    pasid: pasid.0,
                    hwpt_id: attachable(hwpt),
                }),
            ),
            Self::PageRequest {
                device,
                pasid,
                group,
            } => {
                let body = TriggerIopf {
                    dev_id: now.object(Kind::Device, device),
                    pasid: pasid.0,
                    grpid: group.0,
                    ..Default::default()
                };
                (IommuTestOp::TRIGGER_IOPF, 0, TestBody::new(body))
            }
            Self::Event { device } => {
                let body = TriggerVevent {
                    dev_id: now.object(Kind::Device, device),
                };
                (IommuTestOp::TRIGGER_VEVENT, 0, TestBody::new(body))
            }
            Self::DmabufGet { pages } => {
                let body = DmabufGet {
                    length: pages.0 * 0x800,
                    ..Default::default()
                };
                (IommuTestOp::DMABUF_GET, 0, TestBody::new(body))
            }
            Self::DmabufRevoke { fd, revoked } => {
                let body = DmabufRevoke {
                    dmabuf_fd: now.file("/dmabuf:", fd),
                    revoked: revoked.into(),
                };
                (IommuTestOp::DMABUF_REVOKE, 0, TestBody::new(body))
            }
        };
        let size = IommuTestCmd::SIZE;
        of(
            IOMMU_TEST_CMD,
            IommuTestCmd {
                size,
                op: op.0,
                id,
                body,
                ..Default::default()
            },
        )
    }
}

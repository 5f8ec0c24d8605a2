//! Every call, and what may be different when a step of it fails.

use swiommu_abi::fault::IommuHwptPageResponse;
use swiommu_abi::mock::{
    IOMMU_HW_QUEUE_TYPE_SELFTEST, IOMMU_HWPT_INVALIDATE_DATA_SELFTEST, IOMMU_VEVENTQ_TYPE_SELFTEST,
    IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST, IOMMU_VIOMMU_TYPE_SELFTEST, IommuViommuSelftest,
};
use swiommu_abi::option::{IommufdOption, IommufdVfioIoasOp};
use swiommu_abi::test_cmd::TriggerIopf;
use swiommu_abi::vfio::container::{
    VFIO_IOMMU_GET_INFO, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, VFIO_SET_IOMMU,
    VfioIommuType1DmaMap, VfioIommuType1DmaUnmap, VfioIommuType1Info,
};
use swiommu_abi::{Errno, UapiStruct};
use swiommu_addr::Gpa;
use swiommu_files::Arg;
use swiommu_injection::Step;
use swiommu_iommu::{DirtyRead, DirtyTracking, Pasid, VirtId};
use swiommu_iommufd::{AccessKind, HwptFlags, ObjectId};
use swiommu_selftest::client::{CopyPath, Dirtied, HwInfo, Invalidation, Result, Revoked};
use zerocopy::IntoBytes;

use super::laboratory::{Laboratory, MAPPED, VIRT_ID};
use crate::fixture::{APERTURE, PAGE, PASIDS, add, count};

/// A call, as the sweep makes it.
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) prepare: fn(&Laboratory),
    /// Makes the call; a text that says what came of it.
    pub(super) run: fn(&Laboratory) -> Result<String>,
    /// What an object that is not found may also be told as.
    pub(super) not_found: Option<Errno>,
    /// Whether the call has had its effect when this step fails, as in Linux.
    pub(super) keeps: fn(Step) -> bool,
}

impl Call {
    fn new(name: &'static str, run: fn(&Laboratory) -> Result<String>) -> Self {
        Self {
            name,
            prepare: |_| (),
            run,
            not_found: None,
            keeps: |_| false,
        }
    }

    fn after(mut self, prepare: fn(&Laboratory)) -> Self {
        self.prepare = prepare;
        self
    }

    /// The effect of the call stays when its reply cannot be written: there is nothing that would take it back.
    fn done_before_the_reply(mut self) -> Self {
        self.keeps = |step| step == Step::CopyOut;
        self
    }

    fn not_found_is(mut self, errno: Errno) -> Self {
        self.not_found = Some(errno);
        self
    }

    /// Whether the client may see this errno when this step fails.
    pub(super) fn may_answer(&self, step: Step, errno: Errno) -> bool {
        errno == step.errno() || step == Step::Lookup && Some(errno) == self.not_found
    }
}

/// A call as text, without what is different every time.
fn text<T: std::fmt::Debug>(result: Result<T>) -> Result<String> {
    result.map(|value| format!("{value:?}"))
}

const MOCK: u32 = IOMMU_VIOMMU_TYPE_SELFTEST.0;

pub(super) fn calls() -> Vec<Call> {
    [
        address_spaces(),
        page_tables(),
        guests(),
        accesses(),
        test_commands(),
        vfio(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn address_spaces() -> Vec<Call> {
    vec![
        Call::new("IOAS_ALLOC", |l| text(l.iommu().ioas_alloc())),
        Call::new("DESTROY", |l| text(l.iommu().destroy(l.empty))),
        Call::new("IOAS_IOVA_RANGES", |l| text(l.iommu().iova_ranges(l.ioas))),
        Call::new("IOAS_ALLOW_IOVAS", |l| {
            let allowed = [(APERTURE, add(APERTURE, 64 * PAGE - 1))];
            text(l.iommu().allow_iovas(l.ioas, &allowed))
        }),
        Call::new("IOAS_MAP", |l| {
            text(l.iommu().map(l.ioas, l.at(16 * PAGE), 3 * PAGE))
        })
        .done_before_the_reply(),
        Call::new("IOAS_MAP at an IOVA without a page table", |l| {
            text(l.iommu().map_fixed(l.empty, l.at(0), PAGE, APERTURE))
        })
        .done_before_the_reply(),
        Call::new("IOAS_COPY", |l| {
            let source = (l.ioas, APERTURE);
            text(l.iommu().copy(source, 4 * PAGE, l.other, None))
        })
        .done_before_the_reply(),
        Call::new("IOAS_UNMAP", |l| {
            let at = add(APERTURE, 32 * PAGE);
            text(l.iommu().unmap(l.ioas, at, 2 * PAGE))
        })
        .after(|l| {
            let at = add(APERTURE, 32 * PAGE);
            l.iommu()
                .map_fixed(l.ioas, l.at(32 * PAGE), 2 * PAGE, at)
                .unwrap();
        })
        .done_before_the_reply(),
        Call::new("OPTION, getting", |l| {
            text(l.iommu().option(IommufdOption::HUGE_PAGES, l.ioas))
        }),
        Call::new("OPTION, setting", |l| {
            text(l.iommu().set_option(IommufdOption::HUGE_PAGES, l.other, 0))
        })
        .done_before_the_reply(),
        Call::new("VFIO_IOAS, getting", |l| {
            text(l.iommu().vfio_ioas(IommufdVfioIoasOp::GET, ObjectId(0)))
        })
        .after(|l| {
            l.iommu()
                .vfio_ioas(IommufdVfioIoasOp::SET, l.other)
                .unwrap();
        })
        .not_found_is(Errno::ENODEV),
        Call::new("VFIO_IOAS, setting", |l| {
            text(l.iommu().vfio_ioas(IommufdVfioIoasOp::SET, l.other))
        })
        .done_before_the_reply(),
    ]
}

fn page_tables() -> Vec<Call> {
    let alloc = |name, run| Call::new(name, run).not_found_is(Errno::EINVAL);
    vec![
        alloc("HWPT_ALLOC", |l| {
            let flags = HwptFlags::DIRTY_TRACKING;
            text(l.iommu().hwpt_alloc(l.device.idev, l.ioas, flags))
        }),
        alloc("HWPT_ALLOC, nested", |l| {
            let plain = HwptFlags::empty();
            text(
                l.iommu()
                    .hwpt_alloc_nested(l.device.idev, l.parent, plain, 7),
            )
        }),
        alloc("HWPT_ALLOC, nested with a fault queue", |l| {
            let flags = HwptFlags::PASID;
            let faults = l.faults.id;
            text(
                l.iommu()
                    .hwpt_alloc_with_faults(l.device.idev, l.viommu, flags, faults),
            )
        }),
        Call::new("HWPT_SET_DIRTY_TRACKING", |l| {
            text(l.iommu().set_dirty_tracking(l.dirty, DirtyTracking::Off))
        })
        .done_before_the_reply(),
        Call::new("HWPT_GET_DIRTY_BITMAP", |l| {
            let bitmap = l.at(100 * PAGE);
            l.world.write(100 * PAGE, &[0; 8]);
            let range = (APERTURE, MAPPED);
            l.iommu()
                .get_dirty_bitmap(l.dirty, range, PAGE, bitmap, DirtyRead::Keep)?;
            Ok(format!("{:?}", l.world.read(100 * PAGE, 8)))
        })
        .after(|l| {
            let dirtied = Dirtied {
                iova: APERTURE,
                len: MAPPED,
                page_size: PAGE,
                bitmap: &[0b1010_0101],
            };
            assert_eq!(l.iommu().dirty(l.dirty, dirtied).unwrap(), 4);
        }),
        Call::new("HWPT_INVALIDATE", |l| {
            let requests = [[1u32, 0], [0, 2]];
            let (result, done) = l.iommu().invalidate(
                l.nested,
                Invalidation {
                    data_type: IOMMU_HWPT_INVALIDATE_DATA_SELFTEST.0,
                    bytes: Some(requests.as_bytes()),
                    entry_len: 8,
                    entry_num: 2,
                },
            );
            result.map(|()| done.to_string())
        }),
        Call::new("GET_HW_INFO", |l| {
            text(
                l.iommu()
                    .hw_info(l.device.idev, None, 64)
                    .map(|info: HwInfo| info),
            )
        }),
    ]
}

fn guests() -> Vec<Call> {
    vec![
        Call::new("FAULT_QUEUE_ALLOC", |l| text(l.iommu().fault_queue_alloc())),
        Call::new("VIOMMU_ALLOC", |l| {
            let mut data = IommuViommuSelftest {
                in_data: 0xbeef,
                ..Default::default()
            };
            let made = l
                .iommu()
                .viommu_alloc(l.guest.idev, l.parent, MOCK, Some(&mut data));
            made.map(|id| format!("{id} {:#x}", data.out_data))
        }),
        Call::new("VDEVICE_ALLOC", |l| {
            text(l.iommu().vdevice_alloc(l.viommu, l.device.idev, VirtId(9)))
        }),
        Call::new("VEVENTQ_ALLOC", |l| {
            let kind = IOMMU_VEVENTQ_TYPE_SELFTEST.0;
            text(l.iommu().veventq_alloc(l.viommu, kind, 4))
        })
        .after(|l| {
            l.world.process.close(l.events.fd).unwrap();
            l.iommu().destroy(l.events.id).unwrap();
        }),
        Call::new("HW_QUEUE_ALLOC", |l| {
            let kind = IOMMU_HW_QUEUE_TYPE_SELFTEST.0;
            let base = Gpa::new(add(APERTURE, 4 * PAGE).get());
            text(l.iommu().hw_queue_alloc(l.viommu, kind, 1, (base, PAGE)))
        }),
        Call::new("HWPT_INVALIDATE by a vIOMMU", |l| {
            let requests = [[0u32, u32::try_from(VIRT_ID.0).unwrap_or(0), 1]];
            let (result, done) = l.iommu().invalidate(
                l.viommu,
                Invalidation {
                    data_type: IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST.0,
                    bytes: Some(requests.as_bytes()),
                    entry_len: 12,
                    entry_num: 1,
                },
            );
            result.map(|()| done.to_string())
        }),
        Call::new("read of a fault queue", |l| {
            let read = l.world.process.read(l.faults.fd, 40);
            read.map(|bytes| bytes.len().to_string())
        })
        .after(fault),
        Call::new("write to a fault queue", |l| {
            let response = IommuHwptPageResponse { cookie: 1, code: 0 };
            text(l.world.process.write(l.faults.fd, response.as_bytes()))
        })
        .after(|l| {
            fault(l);
            l.world.process.read(l.faults.fd, 40).unwrap();
        }),
        Call::new("read of an event queue", |l| {
            text(l.world.process.read(l.events.fd, count(PAGE)))
        })
        .after(|l| l.iommu().trigger_vevent(l.guest.idev).unwrap()),
    ]
}

/// A device asks for a page.
fn request_page(l: &Laboratory) -> Result<String> {
    let request = TriggerIopf {
        dev_id: l.faulting.idev.0,
        pasid: 0,
        grpid: 1,
        perm: 1,
        addr: 0x1000,
    };
    text(l.iommu().trigger_iopf(request))
}

fn fault(l: &Laboratory) {
    request_page(l).unwrap();
}

fn accesses() -> Vec<Call> {
    vec![
        Call::new("CREATE_ACCESS", |l| {
            text(l.iommu().create_access(l.ioas, AccessKind::Pins))
        }),
        Call::new("ACCESS_REPLACE_IOAS", |l| {
            text(l.iommu().access_replace_ioas(l.access, l.other))
        })
        .done_before_the_reply(),
        Call::new("ACCESS_PAGES", |l| {
            let pinned = l
                .iommu()
                .access_pages(l.access, APERTURE, 5 * PAGE, l.at(0));
            // Numbers of pins are not given out again.
            pinned.map(|_| String::new())
        }),
        Call::new("DESTROY_ACCESS_PAGES", |l| {
            text(l.iommu().destroy_access_pages(l.access, l.pin))
        })
        .done_before_the_reply(),
        Call::new("ACCESS_RW, reading", |l| {
            let from = add(APERTURE, 100);
            text(l.iommu().access_read(l.copier, from, 16, CopyPath::Caller))
        }),
        Call::new("ACCESS_RW, writing slowly across pages", |l| {
            let to = add(APERTURE, PAGE - 8);
            text(
                l.iommu()
                    .access_write(l.copier, to, &[7; 16], CopyPath::Slow),
            )
        }),
    ]
}

fn test_commands() -> Vec<Call> {
    vec![
        Call::new("MOCK_DOMAIN", |l| text(l.iommu().mock_domain(l.ioas))),
        Call::new("MOCK_DOMAIN_FLAGS", |l| {
            text(l.iommu().mock_domain_flags(l.empty, PASIDS))
        }),
        Call::new("MOCK_DOMAIN_REPLACE by an IOAS", |l| {
            text(l.iommu().mock_domain_replace(l.lonely.stdev, l.ioas))
        })
        .done_before_the_reply(),
        Call::new("MOCK_DOMAIN_REPLACE by a page table", |l| {
            text(l.iommu().mock_domain_replace(l.device.stdev, l.dirty))
        })
        .done_before_the_reply(),
        Call::new("ADD_RESERVED", |l| {
            let at = add(APERTURE, 128 * PAGE);
            text(l.iommu().add_reserved(l.ioas, at, PAGE))
        })
        .done_before_the_reply(),
        Call::new("PASID_ATTACH", |l| {
            let (device, to) = (l.device.stdev, l.pasids);
            text(l.iommu().pasid_attach(device, Pasid(3), to))
        }),
        Call::new("PASID_REPLACE", |l| {
            let (device, to) = (l.device.stdev, l.second_pasids);
            text(l.iommu().pasid_replace(device, Pasid(3), to))
        })
        .after(attach_pasid)
        .done_before_the_reply(),
        Call::new("PASID_DETACH", |l| {
            text(l.iommu().pasid_detach(l.device.stdev, Pasid(3)))
        })
        .after(attach_pasid)
        .done_before_the_reply(),
        Call::new("MD_CHECK_MAP", |l| {
            text(l.iommu().check_map(l.dirty, APERTURE, MAPPED, l.at(0)))
        }),
        Call::new("DIRTY", |l| {
            let dirtied = Dirtied {
                iova: APERTURE,
                len: MAPPED,
                page_size: PAGE,
                bitmap: &[1],
            };
            text(l.iommu().dirty(l.dirty, dirtied))
        })
        .done_before_the_reply(),
        Call::new("TRIGGER_IOPF", request_page).done_before_the_reply(),
        Call::new("TRIGGER_VEVENT", |l| {
            text(l.iommu().trigger_vevent(l.guest.idev))
        })
        .done_before_the_reply(),
        Call::new("DMABUF_GET", |l| text(l.iommu().dma_buf_get(4096))),
        Call::new("DMABUF_REVOKE", |l| {
            let buf = swiommu_files::FdNumber(BUF);
            text(l.iommu().dma_buf_revoke(buf, Revoked::Yes))
        })
        .after(|l| {
            let buf = l.iommu().dma_buf_get(4096).unwrap();
            assert_eq!(buf.0, BUF);
        })
        .done_before_the_reply(),
        Call::new("IOAS_MAP_FILE of a dma-buf", |l| {
            let buf = swiommu_files::FdNumber(BUF);
            text(l.iommu().map_file(l.ioas, buf, 0, PAGE, None))
        })
        .after(|l| {
            l.iommu().dma_buf_get(4096).unwrap();
        })
        .done_before_the_reply(),
        Call::new("MD_CHECK_REFS", |l| {
            text(l.iommu().check_refs(l.at(100 * PAGE), PAGE, 0))
        }),
        Call::new("DEV_CHECK_CACHE", |l| {
            text(l.iommu().check_dev_cache(
                l.lonely.idev,
                0,
                swiommu_abi::mock::IOMMU_TEST_DEV_CACHE_DEFAULT,
            ))
        }),
        Call::new("PASID_CHECK_HWPT", |l| {
            text(l.iommu().pasid_check_hwpt(l.device.stdev, Pasid(3), None))
        }),
    ]
}

/// The descriptor of the first dma-buf.
const BUF: i32 = 5;

fn attach_pasid(l: &Laboratory) {
    l.iommu()
        .pasid_attach(l.device.stdev, Pasid(3), l.pasids)
        .unwrap();
}

fn vfio() -> Vec<Call> {
    let choose: fn(&Laboratory) = |l| {
        l.iommu().vfio_ioas(IommufdVfioIoasOp::SET, l.ioas).unwrap();
    };
    vec![
        Call::new("VFIO_IOMMU_MAP_DMA", |l| {
            let mut map = VfioIommuType1DmaMap {
                argsz: VfioIommuType1DmaMap::SIZE,
                flags: 3,
                vaddr: l.at(16 * PAGE).get(),
                iova: add(APERTURE, 16 * PAGE).get(),
                size: 2 * PAGE,
            };
            text(l.iommu().ioctl(VFIO_IOMMU_MAP_DMA, &mut map))
        })
        .after(choose)
        .not_found_is(Errno::ENODEV),
        Call::new("VFIO_IOMMU_UNMAP_DMA", |l| {
            let mut unmap = VfioIommuType1DmaUnmap {
                argsz: VfioIommuType1DmaUnmap::SIZE,
                flags: 0,
                iova: add(APERTURE, 32 * PAGE).get(),
                size: 2 * PAGE,
            };
            let result = l.iommu().ioctl(VFIO_IOMMU_UNMAP_DMA, &mut unmap);
            result.map(|_| unmap.size.to_string())
        })
        .after(|l| {
            let at = add(APERTURE, 32 * PAGE);
            let from = l.at(32 * PAGE);
            l.iommu().map_fixed(l.ioas, from, 2 * PAGE, at).unwrap();
            l.iommu().vfio_ioas(IommufdVfioIoasOp::SET, l.ioas).unwrap();
        })
        .done_before_the_reply()
        .not_found_is(Errno::ENODEV),
        Call::new("VFIO_IOMMU_GET_INFO", |l| {
            let mut info = VfioIommuType1Info {
                argsz: VfioIommuType1Info::SIZE,
                ..Default::default()
            };
            let result = l.iommu().ioctl(VFIO_IOMMU_GET_INFO, &mut info);
            result.map(|_| format!("{info:?}"))
        })
        .after(choose)
        .not_found_is(Errno::ENODEV),
        Call::new("VFIO_SET_IOMMU", |l| {
            text(l.iommu().ioctl_raw(VFIO_SET_IOMMU, Arg::new(3)))
        })
        .after(choose)
        .not_found_is(Errno::ENODEV),
    ]
}

//! The reference: the rules of IOMMUFD's objects, written from the description of Linux 7.3 (its section numbers are meant by §) as
//! plainly as possible, and sharing nothing with what it is compared with.
//!
//! Everything is in one table of objects by number. What can be found out by looking at all objects is not kept: who uses an object,
//! what alignment an IOAS has, how often a page is pinned.

mod access;
mod check;
mod device;
mod dirty;
mod events;
mod fault;
mod hwpt;
mod invalidate;
mod ioas;
mod map;
mod objects;
mod options;
mod placement;
mod questions;
mod range;
mod vfio;
mod viommu;

use std::collections::BTreeMap;

use access::AccessFile;
use fault::Request;
use invalidate::Requests;
use map::Pages;
use objects::{Object, Slot};

use crate::ground::{Ground, PAGE};
use crate::reply::{Answer, Reply};
use crate::step::{Memory, Pick, Place, Span, Step};

/// The first IOVA of a default page table of the mock.
const APERTURE: u64 = 1 << 24;
/// Bytes of a slot, which is its smallest leaf.
const SLOT: u64 = 2048;

/// A context as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    ground: Ground,
    slots: BTreeMap<u32, Slot>,
    /// The highest number that was ever given out.
    highest: u32,
    pages: Vec<Pages>,
    accesses: Vec<AccessFile>,
    vfio_ioas: Option<u32>,
    /// `IOMMU_OPTION_RLIMIT_MODE`.
    charges_process: bool,
    /// Counts page tables.
    clock: u64,
    /// The bytes of the buffer.
    content: Vec<u8>,
    /// Where it was written.
    written: Vec<(u64, u64)>,
}

impl Reference {
    pub(crate) fn new(ground: Ground) -> Self {
        let bytes = usize::try_from(Ground::PAGES * PAGE).unwrap_or(0);
        Self {
            ground,
            slots: BTreeMap::new(),
            highest: 0,
            pages: Vec::new(),
            accesses: Vec::new(),
            vfio_ioas: None,
            charges_process: false,
            clock: 0,
            content: vec![0; bytes],
            written: Vec::new(),
        }
    }

    /// What a call does and answers; `None` when it has no descriptor to be made on.
    #[expect(clippy::too_many_lines, reason = "one arm for each call")]
    pub(crate) fn run(&mut self, step: &Step) -> Option<Reply> {
        let answer: Answer = match step {
            Step::Destroy { id } => self.destroy(self.any(*id)),
            Step::IoasAlloc { flags } => self.ioas_alloc(*flags),
            Step::IovaRanges {
                ioas,
                room,
                reserved,
            } => {
                return Some(self.iova_ranges(self.pick_ioas(*ioas), *room, *reserved));
            }
            Step::AllowIovas {
                ioas,
                ranges,
                reserved,
            } => self.allow_iovas(self.pick_ioas(*ioas), &ranges.0, *reserved),
            Step::AddReserved { ioas, span } => {
                let ioas = self.pick_ioas(*ioas);
                self.add_reserved(ioas, self.span(Some(ioas), *span))
            }
            Step::Map {
                ioas,
                memory,
                len,
                at,
                flags,
                reserved,
            } => {
                if *reserved != 0 {
                    return Some(Err(swiommu_abi::Errno::EOPNOTSUPP).into());
                }
                let ioas = self.pick_ioas(*ioas);
                let memory = self.address(*memory, None);
                self.map(ioas, memory, *len, self.place(ioas, *at), *flags)
            }
            Step::Unmap { ioas, span } => {
                let ioas = self.pick_ioas(*ioas);
                self.unmap(ioas, self.span(Some(ioas), *span))
            }
            Step::Copy {
                from,
                span,
                to,
                at,
                flags,
            } => {
                let (from, to) = (self.pick_ioas(*from), self.pick_ioas(*to));
                let (start, len) = self.span(Some(from), *span);
                self.copy((from, start, len), (to, self.place(to, *at)), *flags)
            }
            Step::ChangeProcess { reserved } => self.change_process(*reserved),
            Step::IommuOption {
                option,
                op,
                object,
                value,
                reserved,
            } => self.option(
                *option,
                *op,
                self.option_object(*option, *object),
                *value,
                *reserved,
            ),
            Step::VfioIoas { op, ioas, reserved } => {
                self.choose_vfio_ioas(*op, self.pick_ioas(*ioas), *reserved)
            }
            Step::VfioMap {
                memory,
                len,
                at,
                flags,
                argsz,
            } => {
                let iova = self.place(self.compat().unwrap_or(0), *at);
                self.map_dma(self.address(*memory, None), *len, iova, *flags, *argsz)
            }
            Step::VfioUnmap { span, flags, argsz } => {
                return Some(self.unmap_dma(self.span(self.compat(), *span), *flags, *argsz));
            }
            Step::VfioExtension { extension } => self.check_extension(*extension),
            Step::VfioSetIommu { kind } => self.set_iommu(*kind),
            Step::MockDomain { on, flags } => self.mock_domain(self.target(*on), *flags),
            Step::Replace { stdev, on } => self.replace(self.pick_stdev(*stdev), self.target(*on)),
            Step::PasidAttach { stdev, pasid, on } => {
                self.pasid_attach(self.pick_stdev(*stdev), *pasid, self.target(*on))
            }
            Step::PasidReplace { stdev, pasid, on } => {
                self.pasid_replace(self.pick_stdev(*stdev), *pasid, self.target(*on))
            }
            Step::PasidDetach { stdev, pasid } => {
                self.pasid_detach(self.pick_stdev(*stdev), *pasid)
            }
            Step::PasidCheck { stdev, pasid, hwpt } => {
                self.pasid_check(self.pick_stdev(*stdev), *pasid, self.target(*hwpt))
            }
            Step::HwptAlloc {
                device,
                on,
                flags,
                fault,
                data,
                reserved,
            } => {
                let of = (self.pick_device(*device), self.base(*on));
                self.hwpt_alloc(of, (*flags, self.pick_fault(*fault)), *data, *reserved)
            }
            Step::HwInfo {
                device,
                flags,
                kind,
                room,
            } => self.hw_info(self.pick_device(*device), *flags, *kind, *room),
            Step::SetDirtyTracking { hwpt, flags } => {
                self.set_dirty_tracking(self.pick_paging(*hwpt), *flags)
            }
            Step::GetDirtyBitmap {
                hwpt,
                span,
                page,
                flags,
                reserved,
            } => {
                let hwpt = self.pick_paging(*hwpt);
                let span = self.span(self.ioas_of(hwpt), *span);
                self.get_dirty_bitmap(hwpt, span, *page, *flags, *reserved)
            }
            Step::Dirty {
                hwpt,
                span,
                page,
                bits,
            } => {
                let hwpt = self.pick_paging(*hwpt);
                self.dirty(hwpt, self.span(self.ioas_of(hwpt), *span), *page, *bits)
            }
            Step::Invalidate {
                target,
                kind,
                len,
                count,
                words,
                at,
                reserved,
            } => {
                let requests = Requests {
                    kind: *kind,
                    len: *len,
                    count: *count,
                    words: &words.0,
                    at: *at,
                };
                return Some(self.invalidate(self.cached(*target), requests, *reserved));
            }
            Step::FaultAlloc { flags } => self.fault_alloc(*flags),
            Step::TriggerIopf {
                device,
                pasid,
                group,
                perm,
                address,
            } => {
                let device = self.pick_device(*device);
                self.trigger_iopf(Request::new(device, *pasid, *group, *perm, *address))
            }
            Step::ReadFaults { fault, count } => {
                let fault = self.open_fault(*fault)?;
                return Some(self.read_faults(fault, *count));
            }
            Step::Respond {
                fault,
                answers,
                tail,
            } => {
                let fault = self.open_fault(*fault)?;
                return Some(self.respond(fault, &answers.0, *tail));
            }
            Step::CloseFault { fault } => {
                let fault = self.open_fault(*fault)?;
                self.fault_mut(fault).is_open = false;
                Ok(vec![])
            }
            Step::ViommuAlloc {
                device,
                parent,
                kind,
                flags,
                data,
            } => {
                let (device, parent) = (self.pick_device(*device), self.pick_parent(*parent));
                self.viommu_alloc(device, parent, *kind, *flags, *data)
            }
            Step::VdeviceAlloc {
                viommu,
                device,
                virt_id,
            } => self.vdevice_alloc(
                self.pick_viommu(*viommu),
                self.pick_device(*device),
                *virt_id,
            ),
            Step::VeventqAlloc {
                viommu,
                kind,
                depth,
                flags,
                reserved,
            } => self.veventq_alloc(self.pick_viommu(*viommu), *kind, *depth, *flags, *reserved),
            Step::TriggerVevent { device } => self.trigger_vevent(self.pick_device(*device)),
            Step::ReadEvents { veventq, count } => {
                let veventq = self.open_veventq(*veventq)?;
                return Some(self.read_events(veventq, *count));
            }
            Step::CloseVeventq { veventq } => {
                let veventq = self.open_veventq(*veventq)?;
                self.veventq_mut(veventq).is_open = false;
                Ok(vec![])
            }
            Step::HwQueueAlloc {
                viommu,
                kind,
                index,
                span,
                flags,
            } => {
                let viommu = self.pick_viommu(*viommu);
                let span = self.span(self.ioas_of_viommu(viommu), *span);
                self.hw_queue_alloc(viommu, *kind, *index, span, *flags)
            }
            Step::CreateAccess { ioas, flags } => self.create_access(self.pick_ioas(*ioas), *flags),
            Step::CloseAccess { access } => {
                let access = self.open_access(*access)?;
                self.close_access(access);
                Ok(vec![])
            }
            Step::AccessReplace { access, ioas } => match self.open_access(*access) {
                Some(access) => self.access_replace(access, self.pick_ioas(*ioas)),
                None => Err(swiommu_abi::Errno::EBADFD),
            },
            Step::AccessPages {
                access,
                span,
                memory,
                flags,
            } => {
                let access = self.open_access(*access);
                let ioas = self.ioas_of_file(access);
                let span = self.span(ioas, *span);
                let memory = self.address(*memory, self.behind(ioas, span.0));
                self.access_pages(access, span, memory, *flags)
            }
            Step::UnpinPages { access, item } => match self.open_access(*access) {
                Some(access) => self.unpin_pages(access, *item),
                None => Err(swiommu_abi::Errno::EBADFD),
            },
            Step::AccessRw {
                access,
                span,
                fill,
                flags,
            } => {
                let access = self.open_access(*access);
                let span = self.span(self.ioas_of_file(access), *span);
                return Some(self.access_rw(access, span, *fill, *flags));
            }
            Step::CheckMap { hwpt, span, memory } => {
                let hwpt = self.pick_paging(*hwpt);
                let ioas = self.ioas_of(hwpt);
                let span = self.span(ioas, *span);
                self.check_map(hwpt, span, self.address(*memory, self.behind(ioas, span.0)))
            }
            Step::CheckRefs { page, count, refs } => self.check_refs(*page, *count, *refs),
            Step::CheckIotlb {
                nested,
                entry,
                value,
            } => self.check_iotlb(self.pick_nested(*nested), *entry, *value),
            Step::CheckCache {
                device,
                entry,
                value,
            } => self.check_cache(self.pick_device(*device), *entry, *value),
        };
        Some(answer.into())
    }
}

/// The numbers that the arguments of a step mean. They are those of the moment before the step.
impl Reference {
    pub(crate) fn any(&self, pick: Pick) -> u32 {
        self.pick(pick, |_| true)
    }

    pub(crate) fn pick_ioas(&self, pick: Pick) -> u32 {
        self.pick(pick, |object| matches!(object, Object::Ioas(_)))
    }

    pub(crate) fn pick_stdev(&self, pick: Pick) -> u32 {
        self.pick(pick, |object| matches!(object, Object::Stdev(_)))
    }

    pub(crate) fn pick_device(&self, pick: Pick) -> u32 {
        self.pick(pick, |object| matches!(object, Object::Device(_)))
    }

    pub(crate) fn pick_paging(&self, pick: Pick) -> u32 {
        self.pick(pick, |object| matches!(object, Object::Paging(_)))
    }

    pub(crate) fn pick_nested(&self, pick: Pick) -> u32 {
        self.pick(pick, |object| matches!(object, Object::Nested(_)))
    }

    pub(crate) fn pick_fault(&self, pick: Pick) -> u32 {
        self.pick(pick, |object| matches!(object, Object::Fault(_)))
    }

    pub(crate) fn pick_viommu(&self, pick: Pick) -> u32 {
        self.pick(pick, |object| matches!(object, Object::Viommu(_)))
    }

    pub(crate) fn pick_parent(&self, pick: Pick) -> u32 {
        self.pick(
            pick,
            |object| matches!(object, Object::Paging(h) if h.is_nesting_parent()),
        )
    }

    /// What a device can be attached to.
    pub(crate) fn target(&self, pick: Pick) -> u32 {
        self.pick(pick, |object| {
            matches!(
                object,
                Object::Ioas(_) | Object::Paging(_) | Object::Nested(_)
            )
        })
    }

    /// What a page table can be made on.
    pub(crate) fn base(&self, pick: Pick) -> u32 {
        self.pick(pick, |object| match object {
            Object::Ioas(_) | Object::Viommu(_) => true,
            Object::Paging(hwpt) => hwpt.is_nesting_parent(),
            _ => false,
        })
    }

    /// What has something to invalidate.
    pub(crate) fn cached(&self, pick: Pick) -> u32 {
        self.pick(pick, |object| {
            matches!(object, Object::Nested(_) | Object::Viommu(_))
        })
    }

    /// What an option is about: the first one is about no object.
    pub(crate) fn option_object(&self, option: u32, pick: Pick) -> u32 {
        match pick {
            Pick::Nth(_) if option == 0 => 0,
            pick => self.pick_ioas(pick),
        }
    }

    pub(crate) fn open_fault(&self, pick: Pick) -> Option<u32> {
        let id = self.pick(
            pick,
            |object| matches!(object, Object::Fault(f) if f.is_open),
        );
        self.fault(id)
            .is_ok_and(|fault| fault.is_open)
            .then_some(id)
    }

    pub(crate) fn open_veventq(&self, pick: Pick) -> Option<u32> {
        let id = self.pick(
            pick,
            |object| matches!(object, Object::Veventq(q) if q.is_open),
        );
        self.veventq(id)
            .is_ok_and(|queue| queue.is_open)
            .then_some(id)
    }

    /// An access that is open, by the order of their making.
    pub(crate) fn open_access(&self, pick: Pick) -> Option<usize> {
        let Pick::Nth(n) = pick else { return None };
        let open = (0..self.accesses.len()).filter(|handle| self.accesses[*handle].is_open);
        let open: Vec<usize> = open.collect();
        Some(open[n.checked_rem(open.len())?])
    }

    pub(crate) fn ioas_of(&self, hwpt: u32) -> Option<u32> {
        self.paging(hwpt).map(|hwpt| hwpt.ioas).ok()
    }

    pub(crate) fn ioas_of_viommu(&self, viommu: u32) -> Option<u32> {
        self.ioas_of(self.viommu(viommu).ok()?.parent)
    }

    pub(crate) fn ioas_of_file(&self, handle: Option<usize>) -> Option<u32> {
        Some(self.accesses[handle?].ioas)
    }

    /// The IOVA that a place means.
    pub(crate) fn place(&self, ioas: u32, place: Place) -> u64 {
        match place {
            Place::Slot(slot) => APERTURE + slot * SLOT,
            Place::Iova(iova) => iova,
            Place::After(n) => {
                let areas = self.ioas(ioas).map_or(&[][..], |ioas| &ioas.areas);
                let area = n.checked_rem(areas.len()).map(|n| areas[n].iovas.last);
                area.map_or(APERTURE, |last| last.wrapping_add(1))
            }
        }
    }

    /// The start and the length that a span means.
    pub(crate) fn span(&self, ioas: Option<u32>, span: Span) -> (u64, u64) {
        let ioas = ioas.and_then(|id| self.ioas(id).ok());
        let areas = ioas.map_or(&[][..], |ioas| &ioas.areas);
        let area = |n: usize| n.checked_rem(areas.len()).map(|n| areas[n].iovas);
        let found = match span {
            Span::Area(n) => area(n).map(|area| (area.first, area.len())),
            Span::Areas(n, behind) => area(n).map(|first| {
                let at = (n % areas.len() + behind).min(areas.len() - 1);
                (
                    first.first,
                    (areas[at].iovas.last - first.first).wrapping_add(1),
                )
            }),
            Span::Part(n, skip, len) => area(n).map(|area| (area.first.wrapping_add(skip), len)),
            Span::Slots(first, count) => Some((APERTURE + first * SLOT, count * SLOT)),
            Span::Bytes(start, len) => Some((start, len)),
        };
        found.unwrap_or((APERTURE, 2 * SLOT))
    }

    /// The address that is meant.
    pub(crate) fn address(&self, memory: Memory, behind: Option<u64>) -> u64 {
        match memory {
            Memory::Page(page) => self.ground.buffer + page * PAGE,
            Memory::Byte(byte) => self.ground.buffer + byte,
            Memory::Behind => behind.unwrap_or(self.ground.buffer),
            Memory::Scratch => self.ground.scratch,
            Memory::Null => 0,
            Memory::Address(address) => address,
        }
    }

    /// The bytes of the buffer that were written.
    pub(crate) fn written(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.written.iter().map(|(address, len)| {
            let at = usize::try_from(address - self.ground.buffer).unwrap_or(0);
            let len = usize::try_from(*len).unwrap_or(0);
            (*address, &self.content[at..at + len])
        })
    }

    /// Takes over bytes of the buffer, after a copy that failed half-way: how much of it was done is nobody's promise.
    pub(crate) fn take_over(&mut self, address: u64, bytes: &[u8]) {
        let at = usize::try_from(address - self.ground.buffer).unwrap_or(0);
        self.content[at..at + bytes.len()].copy_from_slice(bytes);
        self.written.push((address, bytes.len() as u64));
    }
}

//! What to ask at the end of a program so that the whole state shows.

use super::Reference;
use super::objects::Object;
use crate::ground::{Ground, PAGE};
use crate::step::{Memory, Pick, Span, Step};

impl Reference {
    /// Questions about all objects. They change nothing.
    pub(crate) fn questions(&self) -> Vec<Step> {
        let mut questions = Vec::new();
        for (id, object) in self.objects() {
            let pick = Pick::Id(id);
            match object {
                Object::Ioas(_) => {
                    questions.push(Step::IovaRanges {
                        ioas: pick,
                        room: 64,
                        reserved: 0,
                    });
                    questions.push(Step::IommuOption {
                        option: 1,
                        op: 1,
                        object: pick,
                        value: 0,
                        reserved: 0,
                    });
                }
                Object::Paging(hwpt) => {
                    let areas = self.ioas(hwpt.ioas).map_or(&[][..], |ioas| &ioas.areas);
                    for (n, area) in areas.iter().enumerate() {
                        let memory = Memory::Behind;
                        questions.push(Step::CheckMap {
                            hwpt: pick,
                            span: Span::Area(n),
                            memory,
                        });
                        let behind = area.iovas.last.wrapping_add(1);
                        questions.push(Step::CheckMap {
                            hwpt: pick,
                            span: Span::Bytes(behind, hwpt.smallest()),
                            memory: Memory::Page(0),
                        });
                        if hwpt.tracks_dirty() {
                            questions.push(Step::GetDirtyBitmap {
                                hwpt: pick,
                                span: Span::Area(n),
                                page: hwpt.smallest(),
                                flags: 1,
                                reserved: 0,
                            });
                        }
                    }
                }
                Object::Nested(hwpt) => {
                    questions.extend((0..).zip(hwpt.iotlb).map(|(entry, value)| {
                        Step::CheckIotlb {
                            nested: pick,
                            entry,
                            value,
                        }
                    }));
                }
                Object::Device(device) => {
                    questions.extend((0..).zip(device.cache).map(|(entry, value)| {
                        Step::CheckCache {
                            device: pick,
                            entry,
                            value,
                        }
                    }));
                }
                Object::Stdev(device) => {
                    let attached = self.device(*device).map(|device| device.attached.clone());
                    for (pasid, hwpt) in attached.unwrap_or_default() {
                        let hwpt = Pick::Id(hwpt);
                        questions.push(Step::PasidCheck {
                            stdev: pick,
                            pasid,
                            hwpt,
                        });
                    }
                    let hwpt = Pick::Id(0);
                    questions.push(Step::PasidCheck {
                        stdev: pick,
                        pasid: 7,
                        hwpt,
                    });
                }
                _ => {}
            }
        }
        questions.extend(self.pin_questions());
        questions
    }

    /// Pages that are pinned equally often are asked about together.
    fn pin_questions(&self) -> Vec<Step> {
        let address = |page: u64| self.ground.buffer + page * PAGE;
        let refs: Vec<u32> = (0..Ground::PAGES)
            .map(|page| self.pin_count(address(page)))
            .collect();
        let mut page = 0;
        let alike = refs.chunk_by(|this, next| this == next).map(|pages| {
            let (first, count) = (page, pages.len() as u64);
            page += count;
            Step::CheckRefs {
                page: first,
                count,
                refs: pages[0],
            }
        });
        alike.collect()
    }

    /// Steps that take everything down that can be taken down, users first. Every number is tried, so that it shows who is used.
    pub(crate) fn goodbye(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let ids = || (1..=self.highest + 1).map(Pick::Id);
        for ioas in self
            .objects()
            .filter(|(_, object)| matches!(object, Object::Ioas(_)))
        {
            let span = Span::Bytes(0, u64::MAX);
            steps.push(Step::Unmap {
                ioas: Pick::Id(ioas.0),
                span,
            });
        }
        steps.extend(ids().map(|id| Step::Destroy { id }));
        for (id, object) in self.objects() {
            match object {
                Object::Fault(fault) if fault.is_open => {
                    steps.push(Step::CloseFault {
                        fault: Pick::Id(id),
                    });
                }
                Object::Veventq(queue) if queue.is_open => {
                    steps.push(Step::CloseVeventq {
                        veventq: Pick::Id(id),
                    });
                }
                _ => {}
            }
        }
        let open = self.accesses.iter().filter(|access| access.is_open);
        steps.extend(open.map(|_| Step::CloseAccess {
            access: Pick::Nth(0),
        }));
        steps.extend(ids().rev().map(|id| Step::Destroy { id }));
        steps.extend(ids().map(|id| Step::Destroy { id }));
        steps
    }
}

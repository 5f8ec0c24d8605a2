//! Calls of guests: invalidations, fault queues, virtual IOMMUs and what belongs to them.

use swiommu_abi::fault::{IOMMU_FAULT_QUEUE_ALLOC, IommuFaultAlloc};
use swiommu_abi::hw_queue::{IOMMU_HW_QUEUE_ALLOC, IommuHwQueueAlloc};
use swiommu_abi::invalidate::{IOMMU_HWPT_INVALIDATE, IommuHwptInvalidate};
use swiommu_abi::test_cmd::{IommuTestOp, TriggerIopf, TriggerVevent};
use swiommu_abi::veventq::{IOMMU_VEVENTQ_ALLOC, IommuVeventqAlloc};
use swiommu_abi::viommu::{
    IOMMU_VDEVICE_ALLOC, IOMMU_VIOMMU_ALLOC, IommuVdeviceAlloc, IommuViommuAlloc,
};
use swiommu_files::FdNumber;

use super::{Real, Result, size};
use crate::reference::Reference;
use crate::reply::{Reply, words};
use crate::step::Step;

impl Real<'_> {
    pub(super) fn run_guest(&mut self, step: &Step, names: &Reference) -> Option<Reply> {
        let answer = match step {
            Step::Invalidate { .. } => return Some(self.invalidate(step, names)),
            Step::ReadFaults { fault, count } => {
                let fd = self.queues[&names.open_fault(*fault)?];
                self.file_read(fd, *count).map(|bytes| words(&bytes))
            }
            Step::Respond {
                fault,
                answers,
                tail,
            } => {
                let fd = self.queues[&names.open_fault(*fault)?];
                let bytes = answers.0.iter().flat_map(|(cookie, code)| {
                    cookie.to_le_bytes().into_iter().chain(code.to_le_bytes())
                });
                let mut bytes: Vec<u8> = bytes.collect();
                bytes.resize(bytes.len() + tail, 0);
                self.file_write(fd, &bytes).map(|taken| vec![taken as u64])
            }
            Step::CloseFault { fault } => {
                self.close_queue(names.open_fault(*fault)?);
                Ok(vec![])
            }
            Step::ReadEvents { veventq, count } => {
                let fd = self.queues[&names.open_veventq(*veventq)?];
                self.file_read(fd, *count).map(|bytes| words(&bytes))
            }
            Step::CloseVeventq { veventq } => {
                self.close_queue(names.open_veventq(*veventq)?);
                Ok(vec![])
            }
            _ => self.run_made(step, names),
        };
        Some(answer.into())
    }

    fn close_queue(&mut self, id: u32) {
        let fd = self.queues.remove(&id).unwrap();
        self.world.process.close(fd).unwrap();
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each call")]
    fn run_made(&mut self, step: &Step, names: &Reference) -> Result<Vec<u64>> {
        match *step {
            Step::FaultAlloc { flags } => {
                let size = size::<IommuFaultAlloc>();
                let cmd = IommuFaultAlloc {
                    size,
                    flags,
                    ..Default::default()
                };
                let cmd = self.call(IOMMU_FAULT_QUEUE_ALLOC, cmd)?;
                let fd = FdNumber(cmd.out_fault_fd.cast_signed());
                self.queues.insert(cmd.out_fault_id, fd);
                Ok(vec![cmd.out_fault_id.into()])
            }
            Step::TriggerIopf {
                device,
                pasid,
                group,
                perm,
                address,
            } => {
                let body = TriggerIopf {
                    dev_id: names.pick_device(device),
                    pasid,
                    grpid: group,
                    perm,
                    addr: address,
                };
                self.test(IommuTestOp::TRIGGER_IOPF, 0, body)?;
                Ok(vec![])
            }
            Step::ViommuAlloc {
                device,
                parent,
                kind,
                flags,
                data,
            } => {
                self.place(&data.words[0].to_le_bytes(), 64);
                let cmd = IommuViommuAlloc {
                    size: size::<IommuViommuAlloc>(),
                    flags,
                    r#type: kind,
                    dev_id: names.pick_device(device),
                    hwpt_id: names.pick_parent(parent),
                    data_len: data.len,
                    data_uptr: names.address(data.at, None),
                    ..Default::default()
                };
                let id = self.call(IOMMU_VIOMMU_ALLOC, cmd)?.out_viommu_id;
                let mut values = vec![id.into()];
                if data.len != 0 {
                    let after = words(&self.scratch(24));
                    let low = |word: u64| word & u64::from(u32::MAX);
                    values.extend([low(after[0]), after[0] >> 32, after[1], after[2]]);
                }
                Ok(values)
            }
            Step::VdeviceAlloc {
                viommu,
                device,
                virt_id,
            } => {
                let cmd = IommuVdeviceAlloc {
                    size: size::<IommuVdeviceAlloc>(),
                    viommu_id: names.pick_viommu(viommu),
                    dev_id: names.pick_device(device),
                    virt_id,
                    ..Default::default()
                };
                Ok(vec![
                    self.call(IOMMU_VDEVICE_ALLOC, cmd)?.out_vdevice_id.into(),
                ])
            }
            Step::VeventqAlloc {
                viommu,
                kind,
                depth,
                flags,
                reserved,
            } => {
                let cmd = IommuVeventqAlloc {
                    size: size::<IommuVeventqAlloc>(),
                    flags,
                    viommu_id: names.pick_viommu(viommu),
                    r#type: kind,
                    veventq_depth: depth,
                    __reserved: reserved,
                    ..Default::default()
                };
                let cmd = self.call(IOMMU_VEVENTQ_ALLOC, cmd)?;
                let fd = FdNumber(cmd.out_veventq_fd.cast_signed());
                self.queues.insert(cmd.out_veventq_id, fd);
                Ok(vec![cmd.out_veventq_id.into()])
            }
            Step::TriggerVevent { device } => {
                let body = TriggerVevent {
                    dev_id: names.pick_device(device),
                };
                self.test(IommuTestOp::TRIGGER_VEVENT, 0, body)?;
                Ok(vec![])
            }
            Step::HwQueueAlloc {
                viommu,
                kind,
                index,
                span,
                flags,
            } => {
                let viommu_id = names.pick_viommu(viommu);
                let (base, length) = names.span(names.ioas_of_viommu(viommu_id), span);
                let cmd = IommuHwQueueAlloc {
                    size: size::<IommuHwQueueAlloc>(),
                    flags,
                    viommu_id,
                    r#type: kind,
                    index,
                    nesting_parent_iova: base,
                    length,
                    ..Default::default()
                };
                Ok(vec![
                    self.call(IOMMU_HW_QUEUE_ALLOC, cmd)?.out_hw_queue_id.into(),
                ])
            }
            _ => Ok(vec![]),
        }
    }

    /// Answers how many requests were carried out also when one failed.
    fn invalidate(&self, step: &Step, names: &Reference) -> Reply {
        let Step::Invalidate {
            target,
            kind,
            len,
            count,
            words,
            at,
            reserved,
        } = step
        else {
            return Ok(vec![]).into();
        };
        let bytes = words.0.iter().flat_map(|word| word.to_le_bytes());
        self.place(&bytes.collect::<Vec<u8>>(), usize::MAX);
        let mut cmd = IommuHwptInvalidate {
            size: size::<IommuHwptInvalidate>(),
            hwpt_id: names.cached(*target),
            data_uptr: names.address(*at, None),
            data_type: *kind,
            entry_len: *len,
            entry_num: *count,
            __reserved: *reserved,
        };
        let error = self.client.ioctl(IOMMU_HWPT_INVALIDATE, &mut cmd).err();
        Reply {
            error: error.map(|refusal| refusal.errno()),
            values: vec![cmd.entry_num.into()],
        }
    }
}

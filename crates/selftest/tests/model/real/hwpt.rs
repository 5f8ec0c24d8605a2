//! Calls on devices and page tables.

use swiommu_abi::dirty::{
    IOMMU_HWPT_GET_DIRTY_BITMAP, IOMMU_HWPT_SET_DIRTY_TRACKING, IommuHwptGetDirtyBitmap,
    IommuHwptSetDirtyTracking,
};
use swiommu_abi::hw_info::{IOMMU_GET_HW_INFO, IommuHwInfo};
use swiommu_abi::hwpt::{IOMMU_HWPT_ALLOC, IommuHwptAlloc};
use swiommu_abi::test_cmd::{
    CheckDevCache, CheckIotlb, CheckMap, CheckRefs, Dirty, IommuTestOp, MockDomainFlags,
    MockDomainReplace, PasidAttach, PasidCheck, PasidDetach, PasidReplace,
};

use super::{Real, Result, size};
use crate::ground::{Ground, PAGE};
use crate::reference::Reference;
use crate::reply::{Reply, bits, words};
use crate::step::Step;

impl Real<'_> {
    pub(super) fn run_hwpt(&self, step: &Step, names: &Reference) -> Reply {
        match step {
            Step::MockDomain { .. }
            | Step::Replace { .. }
            | Step::PasidAttach { .. }
            | Step::PasidReplace { .. }
            | Step::PasidDetach { .. }
            | Step::PasidCheck { .. } => self.run_attach(step, names).into(),
            Step::CheckMap { .. }
            | Step::CheckRefs { .. }
            | Step::CheckIotlb { .. }
            | Step::CheckCache { .. } => self.run_check(step, names).into(),
            _ => self.run_page_table(step, names).into(),
        }
    }

    fn run_attach(&self, step: &Step, names: &Reference) -> Result<Vec<u64>> {
        match *step {
            Step::MockDomain { on, flags } => {
                let body = MockDomainFlags {
                    dev_flags: flags,
                    ..Default::default()
                };
                let body = self.test(IommuTestOp::MOCK_DOMAIN_FLAGS, names.target(on), body)?;
                let ids = [body.out_stdev_id, body.out_hwpt_id, body.out_idev_id];
                Ok(ids.map(u64::from).to_vec())
            }
            Step::Replace { stdev, on } => {
                let body = MockDomainReplace {
                    pt_id: names.target(on),
                };
                let stdev = names.pick_stdev(stdev);
                let body = self.test(IommuTestOp::MOCK_DOMAIN_REPLACE, stdev, body)?;
                Ok(vec![body.pt_id.into()])
            }
            Step::PasidAttach { stdev, pasid, on } => {
                let body = PasidAttach {
                    pasid,
                    pt_id: names.target(on),
                };
                let stdev = names.pick_stdev(stdev);
                Ok(vec![
                    self.test(IommuTestOp::PASID_ATTACH, stdev, body)?
                        .pt_id
                        .into(),
                ])
            }
            Step::PasidReplace { stdev, pasid, on } => {
                let body = PasidReplace {
                    pasid,
                    pt_id: names.target(on),
                };
                let stdev = names.pick_stdev(stdev);
                Ok(vec![
                    self.test(IommuTestOp::PASID_REPLACE, stdev, body)?
                        .pt_id
                        .into(),
                ])
            }
            Step::PasidDetach { stdev, pasid } => {
                let stdev = names.pick_stdev(stdev);
                self.test(IommuTestOp::PASID_DETACH, stdev, PasidDetach { pasid })?;
                Ok(vec![])
            }
            Step::PasidCheck { stdev, pasid, hwpt } => {
                let body = PasidCheck {
                    pasid,
                    hwpt_id: names.target(hwpt),
                };
                self.test(IommuTestOp::PASID_CHECK_HWPT, names.pick_stdev(stdev), body)?;
                Ok(vec![])
            }
            _ => Ok(vec![]),
        }
    }

    fn run_check(&self, step: &Step, names: &Reference) -> Result<Vec<u64>> {
        match *step {
            Step::CheckMap { hwpt, span, memory } => {
                let hwpt = names.pick_paging(hwpt);
                let ioas = names.ioas_of(hwpt);
                let (iova, length) = names.span(ioas, span);
                let uptr = names.address(memory, names.behind(ioas, iova));
                let body = CheckMap { iova, length, uptr };
                self.test(IommuTestOp::MD_CHECK_MAP, hwpt, body)?;
            }
            Step::CheckRefs { page, count, refs } => {
                let body = CheckRefs {
                    length: count * PAGE,
                    uptr: self.world.ground.buffer + page * PAGE,
                    refs,
                    ..Default::default()
                };
                self.test(IommuTestOp::MD_CHECK_REFS, 0, body)?;
            }
            Step::CheckIotlb {
                nested,
                entry,
                value,
            } => {
                let body = CheckIotlb {
                    id: entry,
                    iotlb: value,
                };
                self.test(IommuTestOp::MD_CHECK_IOTLB, names.pick_nested(nested), body)?;
            }
            Step::CheckCache {
                device,
                entry,
                value,
            } => {
                let body = CheckDevCache {
                    id: entry,
                    cache: value,
                };
                self.test(
                    IommuTestOp::DEV_CHECK_CACHE,
                    names.pick_device(device),
                    body,
                )?;
            }
            _ => {}
        }
        Ok(vec![])
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each call")]
    fn run_page_table(&self, step: &Step, names: &Reference) -> Result<Vec<u64>> {
        match *step {
            Step::HwptAlloc {
                device,
                on,
                flags,
                fault,
                data,
                reserved,
            } => {
                let words = data.words.iter().flat_map(|word| word.to_le_bytes());
                self.place(&words.collect::<Vec<u8>>(), 64);
                let cmd = IommuHwptAlloc {
                    size: size::<IommuHwptAlloc>(),
                    flags,
                    dev_id: names.pick_device(device),
                    pt_id: names.base(on),
                    __reserved: reserved,
                    data_type: data.kind,
                    data_len: data.len,
                    data_uptr: names.address(data.at, None),
                    fault_id: names.pick_fault(fault),
                    ..Default::default()
                };
                Ok(vec![self.call(IOMMU_HWPT_ALLOC, cmd)?.out_hwpt_id.into()])
            }
            Step::HwInfo {
                device,
                flags,
                kind,
                room,
            } => {
                self.place(&vec![0xff; room as usize], 0);
                let cmd = IommuHwInfo {
                    size: size::<IommuHwInfo>(),
                    flags,
                    dev_id: names.pick_device(device),
                    data_len: room,
                    data_uptr: self.world.ground.scratch,
                    out_data_type: kind,
                    ..Default::default()
                };
                let cmd = self.call(IOMMU_GET_HW_INFO, cmd)?;
                let mut values = vec![cmd.data_len.into(), cmd.out_data_type.into()];
                values.extend([cmd.out_capabilities, cmd.out_max_pasid_log2.into()]);
                values.extend(words(&self.scratch(room as usize)));
                Ok(values)
            }
            Step::SetDirtyTracking { hwpt, flags } => {
                let cmd = IommuHwptSetDirtyTracking {
                    size: size::<IommuHwptSetDirtyTracking>(),
                    flags,
                    hwpt_id: names.pick_paging(hwpt),
                    ..Default::default()
                };
                self.call(IOMMU_HWPT_SET_DIRTY_TRACKING, cmd)?;
                Ok(vec![])
            }
            Step::GetDirtyBitmap {
                hwpt,
                span,
                page,
                flags,
                reserved,
            } => {
                let all = usize::try_from(Ground::SCRATCH).unwrap();
                self.place(&[], all);
                let hwpt_id = names.pick_paging(hwpt);
                let (iova, length) = names.span(names.ioas_of(hwpt_id), span);
                let cmd = IommuHwptGetDirtyBitmap {
                    size: size::<IommuHwptGetDirtyBitmap>(),
                    hwpt_id,
                    flags,
                    __reserved: reserved,
                    iova,
                    length,
                    page_size: page,
                    data: self.world.ground.scratch,
                };
                self.call(IOMMU_HWPT_GET_DIRTY_BITMAP, cmd)?;
                Ok(bits(&self.scratch(all)))
            }
            Step::Dirty {
                hwpt,
                span,
                page,
                bits,
            } => {
                self.place(
                    &bits.to_le_bytes(),
                    usize::try_from(Ground::SCRATCH).unwrap(),
                );
                let hwpt = names.pick_paging(hwpt);
                let (iova, length) = names.span(names.ioas_of(hwpt), span);
                let body = Dirty {
                    iova,
                    length,
                    page_size: page,
                    uptr: self.world.ground.scratch,
                    ..Default::default()
                };
                Ok(vec![
                    self.test(IommuTestOp::DIRTY, hwpt, body)?.out_nr_dirty,
                ])
            }
            _ => Ok(vec![]),
        }
    }
}

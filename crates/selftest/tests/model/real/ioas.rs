//! Calls on an IOAS and on the context.

use swiommu_abi::ioas::{
    IOMMU_IOAS_ALLOC, IOMMU_IOAS_ALLOW_IOVAS, IOMMU_IOAS_CHANGE_PROCESS, IOMMU_IOAS_COPY,
    IOMMU_IOAS_IOVA_RANGES, IOMMU_IOAS_MAP, IOMMU_IOAS_UNMAP, IommuIoasAlloc, IommuIoasAllowIovas,
    IommuIoasChangeProcess, IommuIoasCopy, IommuIoasIovaRanges, IommuIoasMap, IommuIoasUnmap,
};
use swiommu_abi::object::{IOMMU_DESTROY, IommuDestroy};
use swiommu_abi::option::{IOMMU_OPTION, IOMMU_VFIO_IOAS, IommuOption, IommuVfioIoas};
use swiommu_abi::test_cmd::{AddReserved, IommuTestOp};

use super::{Real, Result, size};
use crate::reference::Reference;
use crate::reply::{Reply, words};
use crate::step::Step;

impl Real<'_> {
    pub(super) fn run_ioas(&self, step: &Step, names: &Reference) -> Reply {
        match step {
            Step::IovaRanges {
                ioas,
                room,
                reserved,
            } => self.iova_ranges(names.pick_ioas(*ioas), *room, *reserved),
            _ => self.run_plain(step, names).into(),
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each call")]
    fn run_plain(&self, step: &Step, names: &Reference) -> Result<Vec<u64>> {
        match step {
            Step::Destroy { id } => {
                let cmd = IommuDestroy {
                    size: size::<IommuDestroy>(),
                    id: names.any(*id),
                };
                self.call(IOMMU_DESTROY, cmd)?;
            }
            Step::IoasAlloc { flags } => {
                let cmd = IommuIoasAlloc {
                    size: size::<IommuIoasAlloc>(),
                    flags: *flags,
                    ..Default::default()
                };
                return Ok(vec![self.call(IOMMU_IOAS_ALLOC, cmd)?.out_ioas_id.into()]);
            }
            Step::AllowIovas {
                ioas,
                ranges,
                reserved,
            } => {
                let bytes = ranges.0.iter().flat_map(|(start, last)| {
                    start.to_le_bytes().into_iter().chain(last.to_le_bytes())
                });
                self.place(&bytes.collect::<Vec<u8>>(), 0);
                let cmd = IommuIoasAllowIovas {
                    size: size::<IommuIoasAllowIovas>(),
                    ioas_id: names.pick_ioas(*ioas),
                    num_iovas: u32::try_from(ranges.0.len()).unwrap(),
                    __reserved: *reserved,
                    allowed_iovas: self.world.ground.scratch,
                };
                self.call(IOMMU_IOAS_ALLOW_IOVAS, cmd)?;
            }
            Step::AddReserved { ioas, span } => {
                let ioas = names.pick_ioas(*ioas);
                let (start, length) = names.span(Some(ioas), *span);
                self.test(
                    IommuTestOp::ADD_RESERVED,
                    ioas,
                    AddReserved { start, length },
                )?;
            }
            Step::Map {
                ioas,
                memory,
                len,
                at,
                flags,
                reserved,
            } => {
                let ioas_id = names.pick_ioas(*ioas);
                let cmd = IommuIoasMap {
                    size: size::<IommuIoasMap>(),
                    flags: *flags,
                    ioas_id,
                    __reserved: *reserved,
                    user_va: names.address(*memory, None),
                    length: *len,
                    iova: names.place(ioas_id, *at),
                };
                return Ok(vec![self.call(IOMMU_IOAS_MAP, cmd)?.iova]);
            }
            Step::Unmap { ioas, span } => {
                let ioas_id = names.pick_ioas(*ioas);
                let (iova, length) = names.span(Some(ioas_id), *span);
                let size = size::<IommuIoasUnmap>();
                let cmd = IommuIoasUnmap {
                    size,
                    ioas_id,
                    iova,
                    length,
                };
                return Ok(vec![self.call(IOMMU_IOAS_UNMAP, cmd)?.length]);
            }
            Step::Copy {
                from,
                span,
                to,
                at,
                flags,
            } => {
                let src_ioas_id = names.pick_ioas(*from);
                let dst_ioas_id = names.pick_ioas(*to);
                let (src_iova, length) = names.span(Some(src_ioas_id), *span);
                let cmd = IommuIoasCopy {
                    size: size::<IommuIoasCopy>(),
                    flags: *flags,
                    dst_ioas_id,
                    src_ioas_id,
                    length,
                    dst_iova: names.place(dst_ioas_id, *at),
                    src_iova,
                };
                return Ok(vec![self.call(IOMMU_IOAS_COPY, cmd)?.dst_iova]);
            }
            Step::ChangeProcess { reserved } => {
                let size = size::<IommuIoasChangeProcess>();
                let cmd = IommuIoasChangeProcess {
                    size,
                    __reserved: *reserved,
                };
                self.call(IOMMU_IOAS_CHANGE_PROCESS, cmd)?;
            }
            Step::IommuOption {
                option,
                op,
                object,
                value,
                reserved,
            } => {
                let cmd = IommuOption {
                    size: size::<IommuOption>(),
                    option_id: *option,
                    op: *op,
                    __reserved: *reserved,
                    object_id: names.option_object(*option, *object),
                    val64: *value,
                };
                return Ok(vec![self.call(IOMMU_OPTION, cmd)?.val64]);
            }
            Step::VfioIoas { op, ioas, reserved } => {
                let cmd = IommuVfioIoas {
                    size: size::<IommuVfioIoas>(),
                    ioas_id: names.pick_ioas(*ioas),
                    op: *op,
                    __reserved: *reserved,
                };
                let cmd = self.call(IOMMU_VFIO_IOAS, cmd)?;
                return Ok(if *op == 0 {
                    vec![cmd.ioas_id.into()]
                } else {
                    vec![]
                });
            }
            _ => {}
        }
        Ok(vec![])
    }

    /// Answers with the ranges also when there is not room for all of them.
    fn iova_ranges(&self, ioas: u32, room: u32, reserved: u32) -> Reply {
        let bytes = 16 * room as usize;
        self.place(&[], bytes);
        let mut cmd = IommuIoasIovaRanges {
            size: size::<IommuIoasIovaRanges>(),
            ioas_id: ioas,
            num_iovas: room,
            __reserved: reserved,
            allowed_iovas: self.world.ground.scratch,
            out_iova_alignment: 0,
        };
        let error = self.client.ioctl(IOMMU_IOAS_IOVA_RANGES, &mut cmd).err();
        let error = error.map(|refusal| refusal.errno());
        let mut values = Vec::new();
        if error.is_none() || error == Some(swiommu_abi::Errno::EMSGSIZE) {
            values = vec![cmd.num_iovas.into(), cmd.out_iova_alignment];
            let filled = cmd.num_iovas.min(room) as usize;
            values.extend(words(&self.scratch(16 * filled)));
        }
        Reply { error, values }
    }
}

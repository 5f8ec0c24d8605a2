//! The calls for guests: nesting, virtual IOMMUs, queues, and what is dirty.

use arbitrary::{Arbitrary, Result, Unstructured};
use swiommu_abi::UapiStruct;
use swiommu_abi::dirty::{
    IOMMU_HWPT_GET_DIRTY_BITMAP, IOMMU_HWPT_SET_DIRTY_TRACKING, IommuHwptGetDirtyBitmap,
    IommuHwptSetDirtyTracking,
};
use swiommu_abi::fault::{IOMMU_FAULT_QUEUE_ALLOC, IommuFaultAlloc};
use swiommu_abi::hw_queue::{IOMMU_HW_QUEUE_ALLOC, IommuHwQueueAlloc};
use swiommu_abi::invalidate::{IOMMU_HWPT_INVALIDATE, IommuHwptInvalidate};
use swiommu_abi::mock::{
    IOMMU_HW_QUEUE_TYPE_SELFTEST, IOMMU_HWPT_INVALIDATE_DATA_SELFTEST, IOMMU_VEVENTQ_TYPE_SELFTEST,
    IOMMU_VIOMMU_TYPE_SELFTEST,
};
use swiommu_abi::veventq::{IOMMU_VEVENTQ_ALLOC, IommuVeventqAlloc};
use swiommu_abi::viommu::{
    IOMMU_VDEVICE_ALLOC, IOMMU_VIOMMU_ALLOC, IommuVdeviceAlloc, IommuViommuAlloc,
};
use zerocopy::IntoBytes;

use super::{Encoded, Situation, of};
use crate::operands::{Below, Kind, Len, Memory, Pick, Span};

/// A call.
#[derive(Debug)]
pub enum Guest {
    FaultQueue,
    Viommu {
        device: Pick,
        parent: Pick,
        len: Below<32>,
    },
    Vdevice {
        viommu: Pick,
        device: Pick,
        number: Below<3>,
    },
    Veventq {
        viommu: Pick,
        depth: Below<4>,
    },
    HwQueue {
        viommu: Pick,
        index: Below<3>,
        span: Span,
    },
    Invalidate {
        target: Pick,
        words: [u8; 6],
        len: Below<20>,
        count: Below<4>,
    },
    Track {
        hwpt: Pick,
        on: bool,
    },
    ReadDirty {
        hwpt: Pick,
        flags: Below<2>,
        span: Span,
        page: Len,
        bitmap: Memory,
    },
}

impl<'a> Arbitrary<'a> for Guest {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        macro_rules! call {
            ($name:ident { $($field:ident),* }) => { Self::$name { $($field: Arbitrary::arbitrary(u)?),* } };
        }
        Ok(match u8::arbitrary(u)? {
            0..=23 => Self::FaultQueue,
            24..=71 => call!(Viommu {
                device,
                parent,
                len
            }),
            72..=103 => call!(Vdevice {
                viommu,
                device,
                number
            }),
            104..=127 => call!(Veventq { viommu, depth }),
            128..=159 => call!(HwQueue {
                viommu,
                index,
                span
            }),
            160..=191 => call!(Invalidate {
                target,
                words,
                len,
                count
            }),
            192..=215 => call!(Track { hwpt, on }),
            216.. => call!(ReadDirty {
                hwpt,
                flags,
                span,
                page,
                bitmap
            }),
        })
    }
}

impl Guest {
    pub fn encode(&self, now: &impl Situation) -> Encoded {
        let device = |pick| now.object(Kind::Device, pick);
        let viommu = |pick| now.object(Kind::Viommu, pick);
        match *self {
            Self::FaultQueue => of(
                IOMMU_FAULT_QUEUE_ALLOC,
                IommuFaultAlloc {
                    size: IommuFaultAlloc::SIZE,
                    ..Default::default()
                },
            ),
            Self::Viommu {
                device: pick,
                parent,
                len,
            } => of(
                IOMMU_VIOMMU_ALLOC,
                IommuViommuAlloc {
                    size: IommuViommuAlloc::SIZE,
                    r#type: IOMMU_VIOMMU_TYPE_SELFTEST.0,
                    dev_id: device(pick),
                    hwpt_id: now.object(Kind::Paging, parent),
                    data_len: len.0,
                    data_uptr: now.data(),
                    ..Default::default()
                },
            ),
            Self::Vdevice {
                viommu: on,
                device: pick,
                number,
            } => of(
                IOMMU_VDEVICE_ALLOC,
                IommuVdeviceAlloc {
                    size: IommuVdeviceAlloc::SIZE,
                    viommu_id: viommu(on),
                    dev_id: device(pick),
                    virt_id: number.0.into(),
                    ..Default::default()
                },
            ),
            Self::Veventq { viommu: on, depth } => of(
                IOMMU_VEVENTQ_ALLOC,
                IommuVeventqAlloc {
                    size: IommuVeventqAlloc::SIZE,
                    viommu_id: viommu(on),
                    r#type: IOMMU_VEVENTQ_TYPE_SELFTEST.0,
                    veventq_depth: depth.0,
                    ..Default::default()
                },
            ),
            Self::HwQueue {
                viommu: on,
                index,
                span,
            } => {
                let (nesting_parent_iova, length) = now.span(None, span);
                let cmd = IommuHwQueueAlloc {
                    size: IommuHwQueueAlloc::SIZE,
                    viommu_id: viommu(on),
                    r#type: IOMMU_HW_QUEUE_TYPE_SELFTEST.0,
                    index: index.0,
                    nesting_parent_iova,
                    length,
                    ..Default::default()
                };
                of(IOMMU_HW_QUEUE_ALLOC, cmd)
            }
            Self::Invalidate {
                target,
                words,
                len,
                count,
            } => {
                let words: Vec<u32> = words.iter().map(|byte| u32::from(byte % 6)).collect();
                let cmd = IommuHwptInvalidate {
                    size: IommuHwptInvalidate::SIZE,
                    hwpt_id: now.object(Kind::Guests, target),
                    data_uptr: now.data(),
                    data_type: IOMMU_HWPT_INVALIDATE_DATA_SELFTEST.0,
                    entry_len: len.0,
                    entry_num: count.0,
                    ..Default::default()
                };
                Encoded {
                    data: words.as_bytes().to_vec(),
                    ..of(IOMMU_HWPT_INVALIDATE, cmd)
                }
            }
            Self::Track { hwpt, on } => of(
                IOMMU_HWPT_SET_DIRTY_TRACKING,
                IommuHwptSetDirtyTracking {
                    size: IommuHwptSetDirtyTracking::SIZE,
                    flags: on.into(),
                    hwpt_id: now.object(Kind::Paging, hwpt),
                    ..Default::default()
                },
            ),
            Self::ReadDirty {
                hwpt,
                flags,
                span,
                page,
                bitmap,
            } => {
                let (iova, length) = now.span(None, span);
                let cmd = IommuHwptGetDirtyBitmap {
                    size: IommuHwptGetDirtyBitmap::SIZE,
                    hwpt_id: now.object(Kind::Paging, hwpt),
                    flags: flags.0,
                    iova,
                    length,
                    page_size: page.0,
                    data: now.memory(bitmap),
                    ..Default::default()
                };
                of(IOMMU_HWPT_GET_DIRTY_BITMAP, cmd)
            }
        }
    }
}

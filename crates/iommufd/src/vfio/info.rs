//! `VFIO_IOMMU_GET_INFO`: the page sizes, and a chain of capabilities as far as the client has room.

use std::sync::Arc;

use swiommu_abi::UapiStruct;
use swiommu_abi::vfio::VfioInfoCapHeader;
use swiommu_abi::vfio::container::{
    VfioIommuInfoFlags, VfioIommuType1Info, VfioIommuType1InfoCap, VfioIommuType1InfoCapIovaRange,
    VfioIommuType1InfoDmaAvail, VfioIovaRange,
};
use swiommu_addr::{Address, Hva, PageSizes};
use swiommu_files::Caller;
use zerocopy::IntoBytes;

use crate::ioas::Ioas;
use crate::{Context, Error, copy};

/// Up to here the client must have room: before capabilities were added the struct ended here.
const MIN: u32 = 16;
/// Where the first capability stands, `DMA_AVAIL`, padded to 8 bytes.
const DMA_AVAIL: u32 = VfioIommuType1Info::SIZE;
/// Where the second stands, `IOVA_RANGE`.
const IOVA_RANGE: u32 = DMA_AVAIL + 16;
/// Where its array starts.
const RANGES: u32 = IOVA_RANGE + VfioIommuType1InfoCapIovaRange::SIZE;

/// The client's buffer: as long as `argsz` says, and no byte beyond is touched.
struct Buffer<'a> {
    caller: &'a dyn Caller,
    at: Hva,
    argsz: u32,
}

impl Buffer<'_> {
    fn fits(&self, offset: u32, len: u32) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.argsz)
    }

    fn write(&self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        let to = self.at.wrapping_add(offset.into());
        copy::to_user(self.caller, to, bytes)
    }

    /// Writes a struct if all of it fits.
    fn write_whole<T: UapiStruct>(&self, offset: u32, value: &T) -> Result<(), Error> {
        if self.fits(offset, T::SIZE) {
            self.write(offset, value.as_bytes())
        } else {
            Ok(())
        }
    }
}

pub(super) fn get_info(context: &Arc<Context>, caller: &dyn Caller, at: Hva) -> Result<i32, Error> {
    let mut head = [0; MIN as usize];
    copy::from_user(caller, at, &mut head)?;
    let [b0, b1, b2, b3, ..] = head;
    let argsz = u32::from_ne_bytes([b0, b1, b2, b3]);
    if argsz < MIN {
        return Err(Error::ShortArgsz { argsz, min: MIN });
    }
    let ioas = super::ioas(context)?;
    let ranges = ioas.usable_ranges();
    let count = u32::try_from(ranges.len()).unwrap_or(u32::MAX);
    let total = count
        .saturating_mul(VfioIovaRange::SIZE)
        .saturating_add(RANGES);
    let buffer = Buffer { caller, at, argsz };

    write_dma_avail(&buffer)?;
    write_ranges(&buffer, &ranges, count, total)?;
    let info = VfioIommuType1Info {
        argsz: total,
        flags: (VfioIommuInfoFlags::PGSIZES | VfioIommuInfoFlags::CAPS).bits(),
        iova_pgsizes: page_sizes(&ioas),
        cap_offset: if argsz >= total { DMA_AVAIL } else { 0 },
        pad: 0,
    };
    let room = usize::try_from(argsz).unwrap_or(usize::MAX);
    let bytes = info.as_bytes();
    buffer.write(0, &bytes[..bytes.len().min(room)])?;
    Ok(0)
}

fn write_dma_avail(buffer: &Buffer<'_>) -> Result<(), Error> {
    let next = if buffer.argsz >= IOVA_RANGE {
        IOVA_RANGE
    } else {
        0
    };
    let header = VfioInfoCapHeader {
        id: VfioIommuType1InfoCap::DMA_AVAIL.0,
        version: 1,
        next,
    };
    buffer.write_whole(
        DMA_AVAIL,
        &VfioIommuType1InfoDmaAvail {
            header,
            avail: u32::MAX,
        },
    )
}

fn write_ranges(
    buffer: &Buffer<'_>,
    ranges: &[swiommu_addr::IovaRange],
    count: u32,
    total: u32,
) -> Result<(), Error> {
    let mut offset = RANGES;
    for range in ranges {
        let entry = VfioIovaRange {
            start: range.start().get(),
            end: range.last().get(),
        };
        buffer.write_whole(offset, &entry)?;
        offset = offset.saturating_add(VfioIovaRange::SIZE);
    }
    if buffer.argsz < total {
        return Ok(());
    }
    let header = VfioInfoCapHeader {
        id: VfioIommuType1InfoCap::IOVA_RANGE.0,
        version: 1,
        next: 0,
    };
    let capability = VfioIommuType1InfoCapIovaRange {
        header,
        nr_iovas: count,
        reserved: 0,
    };
    buffer.write(IOVA_RANGE, capability.as_bytes())
}

/// The sizes that mappings may have. Below a page the client is told one page, and no less than the IOAS asks for.
fn page_sizes(ioas: &Ioas) -> u64 {
    let page = swiommu_mem::PAGE;
    let mut sizes: PageSizes = ioas.page_sizes();
    if sizes.bitmap() & page.mask() != 0 {
        sizes = PageSizes::from_bitmap(sizes.bitmap() & !page.mask()).with(page);
    }
    sizes.bitmap().max(ioas.alignment().bytes())
}

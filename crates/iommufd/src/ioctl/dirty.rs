//! The ioctls of dirty tracking (§2.13, §2.14).

use swiommu_abi::dirty::{
    IommuHwptGetDirtyBitmap, IommuHwptSetDirtyTracking, IommufdHwptGetDirtyBitmapFlags,
    IommufdHwptSetDirtyTrackingFlags,
};
use swiommu_addr::{Address, Hva, Iova, PageSize};
use swiommu_iommu::{DirtyRead, DirtyTracking};
use swiommu_sabotage::Fault;

use super::{Call, Outcome, reserved_is_zero};
use crate::Error;
use crate::hwpt::HwptPaging;
use crate::ioas::{DirtyBits, checked_range};
use crate::object::ObjectId;

pub(super) fn set_tracking(
    call: Call<'_>,
    cmd: &mut IommuHwptSetDirtyTracking,
) -> Result<Outcome, Error> {
    let flags =
        IommufdHwptSetDirtyTrackingFlags::from_bits(cmd.flags).ok_or(Error::UnknownFlags {
            field: "flags",
            value: cmd.flags.into(),
        })?;
    let hwpt = call
        .state()
        .objects
        .get::<HwptPaging>(ObjectId(cmd.hwpt_id))?;
    let tracking = if flags.contains(IommufdHwptSetDirtyTrackingFlags::ENABLE) {
        DirtyTracking::On
    } else {
        DirtyTracking::Off
    };
    hwpt.ioas.set_dirty_tracking(&*hwpt.domain, tracking)?;
    Ok(Outcome::DONE)
}

pub(super) fn get_bitmap(
    call: Call<'_>,
    cmd: &mut IommuHwptGetDirtyBitmap,
) -> Result<Outcome, Error> {
    let flags =
        IommufdHwptGetDirtyBitmapFlags::from_bits(cmd.flags).ok_or(Error::UnknownFlags {
            field: "flags",
            value: cmd.flags.into(),
        })?;
    reserved_is_zero("__reserved", cmd.__reserved)?;
    let hwpt = call
        .state()
        .objects
        .get::<HwptPaging>(ObjectId(cmd.hwpt_id))?;
    let range = checked_range(Iova::new(cmd.iova), cmd.length)?;
    // A page size need not be a power of two: what counts is its lowest set bit.
    let page = PageSize::from_bytes(cmd.page_size & cmd.page_size.wrapping_neg()).ok_or(
        Error::BadValue {
            field: "page_size",
            value: cmd.page_size,
        },
    )?;
    let keep = flags.contains(IommufdHwptGetDirtyBitmapFlags::NO_CLEAR);
    let mode = if keep || Fault::KeepDirty.is_on() {
        DirtyRead::Keep
    } else {
        DirtyRead::Clear
    };
    let mut bitmap = Bitmap::new(call, Hva::new(cmd.data));
    hwpt.ioas
        .read_dirty(&*hwpt.domain, range, page, mode, &mut bitmap)?;
    bitmap.flush()?;
    Ok(Outcome::DONE)
}

/// How much of the client's bitmap is held at a time.
const WINDOW: usize = 4096;

/// The client's bitmap: little-endian, at any address, and bits are only ever set in it. What is set is gathered in a window that
/// moves upwards, and or-ed into the client's memory piece by piece.
struct Bitmap<'a> {
    call: Call<'a>,
    at: Hva,
    /// The byte of the bitmap that the window starts at.
    first: u64,
    window: Box<[u8; WINDOW]>,
    /// How many bytes of the window have bits.
    used: usize,
}

impl<'a> Bitmap<'a> {
    fn new(call: Call<'a>, at: Hva) -> Self {
        Self {
            call,
            at,
            first: 0,
            window: Box::new([0; WINDOW]),
            used: 0,
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let new = &mut self.window[..self.used];
        if new.is_empty() {
            return Ok(());
        }
        let at = self.at.wrapping_add(self.first);
        let mut bytes = vec![0; new.len()];
        self.call.read(at, &mut bytes)?;
        for (byte, new) in bytes.iter_mut().zip(new) {
            *byte |= std::mem::take(new);
        }
        self.used = 0;
        self.call.write(at, &bytes)
    }

    /// Moves the window so that it holds a byte. Returns the byte's place in it.
    fn reach(&mut self, byte: u64) -> Result<usize, Error> {
        let place = byte
            .checked_sub(self.first)
            .and_then(|place| usize::try_from(place).ok());
        match place {
            Some(place) if place < WINDOW => Ok(place),
            _ => {
                self.flush()?;
                self.first = byte;
                Ok(0)
            }
        }
    }
}

impl DirtyBits for Bitmap<'_> {
    fn set(&mut self, first: u64, last: u64) -> Result<(), Error> {
        let mut byte = first / 8;
        while byte <= last / 8 {
            let place = self.reach(byte)?;
            let from = if byte == first / 8 { first % 8 } else { 0 };
            let to = if byte == last / 8 { last % 8 } else { 7 };
            self.window[place] |= (0xff << from) & (0xff >> (7 - to));
            self.used = self.used.max(place + 1);
            byte += 1;
        }
        Ok(())
    }
}

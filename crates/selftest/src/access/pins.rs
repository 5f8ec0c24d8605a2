//! Pinning: `ACCESS_PAGES` and `DESTROY_ACCESS_PAGES`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use swiommu_abi::test_cmd::{AccessPages, DestroyAccessPages, IommuTestCmd, MockFlagsAccess};
use swiommu_addr::{Address, Hva, HvaRange, Iova, IovaRange, Pa};
use swiommu_iommufd::{AccessClient, AccessKind, Call, Outcome, Pinned};
use swiommu_mem::{Access, Fault, PAGE};

use super::{AccessFile, MOST, find};
use crate::Error;
use crate::memory::{each_piece, iova_range};

/// What an access has pinned, by number.
///
/// Pinning and unpinning happen under the lock, so that an unmap that asks for a pin in the making or in the unmaking waits.
#[derive(Debug, Default)]
pub(super) struct Pins {
    items: Mutex<Items>,
}

#[derive(Debug, Default)]
struct Items {
    pinned: BTreeMap<u32, Pinned>,
    next: u32,
}

impl AccessClient for Pins {
    fn unmap(&self, range: IovaRange) {
        let mut items = self.items.lock();
        items
            .pinned
            .retain(|_, pinned| !pinned.range().overlaps(range));
    }
}

impl Pins {
    /// Unpins. Says whether there was such a pin.
    fn remove(&self, item: u32) -> bool {
        let mut items = self.items.lock();
        items.pinned.remove(&item).is_some()
    }

    /// Unpins everything.
    pub(super) fn clear(&self) {
        self.items.lock().pinned.clear();
    }
}

/// A pin whose number the client has not been told: dropping it unpins.
struct Untold {
    file: Arc<AccessFile>,
    item: u32,
    kept: bool,
}

impl Untold {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        if !self.kept {
            self.file.pins.remove(self.item);
        }
    }
}

/// Pins the memory of a range, and compares it with what the caller has at an address.
pub(crate) fn pin(call: &Call<'_>, cmd: &mut IommuTestCmd) -> Result<Outcome, Error> {
    let mut body: AccessPages = cmd.body.get();
    if body.length > MOST {
        return Err(Error::TooLong(body.length));
    }
    let flags = MockFlagsAccess::from_bits(body.flags).ok_or(Error::UnknownFlags(body.flags))?;
    let file = find(call, cmd)?;
    if file.access.kind() != AccessKind::Pins {
        return Err(Error::CannotPin);
    }
    let mut start = Iova::new(body.iova);
    if flags.contains(MockFlagsAccess::SYZ) {
        start = file.access.area_by_number(start);
    }
    let range = iova_range(start, body.length)?;
    let access = if flags.contains(MockFlagsAccess::WRITE) {
        Access::Write
    } else {
        Access::Read
    };
    let mut items = file.pins.items.lock();
    let pinned = file.access.pin(range, access)?;
    if body.uptr != 0 {
        compare(call, range, Hva::new(body.uptr), &pinned)?;
    }
    let item = items.next;
    items.next = item.wrapping_add(1);
    items.pinned.insert(item, pinned);
    drop(items);
    body.out_access_pages_id = item;
    cmd.body.set(body);
    let untold = Untold {
        file,
        item,
        kept: false,
    };
    Ok(Outcome::then(move || untold.keep()))
}

/// Unpins.
pub(crate) fn unpin(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
    let DestroyAccessPages { access_pages_id } = cmd.body.get();
    if find(call, cmd)?.pins.remove(access_pages_id) {
        Ok(Outcome::DONE)
    } else {
        Err(Error::NoPin(access_pages_id))
    }
}

/// Whether the pages of a pinned range are those that the caller has at `uptr`, which is where the range's first byte should be.
fn compare(call: &Call<'_>, range: IovaRange, uptr: Hva, pinned: &Pinned) -> Result<(), Error> {
    let page = PAGE.bytes();
    let count = range.align_out(PAGE).len_minus_one() / page + 1;
    let first = Hva::new(uptr.get().wrapping_sub(range.start().offset_in(PAGE))).align_down(PAGE);
    let expected = HvaRange::from_len(first, count * page).ok_or(Fault::Unmapped(first))?;
    let mut pages = pinned.memory().flat_map(|run| pages_of(run.memory));
    each_piece(&**call.caller().space(), expected, |piece| {
        for expected in pages_of(piece.memory) {
            if pages.next() != Some(expected) {
                return Err(Error::OtherPage { expected });
            }
        }
        Ok(())
    })
}

/// The pages that a piece of memory touches.
fn pages_of(memory: swiommu_addr::PaRange) -> impl Iterator<Item = Pa> {
    let whole = memory.align_out(PAGE);
    let count = whole.len_minus_one() / PAGE.bytes() + 1;
    (0..count).map(move |n| whole.start().wrapping_add(n * PAGE.bytes()))
}

//! `DIRTY`: what a device would do to the page table by writing.

use swiommu_abi::test_cmd::{Dirty, IommuTestCmd};
use swiommu_addr::{Address, Hva, Iova};
use swiommu_iommu::DirtyTracking;
use swiommu_iommufd::{Call, ObjectId, Outcome};

use crate::Error;
use crate::check::mock_domain;

/// The most pages that one call takes: as many as 16 MiB have bits.
const MOST: u64 = (16 << 20) * 8;

/// Marks the leaf behind every page dirty whose bit is set.
pub(crate) fn dirty(call: &Call<'_>, cmd: &mut IommuTestCmd) -> Result<Outcome, Error> {
    let mut body: Dirty = cmd.body.get();
    let page = body.page_size;
    let whole = |value: u64| value.checked_rem(page) == Some(0);
    if body.length == 0 || !whole(body.iova) || !whole(body.length) || body.uptr == 0 {
        return Err(Error::DirtyRange);
    }
    let pages = body.length / page;
    if pages > MOST {
        return Err(Error::TooManyDirty(pages));
    }
    let domain = mock_domain(call.context(), ObjectId(cmd.id))?;
    if domain.dirty_tracking() == DirtyTracking::Off {
        return Err(Error::NotTracking);
    }
    let mut bitmap = vec![0; usize::try_from(pages.div_ceil(8)).unwrap_or(usize::MAX)];
    call.read(Hva::new(body.uptr), &mut bitmap)?;
    let set = |n: &u64| {
        let byte = usize::try_from(n / 8).ok().and_then(|at| bitmap.get(at));
        byte.is_some_and(|byte| byte >> (n % 8) & 1 == 1)
    };
    body.out_nr_dirty = 0;
    for n in (0..pages).filter(set) {
        domain.dirty(Iova::new(body.iova).wrapping_add(n.wrapping_mul(page)));
        body.out_nr_dirty += 1;
    }
    cmd.body.set(body);
    Ok(Outcome::DONE)
}

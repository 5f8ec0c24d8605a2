//! Comparing what devices reach with what the client expects: `MD_CHECK_MAP`, `MD_CHECK_REFS`, `MD_CHECK_IOTLB` and
//! `DEV_CHECK_CACHE`.

use std::any::Any;
use std::sync::Arc;

use swiommu_abi::test_cmd::{CheckDevCache, CheckIotlb, CheckMap, CheckRefs, IommuTestCmd};
use swiommu_addr::{Address, Hva, Iova, PageSize};
use swiommu_iommu::PagingDomain;
use swiommu_iommufd::{Call, Context, ObjectId, Outcome};
use swiommu_mem::PAGE;

use crate::memory::{compared, each_piece};
use crate::{Error, MockDomain, MockEndpoint, MockNestedDomain};

/// The page table of a mock `HWPT_PAGING`.
pub(crate) fn mock_domain(context: &Context, id: ObjectId) -> Result<Arc<MockDomain>, Error> {
    let domain: Arc<dyn Any + Send + Sync> = context.paging_domain(id)?;
    domain.downcast().map_err(|_| Error::NotMockDomain(id))
}

/// Whether every IOVA of a range leads, by the entries of the page table, to the memory that the caller has at an address.
pub(crate) fn map(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
    let body: CheckMap = cmd.body.get();
    let domain = mock_domain(call.context(), ObjectId(cmd.id))?;
    let unit = domain.page_sizes().smallest().unwrap_or(PageSize::BYTE);
    let start = Hva::new(body.uptr);
    let bytes = compared(start, body.length, unit)?;
    if !unit.divides(body.iova) {
        let len = body.length;
        return Err(Error::Misaligned { start, len, unit });
    }
    let mut iova = Iova::new(body.iova);
    let compare = |piece: swiommu_mem::Run| {
        for n in 0..=piece.memory.len_minus_one() / unit.bytes() {
            let expected = piece.memory.start().wrapping_add(n * unit.bytes());
            let found = domain.iova_to_phys(iova);
            if found != Some(expected) {
                return Err(Error::OtherMapping {
                    iova,
                    expected,
                    found,
                });
            }
            iova = iova.wrapping_add(unit.bytes());
        }
        Ok(())
    };
    if let Some(bytes) = bytes {
        each_piece(&**call.caller().space(), bytes, compare)?;
    }
    Ok(Outcome::DONE)
}

/// Whether every page of a range is pinned so often. Pages larger than the host's smallest are not looked at.
pub(crate) fn refs(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
    let body: CheckRefs = cmd.body.get();
    let expected = body.refs;
    let memory = call.context().memory();
    let compare = |piece: swiommu_mem::Run| {
        if piece.page > PAGE {
            return Ok(());
        }
        let counts = memory.pin_counts(piece.memory);
        match counts.iter().find(|count| count.objects != expected) {
            None => Ok(()),
            Some(other) => Err(Error::OtherPinCount {
                page: other.memory.start(),
                expected,
                found: other.objects,
            }),
        }
    };
    if let Some(bytes) = compared(Hva::new(body.uptr), body.length, PAGE)? {
        each_piece(&**call.caller().space(), bytes, compare)?;
    }
    Ok(Outcome::DONE)
}

/// Whether an entry of a nested domain's IOTLB holds a number.
pub(crate) fn iotlb(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
    let CheckIotlb { id, iotlb } = cmd.body.get();
    let hwpt = ObjectId(cmd.id);
    let domain = call.context().nested_domain(hwpt)?;
    let mock = (&*domain as &dyn Any).downcast_ref::<MockNestedDomain>();
    entry_holds(id, mock.ok_or(Error::NotMockDomain(hwpt))?.iotlb(id), iotlb)
}

/// Whether an entry of a device's cache holds a number.
pub(crate) fn dev_cache(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
    let CheckDevCache { id, cache } = cmd.body.get();
    let device = ObjectId(cmd.id);
    let endpoint = call.context().endpoint(device)?;
    let mock = (&*endpoint as &dyn Any).downcast_ref::<MockEndpoint>();
    entry_holds(
        id,
        mock.ok_or(Error::NotMockDevice(device))?.cache(id),
        cache,
    )
}

fn entry_holds(entry: u32, found: Option<u32>, expected: u32) -> Result<Outcome, Error> {
    if found == Some(expected) {
        return Ok(Outcome::DONE);
    }
    Err(Error::OtherEntry {
        entry,
        expected,
        found,
    })
}

//! What a device would tell by itself: `TRIGGER_IOPF` and `TRIGGER_VEVENT`.

use std::any::Any;
use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_abi::test_cmd::{IommuTestCmd, TriggerIopf, TriggerVevent};
use swiommu_addr::Iova;
use swiommu_iommu::{PageRequest, PageRequestPerm, PageRequestPosition, Pasid};
use swiommu_iommufd::{Call, ObjectId, Outcome};

use crate::{Error, MockEndpoint};

fn mock_endpoint(call: &Call<'_>, id: u32) -> Result<Arc<MockEndpoint>, Error> {
    let id = ObjectId(id);
    let endpoint: Arc<dyn Any + Send + Sync> = call.context().endpoint(id)?;
    endpoint.downcast().map_err(|_| Error::NotMockDevice(id))
}

/// A page request that is a group of its own. Whether anybody takes it is not told.
pub(crate) fn page_request(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
    let body: TriggerIopf = cmd.body.get();
    let endpoint = mock_endpoint(call, body.dev_id)?;
    endpoint.request_page(PageRequest {
        pasid: Pasid(body.pasid),
        group: body.grpid,
        perm: PageRequestPerm::from_bits_retain(body.perm),
        address: Iova::new(body.addr),
        position: PageRequestPosition::Last,
    });
    Ok(Outcome::DONE)
}

/// An event about a device that is attached to a nested page table of a virtual IOMMU, where its number is not 0. That it was lost
/// is not told.
pub(crate) fn virtual_event(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
    let body: TriggerVevent = cmd.body.get();
    let endpoint = mock_endpoint(call, body.dev_id)?;
    let (viommu, id) = endpoint
        .guest()
        .filter(|(_, id)| id.0 != 0)
        .ok_or(Error::NoGuest(ObjectId(body.dev_id)))?;
    match viommu.report(id) {
        Err(error) if error.errno == Errno::EOPNOTSUPP => Err(Error::Driver(error)),
        _ => Ok(Outcome::DONE),
    }
}

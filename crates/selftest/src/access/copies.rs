//! Copying: `ACCESS_RW`.

use swiommu_abi::test_cmd::{AccessRw, IommuTestCmd, MockAccessRw};
use swiommu_addr::{Hva, Iova};
use swiommu_iommufd::{Call, Outcome};
use swiommu_mem::CopyBy;

use super::{MOST, find};
use crate::Error;
use crate::memory::iova_range;

/// Copies between the memory of a range and a buffer of the caller.
pub(crate) fn rw(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
    let body: AccessRw = cmd.body.get();
    if body.length > MOST {
        return Err(Error::TooLong(body.length));
    }
    let flags = MockAccessRw::from_bits(body.flags).ok_or(Error::UnknownFlags(body.flags))?;
    let file = find(call, cmd)?;
    let mut bytes = vec![0; usize::try_from(body.length).unwrap_or(usize::MAX)];
    let buffer = Hva::new(body.uptr);
    let writes = flags.contains(MockAccessRw::WRITE);
    if writes && !bytes.is_empty() {
        call.read(buffer, &mut bytes)?;
    }
    let mut start = Iova::new(body.iova);
    if flags.contains(MockAccessRw::SYZ) {
        start = file.access.area_by_number(start);
    }
    let range = iova_range(start, body.length)?;
    let by = if flags.contains(MockAccessRw::SLOW_PATH) {
        CopyBy::Foreign
    } else {
        CopyBy::Caller(&**call.caller().space())
    };
    if writes {
        file.access.write(range, &bytes, by)?;
    } else {
        file.access.read(range, &mut bytes, by)?;
        call.write(buffer, &bytes)?;
    }
    Ok(Outcome::DONE)
}

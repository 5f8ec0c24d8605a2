//! Mock devices as objects: `MOCK_DOMAIN`, `MOCK_DOMAIN_FLAGS` and `MOCK_DOMAIN_REPLACE`.

use std::sync::Arc;

use swiommu_abi::test_cmd::{self, IommuTestCmd, MockDomainReplace, MockFlagsDevice};
use swiommu_iommu::Pasid;
use swiommu_iommufd::{BoundDevice, Call, HeldDriverObject, ObjectId, Outcome, ReservedObject};

use crate::{Error, Selftest};

/// What a client destroys to remove a mock device: the driver's hold on the DEVICE.
#[derive(Debug)]
pub(crate) struct MockDevice(pub(crate) BoundDevice);

/// A mock device that the client has not been told of.
struct Created {
    // Declared in the order of undoing: the device, then the number that was taken before it.
    device: Arc<MockDevice>,
    number: ReservedObject,
}

impl Created {
    fn publish(self) {
        self.number.publish(self.device);
    }
}

/// Makes a mock device, binds it, and attaches it to what the command names.
pub(crate) fn create(
    selftest: &Selftest,
    call: &Call<'_>,
    cmd: &mut IommuTestCmd,
    dev_flags: u32,
) -> Result<Outcome, Error> {
    let number = call.context().reserve_object()?;
    let flags = MockFlagsDevice::from_bits(dev_flags).ok_or(Error::DeviceFlags(dev_flags))?;
    let device = call.context().bind(selftest.endpoint(flags))?;
    let hwpt = device.attach(Pasid::NONE, ObjectId(cmd.id))?;
    cmd.body.set(test_cmd::MockDomain {
        out_stdev_id: number.id().0,
        out_hwpt_id: hwpt.0,
        out_idev_id: device.id().0,
    });
    let device = Arc::new(MockDevice(device));
    let created = Created { device, number };
    Ok(Outcome::then(move || created.publish()))
}

/// Attaches a mock device elsewhere.
pub(crate) fn replace(call: &Call<'_>, cmd: &mut IommuTestCmd) -> Result<Outcome, Error> {
    let device = find(call, cmd)?;
    let MockDomainReplace { pt_id } = cmd.body.get();
    let hwpt = device.0.replace(Pasid::NONE, ObjectId(pt_id))?;
    cmd.body.set(MockDomainReplace { pt_id: hwpt.0 });
    Ok(Outcome::DONE)
}

/// The mock device that the command is about.
pub(crate) fn find(
    call: &Call<'_>,
    cmd: &IommuTestCmd,
) -> Result<HeldDriverObject<MockDevice>, Error> {
    Ok(call.context().driver_object(ObjectId(cmd.id))?)
}

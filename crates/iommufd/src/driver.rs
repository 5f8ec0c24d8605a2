//! What an external driver may keep in a context, and add to its ioctls.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use swiommu_abi::command::Command;
use swiommu_files::Refusal;

use crate::object::{Draft, Header, Held, Object, ObjectId, Reservation};
use crate::{Call, Error, Outcome};

/// An object of an external driver in the object table: DESTROY removes it, and drops the driver's part.
pub(crate) struct DriverObject {
    pub(crate) header: Header,
    body: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for DriverObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DriverObject({:?})", self.header)
    }
}

/// A number taken for an object of an external driver.
#[derive(Debug)]
pub struct ReservedObject(pub(crate) Reservation);

impl ReservedObject {
    /// The number.
    pub fn id(&self) -> ObjectId {
        self.0.id()
    }

    /// Makes the object visible. It is dropped by DESTROY, or with the context.
    pub fn publish(self, body: Arc<dyn Any + Send + Sync>) -> ObjectId {
        let object = DriverObject {
            header: Header::new(self.id()),
            body,
        };
        Draft::new(self.0, Object::Driver(Arc::new(object))).publish()
    }
}

/// An object of an external driver in use: it cannot be destroyed meanwhile.
#[derive(Debug)]
pub struct HeldDriverObject<T> {
    body: Arc<T>,
    _user: Held<DriverObject>,
}

impl<T: Any + Send + Sync> HeldDriverObject<T> {
    pub(crate) fn new(object: Held<DriverObject>, id: ObjectId) -> Result<Self, Error> {
        match object.body.clone().downcast() {
            Ok(body) => Ok(Self {
                body,
                _user: object,
            }),
            Err(_) => Err(Error::NoObject(id)),
        }
    }
}

impl<T> std::ops::Deref for HeldDriverObject<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.body
    }
}

/// A driver that adds a command to the ioctls of `/dev/iommu`, as the kernel's selftest does with `IOMMU_TEST_CMD`.
pub trait Extension: Send + Sync + fmt::Debug {
    /// Runs a command. `bytes` is the struct, extended with zeros to its full size, and what the client's becomes where the
    /// command writes back.
    fn call(
        &self,
        call: &Call<'_>,
        command: &Command,
        bytes: &mut [u8],
    ) -> Result<Outcome, Refusal>;

    /// The flags of `IOMMU_IOAS_COPY` without the one that makes `src_iova` name an area by number, if that is among them:
    /// {low 32 bits: the number, high 32 bits: an offset}.
    fn names_area_by_number(&self, copy_flags: u32) -> Option<u32> {
        let _ = copy_flags;
        None
    }
}

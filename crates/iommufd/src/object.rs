//! The objects of a context, and their numbers, users and ends.

mod draft;
mod held;
mod id;
mod table;

use std::sync::Arc;

pub(crate) use draft::Draft;
pub(crate) use held::{Headed, Header, Held};
pub use id::ObjectId;
pub(crate) use table::{Reservation, Table};

use crate::access::Access;
use crate::device::Device;
use crate::driver::DriverObject;
use crate::fault::Fault;
use crate::hwpt::{HwptNested, HwptPaging};
use crate::ioas::Ioas;
use crate::state::State;
use crate::viommu::{HwQueue, Vdevice, Veventq, Viommu};

/// Any object of a context.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Ioas(Arc<Ioas>),
    Paging(Arc<HwptPaging>),
    Nested(Arc<HwptNested>),
    Device(Arc<Device>),
    Access(Arc<Access>),
    Fault(Arc<Fault>),
    Viommu(Arc<Viommu>),
    Vdevice(Arc<Vdevice>),
    Veventq(Arc<Veventq>),
    HwQueue(Arc<HwQueue>),
    Driver(Arc<DriverObject>),
}

impl Object {
    pub(crate) fn header(&self) -> &Header {
        match self {
            Self::Ioas(object) => object.header(),
            Self::Paging(object) => object.header(),
            Self::Nested(object) => object.header(),
            Self::Device(object) => object.header(),
            Self::Access(object) => object.header(),
            Self::Fault(object) => object.header(),
            Self::Viommu(object) => object.header(),
            Self::Vdevice(object) => object.header(),
            Self::Veventq(object) => object.header(),
            Self::HwQueue(object) => object.header(),
            Self::Driver(object) => object.header(),
        }
    }

    /// The kernel's name of the type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Ioas(_) => Ioas::NAME,
            Self::Paging(_) => HwptPaging::NAME,
            Self::Nested(_) => HwptNested::NAME,
            Self::Device(_) => Device::NAME,
            Self::Access(_) => Access::NAME,
            Self::Fault(_) => Fault::NAME,
            Self::Viommu(_) => Viommu::NAME,
            Self::Vdevice(_) => Vdevice::NAME,
            Self::Veventq(_) => Veventq::NAME,
            Self::HwQueue(_) => HwQueue::NAME,
            Self::Driver(_) => DriverObject::NAME,
        }
    }

    /// Undoes what the object did. It has left the table and has no users, and this cannot fail.
    pub(crate) fn teardown(self, state: &State) {
        match self {
            Self::Ioas(ioas) => {
                state.forget_vfio_ioas(ioas.header().id());
                ioas.unmap_everything();
            }
            Self::Paging(hwpt) => hwpt.teardown(),
            Self::Fault(fault) => fault.queue.forget_all(),
            Self::Vdevice(vdevice) => vdevice.teardown(),
            Self::Veventq(veventq) => veventq.teardown(),
            Self::HwQueue(queue) => queue.teardown(),
            Self::Viommu(_)
            | Self::Nested(_)
            | Self::Device(_)
            | Self::Access(_)
            | Self::Driver(_) => {}
        }
    }
}

/// One type of object, as a look-up by number wants it.
pub(crate) trait Kind: Headed + Sized {
    /// The kernel's name of the type.
    const NAME: &'static str;

    /// The object, if it is of this type.
    fn of(object: &Object) -> Option<&Arc<Self>>;
}

macro_rules! kind {
    ($type:ty, $variant:ident, $name:literal) => {
        impl Headed for $type {
            fn header(&self) -> &Header {
                &self.header
            }
        }

        impl Kind for $type {
            const NAME: &'static str = $name;

            fn of(object: &Object) -> Option<&Arc<Self>> {
                match object {
                    Object::$variant(object) => Some(object),
                    _ => None,
                }
            }
        }
    };
}

kind!(Ioas, Ioas, "IOAS");
kind!(HwptPaging, Paging, "HWPT_PAGING");
kind!(HwptNested, Nested, "HWPT_NESTED");
kind!(Device, Device, "DEVICE");
kind!(Access, Access, "ACCESS");
kind!(Fault, Fault, "FAULT");
kind!(Viommu, Viommu, "VIOMMU");
kind!(Vdevice, Vdevice, "VDEVICE");
kind!(Veventq, Veventq, "VEVENTQ");
kind!(HwQueue, HwQueue, "HW_QUEUE");
kind!(DriverObject, Driver, "SELFTEST");

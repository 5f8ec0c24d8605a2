//! Software access to an IOAS (§5): an external driver that reads, writes and pins without an IOMMU.

mod pinned;

use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use swiommu_addr::{Iova, IovaRange, PageSize};
use swiommu_mem::CopyBy;

pub(crate) use pinned::Piece;
pub use pinned::Pinned;

use crate::Error;
use crate::ioas::Ioas;
use crate::object::{Headed, Header, Held, Object, ObjectId};
use crate::state::State;

/// The driver behind an access.
pub trait AccessClient: Send + Sync + fmt::Debug {
    /// Drop every [`Pinned`] that meets `range`, before returning: it is being unmapped.
    fn unmap(&self, range: IovaRange);
}

/// No driver: for an access of our own, whose areas are locked instead of asked for.
#[derive(Debug)]
pub(crate) struct NoClient;

impl AccessClient for NoClient {
    fn unmap(&self, _range: IovaRange) {}
}

/// What UNMAP does about a pinned area.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Hold {
    /// Asks the driver to let go.
    Ask,
    /// Fails: the hardware uses it.
    Lock,
}

/// What an access is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AccessKind {
    /// Pins pages, so mappings must be page aligned.
    Pins,
    /// Only copies, at any alignment.
    Copies,
}

/// An access as an object.
pub(crate) struct Access {
    pub(crate) header: Header,
    pub(crate) kind: AccessKind,
    client: Weak<dyn AccessClient>,
    ioas: Mutex<Attached>,
}

#[derive(Debug, Default)]
struct Attached {
    ioas: Option<Held<Ioas>>,
    /// A change is in progress: no new pins, no other change.
    moving: bool,
}

impl Access {
    /// The alignment that an IOAS with this access demands.
    pub(crate) fn alignment(&self) -> PageSize {
        match self.kind {
            AccessKind::Pins => swiommu_mem::PAGE,
            AccessKind::Copies => PageSize::BYTE,
        }
    }

    /// Asks the driver to let go of a range.
    pub(crate) fn notify(&self, range: IovaRange) {
        if let Some(client) = self.client.upgrade() {
            client.unmap(range);
        }
    }

    /// The IOAS that it is attached to.
    pub(crate) fn attached_to(&self) -> Option<ObjectId> {
        self.ioas
            .lock()
            .ioas
            .as_ref()
            .map(|ioas| ioas.header().id())
    }

    fn current(&self) -> Result<Held<Ioas>, Error> {
        let attached = self.ioas.lock();
        match &attached.ioas {
            Some(ioas) if !attached.moving => Ok(ioas.clone()),
            _ => Err(Error::AccessDetached),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("id", &self.header.id())
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// An external driver's hold on its access. Dropping it detaches and removes the access.
#[derive(Debug)]
pub struct SoftwareAccess {
    state: Arc<State>,
    access: Held<Access>,
}

impl SoftwareAccess {
    pub(crate) fn new(
        state: &Arc<State>,
        kind: AccessKind,
        client: Weak<dyn AccessClient>,
    ) -> Result<Self, Error> {
        let mut reservation = state.objects.reserve(state)?;
        let header = Header::new(reservation.id());
        let access = Arc::new(Access {
            header,
            kind,
            client,
            ioas: Mutex::default(),
        });
        let held = Held::new(access.clone());
        reservation.publish(Object::Access(access));
        Ok(Self {
            state: state.clone(),
            access: held,
        })
    }

    /// The number of the ACCESS object.
    pub fn id(&self) -> ObjectId {
        self.access.header().id()
    }

    /// What it is for.
    pub fn kind(&self) -> AccessKind {
        self.access.kind
    }

    /// Attaches to an IOAS (§5.1).
    ///
    /// # Errors
    /// `ENOENT`; `EADDRINUSE` when an area is not aligned as the access needs; `EBUSY` while another change is in progress.
    pub fn attach(&self, ioas: ObjectId) -> Result<(), Error> {
        let ioas = self.state.objects.get::<Ioas>(ioas)?;
        self.change(Some(ioas))
    }

    /// Moves to another IOAS; all pins are dropped by the driver on the way (§5.2).
    ///
    /// # Errors
    /// `ENOENT` for an unknown IOAS, or when not attached; otherwise as [`attach`](Self::attach). Nothing has changed then.
    pub fn replace(&self, ioas: ObjectId) -> Result<(), Error> {
        if self.access.ioas.lock().ioas.is_none() {
            return Err(Error::AccessDetached);
        }
        self.attach(ioas)
    }

    /// Leaves the IOAS; all pins are dropped by the driver. Nothing happens when not attached.
    ///
    /// # Errors
    /// `EBUSY` while another change is in progress.
    pub fn detach(&self) -> Result<(), Error> {
        self.change(None)
    }

    fn change(&self, new: Option<Held<Ioas>>) -> Result<(), Error> {
        let access = self.access.object();
        let old = {
            let mut attached = access.ioas.lock();
            if attached.moving {
                return Err(Error::AccessMoving);
            }
            let id = |ioas: &Option<Held<Ioas>>| ioas.as_ref().map(|ioas| ioas.header().id());
            if id(&attached.ioas) == id(&new) {
                return Ok(());
            }
            attached.moving = true;
            attached.ioas.clone()
        };
        if let Some(new) = &new
            && let Err(error) = new.admit_access(access)
        {
            access.ioas.lock().moving = false;
            return Err(error);
        }
        if let Some(old) = old {
            access.notify(IovaRange::full());
            old.expel_access(access);
        }
        *access.ioas.lock() = Attached {
            ioas: new,
            moving: false,
        };
        Ok(())
    }

    /// The IOVA that {low 32 bits: number of an area, high 32 bits: offset} names in the IOAS that it is attached to; 0 for
    /// an area that is not there, and when not attached.
    pub fn area_by_number(&self, name: Iova) -> Iova {
        let ioas = self.access.ioas.lock().ioas.clone();
        ioas.map_or(Iova::new(0), |ioas| ioas.area_by_number(name))
    }

    /// Pins the memory behind a range (§5.3).
    ///
    /// # Errors
    /// `EINVAL` for a length or alignment that pages cannot give, or while an area is being unmapped; `ENOENT` at a gap or
    /// when detached; `EPERM` against the protection; `EFAULT` and `ENOMEM` from pinning. Nothing is pinned then.
    pub fn pin(&self, range: IovaRange, access: swiommu_mem::Access) -> Result<Pinned, Error> {
        self.hold(range, access, Hold::Ask)
    }

    pub(crate) fn hold(
        &self,
        range: IovaRange,
        access: swiommu_mem::Access,
        hold: Hold,
    ) -> Result<Pinned, Error> {
        Pinned::new(self.access.current()?, range, access, hold)
    }

    /// Copies out of a range (§5.5).
    ///
    /// # Errors
    /// `ENOENT` at a gap or when detached; `EPERM` against the protection; `EINVAL` while an area is being unmapped; `EFAULT`.
    /// Bytes before the failing one may have been copied.
    pub fn read(&self, range: IovaRange, into: &mut [u8], by: CopyBy<'_>) -> Result<(), Error> {
        self.access.current()?.read(range, into, by)
    }

    /// Copies into a range (§5.5).
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&self, range: IovaRange, from: &[u8], by: CopyBy<'_>) -> Result<(), Error> {
        self.access.current()?.write(range, from, by)
    }
}

impl Drop for SoftwareAccess {
    fn drop(&mut self) {
        // A change in progress holds a reference to this handle, so none can be.
        let _ = self.detach();
        self.state.objects.remove(self.id());
    }
}

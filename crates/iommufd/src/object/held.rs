//! Being a user of an object.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ObjectId;

/// What every object carries: its number and how many use it. With users it cannot be destroyed (§1.5).
#[derive(Debug)]
pub(crate) struct Header {
    id: ObjectId,
    users: AtomicU32,
}

/// In the place of the users: the object is being destroyed, and gets none any more.
const CLOSED: u32 = u32::MAX;

impl Header {
    pub(crate) fn new(id: ObjectId) -> Self {
        Self {
            id,
            users: AtomicU32::new(0),
        }
    }

    /// The object's number.
    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }

    /// How many other objects, drivers and calls in progress use it.
    pub(crate) fn users(&self) -> u32 {
        match self.users.load(Ordering::Acquire) {
            CLOSED => 0,
            users => users,
        }
    }

    /// Lets nobody use the object any more.
    ///
    /// # Errors
    /// How many use it now, so that nothing has changed.
    pub(crate) fn close(&self) -> Result<(), u32> {
        let closed = self
            .users
            .compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Acquire);
        closed.map(|_| ())
    }
}

/// Something with a [`Header`].
pub(crate) trait Headed {
    /// Its header.
    fn header(&self) -> &Header;
}

/// An object and a count of one on its users, given back on drop.
///
/// A count can be taken at any time from another `Held`. From nothing it can be taken until DESTROY closes the object: under the lock of the
/// object table, where no closed object is found, or with [`Held::of_open`].
pub(crate) struct Held<T: Headed> {
    object: Arc<T>,
}

impl<T: Headed> Held<T> {
    pub(crate) fn new(object: Arc<T>) -> Self {
        object.header().users.fetch_add(1, Ordering::AcqRel);
        Self { object }
    }

    /// A count on an object that may be being destroyed; `None` if it is.
    pub(crate) fn of_open(object: Arc<T>) -> Option<Self> {
        let counted = |users: u32| (users != CLOSED).then(|| users + 1);
        let users = &object.header().users;
        let open = users.try_update(Ordering::AcqRel, Ordering::Acquire, counted);
        open.ok().map(|_| Self { object })
    }

    /// The object without the count.
    pub(crate) fn object(&self) -> &Arc<T> {
        &self.object
    }
}

impl<T: Headed> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self::new(self.object.clone())
    }
}

impl<T: Headed> Drop for Held<T> {
    fn drop(&mut self) {
        self.object.header().users.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<T: Headed> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl<T: Headed> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.object.header().id())
    }
}

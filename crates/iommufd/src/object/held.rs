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
        self.users.load(Ordering::Acquire)
    }
}

/// Something with a [`Header`].
pub(crate) trait Headed {
    /// Its header.
    fn header(&self) -> &Header;
}

/// An object and a count of one on its users, given back on drop.
///
/// A count can be taken at any time from another `Held`, but from nothing only under the lock of the object table, which
/// is where DESTROY looks at the count.
pub(crate) struct Held<T: Headed> {
    object: Arc<T>,
}

impl<T: Headed> Held<T> {
    pub(crate) fn new(object: Arc<T>) -> Self {
        object.header().users.fetch_add(1, Ordering::AcqRel);
        Self { object }
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

//! An object that is complete but not yet visible.

use super::{Object, ObjectId, Reservation};

/// A complete object with a number, which no look-up finds yet.
///
/// The caller tells the client the number, then publishes. When that cannot be told, dropping the draft undoes all of it.
#[derive(Debug)]
#[must_use = "an unpublished object is undone"]
pub(crate) struct Draft {
    // Declared in the order of undoing: first the object, then its number.
    object: Option<Object>,
    reservation: Reservation,
}

impl Draft {
    pub(crate) fn new(reservation: Reservation, object: Object) -> Self {
        Self {
            object: Some(object),
            reservation,
        }
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.reservation.id()
    }

    pub(crate) fn publish(mut self) -> ObjectId {
        let id = self.id();
        if let Some(object) = self.object.take() {
            self.reservation.publish(object);
        }
        id
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            object.teardown(self.reservation.state());
        }
    }
}

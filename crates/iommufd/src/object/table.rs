//! The object table: lowest free number, reserve → publish or abort, destroy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use swiommu_injection::{Step, step};
use swiommu_sabotage::Fault;

use super::{Held, Kind, Object, ObjectId};
use crate::Error;
use crate::state::State;

/// The largest object number (§1.4: 31 bits).
const LAST_ID: u32 = 0x7fff_ffff;

/// The objects of one context by number.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    used: BTreeMap<ObjectId, Slot>,
    /// Free numbers below `used`'s highest: with it, the lowest free number is found without a scan.
    holes: BTreeSet<ObjectId>,
}

#[derive(Debug)]
enum Slot {
    /// Being made: the number is taken, and nothing is there yet.
    Reserved,
    Live(Object),
    /// Destroyed with the device that it belonged to. The number is not given out again.
    Tombstone,
}

impl Slots {
    fn take_lowest(&mut self) -> Result<ObjectId, Error> {
        let hole = if Fault::HighestId.is_on() {
            self.holes.pop_last()
        } else {
            self.holes.pop_first()
        };
        let id = if let Some(hole) = hole {
            hole
        } else {
            let last = self.used.last_key_value().map_or(0, |(id, _)| id.0);
            if last == LAST_ID {
                return Err(Error::OutOfIds);
            }
            ObjectId(last + 1)
        };
        self.used.insert(id, Slot::Reserved);
        Ok(id)
    }

    fn free(&mut self, id: ObjectId) -> Option<Slot> {
        let slot = self.used.remove(&id)?;
        if Fault::KeepId.is_on() {
            self.used.insert(id, Slot::Reserved);
            return Some(slot);
        }
        let last = self
            .used
            .last_key_value()
            .map_or(ObjectId(0), |(id, _)| *id);
        if id < last {
            self.holes.insert(id);
        } else {
            self.holes.split_off(&last);
        }
        Some(slot)
    }

    fn live(&self, id: ObjectId) -> Result<&Object, Error> {
        match self.used.get(&id) {
            Some(Slot::Live(object)) => Ok(object),
            Some(Slot::Reserved | Slot::Tombstone) | None => Err(Error::NoObject(id)),
        }
    }
}

impl Table {
    /// The object of a type, with a user.
    pub(crate) fn get<T: Kind>(&self, id: ObjectId) -> Result<Held<T>, Error> {
        step(Step::Lookup)?;
        let slots = self.slots.lock();
        let object = slots.live(id)?;
        match T::of(object) {
            Some(object) => Ok(Held::new(object.clone())),
            None => Err(Error::WrongType {
                id,
                wanted: T::NAME,
                found: object.type_name(),
            }),
        }
    }

    /// Looks at an object of any type; `pick` may take users of it, under the lock that DESTROY takes too.
    pub(crate) fn get_any<R>(
        &self,
        id: ObjectId,
        pick: impl FnOnce(&Object) -> R,
    ) -> Result<R, Error> {
        step(Step::Lookup)?;
        Ok(pick(self.slots.lock().live(id)?))
    }

    /// Takes the lowest free number for an object that is about to be made.
    pub(crate) fn reserve(&self, state: &Arc<State>) -> Result<Reservation, Error> {
        step(Step::Object)?;
        let id = self.slots.lock().take_lowest()?;
        Ok(Reservation {
            state: state.clone(),
            id,
            open: true,
        })
    }

    /// Removes an object without users; the caller tears it down.
    pub(crate) fn remove_idle(&self, id: ObjectId) -> Result<Object, Error> {
        let mut slots = self.slots.lock();
        let object = slots.live(id)?;
        match object.header().close() {
            Err(1) if Fault::DestroyUsed.is_on() => {}
            closed => closed.map_err(|users| Error::InUse {
                id,
                name: object.type_name(),
                users,
            })?,
        }
        match slots.free(id) {
            Some(Slot::Live(object)) => Ok(object),
            _ => Err(Error::NoObject(id)),
        }
    }

    /// Removes this very object, and not another that has its number by now, if it has no users.
    pub(crate) fn remove_if_idle<T: Kind>(&self, object: &Arc<T>) -> Option<Object> {
        let mut slots = self.slots.lock();
        let id = object.header().id();
        let is_it = T::of(slots.live(id).ok()?).is_some_and(|found| Arc::ptr_eq(found, object));
        if !is_it || object.header().close().is_err() {
            return None;
        }
        match slots.free(id) {
            Some(Slot::Live(object)) => Some(object),
            _ => None,
        }
    }

    /// Removes an object for the driver that owns it, whoever else uses it at the moment.
    pub(crate) fn remove(&self, id: ObjectId) {
        self.slots.lock().free(id);
    }

    /// Puts a tombstone in the place of an object, whoever uses it at the moment. The caller tears it down.
    pub(crate) fn entomb(&self, id: ObjectId) -> Option<Object> {
        let mut slots = self.slots.lock();
        let removed = if Fault::ForgetTombstone.is_on() {
            slots.free(id)
        } else {
            slots.used.insert(id, Slot::Tombstone)
        };
        match removed {
            Some(Slot::Live(object)) => Some(object),
            _ => None,
        }
    }

    /// Whether there is no object at all, not even one in the making.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.lock().used.is_empty()
    }

    /// All objects in ascending order of their numbers.
    pub(crate) fn list(&self) -> Vec<Object> {
        let slots = self.slots.lock();
        let live = slots.used.values().filter_map(|slot| match slot {
            Slot::Live(object) => Some(object.clone()),
            Slot::Reserved | Slot::Tombstone => None,
        });
        live.collect()
    }
}

/// A number taken for an object in the making. Until it is published the number behaves as absent; dropping it gives the
/// number back.
#[derive(Debug)]
pub(crate) struct Reservation {
    state: Arc<State>,
    id: ObjectId,
    open: bool,
}

impl Reservation {
    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Makes the object visible. A second call has no effect.
    pub(crate) fn publish(&mut self, object: Object) {
        if self.open {
            self.state
                .objects
                .slots
                .lock()
                .used
                .insert(self.id, Slot::Live(object));
            self.open = false;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.open {
            self.state.objects.slots.lock().free(self.id);
        }
    }
}

//! The way of a device's requests to memory: there is no other.
//!
//! A device holds a [`DmaPort`] for its requester ID, or for one of its PASIDs. Each access enters the epoch of the port's
//! [`Reader`](crate::Reader), asks what the endpoint is attached to at that moment ([`Attachments`]) to [`Translate`], and copies
//! through the physical address space. When an unmap, detach, replace or invalidation has returned, no access that used the old
//! translation is in flight: its caller has waited for the epoch.
//!
//! With the feature `vm-memory`, code that was written for rust-vmm's memory traits runs on a port: in a [`DmaSession`].

mod attachments;
mod entered;
mod fault;
mod port;
#[cfg(feature = "vm-memory")]
mod session;
mod translate;

#[cfg(test)]
mod tests;

pub use attachments::Attachments;
pub use fault::{DmaError, Fault};
pub use port::{AskForPage, DmaPort};
#[cfg(feature = "vm-memory")]
pub use session::{DmaSession, NoBackend};
pub use translate::{Blocked, Hit, Translate, Translated};

//! I/O page tables.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod contract;
mod dirty;
mod dump;
mod error;
pub mod fmt;
mod geometry;
mod grow;
#[cfg(feature = "std")]
mod heap;
mod layout;
mod map;
mod memory;
mod prot;
mod reserve;
mod slots;
mod table;
mod tree;
mod unmap;
mod unmapped;
mod walk;

pub use contract::{Entry, Format, Leaf, LeafSlots, Malformed, UpperBits};
pub use dirty::{Cleaned, DirtyRead};
pub use dump::Dump;
pub use error::Error;
#[cfg(feature = "std")]
pub use heap::HeapTables;
pub use memory::{OutOfMemory, TableMemory};
pub use prot::Prot;
pub use table::{PageTable, Root};
pub use unmapped::{DetachedTables, Unmapped};
pub use walk::{Leaves, Mapping};

//! Slices of memory as rust-vmm's device code takes them.

#![expect(
    unsafe_code,
    reason = "vm-memory's slices have no safe constructor for memory that is not Rust's"
)]

use crate::VolatileSlice;

impl<'a> From<VolatileSlice<'a>> for vm_memory::VolatileSlice<'a> {
    fn from(slice: VolatileSlice<'a>) -> Self {
        // SAFETY: by the contract of `VolatileSlice::new` the bytes stay mapped, readable and writable for `'a`, and Rust holds no
        // reference to them; `as_ptr` and `len` are just those bytes. Who else accesses them does so by volatile or atomic
        // accesses, like every `VolatileSlice`, or is another process.
        unsafe { Self::new(slice.as_ptr(), slice.len()) }
    }
}

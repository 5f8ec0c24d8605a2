//! Making the n-th fallible step of a call fail, as Linux' `fail-nth` does.
//!
//! Most steps of a call that can fail hardly ever do: memory is there, the client's struct can be written, the object is
//! still the one that it was. The way back from them is code that nothing would run. So each such step asks [`step`] first,
//! and a [`Countdown`] that the call runs [under](Countdown::during) makes one of them fail.
//!
//! A countdown belongs to a thread for the time of a call, as `/proc/PID/task/TID/fail-nth` belongs to a task. A step without
//! one costs a look at a thread-local flag.

#![forbid(unsafe_code)]

mod countdown;
mod step;

#[cfg(test)]
mod tests;

pub use countdown::{Countdown, step};
pub use step::{Injected, Step};

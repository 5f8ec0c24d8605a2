//! Random programs of calls, run on the core and on a reference that knows the rules only from their description: every answer and
//! every errno must be the same, and so must the state at the end.
//!
//! 10 000 programs run by default; `SWIOMMU_PROGRAMS` says how many. They are the same in every run, unless `SWIOMMU_SEED` is
//! another number. A program on which the sides differ is shrunk and printed as a test, for [`regressions`].

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod generate;
mod ground;
mod met;
mod programs;
mod real;
mod reference;
// Programs stay as they were printed.
#[expect(clippy::unreadable_literal, reason = "as printed")]
#[rustfmt::skip]
mod regressions;
mod reply;
mod run;
mod step;

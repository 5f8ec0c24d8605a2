//! What the kernel's IOMMUFD selftest demands, asked of the in-process client.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod change_process;
mod command;
mod concurrency;
mod copy;
mod device;
mod dirty;
mod dma_buf;
mod domain;
mod fail_nth;
mod faults;
mod fixture;
mod guests;
mod ioas;
mod nested;
mod pasid;
mod placement;
mod processes;
mod rollback;

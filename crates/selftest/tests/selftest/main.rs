//! What the kernel's IOMMUFD selftest demands, asked of the in-process client.

mod access;
mod change_process;
mod command;
mod copy;
mod device;
mod dirty;
mod domain;
mod fixture;
mod ioas;
mod nested;
mod pasid;
mod placement;
mod processes;
mod rollback;

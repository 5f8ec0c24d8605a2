//! Devices that do DMA through an IOMMU.
//!
//! A device gets its DMA ports from whoever puts it behind an endpoint; it has no other way to memory. What it reads there is
//! hostile: every descriptor ends in a status, and every call does a bounded amount of work.

#![forbid(unsafe_code)]

pub mod dma;

pub use dma::DmaDevice;

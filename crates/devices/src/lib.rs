//! Devices that do DMA through an IOMMU.

#![forbid(unsafe_code)]

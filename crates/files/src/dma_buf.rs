//! Memory of a device that others may map for DMA: what a dma-buf is to IOMMUFD.

use std::fmt;
use std::sync::Weak;

use swiommu_abi::Errno;
use swiommu_addr::PaRange;

/// Who has mapped a dma-buf.
pub trait DmaBufImporter: Send + Sync + fmt::Debug {
    /// The exporter takes the memory back, now and for this importer for good. When it returns, no DMA reaches the memory.
    fn revoke(&self);
}

/// A dma-buf: one physically contiguous piece of a device's memory, which its exporter may take back.
pub trait DmaBuf: Send + Sync + fmt::Debug {
    /// Its length in bytes: whole pages.
    fn len(&self) -> u64;

    /// Whether it has no bytes, which none has.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets an importer have the memory until it is revoked or dropped.
    ///
    /// # Errors
    /// `ENODEV` while the buffer is revoked.
    fn attach(&self, importer: Weak<dyn DmaBufImporter>) -> Result<PaRange, Errno>;
}

//! What can be made to fail.

use std::fmt;

use swiommu_abi::Errno;

/// A kind of step that can fail, for want of memory or because the world has changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Looking up an object by its number: `ENOENT`.
    Lookup,
    /// Making an object, with its number: `ENOMEM`.
    Object,
    /// Reading the caller's memory: `EFAULT`.
    CopyIn,
    /// Writing the caller's memory: `EFAULT`.
    CopyOut,
    /// A descriptor in the caller's table: `ENOMEM`.
    Descriptor,
    /// Room in the IOVA space: for an area, a reservation, a list: `ENOMEM`.
    Area,
    /// Reserving what a device uses otherwise: `EINVAL`.
    Reserve,
    /// Finding and pinning the memory behind addresses: `EFAULT`.
    Pin,
    /// Charging pinned memory: `ENOMEM`.
    Charge,
    /// A page table of an IOMMU: `ENOMEM`.
    Table,
    /// A domain, a vIOMMU, or what else a driver allocates: `ENOMEM`.
    Driver,
    /// Handing pinned pages to who asked for them: `EINVAL`.
    AccessPages,
    /// Copying between an IOAS and a buffer: `EINVAL`.
    AccessCopy,
}

impl Step {
    /// What Linux 7.3 returns when it is made to fail (§9.12).
    pub const fn errno(self) -> Errno {
        match self {
            Self::Lookup => Errno::ENOENT,
            Self::CopyIn | Self::CopyOut | Self::Pin => Errno::EFAULT,
            Self::Reserve | Self::AccessPages | Self::AccessCopy => Errno::EINVAL,
            Self::Object
            | Self::Descriptor
            | Self::Area
            | Self::Charge
            | Self::Table
            | Self::Driver => Errno::ENOMEM,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lookup => "looking up an object",
            Self::Object => "making an object",
            Self::CopyIn => "reading the caller's memory",
            Self::CopyOut => "writing the caller's memory",
            Self::Descriptor => "opening a descriptor for the caller",
            Self::Area => "finding room in the IOVA space",
            Self::Reserve => "reserving IOVAs for a device",
            Self::Pin => "pinning memory",
            Self::Charge => "charging pinned memory",
            Self::Table => "allocating a page table",
            Self::Driver => "allocating by the driver",
            Self::AccessPages => "handing out pinned pages",
            Self::AccessCopy => "copying by software",
        })
    }
}

/// A step was made to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} was made to fail, as asked for")]
pub struct Injected(pub Step);

impl Injected {
    /// What the client sees.
    pub const fn errno(self) -> Errno {
        self.0.errno()
    }
}

//! What a client in this process gives with its calls, where others give memory of theirs.

use std::sync::Arc;

use zerocopy::{Immutable, IntoBytes};

use crate::{DriverError, MmapRegion, MmapRegions, Requests, UserData};

/// The driver-specific part of an allocation, such as a `struct iommu_hwpt_vtd_s1`.
#[derive(Clone, Copy, Debug)]
pub struct OwnData<'a> {
    data_type: u32,
    bytes: &'a [u8],
}

impl<'a> OwnData<'a> {
    /// Data of a type (`enum iommu_hwpt_data_type` or a vendor's own).
    pub fn new<T: IntoBytes + Immutable>(data_type: u32, data: &'a T) -> Self {
        let bytes = data.as_bytes();
        Self { data_type, bytes }
    }
}

impl UserData for OwnData<'_> {
    fn data_type(&self) -> u32 {
        self.data_type
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), DriverError> {
        copy(self.bytes, offset, into)
    }
}

/// For a virtual IOMMU of which nothing is mapped: there is no file to map it by.
#[derive(Clone, Copy, Debug)]
pub struct NoRegions;

impl MmapRegions for NoRegions {
    fn allocate(&self, _len: u64) -> Result<Arc<dyn MmapRegion>, DriverError> {
        Err(DriverError::unsupported("nothing can be mapped"))
    }
}

/// Invalidations, such as `struct iommu_hwpt_vtd_s1_invalidate`s.
#[derive(Clone, Copy, Debug)]
pub struct OwnRequests<'a> {
    data_type: u32,
    entry_len: usize,
    bytes: &'a [u8],
}

impl<'a> OwnRequests<'a> {
    /// Requests of a type (`enum iommu_hwpt_invalidate_data_type`).
    pub fn new<T: IntoBytes + Immutable>(data_type: u32, requests: &'a [T]) -> Self {
        Self {
            data_type,
            entry_len: size_of::<T>(),
            bytes: requests.as_bytes(),
        }
    }
}

impl Requests for OwnRequests<'_> {
    fn data_type(&self) -> u32 {
        self.data_type
    }

    fn entry_len(&self) -> usize {
        self.entry_len
    }

    fn count(&self) -> u32 {
        let count = self.bytes.len().checked_div(self.entry_len).unwrap_or(0);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn read(&self, index: u32, offset: usize, into: &mut [u8]) -> Result<(), DriverError> {
        let start = (index as usize).saturating_mul(self.entry_len);
        copy(self.bytes, start.saturating_add(offset), into)
    }
}

fn copy(bytes: &[u8], offset: usize, into: &mut [u8]) -> Result<(), DriverError> {
    let rest = bytes.get(offset..).unwrap_or_default();
    let from = rest
        .get(..into.len())
        .ok_or_else(|| DriverError::invalid("the data is shorter than that"))?;
    into.copy_from_slice(from);
    Ok(())
}

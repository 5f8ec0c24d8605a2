//! One IOMMU.

use std::fmt;
use std::sync::Arc;

use bitflags::bitflags;
use swiommu_abi::hw_info::IommuHwInfoType;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{DriverError, Endpoint, NestedDomain, PagingDomain, Viommu, ViommuRequest};

bitflags! {
    /// What a paging domain is allocated for (`enum iommufd_hwpt_alloc_flags`, without the fault bit, which drivers never see).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct PagingFlags: u32 {
        /// May be the parent of nested domains.
        const NEST_PARENT = 1;
        /// Can track dirty pages.
        const DIRTY_TRACKING = 2;
        /// May be attached to PASIDs.
        const PASID = 8;
    }
}

/// The driver-specific part of an allocation: a type, and bytes in the client's memory.
///
/// The driver copies them itself, because which error comes first is the driver's choice.
pub trait UserData: fmt::Debug {
    /// The data type (`enum iommu_hwpt_data_type` or a vendor's own).
    fn data_type(&self) -> u32;

    /// How many bytes the client gave.
    fn len(&self) -> usize;

    /// Whether the client gave none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes from `offset`.
    ///
    /// # Errors
    /// `EFAULT` when the client's memory cannot be read.
    fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), DriverError>;
}

impl dyn UserData + '_ {
    /// Copies a struct, which the bytes have to be, no more and no less.
    ///
    /// # Errors
    /// `EINVAL` for another length, `EFAULT`.
    pub fn read_struct<T: FromBytes + IntoBytes>(&self) -> Result<T, DriverError> {
        let mut data = T::new_zeroed();
        if self.len() != size_of::<T>() {
            let len = self.len();
            return Err(DriverError::invalid(format!("{len} bytes of data")));
        }
        self.read(0, data.as_mut_bytes())?;
        Ok(data)
    }
}

/// What a paging domain shall be.
#[derive(Clone, Copy, Debug)]
pub struct PagingRequest<'a> {
    /// What it is for.
    pub flags: PagingFlags,
    /// The driver-specific part, if the client gave one.
    pub data: Option<&'a dyn UserData>,
}

/// What a nested domain shall be.
#[derive(Clone, Copy, Debug)]
pub struct NestedRequest<'a> {
    /// What it is for: at most [`PagingFlags::PASID`].
    pub flags: PagingFlags,
    /// The guest's table, in the driver's own terms.
    pub data: &'a dyn UserData,
}

/// What `IOMMU_GET_HW_INFO` tells of a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HwInfo {
    /// `enum iommu_hw_info_type`.
    pub data_type: u32,
    /// The type's struct.
    pub data: Vec<u8>,
}

impl HwInfo {
    /// What `driver` tells, a struct of `data_type`, to who asks for that type or for none in particular.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for another type.
    pub fn of<T: IntoBytes + Immutable>(
        driver: &str,
        data_type: u32,
        input_type: u32,
        info: &T,
    ) -> Result<Option<Self>, DriverError> {
        if ![IommuHwInfoType::DEFAULT.0, data_type].contains(&input_type) {
            return Err(DriverError::unsupported(format!(
                "{driver} has no hardware information of type {input_type:#x}"
            )));
        }
        let data = info.as_bytes().to_vec();
        Ok(Some(Self { data_type, data }))
    }
}

/// One IOMMU: it allocates domains for the endpoints behind it.
pub trait Unit: Send + Sync + fmt::Debug {
    /// The driver, which tells whose domains are whose: domains of one driver can be attached through its units.
    fn driver(&self) -> &'static str;

    /// Describes the hardware behind an endpoint; `None` when the driver has nothing to say.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for an input type (`in_data_type`, 0 is the default) that the driver does not know.
    fn hw_info(
        &self,
        endpoint: &dyn Endpoint,
        input_type: u32,
    ) -> Result<Option<HwInfo>, DriverError>;

    /// Whether the driver looks at flags and data at all; if not, only the plainest domain can be had.
    fn allocates_with_flags(&self) -> bool {
        true
    }

    /// Allocates a page table for an endpoint. It is empty, and attached to nothing.
    ///
    /// # Errors
    /// The driver's errno.
    fn alloc_paging(
        &self,
        endpoint: &dyn Endpoint,
        request: &PagingRequest<'_>,
    ) -> Result<Arc<dyn PagingDomain>, DriverError>;

    /// Whether it can be divided into virtual IOMMUs of this type.
    ///
    /// # Errors
    /// `EOPNOTSUPP` when it cannot.
    fn check_viommu_type(
        &self,
        endpoint: &dyn Endpoint,
        viommu_type: u32,
    ) -> Result<(), DriverError> {
        let _ = (endpoint, viommu_type);
        Err(DriverError::unsupported(format!(
            "{} has no vIOMMUs",
            self.driver()
        )))
    }

    /// Allocates a virtual IOMMU on a nesting parent.
    ///
    /// # Errors
    /// The driver's errno.
    fn alloc_viommu(
        &self,
        endpoint: &dyn Endpoint,
        parent: &Arc<dyn PagingDomain>,
        request: &ViommuRequest<'_>,
    ) -> Result<Arc<dyn Viommu>, DriverError> {
        let _ = (endpoint, parent, request);
        Err(DriverError::unsupported(format!(
            "{} has no vIOMMUs",
            self.driver()
        )))
    }

    /// Whether nested domains can be made directly on a paging domain.
    fn nests_on_paging(&self) -> bool {
        false
    }

    /// Allocates a nested domain whose second stage is `parent`, which was allocated as a nesting parent by this driver.
    ///
    /// # Errors
    /// The driver's errno.
    fn alloc_nested(
        &self,
        endpoint: &dyn Endpoint,
        parent: &Arc<dyn PagingDomain>,
        request: &NestedRequest<'_>,
    ) -> Result<Arc<dyn NestedDomain>, DriverError> {
        let _ = (endpoint, parent, request);
        Err(DriverError::unsupported(format!(
            "{} cannot nest on a page table",
            self.driver()
        )))
    }
}

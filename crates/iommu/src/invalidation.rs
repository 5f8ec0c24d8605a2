//! Invalidations of what an IOMMU caches of a guest's tables.

use std::fmt;

use swiommu_abi::Errno;

use crate::DriverError;

/// An array of driver-specific requests in the client's memory (`IOMMU_HWPT_INVALIDATE`).
pub trait Requests: fmt::Debug {
    /// The type of the requests.
    fn data_type(&self) -> u32;

    /// Bytes of one request, as the client has it.
    fn entry_len(&self) -> usize;

    /// How many there are. None asks whether the type is known.
    fn count(&self) -> u32;

    /// Copies bytes of a request from `offset` within it.
    ///
    /// # Errors
    /// `EFAULT` when the client's memory cannot be read.
    fn read(&self, index: u32, offset: usize, into: &mut [u8]) -> Result<(), DriverError>;

    /// Copies a request by the rule of extensible structs: what the client's lacks is zero, what it has beyond must be.
    ///
    /// # Errors
    /// `E2BIG` for a tail that is not zero, `EFAULT`.
    fn read_entry(&self, index: u32, into: &mut [u8]) -> Result<(), DriverError> {
        let known = self.entry_len().min(into.len());
        let mut tail = vec![0; self.entry_len() - known];
        self.read(index, known, &mut tail)?;
        if tail.iter().any(|byte| *byte != 0) {
            let rule = format!("request {index} has a tail that is not zero");
            return Err(DriverError::new(Errno::E2BIG, rule));
        }
        into[known..].fill(0);
        self.read(index, 0, &mut into[..known])
    }
}

/// How far an invalidation came.
#[derive(Debug)]
#[must_use = "the client is told how many requests were carried out"]
pub struct Invalidated {
    /// Requests carried out, also when a later one failed.
    pub done: u32,
    /// Why it ended early, if it did.
    pub result: Result<(), DriverError>,
}

impl Invalidated {
    /// Nothing was done, for this reason.
    pub fn refused(error: DriverError) -> Self {
        Self {
            done: 0,
            result: Err(error),
        }
    }

    /// Carries out each request in order, and stops at the first that fails.
    pub fn each(count: u32, mut request: impl FnMut(u32) -> Result<(), DriverError>) -> Self {
        for done in 0..count {
            if let Err(error) = request(done) {
                return Self {
                    done,
                    result: Err(error),
                };
            }
        }
        Self {
            done: count,
            result: Ok(()),
        }
    }
}

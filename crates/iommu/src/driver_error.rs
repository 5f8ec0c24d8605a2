//! How a model refuses.

use swiommu_abi::Errno;
use swiommu_injection::Injected;

/// A model's refusal: the errno that IOMMUFD hands through to the client, and the rule that was broken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{rule}")]
pub struct DriverError {
    /// What the client sees.
    pub errno: Errno,
    /// Which rule, with the numbers that broke it.
    pub rule: String,
}

impl DriverError {
    /// A refusal with this errno.
    pub fn new(errno: Errno, rule: impl Into<String>) -> Self {
        Self {
            errno,
            rule: rule.into(),
        }
    }

    /// `EOPNOTSUPP`: the model does not have this.
    pub fn unsupported(rule: impl Into<String>) -> Self {
        Self::new(Errno::EOPNOTSUPP, rule)
    }

    /// `EINVAL`: the model has this, but not so.
    pub fn invalid(rule: impl Into<String>) -> Self {
        Self::new(Errno::EINVAL, rule)
    }
}

impl From<Injected> for DriverError {
    fn from(injected: Injected) -> Self {
        Self::new(injected.errno(), injected.to_string())
    }
}

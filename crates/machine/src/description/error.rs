//! What is wrong with a description.

use super::PciAddress;

/// What is wrong with a description, and what would be right.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message of a variant says what it means")]
pub enum DescriptionError {
    #[error("there is no {what} of kind `{kind}`: there are {allowed}")]
    UnknownKind {
        what: &'static str,
        kind: String,
        allowed: String,
    },
    #[error("`{0}` is not of the form SETTING=VALUE")]
    NotASetting(String),
    #[error("`{kind}` has no setting `{name}`: there are {allowed}")]
    UnknownSetting {
        kind: &'static str,
        name: String,
        allowed: String,
    },
    #[error("`{name}` cannot be `{value}`: it is {allowed}")]
    BadValue {
        name: &'static str,
        value: String,
        allowed: &'static str,
    },
    #[error("`{0}` is set twice")]
    SetTwice(String),
    #[error("two IOMMUs have the name `{0}`")]
    NameTaken(String),
    #[error("there is no IOMMU `{name}`: there are {allowed}")]
    NoSuchUnit { name: String, allowed: String },
    #[error("two devices have the address {0}")]
    AddressTaken(PciAddress),
    #[error("every bus has a device: no address is left for another")]
    NoFreeAddress,
    #[error("group {0} has devices behind several IOMMUs, which no group can have")]
    GroupSplit(u32),
}

//! IOMMUs and devices as they are described: a kind, and settings.

use std::fmt;
use std::str::FromStr;

use super::setting::{self, Choice, Setting, list};
use super::{DescriptionError, PciAddress};
use crate::model::{DeviceModel, UnitModel};

/// Something that is described by a kind and settings, as `KIND:SETTING=VALUE,…` or as a table in TOML.
pub trait Entry: Sized + fmt::Debug + fmt::Display + FromStr<Err = DescriptionError> {
    /// What it is called in messages.
    const WHAT: &'static str;

    /// One of this kind, with everything left at its default.
    fn of_kind(kind: &str) -> Option<Self>;

    /// One of every kind there is.
    fn all() -> Vec<Self>;

    /// Its kind.
    fn kind(&self) -> &'static str;

    /// What its kind is.
    fn meaning(&self) -> &'static str;

    /// Its settings.
    fn choices(&self) -> Vec<Choice>;

    /// Changes a setting.
    ///
    /// # Errors
    /// When there is no such setting, or no such value of it.
    fn set(&mut self, name: &str, value: &str) -> Result<(), DescriptionError>;
}

/// One IOMMU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitDescription {
    /// What devices call it; `iommu0` is the first, unless it is called otherwise.
    pub name: Option<String>,
    /// Which IOMMU it is.
    pub model: UnitModel,
}

impl UnitDescription {
    const SETTINGS: [Setting<Self>; 1] = [Setting {
        name: "name",
        values: "a word of letters, digits, `-` and `_`",
        meaning: "what devices call it; the first is iommu0 otherwise",
        get: |unit| unit.name.clone(),
        set: |unit, text| {
            unit.name = Some(word(text)?);
            Some(())
        },
    }];
}

/// One device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceDescription {
    /// Which device it is.
    pub model: DeviceModel,
    /// Which IOMMU it is behind; the first, if it is left open.
    pub unit: Option<String>,
    /// Where it is; the first function of a bus of its own, if it is left open.
    pub address: Option<PciAddress>,
    /// The number of its group; a group of its own, if it is left open.
    pub group: Option<u32>,
}

impl DeviceDescription {
    const SETTINGS: [Setting<Self>; 3] = [
        Setting {
            name: "unit",
            values: "the name of an IOMMU",
            meaning: "which IOMMU it is behind; the first otherwise",
            get: |device| device.unit.clone(),
            set: |device, text| {
                device.unit = Some(word(text)?);
                Some(())
            },
        },
        Setting {
            name: "at",
            values: "BUS:DEVICE.FUNCTION, such as 01:00.0",
            meaning: "where it is; on a bus of its own otherwise",
            get: |device| device.address.map(|address| address.to_string()),
            set: |device, text| {
                device.address = Some(text.parse().ok()?);
                Some(())
            },
        },
        Setting {
            name: "group",
            values: "a number below 4294967296",
            meaning: "devices of one number share every attachment; a group of its own otherwise",
            get: |device| device.group.map(|group| group.to_string()),
            set: |device, text| {
                device.group = Some(text.parse().ok()?);
                Some(())
            },
        },
    ];
}

/// A name that can stand in a list.
fn word(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (!text.is_empty() && text.bytes().all(plain)).then(|| text.to_owned())
}

/// An entry that has settings of its own beside those of its model.
macro_rules! entry {
    ($name:ident, $model:ident, $what:literal, $of:expr) => {
        impl Entry for $name {
            const WHAT: &'static str = $what;

            fn of_kind(kind: &str) -> Option<Self> {
                Self::all().into_iter().find(|entry| entry.kind() == kind)
            }

            fn all() -> Vec<Self> {
                $model::all().map($of).to_vec()
            }

            fn kind(&self) -> &'static str {
                self.model.configurable().kind()
            }

            fn meaning(&self) -> &'static str {
                self.model.configurable().meaning()
            }

            fn choices(&self) -> Vec<Choice> {
                let mut choices = self.model.configurable().choices();
                choices.extend(setting::choices(&Self::SETTINGS, self));
                choices
            }

            fn set(&mut self, name: &str, value: &str) -> Result<(), DescriptionError> {
                if let Some(result) = setting::set(&Self::SETTINGS, self, name, value) {
                    return result;
                }
                let result = self.model.configurable_mut().set(name, value);
                result.map_err(|error| match error {
                    DescriptionError::UnknownSetting { kind, name, .. } => {
                        let choices = self.choices();
                        let allowed = list(choices.iter().map(|choice| choice.name));
                        DescriptionError::UnknownSetting {
                            kind,
                            name,
                            allowed,
                        }
                    }
                    other => other,
                })
            }
        }

        impl FromStr for $name {
            type Err = DescriptionError;

            fn from_str(text: &str) -> Result<Self, DescriptionError> {
                super::text::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                super::text::print(self.kind(), &self.choices(), f)
            }
        }
    };
}

entry!(UnitDescription, UnitModel, "IOMMU", |model| {
    UnitDescription { name: None, model }
});
entry!(DeviceDescription, DeviceModel, "device", |model| {
    DeviceDescription {
        model,
        unit: None,
        address: None,
        group: None,
    }
});

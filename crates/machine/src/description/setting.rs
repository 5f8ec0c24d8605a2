//! What can be chosen, as tables: parsing, printing, help and error messages all come from them.

use std::fmt;

use super::DescriptionError;

/// One thing that can be chosen about a `T`.
pub(crate) struct Setting<T: 'static> {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it can be.
    pub(crate) values: &'static str,
    /// What it is for.
    pub(crate) meaning: &'static str,
    /// The value, unless it was left to be found.
    pub(crate) get: fn(&T) -> Option<String>,
    /// Takes a value over; `None` when it is none of `values`.
    pub(crate) set: fn(&mut T, &str) -> Option<()>,
}

/// A setting of something, with its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Its name.
    pub name: &'static str,
    /// What it can be.
    pub values: &'static str,
    /// What it is for.
    pub meaning: &'static str,
    /// What it is, unless it was left to be found.
    pub value: Option<String>,
}

/// Something of a kind, with settings of this kind.
pub(crate) trait Kind: fmt::Debug + Sized + 'static {
    /// The name of the kind.
    const NAME: &'static str;
    /// What it is.
    const MEANING: &'static str;
    /// What can be chosen.
    const SETTINGS: &'static [Setting<Self>];
}

/// The same, whichever kind it is.
pub(crate) trait Configurable: fmt::Debug {
    fn kind(&self) -> &'static str;
    fn meaning(&self) -> &'static str;
    fn choices(&self) -> Vec<Choice>;
    fn set(&mut self, name: &str, value: &str) -> Result<(), DescriptionError>;
}

impl<T: Kind> Configurable for T {
    fn kind(&self) -> &'static str {
        T::NAME
    }

    fn meaning(&self) -> &'static str {
        T::MEANING
    }

    fn choices(&self) -> Vec<Choice> {
        choices(T::SETTINGS, self)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), DescriptionError> {
        set(T::SETTINGS, self, name, value).unwrap_or_else(|| {
            Err(DescriptionError::UnknownSetting {
                kind: T::NAME,
                name: name.to_owned(),
                allowed: list(T::SETTINGS.iter().map(|setting| setting.name)),
            })
        })
    }
}

pub(super) fn choices<T>(settings: &[Setting<T>], of: &T) -> Vec<Choice> {
    let choices = settings.iter().map(|setting| Choice {
        name: setting.name,
        values: setting.values,
        meaning: setting.meaning,
        value: (setting.get)(of),
    });
    choices.collect()
}

/// `None` when there is no setting of this name.
pub(super) fn set<T>(
    settings: &[Setting<T>],
    of: &mut T,
    name: &str,
    value: &str,
) -> Option<Result<(), DescriptionError>> {
    let setting = settings.iter().find(|setting| setting.name == name)?;
    let bad = DescriptionError::BadValue {
        name: setting.name,
        value: value.to_owned(),
        allowed: setting.values,
    };
    Some((setting.set)(of, value).ok_or(bad))
}

/// `a`, `b`, `c`.
pub(super) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// What a [`Retention`](swiommu_iommu::Retention) can be.
pub(crate) const RETENTIONS: &str = "legal-maximum, small, small=ENTRIES (at least 1) or off";

/// What a switch can be.
pub(crate) const SWITCH: &str = "on or off";

/// How a switch is shown.
pub(crate) fn on_or_off(switch: bool) -> String {
    if switch { "on" } else { "off" }.to_owned()
}

/// A switch as it is written: TOML has words of its own for it.
pub(crate) fn switch(text: &str) -> Option<bool> {
    match text {
        "on" | "true" => Some(true),
        "off" | "false" => Some(false),
        _ => None,
    }
}

//! How long a cache keeps what it may keep.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// How long a cache keeps what it may keep. Parsed and shown as `legal-maximum`, `small`, `small=64` and `off`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Retention {
    /// Until software invalidates it: whatever the architecture allows to be stale is. This is how missing invalidations are found.
    #[default]
    LegalMaximum,
    /// At most so many entries: a new one takes the place of a random one, as on hardware that is short of room.
    Small(NonZeroUsize),
    /// Nothing is kept, so nothing is ever stale.
    Off,
}

impl Retention {
    /// The size that `small` stands for.
    pub const SMALL: NonZeroUsize = NonZeroUsize::new(64).unwrap();

    /// How many entries a cache may have.
    pub(super) fn limit(self) -> usize {
        match self {
            Self::LegalMaximum => usize::MAX,
            Self::Small(entries) => entries.get(),
            Self::Off => 0,
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LegalMaximum => f.write_str("legal-maximum"),
            Self::Small(Self::SMALL) => f.write_str("small"),
            Self::Small(entries) => write!(f, "small={entries}"),
            Self::Off => f.write_str("off"),
        }
    }
}

/// A retention that does not exist.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is none of `legal-maximum`, `small`, `small=ENTRIES` (at least 1) and `off`")]
pub struct UnknownRetention(String);

impl FromStr for Retention {
    type Err = UnknownRetention;

    fn from_str(text: &str) -> Result<Self, UnknownRetention> {
        let unknown = || UnknownRetention(text.to_owned());
        match text {
            "legal-maximum" => Ok(Self::LegalMaximum),
            "small" => Ok(Self::Small(Self::SMALL)),
            "off" => Ok(Self::Off),
            _ => {
                let entries = text.strip_prefix("small=").ok_or_else(unknown)?;
                entries.parse().map(Self::Small).map_err(|_| unknown())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_reads_as_it_is_shown() {
        for text in ["legal-maximum", "small", "small=1", "small=4096", "off"] {
            assert_eq!(text.parse::<Retention>().unwrap().to_string(), text);
        }
        assert_eq!("small=64".parse(), Ok(Retention::Small(Retention::SMALL)));
        for wrong in ["", "small=0", "small=", "small=-1", "large", "Off"] {
            let error = wrong.parse::<Retention>().unwrap_err();
            assert!(error.to_string().contains("`small=ENTRIES`"), "{error}");
        }
    }
}

//! Entries as text: `KIND:SETTING=VALUE,SETTING=VALUE`.

use std::fmt;

use super::setting::list;
use super::{Choice, DescriptionError, Entry};

/// Reads an entry. After the kind comes a colon or a comma.
pub(super) fn parse<E: Entry>(text: &str) -> Result<E, DescriptionError> {
    let (kind, settings) = match text.split_once([':', ',']) {
        Some((kind, settings)) => (kind, Some(settings)),
        None => (text, None),
    };
    let mut entry: E = of_kind(kind)?;
    let mut seen = Vec::new();
    for setting in settings.iter().flat_map(|settings| settings.split(',')) {
        let (name, value) = setting
            .split_once('=')
            .ok_or_else(|| DescriptionError::NotASetting(setting.to_owned()))?;
        if seen.contains(&name) {
            return Err(DescriptionError::SetTwice(name.to_owned()));
        }
        seen.push(name);
        entry.set(name, value)?;
    }
    Ok(entry)
}

/// An entry of a kind.
pub(super) fn of_kind<E: Entry>(kind: &str) -> Result<E, DescriptionError> {
    E::of_kind(kind).ok_or_else(|| DescriptionError::UnknownKind {
        what: E::WHAT,
        kind: kind.to_owned(),
        allowed: list(E::all().iter().map(E::kind)),
    })
}

/// Shows something of a kind as [`parse`] reads it, with every setting that was not left open.
pub(crate) fn print(kind: &str, choices: &[Choice], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(kind)?;
    let chosen = choices
        .iter()
        .filter_map(|choice| Some((choice.name, choice.value.as_ref()?)));
    for (n, (name, value)) in chosen.enumerate() {
        let separator = if n == 0 { ':' } else { ',' };
        write!(f, "{separator}{name}={value}")?;
    }
    Ok(())
}

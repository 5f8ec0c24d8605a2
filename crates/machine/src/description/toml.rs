//! Descriptions as TOML: a table `[[iommu]]` for each IOMMU, a table `[[device]]` for each device.

use std::fmt::Write as _;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layout::{Culprit, Layout};
use super::setting::list;
use super::text::of_kind;
use super::{Description, DescriptionError, Entry};

const UNITS: &str = "iommu";
const DEVICES: &str = "device";
const KIND: &str = "kind";

/// What is wrong with a file, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct TomlError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub problem: TomlProblem,
}

/// What can be wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message of a variant says what it means")]
pub enum TomlProblem {
    #[error("{0}")]
    Syntax(String),
    #[error("there are tables `[[iommu]]` and `[[device]]`, but no `{0}`")]
    UnknownTable(String),
    #[error("`{table}` is {found}, where tables `[[{table}]]` belong")]
    NotTables { table: String, found: &'static str },
    #[error("`kind` is missing: it is one of {allowed}")]
    NoKind { allowed: String },
    #[error("a value is text, a whole number, true or false, and not {0}")]
    WrongType(&'static str),
    #[error(transparent)]
    Description(#[from] DescriptionError),
}

type Problem = (Range<usize>, TomlProblem);

/// An entry, and where it is in the file.
type Placed<E> = (E, Range<usize>);

impl Description {
    /// Reads the IOMMUs and devices of a machine.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn from_toml(text: &str) -> Result<Self, TomlError> {
        read(text).map_err(|(at, problem)| locate(text, at.start, problem))
    }

    /// The IOMMUs and devices, as [`from_toml`](Self::from_toml) reads them.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        self.units
            .iter()
            .for_each(|unit| write(&mut text, UNITS, unit));
        self.devices
            .iter()
            .for_each(|device| write(&mut text, DEVICES, device));
        text
    }
}

fn locate(text: &str, at: usize, problem: TomlProblem) -> TomlError {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    TomlError {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        problem,
    }
}

fn read(text: &str) -> Result<Description, Problem> {
    let file = DeTable::parse(text).map_err(|error| {
        let message = TomlProblem::Syntax(error.message().to_owned());
        (error.span().unwrap_or_default(), message)
    })?;
    let (mut units, mut devices) = (Vec::new(), Vec::new());
    for (name, value) in file.get_ref() {
        match &**name.get_ref() {
            UNITS => units = entries(UNITS, value)?,
            DEVICES => devices = entries(DEVICES, value)?,
            other => return Err((name.span(), TomlProblem::UnknownTable(other.to_owned()))),
        }
    }
    let (units, unit_spans): (Vec<_>, Vec<_>) = units.into_iter().unzip();
    let (devices, device_spans): (Vec<_>, Vec<_>) = devices.into_iter().unzip();
    let description = Description::of(units, devices);
    Layout::of(&description).map_err(|(culprit, error)| {
        let span = match culprit {
            Culprit::Unit(n) => unit_spans.get(n),
            Culprit::Device(n) => device_spans.get(n),
        };
        (span.cloned().unwrap_or_default(), error.into())
    })?;
    Ok(description)
}

fn entries<E: Entry>(name: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<Placed<E>>, Problem> {
    let not_tables = |value: &Spanned<DeValue<'_>>| {
        let (table, found) = (name.to_owned(), value.get_ref().type_str());
        (value.span(), TomlProblem::NotTables { table, found })
    };
    let tables = value
        .get_ref()
        .as_array()
        .ok_or_else(|| not_tables(value))?;
    let entries = tables.iter().map(|table| {
        let fields = table
            .get_ref()
            .as_table()
            .ok_or_else(|| not_tables(table))?;
        Ok((entry(fields, table.span())?, table.span()))
    });
    entries.collect()
}

fn entry<E: Entry>(fields: &DeTable<'_>, at: Range<usize>) -> Result<E, Problem> {
    let mut kind = None;
    for (name, value) in fields {
        if *name.get_ref() == KIND {
            let text = scalar(value)?;
            kind = Some(of_kind(&text).map_err(|error| (value.span(), error.into()))?);
        }
    }
    let allowed = || list(E::all().iter().map(E::kind));
    let mut entry: E = kind.ok_or_else(|| (at, TomlProblem::NoKind { allowed: allowed() }))?;
    for (name, value) in fields {
        if *name.get_ref() == KIND {
            continue;
        }
        let text = scalar(value)?;
        entry.set(name.get_ref(), &text).map_err(|error| {
            let at = match error {
                DescriptionError::UnknownSetting { .. } => name.span(),
                _ => value.span(),
            };
            (at, error.into())
        })?;
    }
    Ok(entry)
}

/// A value as it would be written on the command line.
fn scalar(value: &Spanned<DeValue<'_>>) -> Result<String, Problem> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Ok(truth.to_string()),
        other => Err((value.span(), TomlProblem::WrongType(other.type_str()))),
    }
}

fn write<E: Entry>(text: &mut String, table: &str, entry: &E) {
    let separator = if text.is_empty() { "" } else { "\n" };
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{separator}[[{table}]]\n{KIND} = \"{}\"",
        entry.kind()
    );
    for choice in entry.choices() {
        let Some(value) = choice.value else {
            continue;
        };
        // Values are words and numbers: nothing in them needs an escape.
        let _ = match value.parse::<u32>() {
            Ok(number) if number.to_string() == value => {
                writeln!(text, "{} = {number}", choice.name)
            }
            _ => writeln!(text, "{} = \"{value}\"", choice.name),
        };
    }
}

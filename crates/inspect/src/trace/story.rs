//! A trace as lines to read.

use std::io::Write;

use parking_lot::Mutex;
use swiommu_abi::Value;

use super::{Call, Sink};

/// Writes one line per call: `IOMMU_IOAS_ALLOC() = 0  out_ioas_id=1`. Fields that are zero are left out.
#[derive(Debug)]
pub struct Story<W> {
    to: Mutex<W>,
}

impl<W: Write> Story<W> {
    /// Writes to `to`.
    pub fn new(to: W) -> Self {
        Self { to: Mutex::new(to) }
    }
}

impl<W: Write + Send + std::fmt::Debug> Sink for Story<W> {
    fn record(&self, call: &Call) {
        let mut to = self.to.lock();
        // As with any trace, one that cannot be written must not disturb the client.
        let _ = writeln!(to, "{}", line(call)).and_then(|()| to.flush());
    }
}

fn line(call: &Call) -> String {
    let arguments = call
        .arguments
        .iter()
        .filter(|(name, value)| tells(name, value));
    let mut line = format!("{}({}) = ", call.name, listed(arguments, ", "));
    match call.result {
        Ok(value) => {
            line += &value.to_string();
            let changed = listed(call.changed.iter(), " ");
            if !changed.is_empty() {
                line = format!("{line}  {changed}");
            }
        }
        Err(errno) => {
            line += &errno.to_string();
            if let Some(reason) = &call.reason {
                line = format!("{line}  ({reason})");
            }
        }
    }
    line
}

/// The struct's own size says nothing, the operation is part of the name, and neither does a field tell that was left at zero.
fn tells(name: &str, value: &Value) -> bool {
    name != "size"
        && name != "op"
        && name != "argsz"
        && match value {
            Value::Unsigned(number) => *number != 0,
            Value::Signed(_) => true,
            Value::Array(numbers) => numbers.iter().any(|number| *number != 0),
        }
}

fn listed<'a>(fields: impl Iterator<Item = &'a (&'static str, Value)>, separator: &str) -> String {
    let field = |(name, value): &(&str, Value)| match value {
        Value::Unsigned(number) if *number > 9 => format!("{name}={number:#x}"),
        Value::Unsigned(number) => format!("{name}={number}"),
        Value::Signed(number) => format!("{name}={number}"),
        Value::Array(numbers) => format!("{name}={numbers:x?}"),
    };
    fields.map(field).collect::<Vec<_>>().join(separator)
}

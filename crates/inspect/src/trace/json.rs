//! A trace as JSON, one object per line.

use std::io::Write;

use parking_lot::Mutex;
use serde_json::{Map, Value as Json, json};
use swiommu_abi::Value;

use super::{Call, Sink};

/// Writes one JSON object per call:
///
/// `{"time":0.000123,"pid":7,"tid":7,"fd":3,"file":"/dev/iommu","call":"IOMMU_IOAS_ALLOC","args":{…},"result":0,"out":{…}}`
///
/// `time` is in seconds since the trace began. A call that was refused has `errno` and `reason` in the place of `out`. Addresses,
/// flags and numbers alike are numbers, as the client passed them.
#[derive(Debug)]
pub struct JsonLines<W> {
    to: Mutex<W>,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `to`, which is flushed after every line.
    pub fn new(to: W) -> Self {
        Self { to: Mutex::new(to) }
    }
}

impl<W: Write + Send + std::fmt::Debug> Sink for JsonLines<W> {
    fn record(&self, call: &Call) {
        let mut to = self.to.lock();
        // A trace that cannot be written must not disturb the client; the reader sees that it ends.
        let _ = writeln!(to, "{}", line(call)).and_then(|()| to.flush());
    }
}

fn line(call: &Call) -> Json {
    let mut line = json!({
        "time": call.at.as_secs_f64(),
        "pid": call.task.pid,
        "tid": call.task.tid,
        "fd": call.fd.map(|fd| fd.0),
        "file": call.file,
        "call": call.name,
        "args": fields(&call.arguments),
    });
    match call.result {
        Ok(value) => {
            line["result"] = json!(value);
            line["out"] = fields(&call.changed);
        }
        Err(errno) => {
            line["result"] = json!(-errno.code());
            line["errno"] = json!(errno.to_string());
            line["reason"] = json!(call.reason);
        }
    }
    line
}

fn fields(fields: &[(&'static str, Value)]) -> Json {
    let value = |value: &Value| match value {
        Value::Unsigned(number) => json!(number),
        Value::Signed(number) => json!(number),
        Value::Array(numbers) => json!(numbers),
    };
    let fields = fields
        .iter()
        .map(|(name, field)| ((*name).to_owned(), value(field)));
    Json::Object(fields.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use swiommu_abi::Errno;
    use swiommu_files::{FdNumber, Task};

    use super::*;

    fn call(result: Result<i64, Errno>) -> Call {
        Call {
            at: Duration::from_micros(1500),
            task: Task { pid: 7, tid: 8 },
            fd: Some(FdNumber(3)),
            file: "/dev/iommu".to_owned(),
            name: "IOMMU_IOAS_ALLOC".to_owned(),
            arguments: vec![("size", Value::Unsigned(12))],
            changed: vec![("out_ioas_id", Value::Unsigned(1))],
            result,
            reason: Some("because".to_owned()),
        }
    }

    #[test]
    fn a_call_is_one_line_with_what_changed() {
        let mut written = Vec::new();
        JsonLines::new(&mut written).record(&call(Ok(0)));
        assert_eq!(
            String::from_utf8(written).unwrap(),
            concat!(
                r#"{"time":0.0015,"pid":7,"tid":8,"fd":3,"file":"/dev/iommu","call":"IOMMU_IOAS_ALLOC","#,
                r#""args":{"size":12},"result":0,"out":{"out_ioas_id":1}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_refused_call_tells_errno_and_reason() {
        let line = line(&call(Err(Errno::EBUSY)));
        assert_eq!(line["result"], -16);
        assert_eq!(line["errno"], "EBUSY");
        assert_eq!(line["reason"], "because");
        assert!(line.get("out").is_none());
    }
}

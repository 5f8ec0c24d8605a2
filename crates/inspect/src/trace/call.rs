//! One traced call.

use std::time::Duration;

use swiommu_abi::{Errno, Value};
use swiommu_files::{FdNumber, Task};

/// A call that has ended: who, what, and how it went.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// When it ended, since the trace began.
    pub at: Duration,
    /// The calling thread.
    pub task: Task,
    /// The descriptor that it was made on, where there is one.
    pub fd: Option<FdNumber>,
    /// The file, as the client knows it.
    pub file: String,
    /// The name in the header, such as `IOMMU_IOAS_MAP`, or of the system call.
    pub name: String,
    /// What the client passed, by the names of the header.
    pub arguments: Vec<(&'static str, Value)>,
    /// The fields of its struct that changed.
    pub changed: Vec<(&'static str, Value)>,
    /// What the client was returned.
    pub result: Result<i64, Errno>,
    /// Why it was refused.
    pub reason: Option<String>,
}

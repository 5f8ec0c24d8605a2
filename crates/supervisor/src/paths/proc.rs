//! The paths of `/proc` that show something of ours.

use std::path::{Component, Path};

use swiommu_files::FdNumber;

/// Whose directory of `/proc` it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// The calling process: `self`.
    Process,
    /// The calling thread: `thread-self`.
    Thread,
    /// This process or thread.
    Number(i32),
}

/// A path of `/proc` that shows something of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ProcPath {
    /// `/proc/PID/status`, also of a task.
    Status(Owner),
    /// `/proc/PID/fail-nth`, also of a task.
    FailNth(Owner),
    /// `/proc/PID/fd/N`, also of a task.
    Descriptor(Owner, FdNumber),
}

impl ProcPath {
    /// What an absolute path without `.` and `..` means.
    pub(crate) fn parse(path: &Path) -> Option<Self> {
        let mut names = path.components().filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_str().unwrap_or_default()),
            _ => None,
        });
        let mut owner = match names.next()? {
            "proc" => match names.next()? {
                "self" => Owner::Process,
                "thread-self" => Owner::Thread,
                number => Owner::Number(number.parse().ok()?),
            },
            "dev" if names.next()? == "fd" => return descriptor(Owner::Process, names),
            _ => return None,
        };
        let mut name = names.next()?;
        if name == "task" {
            owner = Owner::Number(names.next()?.parse().ok()?);
            name = names.next()?;
        }
        match name {
            "status" if names.next().is_none() => Some(Self::Status(owner)),
            "fail-nth" if names.next().is_none() => Some(Self::FailNth(owner)),
            "fd" => descriptor(owner, names),
            _ => None,
        }
    }
}

fn descriptor<'a>(owner: Owner, mut names: impl Iterator<Item = &'a str>) -> Option<ProcPath> {
    let number = names.next()?.parse().ok()?;
    let last = names.next().is_none();
    last.then_some(ProcPath::Descriptor(owner, FdNumber(number)))
}

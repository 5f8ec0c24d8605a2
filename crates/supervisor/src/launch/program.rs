//! The program, ready for `execve(2)`.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::ptr;

use crate::error::Error;

/// Where programs are looked up when there is no `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The program, ready for `execve(2)`: everything that needs memory is done before the fork.
pub(crate) struct Program {
    /// The paths to try, in order.
    pub(super) candidates: Vec<CString>,
    pub(super) arguments: Strings,
    pub(super) environment: Strings,
}

/// A null-terminated array of C strings.
pub(super) struct Strings {
    /// Points into `_owned`, whose heap blocks stay where they are.
    pointers: Vec<*const libc::c_char>,
    _owned: Vec<CString>,
}

impl Strings {
    fn new(strings: impl IntoIterator<Item = OsString>) -> Result<Self, Error> {
        let owned = strings
            .into_iter()
            .map(c_string)
            .collect::<Result<Vec<_>, _>>()?;
        let pointers = owned
            .iter()
            .map(|string| string.as_ptr())
            .chain([ptr::null()])
            .collect();
        Ok(Self {
            pointers,
            _owned: owned,
        })
    }

    pub(super) fn as_ptr(&self) -> *const *const libc::c_char {
        self.pointers.as_ptr()
    }
}

impl Program {
    pub(crate) fn new(name: &OsStr, arguments: &[OsString]) -> Result<Self, Error> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        Ok(Self {
            candidates: candidates(name, &path)?,
            arguments: Strings::new(
                [name.to_owned()]
                    .into_iter()
                    .chain(arguments.iter().cloned()),
            )?,
            environment: Strings::new(std::env::vars_os().map(|(mut variable, value)| {
                variable.push("=");
                variable.push(value);
                variable
            }))?,
        })
    }
}

/// The paths that `execvp(3)` would try. None for an empty name.
fn candidates(name: &OsStr, path: &OsStr) -> Result<Vec<CString>, Error> {
    if name.is_empty() {
        return Ok(Vec::new());
    }
    if name.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(name.to_owned())?]);
    }
    std::env::split_paths(path)
        .map(|directory| c_string(directory.join(name).into_os_string()))
        .collect()
}

fn c_string(string: OsString) -> Result<CString, Error> {
    CString::new(string.into_vec()).map_err(|_| Error::Nul)
}

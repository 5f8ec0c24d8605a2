//! One ioctl call: getting the struct from the client, and giving it back.

use std::sync::Arc;

use swiommu_abi::{Errno, Fault, copy_struct};
use swiommu_addr::{Address, Hva};
use swiommu_files::{Caller, FdNumber, File, InstallFlags};
use swiommu_injection::{Step, step};

use crate::object::Draft;
use crate::state::State;
use crate::{Context, Error, copy};

/// No struct of a command is longer.
pub(super) const LARGEST_STRUCT: usize = 128;

/// A call in progress: who calls, on which context, with which struct.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub(crate) context: &'a Arc<Context>,
    pub(crate) caller: &'a dyn Caller,
    /// Where the client's struct is.
    pub(crate) at: Hva,
    /// How long the client says it is.
    pub(crate) size: u32,
    /// What was read of it together with its size: nothing, or as much as the command's struct has.
    pub(crate) head: &'a [u8],
}

impl<'a> Call<'a> {
    /// The context that the client called.
    pub fn context(&self) -> &'a Arc<Context> {
        self.context
    }

    /// The client.
    pub fn caller(&self) -> &'a dyn Caller {
        self.caller
    }

    pub(crate) fn state(&self) -> &'a Arc<State> {
        &self.context.state
    }

    /// Reads the struct by the rule of extensible structs.
    pub(crate) fn decode(&self, min: usize, bytes: &mut [u8]) -> Result<(), Error> {
        let read = |offset, into: &mut [u8]| self.read_at(offset, into);
        copy_struct(self.size, min, bytes, read).map_err(|errno| match errno {
            Errno::E2BIG => Error::UnknownTail,
            Errno::EINVAL => Error::TooShort {
                size: self.size,
                min,
            },
            _ => Error::CallerMemory(self.at),
        })
    }

    /// Finds out whether the client's struct can be written, before something is done that could not be undone if not.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn check_writable(&self, len: usize) -> Result<(), Error> {
        let len = len.min(usize::try_from(self.size).unwrap_or(usize::MAX));
        let mut bytes = vec![0; len];
        self.read(self.at, &mut bytes)?;
        self.write(self.at, &bytes)
    }

    /// Opens a file in the client's table, once the client's struct is known to be writable: a descriptor cannot be taken back.
    ///
    /// # Errors
    /// `EFAULT`; `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn install(&self, file: Arc<dyn File>, flags: InstallFlags) -> Result<FdNumber, Error> {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        self.check_writable(size.min(LARGEST_STRUCT))?;
        step(Step::Descriptor)?;
        let installed = self.caller.install(file, flags);
        installed.map_err(|errno| Error::Install { errno })
    }

    /// Reads memory of the client.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn read(&self, from: Hva, into: &mut [u8]) -> Result<(), Error> {
        copy::from_user(self.caller, from, into)
    }

    /// Writes memory of the client.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn write(&self, to: Hva, from: &[u8]) -> Result<(), Error> {
        copy::to_user(self.caller, to, from)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Fault> {
        let known = usize::try_from(offset).ok();
        let known = known.and_then(|offset| self.head.get(offset..)?.get(..into.len()));
        if let Some(known) = known {
            into.copy_from_slice(known);
            return Ok(());
        }
        let from = self.at.checked_add(offset).ok_or(Fault)?;
        self.caller.space().read(from, into).map_err(|_| Fault)
    }
}

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("at", &self.at)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// What a command has done. The client's struct is written next; when that fails, the commit is dropped without being run,
/// and with it everything that it holds.
pub struct Outcome {
    pub(crate) value: i32,
    pub(crate) commit: Option<Box<dyn FnOnce()>>,
    /// Whether the client has got a descriptor, which cannot be taken back. Its struct was found to be writable before.
    pub(crate) installed: bool,
}

impl Outcome {
    /// Done, and kept whether or not the struct can be written.
    pub const DONE: Self = Self {
        value: 0,
        commit: None,
        installed: false,
    };

    /// Done, and the call returns this number.
    pub fn value(value: i32) -> Self {
        Self {
            value,
            ..Self::DONE
        }
    }

    /// Complete but for `commit`, which runs once the struct is written.
    pub fn then(commit: impl FnOnce() + 'static) -> Self {
        Self {
            commit: Some(Box::new(commit)),
            ..Self::DONE
        }
    }

    /// The same, where the client has got a descriptor by [`Call::install`].
    #[must_use]
    pub fn installed(mut self) -> Self {
        self.installed = true;
        self
    }

    pub(crate) fn publish(draft: Draft) -> Self {
        Self::then(move || {
            draft.publish();
        })
    }
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Outcome({}, commit: {})",
            self.value,
            self.commit.is_some()
        )
    }
}

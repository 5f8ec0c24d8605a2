//! One command on its way through.

use super::{COMMANDS, Command};
use crate::layout::UapiStruct;
use crate::{Errno, Fault, copy_struct, read_size};

/// Bytes of the largest struct in the table.
const LARGEST: usize = {
    let mut largest = 0;
    let mut at = 0;
    while at < COMMANDS.len() {
        if COMMANDS[at].full_size > largest {
            largest = COMMANDS[at].full_size;
        }
        at += 1;
    }
    largest
};

/// A command with its struct, as read from the caller.
#[derive(Clone, Debug)]
pub struct UserCommand {
    command: &'static Command,
    user_size: u32,
    bytes: [u8; LARGEST],
}

impl UserCommand {
    /// Reads the struct: its size, what lies beyond the part that we know, and that part. `read` fills its buffer from an offset
    /// behind the argument of the call.
    ///
    /// # Errors
    /// `EFAULT` when the size cannot be read; then as [`copy_struct`].
    pub fn read(
        command: &'static Command,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Fault>,
    ) -> Result<Self, Errno> {
        let user_size = read_size(&mut read)?;
        let mut bytes = [0; LARGEST];
        let known = &mut bytes[..command.full_size];
        copy_struct(user_size, command.min_size, known, read)?;
        Ok(Self {
            command,
            user_size,
            bytes,
        })
    }

    /// Which command.
    pub fn command(&self) -> &'static Command {
        self.command
    }

    /// The struct, at its full size.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.command.full_size]
    }

    /// The struct.
    ///
    /// # Panics
    /// When it is not the struct of the command.
    pub fn get<T: UapiStruct>(&self) -> T {
        self.assert_is::<T>();
        let mut value = T::new_zeroed();
        value.as_mut_bytes().copy_from_slice(self.bytes());
        value
    }

    /// Overwrites the struct.
    ///
    /// # Panics
    /// When it is not the struct of the command.
    pub fn set<T: UapiStruct>(&mut self, value: T) {
        self.assert_is::<T>();
        self.bytes[..self.command.full_size].copy_from_slice(value.as_bytes());
    }

    /// What to write back after the command ended with `result`: bytes, and their offset behind the argument of the call.
    ///
    /// When they cannot be written the call fails with `EFAULT`, whatever `result` is.
    pub fn reply(&self, result: Result<(), Errno>) -> Option<(u64, &[u8])> {
        let range = self
            .command
            .reply_range(self.bytes(), self.user_size, result)?;
        Some((range.start as u64, &self.bytes[range]))
    }

    fn assert_is<T: UapiStruct>(&self) {
        let expected = self.command.struct_name;
        assert_eq!(T::NAME, expected, "{}", self.command.name);
    }
}

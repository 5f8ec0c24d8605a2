//! The commands of IOMMUFD as data, and how one is told from another.

use std::ops::Range;

use crate::layout::{Field, Kind, UapiStruct, Value};
use crate::test_cmd::{IommuTestOp, TestOp, TestReply};
use crate::vfio::command::VfioCommand;
use crate::vfio::container;
use crate::{Errno, nr};

mod table;
mod user_command;

pub use table::COMMANDS;
pub use user_command::UserCommand;

/// A command of IOMMUFD.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// The number: the whole second argument of `ioctl(2)`.
    pub request: u32,
    /// The name in the header, such as `IOMMU_IOAS_MAP`.
    pub name: &'static str,
    /// Bytes of the struct that the caller must have.
    pub min_size: usize,
    /// Bytes of the struct as we know it.
    pub full_size: usize,
    /// The name of the struct in the header.
    pub struct_name: &'static str,
    /// The fields of the struct.
    pub fields: &'static [Field],
    /// What is written back.
    pub write_back: WriteBack,
}

/// What a command writes back to the struct that the caller passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteBack {
    /// Nothing.
    Never,
    /// The whole struct, inputs included, when the command succeeds.
    OnSuccess,
    /// That, and also when it fails with this error.
    OnSuccessOr(Errno),
    /// The whole struct, whatever happens once the struct is read.
    Always,
    /// One field, when the command succeeds.
    Field(Field),
    /// The whole struct when the command succeeds and this field has this value.
    OnSuccessOf(Field, u64),
    /// The whole struct when the command succeeds and its [`TestOp`] says so.
    TestOp,
}

/// Which commands there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommandSet {
    /// Those of a kernel as distributions build it: up to 0x95.
    Released,
    /// With `IOMMU_TEST_CMD` (0xa0), as `CONFIG_IOMMUFD_TEST` builds it.
    WithSelftest,
}

impl CommandSet {
    /// The number of the last command.
    pub const fn highest(self) -> u8 {
        match self {
            Self::Released => 0x95,
            Self::WithSelftest => 0xa0,
        }
    }
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub enum Route {
    /// To this command.
    Command(&'static Command),
    /// To this VFIO command, on the compatibility IOAS.
    VfioCompat(&'static VfioCommand),
    /// Nowhere, but its number is among those of the commands: `EFAULT` when [the size](crate::read_size) cannot be read, else
    /// `ENOTTY`.
    Unassigned,
    /// Nowhere: `ENOTTY`, and the argument is not looked at.
    Unknown,
}

/// Finds the command of a request.
///
/// ```
/// use swiommu_abi::command::{CommandSet, Route, classify};
///
/// let Route::Command(command) = classify(0x3b85, CommandSet::Released) else {
///     unreachable!()
/// };
/// assert_eq!(command.name, "IOMMU_IOAS_MAP");
/// assert!(matches!(classify(0x3ba0, CommandSet::Released), Route::Unknown));
/// ```
pub fn classify(request: u32, commands: CommandSet) -> Route {
    if (0x80..=commands.highest()).contains(&nr(request)) {
        let found = COMMANDS.iter().find(|command| command.request == request);
        found.map_or(Route::Unassigned, Route::Command)
    } else {
        let found = container::COMMANDS
            .iter()
            .find(|command| command.request == request);
        found.map_or(Route::Unknown, Route::VfioCompat)
    }
}

impl Command {
    const fn new<T: UapiStruct>(
        request: u32,
        name: &'static str,
        last_required: &str,
        write_back: WriteBack,
    ) -> Self {
        Self {
            request,
            name,
            min_size: Field::find(T::FIELDS, last_required).end(),
            full_size: size_of::<T>(),
            struct_name: T::NAME,
            fields: T::FIELDS,
            write_back,
        }
    }

    /// The fields of the struct that `bytes` hold, with their values; of the test command those of its operation too. Fields that
    /// `bytes` end before are left out.
    pub fn fields<'a>(
        &self,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = (&'static str, Value)> + use<'a> {
        self.fields.iter().flat_map(move |field| {
            let (fields, base) = match field.kind {
                Kind::Union => (test_op(bytes).map_or(&[][..], |op| op.fields), field.offset),
                _ => (std::slice::from_ref(field), 0),
            };
            let bytes = bytes.get(base..).unwrap_or_default();
            fields
                .iter()
                .filter(|field| !field.is_padding())
                .filter_map(|field| Some((field.name, field.value(bytes)?)))
        })
    }

    /// The bytes of the struct to write back after the command ended with `result`, when the caller's struct has `user_size` bytes and
    /// `bytes` are ours.
    pub fn reply_range(
        &self,
        bytes: &[u8],
        user_size: u32,
        result: Result<(), Errno>,
    ) -> Option<Range<usize>> {
        let whole =
            0..usize::try_from(user_size).map_or(self.full_size, |size| size.min(self.full_size));
        let succeeded = result.is_ok();
        match self.write_back {
            WriteBack::OnSuccess => succeeded.then_some(whole),
            WriteBack::OnSuccessOr(errno) => (succeeded || result == Err(errno)).then_some(whole),
            WriteBack::Always => Some(whole),
            WriteBack::Field(field) => succeeded.then_some(field.offset..field.end()),
            WriteBack::OnSuccessOf(field, value) => {
                (succeeded && field.value(bytes) == Some(Value::Unsigned(value))).then_some(whole)
            }
            WriteBack::TestOp => {
                let replies = test_op(bytes).is_some_and(|op| op.reply == TestReply::Struct);
                (succeeded && replies).then_some(whole)
            }
            WriteBack::Never => None,
        }
    }
}

/// The operation that the bytes of a test command ask for.
fn test_op(bytes: &[u8]) -> Option<&'static TestOp> {
    let op = bytes.get(4..8)?;
    TestOp::find(IommuTestOp(u32::from_ne_bytes(op.try_into().ok()?)))
}

#[cfg(test)]
mod tests;
